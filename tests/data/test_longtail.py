from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.core.errors import ConfigError, DataError
from mien.data.longtail import hold_out, longtail_counts, make_longtail


@pytest.mark.parametrize(
    ("classes", "n_max", "factor", "total"),
    [
        (10, 5000, 100, 12_406),
        (10, 5000, 50, 13_996),
        (10, 5000, 10, 20_431),
        (100, 500, 100, 10_847),
        (100, 500, 50, 12_608),
        (100, 500, 10, 19_573),
    ],
)
def test_published_totals_of_cifar_lt(classes, n_max, factor, total):
    counts = longtail_counts(classes, n_max, factor)
    assert counts.sum() == total
    assert counts[0] == n_max == counts.max()
    targets = np.repeat(np.arange(classes), n_max)
    assert np.bincount(targets[make_longtail(targets, classes, factor)]).tolist() == counts.tolist()


@pytest.mark.parametrize(
    ("n_max", "factor", "expected"),
    [
        (500, 50, [500, 323, 209, 135, 87, 56, 36, 23, 15, 10]),  # the page's worked example 4
        (400, 100, [400, 239, 143, 86, 51, 30, 18, 11, 6, 4]),
        (6000, 100, [6000, 3596, 2156, 1292, 774, 464, 278, 166, 100, 60]),
        (1000, 100, [1000, 599, 359, 215, 129, 77, 46, 27, 16, 10]),
    ],
)
def test_worked_counts(n_max, factor, expected):
    assert longtail_counts(10, n_max, factor).tolist() == expected


def test_shot_groups_of_cifar100_lt():
    counts = longtail_counts(100, 500, 100)
    groups = (counts > 100).sum(), ((counts >= 20) & (counts <= 100)).sum(), (counts < 20).sum()
    assert groups == (35, 35, 30)


def test_step_and_edges():
    assert longtail_counts(5, 100, 10, "step").tolist() == [100, 100, 10, 10, 10]
    assert longtail_counts(1, 7, 100).tolist() == [7]
    assert longtail_counts(4, 7, 1).tolist() == [7] * 4
    assert longtail_counts(3, 5, 100).tolist() == [5, 0, 0]  # truncated as written, also to nothing


def test_smallest_class_gives_n_max():
    targets = np.array([0] * 9 + [1] * 6 + [2] * 7)
    kept = make_longtail(targets, 3, 6)
    assert np.bincount(targets[kept]).tolist() == longtail_counts(3, 6, 6).tolist()


def test_the_seed_decides_and_order_of_other_classes_does_not():
    targets = np.repeat(np.arange(4), 50)
    kept = make_longtail(targets, 4, 10, seed=3)
    assert np.array_equal(kept, make_longtail(targets, 4, 10, seed=3))
    assert not np.array_equal(kept, make_longtail(targets, 4, 10, seed=4))
    # Class 0 lies in front: dropping the others, or adding some behind, leaves its choice as it was.
    alone = make_longtail(targets[:50], 1, 10, n_max=50, seed=3)
    assert len(alone) == 50
    some = [
        make_longtail(np.r_[np.zeros(50, int), np.ones(n, int)], 2, 2, n_max=30, seed=3) for n in (30, 40)
    ]
    assert np.array_equal(some[0][some[0] < 50], some[1][some[1] < 50])


def test_smaller_subsets_lie_inside_larger_ones():
    targets = np.repeat(np.arange(4), 50)
    assert set(make_longtail(targets, 4, 50)) < set(make_longtail(targets, 4, 10))


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_subset_has_the_right_sizes_classes_and_no_duplicates(data):
    classes = data.draw(st.integers(1, 12))
    n_max = data.draw(st.integers(1, 40))
    factor = data.draw(st.floats(1, 200))
    kind = data.draw(st.sampled_from(["exp", "step"]))
    extra = data.draw(st.lists(st.integers(0, 5), min_size=classes, max_size=classes))
    seed = data.draw(st.integers(0, 2**31))
    targets = np.repeat(np.arange(classes), np.array(extra) + n_max)
    targets = np.random.default_rng(seed).permutation(targets)
    kept = make_longtail(targets, classes, factor, kind, n_max, seed)
    assert kept.dtype == np.int64
    assert (np.diff(kept) > 0).all()  # ascending, so without duplicates
    if kind == "exp":
        expected = [int(n_max * (1 / factor) ** (c / (classes - 1 or 1))) for c in range(classes)]
    else:
        expected = [n_max if c < classes // 2 else int(n_max / factor) for c in range(classes)]
    assert np.bincount(targets[kept], minlength=classes).tolist() == expected


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (dict(imbalance_factor=0.5), ConfigError, "at least 1"),
        (dict(imbalance_factor=float("nan")), ConfigError, "at least 1"),
        (dict(imbalance_factor=10, kind="linear"), ConfigError, "known: exp, step"),
        (dict(imbalance_factor=10, n_max=0), ConfigError, "n_max=0"),
        (dict(imbalance_factor=2, n_max=9), DataError, "class 1 has 4 images but needs 6"),
        (dict(imbalance_factor=2, num_classes=2), DataError, "labels run from 0 to 2"),
        (dict(imbalance_factor=2, num_classes=4), DataError, "class 3 has no images"),
    ],
)
def test_wrong_use_is_said_clearly(arguments, error, words):
    targets = np.array([0] * 9 + [1] * 4 + [2] * 9)
    with pytest.raises(error, match=words):
        make_longtail(targets, **({"num_classes": 3} | arguments))


def test_labels_must_be_integers():
    with pytest.raises(DataError, match="float64"):
        make_longtail(np.zeros(3), 1, 2)


def test_hold_out_leaves_a_training_image_in_each_class():
    targets = np.array([0] * 30 + [1] * 5 + [2] * 2 + [3])  # class 4 is empty
    train, held = hold_out(targets, 10, 5, seed=0)
    assert np.bincount(targets[held], minlength=5).tolist() == [10, 4, 1, 0, 0]
    assert np.bincount(targets[train], minlength=5).tolist() == [20, 1, 1, 1, 0]
    assert np.array_equal(np.sort(np.r_[train, held]), np.arange(len(targets)))
    assert (np.diff(train) > 0).all()
    assert (np.diff(held) > 0).all()
    assert not np.array_equal(held, hold_out(targets, 10, 5, seed=1)[1])
    assert len(hold_out(targets, 0, 5, seed=0)[1]) == 0
