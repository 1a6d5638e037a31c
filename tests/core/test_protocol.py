from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mien.core.protocol import (
    Above,
    Claim,
    Equal,
    Evaluation,
    GainOverBest,
    Monotone,
    PairedGain,
    Ratio,
    Row,
    SomeGain,
    Stage,
    Within,
)

A = np.array([[1.0, 2.0, 3.0], [2.0, 2.0, 2.0]])
B = np.array([[0.0, 2.0, 1.0], [1.0, 1.0, 4.0]])


@pytest.mark.parametrize(
    ("rule", "values", "expected"),
    [
        (PairedGain(), (A, B), 0.5),
        (PairedGain(above=0.4), (B, A), -0.5),
        (GainOverBest(), (A, B, A + 0.25), -0.25),
        (GainOverBest(), (A, B), 0.5),
        (SomeGain(), (B, A + 0.25, A), 0.25),
        (Ratio(0.7), (B, A), 0.75),
        (Within(0.1), (A, B), 0.5),
        (Above(1.0), (A,), 2.0),
        (Equal(), (A, B), 2.0),
        (Monotone(), (B, A, A + 0.25), 0.25),
        (Monotone(), (A, B), -0.5),
    ],
)
def test_statistics_by_hand(rule, values, expected):
    assert rule.statistic(values) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("rule", "inside", "outside"),
    [
        (PairedGain(), [1e-9, 5], [0.0, -1]),
        (PairedGain(above=2.0), [2.1], [2.0, 0.0]),
        (GainOverBest(), [1e-9], [0.0, -1]),
        (SomeGain(), [1e-9], [0.0, -1]),
        (Ratio(0.7), [0.7, 0.0], [0.70001, float("inf")]),
        (Within(0.3), [0.3, 0.0, -0.3], [0.31, -0.31]),
        (Above(0.8), [0.81], [0.8, 0.1]),
        (Equal(1e-9), [0.0, 1e-9], [1e-8]),
        (Monotone(), [0.01], [0.0, -1.0]),
    ],
)
def test_sides(rule, inside, outside):
    assert all(rule.side(v) for v in inside)
    assert not any(rule.side(v) for v in outside)
    assert not rule.side(float("nan"))


def test_ratio_over_nothing_is_infinite():
    assert Ratio(0.7).statistic((A, 0 * B)) == float("inf")


def test_one_metric_for_all_rows_or_one_for_each():
    def claim(metric):
        return Claim("x", "paper", "text", ("a", "b"), metric, PairedGain())

    assert claim("single").metrics() == ("single", "single")
    assert claim("ensemble, single").metrics() == ("ensemble", "single")


def test_parts_are_frozen_data():
    row = Row("a", "label", (), (Evaluation("test"),))
    assert row.group == "claims"
    with pytest.raises(dataclasses.FrozenInstanceError):
        row.id = "b"
    assert Evaluation("test") == Evaluation("test", "test", "last", {})
    assert Stage("a", None).uses == {}
