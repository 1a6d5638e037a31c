from __future__ import annotations

import pickle

import numpy as np
import pytest

from mien.core.errors import ConfigError, DataError
from mien.data.config import FaceData
from mien.data.faces import read_faces
from mien.data.verification import write_verification, write_verification_folder
from mien.data.verification_sets import (
    guess_verification,
    open_verification,
    split_name,
    verification_names,
)
from tests.data.fixtures import write_picture
from tests.data.record_fixtures import picture_bytes
from tests.data.test_pairs import write_agedb, write_cfp, write_lfw, write_two_lines


def write_bin(path, pairs=20):
    same = [k % 2 == 0 for k in range(pairs)]
    write_verification(path, [picture_bytes(k) for k in range(2 * pairs)], same)
    return path


def test_every_form_becomes_one(tmp_path):
    write_bin(tmp_path / "mine.bin")
    pixels = [np.full((112, 112, 3), k, np.uint8) for k in range(8)]
    write_verification_folder(tmp_path / "cfp_fp", pixels, [True, False] * 2)
    write_lfw(tmp_path / "LFW")
    write_cfp(tmp_path / "cfp-dataset")
    write_agedb(tmp_path / "agedb", people=40, ages=(20, 35, 52, 70))
    write_two_lines(tmp_path / "calfw", "CALFW", [0, 0, 1, 2] * 3)
    kinds = {
        n: guess_verification(tmp_path / n) for n in ("mine.bin", "cfp_fp", "LFW", "cfp-dataset", "agedb")
    }
    assert list(kinds.values()) == ["bin", "array folder", "lfw", "cfp", "agedb"]
    assert guess_verification(tmp_path) is None
    for name, count in (("mine.bin", 20), ("cfp_fp", 4), ("LFW", 12), ("calfw", 12)):
        found = open_verification(str(tmp_path / name))
        assert len(found) == count
        assert found.pairs.shape == (count, 2)
        assert found.pairs.max() < len(found.faces)
    one = open_verification(str(tmp_path / "mine.bin"))
    assert one.name == "mine"
    assert one.pairs[3].tolist() == [6, 7]
    a, b, same = next(one.cut([2], 64))
    assert a.shape == b.shape == (64, 64, 3)
    assert same
    assert open_verification(f"other={tmp_path / 'mine.bin'}").name == "other"


def test_folds_lie_one_after_the_other(tmp_path):
    write_two_lines(tmp_path, "CPLFW", [2, 0, 1, 0, 2, 0, 1, 0])
    found = open_verification(str(tmp_path))
    assert "middle square" in found.note
    assert found.same.sum() == 4
    assert found.same.tolist() != [True, False] * 4


def test_names(tmp_path):
    assert split_name("/a/LFW.bin")[0] == "lfw.bin".removesuffix(".bin")
    assert split_name("a b=/x")[0] == "x"
    assert verification_names(["/a/lfw.bin", "cfp=/b/lfw.bin"]) == ["lfw", "cfp"]
    for words in (["/a/lfw.bin", "/b/lfw.bin"], ["test=/a"]):
        with pytest.raises(ConfigError, match=r"is taken; give another, as NAME=PATH"):
            verification_names(words)


def test_what_is_wrong_is_said_before_the_training(tmp_path):
    def read(path):
        return read_faces(FaceData("debug", 16, 4, 2, 2, 2, verification=(str(path),)))

    class Hostile:
        def __reduce__(self):
            return print, ("ran",)

    (tmp_path / "h.bin").write_bytes(pickle.dumps(Hostile()))
    write_lfw(tmp_path / "lfw")
    (tmp_path / "lfw/lfw/Ann_Lee0/Ann_Lee0_0002.jpg").unlink()
    write_picture(tmp_path / "other/x.png")
    for path, words in (
        (tmp_path / "h.bin", r"h\.bin: .*print"),
        (tmp_path / "lfw", r"names Ann_Lee0/Ann_Lee0_0002\.jpg, which is not in"),
        (tmp_path / "none.bin", "no such file or folder"),
        (tmp_path / "other", "no verification set there; looked for a .bin"),
    ):
        with pytest.raises(DataError, match=words) as caught:
            read(path)
        assert "\n" not in str(caught.value)
    assert read(write_bin(tmp_path / "good.bin")).verification == (str(tmp_path / "good.bin"),)
