"""Operating points of presentation attack detection: equal error rate, BPCER at an APCER, TPR at an FPR, DET.

All sort once, O(n log n), and then search. Candidate thresholds are the distinct scores and +inf.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from mien.core.config import suggest
from mien.core.errors import ConfigError
from mien.metrics.curves import Roc, roc_of
from mien.metrics.intervals import Interval
from mien.metrics.pad_rates import Kind, Rate, check_kind, rejected_rate
from mien.metrics.pad_scores import PadSets, pad_sets
from mien.metrics.rates import FarRule, eer_of, point_at_far

Definition = Literal["conservative", "nearest", "interpolated"]
DEFINITIONS: dict[str, FarRule] = {
    "conservative": "at_most",
    "nearest": "nearest",
    "interpolated": "interpolate",
}
_SLACK = 1e-12


@dataclass(frozen=True)
class PadEer:
    """The equal error rate of pooled APCER and BPCER.

    Attributes:
        value: mean of both rates at the threshold.
        threshold: the candidate with the least |APCER - BPCER|, the largest of equals.
        apcer: pooled, there.
        bpcer: there.
    """

    value: float
    threshold: float
    apcer: float
    bpcer: float


@dataclass(frozen=True)
class BpcerAtApcer:
    """BPCER at a wanted APCER; BPCER10, BPCER20, BPCER100 are those at 10, 5 and 1 %.

    Attributes:
        target: the APCER that may not be exceeded.
        kind: which APCER: ``max`` over species or ``pooled``.
        bpcer: at the threshold.
        threshold: the least candidate with APCER <= target; +inf rejects all.
        apcer_max: there.
        apcer_pooled: there.
        resolvable: whether there are 1 / target attacks or more (``max``: of every species).
    """

    target: float
    kind: str
    bpcer: Rate
    threshold: float
    apcer_max: float
    apcer_pooled: float
    resolvable: bool

    @property
    def name(self) -> str:
        """``BPCER20``, or ``BPCER@APCER=0.03`` where 1 / target is no whole number."""
        inverse = 1 / self.target if self.target else 0.0
        whole = inverse >= 1 and abs(inverse - round(inverse)) < 1e-9
        return f"BPCER{round(inverse)}" if whole else f"BPCER@APCER={self.target:g}"


@dataclass(frozen=True)
class TprAtFpr:
    """Share of live faces accepted (TPR) at a wanted share of attacks accepted (FPR, all attacks pooled).

    Attributes:
        target: the FPR that was asked for.
        definition: ``conservative``: the largest TPR with FPR <= target; ``nearest``: the point of the ROC
            with the nearest FPR, of equals the highest TPR; ``interpolated``: linearly between points.
        tpr: share of live faces.
        fpr: share of attacks at the same point.
        interval: Wilson's of the TPR, the threshold held fixed; from 0 where not resolvable.
        resolvable: whether there are 1 / target attacks or more. Below that the scores cannot tell where the
            point lies.
    """

    target: float
    definition: str
    tpr: float
    fpr: float
    interval: Interval
    resolvable: bool


def check_target(target: float) -> float:
    """A rate between 0 and 1.

    Raises:
        ConfigError: it is not.
    """
    if not 0 <= target <= 1:
        raise ConfigError(f"a wanted rate must lie between 0 and 1, got {target:g}")
    return target


def eer_of_sets(sets: PadSets) -> PadEer:
    """`eer_threshold` of sorted or counted scores. O(log^2 n).

    BPCER - APCER rises from one candidate to the next, so the least distance is at the first candidate where
    it is not negative, or at the one before. Distances are compared as whole numbers.
    """
    pooled = sets.pooled
    n, m = pooled.genuine.total, pooled.impostor.total
    after = eer_of(pooled).threshold
    before = max(side.next_below(after) for side in (pooled.genuine, pooled.impostor))
    best: tuple[int, float] | None = None
    for t in (before, after, sets.candidate_above(after)):
        rejected, accepted = n - float(pooled.genuine.at_least(t)), float(pooled.impostor.at_least(t))
        gap = abs(round(rejected) * round(m) - round(accepted) * round(n))
        if best is None or gap <= best[0]:
            best = gap, t
    assert best is not None
    t = best[1]
    a, b = float(pooled.far(t)), (n - float(pooled.genuine.at_least(t))) / n
    return PadEer((a + b) / 2, sets.as_ruled(t), a, b)


def eer_threshold(scores: ArrayLike, live: ArrayLike, *, strict: bool = False) -> PadEer:
    """The threshold at the equal error rate of pooled APCER and BPCER. O(n log n).

    Args:
        scores: (n,) of a development set, higher is more live.
        live: (n,) true for live faces.
        strict: accepted means score > threshold.

    >>> eer_threshold([0.95, 0.75, 0.6, 0.45, 0.5, 0.3, 0.2, 0.1], [1, 1, 1, 1, 0, 0, 0, 0])
    PadEer(value=0.25, threshold=0.5, apcer=0.25, bpcer=0.25)
    """
    return eer_of_sets(pad_sets(scores, live, None, strict))


def threshold_at_apcer(sets: PadSets, target: float, kind: str = "max") -> float:
    """The least candidate with APCER <= target. O(species log n).

    Args:
        sets: scores.
        target: in [0, 1].
        kind: ``max`` over species or ``pooled``.

    Raises:
        ConfigError: a target outside, or another kind.
    """
    check_target(target)
    sides = sets.species.values() if check_kind(kind) == "max" else (sets.attack,)
    most = max(float(s.cut(target * s.total)) for s in sides)  # too many attacks lie at or above it
    return max(most, sets.candidate_above(-np.inf)) if sets.strict else sets.candidate_above(most)


def threshold_at_bpcer(sets: PadSets, target: float) -> float:
    """The largest candidate with BPCER <= target; with ``strict`` -inf where only that will do. O(log n).

    Args:
        sets: scores.
        target: in [0, 1].

    Raises:
        ConfigError: a target outside.
    """
    check_target(target)
    live = sets.live
    allowed = target * live.total * (1 + _SLACK)
    ends = np.arange(1, len(live.values) + 1) if live.below is None else live.below[1:]
    k = int(np.searchsorted(ends, allowed, "right"))
    return sets.as_ruled(float(live.values[k]) if k < len(live.values) else np.inf)


def bpcer_at_apcer_of(sets: PadSets, target: float, kind: str = "max") -> BpcerAtApcer:
    """`bpcer_at_apcer` of sorted or counted scores."""
    tau = threshold_at_apcer(sets, target, kind)
    least = min(s.total for s in (sets.species.values() if kind == "max" else (sets.attack,)))
    return BpcerAtApcer(
        target=target,
        kind=kind,
        bpcer=rejected_rate(sets, tau),
        threshold=tau,
        apcer_max=float(sets.apcer_max(tau)),
        apcer_pooled=float(sets.apcer_pooled(tau)),
        resolvable=target * least * (1 + _SLACK) >= 1,
    )


def bpcer_at_apcer(
    scores: ArrayLike,
    live: ArrayLike,
    target: float,
    *,
    pai: ArrayLike | None = None,
    apcer: Kind = "max",
    strict: bool = False,
) -> BpcerAtApcer:
    """BPCER at the least candidate threshold with APCER <= target, ISO/IEC 30107-3. O(n log n).

    Args:
        scores: (n,) higher is more live.
        live: (n,) true for live faces.
        target: 0.1 for BPCER10, 0.05 for BPCER20, 0.01 for BPCER100.
        pai: (n,) species of the attacks; None = one species.
        apcer: ``max`` over species, or ``pooled``.
        strict: accepted means score > threshold.

    Raises:
        ConfigError: a target outside [0, 1], or another ``apcer``.

    >>> bpcer_at_apcer([0.9, 0.8, 0.3, 0.7, 0.2], [1, 1, 1, 0, 0], 0.1).bpcer.value
    0.3333333333333333
    """
    return bpcer_at_apcer_of(pad_sets(scores, live, pai, strict), target, apcer)


def tpr_at_fpr_of(sets: PadSets, target: float, definition: str = "conservative") -> TprAtFpr:
    """One FPR of `tpr_at_fpr`, of sorted or counted scores."""
    if definition not in DEFINITIONS:
        raise ConfigError(f"no definition {definition!r} of TPR@FPR{suggest(definition, list(DEFINITIONS))}")
    point = point_at_far(sets.pooled, target, DEFINITIONS[definition])
    return TprAtFpr(target, definition, point.tar, point.far, point.interval, point.resolved)


def tpr_at_fpr(
    scores: ArrayLike,
    live: ArrayLike,
    fprs: Sequence[float] = (1e-2, 1e-3, 1e-4),
    *,
    definition: Definition = "conservative",
) -> tuple[TprAtFpr, ...]:
    """TPR@FPR of the CASIA-SURF family: live faces are the positives, attacks the negatives. O(n log n).

    Args:
        scores: (n,) higher is more live.
        live: (n,) true for live faces.
        fprs: wanted rates in [0, 1].
        definition: of the three in use, see `TprAtFpr`.

    Raises:
        ConfigError: no such definition, or a rate outside.

    >>> tpr_at_fpr([0.9, 0.8, 0.3, 0.7, 0.2], [1, 1, 1, 0, 0], [0.5])[0].tpr
    1.0
    """
    sets = pad_sets(scores, live)
    return tuple(tpr_at_fpr_of(sets, check_target(float(f)), definition) for f in fprs)


def det_of(sets: PadSets, most: int = 2000) -> dict[str, Roc]:
    """`det_curve` of sorted or counted scores."""
    pooled = roc_of(sets.pooled, most)
    least = round(min(side.total for side in sets.species.values()))
    t = pooled.thresholds
    worst = np.max([side.at_least(t) / side.total for side in sets.species.values()], axis=0)
    out = {"max over species": Roc(worst, pooled.tar, t, pooled.genuine, least), "pooled": pooled}
    for name, side in sets.species.items():
        out[name] = Roc(side.at_least(t) / side.total, pooled.tar, t, pooled.genuine, round(side.total))
    return out


def det_curve(
    scores: ArrayLike, live: ArrayLike, pai: ArrayLike | None = None, *, most: int = 2000
) -> dict[str, Roc]:
    """BPCER over APCER: for the max over species, all attacks pooled, and each species. O(n log n).

    ``far`` of a curve is its APCER and ``1 - tar`` the BPCER; draw them with
    ``det_plot(curves, rates=("APCER", "BPCER"))``.

    Args:
        scores: (n,) higher is more live.
        live: (n,) true for live faces.
        pai: (n,) species of the attacks; None = one species.
        most: points kept about; 0 keeps all.
    """
    return det_of(pad_sets(scores, live, pai), most)
