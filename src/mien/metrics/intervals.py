"""95 % intervals of shares: Wilson's, and weights for a bootstrap over identities."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.core.errors import ConfigError, DataError

Interval = tuple[float, float]
DRAWS = 1000


@dataclass(frozen=True)
class Estimate:
    """A number, its 95 % interval, and what was drawn again for the interval."""

    value: float
    interval: Interval
    over: str


def wilson_interval(successes: float, trials: float, level: float = 0.95) -> Interval:
    """Wilson's score interval of a share; never empty, also at 0 and 1.

    (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n), p = successes / trials, n = trials.

    Args:
        successes: between 0 and ``trials``.
        trials: how many were tried.
        level: of confidence.

    >>> tuple(round(x, 4) for x in wilson_interval(9, 10))
    (0.5958, 0.9821)
    """
    from scipy.special import ndtri

    if not 0 < level < 1:
        raise ConfigError(f"level must lie between 0 and 1, got {level}")
    if trials <= 0 or not 0 <= successes <= trials:
        raise DataError(f"{successes} of {trials}: a share needs 0 <= successes <= trials and trials > 0")
    p, z2 = successes / trials, float(ndtri(0.5 + level / 2)) ** 2 / trials
    half = math.sqrt(z2 * (p * (1 - p) + z2 / 4))
    low, high = (p + z2 / 2 - half) / (1 + z2), (p + z2 / 2 + half) / (1 + z2)
    return (0.0 if successes == 0 else low, 1.0 if successes == trials else high)


def percentile_interval(draws: ArrayLike) -> Interval:
    """2.5 and 97.5 % quantiles of bootstrap draws."""
    low, high = np.quantile(np.asarray(draws, np.float64), [0.025, 0.975])
    return float(low), float(high)


def resampled(units: int, draws: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """How often each of ``units`` is taken in each draw with replacement."""
    if draws < 1:
        raise ConfigError(f"draws must be positive, got {draws}")
    rng = np.random.default_rng(seed)
    for _ in range(draws):
        yield np.bincount(rng.integers(0, units, units), minlength=units)


def pair_weights(weights: NDArray[Any], first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.float64]:
    """Weight of pairs of units: w_a w_b, and w_a within one unit (its copies are not compared)."""
    a, b = weights[first], weights[second]
    return np.asarray(np.where(first == second, a, a * b), np.float64)


def by_cluster(values: ArrayLike, cluster: ArrayLike, count: int) -> NDArray[np.float64]:
    """(count,) numbers, one for each cluster (person, set), whose mean is that of all n values. O(n).

    Clusters hold different numbers of values, so the mean is a ratio: m + count / n (total_c - m n_c) has its
    spread over clusters (linearised). Zeros without any value.

    Args:
        values: (n,).
        cluster: (n,) integers, 0 .. count - 1.
        count: of clusters.

    >>> by_cluster([1.0, 2, 6], [0, 0, 2], 3)
    array([0., 3., 6.])
    """
    v, at = np.asarray(values, np.float64), np.asarray(cluster)
    if not len(v):
        return np.zeros(count)
    mean, total, own = v.mean(), np.bincount(at, v, count), np.bincount(at, minlength=count)
    return np.asarray(mean + (total - mean * own) * count / len(v), np.float64)
