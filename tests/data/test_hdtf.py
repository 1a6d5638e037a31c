from __future__ import annotations

import copy
import sys

import numpy as np
import pytest

from mien.core.errors import ConfigError, DataError, MissingPackageError
from mien.data.hdtf import hdtf_problems, read_hdtf
from tests.data.avatar_fixtures import TEST, TRAIN, rows, write_hdtf


def test_lists_people_and_pictures(tmp_path):
    found = read_hdtf(write_hdtf(tmp_path / "set"), "train")
    assert [c.name for c in found.clips] == list(TRAIN)
    assert [c.person for c in found.clips] == ["WDA_Ann_000", "WDA_Ann_000", "WRA_Bob_001"]
    assert [c.frames for c in found.clips] == [3, 3, 3]
    assert (len(found), found.resolution) == (3, 512)
    pictures = list(found.frames(found.clip("WRA_Bob_001")))
    assert [round(p.mean()) for p in pictures] == [80, 90, 100]
    assert pictures[0].shape == (16, 16, 3)
    assert list(hdtf_problems(found)) == []


def test_rows_are_cut_where_the_page_says(tmp_path):
    found = read_hdtf(write_hdtf(tmp_path / "set"), "test")
    clip = found.clips[1]
    stored = rows(clip.name + "coeff_3dmm", 3, 260)
    track = found.coefficients(clip)
    places = {"identity": (0, 80), "expression": (80, 144), "texture": (144, 224), "angles": (224, 227)}
    places |= {"light": (227, 254), "translation": (254, 257), "crop": (257, 260)}
    for name, (first, last) in places.items():
        assert np.array_equal(getattr(track, name), stored[:, first:last])
    stored, condition = rows(clip.name + "condition", 3, 7), found.condition(clip)
    assert np.array_equal(condition.angles, stored[:, :3])
    assert np.array_equal(condition.translation, stored[:, 3:6])
    assert np.array_equal(condition.focal, stored[:, 6])
    points = rows(clip.name + "keypoint", 3, 136)
    assert np.array_equal(found.keypoints(clip)[1, 5], points[1, 10:12])


def test_reads_may_be_mixed_and_the_set_can_be_copied(tmp_path):
    found = read_hdtf(write_hdtf(tmp_path / "set"), "train")
    other = copy.deepcopy(found)
    for picture in found.frames(found.clips[0]):
        assert picture.shape == other.frame(other.clips[1], 2).shape
        assert other.keypoints(other.clips[0]).shape == (3, 68, 2)


def test_one_clip_drives_the_first_frames_of_all_others(tmp_path):
    found = read_hdtf(write_hdtf(tmp_path / "set"), "test")
    assert [(p.source.name, p.driver.name) for p in found.cross_pairs()] == [(t, TEST[0]) for t in TEST[1:]]
    assert {p.driver.name for p in found.cross_pairs("WRA_Cid_002")} == {"WRA_Cid_002"}
    with pytest.raises(DataError, match="no clip 'X' in the test list"):
        found.cross_pairs("X")
    with pytest.raises(DataError, match="no clip 'X'"):
        found.clip("X")


def test_the_largest_resolution_unless_told(tmp_path):
    root = write_hdtf(tmp_path / "set", size=512)
    write_hdtf(tmp_path / "small", size=64)
    (tmp_path / "small" / "64").rename(root / "64")
    assert read_hdtf(root).resolution == 512
    assert read_hdtf(root, resolution=64).frame(read_hdtf(root).clips[0], 0).shape == (16, 16, 3)
    with pytest.raises(DataError, match=r"no data\.mdb here"):
        read_hdtf(root, resolution=128)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"WRA_Bob_001-length": None}, "clip WRA_Bob_001 is not in the LMDB"),
        ({"WRA_Bob_001-length": b"0"}, "length '0'"),
        ({"WRA_Bob_001-length": b"-1"}, "length '-1'"),
        ({"WRA_Bob_001-length": b"9" * 40}, "length '9"),
    ],
)
def test_lengths_that_are_wrong(tmp_path, change, said):
    with pytest.raises(DataError, match=said):
        read_hdtf(write_hdtf(tmp_path / "set", change=change))


def test_damaged_entries_are_told(tmp_path):
    nan = np.full((3, 7), np.nan, np.float32).tobytes()
    change = {
        "WRA_Bob_001-0000001": b"no picture",
        "WRA_Bob_001-0000002": None,
        "WRA_Bob_001-coeff_3dmm": b"1234",
        "WRA_Bob_001-condition": nan,
        "WRA_Bob_001-keypoint": None,
    }
    found = read_hdtf(write_hdtf(tmp_path / "set", change=change))
    told = "\n".join(hdtf_problems(found))
    for said in (
        "coeff_3dmm must hold 3 x 260 float32, found 4 bytes",
        "condition holds values that are no numbers",
        "keypoint must hold 3 x 136 float32, found nothing",
        "WRA_Bob_001-0000001: not a picture",
        "no entry 'WRA_Bob_001-0000002'",
    ):
        assert said in told
    assert len(told.splitlines()) == 5
    with pytest.raises(DataError, match=r"no frame 3, it has 3 \(0 \.\. 2\)"):
        found.frame(found.clips[0], 3)


def test_sets_that_are_none(tmp_path):
    with pytest.raises(ConfigError, match="no split 'dev'"):
        read_hdtf(tmp_path, "dev")
    with pytest.raises(DataError, match="no folder of a resolution"):
        read_hdtf(tmp_path)
    root = write_hdtf(tmp_path / "set", train=["a", "a"])
    with pytest.raises(DataError, match="a is listed twice"):
        read_hdtf(root)
    (root / "train_list.txt").write_text("\n")
    with pytest.raises(DataError, match="names no clip"):
        read_hdtf(root)
    (root / "512" / "data.mdb").write_bytes(b"no database at all" * 999)
    with pytest.raises(DataError, match="not an LMDB that can be read"):
        read_hdtf(root, "test")


def test_without_lmdb(tmp_path, monkeypatch):
    (tmp_path / "512").mkdir()
    (tmp_path / "512" / "data.mdb").touch()
    (tmp_path / "train_list.txt").write_text("a\n")
    monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(MissingPackageError, match=r"mien\[data\]"):
        read_hdtf(tmp_path)
