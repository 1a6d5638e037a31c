from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.core.errors import ConfigError, ShapeError
from mien.metrics import auc, bootstrap_ci, eer_threshold
from mien.metrics.pad_bootstrap import (
    BINS,
    STATISTICS,
    Bins,
    UnitTable,
    binned_auc,
    binned_eer,
    exact_statistics,
    pad_draws,
    pad_estimates,
)
from mien.metrics.pad_scores import pad_samples, pad_sets
from mien.metrics.rates import auc_of, eer_of
from tests.metrics.pad_twin import Twin, made

SEEDS = st.integers(0, 10**6)


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.sampled_from([None, 1, 3]))
def test_few_scores_are_binned_without_loss(seed, levels):
    scores, live, pai = made(50, seed, levels)
    sets = pad_sets(scores, live, pai)
    bins = Bins.of(sets)
    assert bins.exact
    counts = [c[None] for c in bins.counts(sets)]
    assert binned_auc(*counts)[0] == pytest.approx(auc(scores, live))
    assert binned_eer(*counts, True)[0] == pytest.approx(eer_threshold(scores, live).value)
    assert binned_eer(*counts, False)[0] == pytest.approx(eer_of(sets.pooled).value)


def test_many_scores_are_binned_with_little_loss():
    scores, live, pai = made(40_000, 1)
    sets = pad_sets(scores, live, pai)
    bins = Bins.of(sets)
    assert not bins.exact
    assert len(bins.edges) <= BINS + 1
    counts = [c[None] for c in bins.counts(sets)]
    assert [c.sum() for c in counts] == [live.sum(), (~live).sum()]
    assert max(c.max() / c.sum() for c in counts) < 3 / BINS
    assert binned_auc(*counts)[0] == pytest.approx(auc_of(sets.pooled), abs=1e-5)
    assert binned_eer(*counts, False)[0] == pytest.approx(eer_threshold(scores, live).value, abs=1e-4)


def slow_unit_draws(scores, live, pai, units, tau, draws, seed):
    """Samples copied out for every draw, rates by counting."""
    rng = np.random.default_rng(seed)
    names = np.unique(units)
    holds = {u: frozenset(np.where(live[units == u], "live", pai[units == u]).tolist()) for u in names}
    strata = {}
    for u in names:
        strata.setdefault(holds[u], []).append(u)
    out = {name: [] for name in STATISTICS}
    for _ in range(draws):
        taken = [u for same in strata.values() for u in rng.choice(same, len(same))]
        index = np.concatenate([np.flatnonzero(units == u) for u in taken])
        sets = pad_sets(scores[index], live[index], pai[index])
        for name, value in exact_statistics(sets, tau).items():
            out[name].append(value)
    return out


def test_drawing_units_is_drawing_their_samples():
    scores, live, pai = made(400, 4)
    units = np.random.default_rng(0).integers(0, 25, len(scores))
    samples = pad_samples(scores, live, pai)
    found = pad_draws(samples.sets(), 0.4, UnitTable.of(samples, units), 3000, 0)
    slow = slow_unit_draws(scores, live, pai, units, 0.4, 600, 1)
    for name in STATISTICS:
        assert np.mean(found[name]) == pytest.approx(np.mean(slow[name]), abs=4e-3)
        assert np.std(found[name]) == pytest.approx(np.std(slow[name]), rel=0.12)


def test_drawing_samples_is_drawing_units_of_one_sample():
    scores, live, pai = made(500, 7)
    samples = pad_samples(scores, live, pai)
    by_count = pad_draws(samples.sets(), 0.4, None, 3000, 0)
    by_unit = pad_draws(samples.sets(), 0.4, UnitTable.of(samples, np.arange(500)), 3000, 1)
    for name in STATISTICS:
        assert np.mean(by_count[name]) == pytest.approx(np.mean(by_unit[name]), abs=3e-3)
        assert np.std(by_count[name]) == pytest.approx(np.std(by_unit[name]), rel=0.08)


