"""Submissions come at once, workers are killed, clocks go back: nothing is lost, doubled or half written."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from dataclasses import replace

import pytest

from mien.challenge import Limits, Reference, SubmissionError, board, score, submit, work, workers
from mien.challenge.settings import read_contest, save_contest
from mien.challenge.store import DATABASE, Store, open_store
from mien.challenge.workers import claim, finish
from mien.core.errors import ConfigError, DataError, MienError
from tests.challenge.made import CONTEST, START, make_challenge, sent, zipped

DAY = 86400


def now():
    return START


@pytest.fixture
def folder(tmp_path):
    return make_challenge(tmp_path)


def rows(folder):
    with open_store(folder, read_contest(folder)) as store:
        return store.submissions()


def with_limits(folder, **limits):
    save_contest(folder, replace(read_contest(folder), limits=Limits(**limits)))


def test_a_submission_is_stored_scored_and_reported(tmp_path, folder):
    path = sent(folder, tmp_path / "a.zip")
    receipt = submit(folder, path, "Équipe 1", clock=now)
    assert (receipt.id, receipt.phase, receipt.received, receipt.left_today) == (1, 2, START, 4)
    assert (folder / "submissions" / f"{receipt.sha256}.zip").read_bytes() == path.read_bytes()
    assert rows(folder)[0].state == "pending"
    assert work(folder) == workers.Worked(1, 0)
    (row,) = rows(folder)
    expected = score(folder, path, draws=CONTEST.draws)
    assert json.loads(row.scores) == json.loads(json.dumps(expected.to_dict()))
    assert json.loads(row.draws)["acer"] == pytest.approx(expected.draws.acer, abs=1e-9)
    assert sorted(p.name for p in (folder / "scores" / "000001").iterdir()) == [
        "report.html", "scores.json", "scores.txt"
    ]  # fmt: skip
    assert work(folder) == workers.Worked(0, 0)


def test_what_is_not_valid_is_not_stored_and_costs_nothing(tmp_path, folder):
    bad = zipped(tmp_path / "bad.zip", {"a.txt": "dev/000001.jpg 2"})
    for _ in range(7):
        with pytest.raises(SubmissionError, match="wrong line count"):
            submit(folder, bad, "a", clock=now)
    assert rows(folder) == []
    assert not (folder / "submissions").exists()


@pytest.mark.parametrize("team", ["", " a", "a ", "=1+1", "-x", "@a", "a\nb", "a,b", "x" * 65, "<b>", "a/b"])
def test_names_that_are_none(tmp_path, folder, team):
    with pytest.raises(ConfigError, match="want 1 to 64"):
        submit(folder, sent(folder, tmp_path / "a.zip"), team, clock=now)


def test_the_day_ends_at_midnight_utc(tmp_path, folder):
    path = sent(folder, tmp_path / "a.zip")
    for left in (4, 3, 2, 1, 0):
        assert submit(folder, path, "a", clock=now).left_today == left
    with pytest.raises(SubmissionError, match=r"5 submissions of today; again in 16.0 h"):
        submit(folder, path, "a", clock=now)
    assert submit(folder, path, "b", clock=now).left_today == 4
    assert submit(folder, path, "a", clock=lambda: START + 16 * 3600).left_today == 4


def test_the_same_name_in_another_form_is_the_same_team(tmp_path, folder):
    path = sent(folder, tmp_path / "a.zip")
    submit(folder, path, "caf\u00e9", clock=now)
    assert submit(folder, path, "cafe\u0301", clock=now).left_today == 3


def test_the_total_is_limited(tmp_path, folder):
    with_limits(folder, per_day=5, total=2)
    path = sent(folder, tmp_path / "a.zip")
    assert [submit(folder, path, "a", clock=now).left_today for _ in range(2)] == [1, 0]
    with pytest.raises(SubmissionError, match="has made its 2 submissions of phase 2"):
        submit(folder, path, "a", clock=lambda: START + DAY)


def test_a_clock_that_goes_back_gives_no_limit_twice(tmp_path, folder):
    path = sent(folder, tmp_path / "a.zip")
    for _ in range(5):
        submit(folder, path, "a", clock=now)
    with pytest.raises(SubmissionError, match="submissions of today"):
        submit(folder, path, "a", clock=lambda: START - DAY)
    # Nor does it open a phase that has ended.
    receipt = submit(folder, path, "b", clock=lambda: START - 8 * DAY)
    assert (receipt.phase, receipt.received) == (2, START)
    assert [r.received for r in rows(folder)] == [START] * 6


def test_phases_are_kept(tmp_path, folder):
    path = sent(folder, tmp_path / "a.zip")
    with pytest.raises(SubmissionError, match="phase 1 not open"):
        submit(folder, path, "a", phase=1, clock=now)
    with pytest.raises(SubmissionError, match="no phase open at 2027-03"):
        submit(folder, path, "a", clock=lambda: START + 60 * DAY)


def test_a_submission_of_phase_one(tmp_path, folder):
    names = Reference.read(folder).dev.names
    path = zipped(tmp_path / "a.zip", {"a.txt": "".join(f"{n} 0.{k:03d}\n" for k, n in enumerate(names))})
    assert submit(folder, path, "a", clock=lambda: START - 8 * DAY).phase == 1
    work(folder)
    assert board(folder)[0].team == "a"
    assert (folder / "board" / "phase1" / "board.csv").exists()


def test_claims_run_out_and_belong_to_one(tmp_path, folder):
    submit(folder, sent(folder, tmp_path / "a.zip"), "a", clock=now)
    contest = read_contest(folder)
    with open_store(folder, contest) as store:
        first = claim(store, contest, START)
        assert claim(store, contest, START + contest.claim_seconds) is None
        second = claim(store, contest, START + contest.claim_seconds + 1)
        assert (second.id, second.token != first.token) == (first.id, True)
        assert not finish(store, first, "scored", scores="{}")
        assert rows(folder)[0].state == "claimed"
        # A clock that went back far makes the claim run out too.
        third = claim(store, contest, START - DAY)
        assert finish(store, third, "pending")
        assert not finish(store, third, "scored")
        assert claim(store, contest, START) is None  # three attempts were made
    assert rows(folder)[0].state == "failed"
    assert "killed 3 times" in rows(folder)[0].message
    assert board(folder) == []


def test_what_a_submission_does_to_the_scorer_ends_the_job_not_the_worker(tmp_path, folder, monkeypatch):
    for k in range(3):
        submit(folder, sent(folder, tmp_path / f"{k}.zip", k), f"t{k}", clock=now)
    real, calls = workers.score_files, []

    def sometimes(*words):
        calls.append(words)
        if len(calls) == 1:
            raise ZeroDivisionError("a bug")
        if len(calls) == 2:
            raise DataError("a sentence")
        return real(*words)

    monkeypatch.setattr(workers, "score_files", sometimes)
    told = []
    assert work(folder, watch=lambda n, state: told.append((n, state))) == workers.Worked(1, 2)
    assert told == [(1, "failed"), (2, "failed"), (3, "scored")]
    assert [r.message for r in rows(folder)] == ["unexpected ZeroDivisionError: a bug", "a sentence", ""]
    assert [line.team for line in board(folder)] == ["t2"]


def test_a_full_disk_fails_no_submission(tmp_path, folder, monkeypatch):
    submit(folder, sent(folder, tmp_path / "a.zip"), "a", clock=now)

    def full(*words):
        raise MienError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(workers, "write_reports", full)
        with pytest.raises(MienError, match="disk is full"):
            work(folder)
    assert rows(folder)[0].state == "pending"
    assert work(folder).scored == 1


def test_a_file_changed_after_submission_fails(tmp_path, folder):
    receipt = submit(folder, sent(folder, tmp_path / "a.zip"), "a", clock=now)
    (folder / "submissions" / f"{receipt.sha256}.zip").unlink()
    assert work(folder) == workers.Worked(0, 1)
    assert "no such file" in rows(folder)[0].message


def python(code, *words):
    """Another process with this one's paths."""
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_kill_while_scoring_leaves_nothing_and_the_job_is_redone(tmp_path, folder):
    submit(folder, sent(folder, tmp_path / "a.zip"), "a", clock=now)
    process = python(
        """
        import sys, time
        from mien.challenge import workers
        real = workers.write_reports
        def slow(*words):
            print("claimed", flush=True)
            time.sleep(60)
        workers.write_reports = slow
        workers.work(sys.argv[1])
        """,
        folder,
    )
    assert process.stdout.readline() == "claimed\n"
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    (row,) = rows(folder)
    assert (row.state, row.scores, row.attempts) == ("claimed", "", 1)
    assert board(folder) == []
    assert not (folder / "scores").exists()
    assert work(folder) == workers.Worked(0, 0)  # still claimed
    assert work(folder, clock=lambda: time.time() + 601) == workers.Worked(1, 0)
    assert rows(folder)[0].attempts == 2
    assert [line.team for line in board(folder)] == ["a"]


