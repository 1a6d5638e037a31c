"""Made people of whom some have many training pictures and some a handful."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mien.core.errors import ConfigError
from mien.data import longtail_people, rendered_faces
from mien.data.config import ClassificationData
from mien.data.longtail_people import people_at_hand, people_splits, unseen_people
from mien.data.readers import read_splits

RGB = {"channels": 3, "mean": (0.5,) * 3, "std": (0.5,) * 3}
FEW = ClassificationData(
    "people", size=16, people=3, imbalance=4.0, n_max=4, val_per_class=1, test_per_class=2, **RGB
)


def pictures_of(part, person):
    return {x.tobytes() for x in part.images[part.targets == person]}


def test_counts_fall_and_parts_are_other_shots_of_the_same_people():
    assert not people_at_hand(FEW)
    splits = read_splits(FEW)
    assert people_at_hand(FEW)
    assert splits.train.counts().tolist() == [4, 2, 1]  # int(4 * 4 ** -(c / 2))
    assert splits.val.counts().tolist() == [1, 1, 1]
    assert splits.test.counts().tolist() == [2, 2, 2]
    assert splits.train.classes == splits.test.classes == ("person0000", "person0001", "person0002")
    assert not splits.real
    assert splits.note == "rendered people, 4 to 1 training pictures of each"
    parts = [splits.train, splits.val, splits.test]
    assert len({int(k) for p in parts for k in p.keys}) == sum(map(len, parts))
    for person in range(3):
        shots = [pictures_of(p, person) for p in parts]
        assert len(set.union(*shots)) == sum(map(len, shots))
    outside = splits.test.images[:, 0]
    assert (outside == 128).all()  # no background


def test_one_drawing_serves_every_imbalance(monkeypatch):
    first = people_splits(FEW)

    def never(*_: object, **__: object) -> None:
        raise AssertionError("drawn again")

    monkeypatch.setattr(rendered_faces, "make", never)
    steps = people_splits(replace(FEW, imbalance_kind="step"))
    assert steps.train.counts().tolist() == [4, 1, 1]
    assert np.array_equal(steps.test.images, first.test.images)
    flat = people_splits(replace(FEW, imbalance=1.0))
    assert flat.train.counts().tolist() == [4, 4, 4]
    for person in range(3):  # a tail is part of the whole
        assert pictures_of(first.train, person) <= pictures_of(flat.train, person)


def test_without_imbalance_everybody_has_as_many(monkeypatch):
    monkeypatch.setattr(longtail_people, "LARGEST", 4)
    balanced = people_splits(replace(FEW, imbalance=None, n_max=None))
    assert balanced.train.counts().tolist() == [4, 4, 4]


def test_unseen_people_are_the_next_ones():
    more = people_splits(replace(FEW, people=5, imbalance=1.0, n_max=1, val_per_class=0, test_per_class=1))
    others = unseen_people(FEW, 2, 2)
    assert others.classes == ("person0003", "person0004")
    assert others.targets.tolist() == [0, 0, 1, 1]
    for n in range(2):  # shots 0 and 1 of persons 3 and 4, whichever way they are drawn
        both = pictures_of(more.train, 3 + n) | pictures_of(more.test, 3 + n)
        assert pictures_of(others, n) == both


def test_settings_of_people_are_theirs_alone():
    with pytest.raises(ConfigError, match=r"people does not apply to kind='folder'"):
        ClassificationData("folder", people=3)
    with pytest.raises(ConfigError, match=r"data\.people=1 is outside"):
        ClassificationData("people", people=1)
    with pytest.raises(ConfigError, match=r"root does not apply to 'people', which needs no files"):
        ClassificationData("people", root="/somewhere")
