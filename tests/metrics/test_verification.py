from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.core.errors import ConfigError, DataError, ShapeError
from mien.metrics import flip_sum, kfold_accuracy, pair_distances, val_at_far

TWO = ([0.3, 1.0, 1.2, 1.5, 0.8, 1.4, 0.9, 1.7], [1, 1, 0, 0, 1, 1, 0, 0])


def test_worked_example_one_threshold():
    """Two equal halves: each is tested with the threshold of the other, which is that of the example."""
    d = [0.2, 0.5, 0.9, 1.1, 1.3, 0.4, 1.6, 1.9, 2.0, 0.7]
    same = [1, 1, 1, 0, 0, 1, 0, 0, 0, 1]
    found = kfold_accuracy(d + d, same + same, folds=2)
    assert found.thresholds == (0.91, 0.91)
    assert found.accuracies == (1.0, 1.0)
    assert (found.mean, found.std) == (1.0, 0.0)
    assert found.interval[1] == 1.0
    assert 0.8 < found.interval[0] < 0.9


def test_worked_example_two_folds():
    found = kfold_accuracy(*TWO, folds=2)
    assert found.thresholds == (0.81, 1.01)
    assert found.accuracies == (0.75, 0.5)
    assert found.mean == 0.625
    assert found.std == 0.125


def folds_of(n, folds):
    sizes = [n // folds + (k < n % folds) for k in range(folds)]
    ends = np.cumsum([0, *sizes])
    return [list(range(a, b)) for a, b in itertools.pairwise(ends)]


def twin_kfold(d, same, folds):
    accuracies, thresholds = [], []
    for test in folds_of(len(d), folds):
        train = [i for i in range(len(d)) if i not in test]
        best, chosen = -1.0, 0.0
        for t in np.arange(0, 4, 0.01):
            accuracy = sum((d[i] < t) == bool(same[i]) for i in train) / len(train)
            if accuracy > best:
                best, chosen = accuracy, t
        accuracies.append(sum((d[i] < chosen) == bool(same[i]) for i in test) / len(test))
        thresholds.append(round(float(chosen), 2))
    return accuracies, thresholds


def twin_val(d, same, target, folds):
    vals, fars, thresholds = [], [], []
    for test in folds_of(len(d), folds):
        train = [i for i in range(len(d)) if i not in test]
        different = [d[i] for i in train if not same[i]]
        chosen = 0.0
        for t in np.arange(0, 4, 0.001):
            if sum(x < t for x in different) / len(different) <= target:
                chosen = t
        genuine = [d[i] for i in test if same[i]]
        impostor = [d[i] for i in test if not same[i]]
        vals.append(sum(x < chosen for x in genuine) / len(genuine))
        fars.append(sum(x < chosen for x in impostor) / len(impostor))
        thresholds.append(round(float(chosen), 3))
    return vals, fars, thresholds


def made(n=53, seed=0):
    rng = np.random.default_rng(seed)
    same = rng.random(n) < 0.5
    return np.round(np.where(same, rng.normal(1.0, 0.5, n), rng.normal(1.7, 0.5, n)).clip(0, 4), 2), same


@pytest.mark.parametrize("folds", [2, 5, 10])
def test_accuracy_equals_its_loop(folds):
    d, same = made()
    found = kfold_accuracy(d, same, folds)
    accuracies, thresholds = twin_kfold(d, same, folds)
    assert found.accuracies == pytest.approx(accuracies)
    assert found.thresholds == tuple(thresholds)


@pytest.mark.parametrize("target", [0.0, 0.05, 0.3])
def test_val_equals_its_loop(target):
    d, same = made(40, 1)
    found = val_at_far(d, same, target, folds=3)
    vals, fars, thresholds = twin_val(d, same, target, 3)
    assert found.vals == pytest.approx(vals)
    assert found.far == pytest.approx(np.mean(fars))
    assert found.thresholds == tuple(thresholds)
    assert found.resolved == (target > 0.1)


def test_val_without_any_threshold_is_zero():
    d, same = np.array([0.5, 0.0, 0.5, 0.0]), [1, 0, 1, 0]
    found = val_at_far(d, same, 1e-3, folds=2)
    assert found.thresholds == (0.0, 0.0)
    assert found.val == 0.0
    assert not found.resolved


def test_order_matters_and_is_kept():
    d, same = made(60, 2)
    order = np.random.default_rng(3).permutation(60)
    assert kfold_accuracy(d, same) != kfold_accuracy(d[order], same[order])
    inside = np.concatenate([block[::-1] for block in np.arange(60).reshape(10, 6)])
    assert kfold_accuracy(d, same) == kfold_accuracy(d[inside], same[inside])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_duplicated_pairs_change_nothing(seed):
    d, same = made(30, seed)
    once, twice = kfold_accuracy(d, same, 3), kfold_accuracy(np.repeat(d, 2), np.repeat(same, 2), 3)
    assert once.thresholds == twice.thresholds
    assert once.accuracies == pytest.approx(twice.accuracies)


def test_flip_sum():
    a, b = np.random.default_rng(0).normal(size=(2, 9000, 4))
    found = flip_sum(a, b)
    assert found.dtype == np.float32
    for i in (0, 8191, 8192, 8999):
        total = [x + y for x, y in zip(a[i], b[i], strict=True)]
        length = sum(t * t for t in total) ** 0.5
        assert found[i] == pytest.approx([t / length for t in total], rel=1e-6)
    np.testing.assert_array_equal(flip_sum(a, b), flip_sum(b, a))
    np.testing.assert_allclose(flip_sum(a), a / np.linalg.norm(a, axis=1, keepdims=True), rtol=1e-6)


def test_pair_distances_of_neighbouring_rows():
    assert pair_distances([[1, 0], [0, 1], [1, 0], [-1, 0]]).tolist() == [2.0, 4.0]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: kfold_accuracy([0.1], [1, 0]), ShapeError, r"\(n,\) alike"),
        (lambda: kfold_accuracy([0.1, float("nan")], [1, 0], 2), DataError, r"1 of 2 scores are NaN"),
        (lambda: kfold_accuracy([0.1, 0.2], [1, 1], 2), DataError, r"all 2 scores are genuine"),
        (lambda: kfold_accuracy([0.1, -0.2], [1, 0], 2), DataError, r"not negative"),
        (lambda: kfold_accuracy([0.1, 0.2], [1, 0]), ConfigError, r"cannot make 10 folds"),
        (lambda: kfold_accuracy([0.1, 0.2], [1, 3], 2), ShapeError, r"booleans or 0 and 1"),
        (lambda: val_at_far([0.1, 0.2, 0.3], [1, 0, 1], folds=2), DataError, r"fold 1 of 2 has no different"),
        (lambda: val_at_far(*TWO, far=2.0), ConfigError, r"between 0 and 1"),
        (lambda: flip_sum([[1.0, 0.0]], [[-1.0, 0.0]]), DataError, r"feature 0 is of zero length"),
        (lambda: flip_sum([[1.0, 0.0]], [[1.0]]), ShapeError, r"\(n, d\) alike"),
        (lambda: pair_distances([[1.0, 0.0]]), ShapeError, r"\(2n, d\)"),
    ],
)
def test_errors_in_one_line(call, error, message):
    with pytest.raises(error, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
