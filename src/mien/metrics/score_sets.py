"""Scores of genuine and impostor comparisons, sorted once: every rate is then a search, O(log n).

A higher score means more alike; a comparison is accepted when its score is at least the threshold. Scores may
carry weights (bins of a histogram, draws of a bootstrap), so one implementation serves all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.core.errors import DataError, ShapeError

Array = NDArray[Any]
Floats = NDArray[np.float64]
_SLACK = 1e-12  # so that 0.29 * 100 counts as 29


@dataclass(frozen=True)
class ScoreSide:
    """Scores of one kind.

    Attributes:
        values: (n,) ascending.
        below: (n + 1,) weight of the values before each index; None where every weight is 1.
    """

    values: Array
    below: Floats | None = None

    @property
    def total(self) -> float:
        """Weight of all scores."""
        return float(len(self.values) if self.below is None else self.below[-1])

    @property
    def weights(self) -> Floats:
        """(n,) weight of each value."""
        return np.ones(len(self.values)) if self.below is None else np.diff(self.below)

    def mass(self, index: ArrayLike) -> Floats:
        """Weight of ``values[:index]``."""
        index = np.asarray(index)
        return np.asarray(index if self.below is None else self.below[index], np.float64)

    def index(self, mass: ArrayLike) -> Array:
        """The least index with at least this weight before it."""
        mass = np.asarray(mass, np.float64)
        if self.below is None:
            return np.asarray(np.ceil(mass), np.int64).clip(0, len(self.values))
        return np.asarray(np.searchsorted(self.below, mass, "left")).clip(0, len(self.values))

    def at_least(self, threshold: ArrayLike) -> Floats:
        """Weight of the scores >= threshold."""
        return np.asarray(self.total - self.mass(np.searchsorted(self.values, self._cast(threshold), "left")))

    def above(self, threshold: ArrayLike) -> Floats:
        """Weight of the scores > threshold."""
        return np.asarray(
            self.total - self.mass(np.searchsorted(self.values, self._cast(threshold), "right"))
        )

    def _cast(self, threshold: ArrayLike) -> Array:
        """To the precision of the values where that is exact, so that a search need not copy them."""
        wide = np.asarray(threshold)
        with np.errstate(over="ignore"):
            narrow = wide.astype(self.values.dtype)
        return narrow if (narrow == wide).all() else wide.astype(np.float64)

    def cut(self, mass: ArrayLike) -> Floats:
        """The least v with weight of the scores > v at most ``mass``; -inf where all may be above."""
        before = self.total - np.asarray(mass, np.float64) * (1 + _SLACK)
        index = self.index(np.maximum(before, 0))
        at = self.values[np.maximum(index - 1, 0)].astype(np.float64)
        return np.where(index > 0, at, -np.inf)

    def next_below(self, value: float) -> float:
        """The largest score of positive weight below ``value``, or -inf."""
        index = int(self.index(self.mass(np.searchsorted(self.values, value, "left"))))
        return float(self.values[index - 1]) if index > 0 else -np.inf


@dataclass(frozen=True)
class ScoreSets:
    """Genuine and impostor scores of one experiment."""

    genuine: ScoreSide
    impostor: ScoreSide

    def far(self, threshold: ArrayLike) -> Floats:
        """False accept rate: share of impostor scores >= threshold."""
        return np.asarray(self.impostor.at_least(threshold) / self.impostor.total)

    def tar(self, threshold: ArrayLike) -> Floats:
        """True accept rate: share of genuine scores >= threshold."""
        return np.asarray(self.genuine.at_least(threshold) / self.genuine.total)

    def thresholds(self) -> Array:
        """All distinct scores, descending."""
        return np.unique(np.concatenate([self.genuine.values, self.impostor.values]))[::-1]


def check_scores(
    scores: ArrayLike, same: ArrayLike, names: tuple[str, str, str] = ("same", "genuine", "impostor")
) -> tuple[Array, NDArray[np.bool_]]:
    """(n,) floating scores and (n,) booleans, or one line why not.

    Args:
        scores: higher is more alike; -inf stands for "could not be compared".
        same: true where both are of one person.
        names: what a message calls the booleans, and the scores where they are true and where false.

    Raises:
        ShapeError: not one-dimensional, of another length, or not 0/1.
        DataError: NaN or +inf, or all of one class.
    """
    s, y = np.asarray(scores), np.asarray(same)
    if s.ndim != 1 or y.ndim != 1 or len(s) != len(y):
        raise ShapeError(f"scores and {names[0]} must be (n,) alike, got {s.shape} and {y.shape}")
    if s.dtype not in (np.float32, np.float64):
        s = s.astype(np.float64)
    if y.dtype != np.bool_:
        if not ((y == 0) | (y == 1)).all():
            raise ShapeError(f"{names[0]} must hold booleans or 0 and 1 only")
        y = y.astype(np.bool_)
    bad = np.isnan(s) | np.isposinf(s)
    if bad.any():
        raise DataError(
            f"{int(bad.sum())} of {len(s)} scores are NaN or +inf, the first at {int(bad.argmax())}"
        )
    genuine = int(np.count_nonzero(y))
    if genuine in (0, len(y)):
        kind, other = names[1:] if genuine else names[:0:-1]
        raise DataError(f"all {len(y)} scores are {kind}: rates need at least one {other} score")
    return s, y


def score_sets(scores: ArrayLike, same: ArrayLike) -> ScoreSets:
    """Splits and sorts scores. O(n log n), one copy.

    Args:
        scores: (n,) higher is more alike (hand in the negative of a distance).
        same: (n,) true where both are of one person.
    """
    s, y = check_scores(scores, same)
    genuine, impostor = s[y], s[~y]
    genuine.sort()
    impostor.sort()
    return ScoreSets(ScoreSide(genuine), ScoreSide(impostor))
