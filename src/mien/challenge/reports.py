"""The answer to a submission as ``scores.json``, ``scores.txt`` and a page that needs nothing beside it."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mien.challenge.counts import Errors
from mien.challenge.plots import bars, histogram
from mien.challenge.scoring import Score
from mien.core import io
from mien.core.figures import page, table

_ROWS = {
    "acer": "ACER (ranks)",
    "apcer": "APCER pooled",
    "bpcer": "BPCER",
    "auc": "AUC",
    "apcer_max": "APCER max over labels",
    "acer_max": "ACER with APCER max",
    "acer_oracle": "ACER at the EER of the test lines (oracle)",
}


def scores_text(score: Score) -> str:
    """One "NAME: value" a line, as CodaLab reads it.

    Args:
        score: of `score`.
    """
    names = ("apcer", "bpcer", "acer", "auc")
    return "".join(f"{name.upper()}: {score.summary()[name]:.8f}\n" for name in names)


def _percent(value: float | None) -> str:
    return "n/a" if value is None else f"{100 * value:.2f}"


def head_rows(score: Score) -> list[dict[str, Any]]:
    """The main rates in per cent with their intervals, for people."""
    return rate_rows(score.summary(), score.intervals)


def rate_rows(rates: Mapping[str, float], intervals: Mapping[str, Sequence[float]]) -> list[dict[str, str]]:
    """`head_rows` of rates and intervals by name, as `Score.to_dict` has them too."""
    rows = []
    for name, text in _ROWS.items():
        low, high = intervals.get(name, (None, None))
        between = "" if low is None else f"{_percent(low)} - {_percent(high)}"
        rows.append({"": text, "%": _percent(rates[name]), "95 % over tracks": between})
    return rows


def _groups(name: str, groups: dict[str, Errors]) -> str:
    rows = [
        {
            name: key,
            "APCER %": _percent(e.apcer),
            "BPCER %": _percent(e.bpcer),
            "ACER %": _percent(e.acer),
            "attacks": e.attacks,
            "live": e.live,
        }
        for key, e in groups.items()
    ]
    return table(rows)


def report_page(score: Score, title: str) -> str:
    """The whole answer as one HTML page.

    Args:
        score: of `score`.
        title: of the page.
    """
    tau = score.threshold
    flags = "".join(f"<p class=bad>flag: {html.escape(flag)}</p>" for flag in score.flags)
    labels = [
        {"label": k, "APCER %": _percent(e.apcer), "attacks": e.attacks} for k, e in score.labels.items()
    ]
    names = [str(k + 1) for k in range(len(score.quality))]
    chart = bars(
        [e.acer for e in score.quality], names, "ACER by quality (%)", "tenth of the pictures, worst first"
    )
    unit = "tracks" if score.rules.level == "track" else "pictures"
    parts = (
        f"<p>{score.errors.live:,} live, {score.errors.attacks:,} attacks ({unit}), phase",
        f" {score.rules.phase}; threshold {tau.value:.6g} ({html.escape(tau.text)}); live means score &ge;",
        f" threshold.</p>{flags}",
        f"{table(head_rows(score))}<h2>Scores</h2>{histogram(score.histogram, tau.value, 'Share of scores')}",
        f"<h2>By quality</h2>{chart}<h2>By label of attack</h2>{table(labels)}",
        f"<h2>By camera</h2>{_groups('camera', score.cameras)}",
        f"<h2>By scene</h2>{_groups('scene', score.scenes)}",
    )
    return page(title, "".join(parts))


def write_reports(folder: str | Path, score: Score, title: str) -> Path:
    """Writes ``scores.json``, ``scores.txt`` and ``report.html``; whole folder or none of it.

    Args:
        folder: replaced if it is there.
        score: of `score`.
        title: of the page.
    """
    with io.new_folder(folder) as place:
        io.write_json(place / "scores.json", score.to_dict())
        io.write_text(place / "scores.txt", scores_text(score))
        io.write_text(place / "report.html", report_page(score, title))
    return Path(folder)


def flat_json(score: Score) -> str:
    """The columns of a leaderboard as one JSON object, as Codabench reads it.

    Args:
        score: of `score`.
    """
    return json.dumps(score.summary(), indent=1) + "\n"
