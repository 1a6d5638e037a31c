"""The threshold of a detector of presentation attacks, chosen on a development set by a named rule.

A threshold always travels with its rule, the set the rule looked at, and the rates there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from mien.core.config import suggest
from mien.core.errors import ConfigError
from mien.metrics.pad_points import eer_of_sets, threshold_at_apcer, threshold_at_bpcer
from mien.metrics.pad_scores import PadSets, pad_sets

RULES = (
    "eer",
    "min_acer",
    "min_acer_pooled",
    "bpcer@apcer=0.05",
    "bpcer@apcer_pooled=0.05",
    "apcer@bpcer=0.01",
)
ORACLE = "test_eer"
"""The EER rule on the test set itself: what many papers do, and no number of a product."""


@dataclass(frozen=True)
class PadThreshold:
    """A threshold, how it was chosen, and what it does to the scores it was chosen on.

    Attributes:
        value: accepted means score >= value (with ``strict`` score > value); +inf rejects all.
        rule: as it was asked for; ``fixed`` for a number.
        source: ``dev``, ``test`` (an oracle) or ``given``.
        eer: equal error rate there; None if given.
        apcer_max: APCER there, max over species; None if given.
        apcer_pooled: APCER there, all attacks pooled; None if given.
        bpcer: there; None if given.
        species: how many there were; None if given.
    """

    value: float
    rule: str
    source: str
    eer: float | None = None
    apcer_max: float | None = None
    apcer_pooled: float | None = None
    bpcer: float | None = None
    species: int | None = None

    @property
    def oracle(self) -> bool:
        """Whether the test set chose it."""
        return self.source == "test"

    @property
    def text(self) -> str:
        """``eer@dev``, ``fixed``, or ``test_eer (oracle)``.

        >>> PadThreshold(0.5, "min_acer", "dev").text
        'min_acer@dev'
        """
        if self.oracle:
            return f"{self.rule} (oracle)"
        return f"{self.rule}@{self.source}" if self.source == "dev" else self.rule


def least_acer(sets: PadSets, kind: str = "max") -> float:
    """The candidate with the least (APCER + BPCER) / 2, the largest of equals. O(species n log n).

    Args:
        sets: scores.
        kind: APCER ``max`` over species or ``pooled``.
    """
    t = sets.candidates()
    apcer = sets.apcer_max(t) if kind == "max" else sets.apcer_pooled(t)
    total = apcer + sets.bpcer(t)
    return float(t[np.flatnonzero(total <= total.min() + 1e-12)[-1]])


def apply_rule(sets: PadSets, rule: str) -> float:
    """The threshold that a rule of `RULES` chooses on these scores.

    Args:
        sets: scores of a development set.
        rule: see `choose_pad_threshold`.

    Raises:
        ConfigError: no such rule, or a rate that is no number in [0, 1].
    """
    if rule == "eer":
        return eer_of_sets(sets).threshold
    if rule in ("min_acer", "min_acer_pooled"):
        return least_acer(sets, "pooled" if rule.endswith("pooled") else "max")
    kind, _, number = rule.partition("=")
    if kind not in {r.partition("=")[0] for r in RULES if "=" in r}:
        known = [r.partition("=")[0] for r in RULES]
        raise ConfigError(
            f"no threshold rule {rule!r}{suggest(kind, [*known, ORACLE])}; or a number as the threshold"
        )
    try:
        target = float(number)
    except ValueError:
        raise ConfigError(f"threshold rule {rule!r} needs a rate: write {kind}=0.05") from None
    if kind == "apcer@bpcer":
        return threshold_at_bpcer(sets, target)
    return threshold_at_apcer(sets, target, "pooled" if kind.endswith("pooled") else "max")


def threshold_of(sets: PadSets, rule: str, source: str = "dev") -> PadThreshold:
    """`choose_pad_threshold` of sorted or counted scores.

    Args:
        sets: scores the rule looks at.
        rule: of `RULES`, or ``test_eer`` where ``source`` is ``test``.
        source: ``dev`` or ``test``.
    """
    t = apply_rule(sets, "eer" if rule == ORACLE and source == "test" else rule)
    return PadThreshold(
        value=t,
        rule=rule,
        source=source,
        eer=eer_of_sets(sets).value,
        apcer_max=float(sets.apcer_max(t)),
        apcer_pooled=float(sets.apcer_pooled(t)),
        bpcer=float(sets.bpcer(t)),
        species=len(sets.species),
    )


def choose_pad_threshold(
    scores: ArrayLike,
    live: ArrayLike,
    rule: str = "eer",
    *,
    pai: ArrayLike | None = None,
    strict: bool = False,
) -> PadThreshold:
    """A threshold chosen on a development set by a named rule. O(species n log n).

    Args:
        scores: (n,) of the development set, higher is more live.
        live: (n,) true for live faces.
        rule: ``eer``: pooled APCER = BPCER; ``min_acer``: least ACER, APCER max over species
            (``min_acer_pooled``: pooled); ``bpcer@apcer=0.05``: the least candidate with APCER, max over
            species, of at most 5 % (``bpcer@apcer_pooled=0.05``: pooled); ``apcer@bpcer=0.01``: the largest
            candidate with a BPCER of at most 1 % (the rule of WMCA). Of equals always the largest.
        pai: (n,) species of the attacks; None = one species.
        strict: accepted means score > threshold.

    Raises:
        ConfigError: no such rule.
        ShapeError, DataError: NaN, lengths that differ, scores of one class only, or all equal.

    >>> found = choose_pad_threshold([0.95, 0.75, 0.6, 0.45, 0.5, 0.3, 0.2, 0.1], [1, 1, 1, 1, 0, 0, 0, 0])
    >>> found.value, found.text, found.eer
    (0.5, 'eer@dev', 0.25)
    """
    return threshold_of(pad_sets(scores, live, pai, strict, "dev set"), rule)
