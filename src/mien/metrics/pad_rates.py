"""Error rates of presentation attack detection at a threshold (ISO/IEC 30107-3 and the field's).

Higher scores are more live; accepted means score >= threshold, with ``strict`` score > threshold. Two rates
go by the name APCER: the *max* over species (ISO), and the *pooled* share of all attacks (CASIA-SURF, CeFA,
WMCA, HiFiMask and others). Every name here says which.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.core.errors import ConfigError, DataError, ShapeError
from mien.metrics.intervals import Interval, wilson_interval
from mien.metrics.pad_scores import ANY_SPECIES, PadSets, pad_sets, species_codes
from mien.metrics.score_sets import ScoreSide

Kind = Literal["max", "pooled"]


@dataclass(frozen=True)
class Rate:
    """A share of errors.

    Attributes:
        value: errors / tries.
        errors: how many.
        tries: of how many.
        interval: Wilson's, 95 %.
    """

    value: float
    errors: int
    tries: int
    interval: Interval

    @classmethod
    def of(cls, errors: float, tries: float) -> Rate:
        """From counts."""
        return cls(errors / tries, round(errors), round(tries), wilson_interval(errors, tries))

    @property
    def rule_of_three(self) -> float | None:
        """3 / tries, the 95 % upper bound that ISO/IEC 30107-3 gives where there was no error; else None."""
        return min(1.0, 3 / self.tries) if self.errors == 0 else None


@dataclass(frozen=True)
class NoResponse:
    """Presentations for which the system gave no score (no face found and the like); in no other rate.

    Attributes:
        apnrr: share of attack presentations.
        bpnrr: share of bona fide presentations.
        species: name -> share of the attacks of each species.
    """

    apnrr: Rate
    bpnrr: Rate
    species: dict[str, Rate]


def rejected_rate(sets: PadSets, tau: float) -> Rate:
    """BPCER with its counts."""
    return Rate.of(sets.live.total - float(sets.accepted(sets.live, tau)), sets.live.total)


def accepted_rate(sets: PadSets, side: ScoreSide, tau: float) -> Rate:
    """APCER of one species' scores (or of all attacks) with its counts."""
    return Rate.of(float(sets.accepted(side, tau)), side.total)


def no_responses(
    scores: ArrayLike, live: ArrayLike, pai: ArrayLike | None, response: ArrayLike
) -> tuple[NDArray[np.bool_], NoResponse]:
    """Which presentations got a score, and the shares of those that did not. O(n).

    Args:
        scores: (n,) whatever they are.
        live: (n,) true for bona fide presentations.
        pai: (n,) species of the attacks; None = one species.
        response: (n,) true where the system gave a score.

    Raises:
        ShapeError: not (n,) alike, or labels that are not 0/1.
        DataError: one class only.
    """
    y, answered = np.asarray(live), np.asarray(response)
    shapes = {np.shape(v) for v in (scores, y, answered, *(() if pai is None else (pai,)))}
    if len(shapes) > 1 or y.ndim != 1:
        raise ShapeError(f"scores, live, response and pai must be (n,) alike, got {sorted(shapes)}")
    if not all(((v == 0) | (v == 1)).all() for v in (y, answered)):
        raise ShapeError("live and response must hold booleans or 0 and 1 only")
    kept, y = answered.astype(np.bool_), y.astype(np.bool_)
    if y.all() or not y.any():
        raise DataError(f"all {len(y)} presentations are {'live' if y.any() else 'attacks'}: rates need both")
    code, names = (0, (ANY_SPECIES,)) if pai is None else species_codes(np.asarray(pai)[~y])
    lost, of = ~kept[~y], np.broadcast_to(code, int((~y).sum()))
    species = {name: _share(lost[of == k]) for k, name in enumerate(names)}
    return kept, NoResponse(apnrr=_share(lost), bpnrr=_share(~kept[y]), species=species)


def _share(lost: NDArray[np.bool_]) -> Rate:
    return Rate.of(int(np.count_nonzero(lost)), len(lost))


