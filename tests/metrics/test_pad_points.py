from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.core.errors import ConfigError
from mien.metrics import auc, bpcer_at_apcer, det_curve, det_plot, eer_threshold, score_histogram, tpr_at_fpr
from mien.metrics.pad_points import (
    DEFINITIONS,
    bpcer_at_apcer_of,
    eer_of_sets,
    threshold_at_apcer,
    threshold_at_bpcer,
)
from mien.metrics.pad_scores import pad_sets
from tests.metrics.pad_twin import DEV, TEST, Twin, made

SEEDS = st.integers(0, 10**6)
LEVELS = st.sampled_from([None, 1, 3])
TARGETS = [Fraction(k, 20) for k in (0, 1, 2, 5, 10, 19, 20)]


def test_worked_example():
    scores, live, pai = TEST
    found = eer_threshold(scores, live)
    assert found.threshold == 0.58
    assert (found.apcer, found.bpcer, found.value) == pytest.approx([1 / 3] * 3)
    assert auc(scores, live) == pytest.approx(0.814815, abs=1e-6)
    for target, tau, rate in ((0.10, 0.80, 0.5), (0.25, 0.62, 0.333333), (0.40, 0.55, 0.166667)):
        point = bpcer_at_apcer(scores, live, target, pai=pai)
        assert (point.threshold, point.bpcer.value) == (tau, pytest.approx(rate, abs=1e-6))
        if target == 0.25:
            assert point.apcer_pooled == pytest.approx(0.222222, abs=1e-6)
            assert point.apcer_max == 0.25
    points = tpr_at_fpr(scores, live, [0.1, 0.25, 0.4])
    assert [p.tpr for p in points] == pytest.approx([0.5, 0.666667, 0.833333], abs=1e-6)


def test_dev_example():
    found = eer_threshold(*DEV)
    assert (found.threshold, found.value, found.apcer, found.bpcer) == (0.5, 0.25, 0.25, 0.25)


@settings(max_examples=80, deadline=None)
@given(SEEDS, LEVELS, st.booleans(), st.integers(4, 40))
def test_eer_is_the_loop(seed, levels, strict, n):
    scores, live, _ = made(n, seed, levels)
    tau, value = Twin(scores, live, None, strict).eer()
    found = eer_threshold(scores, live, strict=strict)
    assert (found.threshold, found.value) == (tau, pytest.approx(float(value)))


def test_eer_of_equal_gaps_takes_the_largest_threshold():
    scores, live = [0.9, 0.6, 0.5, 0.1], [1, 0, 1, 0]
    twin = Twin(scores, live)
    gaps = [abs(twin.apcer_kind(t, "pooled") - twin.bpcer(t)) for t in (0.5, 0.6, 0.9)]
    assert gaps == [Fraction(1, 2), 0, Fraction(1, 2)]
    assert eer_threshold(scores, live).threshold == 0.6
    even = [0.9, 0.5, 0.5, 0.1], [1, 1, 0, 0]  # |1/2 - 0| at 0.5, |0 - 1/2| at 0.9
    assert eer_threshold(*even).threshold == 0.9
    assert eer_threshold(*even).value == 0.25


def test_eer_is_exact_where_floats_are_not():
    """One of ten on both sides: 1 - 0.9 is below 0.1 in floating point."""
    live, attack = [0.05, *np.linspace(0.6, 0.9, 9)], [0.5, *np.linspace(0.01, 0.04, 9)]
    found = eer_threshold(live + attack, [1] * 10 + [0] * 10)
    assert (found.threshold, found.value) == (0.5, pytest.approx(0.1))
    assert found.apcer == found.bpcer


@settings(max_examples=60, deadline=None)
@given(SEEDS, LEVELS, st.booleans(), st.sampled_from(["max", "pooled"]))
def test_points_at_a_rate_are_the_loop(seed, levels, strict, kind):
    scores, live, pai = made(40, seed, levels)
    sets, twin = pad_sets(scores, live, pai, strict), Twin(scores, live, pai, strict)
    for target in TARGETS:
        tau = threshold_at_apcer(sets, float(target), kind)
        assert tau == twin.at_apcer(target, kind)
        point = bpcer_at_apcer_of(sets, float(target), kind)
        assert point.bpcer.value == pytest.approx(float(twin.bpcer(tau)))
        assert point.apcer_max == pytest.approx(float(twin.apcer_kind(tau, "max")))
        assert threshold_at_bpcer(sets, float(target)) == twin.at_bpcer(target)


@settings(max_examples=50, deadline=None)
@given(SEEDS, LEVELS)
def test_tpr_by_three_definitions_is_the_loop(seed, levels):
    scores, live, _ = made(40, seed, levels)
    twin = Twin(scores, live)
    for definition in DEFINITIONS:
        for target in TARGETS:
            (point,) = tpr_at_fpr(scores, live, [float(target)], definition=definition)
            assert point.tpr == pytest.approx(twin.tpr(target, definition), abs=1e-9)
            assert point.definition == definition
        (low, high) = tpr_at_fpr(scores, live, [0.2, 0.3], definition=definition)
        assert low.tpr <= high.tpr


