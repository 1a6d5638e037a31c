"""Every example runs as a user would run it, and says what it found."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))
ACCURACY = {"sagm_loop": 35.0}  # at least, in percent; guessing the largest class gives 19


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_examples_run(path, tmp_path):
    words = [sys.executable, "-W", "error", str(path)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip()
    assert not done.stderr
    if path.stem in ACCURACY:
        found = re.search(r"([\d.]+)%", done.stdout)
        assert found
        assert float(found[1]) > ACCURACY[path.stem]


def test_there_are_examples():
    assert set(ACCURACY) <= {p.stem for p in EXAMPLES}


_STUB = """#!/usr/bin/env bash
echo "$*" >> "$LOG"
[ "$1 $2" = "${FAIL:-none}" ] && exit 1
value() { while [ $# -gt 1 ]; do [ "$1" = --output ] && echo "$2"; shift; done; }
case "$1 $2" in
  "challenge init") mkdir -p "$4/template"; touch "$4/challenge.toml"; echo "" > "$4/template/solution.py" ;;
  "challenge predict") touch "$(value "$@")" ;;
  "train cqil") if [ "$3" = --resume ]; then place=$4; else place=$(value "$@"); fi
    mkdir -p "$place"; touch "$place/run.json" ;;
esac
"""


@pytest.fixture
def contest(tmp_path):
    """The contest's script before a ``mien`` that only writes down what it is asked."""
    (tmp_path / "bin").mkdir()
    stub = tmp_path / "bin" / "mien"
    stub.write_text(_STUB)
    stub.chmod(0o755)
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    place, log = tmp_path / "place", tmp_path / "log"

    def run(*words, code=0, **more):
        log.write_text("")
        path = f"{tmp_path / 'bin'}:/usr/bin:/bin"
        script = str(EXAMPLES[0].parent / "challenge.sh")
        done = subprocess.run(
            ["bash", script, *words, str(place)],
            env={"PATH": path, "LOG": str(log), **more},
            capture_output=True,
            text=True,
            cwd=tmp_path,
        )
        assert done.returncode == code, done.stderr
        return log.read_text().splitlines()

    return place, run


def test_the_contest_trains_sends_and_goes_on_where_it_stopped(contest):
    place, run = contest
    said = run("--quick", code=1, FAIL="challenge score")
    trained = [line for line in said if line.startswith("train")]
    assert len(trained) == 5
    assert all("--schedule.steps 20" in line for line in trained)
    teams = [line.split()[-1] for line in said if line.startswith("challenge submit")]
    assert teams == ["template", "flip", "degrade", "small", "moire_jitter", "dise"]
    (place / "dise.zip").unlink()
    (place / "small" / "run.json").unlink()
    (place / "small" / "checkpoints" / "step-00000010").mkdir(parents=True)
    again = run()
    assert again[:2] == [
        f"train cqil --resume {place}/small",
        f"challenge predict {place}/contest --weights {place}/dise --output {place}/dise.zip",
    ]
    assert [line.split()[1] for line in again[2:]] == ["score", "board", "board"]


def test_the_contest_knows_its_flags(contest):
    place, run = contest
    assert run("--slow", code=2) == []
    assert not place.exists()


def test_flags_of_the_contest_are_those_of_the_verbs(contest):
    from mien.cli.train import parse_recipe

    place, run = contest
    for words, steps, epochs in (((), None, 9), (("--quick",), 20, 40)):
        lines = [line.split()[2:] for line in run(*words) if line.startswith("train")]
        shutil.rmtree(place)
        assert len(lines) == 5
        for line in lines:
            schedule = parse_recipe("cqil", line)[0].schedule
            assert (schedule.steps, schedule.epochs) == (steps, epochs)
