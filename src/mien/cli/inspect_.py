"""``mien inspect METHOD``."""

from __future__ import annotations

from collections.abc import Sequence

from mien.cli import console


def run(argv: Sequence[str]) -> int:
    """Prints a method's diagnostics."""
    from mien.core.catalogue import method as entry_of

    method, rest = console.take_method(argv, "inspect")
    as_json, rest = console.take_switch(rest, "--json")
    weights, rest = console.take(rest, "--weights", method)
    entry = entry_of(method)
    options = console.parse(entry.load("config").InspectOptions, rest, f"inspect {method}")
    from mien.engine.zoo import load_folder_of

    found = entry.load("inspection").inspect(load_folder_of(method, str(weights)), options)
    if as_json:
        console.out_json({"method": method, "weights": weights, "result": {**found.facts, **found.tables}})
        return 0
    console.show_table(f"{weights}", [{"fact": k, "value": v} for k, v in found.facts.items()])
    for title, rows in found.tables.items():
        console.show_table(title, rows)
    return 0
