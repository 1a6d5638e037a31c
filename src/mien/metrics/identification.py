"""Identification in a gallery: CMC and rank-1."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.core.errors import ConfigError, DataError, ShapeError
from mien.metrics.intervals import Interval, wilson_interval
from mien.metrics.score_sets import Array

_CELLS = 4_000_000  # of a block of similarities


@dataclass(frozen=True)
class Cmc:
    """Cumulative match characteristic.

    Attributes:
        rates: rates[r] is the share of probes whose person is among the first r + 1 of the gallery.
        rank_1: rates[0].
        interval: Wilson's of rank-1.
        ranks: (probes,) rank of each probe's person, from 1; 0 for probes whose person is not in the gallery.
    """

    rates: NDArray[np.float64]
    rank_1: float
    interval: Interval
    ranks: NDArray[np.int64]


def check_rows(name: str, rows: ArrayLike, labels: ArrayLike) -> tuple[NDArray[np.float32], Array]:
    """(n, d) float32 and (n,) labels, or one line why not.

    Args:
        name: of the rows, for messages.
        rows: (n, d) finite features.
        labels: (n,).
    """
    e, who = np.asarray(rows, np.float32), np.asarray(labels)
    if e.ndim != 2 or who.shape != (len(e),) or not len(e):
        raise ShapeError(f"{name} must be (n, d) with (n,) labels, got {e.shape} and {who.shape}")
    for start in range(0, len(e), 65536):
        if not np.isfinite(e[start : start + 65536]).all():
            raise DataError(f"{name} holds NaN or infinite features")
    return e, who


def similarity_blocks(
    gallery: NDArray[np.float32], probes: NDArray[np.float32]
) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Dot products of a block of probes with the whole gallery, block by block.

    Args:
        gallery: (g, d).
        probes: (q, d).
    """
    if gallery.shape[1] != probes.shape[1]:
        raise ShapeError(f"gallery has {gallery.shape[1]} features a row, probes have {probes.shape[1]}")
    step = max(1, _CELLS // len(gallery))
    for start in range(0, len(probes), step):
        rows = slice(start, min(start + step, len(probes)))
        yield rows, probes[rows] @ gallery.T


def mate_ranks(scores: NDArray[np.float32], mates: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Rank (q,) of the best mate, from 1; others with an equal score go first. 0 without a mate.

    So a model that gives all the same score has rank-1 = 0, not 1.

    Args:
        scores: (q, g).
        mates: (q, g) true where both are of one person.
    """
    best = np.where(mates, scores, -np.inf).max(1)
    ahead = ((scores >= best[:, None]) & ~mates).sum(1)
    return np.where(mates.any(1), 1 + ahead, 0)


def cmc(
    gallery: ArrayLike,
    gallery_labels: ArrayLike,
    probes: ArrayLike,
    probe_labels: ArrayLike,
    max_rank: int = 20,
) -> Cmc:
    """Ranks by dot product, blockwise. O(g q d).

    Args:
        gallery: (g, d) embeddings.
        gallery_labels: (g,) identities.
        probes: (q, d) embeddings.
        probe_labels: (q,) identities; those not in the gallery take no part in the rates.
        max_rank: length of the curve.
    """
    if max_rank < 1:
        raise ConfigError(f"max_rank must be positive, got {max_rank}")
    g, who_g = check_rows("gallery", gallery, gallery_labels)
    p, who_p = check_rows("probes", probes, probe_labels)
    ranks = np.zeros(len(p), np.int64)
    for rows, scores in similarity_blocks(g, p):
        ranks[rows] = mate_ranks(scores, who_p[rows, None] == who_g[None])
    mated = ranks[ranks > 0]
    if not len(mated):
        raise DataError("no probe's person is in the gallery; check that both use the same labels")
    rates = np.bincount(np.minimum(mated, max_rank + 1), minlength=max_rank + 2)[1:-1].cumsum() / len(mated)
    hits = int((mated == 1).sum())
    return Cmc(rates, hits / len(mated), wilson_interval(hits, len(mated)), ranks)


def rank_1(
    gallery: ArrayLike, gallery_labels: ArrayLike, probes: ArrayLike, probe_labels: ArrayLike
) -> float:
    """Share of probes whose nearest gallery entry, by dot product, is of the same person.

    Args:
        gallery: (g, d) embeddings.
        gallery_labels: (g,) identities.
        probes: (q, d) embeddings.
        probe_labels: (q,) identities.

    >>> rank_1([[1, 0], [0, 1]], ["ann", "bob"], [[0.9, 0.1], [0.8, 0.2]], ["ann", "bob"])
    0.5
    """
    return cmc(gallery, gallery_labels, probes, probe_labels, 1).rank_1
