from __future__ import annotations

import copy
import math

import pytest

from mien.core.errors import DataError
from mien.metrics.comphy import comphy_marks, comphy_scores


def open_question(number, answer):
    return {"question_id": number, "question_type": "Factual", "answer": answer}


def choice_question(number, kind, *answers):
    choices = [{"choice_id": i, "answer": a} for i, a in enumerate(answers)]
    return {"question_id": number, "question_type": f"{kind}_multiple_choice", "choices": choices}


TRUTH = [
    {"scene_index": 7, "questions": [
        open_question(0, "red"), open_question(1, "2"),
        choice_question(2, "predictive", "correct", "wrong"),
        choice_question(3, "counterfactual", "wrong", "wrong", "correct", "correct"),
    ]},
    {"scene_index": 9, "questions": [
        open_question(0, "yes"), open_question(1, "no"),
        choice_question(2, "counterfactual", "correct", "wrong"),
    ]},
]  # fmt: skip


def test_scores_by_hand():
    answers = copy.deepcopy(TRUTH)
    answers[0]["questions"][0]["answer"] = "error"
    answers[0]["questions"][2]["choices"][1]["answer"] = "correct"
    answers[0]["questions"][3]["choices"][0]["answer"] = "error"
    assert comphy_scores(answers, TRUTH) == {
        "factual": 3 / 4,
        "predictive_option": 1 / 2,
        "predictive_question": 0,
        "counterfactual_option": 5 / 6,
        "counterfactual_question": 1 / 2,
    }


def test_the_truth_is_right_and_order_does_not_matter():
    answers = copy.deepcopy(TRUTH[::-1])
    answers[1]["questions"].reverse()
    answers[1]["questions"][0]["choices"].reverse()
    assert set(comphy_scores(answers, TRUTH).values()) == {1.0}
    marks = comphy_marks(answers, TRUTH)
    assert [(m.scene, m.question) for m in marks] == [(7, 0), (7, 1), (7, 2), (7, 3), (9, 0), (9, 1), (9, 2)]
    assert marks[3] == (7, 3, "counterfactual", (True,) * 4)


def test_error_is_wrong_even_where_the_truth_says_it():
    one = [{"scene_index": 0, "questions": [open_question(0, "error")]}]
    assert comphy_scores(one, one)["factual"] == 0


def test_what_is_not_asked_is_nan_and_other_kinds_are_scored():
    one = [{"scene_index": 0, "questions": [
        {"question_id": 0, "question_type": "descriptive", "answer": "4"},
        choice_question(1, "explanatory", "wrong", "correct"),
    ]}]  # fmt: skip
    scores = comphy_scores(one, one)
    assert (scores["descriptive"], scores["explanatory_option"], scores["explanatory_question"]) == (1, 1, 1)
    assert all(math.isnan(scores[k]) for k in ("factual", "predictive_option", "counterfactual_question"))


def test_numbers_are_compared_as_the_strings_they_print():
    answers = [{"scene_index": 0, "questions": [open_question(0, 2)]}]
    truth = [{"scene_index": 0, "questions": [open_question(0, "2")]}]
    assert comphy_scores(answers, truth)["factual"] == 1


def test_missing_and_misshapen_answers_are_named():
    with pytest.raises(DataError, match="scene 9, question 0: no answer to it"):
        comphy_scores(TRUTH[:1], TRUTH)
    short = copy.deepcopy(TRUTH)
    del short[0]["questions"][3]["choices"][2]
    with pytest.raises(DataError, match="scene 7, question 3: 3 answers to 4 choices"):
        comphy_scores(short, TRUTH)
    broken = copy.deepcopy(TRUTH)
    del broken[1]["questions"][0]["answer"]
    with pytest.raises(DataError, match=r"answers: scene 9: not in ComPhy's form \(KeyError\('answer'\)\)"):
        comphy_scores(broken, TRUTH)
    with pytest.raises(DataError, match="answers: scene \\?"):
        comphy_scores(["x"], TRUTH)
