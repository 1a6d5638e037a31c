"""Remarks on scores that play with the threshold."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ks_2samp

from mien.challenge.flags import flags_of, kolmogorov_smirnov


@pytest.mark.parametrize("seed", range(5))
def test_the_distance_is_that_of_scipy(seed):
    rng = np.random.default_rng(seed)
    a, b = rng.random(50).round(1), (rng.random(80) ** 2).round(1)
    assert kolmogorov_smirnov(a, b) == pytest.approx(ks_2samp(a, b).statistic)


def test_honest_scores_have_no_flag():
    rng = np.random.default_rng(0)
    assert flags_of(rng.random(1000), rng.random(2000)) == ()
    assert flags_of(rng.random(1000), None) == ()


def test_scores_snapped_around_a_wanted_threshold_are_flagged():
    # As the published winner of an earlier edition did: dev scores of two values.
    rng = np.random.default_rng(0)
    snapped = np.where(rng.random(1000) < 0.5, 0.695, 0.705)
    flags = flags_of(snapped, rng.random(1000))
    assert [f.partition(":")[0] for f in flags] == ["dev_few_values", "dev_test_differ"]
    assert "2 distinct dev scores in 1000 lines (0.2 %)" in flags[0]


def test_bounds_are_strict():
    assert flags_of(np.repeat([0.1, 0.9], 100), None) == ()  # 2 of 200: one per cent
    apart = flags_of(np.array([0.1, 0.2]), np.array([0.2, 0.3]))
    assert apart == ()  # .5 is not above .5
