"""challenge.toml and its dates."""

from __future__ import annotations

import pytest

from mien.challenge import Contest, Limits, Phase, SubmissionError, read_contest
from mien.challenge.settings import at, default_phases, save_contest, stamp
from mien.core.errors import ConfigError, DataError
from tests.challenge.made import CONTEST, PHASES, START


def test_what_is_saved_is_read(tmp_path):
    save_contest(tmp_path, CONTEST)
    assert read_contest(tmp_path) == CONTEST
    with pytest.raises(DataError, match="no challenge here"):
        read_contest(tmp_path / "elsewhere")


def test_an_unknown_key_is_an_error_with_a_suggestion(tmp_path):
    save_contest(tmp_path, CONTEST)
    path = tmp_path / "challenge.toml"
    path.write_text(path.read_text().replace("per_day", "per_dya"))
    with pytest.raises(ConfigError, match="did you mean 'per_day'"):
        read_contest(tmp_path)


def test_dates():
    assert at("1970-01-02") == 86400
    assert at("1970-01-01T02:00:00+02:00") == 0
    assert stamp(at("2027-01-15T08:00:00Z")) == "2027-01-15T08:00:00Z"
    with pytest.raises(ConfigError, match="is no date"):
        at("tomorrow")


def test_phases_by_date():
    first, second = PHASES
    assert CONTEST.phase_at(at(first.start)) == first
    assert CONTEST.phase_at(at(first.end) - 1) == first
    assert CONTEST.phase_at(at(first.end)) == second
    for moment, number in ((at(first.start) - 1, None), (at(second.end), None), (START, 1)):
        with pytest.raises(SubmissionError, match="open at 20"):
            CONTEST.phase_at(moment, number)
    with pytest.raises(SubmissionError, match="none is set"):
        Contest().phase_at(START)


def test_default_phases_begin_today_and_touch():
    first, second = default_phases(START)
    assert first.start == "2027-01-15T00:00:00Z"
    assert first.end == second.start == "2027-03-16T00:00:00Z"
    assert second.end == "2027-03-30T00:00:00Z"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Phase("x", 3, "2027-01-01", "2027-01-02"), "neither 1 nor 2"),
        (lambda: Phase("x", 1, "2027-01-02", "2027-01-01"), "before it starts"),
        (lambda: Limits(per_day=0), "must be 1 or more"),
        (lambda: Limits(zip_mb=0), "must be 1 MiB or more"),
        (lambda: Contest(phases=PHASES[::-1]), r"in order, got \[2, 1\]"),
        (lambda: Contest(phases=(PHASES[0], PHASES[0])), r"got \[1, 1\]"),
        (lambda: Contest(phases=(PHASES[0], Phase("f", 2, "2027-01-09", "2027-02-01"))), "overlap"),
        (lambda: Contest(metric="acre"), "did you mean 'acer'"),
        (lambda: Contest(ranking="first"), "no ranking"),
        (lambda: Contest(files="three"), "no form of submission"),
        (lambda: Contest(claim_seconds=0), "must be positive"),
    ],
)
def test_settings_out_of_range(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
