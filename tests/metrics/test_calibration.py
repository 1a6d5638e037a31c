"""Platt's calibration: known odds, separated scores, upside-down scores."""

import numpy as np
import pytest

from mien.metrics import calibrate, probability


def test_calibration_finds_the_odds_that_made_the_labels() -> None:
    rng = np.random.default_rng(0)
    s = rng.normal(0, 2, 40_000)
    live = rng.random(len(s)) < 1 / (1 + np.exp(-(1.7 * s - 0.4)))
    a, b = calibrate(s, live, ridge=1e-9)
    # Classes weigh alike, so the odds shift by their ratio.
    shift = np.log((~live).mean() / live.mean())
    assert a == pytest.approx(1.7, rel=0.03)
    assert b == pytest.approx(-0.4 + shift, abs=0.05)


def test_calibration_of_separated_scores_is_finite_and_keeps_the_order() -> None:
    s = np.array([-3.0, -2.0, -1.0, 1.0, 2.0, 3.0])
    a, b = calibrate(s, s > 0)
    p = probability(s, (a, b))
    assert 0 < a < 100
    assert (np.diff(p) > 0).all()
    assert (p[:3] < 0.5).all()
    assert (p[3:] > 0.5).all()


def test_calibration_never_turns_scores_round() -> None:
    s = np.array([-3.0, -2.0, 2.0, 3.0])
    a, _ = calibrate(s, s < 0)
    assert a > 0
