"""``mien reproduce METHOD``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mien.cli import console
from mien.core.catalogue import COMPOSE


@dataclass(frozen=True)
class Options:
    """Train what is missing, append to results, print the table and each claim's verdict."""

    rows: str = "claims"
    """claims, all, or row ids with commas."""
    seeds: tuple[int, ...] = ()
    """Run seeds; default the protocol's (rows outside claims: its first)."""


def run(argv: Sequence[str]) -> int:
    """Measures the rows and prints the verdicts."""
    if argv and argv[0] == COMPOSE.name:
        method, rest = COMPOSE.name, list(argv[1:])
    else:
        method, rest = console.take_method(argv, "reproduce")
    options = console.parse(Options, rest, f"reproduce {method}")
    from mien.bench.reproduce import reproduce
    from mien.bench.store import choose_rows
    from mien.cli.results import show_method
    from mien.core.catalogue import table_entry

    entry = table_entry(method)
    protocol = entry.load("protocol")
    rows = choose_rows(protocol.ROWS, options.rows)
    seeds = options.seeds or protocol.SEEDS
    first = [r for r in rows if r.group == "claims"]
    others = [r for r in rows if r.group != "claims"]
    with console.progress(method) as watch:
        done = reproduce(entry, first, seeds, console.say, watch)
        done += reproduce(entry, others, seeds if options.seeds else seeds[:1], console.say, watch)
    console.say(f"{done} measurements added" if done else "nothing was missing")
    show_method(entry)
    return 0
