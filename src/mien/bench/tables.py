"""Tables in README and docs: generated from results between markers, and checked to be so."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mien.bench.store import Table, claims_json, results_dir
from mien.core import io
from mien.core.errors import DataError

_MARK = re.compile(r"(<!-- results:(\w+):(\w+) -->\n).*?(<!-- end results -->)", re.DOTALL)


def root() -> Path:
    """The checkout."""
    return Path(__file__).resolve().parents[3]


def metric_rows(table: Table) -> list[dict[str, str]]:
    """One line a row: the metrics that the protocol shows, mean +- standard deviation over seeds."""
    shown = table.entry.load("protocol").SHOWN
    rules = {e.select for row in table.rows for e in row.evals if e.split != "bench"}
    hidden = getattr(table.entry.load("protocol"), "HIDDEN", ())
    evals = [(row, e) for row in table.rows for e in row.evals if e.split != "bench" and e.id not in hidden]
    out = []
    for row, evaluation in evals:
        metrics, left_out = table.metrics(row, evaluation), table.left_out(row, evaluation)
        if not metrics and not left_out:
            continue
        # Where rows differ in how weights were chosen, or in what they are tested on, every line says so.
        how = {"selection": evaluation.select} if len(rules) > 1 else {}
        if len(rules) == 1 and len({e.id for _, e in evals}) > 1:
            how["tested on"] = evaluation.id + (" (left out)" if left_out else "")
        line = {"row": row.label, **how, "seeds": str(max((m["n"] for m in metrics.values()), default=0))}
        intervals = table.intervals(row, evaluation)
        for name, (label, scale) in shown.items():
            line[label] = _cell(metrics.get(name), scale, intervals.get(name))
        out.append(line)
    return out


def _cell(metric: dict[str, Any] | None, scale: float, interval: tuple[float, float] | None = None) -> str:
    if metric is None or metric["mean"] is None or not math.isfinite(metric["mean"]):
        return "-"
    digits = 1 if scale > 1 else 3
    spread = f" ± {metric['std'] * scale:.{digits}f}" if metric["n"] > 1 else ""
    around = (
        "" if interval is None else f" [{interval[0] * scale:.{digits}f}, {interval[1] * scale:.{digits}f}]"
    )
    return f"{metric['mean'] * scale:.{digits}f}{spread}{around}"


def claim_rows(table: Table) -> list[dict[str, str]]:
    """One line a claim: verdict, value, 95 % interval."""
    out = []
    for claim in claims_json(table):
        points = claim["unit"] == "points"
        scale, digits = (100, 2) if points else (1, 3)
        held = {True: "holds", False: "does not hold", None: "open"}[claim["holds"]]
        interval = "-"
        if claim["value"] is not None:
            low, high = (f"{v * scale:.{digits}f}" for v in claim["interval"])
            interval = (
                f"{claim['value'] * scale:+.{digits}f} [{low}, {high}]"
                if points
                else (f"{claim['value']:.{digits}f} [{low}, {high}]")
            )
        verdict = held + (f" ({claim['reason']})" if "reason" in claim else "")
        out.append(
            {
                "claim": f"`{claim['id']}`",
                "kind": claim["kind"],
                "says": claim["text"],
                "value [95 %]": interval,
                "verdict": verdict,
            }
        )
    return out


def apart(lines: Sequence[dict[str, str]], shown: Sequence[str]) -> list[list[dict[str, str]]]:
    """Lines that share a measured column, table by table, in order; columns of others are left out.

    One table, as it is, where all lines hang together. O(lines^2 columns).

    Args:
        lines: of `metric_rows`.
        shown: names of the columns that hold measurements.

    >>> a, b = {"row": "a", "x": "1", "y": "-"}, {"row": "b", "x": "-", "y": "2"}
    >>> apart([a, b], ["x", "y"])
    [[{'row': 'a', 'x': '1'}], [{'row': 'b', 'y': '2'}]]
    """
    groups: list[tuple[set[str], list[int]]] = []
    filled = [{c for c in shown if line.get(c, "-") != "-"} for line in lines]
    first = next((columns for columns in filled if columns), set())
    for place, columns in enumerate(filled):
        own, places = columns or first, [place]  # what has nothing measured stands with the first
        for columns, others in [g for g in groups if g[0] & own]:
            groups.remove((columns, others))
            own, places = own | columns, others + places
        groups.append((own, places))
    if len(groups) < 2:
        return [list(lines)]
    return [
        [{k: v for k, v in lines[p].items() if k in columns or k not in shown} for p in sorted(places)]
        for columns, places in sorted(groups, key=lambda g: min(g[1]))
    ]


def row_tables(table: Table) -> list[list[dict[str, str]]]:
    """`metric_rows`, and a table of its own for what has no measurement in common with the rest."""
    shown = [label for label, _ in table.entry.load("protocol").SHOWN.values()]
    return apart(metric_rows(table), shown)


def markdown(rows: Sequence[dict[str, str]]) -> str:
    """A Markdown table."""
    if not rows:
        return "(no results yet)\n"
    head = "| " + " | ".join(rows[0]) + " |\n|" + "---|" * len(rows[0]) + "\n"
    return head + "".join("| " + " | ".join(r.values()) + " |\n" for r in rows)


VERDICTS = {"holds": True, "does not hold": False, "open": None}
"""Heading -> verdict."""


def overview_rows(tables: Sequence[Table]) -> list[dict[str, str]]:
    """One line a method for the main README: its claims by verdict, those about the mechanism in bold."""
    out = []
    for table in tables:
        if not table.entry.paper:
            continue
        entry, claims = table.entry, claims_json(table) if table.entry.measured else []
        named = [(c["holds"], f"**{c['id']}**" if c["kind"] == "mechanism" else c["id"]) for c in claims]
        out.append(
            {
                "method": f"[`{entry.name}`](src/mien/methods/{entry.name}/README.md)",
                "what": entry.title,
                "paper": f"[{entry.paper}](https://arxiv.org/abs/{entry.paper})",
                **{
                    head: ", ".join(name for holds, name in named if holds is verdict) or "-"
                    for head, verdict in VERDICTS.items()
                },
            }
        )
    return out


def verdict_rows(tables: Sequence[Table]) -> list[dict[str, str]]:
    """One line a method: which claims hold, which do not, which are open; by mechanism and the rest."""
    out = []
    for table in tables:
        claims = claims_json(table) if table.entry.measured else []
        line = {"system": f"`{table.entry.name}`"}
        for verdict, word in ((True, "holds"), (False, "does not hold"), (None, "open")):
            ids = [
                f"**`{c['id']}`**" if c["kind"] == "mechanism" else f"`{c['id']}`"
                for c in claims
                if c["holds"] is verdict
            ]
            line[word] = ", ".join(ids) or "-"
        out.append(line if claims else {**line, "open": "not measured yet"})
    return out


def cost_rows() -> list[dict[str, str]]:
    """``results/paper.costs.jsonl`` (`tools/paper_costs.py`): a line a recipe, a name's last counts."""
    records = {r["name"]: r for r in io.read_lines(results_dir() / "paper.costs.jsonl")}
    return [dict(r["cells"]) for r in records.values()]


