"""What the rates would be on other tracks: a bootstrap in which whole tracks are drawn again.

The draws depend on the reference and the seed only, never on the scores, so those of two submissions can be
compared draw by draw: ranks get intervals. The threshold stays as it is.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mien.metrics.intervals import Interval, percentile_interval
from mien.metrics.pad_bootstrap import Bins, UnitTable, binned_auc
from mien.metrics.pad_scores import Ints, PadSamples, PadSets
from mien.metrics.rates import auc_of
from mien.metrics.score_sets import Floats


class Draws(NamedTuple):
    """(d,) values of each rate in the draws."""

    apcer: Floats
    bpcer: Floats
    acer: Floats
    apcer_max: Floats
    acer_max: Floats
    auc: Floats

    def intervals(self) -> dict[str, Interval]:
        """95 % intervals."""
        return {name: percentile_interval(values) for name, values in self._asdict().items()}


def _per_unit(unit: Ints, count: int, code: Ints, classes: int, keep: NDArray[np.bool_] | None) -> Floats:
    """(count, classes) numbers of lines of each unit and class."""
    cell = unit * classes + code
    cells = np.bincount(cell if keep is None else cell[keep], minlength=count * classes)
    return cells.reshape(count, classes).astype(np.float64)


def _rates(tries: Floats, passed: Floats) -> tuple[Floats, ...]:
    """(d, 1 + K) tried and accepted, live first -> (d,) APCER, BPCER, ACER, APCER max, ACER max."""
    bpcer = 1 - passed[:, 0] / tries[:, 0]
    apcer = passed[:, 1:].sum(1) / tries[:, 1:].sum(1)
    worst = (passed[:, 1:] / tries[:, 1:]).max(1)
    return apcer, bpcer, (apcer + bpcer) / 2, worst, (worst + bpcer) / 2


def track_draws(samples: PadSamples, sets: PadSets, tau: float, track: Ints, draws: int, seed: int) -> Draws:
    """Bootstrap over tracks, drawn within those that hold the same labels. O(n log n + draws n).

    Counts of a track by label are a small table, so that a draw of its rates is one product with the tracks'
    weights; the AUC looks at bins of the scores (`mien.metrics.pad_bootstrap.Bins`), corrected for what the
    bins cost on the scores as they are.

    Args:
        samples: test scores.
        sets: the same, sorted.
        tau: threshold; accepted means score >= tau.
        track: (n,) track of each line.
        draws: how many.
        seed: of the draws.
    """
    table = UnitTable.of(samples, track)
    unit, classes = table.unit, len(samples.names) + 1
    tried = _per_unit(unit, table.count, samples.code, classes, None)
    passed = _per_unit(unit, table.count, samples.code, classes, samples.scores >= tau)
    bins = Bins.of(sets)
    b = len(bins.edges)
    column = np.searchsorted(bins.edges, samples.scores, "right") - 1 + np.where(samples.code > 0, b, 0)
    order = np.argsort(column, kind="stable")
    starts = np.searchsorted(column[order], np.arange(2 * b))
    parts = []
    for weights in table.weights(draws, seed):
        drawn = _binned(weights, unit[order], starts)
        auc = binned_auc(drawn[:, :b], drawn[:, b:])
        parts.append((*_rates(weights @ tried, weights @ passed), auc))
    out = Draws(*(np.concatenate(part) for part in zip(*parts, strict=True)))
    exact = binned_auc(*(c[None] for c in bins.counts(sets)))
    return out._replace(auc=np.clip(out.auc + auc_of(sets.pooled) - exact, 0, 1))


def _binned(weights: Floats, unit: Ints, starts: Ints) -> Floats:
    """(d, units) weights -> (d, columns) weight of the lines in each column, these sorted by column."""
    out = np.empty((len(weights), len(starts)))
    for row, weight in zip(out, weights, strict=True):
        below = np.append(0.0, np.cumsum(weight[unit]))
        row[:] = np.diff(below[starts], append=below[-1])
    return out