def test_every_draw_keeps_the_sizes_of_strata():
    scores, live, pai = made(200, 2)
    samples = pad_samples(scores, live, pai)
    units = np.where(live, np.arange(200) // 2, 1000 + np.arange(200) // 3)
    table = UnitTable.of(samples, units)
    blocks = np.concatenate(list(table.weights(150, 0)))
    assert blocks.shape == (150, table.count)
    assert (blocks.sum(1) == table.count).all()
    live_units = np.unique(table.unit[samples.code == 0])
    assert (blocks[:, live_units].sum(1) == len(live_units)).all()
    assert blocks.mean() == pytest.approx(1.0)
    tried = table.table(samples.code, 4) @ blocks.T
    assert (tried[1:] > 0).all()


def test_units_that_repeat_samples_widen_the_interval():
    scores, live, pai = made(120, 3)
    many = [np.repeat(v, 6) for v in (scores, live, pai)]
    units = np.repeat(np.arange(120), 6)
    naive = bootstrap_ci(*many[:2], "auc", pai=many[2])
    honest = bootstrap_ci(*many[:2], "auc", pai=many[2], units=units)
    plain = bootstrap_ci(scores, live, "auc", pai=pai)
    widths = [e.interval[1] - e.interval[0] for e in (naive, honest, plain)]
    assert widths[1] == pytest.approx(widths[2], rel=0.15)
    assert widths[0] < 0.6 * widths[1]
    assert (naive.over, honest.over) == ("samples", "units")


def test_intervals_cover():
    """Of 60 tests of one detector about 57 intervals hold its true AUC and ACER."""
    from scipy.stats import norm

    truth = {"auc": norm.cdf(1.2 / np.sqrt(2)), "acer_pooled": norm.cdf(-0.6), "eer": norm.cdf(-0.6)}
    hits = dict.fromkeys(truth, 0)
    for seed in range(60):
        rng = np.random.default_rng(seed)
        live = np.arange(400) < 160
        scores = rng.normal(np.where(live, 1.2, 0.0), 1)
        found = pad_estimates(pad_sets(scores, live), 0.6, None, 300, seed)
        for name, value in truth.items():
            hits[name] += found[name].interval[0] <= value <= found[name].interval[1]
    assert all(50 <= h <= 60 for h in hits.values()), hits


def test_statistics_are_the_loop_and_draws_can_be_left_out():
    scores, live, pai = made(60, 5, 3)
    twin = Twin(scores, live, pai, True)
    found = pad_estimates(pad_sets(scores, live, pai, True), 0.5, draws=0)
    assert found["acer_max"].value == pytest.approx(float(twin.acer(0.5, "max")))
    assert found["acer_pooled"].value == pytest.approx(float(twin.acer(0.5, "pooled")))
    assert found["eer"].value == pytest.approx(float(twin.eer()[1]))
    assert found["auc"].value == pytest.approx(twin.auc())
    assert all(e.over == "none" and np.isnan(e.interval[0]) for e in found.values())


def test_same_seed_same_interval_and_strict_comparison():
    scores, live, pai = made(200, 6, 2)
    units = np.arange(200) // 4
    for extra in ({}, {"units": units}):
        one, two = (
            bootstrap_ci(scores, live, "acer_max", threshold=0.5, pai=pai, strict=s, draws=200, **extra)
            for s in (False, True)
        )
        again = bootstrap_ci(scores, live, "acer_max", threshold=0.5, pai=pai, draws=200, **extra)
        assert one == again
        assert one.value == pytest.approx(float(Twin(scores, live, pai).acer(0.5, "max")))
        assert two.value == pytest.approx(float(Twin(scores, live, pai, True).acer(0.5, "max")))
        assert two.interval[0] <= two.value <= two.interval[1]


def test_bad_input_is_one_line():
    with pytest.raises(ConfigError, match="no statistic 'acer'; did you mean 'acer_max'"):
        bootstrap_ci([0.1, 0.9], [0, 1], "acer")
    with pytest.raises(ConfigError, match="acer_max needs a threshold"):
        bootstrap_ci([0.1, 0.9], [0, 1], "acer_max")
    with pytest.raises(ConfigError, match="draws must be positive"):
        bootstrap_ci([0.1, 0.9], [0, 1], "auc", draws=0)
    with pytest.raises(ShapeError, match=r"units must be \(2,\) like scores, got \(1,\)"):
        bootstrap_ci([0.1, 0.9], [0, 1], "auc", units=[1])
