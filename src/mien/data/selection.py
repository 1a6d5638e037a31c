"""Which checkpoint, which hyper-parameters: DomainBed's model-selection rules over records of looks.

A record is one look at one run:
``{"step": int, "held_out": [names], "scores": {"NAME_in": .., "NAME_out": ..}}``
with accuracies of the inner and outer part of *every* domain; optionally ``"setting"``, anything that tells
runs of different hyper-parameters apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mien.core.errors import ConfigError

Record = Mapping[str, Any]
Selection = Literal["iid", "oracle", "loo", "last"]
RULES: dict[str, str] = {
    "iid": "training-domain validation",
    "oracle": "oracle: sees the test domain",
    "loo": "leave-one-domain-out cross-validation",
    "last": "last step",
}


@dataclass(frozen=True)
class Selected:
    """What a rule chose, and what it is worth on the unseen domain."""

    step: int
    setting: Any
    value: float
    """What the rule maximises."""
    accuracy: float
    """Accuracy on the inner part of the held-out domain."""
    method: str


def select(records: Iterable[Record], method: Selection = "iid") -> Selected:
    """The look that a rule chooses among those of runs with one held-out domain; the first maximum wins.

    Args:
        records: looks of one or many runs, all with the same held-out domain; ``loo`` also needs the looks of
            runs with that domain and one more held out, for every other domain, at the same steps.
        method: ``iid``: best unweighted mean of the sources' outer accuracies (the paper's rule); ``oracle``:
            best outer accuracy of the held-out domain itself, any step (as SAGM and SWAD do); ``loo``: best
            mean accuracy on a second held-out domain; ``last``: the last step, best by ``iid`` among
            settings.

    Raises:
        ConfigError: no rule of that name, no records, those that ``loo`` needs are missing, or no record has
            the scores (none of outer parts with ``data.holdout=0``; NaN counts as none).
    """
    records = list(records)
    if method not in RULES:
        raise ConfigError(f"no selection rule {method!r}; known: {', '.join(RULES)}")
    singles = [r for r in records if len(r["held_out"]) == 1]
    targets = {r["held_out"][0] for r in singles}
    if len(targets) != 1:
        raise ConfigError(f"select: needs looks of runs with one held-out domain, got {sorted(targets)}")
    target = targets.pop()
    if method == "last":
        final = max(int(r["step"]) for r in singles)
        singles = [r for r in singles if r["step"] == final]
    values: dict[str, Callable[[Record], float | None]] = {
        "iid": lambda r: _mean_out(r, target),
        "last": lambda r: _mean_out(r, target),
        "oracle": lambda r: _score(r, f"{target}_out"),
        "loo": lambda r: _cross_validated(records, r, target),
    }
    scored = [(v, r) for r in singles if (v := values[method](r)) is not None]
    if not scored and method == "loo":
        raise ConfigError(
            f"select: rule 'loo' needs runs with {target!r} and each other domain held out, at the same steps"
        )
    if not scored:
        raise ConfigError(
            f"select: rule {method!r} finds no scores of outer parts; train with data.holdout above 0"
        )
    value, best = max(scored, key=lambda pair: pair[0])
    accuracy = float(best["scores"][f"{target}_in"])
    return Selected(int(best["step"]), best.get("setting"), value, accuracy, method)


def _score(record: Record, name: str) -> float | None:
    """None where there is no number: an empty part, or a training that diverged."""
    value = float(record["scores"].get(name, math.nan))
    return None if math.isnan(value) else value


def _mean_out(record: Record, target: str) -> float | None:
    """Over the sources that have an outer part."""
    names = [f"{d}_out" for d in domains_of(record) if d != target]
    values = [_score(record, n) for n in names if n in record["scores"]]
    found = [v for v in values if v is not None]
    return sum(found) / len(found) if found and len(found) == len(values) else None


def _cross_validated(records: Sequence[Record], record: Record, target: str) -> float | None:
    """Mean inner accuracy of the second held-out domain over the runs that also left it out."""
    others = [d for d in domains_of(record) if d != target]
    found = []
    for other in others:
        twins = [
            r
            for r in records
            if set(r["held_out"]) == {target, other}
            and r["step"] == record["step"]
            and r.get("setting") == record.get("setting")
        ]
        if not twins:
            return None
        if (value := _score(twins[0], f"{other}_in")) is None:
            return None
        found.append(value)
    return sum(found) / len(found) if found else None


def domains_of(record: Record) -> list[str]:
    """Names of the domains in a record's scores."""
    names = [n.removesuffix(end) for n in record["scores"] for end in ("_in", "_out") if n.endswith(end)]
    return list(dict.fromkeys(names))