def render(text: str, tables: Sequence[Table], where: str) -> str:
    """The text with every marked region regenerated.

    Raises:
        DataError: a marker names an unknown method or kind of table.
    """
    by_name = {t.entry.name: t for t in tables}

    def fill(match: re.Match[str]) -> str:
        method, kind = match[2], match[3]
        if kind == "overview":
            return match[1] + markdown(overview_rows(tables)) + match[4]
        if kind == "verdicts":
            return match[1] + markdown(verdict_rows(tables)) + match[4]
        if kind == "costs":
            return match[1] + markdown(cost_rows()) + match[4]
        if kind == "facts" and facts_file(method).is_file():
            return match[1] + facts(method) + match[4]
        if method not in by_name or kind not in ("rows", "claims"):
            raise DataError(f"{where}: no results for marker {method}:{kind}")
        table = by_name[method]
        body = {
            "rows": lambda: "\n".join(markdown(rows) for rows in row_tables(table)),
            "claims": lambda: markdown(claim_rows(table)),
        }
        return match[1] + body[kind]() + match[4]

    return _MARK.sub(fill, text)


def facts_file(name: str) -> Path:
    """Where the side facts of a method, or of the made people, are kept."""
    return results_dir() / f"{name}.facts.jsonl"


def facts(name: str) -> str:
    """Measured side facts: ``results/NAME.facts.jsonl``, the last line of a name counting."""
    records = {r["name"]: r for r in io.read_lines(facts_file(name))}
    return markdown([{"measurement": r["text"], "value": r["value"]} for r in records.values()])


def documents() -> list[Path]:
    """Files with generated regions."""
    here = root()
    found = [
        here / "README.md",
        *sorted((here / "docs").rglob("*.md")),
        *sorted((here / "src/mien/methods").glob("*/README.md")),
        here / "src/mien/synth/README.md",
        here / "src/mien/challenge/README.md",
    ]
    return [p for p in found if p.is_file()]


def _rendered(tables: Sequence[Table]) -> list[tuple[Path, str, str]]:
    texts = [(p, io.read_text(p)) for p in documents()]
    return [(p, t, render(t, tables, p.name)) for p, t in texts if _MARK.search(t)]


def write_documents(tables: Sequence[Table]) -> list[Path]:
    """Regenerates every document that is stale; returns those."""
    stale = [(p, new) for p, old, new in _rendered(tables) if new != old]
    for path, new in stale:
        io.write_text(path, new)
    return [p for p, _ in stale]


def stale_documents(tables: Sequence[Table]) -> list[str]:
    """One line for each document that does not match the results."""
    return [
        f"{p.name}: not regenerated, run mien results --write"
        for p, old, new in _rendered(tables)
        if new != old
    ]
