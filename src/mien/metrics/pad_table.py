"""The text form of a report of presentation attack detection."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mien.metrics.intervals import Estimate
from mien.metrics.pad_rates import Rate

if TYPE_CHECKING:
    from mien.metrics.pad_report import PadReport

Row = tuple[str, str, str, str]


def _interval(low: float, high: float) -> str:
    return "" if math.isnan(low) else f"{100 * low:.2f} - {100 * high:.2f}"


def _rate(name: str, rate: Rate) -> Row:
    bound = rate.rule_of_three
    note = "" if bound is None else f", rule of three <= {100 * bound:.2g} %"
    count = f"{rate.errors} of {rate.tries}{note}"
    return name, f"{100 * rate.value:.2f}", _interval(*rate.interval), count


def _estimate(name: str, found: Estimate) -> Row:
    note = "" if found.over == "none" else f"bootstrap over {found.over}"
    return name, f"{100 * found.value:.2f}", _interval(*found.interval), note


def _threshold(report: PadReport) -> str:
    t = report.threshold
    sign = ">" if report.strict else ">="
    line = f"threshold {t.value:.6g} ({t.text}); live means score {sign} threshold"
    if t.bpcer is not None and t.apcer_max is not None and t.apcer_pooled is not None:
        a, p, b = (f"{100 * v:.2f} %" for v in (t.apcer_max, t.apcer_pooled, t.bpcer))
        line += f"\non the {t.source} set there: APCER max {a}, pooled {p}, BPCER {b}"
    return line


def _rows(report: PadReport) -> list[Row]:
    r = report
    rows = [_rate(f"APCER {name}", rate) for name, rate in r.apcer.items()]
    rows += [
        _rate(f"APCER max over species ({r.worst})", r.apcer_max),
        _rate("APCER pooled", r.apcer_pooled),
        _rate("BPCER", r.bpcer),
        _estimate("ACER (APCER max)", r.acer_max),
        _estimate("ACER (APCER pooled) = HTER", r.acer_pooled),
        _estimate(f"EER at {r.eer_point.threshold:.6g}", r.eer),
        _estimate("AUC", r.auc),
    ]
    for p in r.bpcer_at_apcer:
        name, rate, interval, count = _rate(f"{p.name} (APCER {p.kind} <= {100 * p.target:g} %)", p.bpcer)
        rows.append((name, rate, interval, count + ("" if p.resolvable else ", not resolvable")))
    for q in r.tpr_at_fpr:
        note = f"FPR {100 * q.fpr:.4g} %" + ("" if q.resolvable else ", not resolvable")
        name = f"TPR@FPR={q.target:g} {q.definition}"
        rows.append((name, f"{100 * q.tpr:.2f}", _interval(*q.interval), note))
    if r.no_response is not None:
        rows.append(_rate("APNRR (attacks without response)", r.no_response.apnrr))
        rows.append(_rate("BPNRR (live without response)", r.no_response.bpnrr))
    return rows


def report_table(report: PadReport) -> str:
    """Threshold and rule, one line for each rate with interval and counts, and the warnings.

    Args:
        report: of `pad_report`.
    """
    rows: list[Row] = [("", "%", "95 % interval", ""), *_rows(report)]
    wide = [max(len(row[k]) for row in rows) for k in range(3)]
    body = "\n".join(f"{a:<{wide[0]}}  {b:>{wide[1]}}  {c:>{wide[2]}}  {d}".rstrip() for a, b, c, d in rows)
    head = f"{report.live} live faces, {report.attacks} attacks of {len(report.apcer)} species"
    notes = "".join(f"\nwarning: {line}" for line in report.warnings)
    return f"{_threshold(report)}\n{head}\n{body}{notes}"
