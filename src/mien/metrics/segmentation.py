"""How well segments match true objects, over a whole clip: an object whose segment changes is punished."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.core.errors import ShapeError

Array = NDArray[Any]


def adjusted_rand_index(true: ArrayLike, pred: ArrayLike, foreground: bool = False) -> NDArray[np.float64]:
    """ARI of each clip: 1 = the same partition, 0 = as good as chance; names of segments do not matter.

        ARI = (sum_ij C(n_ij) - E) / ((sum_i C(a_i) + sum_j C(b_j)) / 2 - E)
        E = sum_i C(a_i) sum_j C(b_j) / C(n),  C(n) = n (n - 1) / 2

    n_ij pixels in true object i and segment j, a_i and b_j its sums. 1 where the denominator is 0: both
    partitions are trivial. O(pixels log pixels).

    Args:
        true: (B, ...) integers >= 0, such as (B, T, H, W); 0 = background.
        pred: (B, ...) integers >= 0.
        foreground: FG-ARI: leaves out the pixels whose true label is 0.

    Returns:
        (B,).

    Raises:
        ShapeError: shapes that differ, or labels that are no integers >= 0.

    Source: Hubert and Arabie, Comparing partitions, 1985; over the whole clip as in Kipf et al. (arXiv
    2111.12594).

    >>> adjusted_rand_index([[0, 0, 0, 1, 1, 1, 2, 2, 2, 2]], [[0, 0, 1, 1, 1, 1, 2, 2, 3, 2]])
    array([0.52])
    """
    return np.array([_ari(table) for table, _ in _tables(true, pred, foreground)])


def mean_iou(true: ArrayLike, pred: ArrayLike, foreground: bool = False) -> NDArray[np.float64]:
    """Mean over a clip's true objects of |i and j| / |i or j|, each with its own segment.

    Objects and segments are matched one to one so that the mean is highest (Hungarian algorithm); an object
    without a segment counts 0. NaN for a clip without an object. O(pixels log pixels + labels^3).

    Args:
        true: (B, ...) integers >= 0, such as (B, T, H, W); 0 = background.
        pred: (B, ...) integers >= 0.
        foreground: leaves the background out of the mean; segments still count all their pixels.

    Returns:
        (B,).

    Raises:
        ShapeError: see `adjusted_rand_index`.

    >>> mean_iou([[0, 0, 1, 1]], [[5, 5, 5, 2]]).round(3)
    array([0.583])
    """
    from scipy.optimize import linear_sum_assignment

    out = []
    for table, sizes in _tables(true, pred, foreground):
        iou = table / (table.sum(1)[:, None] + sizes - table)
        out.append(iou[linear_sum_assignment(-iou)].sum() / len(iou) if len(iou) else np.nan)
    return np.array(out, np.float64)


def _ari(table: Array) -> float:
    index, rows, cols = (_pairs(x).sum() for x in (table, table.sum(1), table.sum(0)))
    chance = rows * cols / max(_pairs(table.sum()), 1)
    most = (rows + cols) / 2
    return float((index - chance) / (most - chance)) if most > chance else 1.0


def _pairs(n: Any) -> Any:
    return n * (n - 1) / 2


def _tables(true: ArrayLike, pred: ArrayLike, foreground: bool) -> Iterator[tuple[Array, Array]]:
    """Each clip's contingency table (true objects, segments), pixels in both, and all pixels of the segments.

    Foreground: without the row of true label 0.
    """
    t, p = np.asarray(true), np.asarray(pred)
    if t.shape != p.shape or t.ndim < 2:
        raise ShapeError(f"expected labels (B, ...) of one shape, got {t.shape} and {p.shape}")
    for name, x in (("true", t), ("pred", p)):
        if x.dtype.kind not in "iu" or (x.size and x.min() < 0):
            raise ShapeError(f"labels must be integers >= 0, but {name} is {x.dtype} from {x.min(initial=0)}")
    for a, b in zip(t, p, strict=True):
        ids, i = np.unique(a.ravel(), return_inverse=True)
        segments, j = np.unique(b.ravel(), return_inverse=True)
        table = np.bincount(i * len(segments) + j, minlength=len(ids) * len(segments))
        table = table.reshape(len(ids), len(segments))
        yield table[ids > 0] if foreground else table, table.sum(0)
