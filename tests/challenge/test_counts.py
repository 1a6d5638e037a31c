"""Errors by group against loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.challenge.counts import (
    attacks_by_label,
    errors_by_name,
    errors_by_quality,
    histograms,
)
from tests.challenge.made import slow_rates


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 40))
def test_groups_are_counted_as_by_loops(seed, n):
    rng = np.random.default_rng(seed)
    names, live, scores = rng.choice(["a", "b", "c"], n), rng.random(n) < 0.5, rng.random(n)
    found = errors_by_name(names, live, scores >= 0.5)
    assert sorted(found) == sorted(set(names.tolist()))
    for name, errors in found.items():
        assert (errors.apcer, errors.bpcer) == slow_rates(live[names == name], scores[names == name], 0.5)
        if errors.acer is not None:
            assert errors.acer == (errors.apcer + errors.bpcer) / 2
    tenths = errors_by_quality(rng.random(n), live, scores >= 0.5)
    assert sum(e.attacks + e.live for e in tenths) == n
    assert sum(e.accepted for e in tenths) == sum(e.accepted for e in found.values())


def test_names_with_numbers_are_in_the_order_of_numbers():
    names = np.array(["S10", "S2", "S1", "hall", "S³"])
    assert list(errors_by_name(names, names != "S1", names == "S1")) == ["S1", "S2", "S10", "S³", "hall"]


def test_a_label_that_is_absent_has_no_rate():
    found = attacks_by_label(np.array([0, 1, 4, 4]), np.array([True, True, False, True]))
    assert {k: e.apcer for k, e in found.items()} == {"1": 1.0, "2": None, "3": None, "4": 0.5}
    assert found["2"].to_dict() == {"apcer": None, "bpcer": None, "acer": None, "attacks": 0, "live": 0}


def test_equal_qualities_stay_together():
    tenths = errors_by_quality(np.ones(20), np.arange(20) % 2 == 0, np.ones(20, bool))
    assert [e.live for e in tenths] == [10] + [0] * 9


def test_histogram_holds_every_score_once():
    found = histograms(np.array([0.0, 0.02, 1.0, 0.999]), np.array([True, False, False, True]))
    assert found["live"][0] == found["live"][-1] == found["attack"][1] == found["attack"][-1] == 1
    assert sum(map(sum, found.values())) == 4
    assert pytest.approx(2) == sum(found["attack"])
