"""``mien challenge init / predict / submit / score / board / verify / bundle``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mien.cli import console
from mien.cli.challenge_flags import (
    BoardOptions,
    BundleOptions,
    InitOptions,
    PredictOptions,
    QueueOptions,
    ScoreOptions,
    SubmitOptions,
    VerifyOptions,
)
from mien.core.errors import ConfigError

if TYPE_CHECKING:
    from mien.challenge import Contest, Score

USAGE = """usage: mien challenge ACTION ...   (its flags: mien challenge ACTION --help; --json for programs)

  init DATASET OUT        a new challenge from SuHiFiMask's folder, its made twin or a table of your pictures
  predict DIR --weights W a trained model of mien as a submission
  submit DIR ZIP --team T takes a submission in
  score DIR               scores what is queued; start it as often as there are cores
  score REFERENCE ZIP     scores one file, without a challenge's store
  board DIR               ranks; writes board.csv and index.html
  verify DIR N CODE       runs a team's code again and compares
  bundle DIR OUT          a competition for Codabench"""


def run(argv: Sequence[str]) -> int:
    """Runs one action of a challenge."""
    words = list(argv)
    action = words.pop(0) if words and not words[0].startswith("-") else ""
    if action not in _ACTIONS:
        if action:
            console.check_name("action of mien challenge", action, list(_ACTIONS))
        console.show(USAGE)
        return 0 if "--help" in words or "-h" in words else 2
    as_json, words = console.take_switch(words, "--json")
    return _ACTIONS[action](words, as_json)


def _places(words: list[str], names: str) -> tuple[list[str], list[str]]:
    """The leading words that are no flags, as many as are named, and the rest."""
    wanted = names.split()
    count = next((k for k, word in enumerate(words) if word.startswith("-")), len(words))
    if count != len(wanted) and not {"--help", "-h"} & set(words):
        raise ConfigError(f"want {names}, then flags; got {' '.join(words[:count]) or 'nothing'}")
    return words[:count], words[count:]


def _init(words: list[str], as_json: bool) -> int:
    places, rest = _places(words, "DATASET OUT")
    options = console.parse(InitOptions, rest, "challenge init")
    from mien.challenge import init

    made = init(places[0], options.protocol, places[1], contest=_contest(options), media=options.media)
    if as_json:
        console.out_json(made)
    else:
        counts = ", ".join(f"{split} {count:,}" for split, count in made.lines.items())
        console.show(f"{made.folder}: {counts} pictures; dates and limits are in challenge.toml")
    return 0


def _contest(options: InitOptions) -> Contest:
    import time
    from dataclasses import replace

    from mien.challenge.settings import Contest, Limits, default_phases

    phases = default_phases(time.time())
    for k, dates in enumerate((options.development, options.final)):
        if dates:
            phases = tuple(
                replace(p, start=dates[0], end=dates[1]) if p.number == k + 1 else p for p in phases
            )
    return Contest(
        title=options.title,
        phases=phases,
        limits=Limits(per_day=options.per_day, total=options.total),
        threshold=options.threshold,
        metric=options.metric,
        level=options.level,
        files=options.files,
        ranking=options.ranking,
        database=options.database,
        seed=options.seed,
    )


def _predict(words: list[str], as_json: bool) -> int:
    places, rest = _places(words, "DIR")
    options = console.parse(PredictOptions, rest, "challenge predict")
    from mien.challenge import predict

    with console.counter("pictures") as watch:
        done = predict(
            places[0],
            options.weights,
            options.output,
            phase=options.phase,
            files=options.files,
            watch=watch,
        )
    if as_json:
        console.out_json(done)
    else:
        note = f"; {done.refused} not judged, their score is 0" if done.refused else ""
        console.show(f"{done.output}: {done.lines:,} scores, phase {done.phase}{note}")
    return 0


def _submit(words: list[str], as_json: bool) -> int:
    places, rest = _places(words, "DIR ZIP")
    options = console.parse(SubmitOptions, rest, "challenge submit")
    from mien.challenge import submit
    from mien.challenge.settings import stamp

    receipt = submit(places[0], places[1], options.team, phase=options.phase)
    if as_json:
        console.out_json(receipt)
    else:
        console.show(
            f"submission {receipt.id} of {receipt.team}, phase {receipt.phase}, {stamp(receipt.received)};"
            f" {receipt.left_today} left today"
        )
    return 0


def _score(words: list[str], as_json: bool) -> int:
    count = next((k for k, word in enumerate(words) if word.startswith("-")), len(words))
    if count == 1:
        return _work(words, as_json)
    places, rest = _places(words, "REFERENCE ZIP")
    options = console.parse(ScoreOptions, rest, "challenge score")
    from mien.challenge import score

    found = score(
        places[0],
        places[1],
        options.phase,
        _threshold(options.threshold),
        output=options.output,
        level=options.level,
        files=options.files,
        draws=options.draws,
        seed=options.seed,
    )
    if as_json:
        console.out_json(found.to_dict())
    else:
        _show_score(found)
    return 0


def _threshold(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text


def _show_score(score: Score) -> None:
    from mien.challenge.reports import head_rows

    console.show_table(f"threshold {score.threshold.value:.6g} ({score.threshold.text})", head_rows(score))
    for flag in score.flags:
        console.show(f"flag: {flag}")


def _work(words: list[str], as_json: bool) -> int:
    options = console.parse(QueueOptions, words[1:], "challenge score")
    from mien.challenge import work

    done = work(
        words[0],
        most=options.most,
        watch=lambda number, state: console.say(f"submission {number}: {state}"),
    )
    if as_json:
        console.out_json(done)
    else:
        console.show(f"{done.scored} scored, {done.failed} failed")
    return 0


def _board(words: list[str], as_json: bool) -> int:
    places, rest = _places(words, "DIR")
    options = console.parse(BoardOptions, rest, "challenge board")
    from mien.challenge import board
    from mien.challenge.boards import html_row

    lines = board(places[0], phase=options.phase, output=options.output)
    if as_json:
        console.out_json(lines)
    else:
        console.show_table("", [html_row(line) for line in lines])
        if not lines:
            console.show("nothing is scored yet")
    return 0


def _verify(words: list[str], as_json: bool) -> int:
    places, rest = _places(words, "DIR SUBMISSION CODE")
    options = console.parse(VerifyOptions, rest, "challenge verify")
    import sys

    from mien.challenge import RunLimits, verify

    if not places[1].isdigit():
        raise ConfigError(f"{places[1]!r} is no number of a submission")
    limits = RunLimits(options.seconds, options.memory_mb)
    found = verify(
        places[0],
        int(places[1]),
        places[2],
        tolerance=options.tolerance,
        limits=limits,
        python=options.python or sys.executable,
    )
    if as_json:
        console.out_json(found)
    elif found.largest is None or found.changed is None:
        console.show(f"submission {found.submission}: {found.verdict}: {found.message}")
    else:
        console.show(
            f"submission {found.submission}: {found.verdict}; largest difference {found.largest:.3g},"
            f" {100 * found.changed:.2f} % of the lines differ"
        )
    return 0 if found.verdict == "same" else 1


def _bundle(words: list[str], as_json: bool) -> int:
    places, rest = _places(words, "DIR OUT")
    options = console.parse(BundleOptions, rest, "challenge bundle")
    from mien.challenge import bundle
    from mien.challenge.competition import IMAGE

    written = bundle(places[0], places[1], image=options.image or IMAGE)
    if as_json:
        console.out_json({"bundle": written, "bytes": written.stat().st_size})
    else:
        console.show(f"{written}: upload it at Codabench (Benchmarks > Management > Upload)")
    return 0


_ACTIONS = {
    "init": _init,
    "predict": _predict,
    "submit": _submit,
    "score": _score,
    "board": _board,
    "verify": _verify,
    "bundle": _bundle,
}
