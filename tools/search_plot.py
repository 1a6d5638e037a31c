"""Draws what a search tried, from results/METHOD.search.jsonl: one line a setting, one panel a number.

python tools/search_plot.py phycine error intervene --output docs/phycine_search.png
"""

from __future__ import annotations

import argparse
import json
import textwrap
from pathlib import Path
from typing import Any

from mien.core import figures, io

WIDE = 62  # letters of a label's line


def _said(value: Any) -> str:
    """A setting's value in few letters."""
    if isinstance(value, list):
        return "+".join(map(_said, value))
    return format(value, "g") if isinstance(value, int | float) else str(value)


def label(record: dict[str, Any]) -> str:
    """What was tried, in words: row, note, and settings that differ from the recipe."""
    changed = [f"{k.split('.')[-1]} {_said(v)}" for k, v in record.get("setting", {}).items()]
    words = "; ".join([t for t in (record.get("note", ""), *changed) if t])
    return "\n".join(textwrap.wrap(f"{record['row']}: {words}".removesuffix(": "), WIDE))


def draw(records: list[dict[str, Any]], names: list[str]) -> bytes:
    """Records from top to bottom, one colour a row, as a PNG; a record without a number has no dot there."""
    lines = [label(r) for r in records]
    rows = list(dict.fromkeys(r["row"] for r in records))
    heights = [1 + 0.75 * text.count("\n") for text in lines]
    place = [-sum(heights[:k]) - heights[k] / 2 for k in range(len(lines))]
    figure, axes = figures.new_figure(len(names), 1, 4.2 if len(names) > 1 else 8, 0.19 * sum(heights) + 0.6)
    for axis, name in zip(axes, names, strict=True):
        for at, record in zip(place, records, strict=True):
            if name in record:
                colour = figures.COLOURS[rows.index(record["row"]) % len(figures.COLOURS)]
                axis.plot(record[name], at, "o", color=colour)
        axis.set(xlabel=name, yticks=place, yticklabels=lines if axis is axes[0] else [""] * len(lines))
        axis.tick_params(axis="y", labelsize=7, length=0)
        axis.set_ylim(-sum(heights), 0)
    return figures.png(figure)


def main() -> None:
    """Reads, draws, writes."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("method")
    words.add_argument("numbers", nargs="+", help="names of numbers in the records")
    words.add_argument("--split", default="", help="only records measured on a split whose name starts so")
    words.add_argument("--rows", nargs="*", default=[], help="only these rows (default: all)")
    words.add_argument("--output", type=Path, required=True)
    told = words.parse_args()
    lines = Path(f"results/{told.method}.search.jsonl").read_text("utf-8").splitlines()
    records = [
        r
        for r in map(json.loads, lines)
        if any(n in r for n in told.numbers)
        and r.get("split", "").startswith(told.split)
        and (not told.rows or r["row"] in told.rows)
    ]
    if not records:
        raise SystemExit(f"results/{told.method}.search.jsonl has none of {', '.join(told.numbers)}")
    io.write_bytes(told.output, draw(records, told.numbers))


if __name__ == "__main__":
    main()
