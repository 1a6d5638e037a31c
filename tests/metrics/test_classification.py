from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.core.errors import ShapeError
from mien.data.longtail import longtail_counts
from mien.metrics.classification import (
    calibration_error,
    fit_temperature,
    grouped_mean,
    mean_class_recall,
    shot_accuracy,
    shot_groups,
    symmetric_kl,
)


def logits_and_target(rows=200, classes=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, classes, generator=generator), torch.randint(
        classes, (rows,), generator=generator
    )


def test_shot_groups_have_the_standard_thresholds():
    """many > 100, medium 20..100 inclusive, few < 20."""
    groups = shot_groups([101, 100, 20, 19, 0])
    assert groups["many"].tolist() == [True, False, False, False, False]
    assert groups["medium"].tolist() == [False, True, True, False, False]
    assert groups["few"].tolist() == [False, False, False, True, True]


def test_group_sizes_of_known_sets():
    """CIFAR-100-LT IF 100: 35/35/30; Fashion-MNIST-LT: 5/3/2."""
    for counts, sizes in (
        (longtail_counts(100, 500, 100), [35, 35, 30]),
        ([1000, 599, 359, 215, 129, 77, 46, 27, 16, 10], [5, 3, 2]),
    ):
        assert [int(g.sum()) for g in shot_groups(counts).values()] == sizes


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 300), min_size=1, max_size=20), st.integers(0, 200), st.integers(0, 100))
def test_every_class_is_in_one_group(counts, many, few):
    few = min(few, many)
    groups = shot_groups(counts, many, few)
    assert (sum(g.astype(int) for g in groups.values()) == 1).all()


def test_known_accuracy():
    found = shot_accuracy([0, 1, 2, 2], [0, 1, 1, 2], [500, 50, 5])
    assert found == {"all": 0.75, "many": 1.0, "medium": 0.5, "few": 1.0}
    assert list(found) == ["all", "many", "medium", "few"]


def test_accuracy_equals_its_loop_and_takes_any_array():
    rng = np.random.default_rng(0)
    pred, target, counts = (
        rng.integers(0, 9, 300),
        rng.integers(0, 9, 300),
        [400, 150, 101, 100, 60, 20, 19, 5, 0],
    )
    wanted = {}
    for name, inside in {
        "all": lambda n: True,
        "many": lambda n: n > 100,
        "medium": lambda n: 20 <= n <= 100,
        "few": lambda n: n < 20,
    }.items():
        hits = [p == t for p, t in zip(pred, target, strict=True) if inside(counts[t])]
        wanted[name] = sum(hits) / len(hits)
    for convert in (lambda a: a, torch.from_numpy, list):
        assert shot_accuracy(convert(pred), convert(target), counts) == pytest.approx(wanted)


def test_group_without_samples_is_nan_without_a_warning():
    found = shot_accuracy([0], [0], [500, 5])
    assert math.isnan(found["few"])
    assert math.isnan(found["medium"])
    assert all(math.isnan(v) for v in shot_accuracy([], np.array([], dtype=int), [500, 5]).values())


def test_other_thresholds():
    pred, target, counts = [0, 1, 0], [0, 1, 2], [100, 20, 5]
    assert shot_accuracy(pred, target, counts, many=99, few=21) == {
        "all": 2 / 3,
        "many": 1.0,
        "medium": pytest.approx(math.nan, nan_ok=True),
        "few": 0.5,
    }


@pytest.mark.parametrize(("pred", "target"), [([0, 1], [0]), ([[0, 1]], [[0, 1]])])
def test_accuracy_of_wrong_shapes(pred, target):
    with pytest.raises(ShapeError, match="must be"):
        shot_accuracy(pred, target, [5, 5])


def test_grouped_mean_takes_shares():
    found = grouped_mean(np.array([0.5, 1.0, 0.0]), np.array([0, 0, 1]), [200, 3])
    assert found["all"] == 0.5
    assert found["many"] == 0.75
    assert found["few"] == 0.0


