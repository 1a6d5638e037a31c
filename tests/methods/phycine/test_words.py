"""Questions become numbers and find back to their sets; what is not known is said."""

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from mien.core.errors import DataError
from mien.methods.phycine.words import FIRST, PADDING, SEPARATOR, UNTOLD, Vocabulary, split, texts
from mien.synth.comphy_questions import QuestionGenerator
from mien.synth.comphy_set import draw_set


def factual(text, answer=None, number=0):
    question = {"question_id": number, "question": text, "question_type": "Factual"}
    return question if answer is None else {**question, "answer": answer}


def choices(text, *listed, number=1, kind="predictive_multiple_choice"):
    told = [
        {"choice_id": i, "choice": c} | ({} if a is None else {"answer": a})
        for i, (c, a) in enumerate(listed)
    ]
    return {"question_id": number, "question": text, "question_type": kind, "choices": told}


def asking(number, *questions):
    return SimpleNamespace(number=number, questions=questions)


TRAIN = [
    asking(7, factual("Is the red cube heavy?", "yes")),
    asking(8, factual("Is it?", "no"), choices("What happens?", ("The cube", "wrong"), ("It", "correct"))),
]
KNOWN = Vocabulary.of(TRAIN)


def read(row):
    """Numbers back to words."""
    names = {PADDING: "", SEPARATOR: "|"} | {FIRST + i: w for i, w in enumerate(KNOWN.words)}
    return " ".join(names[n] for n in row.tolist()).strip()


def test_the_vocabulary_is_what_training_sets_say():
    assert KNOWN.words == ("cube", "happens", "heavy", "is", "it", "red", "the", "what")
    assert KNOWN.answers == ("no", "yes")
    assert len(KNOWN) == FIRST + 8
    assert Vocabulary.of(TRAIN[:1], also=["A BLUE cube."]).words[:3] == ("a", "blue", "cube")


def test_rows_hold_words_targets_and_keys():
    asked = KNOWN.encode(TRAIN)
    assert [read(row) for row in asked.words] == [
        "is the red cube heavy",
        "is it",
        "what happens | the cube",
        "what happens | it",
    ]
    assert asked.words.shape == (4, 5)
    assert asked.target.tolist() == [1, 0, 0, 1]
    assert asked.kind.tolist() == [0, 0, 1, 1]
    assert asked.scene.tolist() == [0, 1, 1, 1]
    assert asked.is_choice.tolist() == [False, False, True, True]
    assert asked.keys.tolist() == [[0, 0, UNTOLD], [1, 0, UNTOLD], [1, 1, 0], [1, 1, 1]]


def test_answers_that_are_not_told_or_new_have_no_target():
    asked = KNOWN.encode(
        [asking(0, factual("Is it?"), factual("Is it?", "red"), choices("Is it?", ("It", None)))]
    )
    assert asked.target.tolist() == [UNTOLD] * 3


def test_nothing_asked_is_no_rows():
    asked = KNOWN.encode([asking(0)])
    assert (len(asked), asked.words.shape, asked.keys.shape) == (0, (0, 0), (0, 3))


@pytest.mark.parametrize(
    ("question", "said"),
    [
        (factual("Is the red rube heavy?"), "set 3, question 0: word 4, 'rube', .* did you mean 'cube'"),
        (
            choices("Is it?", ("It", None), ("It explodes", None)),
            "set 3, question 1, choice 1: word 2, 'explodes'",
        ),
        (
            choices("Is it?", ("It", "perhaps")),
            "question 1, choice 0: answer is 'perhaps'; one of wrong, correct",
        ),
        (choices("Is it?", ("It", None), kind="odd"), "question 1: kind of question is 'odd'"),
    ],
)
def test_what_is_not_known_is_named_with_its_place(question, said):
    with pytest.raises(DataError, match=said):
        KNOWN.encode([asking(3, question)])


def test_a_vocabulary_comes_back_from_a_file():
    assert Vocabulary.from_dict(json.loads(json.dumps(KNOWN.to_dict()))) == KNOWN
    with pytest.raises(DataError, match="no vocabulary"):
        Vocabulary.from_dict({"words": []})


def test_signs_and_capitals_are_no_words():
    assert split("If it were 5, which?") == ["if", "it", "were", "5", "which"]
    assert list(texts(TRAIN[1].questions)) == ["Is it?", "What happens?", "The cube", "It"]


def test_made_questions_are_all_encoded():
    sets = []
    for number in range(4):
        drawn = draw_set(number)
        sets.append(asking(number, *QuestionGenerator(drawn.scene).generate(each=2)))
    asked = Vocabulary.of(sets).encode(sets)
    rows = sum(len(q.get("choices", "1")) for s in sets for q in s.questions)
    assert len(asked) == rows > 80
    assert asked.target.min() >= 0
    assert set(asked.kind.tolist()) == {0, 1, 2}


def test_words_need_no_torch():
    code = "import sys, mien.methods.phycine.words; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
