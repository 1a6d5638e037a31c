"""``results/METHOD.jsonl``: append-only measurements, and the claims' verdicts computed from them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mien.core import io
from mien.core.catalogue import Entry
from mien.core.config import hash_dict, to_dict
from mien.core.protocol import Claim, Evaluation, Row, Values
from mien.core.stats import Verdict, judge, pack_units, summary, unpack_units
from mien.engine.stages import row_key
from mien.engine.task import Measured


def results_dir() -> Path:
    """Folder of results: ``$MIEN_RESULTS``, else ``results`` of the checkout, else of this folder."""
    if chosen := os.environ.get("MIEN_RESULTS"):
        return Path(chosen)
    checkout = Path(__file__).resolve().parents[3] / "results"
    return checkout if checkout.is_dir() else Path("results")


def result_key(row: Row, evaluation: Evaluation, protocol_version: int) -> str:
    """What a measurement depends on besides data and seed; change any of it and old lines no longer count."""
    return hash_dict([row_key(row), to_dict(evaluation), protocol_version])


NOT_KEPT = ("reports", "tables", "remarks")
"""What an evaluation says for people to read, too long for a line of results."""


def make_record(
    method: str, row: Row, evaluation: Evaluation, seed: int, version: int, data: str, measured: Measured
) -> dict[str, Any]:
    """One line of results, without timing facts."""
    return {
        "method": method,
        "row": row.id,
        "eval": evaluation.id,
        "seed": seed,
        "key": result_key(row, evaluation, version),
        "data": data,
        "metrics": {k: float(f"{float(v):.8g}") for k, v in measured.metrics.items()},
        "extra": {k: v for k, v in measured.extra.items() if k not in NOT_KEPT},
        "units": {k: pack_units(v) for k, v in measured.units.items()},
        "commit": commit(),
    }


def commit() -> str:
    """Short hash of the checkout, '+' if it is changed, '' outside one."""
    try:
        here = Path(__file__).parent
        run = ["git", "-C", str(here)]
        head = subprocess.run(  # noqa: S603 - fixed words
            [*run, "rev-parse", "--short=10", "HEAD"], capture_output=True, text=True, check=True
        )
        dirty = subprocess.run(  # noqa: S603 - fixed words
            [*run, "status", "--porcelain", "-uno", "--", "."], capture_output=True, text=True
        )
        return head.stdout.strip() + ("+" if dirty.stdout.strip() else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


@dataclass(frozen=True)
class Table:
    """All current measurements of one method: (row, evaluation) -> seed -> record."""

    entry: Entry
    rows: tuple[Row, ...]
    claims: tuple[Claim, ...]
    seeds: tuple[int, ...]
    records: Mapping[tuple[str, str], Mapping[int, dict[str, Any]]]

    def missing(self, group: str = "claims") -> list[str]:
        """Names of rows that lack a reported seed (rows of the group "all" need one seed)."""
        out = []
        for row in self.rows:
            needed = self.seeds if row.group == "claims" else self.seeds[:1]
            if row.group == "claims" or group == "all":
                lacking = [
                    s for e in row.evals for s in needed if s not in self.records.get((row.id, e.id), {})
                ]
                if lacking:
                    out.append(f"{row.id} (seeds {', '.join(map(str, sorted(set(lacking))))})")
        return out

    def verdict(self, claim: Claim) -> Verdict:
        """The verdict of a claim, or None with the reason."""
        if claim.requires:
            needed = next(c for c in self.claims if c.id == claim.requires)
            if (first := self.verdict(needed)).holds is not True:
                why = f"void: {needed.id} does not hold" + (f" ({first.reason})" if first.reason else "")
                return Verdict(None, None, None, first.seeds, why)
        values: list[Values] = []
        for row_id, metric in zip(claim.rows, claim.metrics(), strict=True):
            found = self.records.get((row_id, claim.eval), {})
            lacking = [s for s in self.seeds if s not in found]
            if lacking:
                return Verdict(None, None, None, len(found), f"row {row_id} lacks seeds {lacking}")
            values.append(np.stack([_values(found[s], metric) for s in self.seeds]))
        if len({r["data"] for row_id in claim.rows for r in self.records[(row_id, claim.eval)].values()}) > 1:
            return Verdict(None, None, None, len(self.seeds), "rows were measured on different data")
        return judge(claim.rule, tuple(values))

    def intervals(self, row: Row, evaluation: Evaluation) -> dict[str, tuple[float, float]]:
        """Intervals over test units where an evaluation gave them, their ends averaged over seeds."""
        found = self.records.get((row.id, evaluation.id), {})
        each = [found[s]["extra"].get("intervals", {}) for s in self.seeds if s in found]
        names = set.intersection(*(set(i) for i in each)) if each else set()
        return {
            n: (float(np.mean([i[n][0] for i in each])), float(np.mean([i[n][1] for i in each])))
            for n in names
        }

    def left_out(self, row: Row, evaluation: Evaluation) -> str:
        """Why an evaluation could not be made where it was run, or nothing."""
        found = self.records.get((row.id, evaluation.id), {})
        return next((str(r["extra"]["left_out"]) for r in found.values() if "left_out" in r["extra"]), "")

    def metrics(self, row: Row, evaluation: Evaluation) -> dict[str, dict[str, Any]]:
        """mean, std, ci95, n over seeds of every metric."""
        found = self.records.get((row.id, evaluation.id), {})
        ordered = [found[s] for s in self.seeds if s in found]
        if not ordered:
            return {}
        return {
            name: summary(np.array([r["metrics"][name] for r in ordered], dtype=np.float64))
            for name in ordered[0]["metrics"]
            if all(r["metrics"].get(name) is not None for r in ordered)
        }


def _values(record: dict[str, Any], metric: str) -> Values:
    if metric in record["units"]:
        return unpack_units(record["units"][metric])
    # A metric that could not be measured is NaN: then there is no verdict, and its reason says so.
    return np.array([record["metrics"].get(metric, np.nan)], dtype=np.float64)


def load_table(entry: Entry, folder: Path | None = None) -> Table:
    """The current measurements of a method: lines whose key still matches, the last of a seed counting."""
    protocol = entry.load("protocol")
    rows: tuple[Row, ...] = protocol.ROWS
    keys = {(row.id, e.id): result_key(row, e, protocol.PROTOCOL_VERSION) for row in rows for e in row.evals}
    records: dict[tuple[str, str], dict[int, dict[str, Any]]] = {place: {} for place in keys}
    for record in io.read_lines((folder or results_dir()) / f"{entry.name}.jsonl"):
        place = (record["row"], record["eval"])
        if keys.get(place) == record["key"]:
            records[place][record["seed"]] = record
    return Table(entry, rows, protocol.CLAIMS, tuple(protocol.SEEDS), records)


def claims_json(table: Table) -> list[dict[str, Any]]:
    """The claims as `mien results --json` prints them."""
    out = []
    for claim in table.claims:
        verdict = table.verdict(claim)
        record = {
            "id": claim.id,
            "kind": claim.kind,
            "text": claim.text,
            "holds": verdict.holds,
            "value": verdict.value,
            "interval": list(verdict.interval) if verdict.interval else None,
            "unit": claim.unit,
            "rows": list(claim.rows),
            "seeds": verdict.seeds,
        }
        out.append(record | ({"reason": verdict.reason} if verdict.reason else {}))
    return out


def rows_json(table: Table, real: str = "real") -> list[dict[str, Any]]:
    """The rows as `mien results --json` prints them."""
    return [
        {"id": row.id, "label": row.label, "eval": e.id, "data": real, "metrics": table.metrics(row, e)}
        for row in table.rows
        for e in row.evals
        if table.records.get((row.id, e.id))
    ]


def choose_rows(rows: Sequence[Row], which: str) -> list[Row]:
    """The rows of ``claims`` or ``all``, or those named with commas."""
    from mien.core.errors import ConfigError

    if which in ("claims", "all"):
        return [r for r in rows if which == "all" or r.group == "claims"]
    names = which.split(",")
    unknown = [n for n in names if n not in {r.id for r in rows}]
    if unknown:
        raise ConfigError(f"no row {unknown[0]!r}; use claims, all, or of {', '.join(r.id for r in rows)}")
    return [r for r in rows if r.id in names]
