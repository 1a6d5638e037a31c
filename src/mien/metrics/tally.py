"""Rates of any number of scores in fixed memory: counts on a fine grid of thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.core.errors import ConfigError, DataError, ShapeError
from mien.metrics.intervals import DRAWS, percentile_interval
from mien.metrics.rates import Eer, TarAtFar, auc_of, eer_of, pair_draws, point_at_far
from mien.metrics.score_sets import Array, ScoreSets, ScoreSide


def check_grid(low: float, high: float, bins: int) -> None:
    """Refuses grids that count nothing.

    Raises:
        ConfigError: high not above low, or fewer than 2 bins.
    """
    if not low < high or bins < 2:
        raise ConfigError(f"a tally needs low < high and 2 bins or more, got {low}, {high}, {bins}")


def grid_index(scores: Array, low: float, high: float, bins: int) -> NDArray[np.int64]:
    """Bin of each score: it is lowered to a multiple of (high - low) / (bins - 1) above ``low``. O(n)."""
    scaled = (scores.astype(np.float64) - low) * ((bins - 1) / (high - low))
    return np.clip(np.floor(scaled + 1e-9), 0, bins - 1).astype(np.int64)


def counted_side(counts: NDArray[np.int64], low: float, high: float) -> ScoreSide:
    """Counts on a grid from ``low`` to ``high`` as weighted scores. O(bins)."""
    used = np.flatnonzero(counts)
    values = low + used * ((high - low) / (len(counts) - 1))
    return ScoreSide(values, np.concatenate([[0.0], np.cumsum(counts[used])]))


class ScoreTally:
    """Counts genuine and impostor scores as they come: `update`, `merge`, `compute`, `reset`.

    Every score is lowered to a multiple of the bin width before it is counted. Rates at those multiples are
    exact; thresholds are chosen among them, so EER and AUC are off by at most what lies in one bin. Cosines
    in 2^20 bins: width 2e-6, 16 MB.

    Args:
        low: least score; lower ones are counted at it.
        high: largest score; higher ones are counted at it.
        bins: how many.

    >>> tally = ScoreTally()
    >>> for chunk in ([0.9, 0.2], [0.8, 0.1]):
    ...     tally.update(chunk, [True, False])
    >>> tally.auc()
    1.0
    """

    def __init__(self, low: float = -1.0, high: float = 1.0, bins: int = 2**20) -> None:
        check_grid(low, high, bins)
        self.low, self.high, self.bins = low, high, bins
        self.reset()

    def reset(self) -> None:
        """Forgets all scores."""
        self.genuine: NDArray[np.int64] = np.zeros(self.bins, np.int64)
        self.impostor: NDArray[np.int64] = np.zeros(self.bins, np.int64)

    def update(self, scores: ArrayLike, same: ArrayLike) -> None:
        """Counts a chunk; it may be all of one class.

        Args:
            scores: (n,) higher is more alike.
            same: (n,) true where both are of one person.
        """
        s, y = np.asarray(scores), np.asarray(same).astype(np.bool_)
        if s.shape != y.shape or s.ndim != 1:
            raise ShapeError(f"scores and same must be (n,) alike, got {s.shape} and {y.shape}")
        if np.isnan(s).any():
            raise DataError(f"{int(np.isnan(s).sum())} of {len(s)} scores are NaN")
        index = grid_index(s, self.low, self.high, self.bins)
        genuine = np.bincount(index[y], minlength=self.bins)
        self.genuine += genuine
        self.impostor += np.bincount(index, minlength=self.bins) - genuine

    def merge(self, other: ScoreTally) -> None:
        """Adds the counts of another tally of the same grid (another process's)."""
        if (self.low, self.high, self.bins) != (other.low, other.high, other.bins):
            raise ConfigError("only tallies of the same low, high and bins can be merged")
        self.genuine += other.genuine
        self.impostor += other.impostor

    def compute(self) -> ScoreSets:
        """The counts as weighted scores."""
        sides = []
        for kind, counts in (("genuine", self.genuine), ("impostor", self.impostor)):
            if not counts.any():
                raise DataError(f"no {kind} score was counted")
            sides.append(counted_side(counts, self.low, self.high))
        return ScoreSets(*sides)

    def tar_at_far(
        self, fars: Sequence[float], *, rule: str = "at_most", draws: int = DRAWS, seed: int = 0
    ) -> tuple[TarAtFar, ...]:
        """As `mien.metrics.tar_at_far`, the bootstrap over pairs.

        Args:
            fars: wanted false accept rates.
            rule: as there.
            draws: of the bootstrap.
            seed: of the bootstrap.
        """
        sets, out = self.compute(), []
        for far in fars:
            point = point_at_far(sets, far, rule)
            low, high = percentile_interval(pair_draws(sets, far, rule, draws, seed))
            low = low if point.resolved else 0.0
            out.append(
                replace(point, threshold=self._edge(point.threshold), bootstrap=(low, high), over="pairs")
            )
        return tuple(out)

    def _edge(self, threshold: float) -> float:
        """The edge above a threshold that lies just above another edge."""
        if not np.isfinite(threshold):
            return threshold
        width = (self.high - self.low) / (self.bins - 1)
        return float(self.low + (np.round((threshold - self.low) / width) + 1) * width)

    def eer(self) -> Eer:
        """Equal error rate."""
        return eer_of(self.compute())

    def auc(self) -> float:
        """Area under the ROC; scores of one bin count as ties."""
        return auc_of(self.compute())


def tally_pairs(embeddings: ArrayLike, labels: ArrayLike, tally: ScoreTally | None = None) -> ScoreTally:
    """Counts the dot products of all pairs of rows. O(n^2 d) time, O(n d + bins) memory.

    Args:
        embeddings: (n, d), of length 1.
        labels: (n,) identities.
        tally: to add to; a new one of cosines if None.
    """
    e, who = np.ascontiguousarray(embeddings, np.float32), np.asarray(labels)
    if e.ndim != 2 or who.shape != (len(e),):
        raise ShapeError(f"embeddings (n, d) and labels (n,) expected, got {e.shape} and {who.shape}")
    tally = ScoreTally() if tally is None else tally
    step = max(1, 4_000_000 // max(len(e), 1))
    for start in range(0, len(e), step):
        rows = slice(start, min(start + step, len(e)))
        scores, same = e[rows] @ e[start:].T, who[rows, None] == who[None, start:]
        upper = np.arange(start, len(e))[None] > np.arange(rows.start, rows.stop)[:, None]
        tally.update(scores[upper], same[upper])
    return tally
