"""Faces of a user's own sets: kinds of `FaceData`, people held out, labels without gaps."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest

from mien.core.config import evolve_all, hash_dict, to_dict
from mien.core.errors import ConfigError, DataError
from mien.data.chosen_people import ChosenPeople, MaskedFaces
from mien.data.config import FaceData
from mien.data.faces import read_faces
from mien.data.labelled import ArrayImages
from mien.data.rendered_faces import masked
from tests.data.record_fixtures import picture_bytes, scalar, write_faces, write_payloads
from tests.data.test_faces import write_people


def config(root, kind="record", **changes):
    base = FaceData(kind=kind, size=112, root=str(root), val_people=2, test_people=2, look="colour")
    return replace(base, **changes)


def test_a_record_is_cut_by_people_from_the_end(tmp_path):
    write_faces(tmp_path, (3, 2, 4, 2, 3, 2))
    faces = read_faces(config(tmp_path))
    assert [s.classes for s in (faces.train, faces.val, faces.test)] == [("0", "1"), ("2", "3"), ("4", "5")]
    assert faces.train.targets.tolist() == [0, 0, 0, 1, 1]
    assert faces.val.targets.tolist() == [0, 0, 0, 0, 1, 1]
    assert faces.test.keys.tolist() == [12, 13, 14, 15, 16]
    assert faces.val.pictures([1])[0].shape == (112, 112, 3)
    assert np.array_equal(faces.val.subset(np.array([5])).pictures([0])[0], faces.val.pictures([5])[0])
    assert faces.real
    assert "RecordIO set" in faces.note
    again = read_faces(config(tmp_path / "train.rec"))
    assert again.fingerprint == faces.fingerprint
    assert read_faces(config(tmp_path, val_people=0)).fingerprint != faces.fingerprint


def test_nobody_is_held_out_where_nobody_is_asked_for(tmp_path):
    write_faces(tmp_path, (3, 2, 4))
    faces = read_faces(config(tmp_path, val_people=0, test_people=0))
    assert len(faces.train) == 9
    assert len(faces.val) == len(faces.test) == 0


def test_another_seed_holds_out_other_people(tmp_path):
    write_people(tmp_path, {f"p{k}": 2 for k in range(12)})
    names = [read_faces(config(tmp_path, "folder", set_seed=s)).test.classes for s in (0, 1, 1, 2)]
    assert names[0] == ("p10", "p11")
    assert names[1] == names[2]
    assert len(set(names)) == 3


def test_gaps_and_single_pictures_are_warned_about(tmp_path):
    labels = [0, 0, 2, 2, 5, 5, 7, 9, 9, 9, 11, 11]
    write_payloads(tmp_path, {k: scalar(v, k, picture_bytes(k)) for k, v in enumerate(labels)})
    with pytest.warns(
        UserWarning, match=r"gaps: 6 of 12 .*one picture only: 1 \(7\).*numbered anew"
    ) as caught:
        faces = read_faces(config(tmp_path, val_people=0))
    assert len(caught) == 1
    assert faces.train.classes == ("0", "2", "5", "7")
    assert np.unique(faces.train.targets).tolist() == [0, 1, 2, 3]
    assert faces.test.classes == ("9", "11")
    assert "gaps" in faces.note


def test_held_out_people_have_at_most_so_many_pictures(tmp_path):
    write_faces(tmp_path, (3, 2, 9, 8, 6, 7))
    faces = read_faces(config(tmp_path, per_identity=4))
    assert faces.val.counts().tolist() == [4, 4]
    assert faces.train.counts().tolist() == [3, 2]


def test_too_many_people_or_pictures_are_refused(tmp_path, monkeypatch):
    write_faces(tmp_path, (3, 2, 4, 2))
    with pytest.raises(ConfigError, match=r"val_people \+ data.test_people = 4, but .* has 4 people"):
        read_faces(config(tmp_path))
    monkeypatch.setattr("mien.data.chosen_people.MOST_HELD_OUT", 5)
    with pytest.raises(ConfigError, match=r"data.test_people=2 with data.per_identity=10: 6 pictures"):
        read_faces(config(tmp_path, val_people=0))


def test_masked_pictures_are_made_when_asked_for(tmp_path):
    write_people(tmp_path, {f"p{k}": 2 for k in range(6)}, size=(40, 32))
    plain = read_faces(config(tmp_path, "folder", size=32))
    grey = read_faces(config(tmp_path, "folder", size=32, look="masked"))
    assert isinstance(grey.train, MaskedFaces)
    cut = plain.train.pictures([0])[0][4:36]
    assert np.array_equal(grey.train.pictures([0])[0], masked(cut[None])[0])
    assert grey.fingerprint != plain.fingerprint
    assert grey.look == "masked"
    assert len(grey.train.subset(np.array([1])).pictures([0])) == 1
    assert MaskedFaces(plain.train, 32).pictures([]) == []


def test_settings_of_another_kind_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"root does not apply to kind='rendered'"):
        FaceData(root="x")
    with pytest.raises(ConfigError, match=r"data.people=10 does not apply to kind='record'"):
        FaceData(kind="record", people=10)
    with pytest.raises(ConfigError, match=r"val_people=1: one person"):
        FaceData(val_people=1)
    with pytest.raises(ConfigError, match=r"give its folder with --data.root"):
        read_faces(FaceData(kind="record"))
    with pytest.raises(DataError, match=r"no such folder"):
        read_faces(config(tmp_path / "none"))
    with pytest.raises(DataError, match=r"no \.rec file"):
        read_faces(config(tmp_path))


def test_a_truncated_record_is_one_line(tmp_path):
    path = write_faces(tmp_path, (3, 2, 4, 2, 3, 2))
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(DataError, match=r"ends at \d+: truncated") as caught:
        read_faces(config(tmp_path))
    assert "\n" not in str(caught.value)


def test_where_the_copy_lies_changes_no_hash():
    """Results of made sets stay valid: these fields are new and not hashed."""
    known = to_dict(FaceData(), hashed=True)
    assert not {"root", "verification", "workers"} & set(known)
    moved = FaceData(kind="record", root="a", verification=("x.bin",))
    assert hash_dict(to_dict(moved, hashed=True)) == hash_dict(to_dict(FaceData(kind="record"), hashed=True))


def test_made_sets_may_hold_nobody_out():
    data = FaceData("debug", 16, people=4, val_people=0, test_people=0, per_identity=2)
    faces = read_faces(data)
    assert (len(faces.train), len(faces.val), len(faces.test)) == (8, 0, 0)
    assert read_faces(evolve_all(data, {"test_people": 2})).test.counts().tolist() == [2, 2]


def test_chosen_people_keep_their_order():
    images = np.zeros((5, 2, 2, 3), np.uint8)
    images[:, 0, 0, 0] = range(5)
    whole = ArrayImages(images, np.array([2, 0, 1, 2, 0]), ["a", "b", "c"])
    chosen = ChosenPeople(whole, np.array([2, 0]))
    assert chosen.classes == ("c", "a")
    assert chosen.targets.tolist() == [0, 1, 0, 1]
    assert [int(p[0, 0, 0]) for p in chosen.pictures([0, 1, 2, 3])] == [0, 1, 3, 4]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert chosen.subset(np.array([3])).fingerprint != chosen.fingerprint
