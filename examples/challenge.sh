#!/usr/bin/env bash
# A whole contest of face anti-spoofing by mien's own verbs: a challenge is made of the rendered twin of
# SuHiFiMask (protocol 3: test pictures are worse than those of training), five teams train small nets, send
# what they predict, and a board with intervals comes out.
#
#   examples/challenge.sh                 ten minutes on two cores (the twin is drawn first if need be)
#   examples/challenge.sh --quick         twenty steps a net: shows the way, not the numbers
#   examples/challenge.sh --shipped       no training: the shipped weights of CQIL and of FM-ViT as teams, seconds
#   examples/challenge.sh out/contest     another folder
#
# EPOCHS=40 gives the recipes' full length, SEED=1 another seed. Run it again and it goes on where it stopped.
set -euo pipefail

place=out/challenge
presets=(flip degrade small moire_jitter dise)
shipped=()
length=(--schedule.epochs "${EPOCHS:-9}")
for word in "$@"; do
  case $word in
    --quick) place=out/challenge-quick length=(--schedule.steps 20 --schedule.warmup-epochs 0) ;;
    --shipped) place=out/challenge-shipped presets=() shipped=(cqil/small fm_vit/small) ;;
    -*) echo "$0: no flag $word; --quick, --shipped, or a folder" >&2; exit 2 ;;
    *) place=$word ;;
  esac
done
contest=$place/contest
say() { echo "== $*" >&2; }

# Organisers: public folders, hidden labels, rules. Phase 2 is open.
if [ ! -f "$contest/challenge.toml" ]; then
  say "a new contest"
  mien challenge init rendered "$contest" --protocol p3 --title "Rendered surveillance cameras, protocol 3" \
    --development 2020-01-01 2020-01-02 --final 2020-01-02 2100-01-01
fi

# Sends a team's file once.
send() {
  local team=$1 file=$2
  if [ ! -f "$place/$team.sent" ]; then
    mien challenge submit "$contest" "$file" --team "$team"
    touch "$place/$team.sent"
  fi
}

# A team that has no model: the starting kit as it is handed out.
if [ ! -f "$place/template.zip" ]; then
  python "$contest/template/solution.py" "$contest" "$place/template.zip" --phase 2
fi
send template "$place/template.zip"

# Teams with a preset of CQIL each; `mien challenge predict` takes any anti-spoofing weights of mien.
for preset in "${presets[@]}"; do
  run=$place/$preset
  if [ ! -f "$run/run.json" ]; then
    say "team $preset trains"
    if compgen -G "$run/checkpoints/*" > /dev/null; then
      mien train cqil --resume "$run"
    else
      mien train cqil --preset "$preset" --seed "${SEED:-0}" "${length[@]}" --output "$run"
    fi
  fi
  if [ ! -f "$place/$preset.zip" ]; then
    mien challenge predict "$contest" --weights "$run" --output "$place/$preset.zip"
  fi
  send "$preset" "$place/$preset.zip"
done

# Teams that send what shipped weights say.
for weights in "${shipped[@]}"; do
  team=shipped-${weights%/*}
  if [ ! -f "$place/$team.zip" ]; then
    mien challenge predict "$contest" --weights "$weights" --output "$place/$team.zip"
  fi
  send "$team" "$place/$team.zip"
done

# Organisers again.
mien challenge score "$contest"
mien challenge board "$contest" --output "$place/board"
mien challenge board "$contest" --output "$place/board" --json > "$place/board.json"
say "open $place/board/index.html"
