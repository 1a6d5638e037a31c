"""``mien data check`` on face sets: each is told by its files, and bad ones give one clear line."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from PIL import Image

from mien.cli.main import main
from mien.data.face_set_check import FACE_KINDS, check_face_set, guess_face_kind
from mien.data.verification import write_verification
from tests.data.fixtures import write_picture
from tests.data.record_fixtures import picture_bytes, scalar, write_faces, write_payloads
from tests.data.test_faces import write_people, write_shard
from tests.data.test_ijb import write_ijb, write_megaface
from tests.data.test_pairs import write_lfw
from tests.data.test_verification_sets import write_bin


def checked(capsys, path, *more, code=0):
    assert main(["data", "check", str(path), *more]) == code
    out = capsys.readouterr()
    return out.out if code == 0 else out.err


def test_the_kinds_are_listed(capsys):
    assert main(["data", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    text = json.dumps(listed)
    assert all(f'"{kind}"' in text for kind in FACE_KINDS)


def test_a_record_with_a_bin_beside_it(tmp_path, capsys):
    write_faces(tmp_path, (3, 2, 2))
    write_bin(tmp_path / "lfw.bin")
    answer = json.loads(checked(capsys, tmp_path, "--json"))
    assert answer["kind"] == "record"
    assert answer["splits"]["train"]["classes"] == 3
    assert "lfw.bin: 20 pairs" in answer["notes"]
    assert "lfw.bin: 20 pairs, the published set has 6,000" in answer["notes"]
    assert "no problems found" in checked(capsys, tmp_path / "train.rec")
    (tmp_path / "lfw.bin").write_bytes(b"torn")
    assert "lfw.bin" in checked(capsys, tmp_path, code=1)


def test_gaps_singles_and_grey_are_noted(tmp_path, capsys):
    grey = tmp_path / "grey.png"
    Image.fromarray(np.full((112, 112), 90, np.uint8)).save(grey)
    payloads = {k: scalar(v, k, picture_bytes(k)) for k, v in enumerate([0, 0, 3])}
    write_payloads(tmp_path / "r", payloads | {3: scalar(0, 3, grey.read_bytes())})
    out = checked(capsys, tmp_path / "r")
    assert "note: labels have gaps: 2 of 4 classes have no picture (1, 2)" in out
    assert "note: people with one picture only: 1 (3)" in out
    assert "note: 1 of 4 pictures are grey" in out


def test_a_record_that_ends_in_the_middle(tmp_path, capsys):
    path = write_faces(tmp_path, (3, 2, 2))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    err = checked(capsys, tmp_path, code=1)
    assert "train.rec" in err
    assert len(err.strip().splitlines()) == 1


def test_a_hostile_bin(tmp_path, capsys):
    class Hostile:
        def __reduce__(self):
            return exec, ("raise SystemExit(9)",)

    (tmp_path / "lfw.bin").write_bytes(pickle.dumps(([Hostile()], [True])))
    err = checked(capsys, tmp_path / "lfw.bin", code=1)
    assert "exec" in err
    assert len(err.strip().splitlines()) == 1


def test_pairs(tmp_path, capsys):
    write_verification(tmp_path / "x.bin", [picture_bytes(k) for k in range(4)], [True, True])
    assert "all pairs are of one person" in checked(capsys, tmp_path / "x.bin", code=1)
    write_lfw(tmp_path / "set")
    assert "12" in checked(capsys, tmp_path / "set", "--fast")
    assert "not a picture" in checked(capsys, tmp_path / "set", code=1)
    (tmp_path / "set/lfw/Ann_Lee0/Ann_Lee0_0002.jpg").unlink()
    err = checked(capsys, tmp_path / "set", code=1)
    assert "names Ann_Lee0/Ann_Lee0_0002.jpg, which is not in" in err


def test_the_same_picture_twice_is_no_pair(tmp_path):
    write_picture(tmp_path / "images/a.jpg", 0, (112, 112))
    write_picture(tmp_path / "images/b.jpg", 1, (112, 112))
    (tmp_path / "pairs_CALFW.txt").write_text("a.jpg 0\na.jpg 0\na.jpg 1\nb.jpg 1\n")
    report = check_face_set("calfw", tmp_path)
    assert "compares a picture with itself (1 such pairs)" in report.problems[0]


def test_folders_and_shards(tmp_path, capsys):
    write_people(tmp_path / "people", {"a": 2, "b": 1})
    out = checked(capsys, tmp_path / "people", "--kind", "faces")
    assert "people with one picture only: 1" in out
    assert checked(capsys, tmp_path / "people", "--kind", "faces", "--fast")
    write_shard(tmp_path / "shards/x.tar", {"a/0.png": picture_bytes(0), "b/0.png": picture_bytes(1)})
    assert guess_face_kind(tmp_path / "shards") == "faces"
    assert guess_face_kind(tmp_path / "people") is None


def test_ijb_and_megaface(tmp_path, capsys):
    write_ijb(tmp_path / "IJBC")
    answer = json.loads(checked(capsys, tmp_path / "IJBC", "--json", "--fast"))
    assert answer["kind"] == "ijbc"
    assert answer["splits"]["test"]["pictures"] == 12
    assert answer["splits"]["test"]["pairs"] > 0
    next((tmp_path / "IJBC/loose_crop").iterdir()).unlink()
    assert "(1 of 12 are missing)" in checked(capsys, tmp_path / "IJBC", code=1)
    write_megaface(tmp_path / "mega")
    answer = json.loads(checked(capsys, tmp_path / "mega", "--json"))
    assert answer["kind"] == "megaface"
    assert answer["splits"]["test"]["probes"] > 0


@pytest.mark.parametrize("kind", ["lfw", "cfp", "agedb", "calfw", "cplfw", "ijb", "megaface", "faces"])
def test_an_empty_folder_is_one_line(tmp_path, kind):
    report = check_face_set(kind, tmp_path)
    assert len(report.problems) == 1
    assert str(tmp_path) in report.problems[0]
