"""The leaderboard: ranks by ACER (or ACER max) with intervals of both, as CSV and as a page.

The draws of tracks are the same for all submissions, so a rank is counted in every draw; its interval says
which order the test set can tell.
"""

from __future__ import annotations

import csv
import html
import io as streams
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.challenge.plots import ranges
from mien.challenge.settings import Contest, read_contest, stamp
from mien.challenge.store import SCORED, Submission, open_store
from mien.core import io
from mien.core.errors import DataError
from mien.core.figures import page, table

Floats = NDArray[np.float64]
_DIGITS = 12
_RULES = """Phase {phase}. Rank by {metric}; ACER = (APCER + BPCER) / 2 on the {judged}; threshold by the rule
{rule} on the submitted dev scores; APCER pools all attacks. A team counts with its {ranking} submission.
Intervals: {draws} draws of tracks, the same for all teams. ACER max: with the APCER of the worst label.
Oracle: at the EER threshold of the judged lines."""


@dataclass(frozen=True)
class Standing:
    """One line of the board. Rates are in [0, 1].

    Attributes:
        rank: 1 is the lowest value of the metric; equals share a rank.
        rank_low: 2.5 % quantile of the rank over draws of tracks; as ``rank`` without draws.
        rank_high: 97.5 % quantile.
        team: name.
        submission: its number.
        value: of the metric.
        low: lower end of its 95 % interval over tracks; None without draws.
        high: upper end.
        acer: with all attacks pooled.
        apcer: pooled.
        bpcer: live faces rejected.
        auc: area under the ROC.
        acer_max: with the APCER of the worst label.
        acer_oracle: at the EER threshold of the test lines.
        verified: ``same``, ``differs`` or ``failed`` where the code was run again.
        flags: names of the remarks.
        received: seconds since 1970.
    """

    rank: int
    rank_low: int
    rank_high: int
    team: str
    submission: int
    value: float
    low: float | None
    high: float | None
    acer: float
    apcer: float
    bpcer: float
    auc: float
    acer_max: float
    acer_oracle: float
    verified: str
    flags: tuple[str, ...]
    received: float


def ranks_of(values: Floats) -> NDArray[np.int64]:
    """(..., n) -> (..., n) 1 + how many are lower; equals share a rank. O(n log n) each.

    Equal to 12 digits is equal: sums of rates that are the same number may differ in their last bit, and
    different ACERs of fewer than 10^6 faces of each kind differ by more.

    >>> ranks_of(np.array([0.2, 0.1, 0.2, 0.3]))
    array([2, 1, 2, 4])
    """
    rows = np.round(values, _DIGITS).reshape(-1, values.shape[-1])
    lower = [np.searchsorted(np.sort(row), row, "left") for row in rows]
    return np.array(lower, np.int64).reshape(values.shape) + 1


def rank_intervals(draws: Floats) -> NDArray[np.int64]:
    """(d, n) values in each draw -> (n, 2) whole ranks at the 2.5 and 97.5 % quantiles. O(d n log n).

    Args:
        draws: lower is better.
    """
    ranks = ranks_of(draws)
    low = np.quantile(ranks, 0.025, axis=0, method="lower")
    high = np.quantile(ranks, 0.975, axis=0, method="higher")
    return np.stack([low, high], 1).astype(np.int64)


def chosen(rows: Sequence[Submission], ranking: str, metric: str = "acer") -> list[Submission]:
    """The submission each team counts with: the lowest value (the first of equals), or the last one.

    Args:
        rows: scored, in the order of arrival.
        ranking: best or last.
        metric: of `METRICS`.
    """
    teams: dict[str, Submission] = {}
    for row in rows:
        held = teams.get(row.team)
        if held is None or ranking == "last" or _value(row, metric) < _value(held, metric):
            teams[row.team] = row
    return list(teams.values())


def _value(row: Submission, metric: str) -> float:
    return round(float(json.loads(row.scores)[metric]), _DIGITS)


def standings(rows: Sequence[Submission], metric: str = "acer") -> list[Standing]:
    """Ranked lines of one submission for each team. O(teams draws log teams).

    Args:
        rows: scored.
        metric: of `METRICS`.

    Raises:
        DataError: draws of different lengths, so of different settings.
    """
    if not rows:
        return []
    found = [json.loads(row.scores) for row in rows]
    drawn = [json.loads(row.draws).get(metric, []) for row in rows]
    if len({(len(d), f["seed"], f["level"]) for d, f in zip(drawn, found, strict=True)}) > 1:
        raise DataError("submissions were scored with different draws or levels; score them again")
    ranks = ranks_of(np.array([f[metric] for f in found]))
    spread = rank_intervals(np.array(drawn, np.float64).T) if drawn[0] else np.stack([ranks, ranks], 1)
    lines = [
        _standing(row, scores, metric, int(rank), (int(low), int(high)))
        for row, scores, rank, (low, high) in zip(rows, found, ranks, spread, strict=True)
    ]
    return sorted(lines, key=lambda line: (line.rank, line.submission))


