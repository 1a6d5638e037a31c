"""ARI and IoU of segments over clips: worked numbers, scikit-learn, all assignments, limits."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from mien.core.errors import ShapeError
from mien.metrics import adjusted_rand_index, mean_iou

TRUE = [[0, 0, 0, 1, 1, 1, 2, 2, 2, 2]]
PRED = [[0, 0, 1, 1, 1, 1, 2, 2, 3, 2]]


def labels(seed=0, shape=(6, 3, 8, 9), objects=4, noise=0.3):
    """True and predicted segments that partly agree."""
    rng = np.random.default_rng(seed)
    true = rng.integers(0, objects, shape)
    pred = np.where(rng.random(shape) < noise, rng.integers(0, objects + 2, shape), (true + 1) % objects)
    return true, pred


def test_worked_numbers():
    assert adjusted_rand_index(TRUE, PRED) == pytest.approx([0.52])
    assert adjusted_rand_index(TRUE, PRED, foreground=True) == pytest.approx([0.695652], abs=1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_equal_to_scikit_learn(dtype):
    true, pred = (a.astype(dtype) for a in labels())
    pairs = [(t.ravel(), p.ravel()) for t, p in zip(true, pred, strict=True)]
    assert adjusted_rand_index(true, pred) == pytest.approx([adjusted_rand_score(t, p) for t, p in pairs])
    assert adjusted_rand_index(true, pred, foreground=True) == pytest.approx(
        [adjusted_rand_score(t[t > 0], p[t > 0]) for t, p in pairs]
    )


def test_names_of_segments_do_not_matter():
    true, pred = labels()
    names = np.array([9, 3, 250, 0, 7, 1])
    for metric in (adjusted_rand_index, mean_iou):
        assert metric(true, names[pred]) == pytest.approx(metric(true, pred))
        assert metric(true, names[true]) == pytest.approx(1)


def test_a_swap_in_time_is_punished():
    """Each frame is perfect, the clip is not: that is why it is scored as a whole."""
    true = np.zeros((1, 2, 4, 4), int)
    true[:, :, :2] = 1
    swapped = true.copy()
    swapped[:, 1] = 1 - true[:, 1]
    assert adjusted_rand_index(true[0], swapped[0]) == pytest.approx([1, 1])
    assert adjusted_rand_index(true, swapped)[0] < 0.01
    assert mean_iou(true, swapped) == pytest.approx(1 / 3)


def test_trivial_partitions():
    one, many = np.zeros((1, 6), int), np.arange(6)[None]
    assert adjusted_rand_index(one, one) == [1]
    assert adjusted_rand_index(many, many) == [1]
    assert adjusted_rand_index(one, many) == [0]
    assert adjusted_rand_index(one, many, foreground=True) == [1]
    assert adjusted_rand_index(np.ones((1, 1), int), np.ones((1, 1), int)) == [1]


def test_chance_is_zero():
    rng = np.random.default_rng(0)
    found = adjusted_rand_index(rng.integers(0, 4, (200, 100)), rng.integers(0, 5, (200, 100)))
    assert found.mean() == pytest.approx(0, abs=0.01)


def slow_iou(true, pred, ids):
    """The best of all one-to-one matches, by trying them."""
    segments = [*np.unique(pred), *[-1] * len(ids)]
    best = 0.0
    for choice in itertools.permutations(segments, len(ids)):
        shares = [
            ((true == i) & (pred == j)).sum() / ((true == i) | (pred == j)).sum()
            for i, j in zip(ids, choice, strict=True)
        ]
        best = max(best, float(np.mean(shares)))
    return best


@pytest.mark.parametrize("foreground", [False, True])
def test_iou_equals_all_matches(foreground):
    true, pred = labels(1, (4, 2, 3, 5), objects=3, noise=0.5)
    wanted = [slow_iou(t, p, np.unique(t)[int(foreground) :]) for t, p in zip(true, pred, strict=True)]
    assert mean_iou(true, pred, foreground) == pytest.approx(wanted)


def test_objects_without_a_segment_count_nothing():
    true = np.array([[0, 0, 1, 1, 2, 2]])
    assert mean_iou(true, np.zeros_like(true)) == pytest.approx((2 / 6) / 3)
    assert mean_iou(true, true) == [1]


def test_a_clip_without_objects_has_no_iou():
    empty = np.zeros((1, 6), int)
    assert np.isnan(mean_iou(empty, empty, foreground=True)[0])
    assert mean_iou(empty, empty) == [1]


def test_labels_that_were_left_out_change_nothing():
    true, pred = labels()
    gaps = np.array([0, 2, 5, 9])
    assert mean_iou(gaps[true], pred, True) == pytest.approx(mean_iou(true, pred, True))
    assert adjusted_rand_index(gaps[true], pred, True) == pytest.approx(adjusted_rand_index(true, pred, True))


@pytest.mark.parametrize("metric", [adjusted_rand_index, mean_iou])
@pytest.mark.parametrize(
    ("true", "pred", "says"),
    [
        (np.zeros((2, 3), int), np.zeros((2, 4), int), "one shape"),
        (np.zeros(3, int), np.zeros(3, int), r"\(B, ...\)"),
        (np.zeros((1, 3), int), np.zeros((1, 3)), "pred is float64"),
        (np.full((1, 3), -1), np.zeros((1, 3), int), "true is int64 from -1"),
    ],
)
def test_bad_labels(metric, true, pred, says):
    with pytest.raises(ShapeError, match=says):
        metric(true, pred)
    assert metric(np.zeros((0, 3), int), np.zeros((0, 3), int)).shape == (0,)
