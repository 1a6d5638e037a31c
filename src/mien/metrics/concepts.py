"""Do latents found without labels behave as mass and charge? Scored only where motion can tell.

What motion fixes: ratios of masses within a group of objects that act on each other; charges up to one sign
and one scale. An object that nothing acts on has any mass; a charge alone in its clip, any charge. Hence

* masses are scored on objects that interacted, with the others as a control that must be near 1/2;
* charges by products z_i z_j and by |z|, which a sign cannot change, in clips of two charges or more, with
  clips of one charge as a control;
* AUC and correlation do not change under one affine map with positive slope: no scale is fitted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.core.errors import DataError, ShapeError
from mien.metrics.rates import auc

Array = NDArray[Any]
Bools = NDArray[np.bool_]
NAN = float("nan")


@dataclass(frozen=True, eq=False)
class Interactions:
    """Who acted on whom in each clip.

    Attributes:
        pairs: (B, N, N) bool, symmetric: collided, or share a non-zero product of charges.
        objects: (B, N) bool: acted on by another one.
        groups: (B, N) smallest index of the objects that are connected by such pairs.
    """

    pairs: Bools
    objects: Bools
    groups: NDArray[np.int64]


@dataclass(frozen=True)
class ConceptReport:
    """How well latents line up with mass and charge; NaN where one of the two classes is missing.

    Attributes:
        interacted: objects that interacted.
        alone: objects that did not.
        mass_auc: heavy against light from z_m, all clips together, on objects that interacted. Only ratios
            within a group are fixed by motion: this asks also that a prior puts all groups on one scale.
        mass_auc_control: the same on the others; near 1/2 unless looks give mass away.
        mass_auc_in_group: share of pairs (heavy, light) of one group whose z_m are in that order, ties half:
            what is fixed by motion. Groups of one class say nothing and have no pair.
        mass_accuracy: share of objects that interacted on the right side of a given threshold on z_m.
        charge_correlation: Pearson's of z_c_i z_c_j and q_i q_j over pairs.
        like_opposite_auc: like against opposite from z_c_i z_c_j over pairs of charges.
        charged_auc: charged against neutral from |z_c|, in clips of two charges or more.
        charged_auc_control: the same in clips of one charge; near 1/2 unless looks give charge away.
        mass_from_charge_auc: heavy against light from |z_c|; a leak unless near 1/2.
        charged_from_mass_auc: charged against neutral from z_m; a leak unless near 1/2.
        mass_from_colour: share of the variance of z_m that the colour explains beyond chance (adjusted
            R^2), over all objects; a leak unless near 0. NaN without colours.
        charge_from_colour: the same of z_c.
    """

    interacted: int
    alone: int
    mass_auc: float
    mass_auc_control: float
    mass_auc_in_group: float
    mass_accuracy: float
    charge_correlation: float
    like_opposite_auc: float
    charged_auc: float
    charged_auc_control: float
    mass_from_charge_auc: float
    charged_from_mass_auc: float
    mass_from_colour: float
    charge_from_colour: float


def trajectory_mse(true: ArrayLike, pred: ArrayLike) -> NDArray[np.float64]:
    """Mean over objects and coordinates of (x - y)^2, at each step: the error that grows along a rollout.

    O(B T N).

    Args:
        true: (B, T, N, D) places, objects matched.
        pred: (B, T, N, D).

    Returns:
        (B, T) in squared units of the places.

    Raises:
        ShapeError: shapes that differ.

    >>> trajectory_mse([[[[0.0, 0.0]], [[0.0, 0.0]]]], [[[[0.0, 0.0]], [[1.0, 2.0]]]])
    array([[0. , 2.5]])
    """
    t, p = np.asarray(true, np.float64), np.asarray(pred, np.float64)
    if t.shape != p.shape or t.ndim != 4:
        raise ShapeError(f"expected places (B, T, N, D) of one shape, got {t.shape} and {p.shape}")
    return np.asarray(((t - p) ** 2).mean((2, 3)))


def interactions(charge: ArrayLike, hits: ArrayLike) -> Interactions:
    """Pairs, objects and groups that acted on each other. O(B T N^2 + B N^3).

    Args:
        charge: (B, N).
        hits: (B, T, N, N) or (B, N, N) bool, symmetric: collided.

    Raises:
        ShapeError: shapes that do not fit.
    """
    q, met = np.asarray(charge), np.asarray(hits, bool)
    if met.ndim == 4:
        met = np.asarray(met.any(1))
    if q.ndim != 2 or met.shape != (*q.shape, q.shape[1]):
        raise ShapeError(
            f"expected charges (B, N) and hits (B, T, N, N) or (B, N, N); got {q.shape}, {np.shape(hits)}"
        )
    pairs = met | (q[:, :, None] * q[:, None] != 0)
    pairs &= ~np.eye(q.shape[1], dtype=bool)
    reach = pairs | np.eye(q.shape[1], dtype=bool)
    for _ in range(q.shape[1].bit_length()):  # every squaring doubles the length of the paths
        reach = reach @ reach
    return Interactions(pairs, pairs.any(2), reach.argmax(2))


def class_midpoint(values: ArrayLike, positive: ArrayLike) -> float:
    """The threshold halfway between the means of two classes: a linear probe of one number.

    Fit it on training clips and score on others. NaN if a class is missing.

    >>> class_midpoint([0.0, 1.0, 4.0], [False, False, True])
    2.25
    """
    z, y = np.ravel(np.asarray(values, np.float64)), np.ravel(np.asarray(positive, bool))
    return float((z[y].mean() + z[~y].mean()) / 2) if 0 < y.sum() < y.size else NAN


def concept_report(
    z_m: ArrayLike,
    z_c: ArrayLike,
    mass: ArrayLike,
    charge: ArrayLike,
    hits: ArrayLike,
    colour: ArrayLike | None = None,
    threshold: float | None = None,
    exists: ArrayLike | None = None,
) -> ConceptReport:
    """Scores latents (B, N), objects matched to the true ones, against mass and charge. O(B T N^2 + B N^3).

    Args:
        z_m: (B, N), higher is meant to be heavier.
        z_c: (B, N), of any sign.
        mass: (B, N); heavy = above the middle of the smallest and the largest.
        charge: (B, N).
        hits: (B, T, N, N) or (B, N, N) bool, symmetric: collided.
        colour: (B, N) labels, for the colour leak; None: NaN.
        threshold: on z_m, from training clips (`class_midpoint`), for ``mass_accuracy``; None: NaN.
        exists: (B, N) bool, where clips have fewer objects than N; None: all.

    Raises:
        ShapeError: shapes that do not fit.
        DataError: latents that are no numbers.
    """
    zm, zc, m, q = (np.asarray(a, np.float64) for a in (z_m, z_c, mass, charge))
    if m.ndim != 2 or not zm.shape == zc.shape == m.shape == q.shape:
        raise ShapeError(
            f"z_m, z_c, mass, charge must be (B, N) alike; got {zm.shape}, {zc.shape}, {m.shape}, {q.shape}"
        )
    if not (np.isfinite(zm).all() and np.isfinite(zc).all()):
        raise DataError("z_m and z_c must be finite numbers; look at the inference that made them")
    if colour is not None and np.shape(colour) != m.shape:
        raise ShapeError(f"colour must be {m.shape} as z_m, got {np.shape(colour)}")
    there = np.ones(m.shape, bool) if exists is None else np.asarray(exists, bool)
    q = np.where(there, q, 0.0)
    who = interactions(q, hits)
    on, off, charged = who.objects & there, ~who.objects & there, q != 0
    heavy = m > (m[there].min() + m[there].max()) / 2
    several, single = (np.repeat(c[:, None], m.shape[1], 1) & there for c in _charged_clips(charged))
    i, j = np.triu_indices(m.shape[1], 1)
    both = there[:, i] & there[:, j]
    product, true = (zc[:, i] * zc[:, j])[both], (q[:, i] * q[:, j])[both]
    right = (zm > threshold) == heavy if threshold is not None else None
    return ConceptReport(
        interacted=int(on.sum()),
        alone=int(off.sum()),
        mass_auc=_auc(zm[on], heavy[on]),
        mass_auc_control=_auc(zm[off], heavy[off]),
        mass_auc_in_group=_auc_in_group(zm, heavy, np.where(there, who.groups, -1 - np.arange(m.shape[1]))),
        mass_accuracy=NAN if right is None or not on.any() else float(right[on].mean()),
        charge_correlation=_correlation(product, true),
        like_opposite_auc=_auc(product[true != 0], true[true != 0] > 0),
        charged_auc=_auc(np.abs(zc)[several], charged[several]),
        charged_auc_control=_auc(np.abs(zc)[single], charged[single]),
        mass_from_charge_auc=_auc(np.abs(zc)[on], heavy[on]),
        charged_from_mass_auc=_auc(zm[on], charged[on]),
        mass_from_colour=NAN if colour is None else _explained(zm[there], np.asarray(colour)[there]),
        charge_from_colour=NAN if colour is None else _explained(zc[there], np.asarray(colour)[there]),
    )


def auc_units(scores: ArrayLike, positive: ArrayLike) -> NDArray[np.float64]:
    """(n,) numbers whose mean is the AUC A and whose spread over independent cases is that of A.

    Influence values: A + n / n_1 (p_i - A) of a positive, p_i the share of the negatives below it, and
    A + n / n_0 (q_j - A) of a negative, q_j the share of the positives above it; ties half. O(n log n).

    >>> auc_units([0.0, 1.0, 1.0, 2.0], [False, True, False, True]).tolist()
    [1.125, 0.625, 0.625, 1.125]
    """
    z, y = np.ravel(np.asarray(scores, np.float64)), np.ravel(np.asarray(positive, bool))
    if y.all() or not y.any():
        return np.zeros(len(z))
    share = np.empty(len(z))
    for own, sign in ((y, 1), (~y, -1)):
        other = np.sort(sign * z[~own])
        sides = [np.searchsorted(other, sign * z[own], side) for side in ("left", "right")]
        share[own] = (sides[0] + sides[1]) / (2 * len(other))
    area = share[y].mean()
    weight = np.where(y, len(z) / y.sum(), len(z) / (~y).sum())
    return np.asarray(area + weight * (share - area))


def correlation_units(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    """(n,) numbers whose mean is Pearson's r and whose spread over independent cases is that of r.

    Influence values r + u v - r (u^2 + v^2) / 2 of standardised u, v. 0 where one is constant.

    >>> correlation_units([1.0, 2.0, 3.0], [2.0, 4.0, 6.0]).round(12).tolist()
    [1.0, 1.0, 1.0]
    """
    x, y = (np.ravel(np.asarray(v, np.float64)) for v in (a, b))
    if not len(x):
        return np.zeros(0)
    u, v = ((w - w.mean()) / (w.std() or np.inf) for w in (x, y))
    r = (u * v).mean()
    return np.asarray(r + u * v - r * (u**2 + v**2) / 2)


def _charged_clips(charged: Bools) -> tuple[Bools, Bools]:
    """(B,) clips of two charges or more, and of one: a charge alone moves nothing."""
    count = charged.sum(1)
    return count >= 2, count == 1


def _auc(scores: Array, label: Array) -> float:
    return auc(scores, label) if 0 < label.sum() < label.size else NAN


def _auc_in_group(z: Array, heavy: Bools, groups: Array) -> float:
    """Share of pairs (heavy i, light j) of one group with z_i > z_j, ties half. O(B N^2)."""
    pairs = heavy[:, :, None] & ~heavy[:, None] & (groups[:, :, None] == groups[:, None])
    gap = (z[:, :, None] - z[:, None])[pairs]
    return float((0.5 + 0.5 * np.sign(gap)).mean()) if len(gap) else NAN


def _correlation(a: Array, b: Array) -> float:
    """Pearson's; NaN where one of them is constant."""
    a, b = a.ravel(), b.ravel()
    return float(np.corrcoef(a, b)[0, 1]) if a.size and np.ptp(a) > 0 and np.ptp(b) > 0 else NAN


def _explained(values: Array, label: ArrayLike) -> float:
    """Adjusted R^2 = 1 - (within / (n - K)) / (total / (n - 1)) of K classes' means. O(n)."""
    z, (_, k) = values.ravel(), np.unique(np.ravel(np.asarray(label)), return_inverse=True)
    n, count = len(z), np.bincount(k)
    total = ((z - z.mean()) ** 2).sum()
    within = ((z - (np.bincount(k, z) / count)[k]) ** 2).sum()
    return float(1 - within / (n - len(count)) * (n - 1) / total) if n > len(count) and total > 0 else NAN
