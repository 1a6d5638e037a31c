from __future__ import annotations

import numpy as np
import pytest

from mien.data.bundled import FASHION_CLASSES, debug_splits, fashion_lt_splits
from mien.data.config import ClassificationData
from mien.data.longtail import longtail_counts
from mien.data.readers import read_splits


@pytest.fixture(scope="module")
def fashion():
    return fashion_lt_splits(ClassificationData())


def test_fashion_counts(fashion):
    assert fashion.train.counts().tolist() == [1000, 599, 359, 215, 129, 77, 46, 27, 16, 10]
    assert fashion.train.counts().tolist() == longtail_counts(10, 1000, 100).tolist()
    assert len(fashion.train) == 2478
    assert fashion.val.counts().tolist() == [100] * 10
    assert fashion.test.counts().tolist() == [200] * 10


def test_fashion_pictures(fashion):
    assert fashion.real
    for images in (fashion.train, fashion.val, fashion.test):
        assert images.classes == FASHION_CLASSES
        pictures = np.stack(images.pictures(range(len(images))))
        assert pictures.shape[1:] == (28, 28, 1)
        assert pictures.dtype == np.uint8
        assert pictures.min() == 0
        assert pictures.max() == 255


def test_fashion_never_changes(fashion):
    """Golden: committed results were measured on these pictures."""
    assert fashion.fingerprint == "5eeea4958ec3"
    assert [s.fingerprint for s in (fashion.train, fashion.val, fashion.test)] == [
        "58b5822b26677757",
        "17ead05a8c78836a",
        "9c135dc5ca14cd1d",
    ]


def test_fashion_splits_share_no_picture(fashion):
    """train and val come from one published file, test from another."""
    keys = [set(s.keys.tolist()) for s in (fashion.train, fashion.val, fashion.test)]
    assert [len(k) for k in keys] == [2478, 1000, 2000]
    assert not keys[0] & keys[1]
    assert max(keys[0] | keys[1]) < 60_000
    assert max(keys[2]) < 10_000
    rows = [
        {p.tobytes() for p in s.pictures(range(len(s)))} for s in (fashion.train, fashion.val, fashion.test)
    ]
    assert not rows[0] & rows[1]
    assert not (rows[0] | rows[1]) & rows[2]


def test_further_test_pictures_are_the_rest_of_the_published_file(fashion):
    further = fashion.get("further")
    assert further.counts().tolist() == [800] * 10
    assert further.classes == FASHION_CLASSES
    keys = np.concatenate([fashion.test.keys, further.keys])
    assert np.array_equal(np.sort(keys), np.arange(10_000))


@pytest.mark.parametrize("channels", [1, 3])
def test_debug(channels):
    config = ClassificationData(
        kind="debug", size=16, channels=channels, mean=(0.5,) * channels, std=(0.5,) * channels
    )
    splits = debug_splits(config)
    assert not splits.real
    assert splits.train.counts().tolist() == [20, 14, 10, 7, 5, 4, 3, 2, 2, 1]
    assert splits.val.counts().tolist() == [3] * 10
    assert splits.test.counts().tolist() == [5] * 10
    assert splits.train.pictures([0])[0].shape == (16, 16, channels)
    assert debug_splits(config).fingerprint == splits.fingerprint
    assert splits.train.classes[3] == "stripe-3"


def test_debug_never_changes():
    assert debug_splits(ClassificationData(kind="debug", size=16)).fingerprint == "7b92bee712a9"


@pytest.mark.parametrize("kind", ["fashion_lt", "debug"])
def test_bundled_sets_are_read_by_name(kind):
    config = ClassificationData(kind=kind)
    by_name = {"fashion_lt": fashion_lt_splits, "debug": debug_splits}[kind](config)
    assert read_splits(config).fingerprint == by_name.fingerprint
