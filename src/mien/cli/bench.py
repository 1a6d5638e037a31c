"""``mien bench``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mien.cli import console


@dataclass(frozen=True)
class Options:
    """Speed and memory beside a named reference in the same run: mien bench [engine | ncl] [--json]."""


def run(argv: Sequence[str]) -> int:
    """Runs one bench, or all."""
    from mien.bench.benches import BENCHES, run_bench

    as_json, rest = console.take_switch(argv, "--json")
    name = rest.pop(0) if rest and not rest[0].startswith("-") else None
    console.parse(Options, rest, "bench")
    answers = [run_bench(n) for n in ([name] if name else BENCHES)]
    if as_json:
        console.out_json(answers[0] if name else answers)
        return 0
    for answer in answers:
        rows = [
            {k: f"{v:.4g}" if isinstance(v, float) else v for k, v in e.items()} for e in answer["entries"]
        ]
        console.show_table(f"bench {answer['bench']} on {answer['machine']['cpu']}", rows)
        console.show_table("ratios", [{"key": k, "value": f"{v:.3f}"} for k, v in answer["ratios"].items()])
    return 0