def twin_ece(logits, target, bins):
    probs = logits.double().softmax(-1)
    rows = [(float(p.max()), int(p.argmax()) == int(t)) for p, t in zip(probs, target, strict=True)]
    total = 0.0
    for b in range(bins):
        inside = [(c, h) for c, h in rows if b / bins < c <= (b + 1) / bins]
        if inside:
            confidence = sum(c for c, _ in inside) / len(inside)
            accuracy = sum(h for _, h in inside) / len(inside)
            total += len(inside) / len(rows) * abs(confidence - accuracy)
    return total


@pytest.mark.parametrize("bins", [10, 15])
def test_calibration_error_equals_its_loop(bins):
    logits, target = logits_and_target()
    assert calibration_error(logits, target, bins) == pytest.approx(twin_ece(logits, target, bins), abs=1e-6)


def test_calibration_error_of_the_sure():
    logits = 100 * F.one_hot(torch.tensor([0, 1, 2, 0]), 3).float()
    assert calibration_error(logits, torch.tensor([0, 1, 2, 0])) == pytest.approx(0, abs=1e-6)
    assert calibration_error(logits, torch.tensor([1, 2, 0, 1])) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("temperature", [0.2, 1.0, 3.0])
def test_temperature_that_made_the_labels_is_found(temperature):
    generator = torch.Generator().manual_seed(0)
    calibrated = 2 * torch.randn(20_000, 5, generator=generator)
    target = torch.multinomial(calibrated.softmax(-1), 1, generator=generator)[:, 0]
    assert fit_temperature(temperature * calibrated, target) == pytest.approx(temperature, rel=0.05)


def test_temperature_is_the_best_on_a_grid_and_stays_in_range():
    logits, target = logits_and_target()
    found = fit_temperature(logits, target)
    assert 0.05 <= found <= 20
    best = min(float(F.cross_entropy(logits.double() / t, target)) for t in np.geomspace(0.05, 20, 400))
    assert float(F.cross_entropy(logits.double() / found, target)) <= best + 1e-6
    right = 5 * F.one_hot(target, 5).float()
    assert 0.05 <= fit_temperature(right, target) < 0.2
    assert 19 < fit_temperature(-right, target) <= 20


def test_symmetric_kl_equals_its_loop():
    a, b = (logits_and_target(7, 4, seed)[0] for seed in (0, 1))
    found = symmetric_kl(a, b)
    assert found.dtype == torch.float64
    for i in range(7):
        p, q = a[i].double().softmax(-1).tolist(), b[i].double().softmax(-1).tolist()
        both = sum(x * math.log(x / y) + y * math.log(y / x) for x, y in zip(p, q, strict=True))
        assert float(found[i]) == pytest.approx(both / 2, rel=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(-50, 50))
def test_symmetric_kl_is_symmetric_positive_and_blind_to_a_shift(seed, shift):
    a, b = logits_and_target(6, 4, seed)[0], logits_and_target(6, 4, seed + 1)[0]
    torch.testing.assert_close(symmetric_kl(a, b), symmetric_kl(b, a))
    torch.testing.assert_close(symmetric_kl(a.double() + shift, b), symmetric_kl(a, b))
    assert (symmetric_kl(a, b) >= 0).all()
    assert not symmetric_kl(a, a).any()


def test_symmetric_kl_of_extreme_logits_is_finite():
    assert torch.isfinite(symmetric_kl(torch.tensor([[80.0, -80.0]]), torch.tensor([[-80.0, 80.0]]))).all()


def test_mean_class_recall_equals_balanced_accuracy():
    from sklearn.metrics import balanced_accuracy_score

    rng = np.random.default_rng(0)
    target, pred = rng.integers(0, 6, 300), rng.integers(0, 6, 300)
    found = mean_class_recall(torch.from_numpy(pred), torch.from_numpy(target), 6)
    assert found == pytest.approx(balanced_accuracy_score(target, pred), rel=1e-6)


def test_mean_class_recall_leaves_out_classes_without_samples():
    assert mean_class_recall(torch.tensor([0, 0, 1]), torch.tensor([0, 0, 0]), 9) == pytest.approx(2 / 3)


def test_public_names():
    import mien.metrics

    assert mien.metrics.shot_accuracy is shot_accuracy
