"""``mien eval METHOD``."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from mien.cli import console


@dataclass(frozen=True)
class Options:
    """The method's own protocol on its test data."""

    weights: str | None = None
    """Shipped name, run folder or hub id; default METHOD/small."""
    split: str = "test"
    """test or val; of recognisers of faces also orl, and the name or path of a verification set."""


def run(argv: Sequence[str]) -> int:
    """Prints the metrics of one model."""
    method, rest = console.take_method(argv, "eval")
    as_json, rest = console.take_switch(rest, "--json")
    options = console.parse(Options, rest, f"eval {method}")
    from mien.core.catalogue import method as entry_of
    from mien.core.protocol import Evaluation
    from mien.engine.predictor import default_device
    from mien.engine.zoo import load_folder_of

    entry = entry_of(method)
    entry.load("config")
    name = options.weights or method
    folder = load_folder_of(method, name)
    began = time.perf_counter()
    measured = entry.load("evaluate").evaluate(folder, Evaluation(options.split, split=options.split))
    seconds = time.perf_counter() - began
    answer = {
        "method": method,
        "weights": name,
        "data": folder.facts.get("data", {}),
        "metrics": dict(measured.metrics),
        "seconds": round(seconds, 3),
        "device": str(default_device()),
        "seed": folder.recipe.seed,
    }
    rules = measured.extra.get("rules", {})
    if rules:
        answer["rules"] = dict(rules)
    answer |= {k: measured.extra[k] for k in ("reports", "remarks") if k in measured.extra}
    if as_json:
        console.out_json(answer)
    else:
        title = f"{name} on {answer['data'].get('note', '')} ({options.split}), {seconds:.1f} s"
        values = [
            {"metric": k, "value": "-" if math.isnan(v) else f"{v:.4f}"} for k, v in measured.metrics.items()
        ]
        tables = measured.extra.get("tables") or {"": values}
        for i, (what, rows) in enumerate(tables.items()):
            console.show_table(": ".join(filter(None, ("" if i else title, what))), rows)
        for remark in answer.get("remarks", ()):
            console.show(remark)
        for name, rule in rules.items():
            console.show(f"{name}: {rule}")
    return 0