def _standing(
    row: Submission, scores: dict[str, Any], metric: str, rank: int, spread: tuple[int, int]
) -> Standing:
    low, high = scores["intervals"].get(metric, (None, None))
    flags = tuple(flag.partition(":")[0] for flag in scores["flags"])
    return Standing(
        rank=rank,
        rank_low=min(rank, spread[0]),
        rank_high=max(rank, spread[1]),
        team=row.team,
        submission=row.id,
        value=scores[metric],
        low=low,
        high=high,
        **{k: scores[k] for k in ("acer", "apcer", "bpcer", "auc", "acer_max", "acer_oracle")},
        verified=row.verified,
        flags=(*flags, "code_differs") if row.verified == "differs" else flags,
        received=row.received,
    )


def board_csv(lines: Sequence[Standing]) -> str:
    """The board as CSV, rates as fractions.

    Args:
        lines: ranked.
    """
    stream = streams.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    names = list(Standing.__dataclass_fields__)
    writer.writerow(names)
    for line in lines:
        values = {**vars(line), "flags": " ".join(line.flags), "received": stamp(line.received)}
        writer.writerow("" if values[name] is None else values[name] for name in names)
    return stream.getvalue()


def _percent(value: float) -> str:
    return f"{100 * value:.2f}"


def _interval(line: Standing) -> tuple[float, float]:
    """Of what ranks; no width without draws."""
    low = line.value if line.low is None else line.low
    return low, line.value if line.high is None else line.high


def html_row(line: Standing) -> dict[str, str]:
    """A line for people, rates in per cent."""
    between = "" if line.low is None else f"{_percent(line.low)} - {_percent(line.high or 0.0)}"
    spread = str(line.rank_low) if line.rank_low == line.rank_high else f"{line.rank_low} - {line.rank_high}"
    return {
        "rank": str(line.rank),
        "95 % of the rank": spread,
        "team": line.team,
        "ranks by %": _percent(line.value),
        "95 %": between,
        "ACER %": _percent(line.acer),
        "APCER %": _percent(line.apcer),
        "BPCER %": _percent(line.bpcer),
        "AUC %": _percent(line.auc),
        "ACER max %": _percent(line.acer_max),
        "oracle ACER %": _percent(line.acer_oracle),
        "code": line.verified or "not run",
        "flags": ", ".join(line.flags),
        "received": stamp(line.received),
    }


def board_page(lines: Sequence[Standing], contest: Contest, phase: int) -> str:
    """The board as a page that needs nothing beside it.

    Args:
        lines: ranked.
        contest: for the title and rules.
        phase: 1 or 2.
    """
    name = next((p.name for p in contest.phases if p.number == phase), str(phase))
    if not lines:
        return page(contest.title, f"<p>{html.escape(name)}: nothing is scored yet.</p>")
    name_of = contest.metric.replace("acer", "ACER").replace("_", " ")
    shown = [(x.team, x.value, _interval(x)) for x in lines[:40]]
    chart = ranges(shown, f"{name_of} with its 95 % interval over tracks", f"{name_of} (%)")
    rows = table([html_row(line) for line in lines])
    judged = "dev lines, at their own EER" if phase == 1 else "test lines"
    text = _RULES.format(
        phase=f"{phase}, {html.escape(name)}",
        metric=name_of,
        judged=judged,
        rule=html.escape(contest.threshold),
        ranking=contest.ranking,
        draws=f"{contest.draws:,}",
    )
    return page(contest.title, f"<p>{text}</p>{rows}<h2>How sure</h2>{chart}")


def board(dir: str | Path, *, phase: int | None = None, output: str | Path | None = None) -> list[Standing]:
    """Ranks what is scored and writes ``board.csv`` and ``index.html``; what has failed is not there.

    Args:
        dir: the challenge.
        phase: default the last that has scores.
        output: folder of both files; default ``board/phaseN`` in the challenge.

    Raises:
        DataError: no challenge in ``dir``.
    """
    folder, contest = Path(dir), read_contest(dir)
    with open_store(folder, contest) as store:
        rows = store.submissions(state=SCORED)
    number = phase or max((row.phase for row in rows), default=1)
    mine = [row for row in rows if row.phase == number]
    lines = standings(chosen(mine, contest.ranking, contest.metric), contest.metric)
    with io.new_folder(output or folder / "board" / f"phase{number}") as place:
        io.write_text(place / "board.csv", board_csv(lines))
        io.write_text(place / "index.html", board_page(lines, contest, number))
    return lines
