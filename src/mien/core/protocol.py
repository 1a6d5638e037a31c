"""Rows, evaluations and claims: what a method's ``protocol.py`` is made of, as data.

A claim is a sentence with a rule over rows. Its verdict is computed from committed results, never stored:
differences are paired per test unit, averaged over seeds, and the 95 % interval is a bootstrap over units
(`mien.core.stats`); a metric without units gets a t interval over seeds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from mien.core.config import Recipe

Values = NDArray[np.float64]
"""(seeds, units): one metric of one row."""


@dataclass(frozen=True)
class Stage:
    """A recipe in a chain of trainings; ``uses`` maps a slot of the task to the id of an earlier stage.

    Trained once per (seed, hash of recipe + upstream hashes + data fingerprint); rows share it.
    """

    id: str
    recipe: Recipe
    uses: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """One look at a trained model: a data split, the rule that selects model or threshold, and options."""

    id: str
    split: str = "test"
    select: str = "last"
    options: Mapping[str, str | float | int | bool] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """One line of a table; ``stages=()`` is training-free.

    ``models``: an evaluation sees the last stage's model, or all stages' (``evaluate_many`` of the method),
    as when one line is the mean over several held-out domains.
    """

    id: str
    label: str
    stages: tuple[Stage, ...]
    evals: tuple[Evaluation, ...]
    group: Literal["claims", "all"] = "claims"
    models: Literal["last", "all"] = "last"


class Rule(Protocol):
    """A statistic of the rows' values and the interval of it that makes the claim true."""

    def statistic(self, values: tuple[Values, ...]) -> float:
        """The number that the claim is about, from (seeds, units) arrays, one for each row."""
        ...

    def side(self, statistic: float) -> bool:
        """Whether one value of the statistic is on the claimed side."""
        ...


@dataclass(frozen=True)
class PairedGain:
    """mean(first - second) > ``above``, paired by test unit."""

    above: float = 0.0

    def statistic(self, values: tuple[Values, ...]) -> float:
        """Mean paired difference of the first row over the second."""
        return float(np.mean(values[0] - values[1]))

    def side(self, statistic: float) -> bool:
        """Above the bound."""
        return statistic > self.above


@dataclass(frozen=True)
class SmallestGain:
    """mean(first - second), mean(third - fourth) and so on are all > ``above``, paired by test unit."""

    above: float = 0.0

    def statistic(self, values: tuple[Values, ...]) -> float:
        """The smallest of the mean paired differences."""
        return float(min(np.mean(a - b) for a, b in zip(values[::2], values[1::2], strict=True)))

    def side(self, statistic: float) -> bool:
        """Above the bound."""
        return statistic > self.above


@dataclass(frozen=True)
class GainOverBest:
    """mean(first) - max over the others of their means > ``above``, paired by test unit."""

    above: float = 0.0

    def statistic(self, values: tuple[Values, ...]) -> float:
        """Difference of the first row over the best of the others."""
        return float(np.mean(values[0]) - max(np.mean(v) for v in values[1:]))

    def side(self, statistic: float) -> bool:
        """Above the bound."""
        return statistic > self.above


@dataclass(frozen=True)
class SomeGain:
    """max over all rows but the last of their means - mean(last) > ``above``, paired by test unit."""

    above: float = 0.0

    def statistic(self, values: tuple[Values, ...]) -> float:
        """Difference of the best of the first rows over the last."""
        return float(max(np.mean(v) for v in values[:-1]) - np.mean(values[-1]))

    def side(self, statistic: float) -> bool:
        """Above the bound."""
        return statistic > self.above


@dataclass(frozen=True)
class Ratio:
    """mean(first) / mean(second) <= ``at_most``."""

    at_most: float

    def statistic(self, values: tuple[Values, ...]) -> float:
        """Ratio of the two means."""
        below = float(np.mean(values[1]))
        return float(np.mean(values[0])) / below if below else float("inf")

    def side(self, statistic: float) -> bool:
        """At or below the bound."""
        return statistic <= self.at_most


@dataclass(frozen=True)
class Ratios:
    """mean(first) / mean(second) <= its bound, and third / fourth, and so on, all at once."""

    at_most: tuple[float, ...]

    def statistic(self, values: tuple[Values, ...]) -> float:
        """The largest ratio in units of its bound."""
        pairs = zip(values[::2], values[1::2], self.at_most, strict=True)
        return max(Ratio(1.0).statistic((a, b)) / bound for a, b, bound in pairs)

    def side(self, statistic: float) -> bool:
        """None is above its bound."""
        return statistic <= 1.0


@dataclass(frozen=True)
class AtMost:
    """Every run's value <= ``value``: a measurement of speed, so its interval is the range of the runs."""

    value: float

    def statistic(self, values: tuple[Values, ...]) -> float:
        """The median over runs."""
        return float(np.median(values[0]))

    def side(self, statistic: float) -> bool:
        """At or below the bound."""
        return statistic <= self.value


@dataclass(frozen=True)
class Within:
    """|mean(first - second)| <= ``tolerance``."""

    tolerance: float

    def statistic(self, values: tuple[Values, ...]) -> float:
        """Mean paired difference."""
        return float(np.mean(values[0] - values[1]))

    def side(self, statistic: float) -> bool:
        """Inside the band."""
        return abs(statistic) <= self.tolerance


@dataclass(frozen=True)
class Above:
    """mean(row) > ``value``."""

    value: float

    def statistic(self, values: tuple[Values, ...]) -> float:
        """The mean."""
        return float(np.mean(values[0]))

    def side(self, statistic: float) -> bool:
        """Above the bound."""
        return statistic > self.value


@dataclass(frozen=True)
class Equal:
    """max |first - second| <= ``tol``: an identity, so its interval is [value, value]."""

    tol: float = 0.0

    def statistic(self, values: tuple[Values, ...]) -> float:
        """Largest absolute difference over seeds and units."""
        return float(np.max(np.abs(values[0] - values[1])))

    def side(self, statistic: float) -> bool:
        """Within the tolerance."""
        return statistic <= self.tol


@dataclass(frozen=True)
class Monotone:
    """The rows' means rise in the order given: the smallest step is > 0."""

    def statistic(self, values: tuple[Values, ...]) -> float:
        """Smallest rise between neighbours."""
        return float(np.min(np.diff([np.mean(v) for v in values])))

    def side(self, statistic: float) -> bool:
        """Every step rises."""
        return statistic > 0


@dataclass(frozen=True)
class Claim:
    """A sentence as a rule over rows.

    ``metric`` names one metric for all rows, or one for each row (``"ensemble,single"``).
    """

    id: str
    kind: Literal["mechanism", "paper", "extra"]
    text: str
    rows: tuple[str, ...]
    metric: str
    rule: Rule
    unit: str = "points"
    eval: str = "test"
    requires: str = ""
    """Id of a claim that must hold for this one to be judged at all; else the runs are void."""

    def metrics(self) -> tuple[str, ...]:
        """The metric of each row, in the order of ``rows``."""
        names = tuple(m.strip() for m in self.metric.split(","))
        return names * len(self.rows) if len(names) == 1 else names
