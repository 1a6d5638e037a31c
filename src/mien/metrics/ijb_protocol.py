"""IJB-B and IJB-C: templates of many images, 1:1 verification and 1:N identification.

Everything is done in blocks: IJB-C has 469,375 images, 23,124 templates and 15,658,489 pairs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.core.errors import ConfigError, DataError, ShapeError
from mien.metrics.identification import check_rows, mate_ranks, similarity_blocks
from mien.metrics.intervals import DRAWS, Interval, wilson_interval
from mien.metrics.rates import FarRule, TarAtFar, tar_at_far
from mien.metrics.score_sets import Array, Floats
from mien.metrics.verification import unit_rows

FARS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
FPIRS = (0.01, 0.1)
RANKS = (1, 5, 10)
_IMAGES = 8192  # of a block
_ROWS = 512  # templates of a block of dot products
_DENSE = 48  # a matrix product does this many cells in the time of one pair on its own
_PAIRS = 16384  # of a block done on their own


@dataclass(frozen=True)
class Templates:
    """Pooled templates.

    Attributes:
        ids: (t,) ascending.
        features: (t, d) of length 1.
        flags: N1 norms of the image features kept, D1 weighted by faceness, F1 mirrored features added.
    """

    ids: NDArray[np.int64]
    features: NDArray[np.float32]
    flags: str


@dataclass(frozen=True)
class IjbVerification:
    """The 1:1 protocol: one `TarAtFar` for each FAR, and the options they were made with."""

    points: tuple[TarAtFar, ...]
    flags: str
    templates: int
    rule: str

    def tar(self, far: float) -> float:
        """The TAR at one of the FARs asked for."""
        for point in self.points:
            if math.isclose(point.target, far):
                return point.tar
        raise ConfigError(f"FAR {far} was not measured; measured: {[p.target for p in self.points]}")


@dataclass(frozen=True)
class TpirAtFpir:
    """True positive identification rate at a false positive identification rate.

    Attributes:
        target: the FPIR that was asked for.
        tpir: share of mated probes found.
        interval: Wilson's of it. Its low end is 0 where ``resolved`` is false.
        threshold: found means score > threshold.
        rule: how the threshold was chosen, and what found means.
        resolved: whether the target allows at least one false alarm.
    """

    target: float
    tpir: float
    interval: Interval
    threshold: float
    rule: str
    resolved: bool


@dataclass(frozen=True)
class IjbIdentification:
    """The 1:N protocol.

    Attributes:
        ranks: rank -> share of mated probes with the mate at or before it.
        rank_intervals: rank -> Wilson's interval.
        pooled: TPIR with thresholds from the scores of all non-mates together (the usual script).
        open_set: TPIR with thresholds from the best score of each probe without a mate (the standard
            definition); empty if all probes have one.
        probes: how many.
        mated: how many of them have their person in the gallery.
    """

    ranks: dict[int, float]
    rank_intervals: dict[int, Interval]
    pooled: tuple[TpirAtFpir, ...]
    open_set: tuple[TpirAtFpir, ...]
    probes: int
    mated: int


def _vector(name: str, values: ArrayLike, length: int) -> Array:
    out = np.asarray(values)
    if out.shape != (length,):
        raise ShapeError(f"{name} must be ({length},), one for each image, got {out.shape}")
    return out


def pool_templates(
    features: ArrayLike,
    templates: ArrayLike,
    media: ArrayLike,
    *,
    flipped: ArrayLike | None = None,
    faceness: ArrayLike | None = None,
    keep_norm: bool = True,
) -> Templates:
    """Mean over the images of a medium, sum over media, length 1. O(n d), blockwise.

    Args:
        features: (n, d) of the images, not normalised.
        templates: (n,) integer id of each image's template.
        media: (n,) integer id of each image's medium; the frames of one video share it.
        flipped: (n, d) of the mirrored images, to be added (F1).
        faceness: (n,) detector scores, to be multiplied by (D1).
        keep_norm: leave the norm as a weight of quality (N1), else divide by it first.

    >>> pool_templates([[1, 0], [0, 2], [0, 4], [3, 0]], [7] * 4, [1, 2, 2, 3],
    ...                faceness=[1, 0.5, 0.5, 0.2]).features.round(6)
    array([[0.729537, 0.683941]], dtype=float32)
    """
    f = np.asarray(features)
    if f.ndim != 2 or not len(f):
        raise ShapeError(f"features must be (n, d), got {f.shape}")
    mirror = None if flipped is None else np.asarray(flipped)
    if mirror is not None and mirror.shape != f.shape:
        raise ShapeError(f"flipped must be {f.shape} as features, got {mirror.shape}")
    t, m = (_vector(*named, len(f)) for named in (("templates", templates), ("media", media)))
    weight = None if faceness is None else _vector("faceness", faceness, len(f))
    order = np.lexsort((m, t))
    new_t = np.flatnonzero(np.diff(t[order], prepend=t[order[0]] - 1))
    new_m = np.flatnonzero((np.diff(t[order], prepend=0) != 0) | (np.diff(m[order], prepend=0) != 0))
    new_m = np.union1d(new_m, [0])
    out = np.empty((len(new_t), f.shape[1]), np.float32)
    ends = np.append(new_t, len(f))
    first = 0
    while first < len(new_t):  # whole templates, about _IMAGES images at a time
        last = max(first + 1, int(np.searchsorted(ends, ends[first] + _IMAGES, "right")) - 1)
        index = order[ends[first] : ends[last]]
        rows = f[index].astype(np.float64)
        if mirror is not None:
            rows += mirror[index]
        if not keep_norm:
            rows = unit_rows(rows)
        if weight is not None:
            rows *= weight[index, None]
        medium = new_m[slice(*np.searchsorted(new_m, [ends[first], ends[last]]))] - ends[first]
        means = np.add.reduceat(rows, medium) / np.diff(medium, append=len(index))[:, None]
        sums = np.add.reduceat(means, np.searchsorted(medium, new_t[first:last] - ends[first]))
        try:
            out[first:last] = unit_rows(sums)
        except DataError:
            norm = np.linalg.norm(sums, axis=1)
            worst = t[order[new_t[first + int(np.argmax(~np.isfinite(norm) | (norm == 0)))]]]
            raise DataError(f"template {worst} has a feature of zero length or not finite") from None
        first = last
    flags = f"N{int(keep_norm)}D{int(weight is not None)}F{int(mirror is not None)}"
    return Templates(t[order[new_t]].astype(np.int64), out, flags)


def _positions(ids: NDArray[np.int64], wanted: Array) -> NDArray[np.int32]:
    """Where each wanted id is among the ascending ids."""
    low, span = int(ids[0]), int(ids[-1] - ids[0]) + 1
    if span <= 4 * (len(ids) + len(wanted)):
        table = np.full(span + 1, -1, np.int32)
        table[ids - low] = np.arange(len(ids), dtype=np.int32)
        inside = np.where((wanted >= low) & (wanted <= ids[-1]), wanted - low, span)
        at = table[inside]
    else:
        at = np.searchsorted(ids, wanted).clip(0, len(ids) - 1).astype(np.int32)
        at[ids[at] != wanted] = -1
    if (at < 0).any():
        raise DataError(f"template {int(wanted[int((at < 0).argmax())])} of the pair list has no images")
    return at


def pair_scores(features: ArrayLike, first: ArrayLike, second: ArrayLike) -> NDArray[np.float32]:
    """Dot products of rows ``first`` and ``second``; rows that occur in many pairs are multiplied by all.

    Args:
        features: (t, d).
        first: (n,) row numbers.
        second: (n,) row numbers.
    """
    f = np.ascontiguousarray(features, np.float32)
    a, b = np.asarray(first), np.asarray(second)
    out = np.empty(len(a), np.float32)
    block = (a // _ROWS).astype(np.uint16 if len(f) < _ROWS * 65536 else np.int64)
    order = np.argsort(block, kind="stable").astype(np.uint32 if len(a) < 2**32 else np.int64)
    ends = np.searchsorted(block[order], np.arange(-(-len(f) // _ROWS) + 1))
    for k in range(len(ends) - 1):
        index = order[ends[k] : ends[k + 1]]
        rows = f[k * _ROWS : (k + 1) * _ROWS]
        if len(index) * _DENSE > len(rows) * len(f):
            out[index] = (rows @ f.T)[a[index] - k * _ROWS, b[index]]
        else:
            for start in range(0, len(index), _PAIRS):
                part = index[start : start + _PAIRS]
                out[part] = np.einsum("nd,nd->n", f[a[part]], f[b[part]])
    return out


def ijb_verification(
    templates: Templates,
    pairs: ArrayLike,
    same: ArrayLike,
    fars: Sequence[float] = FARS,
    *,
    rule: FarRule = "nearest",
    bootstrap: Literal["none", "pairs", "templates"] = "pairs",
    draws: int = DRAWS,
    seed: int = 0,
) -> IjbVerification:
    """TAR at FARs over all pairs of the protocol, with intervals.

    The usual script looks for the nearest FAR among the corners of the ROC only (scikit-learn leaves points
    on a straight line out); here every point counts, so that a target on a long straight piece is met.

    Args:
        templates: of `pool_templates`.
        pairs: (n, 2) template ids.
        same: (n,) true where both are of one person.
        fars: false accept rates; 1e-6 of 8 million impostors is 8 pairs, so read the intervals.
        rule: as in `tar_at_far`; ``nearest`` is the protocol's.
        bootstrap: what is drawn again. ``templates`` takes minutes on IJB-C.
        draws: of the bootstrap.
        seed: of the bootstrap.
    """
    p = np.asarray(pairs)
    if p.ndim != 2 or p.shape[1] != 2 or p.dtype.kind not in "iu":
        raise ShapeError(f"pairs must be (n, 2) integer template ids, got {p.shape} of {p.dtype}")
    if bootstrap not in ("none", "pairs", "templates"):
        raise ConfigError(f"bootstrap {bootstrap!r}: one of none, pairs, templates")
    a, b = (_positions(templates.ids, p[:, j]) for j in (0, 1))
    scores = pair_scores(templates.features, a, b)
    by_template = bootstrap == "templates"
    points = tar_at_far(
        scores,
        same,
        fars,
        rule=rule,
        bootstrap="identities" if bootstrap == "templates" else bootstrap,
        identities=np.stack([a, b], 1) if by_template else None,
        draws=draws,
        seed=seed,
    )
    if by_template:
        points = tuple(replace(point, over="templates") for point in points)
    return IjbVerification(points, templates.flags, len(templates.ids), rule)


def _largest(kept: Floats, new: Floats, count: int) -> Floats:
    both = np.concatenate([kept, new])
    return both if len(both) <= count else np.partition(both, len(both) - count)[len(both) - count :]


def _tpir(found: int, mated: int, target: float, cut: float, rule: str, resolved: bool) -> TpirAtFpir:
    low, high = wilson_interval(found, mated)
    return TpirAtFpir(target, found / mated, (low if resolved else 0.0, high), cut, rule, resolved)


def ijb_identification(
    gallery: ArrayLike,
    gallery_subjects: ArrayLike,
    probes: ArrayLike,
    probe_subjects: ArrayLike,
    *,
    ranks: Sequence[int] = RANKS,
    fpirs: Sequence[float] = FPIRS,
) -> IjbIdentification:
    """Rank-k and TPIR at FPIR of probes in a gallery, by dot product. O(g q d), blockwise.

    Two rules for TPIR, of Q probes. ``pooled``: the threshold is the ceil(Q f)-th largest of all non-mate
    scores together; TPIR is the share of mated probes whose mate scores above it. ``open_set``: the threshold
    is the least with at most a share f of the *non-mated* probes having their best score above it; TPIR is
    the share of mated probes with the mate first *and* above it.

    Args:
        gallery: (g, d) template features; the usual script puts both galleries together.
        gallery_subjects: (g,) subject ids.
        probes: (q, d) template features.
        probe_subjects: (q,) subject ids, also of people who are not in the gallery.
        ranks: k of rank-k.
        fpirs: false positive identification rates.

    Raises:
        DataError: NaN, or no probe has a mate in the gallery.
    """
    g, who_g = check_rows("gallery", gallery, gallery_subjects)
    p, who_p = check_rows("probes", probes, probe_subjects)
    if not all(0 < f < 1 for f in fpirs) or not all(k >= 1 for k in ranks):
        raise ConfigError(f"FPIRs must lie between 0 and 1 and ranks from 1, got {[*fpirs]}, {[*ranks]}")
    places = [math.ceil(len(p) * f * (1 - 1e-12)) for f in fpirs]
    rank, best = np.zeros(len(p), np.int64), np.empty(len(p), np.float64)
    others = np.empty(0)
    for rows, scores in similarity_blocks(g, p):
        mates = who_p[rows, None] == who_g[None]
        rank[rows] = mate_ranks(scores, mates)
        has = mates.any(1)
        best[rows] = np.where(has, np.where(mates, scores, -np.inf).max(1), scores.max(1))
        others = _largest(others, scores[~mates], max(places, default=1))
    others = np.sort(others)[::-1]
    mated = rank > 0
    n, apart = int(mated.sum()), np.sort(best[~mated])[::-1]
    if not n:
        raise DataError("no probe's subject is in the gallery; check that both use the same ids")
    pooled, open_set = [], []
    for f, place in zip(fpirs, places, strict=True):
        cut = float(others[place - 1]) if place <= len(others) else -math.inf
        found = int((best[mated] > cut).sum())
        pooled.append(_tpir(found, n, f, cut, "pooled non-mate scores", len(p) * f >= 1))
        if len(apart):
            allowed = int(f * len(apart) * (1 + 1e-12))
            cut = float(apart[allowed])
            found = int(((best > cut) & (rank == 1)).sum())
            open_set.append(
                _tpir(found, n, f, cut, "best score of non-mated probes, mate first", allowed >= 1)
            )
    hits = {k: int((rank[mated] <= k).sum()) for k in ranks}
    return IjbIdentification(
        ranks={k: h / n for k, h in hits.items()},
        rank_intervals={k: wilson_interval(h, n) for k, h in hits.items()},
        pooled=tuple(pooled),
        open_set=tuple(open_set),
        probes=len(p),
        mated=n,
    )
