"""``mien results``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mien.cli import console
from mien.core.errors import MienError

if TYPE_CHECKING:
    from mien.core.catalogue import Entry


@dataclass(frozen=True)
class Options:
    """Tables and claims.

    Switches: --json; --check (rows complete, README and docs regenerated); --strict (every claim holds);
    --write (regenerate README and docs).
    """


def run(argv: Sequence[str]) -> int:
    """Prints results, or checks them."""
    switches = {}
    rest = list(argv)
    for switch in ("--json", "--check", "--strict", "--write"):
        switches[switch], rest = console.take_switch(rest, switch)
    name = rest.pop(0) if rest and not rest[0].startswith("-") else None
    console.parse(Options, rest, "results")
    from mien.bench import store, tables
    from mien.core.catalogue import COMPOSE, ready, table_entry

    names = [name] if name else [*ready(), COMPOSE.name]
    entries = [table_entry(n) for n in names]
    loaded = [store.load_table(e) for e in entries]
    if switches["--json"]:
        answer = [
            {"method": t.entry.name, "claims": store.claims_json(t), "rows": store.rows_json(t)}
            for t in loaded
        ]
        console.out_json(answer[0] if name else answer)
    elif not (switches["--check"] or switches["--write"]):
        for entry in entries:
            show_method(entry)
    if switches["--write"]:
        for path in tables.write_documents(loaded):
            console.say(f"{path}: regenerated")
    problems = tables.stale_documents(loaded) if switches["--check"] else []
    if switches["--check"]:
        from mien.bench.reproduce import other_data

        problems += [
            f"{t.entry.name}: missing {m}" for t in loaded if t.entry.measured for m in t.missing("all")
        ]
        problems += [line for t in loaded for line in other_data(t)]
    if switches["--strict"]:
        problems += [
            f"{t.entry.name}.{c['id']}: {'does not hold' if c['holds'] is False else 'open'}"
            for t in loaded
            for c in store.claims_json(t)
            if c["holds"] is not True
        ]
    if problems:
        raise MienError("; ".join(problems))
    if switches["--check"] and not switches["--json"]:
        console.show("results complete, README and docs up to date")
    return 0


def show_method(entry: Entry) -> None:
    """The table and the verdicts of one method."""
    from mien.bench import store, tables

    table = store.load_table(entry)
    for rows in tables.row_tables(table):
        console.show_table(f"{entry.name}: {entry.title}", rows)
    console.show_table("claims", tables.claim_rows(table))
