"""Submissions and their scores in a database: SQLite in the challenge's folder, or PostgreSQL by URL.

Every change is one transaction that first takes the row ``clock`` (SQLite: the write lock), so changes come
one after another: limits hold under concurrent submissions, and a job is claimed by one worker. Scores are
written in the transaction that ends the claim, so a killed worker leaves none or all.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.challenge.settings import Contest
from mien.core.errors import ConfigError, DataError, MienError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, MetaData, Table

DATABASE = "MIEN_CHALLENGE_DATABASE"
"""Environment variable with the URL of the store, so that its password need not be in a file."""
PENDING, CLAIMED, SCORED, FAILED = "pending", "claimed", "scored", "failed"
_PRAGMAS = ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "busy_timeout=30000")


@dataclass(frozen=True)
class Submission:
    """One row.

    Attributes:
        id: number from 1, in the order of arrival.
        team: name.
        phase: 1 or 2.
        received: seconds since 1970.
        sha256: of the zip, which lies at ``submissions/SHA256.zip``.
        state: pending, claimed, scored or failed.
        attempts: how often a worker took it.
        message: why it failed.
        scores: JSON of `Score.to_dict`.
        draws: JSON of what may rank, name -> values in the draws of tracks; empty without draws.
        verified: ``""``, ``same``, ``differs`` or ``failed``: what running the team's code again gave.
    """

    id: int
    team: str
    phase: int
    received: float
    sha256: str
    state: str
    attempts: int
    message: str
    scores: str
    draws: str
    verified: str


class Tables:
    """The two tables.

    Attributes:
        metadata: of both.
        submissions: columns of `Submission`, with the claim's token and time.
        meta: one row, ``clock``: the latest time at which a submission was received.
    """

    metadata: MetaData
    submissions: Table
    meta: Table

    def __init__(self) -> None:
        import sqlalchemy as sa

        self.metadata = sa.MetaData()
        words = {name: sa.Column(name, sa.Text, nullable=False, default="") for name in _WORDS}
        self.submissions = sa.Table(
            "submissions",
            self.metadata,
            sa.Column("id", sa.Integer, primary_key=True),
            sa.Column("team", sa.Text, nullable=False, index=True),
            sa.Column("phase", sa.Integer, nullable=False),
            sa.Column("received", sa.Float(53), nullable=False),
            sa.Column("sha256", sa.Text, nullable=False),
            sa.Column("state", sa.Text, nullable=False, default=PENDING, index=True),
            sa.Column("attempts", sa.Integer, nullable=False, default=0),
            sa.Column("claimed", sa.Float(53), nullable=False, default=0.0),
            *words.values(),
        )
        self.meta = sa.Table(
            "meta",
            self.metadata,
            sa.Column("key", sa.Text, primary_key=True),
            sa.Column("value", sa.Float(53), nullable=False),
        )


_WORDS = ("token", "message", "scores", "draws", "verified")


def _prepare_sqlite(engine: Engine) -> None:
    """Write lock from the start of a transaction, and waiting for it; also across processes."""
    from sqlalchemy import event

    def connected(connection: Any, _: Any) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in reversed(_PRAGMAS):  # the time to wait first, since the journal's mode needs the lock
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    def begun(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", begun)


class Store:
    """A connection to the store. Close it, or use it in a ``with``.

    Args:
        url: of SQLAlchemy.

    Raises:
        MienError: the database cannot be reached.
    """

    def __init__(self, url: str) -> None:
        import sqlalchemy as sa

        try:
            self.engine = sa.create_engine(url)
        except (sa.exc.ArgumentError, ImportError) as error:
            raise ConfigError(
                f"database {_public(url)}: {str(error).splitlines()[0]}; PostgreSQL needs psycopg and a URL"
                " that begins with postgresql+psycopg://"
            ) from None
        if self.engine.dialect.name == "sqlite":
            _prepare_sqlite(self.engine)
        self.tables = Tables()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.engine.dispose()

    @contextlib.contextmanager
    def locked(self) -> Iterator[Connection]:
        """A transaction that no other one overlaps.

        Raises:
            MienError: what the database says, in one line.
        """
        import sqlalchemy as sa

        meta = self.tables.meta
        try:
            with self.engine.begin() as connection:
                found = connection.execute(
                    sa.select(meta.c.value).where(meta.c.key == "clock").with_for_update()
                )
                if found.first() is None:
                    raise DataError("the store has lost its clock; restore the database")
                yield connection
        except sa.exc.SQLAlchemyError as error:
            raise MienError(
                f"the store {_public(str(self.engine.url))} fails: {str(error).splitlines()[0]}"
            ) from error

    def create(self) -> None:
        """Makes the tables.

        Raises:
            ConfigError: they hold another challenge.
        """
        import sqlalchemy as sa

        try:
            self.tables.metadata.create_all(self.engine)
            with self.engine.begin() as connection:
                if connection.execute(sa.select(self.tables.meta)).first() is not None:
                    raise ConfigError(
                        f"{_public(str(self.engine.url))} holds a challenge already; give another database"
                    )
                connection.execute(sa.insert(self.tables.meta).values(key="clock", value=0.0))
        except sa.exc.SQLAlchemyError as error:
            raise MienError(
                f"cannot make the store {_public(str(self.engine.url))}: {str(error).splitlines()[0]}"
            ) from error

    def moment(self, connection: Connection, now: float) -> float:
        """The time of a submission, never before the last one's: a clock that goes back stands still.

        Args:
            connection: of `locked`.
            now: what the clock says.
        """
        import sqlalchemy as sa

        meta = self.tables.meta
        last = float(connection.execute(sa.select(meta.c.value).where(meta.c.key == "clock")).scalar_one())
        if now > last:
            connection.execute(sa.update(meta).where(meta.c.key == "clock").values(value=now))
        return max(now, last)

    def submissions(self, phase: int | None = None, state: str | None = None) -> list[Submission]:
        """Rows in the order of arrival.

        Args:
            phase: only of this.
            state: only in this.
        """
        import sqlalchemy as sa

        table = self.tables.submissions
        query = sa.select(*(table.c[name] for name in Submission.__dataclass_fields__)).order_by(table.c.id)
        for column, value in ((table.c.phase, phase), (table.c.state, state)):
            query = query if value is None else query.where(column == value)
        with self.locked() as connection:
            return _rows(connection.execute(query).all())

    def submission(self, number: int) -> Submission:
        """One row.

        Raises:
            ConfigError: no such number.
        """
        found = [row for row in self.submissions() if row.id == number]
        if not found:
            raise ConfigError(f"no submission {number}; mien challenge board lists them")
        return found[0]

    def set_verified(self, number: int, verdict: str) -> None:
        """Notes what running the code again gave.

        Args:
            number: of the submission.
            verdict: same, differs or failed.
        """
        import sqlalchemy as sa

        table = self.tables.submissions
        with self.locked() as connection:
            connection.execute(sa.update(table).where(table.c.id == number).values(verified=verdict))


def _rows(rows: Sequence[Any]) -> list[Submission]:
    return [Submission(*row) for row in rows]


def _public(url: str) -> str:
    """A URL without its user and password."""
    scheme, mark, rest = url.partition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2]}"


def store_url(folder: Path, contest: Contest) -> str:
    """Of the environment, of the settings, or SQLite in the folder."""
    return os.environ.get(DATABASE) or contest.database or f"sqlite:///{folder.absolute() / 'store.db'}"


def open_store(folder: Path, contest: Contest) -> Store:
    """The store of a challenge.

    Raises:
        DataError: the SQLite file is gone.
    """
    url = store_url(folder, contest)
    if url.startswith("sqlite:///") and not Path(url.removeprefix("sqlite:///")).exists():
        raise DataError(f"{folder}: the store is gone ({url.removeprefix('sqlite:///')}); restore it")
    return Store(url)


def create_store(folder: Path, contest: Contest) -> None:
    """A new, empty store."""
    with Store(store_url(folder, contest)) as store:
        store.create()
