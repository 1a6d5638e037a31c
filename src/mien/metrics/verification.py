"""Pair protocols of LFW, CFP, AgeDB, CALFW and CPLFW: ten folds in the order of the file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.core.errors import ConfigError, DataError, ShapeError
from mien.metrics.intervals import Interval, wilson_interval
from mien.metrics.score_sets import Floats, check_scores

_BLOCK = 8192


@dataclass(frozen=True)
class KfoldAccuracy:
    """Accuracy of ten folds.

    Attributes:
        mean: of the folds' accuracies.
        std: population standard deviation of them.
        accuracies: one for each fold.
        thresholds: one for each fold, chosen on the others; same means distance < threshold.
        interval: Wilson's, of all decisions together.
        rule: how the thresholds were chosen.
    """

    mean: float
    std: float
    accuracies: tuple[float, ...]
    thresholds: tuple[float, ...]
    interval: Interval
    rule: str = "accuracy of the other folds, grid 0..3.99 by .01, first maximum"


@dataclass(frozen=True)
class ValAtFar:
    """Validation rate at a false accept rate, over ten folds.

    Attributes:
        target: the FAR that was asked for.
        val: mean over folds of the share of same pairs accepted.
        std: population standard deviation of it.
        far: mean over folds of the FAR that came out.
        vals: one for each fold.
        thresholds: one for each fold; 0 where no threshold keeps the FAR.
        resolved: whether the nine folds hold at least 1 / target different pairs.
        rule: how the thresholds were chosen.
    """

    target: float
    val: float
    std: float
    far: float
    vals: tuple[float, ...]
    thresholds: tuple[float, ...]
    resolved: bool
    rule: str = "largest of the grid 0..4 by .001 with FAR <= target on the other folds"


def flip_sum(plain: ArrayLike, flipped: ArrayLike | None = None) -> NDArray[np.float32]:
    """Embeddings of images: f(x) + f(flip x), of length 1.

    Args:
        plain: (n, d) features of the images.
        flipped: (n, d) features of the mirrored images; None leaves them out.

    Raises:
        ShapeError: not (n, d) alike.
        DataError: NaN, infinite, or a sum of zero length.

    >>> flip_sum([[3.0, 1.0]], [[0.0, 3.0]])
    array([[0.6, 0.8]], dtype=float32)
    """
    a = np.asarray(plain)
    b = None if flipped is None else np.asarray(flipped)
    if a.ndim != 2 or (b is not None and a.shape != b.shape):
        raise ShapeError(f"features must be (n, d) alike, got {a.shape}{'' if b is None else f', {b.shape}'}")
    out = np.empty(a.shape, np.float32)
    for start in range(0, len(a), _BLOCK):
        part = slice(start, start + _BLOCK)
        total = a[part].astype(np.float64)
        if b is not None:
            total += b[part]
        out[part] = unit_rows(total, start)
    return out


def unit_rows(rows: Floats, start: int = 0) -> Floats:
    """Rows divided by their lengths.

    Args:
        rows: (n, d).
        start: number of the first row, for messages.
    """
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    bad = ~np.isfinite(length[:, 0]) | (length[:, 0] == 0)
    if bad.any():
        at = int(bad.argmax())
        kind = "of zero length" if length[at, 0] == 0 else "not finite"
        raise DataError(f"feature {start + at} is {kind}; it has no direction to compare")
    return np.asarray(rows / length)


def pair_distances(embeddings: ArrayLike) -> Floats:
    """Squared distances (n,) of pairs: rows 2k and 2k + 1 of (2n, d), as the verification .bin lays them out.

    Args:
        embeddings: (2n, d), of length 1 for the protocols here.
    """
    e = np.asarray(embeddings)
    if e.ndim != 2 or len(e) % 2 or not len(e):
        raise ShapeError(f"embeddings of pairs must be (2n, d), got {e.shape}")
    return np.asarray(np.square(e[0::2].astype(np.float64) - e[1::2]).sum(1))


def _fold_counts(
    distances: ArrayLike, same: ArrayLike, folds: int, grid: Floats
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(folds, grid + 1) same and different pairs below each threshold; the last column holds all."""
    d, y = check_scores(distances, same)
    if not np.isfinite(d).all() or d.min() < 0:
        raise DataError("distances must be finite and not negative; hand in squared distances, not scores")
    if not 2 <= folds <= len(d):
        raise ConfigError(f"{len(d)} pairs cannot make {folds} folds (at least 2, at most one a pair)")
    counts = np.zeros((2, folds, len(grid) + 1), np.int64)
    for k, index in enumerate(np.array_split(np.arange(len(d)), folds)):
        for j, wanted in enumerate((True, False)):
            chosen = np.sort(d[index][y[index] == wanted].astype(np.float64))
            counts[j, k, :-1] = np.searchsorted(chosen, grid, "left")
            counts[j, k, -1] = len(chosen)
    return counts[0], counts[1]


