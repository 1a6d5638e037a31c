from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mien.data.config import ClassificationData
from mien.data.glyphs import _FONTS, CHARACTERS, glyphs_splits
from mien.data.longtail import longtail_counts
from mien.data.readers import read_splits

SMALL = ClassificationData(
    "glyphs_lt", size=16, imbalance=4.0, n_max=4, val_per_class=1, test_per_class=2, subset_seed=3
)


@pytest.fixture(scope="module")
def splits():
    return glyphs_splits(SMALL)


def test_a_hundred_classes_with_a_long_tail(splits):
    assert len(set(CHARACTERS)) == 100
    assert splits.train.classes == CHARACTERS
    assert splits.train.counts().tolist() == longtail_counts(100, 4, 4.0).tolist()
    assert splits.val.counts().tolist() == [1] * 100
    assert splits.test.counts().tolist() == [2] * 100
    assert splits.train.images.shape[1:] == (16, 16, 1)
    assert not splits.real
    assert splits.note == "rendered characters, 4 to 1 training pictures of each"


def test_defaults_are_the_size_of_the_papers_cifar_counts():
    """Without ``imbalance`` as many of each; the largest class has 100."""
    flat = glyphs_splits(
        replace(SMALL, imbalance=None, n_max=None, val_per_class=0, test_per_class=None, size=8)
    )
    assert flat.train.counts().tolist() == [100] * 100
    assert flat.test.counts().tolist() == [50] * 100


def test_no_picture_comes_twice(splits):
    parts = (splits.train, splits.val, splits.test)
    assert len(np.unique(np.concatenate([p.keys for p in parts]))) == sum(len(p) for p in parts)
    pixels = np.concatenate([p.images.reshape(len(p), -1) for p in parts])
    assert len(np.unique(pixels, axis=0)) == len(pixels)


def test_a_picture_hangs_on_its_part_class_and_number_alone(splits):
    more = glyphs_splits(replace(SMALL, n_max=6, imbalance=6.0, val_per_class=2))
    head = splits.train.targets == 0
    assert np.array_equal(splits.train.images[head], more.train.images[more.train.targets == 0][:4])
    assert np.array_equal(splits.val.images, more.val.images[::2])
    assert np.array_equal(splits.test.images, more.test.images)


def test_the_same_again_another_with_another_seed_and_through_the_reader(splits):
    assert read_splits(SMALL).fingerprint == splits.fingerprint
    assert read_splits(replace(SMALL, subset_seed=4)).fingerprint != splits.fingerprint


def test_colour_is_grey_three_times(splits):
    config = replace(SMALL, channels=3, mean=(0.5,) * 3, std=(0.5,) * 3)
    assert np.array_equal(glyphs_splits(config).test.images, splits.test.images.repeat(3, axis=3))


def test_computer_modern_is_left_out():
    assert len(_FONTS) == 10
    assert not any(name.startswith("cm") for name in _FONTS)
