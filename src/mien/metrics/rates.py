"""Rates of a verification experiment: TAR at a FAR with intervals, EER, AUC, d', thresholds by a named rule.

All sort once, O(n log n); `mien.metrics.ScoreTally` gives the same of any number of scores in fixed memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from mien.core.errors import ConfigError, DataError
from mien.metrics.identity_draws import PairTable
from mien.metrics.intervals import DRAWS, Interval, percentile_interval, wilson_interval
from mien.metrics.score_sets import Array, Floats, ScoreSets, ScoreSide, score_sets

FarRule = Literal["at_most", "nearest", "interpolate"]
FAR_RULES = ("at_most", "nearest", "interpolate")


@dataclass(frozen=True)
class TarAtFar:
    """The true accept rate at a wanted false accept rate.

    Attributes:
        target: the FAR that was asked for.
        tar: share of genuine scores accepted.
        far: share of impostor scores accepted at the same point.
        threshold: accepted means score >= threshold.
        rule: how the point of the ROC was chosen.
        interval: Wilson's of the TAR, the threshold held fixed. Its low end is 0 where ``resolved`` is false.
        far_interval: Wilson's of the FAR.
        bootstrap: with the threshold chosen again in every draw; None if not asked for.
        over: what the bootstrap drew, ``none``, ``pairs`` or ``identities``.
        genuine: how many.
        impostors: how many.
        resolved: whether the target is at least 1 / impostors. Below that the scores cannot tell where the
            threshold should be, only that it lies above the highest impostor.
    """

    target: float
    tar: float
    far: float
    threshold: float
    rule: str
    interval: Interval
    far_interval: Interval
    bootstrap: Interval | None
    over: str
    genuine: int
    impostors: int
    resolved: bool


@dataclass(frozen=True)
class Eer:
    """Equal error rate: where FAR = 1 - TAR on the straight line between neighbouring points of the ROC.

    Attributes:
        value: the rate.
        threshold: the least score at which the false reject rate is not below the false accept rate.
        far: false accept rate at that threshold.
        frr: false reject rate at that threshold.
    """

    value: float
    threshold: float
    far: float
    frr: float


@dataclass(frozen=True)
class ChosenThreshold:
    """A threshold (accepted means score >= value), the rule that chose it, and its rates on those scores."""

    value: float
    rule: str
    far: float
    tar: float
    accuracy: float


def _after(value: float, values: Array) -> float:
    """The least number of the scores' precision above ``value``."""
    return float(np.nextafter(values.dtype.type(value), values.dtype.type(np.inf)))


def _point(sets: ScoreSets, target: float, rule: str) -> tuple[float, float, float]:
    """TAR, FAR and threshold by a rule."""
    genuine, impostor = sets.genuine, sets.impostor
    v = float(impostor.cut(target * impostor.total))
    if target * (1 + 1e-12) >= 1:
        return 1.0, 1.0, -np.inf
    low = float(impostor.above(v) / impostor.total)
    tar_low = float(genuine.above(v) / genuine.total)
    strict = tar_low, low, _after(v, impostor.values)
    high = float(impostor.at_least(v) / impostor.total)
    if rule == "interpolate":
        share = (target - low) / (high - low)
        tar_high = float(genuine.at_least(v) / genuine.total)
        return tar_low + max(share, 0.0) * (tar_high - tar_low), max(target, low), strict[2]
    if rule == "nearest" and abs(high - target) <= abs(low - target):
        if high == 1:
            return 1.0, 1.0, -np.inf
        lower = impostor.next_below(v)
        return float(genuine.above(lower) / genuine.total), high, _after(lower, impostor.values)
    return strict


def _check_fars(fars: Sequence[float] | float, rule: str) -> tuple[float, ...]:
    if rule not in FAR_RULES:
        raise ConfigError(f"no FAR rule {rule!r}; one of {', '.join(FAR_RULES)}")
    out = tuple(float(f) for f in np.atleast_1d(np.asarray(fars, np.float64)))
    if not out or not all(0 <= f <= 1 for f in out):
        raise ConfigError(f"FARs must lie between 0 and 1, got {list(out)}")
    return out