def kfold_accuracy(distances: ArrayLike, same: ArrayLike, folds: int = 10) -> KfoldAccuracy:
    """Accuracy with the threshold chosen on the other folds. O(n log n).

    Folds are contiguous blocks: the files lay pairs out fold by fold, so never shuffle them. Each fold takes
    the threshold of 0, 0.01, ..., 3.99 with the highest accuracy on the others, the first of equals; "same"
    means distance < threshold.

    Args:
        distances: (n,) squared distances of embeddings of length 1, so 0..4.
        same: (n,) true where both are of one person.
        folds: how many.

    >>> d = [0.3, 1.0, 1.2, 1.5, 0.8, 1.4, 0.9, 1.7]
    >>> kfold_accuracy(d, [1, 1, 0, 0, 1, 1, 0, 0], folds=2).accuracies
    (0.75, 0.5)
    """
    grid = np.arange(0, 4, 0.01)
    genuine, impostor = _fold_counts(distances, same, folds, grid)
    sizes = genuine[:, -1] + impostor[:, -1]
    right = genuine[:, :-1] + impostor[:, -1:] - impostor[:, :-1]
    best = np.argmax(right.sum(0) - right, axis=1)
    hits = right[np.arange(folds), best]
    accuracy = hits / sizes
    return KfoldAccuracy(
        mean=float(accuracy.mean()),
        std=float(accuracy.std()),
        accuracies=tuple(accuracy.tolist()),
        thresholds=tuple(grid[best].round(2).tolist()),
        interval=wilson_interval(int(hits.sum()), int(sizes.sum())),
    )


def val_at_far(distances: ArrayLike, same: ArrayLike, far: float = 1e-3, folds: int = 10) -> ValAtFar:
    """Validation rate at a false accept rate. O(n log n).

    The interpolation of the usual script fails with today's SciPy. Here each fold takes the largest threshold
    of 0, 0.001, ..., 3.999 whose FAR on the other folds is at most the target (0 if there is none).

    Args:
        distances: (n,) squared distances of embeddings of length 1.
        same: (n,) true where both are of one person.
        far: the target.
        folds: contiguous blocks.

    Raises:
        DataError: a fold has only same or only different pairs.
    """
    if not 0 <= far <= 1:
        raise ConfigError(f"far must lie between 0 and 1, got {far}")
    grid = np.arange(0, 4, 0.001)
    genuine, impostor = _fold_counts(distances, same, folds, grid)
    for kind, counts in (("same", genuine), ("different", impostor)):
        if not counts[:, -1].all():
            raise DataError(f"fold {int(np.argmin(counts[:, -1]))} of {folds} has no {kind} pairs")
    others = impostor.sum(0) - impostor
    train = others[:, :-1] / others[:, -1:]
    allowed = train <= far * (1 + 1e-12)
    best = allowed.sum(1) - 1  # the rates rise with the threshold; at 0 nothing is accepted
    rows = np.arange(folds)
    vals = genuine[rows, best] / genuine[:, -1]
    return ValAtFar(
        target=far,
        val=float(vals.mean()),
        std=float(vals.std()),
        far=float((impostor[rows, best] / impostor[:, -1]).mean()),
        vals=tuple(vals.tolist()),
        thresholds=tuple(grid[best].round(3).tolist()),
        resolved=bool(far * others[:, -1].min() * (1 + 1e-12) >= 1),
    )
