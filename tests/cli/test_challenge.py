"""``mien challenge`` as a user would type it, in process."""

from __future__ import annotations

import json
import time

import pytest

from mien.challenge.settings import stamp
from mien.cli.main import main
from tests.challenge.made import sent, zipped

DAY = 86400


@pytest.fixture
def table(tmp_path):
    """A lab's own pictures."""
    lines = ["split,path,label,track,camera,scene,quality"]
    (tmp_path / "pics").mkdir()
    for split, count in (("train", 4), ("dev", 12), ("test", 18)):
        for k in range(count):
            (tmp_path / "pics" / f"{split}{k}.jpg").write_bytes(b"a picture")
            lines.append(f"{split},pics/{split}{k}.jpg,{k % 3},{split}{k // 6}-{k % 3},C{k % 2},S{k % 3},{k}")
    (tmp_path / "set.csv").write_text("\n".join(lines))
    return tmp_path / "set.csv"


def said(capsys, *argv, code=0):
    assert main(["challenge", *map(str, argv)]) == code
    out = capsys.readouterr()
    return out.out if code == 0 else out.err


def as_json(capsys, *argv):
    return json.loads(said(capsys, *argv, "--json"))


@pytest.fixture
def folder(tmp_path, table, capsys):
    today = time.time()
    dates = [stamp(today + days * DAY) for days in (-20, -10, 10)]
    words = ["--development", *dates[:2], "--final", *dates[1:], "--per-day", "3"]
    made = as_json(capsys, "init", table, tmp_path / "c", "--protocol", "own", *words)
    assert made == {"folder": str(tmp_path / "c"), "lines": {"train": 4, "dev": 12, "test": 18}}
    return tmp_path / "c"


def test_a_contest_in_six_commands(capsys, tmp_path, folder):
    for k, team in enumerate(("alpha", "beta")):
        path = sent(folder, tmp_path / f"{team}.zip", k, 0.1 + k / 2)
        receipt = as_json(capsys, "submit", folder, path, "--team", team)
        assert {k: receipt[k] for k in ("id", "team", "phase", "left_today")} == {
            "id": k + 1, "team": team, "phase": 2, "left_today": 2
        }  # fmt: skip
    assert "submission 3 of beta, phase 2" in said(capsys, "submit", folder, path, "--team", "beta")
    assert as_json(capsys, "score", folder, "--most", "1") == {"scored": 1, "failed": 0}
    assert said(capsys, "score", folder) == "2 scored, 0 failed\n"
    lines = as_json(capsys, "board", folder)
    assert [(line["rank"], line["team"]) for line in lines] == [(1, "alpha"), (2, "beta")]
    assert "alpha" in said(capsys, "board", folder, "--output", tmp_path / "b")
    assert (tmp_path / "b" / "index.html").exists()
    assert "differs; largest difference" in out_of(capsys, "verify", folder, "1", folder / "template", code=1)
    written = as_json(capsys, "bundle", folder, tmp_path / "out")
    assert written["bytes"] == (tmp_path / "out" / "competition.zip").stat().st_size
    assert "upload it" in said(capsys, "bundle", folder, tmp_path / "out")


def out_of(capsys, *argv, code):
    assert main(["challenge", *map(str, argv)]) == code
    return capsys.readouterr().out


def test_one_file_without_a_store(capsys, tmp_path, folder):
    path = sent(folder, tmp_path / "a.zip")
    values = as_json(
        capsys, "score", folder / "reference", path, "--draws", "20", "--output", tmp_path / "out"
    )
    assert values == json.loads((tmp_path / "out" / "scores.json").read_text())
    text = said(capsys, "score", folder / "reference", path, "--threshold", "0.5", "--level", "track")
    assert "threshold 0.5 (fixed)" in text
    assert "ACER (ranks)" in text


def test_an_invalid_submission_leaves_with_two_and_one_line(capsys, tmp_path, folder):
    bad = zipped(tmp_path / "bad.zip", {"a.txt": "dev/000001.jpg 0.5"})
    for words in (("score", folder / "reference", bad), ("submit", folder, bad, "--team", "a")):
        error = said(capsys, *words, code=2)
        assert error.startswith("mien challenge: a.txt: wrong line count, got 1, want 30")
        assert error.count("\n") == 1


def test_an_empty_board(capsys, folder):
    assert "nothing is scored yet" in said(capsys, "board", folder)
    assert as_json(capsys, "board", folder) == []


@pytest.mark.parametrize(
    ("argv", "code", "text"),
    [
        (["init", "x"], 2, "want DATASET OUT, then flags; got x"),
        (["init", "/nowhere.csv", "/nowhere/out"], 1, "no such file"),
        (["init", "a", "b", "--medai", "copy"], 2, "did you mean --media"),
        (["submit", "/nowhere", "x.zip", "--team", "a"], 1, "no challenge here"),
        (["submit", "d", "x.zip"], 2, "--team"),
        (["score"], 2, "REFERENCE"),
        (["score", "/nowhere"], 1, "no challenge here"),
        (["score", "/nowhere", "x.zip"], 1, "no reference here"),
        (["board"], 2, "want DIR, then flags; got nothing"),
        (["verify", "d", "one", "code"], 2, "'one' is no number of a submission"),
        (["bundle", "/nowhere", "out"], 1, "no challenge here"),
    ],
)
def test_wrong_use_is_one_line(capsys, argv, code, text):
    error = said(capsys, *argv, code=code)
    assert text in error
    assert error.count("\n") == 1


def test_help_of_each_action(capsys):
    for action in ("init", "submit", "score", "board", "verify", "bundle"):
        assert f"usage: mien challenge {action}" in said(capsys, action, "--help")
    assert "mien challenge ACTION" in said(capsys, "--help")
