from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.core.errors import ConfigError, DataError, ShapeError
from mien.metrics import Rate, acer, apcer_max, apcer_per_pais, apcer_pooled, bpcer, hter, wilson_interval
from mien.metrics.pad_rates import no_responses
from tests.metrics.pad_twin import TEST, Twin, made

SEEDS = st.integers(0, 10**6)


def test_worked_example_at_one_half():
    scores, live, pai = TEST
    assert apcer_per_pais(scores, live, pai, 0.5) == {"mask": 0.4, "print": 0.25}
    assert apcer_max(scores, live, pai, 0.5) == 0.4
    assert apcer_pooled(scores, live, 0.5) == pytest.approx(0.333333, abs=1e-6)
    assert bpcer(scores, live, 0.5) == pytest.approx(0.166667, abs=1e-6)
    assert acer(scores, live, 0.5, pai=pai) == pytest.approx(0.283333, abs=1e-6)
    assert acer(scores, live, 0.5, pai=pai, apcer="pooled") == pytest.approx(0.25)
    assert hter(scores, live, 0.5) == pytest.approx(0.25)


@pytest.mark.parametrize("strict", [False, True])
def test_functions_are_the_loop(strict):
    scores, live, pai = made(50, 1, 2)
    twin = Twin(scores, live, pai, strict)
    for t in [*twin.candidates, 0.25, -9.0]:
        assert apcer_per_pais(scores, live, pai, t, strict=strict) == pytest.approx(
            {k: float(v) for k, v in twin.apcer(t).items()}
        )
        assert bpcer(scores, live, t, strict=strict) == pytest.approx(float(twin.bpcer(t)))
        assert hter(scores, live, t, strict=strict) == pytest.approx(float(twin.acer(t, "pooled")))
        assert acer(scores, live, t, pai=pai, strict=strict) == pytest.approx(float(twin.acer(t, "max")))


def test_strict_differs_at_the_threshold_only():
    scores, live = [0.9, 0.5, 0.5, 0.1], [1, 1, 0, 0]
    assert (apcer_pooled(scores, live, 0.5), bpcer(scores, live, 0.5)) == (0.5, 0.0)
    assert apcer_pooled(scores, live, 0.5, strict=True) == 0.0
    assert bpcer(scores, live, 0.5, strict=True) == 0.5
    assert bpcer(scores, live, 0.3) == bpcer(scores, live, 0.3, strict=True)


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.sampled_from([None, 1, 3]), st.booleans())
def test_rates_are_monotone_in_the_threshold(seed, levels, strict):
    scores, live, pai = made(60, seed, levels)
    taus = np.linspace(scores.min() - 1, scores.max() + 1, 40)
    for f in (apcer_pooled, bpcer):
        steps = np.diff([f(scores, live, t, strict=strict) for t in taus])
        assert ((steps >= 0) if f is bpcer else (steps <= 0)).all()
    per = [apcer_per_pais(scores, live, pai, t, strict=strict) for t in taus]
    assert all((np.diff([p[k] for p in per]) <= 0).all() for k in per[0])


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.sampled_from([None, 3]), st.floats(-2, 2))
def test_swapping_the_classes_and_negating_swaps_the_rates(seed, levels, tau):
    scores, live, _ = made(60, seed, levels)
    tau += 1e-7 * np.pi  # equals no score
    assert apcer_pooled(-scores, ~live, -tau) == pytest.approx(bpcer(scores, live, tau))
    assert bpcer(-scores, ~live, -tau) == pytest.approx(apcer_pooled(scores, live, tau))


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.integers(2, 4))
def test_duplicates_change_no_rate_and_max_is_not_below_pooled(seed, times):
    scores, live, pai = made(40, seed, 3)
    many = [np.tile(v, times) for v in (scores, live, pai)]
    for t in (-1.0, 0.0, 0.5, 1.0):
        assert apcer_per_pais(*many, t) == pytest.approx(apcer_per_pais(scores, live, pai, t))
        assert bpcer(*many[:2], t) == pytest.approx(bpcer(scores, live, t))
        assert apcer_max(scores, live, pai, t) >= apcer_pooled(scores, live, t) - 1e-12


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_acer_of_increasing_maps_with_the_threshold_moved(seed):
    scores, live, pai = made(50, seed, 4)
    tau = float(scores[len(scores) // 2])
    for f in (lambda s: 3 * s - 7, np.exp, lambda s: s**3):
        moved = acer(f(scores), live, float(f(np.asarray([tau]))[0]), pai=pai)
        assert moved == acer(scores, live, tau, pai=pai)


def test_rate_has_wilson_interval_and_rule_of_three():
    rate = Rate.of(0, 60)
    assert (rate.value, rate.rule_of_three) == (0.0, 0.05)
    assert Rate.of(0, 2).rule_of_three == 1.0
    some = Rate.of(3.0, 10.0)
    assert (some.errors, some.tries, some.rule_of_three) == (3, 10, None)
    assert some.interval == wilson_interval(3, 10)


def test_non_responses_are_counted_apart():
    live, pai = [1, 1, 0, 0, 0, 0], ["", "", "print", "print", "mask", "mask"]
    kept, found = no_responses(np.zeros(6), live, pai, [1, 0, 1, 1, 0, 0])
    assert kept.tolist() == [True, False, True, True, False, False]
    assert (found.apnrr.value, found.bpnrr.value) == (0.5, 0.5)
    assert {k: v.value for k, v in found.species.items()} == {"print": 0.0, "mask": 1.0}
    assert list(no_responses(np.zeros(6), live, None, np.ones(6))[1].species) == ["attack"]
    with pytest.raises(ShapeError, match=r"scores, live, response and pai must be \(n,\) alike"):
        no_responses(np.zeros(6), live, None, [1, 0])
    with pytest.raises(ShapeError, match="booleans or 0 and 1"):
        no_responses(np.zeros(6), live, None, [1, 0, 2, 1, 1, 1])
    with pytest.raises(DataError, match="all 2 presentations are live"):
        no_responses(np.zeros(2), [1, 1], None, [1, 1])


def test_no_other_convention():
    with pytest.raises(ConfigError, match="no APCER 'mean'; max"):
        acer([0.1, 0.9], [0, 1], 0.5, apcer="mean")
