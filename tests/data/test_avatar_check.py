from __future__ import annotations

import json

import pytest

from mien.cli.data import AVATAR_SETS
from mien.cli.main import main
from mien.data.avatar_check import AVATAR_KINDS, check_avatar, guess_avatar_kind
from mien.data.multiface import multiface_entities
from tests.data.avatar_fixtures import write_hdtf, write_multiface, write_ravdess


def test_kinds_are_guessed(tmp_path):
    assert tuple(AVATAR_SETS) == AVATAR_KINDS
    assert guess_avatar_kind(tmp_path) is None
    assert guess_avatar_kind(tmp_path / "not there") is None
    assert guess_avatar_kind(write_multiface(tmp_path / "m")) == "multiface"
    assert guess_avatar_kind(write_ravdess(tmp_path / "r")) == "ravdess"
    assert guess_avatar_kind(write_hdtf(tmp_path / "h")) == "hdtf"


def test_a_whole_hdtf(tmp_path):
    report = check_avatar("hdtf", write_hdtf(tmp_path / "h"))
    assert report.is_sound
    assert report.splits["train"] == {"clips": 3, "people": 2, "frames": 9}
    assert report.splits["test"] == {"clips": 3, "people": 3, "frames": 9}


def test_a_damaged_hdtf(tmp_path):
    change = {"b#1-0000000": b"x"}
    root = write_hdtf(tmp_path / "h", ["a#0", "b#1"], ["a#1"], change=change)
    report = check_avatar("hdtf", root)
    assert any("1 people are in train and in test: a" in p for p in report.problems)
    assert any("b#1-0000000" in p for p in report.problems)
    assert len(report.problems) == 2
    assert len(check_avatar("hdtf", root, decode=False).problems) == 1
    (root / "test_list.txt").unlink()
    assert any("test_list.txt: no such file" in p for p in check_avatar("hdtf", root).problems)


def test_multiface(tmp_path):
    root = write_multiface(tmp_path)
    report = check_avatar("multiface", root)
    assert report.is_sound
    assert report.splits["6795937"] == {"pictures": 12, "expressions": 2, "cameras": 2}
    assert report.notes == ("2 people, the published set has 13",)
    next(multiface_entities(root)[0].glob("images/*/*/000102.png")).write_bytes(b"x")
    assert len(check_avatar("multiface", root).problems) == 1
    assert check_avatar("multiface", root, decode=False).is_sound


def test_ravdess(tmp_path):
    root = write_ravdess(tmp_path, range(1, 24))
    report = check_avatar("ravdess", root, decode=False)
    assert report.is_sound
    assert report.splits["neutral"] == {"clips": 23, "actors": 23}
    assert report.notes == ("no clips of actors 24",)
    (root / "Actor_01" / "smile.mp4").touch()
    assert "smile.mp4: not named" in check_avatar("ravdess", root, decode=False).problems[0]
    pytest.importorskip("av")
    assert len(check_avatar("ravdess", root).problems) == 2 * 23 + 1  # files that are no videos


def test_the_command_line_knows_them(tmp_path, capsys):
    assert main(["data", "list", "--json"]) == 0
    assert set(AVATAR_KINDS) <= {row["name"] for row in json.loads(capsys.readouterr().out)}
    root = write_multiface(tmp_path)
    assert main(["data", "check", str(root), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["kind"], answer["problems"]) == ("multiface", [])
    assert main(["data", "check", str(write_ravdess(tmp_path / "r")), "--fast", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "ravdess"