def test_definitions_differ_and_unresolvable_points_say_so():
    scores, live = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4], [1, 0, 1, 0, 1, 0]
    found = {d: tpr_at_fpr(scores, live, [0.3], definition=d)[0] for d in DEFINITIONS}
    assert found["conservative"].tpr == pytest.approx(1 / 3)
    assert found["nearest"].tpr == pytest.approx(2 / 3)
    assert found["interpolated"].tpr == pytest.approx(1 / 3)
    assert found["interpolated"].fpr == 0.3
    assert not found["conservative"].resolvable
    assert found["conservative"].interval[0] == 0.0
    assert tpr_at_fpr(scores, live, [0.34])[0].resolvable
    with pytest.raises(ConfigError, match="no definition 'nearst' of TPR@FPR; did you mean 'nearest'"):
        tpr_at_fpr(scores, live, definition="nearst")
    with pytest.raises(ConfigError, match="between 0 and 1, got 2"):
        tpr_at_fpr(scores, live, [2])


@settings(max_examples=40, deadline=None)
@given(SEEDS, LEVELS)
def test_auc_is_the_loop(seed, levels):
    scores, live, _ = made(40, seed, levels)
    assert auc(scores, live) == pytest.approx(Twin(scores, live).auc())


@settings(max_examples=30, deadline=None)
@given(SEEDS, LEVELS, st.integers(2, 4))
def test_points_of_duplicates_and_increasing_maps(seed, levels, times):
    scores, live, pai = made(40, seed, levels)
    one = bpcer_at_apcer(scores, live, 0.2, pai=pai), eer_threshold(scores, live)
    many = [np.tile(v, times) for v in (scores, live, pai)]
    more = bpcer_at_apcer(*many[:2], 0.2, pai=many[2]), eer_threshold(*many[:2])
    assert one[0].threshold == more[0].threshold
    assert one[0].bpcer.value == pytest.approx(more[0].bpcer.value)
    assert (one[1].threshold, one[1].value) == (more[1].threshold, pytest.approx(more[1].value))
    mapped = np.exp(scores)
    assert eer_threshold(mapped, live).value == pytest.approx(one[1].value)
    assert bpcer_at_apcer(mapped, live, 0.2, pai=pai).bpcer.value == one[0].bpcer.value


def test_names_and_resolution_of_bpcer_points():
    scores, live, pai = TEST
    assert [bpcer_at_apcer(scores, live, x).name for x in (0.1, 0.05, 0.01)] == [
        "BPCER10",
        "BPCER20",
        "BPCER100",
    ]
    assert bpcer_at_apcer(scores, live, 0.03).name == "BPCER@APCER=0.03"
    assert bpcer_at_apcer(scores, live, 0.0).name == "BPCER@APCER=0"
    assert bpcer_at_apcer(scores, live, 0.25, pai=pai).resolvable
    assert not bpcer_at_apcer(scores, live, 0.2, pai=pai).resolvable
    assert bpcer_at_apcer(scores, live, 0.2, pai=pai, apcer="pooled").resolvable
    with pytest.raises(ConfigError, match="between 0 and 1"):
        bpcer_at_apcer(scores, live, 1.5)
    with pytest.raises(ConfigError, match="no APCER"):
        bpcer_at_apcer(scores, live, 0.5, apcer="mean")


def test_eer_of_counts_is_that_of_the_scores():
    scores, live, pai = made(300, 5, 4)
    sets = pad_sets(scores, live, pai)
    assert eer_of_sets(sets).value == pytest.approx(float(Twin(scores, live).eer()[1]))


def test_det_curves_are_drawn_with_the_names_of_the_rates():
    scores, live, pai = made(300, 2)
    curves = det_curve(scores, live, pai, most=0)
    assert list(curves) == ["max over species", "pooled", "kind0", "kind1", "kind2"]
    sets = pad_sets(scores, live, pai)
    worst = curves["max over species"]
    for t, far, tar in zip(worst.thresholds[::20], worst.far[::20], worst.tar[::20], strict=True):
        assert (far, 1 - tar) == pytest.approx((float(sets.apcer_max(t)), float(sets.bpcer(t))))
    assert (worst.far >= curves["pooled"].far - 1e-12).all()
    assert curves["kind1"].impostors == int((pai[~live] == "kind1").sum())
    text = det_plot(curves, form="svg", rates=("APCER", "BPCER")).decode()
    assert "<!-- APCER [%] -->" in text
    assert "<!-- BPCER [%] -->" in text
    drawn = score_histogram(scores, live, 0.5, form="svg", kinds=("live", "attack")).decode()
    assert f"<!-- live ({int(live.sum())}) -->" in drawn
    assert f"<!-- attack ({int((~live).sum())}) -->" in drawn
