"""The same store on PostgreSQL: a server of the test's own, without a network port."""

from __future__ import annotations

import glob
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from mien.challenge import board, submit, work
from mien.challenge.settings import read_contest, save_contest
from mien.challenge.store import DATABASE, open_store
from mien.core.errors import ConfigError, MienError
from tests.challenge.made import START, make_challenge, sent
from tests.challenge.test_workers import SUBMIT, WORK, finished, python, with_limits

pytestmark = pytest.mark.postgres


def program(name):
    found = shutil.which(name) or next(iter(sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"))), None)
    if found is None:
        pytest.skip(f"{name} is not here: apt-get install postgresql")
    return os.path.realpath(found)


def as_server(place):
    """Settings of a process that may run the server, which refuses root."""
    if os.geteuid():
        return {"cwd": place}
    try:
        user = pwd.getpwnam("postgres")
    except KeyError:
        pytest.skip("root may not start PostgreSQL and there is no user postgres")
    os.chown(place, user.pw_uid, user.pw_gid)
    return {"cwd": place, "user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


@pytest.fixture(scope="module")
def server():
    """The URL of an empty database."""
    pytest.importorskip("psycopg", reason="pip install 'mien[postgres]'")
    initdb, control = program("initdb"), program("pg_ctl")
    place = Path(tempfile.mkdtemp(prefix="pg"))
    who = as_server(place)

    def run(*words):
        done = subprocess.run(words, capture_output=True, text=True, **who)
        assert done.returncode == 0, done.stdout + done.stderr

    data = str(place / "data")
    run(initdb, "-D", data, "-U", "test", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8")
    settings = f"-c listen_addresses='' -k {place} -c fsync=off"
    subprocess.run(
        [control, "-D", data, "-w", "-l", str(place / "log"), "-o", settings, "start"],
        stdout=subprocess.DEVNULL,
        check=True,
        **who,
    )
    yield f"postgresql+psycopg://test@/postgres?host={place}"
    run(control, "-D", data, "-m", "immediate", "stop")
    shutil.rmtree(place)


@pytest.fixture
def folder(server, tmp_path, monkeypatch):
    """A challenge on a fresh database."""
    import sqlalchemy as sa

    engine = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql("drop table if exists submissions, meta")
    engine.dispose()
    monkeypatch.setenv(DATABASE, server)
    return make_challenge(tmp_path)


def rows(folder):
    with open_store(folder, read_contest(folder)) as store:
        return store.submissions()


def test_no_file_of_a_database_is_made(folder):
    assert not (folder / "store.db").exists()


def test_a_contest(tmp_path, folder):
    for k in range(3):
        receipt = submit(folder, sent(folder, tmp_path / f"{k}.zip", k), f"team {k}", clock=lambda: START)
    assert (receipt.id, receipt.received) == (3, START)
    assert work(folder).scored == 3
    assert len(board(folder)) == 3


def test_a_limit_holds_when_submissions_come_at_once(tmp_path, folder):
    path = sent(folder, tmp_path / "a.zip")
    finished([python(SUBMIT, folder, path, "a", 6) for _ in range(3)])
    assert len(rows(folder)) == 5


def test_two_workers_score_every_submission_once(tmp_path, folder):
    with_limits(folder, per_day=500, total=500)
    path = sent(folder, tmp_path / "a.zip")
    finished([python(SUBMIT, folder, path, f"t{k}", 10) for k in range(2)])
    assert sum(int(text) for text in finished([python(WORK, folder) for _ in range(2)])) == 20
    assert {(r.state, r.attempts) for r in rows(folder)} == {("scored", 1)}


def test_a_database_holds_one_challenge(tmp_path, folder):
    with pytest.raises(ConfigError, match="holds a challenge already"):
        make_challenge(tmp_path / "b")


def test_a_server_that_is_not_there(tmp_path, folder, monkeypatch):
    monkeypatch.delenv(DATABASE)
    contest = read_contest(folder)
    url = "postgresql+psycopg://user:secret@/postgres?host=/nonesuch"
    save_contest(folder, type(contest)(**{**vars(contest), "database": url}))
    with pytest.raises(MienError, match=r"the store postgresql\+psycopg://.* fails") as caught:
        work(folder)
    assert "secret" not in str(caught.value)