def point_at_far(sets: ScoreSets, target: float, rule: str = "at_most") -> TarAtFar:
    """`tar_at_far` of sorted or counted scores, one FAR, without a bootstrap."""
    _check_fars(target, rule)
    tar, far, threshold = _point(sets, target, rule)
    ng, ni = sets.genuine.total, sets.impostor.total
    low, high = wilson_interval(min(tar * ng, ng), ng)
    resolved = target * ni * (1 + 1e-12) >= 1
    return TarAtFar(
        target=target,
        tar=tar,
        far=far,
        threshold=threshold,
        rule=rule,
        interval=(low if resolved else 0.0, high),
        far_interval=wilson_interval(min(far * ni, ni), ni),
        bootstrap=None,
        over="none",
        genuine=round(ng),
        impostors=round(ni),
        resolved=resolved,
    )


def pair_draws(sets: ScoreSets, target: float, rule: str, draws: int, seed: int) -> Floats:
    """TARs of a bootstrap over pairs, without drawing the pairs. O(draws log n).

    The (k+1)-th largest of n impostors drawn again is the one at rank floor(n B), B ~ Beta(k+1, n-k); the
    genuine scores above it are a binomial number.
    """
    if draws < 1:
        raise ConfigError(f"draws must be positive, got {draws}")
    n, rng = sets.impostor.total, np.random.default_rng(seed)
    count = target * n * (1 + 1e-12)
    k = np.floor(count + 0.5 if rule == "nearest" else count)
    if k >= n:
        return np.ones(draws)
    rank = np.floor(n * rng.beta(k + 1, n - k, draws))
    share = sets.genuine.above(sets.impostor.cut(np.minimum(rank, n - 1))) / sets.genuine.total
    return np.asarray(rng.binomial(round(sets.genuine.total), share) / sets.genuine.total)


