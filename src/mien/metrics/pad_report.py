"""The report of a test of presentation attack detection: every rate by name, with intervals and warnings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mien.core.errors import ConfigError
from mien.metrics.intervals import DRAWS, Estimate
from mien.metrics.pad_bootstrap import UnitTable, pad_estimates
from mien.metrics.pad_points import (
    DEFINITIONS,
    BpcerAtApcer,
    PadEer,
    TprAtFpr,
    bpcer_at_apcer_of,
    eer_of_sets,
    tpr_at_fpr_of,
)
from mien.metrics.pad_rates import NoResponse, Rate, accepted_rate, no_responses, rejected_rate
from mien.metrics.pad_scores import PadSets, pad_samples, pad_sets
from mien.metrics.pad_table import report_table
from mien.metrics.pad_threshold import ORACLE, PadThreshold, threshold_of

APCERS = (0.1, 0.05, 0.01)
FPRS = (1e-2, 1e-3, 1e-4)
FLIPPED = 0.4
"""An AUC below this makes a warning: labels or scores may be upside down."""
Dev = tuple[ArrayLike, ArrayLike] | tuple[ArrayLike, ArrayLike, ArrayLike | None]


@dataclass(frozen=True)
class PadReport:
    """Results on one test set at one threshold. Rates are in [0, 1].

    Attributes:
        threshold: the value, and the rule and set that chose it.
        strict: accepted means score > threshold instead of score >= threshold.
        live: live faces with a score.
        attacks: attacks with a score.
        apcer: of every species.
        worst: the species with the largest APCER.
        apcer_max: its APCER: the APCER of ISO/IEC 30107-3.
        apcer_pooled: attacks accepted / all attacks.
        bpcer: live faces rejected / all live faces.
        acer_max: (apcer_max + bpcer) / 2.
        acer_pooled: (apcer_pooled + bpcer) / 2.
        hter: the same number by the name of cross-domain tests.
        eer: on this test set, pooled APCER = BPCER.
        eer_point: its own threshold and both rates there.
        auc: area under the ROC, ties half.
        bpcer_at_apcer: BPCER10, BPCER20, BPCER100, each for APCER max over species and pooled.
        tpr_at_fpr: at 1e-2, 1e-3, 1e-4 (or as asked), by each of the three definitions.
        no_response: None where every presentation was taken to have a score.
        warnings: one line each.
    """

    threshold: PadThreshold
    strict: bool
    live: int
    attacks: int
    apcer: dict[str, Rate]
    worst: str
    apcer_max: Rate
    apcer_pooled: Rate
    bpcer: Rate
    acer_max: Estimate
    acer_pooled: Estimate
    hter: float
    eer: Estimate
    eer_point: PadEer
    auc: Estimate
    bpcer_at_apcer: tuple[BpcerAtApcer, ...]
    tpr_at_fpr: tuple[TprAtFpr, ...]
    no_response: NoResponse | None
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: an infinite threshold is ``"inf"``, an interval not asked for None."""
        out: dict[str, Any] = _plain(asdict(self))
        out["threshold"] |= {"text": self.threshold.text, "oracle": self.threshold.oracle}
        return out

    def table(self) -> str:
        """The report as text, rates in per cent."""
        return report_table(self)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        parts = [_plain(v) for v in value]
        return None if parts and all(p is None for p in parts) else parts
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value


def _warnings(sets: PadSets, tau: PadThreshold, auc: float, points: Sequence[TprAtFpr]) -> list[str]:
    out = []
    n = round(sets.attack.total)
    if tau.oracle:
        out.append("oracle: the test set itself chose the threshold; no such number can be had in use")
    if auc < FLIPPED:
        out.append(f"AUC {auc:.3f}: attacks score higher than live faces; are labels or scores flipped?")
    if math.isinf(tau.value):
        done = "rejected" if tau.value > 0 else "accepted"
        out.append(f"the threshold is {tau.value:+}: everything is {done}")
    by_species = tau.rule == "min_acer" or tau.rule.startswith("bpcer@apcer=")
    if by_species and tau.species == 1 and len(sets.species) > 1:
        out.append("the dev set names no species: the rule's APCER max is the pooled one there")
    lost = sorted({p.target for p in points if not p.resolvable}, reverse=True)
    if lost:
        targets = ", ".join(f"{t:g}" for t in lost)
        out.append(f"TPR@FPR={targets} cannot be resolved with {n} attacks: fewer than 1 / FPR")
    few = [name for name, side in sets.species.items() if side.total < 1 / min(APCERS)]
    if few:
        names = ", ".join(few[:5]) + (f" and {len(few) - 5} more" if len(few) > 5 else "")
        out.append(f"BPCER100 cannot be resolved: fewer than {1 / min(APCERS):.0f} attacks of {names}")
    return out


