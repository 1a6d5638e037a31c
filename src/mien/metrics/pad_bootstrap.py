"""Bootstrap intervals of ACER, AUC and EER of a detector of presentation attacks.

Drawn again are samples, within live faces and within attacks (for ACER within each species), or whole units
(videos, subjects), within those units that hold the same classes. The threshold stays as it is: it belongs to
another set. Curves are looked at in at most `BINS` bins, of which each holds few scores of either class; what
the bins cost is measured on the scores themselves and added to each draw.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.core.config import suggest
from mien.core.errors import ConfigError, ShapeError
from mien.metrics.intervals import DRAWS, Estimate, percentile_interval
from mien.metrics.pad_points import eer_of_sets
from mien.metrics.pad_scores import Ints, PadSamples, PadSets, pad_samples
from mien.metrics.rates import auc_of
from mien.metrics.score_sets import Floats

Statistic = Literal["acer_max", "acer_pooled", "auc", "eer"]
STATISTICS = ("acer_max", "acer_pooled", "auc", "eer")
BINS = 1024
_BLOCK, _MOST_WEIGHTS = 64, 4_000_000  # draws at a time, and weights of units held at a time


@dataclass(frozen=True)
class Bins:
    """Bins of scores for the curves.

    Attributes:
        edges: (b,) lower edges, ascending; the first is the least score.
        exact: whether every distinct score has a bin of its own.
    """

    edges: Floats
    exact: bool

    @classmethod
    def of(cls, sets: PadSets) -> Bins:
        """Distinct scores, or quantiles of live faces and of attacks where there are too many."""
        distinct = sets.candidates()[:-1]
        if len(distinct) <= BINS:
            return cls(distinct, True)
        edges = [distinct[:1]]
        for side in (sets.live, sets.attack):
            at = side.index(np.linspace(0, side.total, BINS // 2, endpoint=False))
            edges.append(side.values[np.minimum(at, len(side.values) - 1)])
        return cls(np.unique(np.concatenate(edges)), False)

    def counts(self, sets: PadSets) -> tuple[Floats, Floats]:
        """(b,) live faces and (b,) attacks in each bin."""
        live, attack = (
            np.diff(side.mass(np.searchsorted(side.values, self.edges, "left")), append=side.total)
            for side in (sets.live, sets.attack)
        )
        return live, attack


def binned_auc(live: Floats, attack: Floats) -> Floats:
    """(d, b) counts of live faces and of attacks in ascending bins -> (d,) AUC, ties half. O(d b)."""
    below = np.cumsum(attack, 1) - attack / 2
    return np.asarray((live * below).sum(1) / live.sum(1) / attack.sum(1))


def binned_eer(live: Floats, attack: Floats, exact: bool) -> Floats:
    """(d, b) counts of live faces and of attacks in ascending bins -> (d,) EER. O(d b).

    Args:
        live: counts.
        attack: counts.
        exact: the mean of both rates at the edge (or +inf) where they are nearest, the largest of equals;
            otherwise where straight lines between the edges cross.
    """
    zero = np.zeros((len(live), 1))
    n, m = live.sum(1, keepdims=True), attack.sum(1, keepdims=True)
    rejected = np.concatenate([zero, np.cumsum(live, 1)], 1)
    accepted = m - np.concatenate([zero, np.cumsum(attack, 1)], 1)
    gap = rejected * m - accepted * n
    rows = np.arange(len(live))
    if exact:
        at = gap.shape[1] - 1 - np.argmin(np.abs(gap[:, ::-1]), 1)
        return np.asarray((rejected[rows, at] / n[:, 0] + accepted[rows, at] / m[:, 0]) / 2)
    at = np.argmax(gap >= 0, 1)
    over, under = gap[rows, at], -gap[rows, at - 1]
    share = over / (over + under)
    return np.asarray((accepted[rows, at] + share * (accepted[rows, at - 1] - accepted[rows, at])) / m[:, 0])


@dataclass(frozen=True)
class UnitTable:
    """Samples and the unit each belongs to.

    Attributes:
        samples: the scores.
        unit: (n,) numbers from 0.
        count: of units.
    """

    samples: PadSamples
    unit: Ints
    count: int

    @classmethod
    def of(cls, samples: PadSamples, units: ArrayLike) -> UnitTable:
        """From (n,) labels of the units. O(n log n).

        Raises:
            ShapeError: of another length.
        """
        labels = np.asarray(units)
        if labels.shape != samples.scores.shape:
            raise ShapeError(f"units must be ({len(samples.scores)},) like scores, got {labels.shape}")
        names, unit = np.unique(labels, return_inverse=True)
        return cls(samples, unit.reshape(-1).astype(np.int64), len(names))

    def weights(self, draws: int, seed: int) -> Iterator[Floats]:
        """(d, units) how often each unit is taken, in blocks; drawn within the units of the same classes."""
        classes = len(self.samples.names) + 1
        holds = np.zeros((self.count, classes), np.bool_)
        holds[self.unit, self.samples.code] = True
        _, stratum, size = np.unique(holds, axis=0, return_inverse=True, return_counts=True)
        order = np.argsort(stratum.reshape(-1), kind="stable")
        first = np.repeat(np.cumsum(size) - size, size)
        span = np.repeat(size, size)
        rng = np.random.default_rng(seed)
        block = max(1, min(_BLOCK, _MOST_WEIGHTS // self.count))
        for start in range(0, draws, block):
            d = min(block, draws - start)
            taken = order[first + np.floor(rng.random((d, self.count)) * span).astype(np.int64)]
            flat = np.bincount((taken + np.arange(d)[:, None] * self.count).ravel(), minlength=d * self.count)
            yield flat.reshape(d, self.count).astype(np.float64)

    def table(self, column: Ints, columns: int, keep: NDArray[np.bool_] | None = None) -> Any:
        """Sparse (columns, units) numbers of samples in each column, of those to keep."""
        from scipy.sparse import coo_matrix

        chosen = slice(None) if keep is None else keep
        ones = np.ones(len(column[chosen]))
        return coo_matrix((ones, (column[chosen], self.unit[chosen])), (columns, self.count)).tocsr()


def _acers(accepted: Floats, tries: Floats) -> tuple[Floats, Floats]:
    """(d, 1 + K) accepted and tried, live first -> (d,) ACER max over species and ACER pooled."""
    bpcer = 1 - accepted[:, 0] / tries[:, 0]
    worst = (accepted[:, 1:] / tries[:, 1:]).max(1)
    pooled = accepted[:, 1:].sum(1) / tries[:, 1:].sum(1)
    return (worst + bpcer) / 2, (pooled + bpcer) / 2


def _curves(bins: Bins, live: Floats, attack: Floats) -> tuple[Floats, Floats]:
    return binned_auc(live, attack), binned_eer(live, attack, bins.exact)


def _sample_draws(
    sets: PadSets, tau: float, bins: Bins, draws: int, seed: int
) -> Iterator[tuple[Floats, ...]]:
    """Blocks of (d,) values of the four statistics, samples drawn again. O(draws (species + bins))."""
    rng = np.random.default_rng(seed)
    sides = (sets.live, *sets.species.values())
    tries = np.array([[side.total for side in sides]])
    share = np.array([float(sets.accepted(side, tau)) / side.total for side in sides])
    live, attack = bins.counts(sets)
    n, m = sets.live.total, sets.attack.total
    for start in range(0, draws, _BLOCK):
        d = min(_BLOCK, draws - start)
        accepted = rng.binomial(tries.astype(np.int64), share, (d, len(sides))).astype(np.float64)
        again = (rng.multinomial(round(t), c / t, d).astype(np.float64) for t, c in ((n, live), (m, attack)))
        yield *_acers(accepted, tries), *_curves(bins, *again)


def _unit_draws(
    table: UnitTable, sets: PadSets, tau: float, bins: Bins, draws: int, seed: int
) -> Iterator[tuple[Floats, ...]]:
    """Blocks of (d,) values of the four statistics, units drawn again. O(draws n)."""
    samples, b = table.samples, len(bins.edges)
    s, code, classes = samples.scores, samples.code, len(samples.names) + 1
    tried = table.table(code, classes)
    passed = table.table(code, classes, s > tau if sets.strict else s >= tau)
    place = np.searchsorted(bins.edges, s, "right") - 1
    binned = table.table(np.where(code > 0, b, 0) + place, 2 * b)
    for weights in table.weights(draws, seed):
        accepted, tries, counts = ((m @ weights.T).T for m in (passed, tried, binned))
        yield *_acers(accepted, tries), *_curves(bins, counts[:, :b], counts[:, b:])


def pad_draws(
    sets: PadSets, tau: float, table: UnitTable | None = None, draws: int = DRAWS, seed: int = 0
) -> dict[str, Floats]:
    """(draws,) bootstrap values of each of `STATISTICS`.

    Args:
        sets: scores.
        tau: threshold of the ACERs, held fixed.
        table: the same scores with their units; None draws samples.
        draws: how many.
        seed: of the draws.

    Raises:
        ConfigError: fewer than one draw.
    """
    if draws < 1:
        raise ConfigError(f"draws must be positive, got {draws}")
    bins = Bins.of(sets)
    if table is None:
        blocks = list(_sample_draws(sets, tau, bins, draws, seed))
    else:
        blocks = list(_unit_draws(table, sets, tau, bins, draws, seed))
    out = {
        name: np.concatenate(part) for name, part in zip(STATISTICS, zip(*blocks, strict=True), strict=True)
    }
    auc, eer = _curves(bins, *(c[None] for c in bins.counts(sets)))
    out["auc"] = np.clip(out["auc"] + auc_of(sets.pooled) - auc, 0, 1)
    out["eer"] = np.clip(out["eer"] + eer_of_sets(sets).value - eer, 0, 1)
    return out


def exact_statistics(sets: PadSets, tau: float) -> dict[str, float]:
    """The four of `STATISTICS` on the scores as they are."""
    bpcer = float(sets.bpcer(tau))
    return {
        "acer_max": (float(sets.apcer_max(tau)) + bpcer) / 2,
        "acer_pooled": (float(sets.apcer_pooled(tau)) + bpcer) / 2,
        "auc": auc_of(sets.pooled),
        "eer": eer_of_sets(sets).value,
    }


def pad_estimates(
    sets: PadSets, tau: float, table: UnitTable | None = None, draws: int = DRAWS, seed: int = 0
) -> dict[str, Estimate]:
    """`STATISTICS` with 95 % bootstrap intervals; without (nan, nan) where ``draws`` is 0.

    Args:
        sets: scores.
        tau: threshold of the ACERs.
        table: the same scores with their units; None draws samples.
        draws: of the bootstrap; 0 leaves it out.
        seed: of the bootstrap.
    """
    values = exact_statistics(sets, tau)
    if not draws:
        return {name: Estimate(v, (np.nan, np.nan), "none") for name, v in values.items()}
    over = "samples" if table is None else "units"
    drawn = pad_draws(sets, tau, table, draws, seed)
    return {name: Estimate(v, percentile_interval(drawn[name]), over) for name, v in values.items()}


def bootstrap_ci(
    scores: ArrayLike,
    live: ArrayLike,
    statistic: Statistic,
    *,
    threshold: float | None = None,
    pai: ArrayLike | None = None,
    units: ArrayLike | None = None,
    strict: bool = False,
    draws: int = DRAWS,
    seed: int = 0,
) -> Estimate:
    """A statistic with its 95 % percentile bootstrap interval.

    O(n log n + draws 1024) over samples, O(n log n + draws n) over units.

    Args:
        scores: (n,) higher is more live.
        live: (n,) true for live faces.
        statistic: ``acer_max``, ``acer_pooled``, ``auc`` or ``eer``.
        threshold: for the ACERs; held fixed.
        pai: (n,) species of the attacks; None = one species.
        units: (n,) videos or subjects, to be drawn as wholes; None draws samples.
        strict: accepted means score > threshold.
        draws: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        ConfigError: no such statistic, or an ACER without a threshold.
        ShapeError, DataError: in one line, what is wrong with the scores.

    >>> bootstrap_ci([0.9, 0.8, 0.2, 0.1], [1, 1, 0, 0], "auc").interval
    (1.0, 1.0)
    """
    if statistic not in STATISTICS:
        raise ConfigError(f"no statistic {statistic!r}{suggest(statistic, list(STATISTICS))}")
    if statistic.startswith("acer") and threshold is None:
        raise ConfigError(f"{statistic} needs a threshold")
    samples = pad_samples(scores, live, pai)
    sets = samples.sets(strict)
    table = None if units is None else UnitTable.of(samples, units)
    tau = np.inf if threshold is None else threshold
    interval = percentile_interval(pad_draws(sets, tau, table, draws, seed)[statistic])
    return Estimate(exact_statistics(sets, tau)[statistic], interval, "samples" if table is None else "units")