def tar_at_far(
    scores: ArrayLike,
    same: ArrayLike,
    fars: Sequence[float] | float,
    *,
    rule: FarRule = "at_most",
    bootstrap: Literal["none", "pairs", "identities"] = "pairs",
    identities: ArrayLike | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> tuple[TarAtFar, ...]:
    """True accept rates at wanted false accept rates, with intervals.

    Args:
        scores: (n,) higher is more alike.
        same: (n,) true where both are of one person.
        fars: wanted false accept rates.
        rule: ``at_most``: the most genuine accepted with FAR <= target; ``nearest``: the point of the ROC
            with the nearest FAR, of equally near ones that with the higher TAR (IJB); ``interpolate``:
            linearly between points.
        bootstrap: what is drawn again for the bootstrap interval.
        identities: (n, 2) who the pairs are of, for ``bootstrap="identities"``: people are drawn with
            replacement, an impostor pair counts w_a w_b times, a genuine one w_a.
        draws: of the bootstrap.
        seed: of the bootstrap.

    Returns:
        One result for each FAR. A FAR below 1 / impostors has ``resolved=False`` and an interval from 0.

    Raises:
        ShapeError, DataError, ConfigError: in one line, what is wrong with the arguments.

    >>> tar_at_far([0.9, 0.8, 0.3, 0.7, 0.2, 0.1, 0.0], [1, 1, 1, 0, 0, 0, 0], 0.25)[0].tar
    1.0
    """
    wanted = _check_fars(fars, rule)
    if bootstrap not in ("none", "pairs", "identities"):
        raise ConfigError(f"bootstrap {bootstrap!r}: one of none, pairs, identities")
    if (identities is not None) != (bootstrap == "identities"):
        raise ConfigError("identities belong to bootstrap='identities', and only there")
    sets = score_sets(scores, same)
    points = [point_at_far(sets, f, rule) for f in wanted]
    if bootstrap == "pairs":
        drawn = [pair_draws(sets, f, rule, draws, seed) for f in wanted]
    elif identities is not None:
        table = PairTable.of(scores, same, identities)
        weighted = table.draws(lambda s: [_point(s, f, rule)[0] for f in wanted], draws, seed, max(wanted))
        drawn = list(weighted.T)
    else:
        return tuple(points)
    out = []
    for point, values in zip(points, drawn, strict=True):
        low, high = percentile_interval(values)
        out.append(replace(point, bootstrap=(low if point.resolved else 0.0, high), over=bootstrap))
    return tuple(out)


def _first_equal(sets: ScoreSets, side: ScoreSide) -> float:
    """The least score of one side at which FRR >= FAR, or inf. O(log^2 n)."""
    low, high = 0, len(side.values)
    while low < high:
        middle = (low + high) // 2
        t = side.values[middle]
        if 1 - sets.tar(t) >= sets.far(t):
            high = middle
        else:
            low = middle + 1
    return float(side.values[low]) if low < len(side.values) else np.inf


def eer_of(sets: ScoreSets) -> Eer:
    """`eer` of sorted or counted scores."""
    sides = (sets.genuine, sets.impostor)
    t = min(_first_equal(sets, side) for side in sides)
    before = max(side.next_below(t) for side in sides)
    far, frr = float(sets.far(t)), 1 - float(sets.tar(t))
    far_0, frr_0 = float(sets.far(before)), 1 - float(sets.tar(before))
    over, under = frr - far, far_0 - frr_0
    share = over / (over + under) if over + under > 0 else 0.0
    return Eer(far + share * (far_0 - far), t, far, frr)


def eer(scores: ArrayLike, same: ArrayLike) -> Eer:
    """Equal error rate.

    Args:
        scores: (n,) higher is more alike.
        same: (n,) true where both are of one person.

    >>> eer([0.9, 0.8, 0.4, 0.6, 0.2, 0.1], [1, 1, 1, 0, 0, 0]).value
    0.3333333333333333
    """
    return eer_of(score_sets(scores, same))


def auc_of(sets: ScoreSets) -> float:
    """`auc` of sorted or counted scores."""
    genuine, impostor = sets.genuine, sets.impostor
    below = impostor.total - 0.5 * (impostor.at_least(genuine.values) + impostor.above(genuine.values))
    return float(below @ genuine.weights / genuine.total / impostor.total)


def auc(scores: ArrayLike, same: ArrayLike) -> float:
    """Area under the ROC: the chance that a genuine score is above an impostor one, ties counting half.

    Args:
        scores: (n,) higher is more alike.
        same: (n,) true where both are of one person.

    >>> auc([0.9, 0.5, 0.5, 0.1], [1, 1, 0, 0])
    0.875
    """
    return auc_of(score_sets(scores, same))


def d_prime(scores: ArrayLike, same: ArrayLike) -> float:
    """(mean genuine - mean impostor) / sqrt((var genuine + var impostor) / 2), population variances.

    Args:
        scores: (n,) finite, higher is more alike.
        same: (n,) true where both are of one person.

    Raises:
        DataError: a score is -inf, or both kinds have no spread.
    """
    sets = score_sets(scores, same)
    g, i = sets.genuine.values.astype(np.float64), sets.impostor.values.astype(np.float64)
    if np.isneginf(g[0]) or np.isneginf(i[0]):
        raise DataError("d' needs finite scores; leave out comparisons that failed (-inf)")
    spread = np.sqrt((g.var() + i.var()) / 2)
    if spread == 0:
        raise DataError("d' needs scores that differ within genuine or impostor comparisons")
    return float((g.mean() - i.mean()) / spread)


def _most_accurate(sets: ScoreSets) -> float:
    """The highest of the thresholds with the most right decisions: a genuine score, or above all."""
    top = max(sets.genuine.values[-1], sets.impostor.values[-1])
    t = np.append(sets.genuine.values, np.nextafter(top, top.dtype.type(np.inf)))
    right = sets.genuine.at_least(t) - sets.impostor.at_least(t)
    return float(t[len(t) - 1 - int(np.argmax(right[::-1]))])


def choose_threshold(scores: ArrayLike, same: ArrayLike, rule: str = "eer") -> ChosenThreshold:
    """A threshold chosen on these scores by a named rule.

    Args:
        scores: (n,) of a development set, higher is more alike.
        same: (n,) true where both are of one person.
        rule: ``eer``: where FAR and FRR cross; ``far@0.001``: the least threshold with at most this FAR;
            ``accuracy``: the most right decisions, of equals the strictest (depends on the share of genuine
            comparisons in the set).

    Raises:
        ConfigError: no such rule.

    >>> choose_threshold([0.9, 0.8, 0.4, 0.6, 0.2, 0.1], [1, 1, 1, 0, 0, 0], "accuracy").value
    0.8
    """
    sets = score_sets(scores, same)
    kind, _, number = rule.partition("@")
    if rule == "eer":
        value = eer_of(sets).threshold
    elif rule == "accuracy":
        value = _most_accurate(sets)
    elif kind == "far":
        try:
            target = float(number)
        except ValueError:
            raise ConfigError(f"threshold rule {rule!r}: write far@0.001") from None
        value = point_at_far(sets, target).threshold
    else:
        raise ConfigError(f"no threshold rule {rule!r}; one of eer, accuracy, far@RATE")
    far, tar = float(sets.far(value)), float(sets.tar(value))
    ng, ni = sets.genuine.total, sets.impostor.total
    return ChosenThreshold(value, rule, far, tar, (tar * ng + (1 - far) * ni) / (ng + ni))
