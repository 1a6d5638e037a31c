"""Platt's calibration: log odds of a net to probabilities that can be read as such."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]


def calibrate(scores: Scores, live: NDArray[np.bool_], ridge: float = 1e-2) -> tuple[float, float]:
    """Platt's a, b: P(live) = 1 / (1 + exp(-(a s + b))), classes weighted alike.

    Newton's method on the mean log loss + ridge (a - 1)^2 / 2; O(n) a step.

    Args:
        scores: (n,) log odds.
        live: (n,).
        ridge: pull of a towards 1, so that perfect separation has an answer.
    """
    x = np.stack([scores, np.ones_like(scores)], 1)
    weight = np.where(live, 0.5 / max(live.sum(), 1), 0.5 / max((~live).sum(), 1))
    theta = np.array([1.0, 0.0])
    pull = np.diag([ridge, 1e-6])
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(x @ theta, -50, 50)))
        slope = x.T @ (weight * (p - live)) + pull @ (theta - [1.0, 0.0])
        step = np.linalg.solve((x * (weight * p * (1 - p))[:, None]).T @ x + pull, slope)
        theta = theta - np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-10:
            break
    return float(max(theta[0], 1e-3)), float(theta[1])


def probability(scores: Scores, calibration: Sequence[float]) -> Scores:
    """P(live) of log odds; strictly increasing in them."""
    a, b = calibration
    return np.asarray(1 / (1 + np.exp(-np.clip(a * scores + b, -500, 500))))
