"""Ranks and their intervals."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.challenge import Reference, Rules, board, submit, work
from mien.challenge.boards import board_csv, board_page, chosen, rank_intervals, ranks_of, standings
from mien.challenge.scoring import score_scores
from mien.challenge.settings import read_contest, save_contest
from mien.challenge.store import Submission, open_store
from mien.challenge.submissions import Scores
from mien.core.errors import DataError
from tests.challenge.made import (
    CONTEST,
    START,
    make_challenge,
    random_part,
    random_scores,
    scores_of,
    sent,
    slow_score,
)


def row(number, team, acer, draws=(), flags=(), **also):
    scores = dict.fromkeys(("apcer", "bpcer", "auc", "acer_max", "acer_oracle"), 0.5)
    scores |= {"acer": acer, "intervals": {}, "flags": list(flags), "seed": 0, "level": "image"}
    values = {"state": "scored", "attempts": 1, "message": "", "verified": ""} | also
    return Submission(
        number,
        team,
        2,
        START,
        "0" * 64,
        scores=json.dumps(scores),
        draws=json.dumps({"acer": list(draws)}),
        **values,
    )


@given(st.lists(st.sampled_from([0.1, 0.2, 0.25, 0.3]), min_size=1, max_size=12))
def test_a_rank_is_one_more_than_the_number_of_better_ones(values):
    expected = [1 + sum(other < v for other in values) for v in values]
    assert ranks_of(np.array(values)).tolist() == expected
    lines = standings([row(k, f"t{k}", v) for k, v in enumerate(values)])
    assert {line.submission: line.rank for line in lines} == dict(enumerate(expected))
    assert [line.acer for line in lines] == sorted(values)


def test_equal_sums_of_rates_are_equal_ranks():
    assert 0.1 + 0.2 != 0.15 + 0.15
    assert ranks_of(np.array([(0.1 + 0.2) / 2, (0.15 + 0.15) / 2, 0.15 + 1e-11])).tolist() == [1, 1, 3]


def test_rank_intervals_come_from_ranks_in_each_draw():
    # One always wins; the other two take turns, evenly.
    draws = np.array([[0.1, 0.2, 0.3], [0.1, 0.3, 0.2]] * 50)
    assert rank_intervals(draws).tolist() == [[1, 1], [2, 3], [2, 3]]


def test_rank_intervals_use_that_draws_are_shared():
    # Wide intervals that overlap, yet the same team is ahead in every draw.
    rng = np.random.default_rng(0)
    common = rng.uniform(0.1, 0.5, (200, 1))
    assert rank_intervals(common + np.array([[0.0, 0.01]])).tolist() == [[1, 1], [2, 2]]


def test_a_team_counts_with_its_best_or_last():
    rows = [row(1, "a", 0.3), row(2, "a", 0.1), row(3, "a", 0.2), row(4, "b", 0.15), row(5, "a", 0.1)]
    assert [r.id for r in chosen(rows, "best")] == [2, 4]
    assert [r.id for r in chosen(rows, "last")] == [5, 4]


def test_scores_of_different_settings_are_not_compared():
    with pytest.raises(DataError, match="score them again"):
        standings([row(1, "a", 0.1, [0.1]), row(2, "b", 0.1, [0.1, 0.2])])


def test_flags_and_verdicts_are_shown():
    lines = standings([row(1, "a", 0.1, flags=["dev_few_values: 2 distinct"], verified="differs")])
    assert lines[0].flags == ("dev_few_values", "code_differs")
    assert "dev_few_values, code_differs" in board_page(lines, CONTEST, 2)


def test_an_empty_board():
    assert standings([]) == []
    assert "nothing is scored yet" in board_page([], CONTEST, 1)
    assert board_csv([]).startswith("rank,rank_low,rank_high,team,submission,value,low,high,acer,")


def test_titles_are_escaped():
    contest = replace(CONTEST, title="<script>alert(1)</script>")
    assert "<script>" not in board_page([], contest, 2)


def test_a_contest_from_submissions_to_the_page(tmp_path):
    folder = make_challenge(tmp_path, counts=(6, 60, 90))
    for k, noise in enumerate((0.05, 0.2, 0.6)):
        submit(folder, sent(folder, tmp_path / f"{k}.zip", k, noise), f"team {k}", clock=lambda: START)
    work(folder)
    lines = board(folder)
    reference = Reference.read(folder)
    expected = [
        slow_score(reference, scores_of(folder, k, n))["acer"] for k, n in enumerate((0.05, 0.2, 0.6))
    ]
    assert {line.team: line.acer for line in lines} == pytest.approx(
        {f"team {k}": v for k, v in enumerate(expected)}
    )
    assert [line.acer for line in lines] == sorted(expected)
    for line in lines:
        assert line.low <= line.value == line.acer <= line.high
        assert line.rank_low <= line.rank <= line.rank_high
    text = (folder / "board" / "phase2" / "board.csv").read_text()
    table = list(csv.DictReader(text.splitlines()))
    assert [r["team"] for r in table] == [line.team for line in lines]
    assert [float(r["acer"]) for r in table] == [line.acer for line in lines]
    page = (folder / "board" / "phase2" / "index.html").read_text()
    assert page.count("<circle") == 3
    assert not any(word in page for word in ("http://", "https://", "<script", "src="))


def test_a_board_without_draws(tmp_path):
    folder = make_challenge(tmp_path)
    save_contest(folder, replace(read_contest(folder), draws=0))
    submit(folder, sent(folder, tmp_path / "a.zip"), "a", clock=lambda: START)
    work(folder)
    (line,) = board(folder, output=tmp_path / "out")
    assert (line.low, line.rank_low, line.rank_high) == (None, 1, 1)
    assert (tmp_path / "out" / "index.html").exists()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 6))
def test_a_board_of_random_systems_has_the_order_of_loops(seed, teams):
    rng = np.random.default_rng(seed)
    reference = Reference(random_part(rng, "dev", 30, 15), random_part(rng, "test", 30, 15))
    rows, expected = [], {}
    for k in range(teams):
        made = [random_scores(rng, p, rng.uniform(0.05, 0.6)) for p in (reference.dev, reference.test)]
        found = score_scores(reference, Scores(*made), Rules(draws=20))
        expected[f"t{k}"] = slow_score(reference, Scores(*made))["acer"]
        rows.append(
            replace(
                row(k, f"t{k}", 0.0),
                scores=json.dumps(found.to_dict()),
                draws=json.dumps({"acer": found.draws.acer.tolist()}),
            )
        )
    lines = standings(rows)
    for line in lines:
        assert line.rank == 1 + sum(v < expected[line.team] - 1e-12 for v in expected.values())
        assert line.rank_low <= line.rank <= line.rank_high


def test_the_worst_label_may_rank(tmp_path):
    folder = make_challenge(tmp_path, counts=(6, 60, 90))
    for k in range(3):
        submit(folder, sent(folder, tmp_path / f"{k}.zip", k), f"team {k}", clock=lambda: START)
    work(folder)
    pooled = board(folder)
    save_contest(folder, replace(read_contest(folder), metric="acer_max"))
    lines = board(folder)
    assert [line.value for line in lines] == pytest.approx(sorted(line.acer_max for line in pooled))
    assert {line.team: line.value for line in lines} == {line.team: line.acer_max for line in pooled}
    assert all(line.low <= line.value <= line.high for line in lines)
    assert "Rank by ACER max" in (folder / "board" / "phase2" / "index.html").read_text()


def test_the_store_gives_rows_by_phase_and_number(tmp_path):
    folder = make_challenge(tmp_path)
    submit(folder, sent(folder, tmp_path / "a.zip"), "a", clock=lambda: START)
    with open_store(folder, read_contest(folder)) as store:
        assert store.submissions(phase=1) == []
        assert store.submission(1).team == "a"
