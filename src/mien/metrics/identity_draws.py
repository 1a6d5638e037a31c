"""Bootstrap over identities of anything that is a function of pair scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.core.errors import DataError, ShapeError
from mien.metrics.intervals import pair_weights, resampled
from mien.metrics.score_sets import Array, Floats, ScoreSets, ScoreSide, check_scores

_MARGIN = 4  # times the expected number of impostors above the threshold is kept for each draw
THIN = 500_000  # impostors looked at in each draw where the whole curve is needed


@dataclass(frozen=True)
class _Side:
    """Sorted scores of one kind, and the two units of each."""

    values: Array
    first: NDArray[np.int64]
    second: NDArray[np.int64]

    def weighted(self, weights: NDArray[np.int64]) -> ScoreSide:
        own = pair_weights(weights, self.first, self.second)
        return ScoreSide(self.values, np.concatenate([[0.0], np.cumsum(own)]))

    def part(self, index: slice) -> _Side:
        return _Side(self.values[index], self.first[index], self.second[index])


@dataclass(frozen=True)
class PairTable:
    """Scores with the units (people, templates) that they compare."""

    genuine: _Side
    impostor: _Side
    units: int

    @classmethod
    def of(cls, scores: ArrayLike, same: ArrayLike, identities: ArrayLike) -> PairTable:
        """Sorts the pairs. O(n log n).

        Args:
            scores: (n,) higher is more alike.
            same: (n,) true where both are of one person.
            identities: (n, 2) any labels of the two units.
        """
        s, y = check_scores(scores, same)
        ids = np.asarray(identities)
        if ids.shape != (len(s), 2):
            raise ShapeError(f"identities must be ({len(s)}, 2), got {ids.shape}")
        names, index = np.unique(ids, return_inverse=True)
        index = index.reshape(-1, 2)
        sides = []
        for chosen in (np.flatnonzero(y), np.flatnonzero(~y)):
            order = chosen[np.argsort(s[chosen], kind="stable")]
            sides.append(_Side(s[order], index[order, 0], index[order, 1]))
        return cls(sides[0], sides[1], len(names))

    def draws(
        self,
        statistic: Callable[[ScoreSets], Sequence[float]],
        draws: int,
        seed: int,
        far: float | None = None,
    ) -> Floats:
        """(draws, k) values of a statistic with the units drawn again.

        Draws in which no genuine or no impostor pair is left are drawn anew.

        Args:
            statistic: k numbers of weighted scores.
            draws: how many.
            seed: of the draws.
            far: the largest FAR the statistic looks at: only the highest impostors are then weighed, the
                rest enters as one number. None where it needs all; beyond half a million impostors every
                m-th by rank then stands for all (a few per cent more spread).
        """
        n = len(self.impostor.values)
        kept = n if far is None else min(n, int(_MARGIN * far * n) + 1000)
        top = self.impostor.part(slice(n - kept, None))
        if far is None and n > THIN:
            top = self.impostor.part(slice((n % -(-n // THIN)) // 2, None, -(-n // THIN)))
        rest = self._totals(kept) if kept < n else None
        out: list[Sequence[float]] = []
        for weights in resampled(self.units, 1000 * draws, seed):
            genuine, impostor = self.genuine.weighted(weights), top.weighted(weights)
            if rest is not None:
                impostor = self._with_rest(weights, rest, impostor, float(far or 0))
            if genuine.total > 0 and impostor.total > 0:
                out.append(statistic(ScoreSets(genuine, impostor)))
            if len(out) == draws:
                return np.asarray(out, np.float64)
        raise DataError(f"{self.units} identities are too few to draw again: most draws lack genuine pairs")

    def _totals(self, kept: int) -> tuple[Array, Array, Array]:
        """Distinct pairs of units among the lower impostors, and how often each occurs."""
        low = self.impostor.part(slice(0, len(self.impostor.values) - kept))
        key, count = np.unique(low.first * self.units + low.second, return_counts=True)
        return key // self.units, key % self.units, count

    def _with_rest(
        self, weights: NDArray[np.int64], rest: tuple[Array, Array, Array], top: ScoreSide, far: float
    ) -> ScoreSide:
        """Puts the weight of the lower impostors below the top ones; weighs all if the top is too small."""
        mass = float(pair_weights(weights, rest[0], rest[1]) @ rest[2])
        assert top.below is not None
        if top.total <= far * (top.total + mass) * (1 + 1e-9) + 1:
            return self.impostor.weighted(weights)
        lowest = self.impostor.values[:1]
        return ScoreSide(np.concatenate([lowest, top.values]), np.concatenate([[0.0], mass + top.below]))
