"""Workers score what is queued: any number of them, on any machines that see the folder and the store.

A job is claimed in one transaction and ended in another, which holds only if the claim is still one's own. A
worker that is killed leaves its claim, which runs out; the job is done anew. After a few deaths it has
failed, and what has failed is never ranked.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mien.challenge.intake import zip_path
from mien.challenge.references import Reference
from mien.challenge.reports import write_reports
from mien.challenge.scoring import Score, score_files
from mien.challenge.settings import METRICS, Clock, Contest, read_contest
from mien.challenge.store import CLAIMED, FAILED, PENDING, SCORED, Store, open_store
from mien.challenge.submissions import read_zip, unpack
from mien.core.errors import MienError

if TYPE_CHECKING:
    from sqlalchemy import Connection

LOST = "lost"
"""The claim ran out while its worker was alive; what another one found stands."""
Watcher = Callable[[int, str], None]
"""Called with the number of a submission and the state it has reached."""


@dataclass(frozen=True)
class Job:
    """A claimed submission: its number, phase, the zip's hash, and the claim's token."""

    id: int
    phase: int
    sha256: str
    token: str


@dataclass(frozen=True)
class Worked:
    """How many submissions a worker has scored, how many have failed."""

    scored: int
    failed: int


def claim(store: Store, contest: Contest, now: float) -> Job | None:
    """The oldest submission that is pending, or whose claim has run out; None where there is none. Atomic.

    A claim runs out when it is older than ``claim_seconds``, or as much in the future (the clock went back).

    Args:
        store: of the challenge.
        contest: its settings.
        now: seconds since 1970.
    """
    import sqlalchemy as sa

    table = store.tables.submissions
    expired = sa.func.abs(table.c.claimed - now) > contest.claim_seconds
    free = (table.c.state == PENDING) | ((table.c.state == CLAIMED) & expired)
    query = sa.select(table.c.id, table.c.phase, table.c.sha256, table.c.attempts).where(free)
    with store.locked() as connection:
        for number, phase, digest, attempts in connection.execute(query.order_by(table.c.id)).all():
            if attempts >= contest.attempts:
                message = f"scoring was killed {attempts} times"
                _update(store, connection, number, state=FAILED, message=message)
                continue
            token = uuid.uuid4().hex
            changes = {"state": CLAIMED, "token": token, "claimed": now, "attempts": attempts + 1}
            _update(store, connection, number, **changes)
            return Job(number, phase, digest, token)
    return None


def _update(store: Store, connection: Connection, number: int, **values: object) -> None:
    import sqlalchemy as sa

    table = store.tables.submissions
    connection.execute(sa.update(table).where(table.c.id == number).values(**values))


def finish(store: Store, job: Job, state: str, **values: object) -> bool:
    """Ends a claim; False where it is no longer one's own, and nothing is written then.

    Args:
        store: of the challenge.
        job: as claimed.
        state: scored, failed, or pending to give it back.
        values: other columns.
    """
    import sqlalchemy as sa

    table = store.tables.submissions
    own = (table.c.id == job.id) & (table.c.token == job.token) & (table.c.state == CLAIMED)
    with store.locked() as connection:
        done = connection.execute(sa.update(table).where(own).values(state=state, token="", **values))
        return bool(done.rowcount == 1)


def report_folder(folder: Path, number: int) -> Path:
    """Where the pages of a submission lie."""
    return folder / "scores" / f"{number:06d}"


def _scored(folder: Path, contest: Contest, reference: Reference, job: Job) -> Score:
    bounds = contest.limits.bounds()
    texts = unpack(read_zip(zip_path(folder, job.sha256), bounds), contest.files, bounds)
    return score_files(reference, texts, contest.rules(job.phase))


def _values(score: Score) -> dict[str, str]:
    kept = {} if score.draws is None else {m: getattr(score.draws, m) for m in METRICS}
    draws = {name: [round(v, 12) for v in values.tolist()] for name, values in kept.items()}
    return {"scores": json.dumps(score.to_dict()), "draws": json.dumps(draws)}


def work(
    dir: str | Path, *, most: int | None = None, clock: Clock = time.time, watch: Watcher | None = None
) -> Worked:
    """Scores what is queued until nothing is left. Start it as often as there are cores.

    Args:
        dir: the challenge.
        most: stop after so many.
        clock: seconds since 1970; claims run out by it.
        watch: told of every job.

    Raises:
        DataError: no challenge in ``dir``, or a damaged reference.
    """
    folder, contest = Path(dir), read_contest(dir)
    reference = Reference.read(folder)
    counts = {SCORED: 0, FAILED: 0}
    with open_store(folder, contest) as store:
        while most is None or sum(counts.values()) < most:
            job = claim(store, contest, clock())
            if job is None:
                break
            state = _work_one(folder, contest, reference, store, job)
            counts[state] = counts.get(state, 0) + 1
            if watch is not None:
                watch(job.id, state)
    return Worked(counts[SCORED], counts[FAILED])


def _work_one(folder: Path, contest: Contest, reference: Reference, store: Store, job: Job) -> str:
    """Scores one job. What a submission causes ends the job; what else goes wrong gives it back."""
    try:
        try:
            found = _scored(folder, contest, reference, job)
        except MienError as error:
            finish(store, job, FAILED, message=str(error)[:500])
            return FAILED
        except Exception as error:
            finish(store, job, FAILED, message=f"unexpected {type(error).__name__}: {error}"[:500])
            return FAILED
        write_reports(report_folder(folder, job.id), found, f"Submission {job.id}")
        return SCORED if finish(store, job, SCORED, **_values(found)) else LOST
    except BaseException:
        finish(store, job, PENDING)
        raise