def check_kind(kind: str) -> str:
    """``max`` or ``pooled``.

    Raises:
        ConfigError: neither.
    """
    if kind not in ("max", "pooled"):
        raise ConfigError(f"no APCER {kind!r}; max (over species) or pooled")
    return kind


def apcer_per_pais(
    scores: ArrayLike, live: ArrayLike, pai: ArrayLike | None, threshold: float, *, strict: bool = False
) -> dict[str, float]:
    """APCER_k = #{attacks of species k accepted} / N_k, of every species, ISO/IEC 30107-3. O(n log n).

    Args:
        scores: (n,) higher is more live.
        live: (n,) true for live faces.
        pai: (n,) species of the attacks; None = one species.
        threshold: accepted means score >= threshold.
        strict: accepted means score > threshold.

    Raises:
        ShapeError, DataError: in one line, what is wrong with the arguments (so do all functions here).

    >>> apcer_per_pais([0.9, 0.7, 0.4, 0.1], [1, 0, 0, 0], ["", "print", "print", "mask"], 0.5)
    {'mask': 0.0, 'print': 0.5}
    """
    found = pad_sets(scores, live, pai, strict).apcer(threshold)
    return {name: float(value) for name, value in found.items()}


def apcer_max(
    scores: ArrayLike, live: ArrayLike, pai: ArrayLike | None, threshold: float, *, strict: bool = False
) -> float:
    """The largest APCER over species: the APCER of ISO/IEC 30107-3. Arguments as in `apcer_per_pais`.

    Args:
        scores: (n,).
        live: (n,).
        pai: (n,) or None.
        threshold: of acceptance.
        strict: score > threshold.
    """
    return max(apcer_per_pais(scores, live, pai, threshold, strict=strict).values())


def apcer_pooled(scores: ArrayLike, live: ArrayLike, threshold: float, *, strict: bool = False) -> float:
    """Attacks accepted / all attacks, whatever their species (not ISO's APCER). O(n log n).

    Args:
        scores: (n,) higher is more live.
        live: (n,) true for live faces.
        threshold: of acceptance.
        strict: score > threshold.
    """
    return apcer_max(scores, live, None, threshold, strict=strict)


def bpcer(scores: ArrayLike, live: ArrayLike, threshold: float, *, strict: bool = False) -> float:
    """BPCER = #{live faces rejected} / N_BF, formerly NPCER. O(n log n).

    Args:
        scores: (n,) higher is more live.
        live: (n,) true for live faces.
        threshold: of acceptance.
        strict: score > threshold.
    """
    return float(pad_sets(scores, live, None, strict).bpcer(threshold))


def acer(
    scores: ArrayLike,
    live: ArrayLike,
    threshold: float,
    *,
    pai: ArrayLike | None = None,
    apcer: Kind = "max",
    strict: bool = False,
) -> float:
    """(APCER + BPCER) / 2, the field's summary (no ISO metric). O(n log n).

    Args:
        scores: (n,) higher is more live.
        live: (n,) true for live faces.
        threshold: of acceptance.
        pai: (n,) species of the attacks; None = one species, where both conventions are the same.
        apcer: ``max`` over species, or ``pooled``.
        strict: score > threshold.

    Raises:
        ConfigError: another ``apcer``.

    >>> acer([0.9, 0.7, 0.4, 0.1], [1, 0, 0, 0], 0.5, pai=["", "print", "print", "mask"])
    0.25
    """
    sets = pad_sets(scores, live, pai, strict)
    found = sets.apcer_max(threshold) if check_kind(apcer) == "max" else sets.apcer_pooled(threshold)
    return float(found + sets.bpcer(threshold)) / 2


def hter(scores: ArrayLike, live: ArrayLike, threshold: float, *, strict: bool = False) -> float:
    """(FAR + FRR) / 2 with FAR = pooled APCER and FRR = BPCER: the ACER of the pooled convention.

    Args:
        scores: (n,) higher is more live.
        live: (n,) true for live faces.
        threshold: of acceptance.
        strict: score > threshold.
    """
    return acer(scores, live, threshold, apcer="pooled", strict=strict)