SUBMIT = """
    import sys
    from mien.challenge import SubmissionError, submit
    folder, path, team, count = sys.argv[1:5]
    for _ in range(int(count)):
        try:
            submit(folder, path, team, clock=lambda: 1_800_000_000.0)
        except SubmissionError as error:
            assert "submissions of today" in str(error), error
"""
WORK = """
    import sys
    from mien.challenge import work
    print(work(sys.argv[1]).scored)
"""


def finished(processes):
    out = [p.communicate(timeout=120) for p in processes]
    assert [p.returncode for p in processes] == [0] * len(processes), out
    return [text for text, _ in out]


def test_a_limit_holds_when_submissions_come_at_once(tmp_path, folder):
    path = sent(folder, tmp_path / "a.zip")
    finished([python(SUBMIT, folder, path, "a", 6) for _ in range(3)])
    assert [r.id for r in rows(folder)] == [1, 2, 3, 4, 5]


def test_two_workers_score_two_hundred_submissions_once_each(tmp_path, folder):
    with_limits(folder, per_day=500, total=500)
    paths = [sent(folder, tmp_path / f"{k}.zip", k) for k in range(4)]
    finished([python(SUBMIT, folder, p, f"team {k}", 50) for k, p in enumerate(paths)])
    assert len(rows(folder)) == 200
    counts = [int(text) for text in finished([python(WORK, folder) for _ in range(2)])]
    assert sum(counts) == 200
    assert min(counts) > 0
    found = rows(folder)
    assert {(r.state, r.attempts) for r in found} == {("scored", 1)}
    assert len(list((folder / "scores").iterdir())) == 200
    for team in {r.team for r in found}:
        assert len({r.scores for r in found if r.team == team}) == 1


