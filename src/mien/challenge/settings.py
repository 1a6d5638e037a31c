"""``challenge.toml``: phases with dates, limits, metric; and the clock of a challenge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from mien.challenge.scoring import Level, Rules
from mien.challenge.submissions import Bounds, SubmissionError, check_files
from mien.core import io
from mien.core.config import from_dict, suggest, to_dict
from mien.core.errors import ConfigError, DataError

Clock = Callable[[], float]
"""Seconds since 1970, as `time.time`."""
RANKINGS = ("best", "last")
METRICS = ("acer", "acer_max")
"""What ranks, lower first: the family's ACER (attacks pooled), or that of the worst label (ISO's APCER)."""
FILE = "challenge.toml"


def at(text: str) -> float:
    """Seconds since 1970 of a date such as ``2027-01-01T00:00:00Z``; without a zone it is UTC.

    Raises:
        ConfigError: no date.
    """
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{text!r} is no date; write 2027-01-31T12:00:00Z") from None
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()


def stamp(seconds: float) -> str:
    """The date of a time, UTC, to the second.

    >>> stamp(0)
    '1970-01-01T00:00:00Z'
    """
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class Phase:
    """One phase.

    Attributes:
        name: for people.
        number: 1: dev lines; 2: dev lines, then test lines.
        start: first moment, UTC.
        end: moment after the last.
    """

    name: str
    number: int
    start: str
    end: str

    def __post_init__(self) -> None:
        if self.number not in (1, 2):
            raise ConfigError(f"phase {self.name!r}: number {self.number} is neither 1 nor 2")
        if at(self.start) >= at(self.end):
            raise ConfigError(f"phase {self.name!r} ends ({self.end}) before it starts ({self.start})")

    def is_open(self, now: float) -> bool:
        """Whether start <= now < end."""
        return at(self.start) <= now < at(self.end)


@dataclass(frozen=True)
class Limits:
    """What a team may send.

    Attributes:
        per_day: submissions of a team on one day (UTC) in one phase.
        total: submissions of a team in one phase.
        zip_mb: largest zip, MiB.
        text_mb: largest text in it, MiB.
    """

    per_day: int = 5
    total: int = 100
    zip_mb: int = 16
    text_mb: int = 64

    def __post_init__(self) -> None:
        if min(self.per_day, self.total) < 1:
            raise ConfigError(f"limits per_day={self.per_day}, total={self.total} must be 1 or more")
        self.bounds()

    def bounds(self) -> Bounds:
        """Of the zip."""
        return Bounds(self.zip_mb, self.text_mb)


@dataclass(frozen=True)
class Contest:
    """A challenge's settings.

    Attributes:
        title: of pages.
        protocol: of the data.
        phases: one or two, in order of time.
        limits: of submissions.
        metric: what ranks, of `METRICS`.
        threshold: rule on the submitted dev scores.
        level: ``image`` or ``track``.
        files: ``one`` text in a submission, or ``two``.
        draws: of the bootstrap over tracks.
        seed: of the bootstrap and of the anonymous names' order.
        ranking: a team counts with its ``best`` submission of the phase, or its ``last``.
        database: URL of the store; empty: SQLite in the challenge's folder.
        claim_seconds: a worker that has not answered for so long has died; its job is done anew.
        attempts: after so many deaths a submission has failed.
    """

    title: str = "Face anti-spoofing challenge"
    protocol: str = "p3"
    phases: tuple[Phase, ...] = ()
    limits: Limits = field(default_factory=Limits)
    metric: str = "acer"
    threshold: str = "eer"
    level: Level = "image"
    files: str = "one"
    draws: int = 1000
    seed: int = 0
    ranking: str = "best"
    database: str = ""
    claim_seconds: float = 600.0
    attempts: int = 3

    def __post_init__(self) -> None:
        self.rules(1)
        check_files(self.files)
        if self.metric not in METRICS:
            raise ConfigError(f"no metric {self.metric!r}{suggest(self.metric, list(METRICS))}")
        if self.ranking not in RANKINGS:
            raise ConfigError(
                f"no ranking {self.ranking!r}{suggest(self.ranking, list(RANKINGS))}; best or last"
            )
        if not self.claim_seconds > 0 or self.attempts < 1:
            raise ConfigError("claim_seconds must be positive and attempts 1 or more")
        numbers = [p.number for p in self.phases]
        if numbers != sorted(set(numbers)):
            raise ConfigError(f"phases must be numbered 1, 2 in order, got {numbers}")
        for before, after in zip(self.phases, self.phases[1:], strict=False):
            if at(after.start) < at(before.end):
                raise ConfigError(f"phases {before.name!r} and {after.name!r} overlap; move a date")

    def rules(self, phase: int) -> Rules:
        """How submissions of a phase are scored."""
        return Rules(phase, self.threshold, self.level, self.files, self.draws, self.seed)

    def phase_at(self, now: float, number: int | None = None) -> Phase:
        """The phase that is open, which must be the one asked for.

        Raises:
            SubmissionError: none is open, or another.
        """
        for phase in self.phases:
            if phase.is_open(now) and number in (None, phase.number):
                return phase
        dates = "; ".join(f"{p.number} {p.name}: {p.start} to {p.end}" for p in self.phases) or "none is set"
        which = "no phase" if number is None else f"phase {number} not"
        raise SubmissionError(f"{which} open at {stamp(now)} ({dates})")


def default_phases(now: float, days: tuple[int, int] = (60, 14)) -> tuple[Phase, ...]:
    """A development phase from the day of ``now`` on, then a final phase.

    Args:
        now: seconds since 1970.
        days: how long each lasts.
    """
    start = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    middle, end = start + timedelta(days[0]), start + timedelta(sum(days))
    dates = [stamp(date.timestamp()) for date in (start, middle, end)]
    return Phase("development", 1, *dates[:2]), Phase("final", 2, *dates[1:])


def save_contest(folder: Path, contest: Contest) -> None:
    """Writes ``challenge.toml``."""
    import tomli_w

    values = {**to_dict(contest), "phases": [to_dict(phase) for phase in contest.phases]}
    io.write_text(folder / FILE, tomli_w.dumps(values))


def read_contest(folder: str | Path) -> Contest:
    """Reads ``challenge.toml``.

    Raises:
        DataError: no challenge here.
        ConfigError: an unknown key, a date or number out of range.
    """
    path = Path(folder) / FILE
    if not path.exists():
        raise DataError(f"{folder}: no challenge here ({FILE}); mien challenge init makes one")
    values: dict[str, Any] = io.read_toml(path)
    return from_dict(Contest, values, where=str(path))
