"""``mien list``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mien.cli import console


@dataclass(frozen=True)
class Options:
    """The ten systems: family, paper, weights, claims."""


def run(argv: Sequence[str]) -> int:
    """Prints the catalogue."""
    from mien.core.catalogue import methods

    as_json, rest = console.take_switch(argv, "--json")
    console.parse(Options, rest, "list", description="The ten systems. --json: for programs.")
    records: list[dict[str, Any]] = []
    for name, entry in methods().items():
        records.append(
            {
                "method": name,
                "family": entry.family,
                "paper": entry.paper,
                "title": entry.title,
                "weights": _weights(name),
                "claims": _claims(name),
            }
        )
    if as_json:
        console.out_json(records)
        return 0
    rows = []
    for r in records:
        c = r["claims"]
        state = (
            f"{c['true']} hold, {c['false']} do not, {c['null']} open"
            if sum(c.values())
            else "not in this version"
        )
        rows.append(
            {
                **{k: r[k] for k in ("method", "family", "paper", "title")},
                "weights": ", ".join(r["weights"]),
                "claims": state,
            }
        )
    console.show_table("", rows)
    return 0


def _weights(name: str) -> list[str]:
    from mien.core.shipped import shipped

    return [n for n in shipped() if n.startswith(f"{name}/")]


def _claims(name: str) -> dict[str, int]:
    from mien.core.catalogue import ready

    counts = {"true": 0, "false": 0, "null": 0}
    if name in ready():
        from mien.bench.store import claims_json, load_table
        from mien.core.catalogue import method

        for claim in claims_json(load_table(method(name))):
            counts[{True: "true", False: "false", None: "null"}[claim["holds"]]] += 1
    return counts