def report_of(
    sets: PadSets,
    threshold: PadThreshold,
    *,
    fprs: Sequence[float] = FPRS,
    table: UnitTable | None = None,
    no_response: NoResponse | None = None,
    draws: int = DRAWS,
    seed: int = 0,
    warnings: Sequence[str] = (),
) -> PadReport:
    """`pad_report` of sorted or counted scores.

    Args:
        sets: of the test set.
        threshold: chosen elsewhere.
        fprs: of TPR@FPR.
        table: the same scores with their units, for the bootstrap; None draws samples.
        no_response: as found before.
        draws: of the bootstrap; 0 leaves it out.
        seed: of the bootstrap.
        warnings: to be told first.
    """
    tau = threshold.value
    apcer = {name: accepted_rate(sets, side, tau) for name, side in sets.species.items()}
    worst = max(apcer, key=lambda name: apcer[name].value)
    found = pad_estimates(sets, tau, table, draws, seed)
    points = tuple(tpr_at_fpr_of(sets, f, d) for f in fprs for d in DEFINITIONS)
    return PadReport(
        threshold=threshold,
        strict=sets.strict,
        live=round(sets.live.total),
        attacks=round(sets.attack.total),
        apcer=apcer,
        worst=worst,
        apcer_max=apcer[worst],
        apcer_pooled=accepted_rate(sets, sets.attack, tau),
        bpcer=rejected_rate(sets, tau),
        acer_max=found["acer_max"],
        acer_pooled=found["acer_pooled"],
        hter=found["acer_pooled"].value,
        eer=found["eer"],
        eer_point=eer_of_sets(sets),
        auc=found["auc"],
        bpcer_at_apcer=tuple(bpcer_at_apcer_of(sets, x, k) for x in APCERS for k in ("max", "pooled")),
        tpr_at_fpr=points,
        no_response=no_response,
        warnings=(*warnings, *_warnings(sets, threshold, found["auc"].value, points)),
    )


def resolve_threshold(threshold: str | float, dev: PadSets | None, test: PadSets) -> PadThreshold:
    """A number as it is, a rule on the development set, or ``test_eer`` on the test set.

    Args:
        threshold: as in `pad_report`.
        dev: scores of the development set.
        test: scores of the test set, looked at by ``test_eer`` only.

    Raises:
        ConfigError: a rule without a development set, NaN, or no such rule.
    """
    if not isinstance(threshold, str):
        if math.isnan(threshold):
            raise ConfigError("the threshold is NaN; give a number, or a rule with dev=(scores, live)")
        return PadThreshold(float(threshold), "fixed", "given")
    if threshold == ORACLE:
        return threshold_of(test, ORACLE, "test")
    if dev is None:
        raise ConfigError(
            f"threshold rule {threshold!r} needs dev=(scores, live); "
            f"only a number or {ORACLE!r} (an oracle) goes without"
        )
    return threshold_of(dev, threshold)


def dev_sets(dev: Dev | None, strict: bool) -> PadSets | None:
    """The checked and sorted scores of a development set, if there is one.

    Raises:
        ConfigError: neither (scores, live) nor (scores, live, pai).
        ShapeError, DataError: as in `pad_report`; the message begins with "dev set".
    """
    if dev is None:
        return None
    if not isinstance(dev, (tuple, list)) or len(dev) not in (2, 3):
        raise ConfigError("dev must be (scores, live) or (scores, live, pai)")
    return pad_sets(dev[0], dev[1], dev[2] if len(dev) == 3 else None, strict, "dev set")


def pad_report(
    scores: ArrayLike,
    live: ArrayLike,
    pai: ArrayLike | None = None,
    threshold: str | float = "eer",
    dev: Dev | None = None,
    strict: bool = False,
    response: ArrayLike | None = None,
    *,
    fprs: Sequence[float] = FPRS,
    units: ArrayLike | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> PadReport:
    """All error rates of a detector of presentation attacks, ISO/IEC 30107-3 and the field's, by name.

    O(n log n) and the bootstrap: O(draws 1024) over samples, O(draws n) over units. `PadTally` gives the same
    of any number of scores in fixed memory.

    Args:
        scores: (n,) higher is more live. NaN is allowed where ``response`` is false.
        live: (n,) true for live (bona fide) faces, false for attacks.
        pai: (n,) species of the attacks (presentation attack instrument); what it says of live faces is not
            looked at. None = one species.
        threshold: a number, or a rule that looks at ``dev`` (see `choose_pad_threshold`): ``eer``,
            ``min_acer``, ``bpcer@apcer=0.05`` and so on; or ``test_eer``, marked as an oracle.
        dev: (scores, live) or (scores, live, pai) of a development set.
        strict: accepted means score > threshold instead of score >= threshold, on both sets.
        response: (n,) false where the system gave no score; those are in APNRR and BPNRR only.
        fprs: wanted rates of TPR@FPR.
        units: (n,) videos or subjects, to be drawn as wholes in the bootstrap of ACER, AUC and EER.
        draws: of the bootstrap; 0 leaves it out.
        seed: of the bootstrap.

    Raises:
        ConfigError: a rule without ``dev``, no such rule, or another setting out of range.
        ShapeError: lengths that differ, or labels that are not 0/1.
        DataError: NaN, infinite or all-equal scores, or one class only, in either set.

    >>> report = pad_report(
    ...     [0.9, 0.8, 0.3, 0.7, 0.4, 0.1], [1, 1, 1, 0, 0, 0], ["", "", "", "print", "print", "mask"], 0.5
    ... )
    >>> report.worst, report.apcer_max.value, round(report.acer_max.value, 4), report.threshold.text
    ('print', 0.5, 0.4167, 'fixed')
    """
    missing = None
    if response is not None:
        kept, missing = no_responses(scores, live, pai, response)
        scores, live = np.asarray(scores)[kept], np.asarray(live)[kept]
        pai, units = (None if v is None else np.asarray(v)[kept] for v in (pai, units))
    samples = pad_samples(scores, live, pai)
    sets = samples.sets(strict)
    table = None if units is None else UnitTable.of(samples, units)
    tau = resolve_threshold(threshold, dev_sets(dev, strict), sets)
    return report_of(sets, tau, fprs=fprs, table=table, no_response=missing, draws=draws, seed=seed)
