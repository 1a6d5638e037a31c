"""Takes a submission in: valid, in time, within the team's limits; stored, and queued for scoring."""

from __future__ import annotations

import hashlib
import re
import time
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mien.challenge.references import Reference
from mien.challenge.scoring import lists_of
from mien.challenge.settings import Clock, Limits, Phase, read_contest
from mien.challenge.store import Store, open_store
from mien.challenge.submissions import SubmissionError, parse, read_zip, unpack
from mien.core import io
from mien.core.errors import ConfigError

if TYPE_CHECKING:
    from sqlalchemy import Connection

_TEAM = re.compile(r"\w[\w .-]{0,62}\w|\w")
_DAY = 86400


@dataclass(frozen=True)
class Receipt:
    """What a team is told.

    Attributes:
        id: number of the submission.
        team: name.
        phase: 1 or 2.
        received: seconds since 1970.
        sha256: of the zip.
        left_today: submissions that the team may still make today.
    """

    id: int
    team: str
    phase: int
    received: float
    sha256: str
    left_today: int


def team_name(text: str) -> str:
    """A team's name: 1 to 64 letters, digits, and inside it spaces, dots, hyphens.

    No sign at the start: in a spreadsheet such a cell would be a formula.

    Raises:
        ConfigError: it is not.
    """
    name = unicodedata.normalize("NFC", text)
    if not _TEAM.fullmatch(name):
        raise ConfigError(f"team {text[:70]!r}: want 1 to 64 letters, digits, and inside spaces . - _")
    return name


def zip_path(folder: Path, sha256: str) -> Path:
    """Where a submission lies."""
    return folder / "submissions" / f"{sha256}.zip"


def submit(
    dir: str | Path,
    submission_zip: str | Path,
    team: str,
    *,
    phase: int | None = None,
    clock: Clock = time.time,
) -> Receipt:
    """Validates a submission, stores it, and queues it for `work`. Many processes may call it at once.

    What is not valid is not stored and takes nothing of the team's limit. Days are UTC. A clock that goes
    back stands still until it has caught up, so it gives no day's limit twice.

    Args:
        dir: the challenge.
        submission_zip: see `score`.
        team: name.
        phase: must be open; default the one that is.
        clock: seconds since 1970.

    Raises:
        SubmissionError: not valid, no phase is open, or a limit is reached (exit code 2).
        ConfigError: no team's name.
        DataError: no challenge in ``dir``.
    """
    folder, source = Path(dir), Path(submission_zip)
    name, contest = team_name(team), read_contest(dir)
    with open_store(folder, contest) as store:
        with store.locked() as connection:  # cheap refusals first
            now = store.moment(connection, clock())
            chosen = contest.phase_at(now, phase)
            _check_limits(store, connection, name, chosen, now, contest.limits)
        bounds = contest.limits.bounds()
        data = read_zip(source, bounds)
        parse(
            unpack(data, contest.files, bounds, source.name), *lists_of(Reference.read(folder), chosen.number)
        )
        digest = _kept(folder, data)
        with store.locked() as connection:
            now = store.moment(connection, clock())
            contest.phase_at(now, chosen.number)
            left = _check_limits(store, connection, name, chosen, now, contest.limits)
            number = _insert(store, connection, name, chosen, now, digest)
    return Receipt(number, name, chosen.number, now, digest, left - 1)


def _kept(folder: Path, data: bytes) -> str:
    """The zip under its own hash; a second copy of the same bytes takes no place."""
    digest = hashlib.sha256(data).hexdigest()
    if not zip_path(folder, digest).exists():
        io.write_bytes(zip_path(folder, digest), data)
    return digest


def _check_limits(
    store: Store, connection: Connection, team: str, phase: Phase, now: float, limits: Limits
) -> int:
    """How many submissions the team may make today, this one counted."""
    import sqlalchemy as sa

    table = store.tables.submissions
    mine = (table.c.team == team) & (table.c.phase == phase.number)
    count = sa.select(sa.func.count()).select_from(table).where(mine)
    midnight = now // _DAY * _DAY
    total = int(connection.execute(count).scalar_one())
    today = int(connection.execute(count.where(table.c.received >= midnight)).scalar_one())
    if total >= limits.total:
        raise SubmissionError(f"team {team} has made its {limits.total} submissions of phase {phase.number}")
    if today >= limits.per_day:
        hours = (midnight + _DAY - now) / 3600
        raise SubmissionError(
            f"team {team} has made its {limits.per_day} submissions of today; again in {hours:.1f} h (UTC)"
        )
    return min(limits.per_day - today, limits.total - total)


def _insert(store: Store, connection: Connection, team: str, phase: Phase, now: float, digest: str) -> int:
    import sqlalchemy as sa

    row = {"team": team, "phase": phase.number, "received": now, "sha256": digest}
    done = connection.execute(sa.insert(store.tables.submissions).values(**row))
    key = done.inserted_primary_key
    return int(key[0]) if key else 0