def test_sqlite_is_set_up_as_it_should_be(folder):
    with open_store(folder, read_contest(folder)) as store, store.locked() as connection:
        values = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        ]
    assert values == ["wal", 1, 1, 30000]


def test_a_store_that_is_gone_or_no_database(folder, monkeypatch):
    (folder / "store.db").unlink()
    with pytest.raises(DataError, match="the store is gone"):
        work(folder)
    (folder / "store.db").write_bytes(b"no database" * 100)
    with pytest.raises(MienError, match=r"the store sqlite:.* fails: .*file is not a database"):
        work(folder)
    sqlite3.connect(folder / "other.db").close()
    with pytest.raises(MienError, match="no such table"):
        with Store(f"sqlite:///{folder / 'other.db'}") as store:
            store.submissions()
    monkeypatch.setenv(DATABASE, "nonesuch://user:secret@host/db")
    with pytest.raises(ConfigError, match="postgresql") as caught:
        work(folder)
    assert "secret" not in str(caught.value)


def test_a_database_holds_one_challenge(tmp_path, monkeypatch):
    monkeypatch.setenv(DATABASE, f"sqlite:///{tmp_path / 'shared.db'}")
    make_challenge(tmp_path / "a")
    with pytest.raises(ConfigError, match="holds a challenge already"):
        make_challenge(tmp_path / "b")
    assert not (tmp_path / "b" / "challenge").exists()
