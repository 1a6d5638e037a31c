"""Scores of answers to ComPhy's and CLEVRER's questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mien.core.errors import DataError

Scenes = Sequence[Mapping[str, Any]]
ERROR = "error"
"""The answer of a program that cannot run; wrong, whatever the truth."""
KINDS = ("factual", "predictive", "counterfactual")
_OPEN = ("factual", "descriptive")


class Mark(NamedTuple):
    """One question's result.

    Attributes:
        scene: ``scene_index``.
        question: ``question_id``.
        kind: first word of its type: "factual", "predictive", "counterfactual" ...
        right: of the answer, or of each choice.
    """

    scene: int
    question: int
    kind: str
    right: tuple[bool, ...]


def comphy_marks(answers: Scenes, truth: Scenes) -> list[Mark]:
    """Compares each question of the truth with its answer, as strings. O(questions).

    Args:
        answers: scenes with ``scene_index`` and ``questions``, each with ``question_id`` and ``answer``, or
            ``choices`` with ``choice_id`` and ``answer``.
        truth: the same, with ``question_type``.

    Raises:
        DataError: a question or choice without an answer, or a form that is not so; it names the place.
    """
    given = {key: found for key, found, _ in _questions(answers, "answers")}
    marks = []
    for (scene, question), expected, kind in _questions(truth, "truth"):
        where = f"scene {scene}, question {question}"
        if (found := given.get((scene, question))) is None:
            raise DataError(f"{where}: no answer to it; give one, {ERROR!r} if there is none")
        if found.keys() != expected.keys():
            raise DataError(f"{where}: {len(found)} answers to {len(expected)} choices; give one for each")
        right = tuple(found[c] == expected[c] != ERROR for c in sorted(expected))
        marks.append(Mark(scene, question, kind, right))
    return marks


def _questions(scenes: Scenes, what: str) -> list[tuple[tuple[int, int], dict[int, str], str]]:
    """(scene, question), answers by choice (0 for an open one), kind."""
    out = []
    for scene in scenes:
        try:
            for q in scene["questions"]:
                listed = q["choices"] if "choices" in q else [{"choice_id": 0, "answer": q["answer"]}]
                found = {int(c["choice_id"]): str(c["answer"]) for c in listed}
                out.append(((int(scene["scene_index"]), int(q["question_id"])), found, kind_of(q)))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{what}: scene {_index(scene)}: not in ComPhy's form ({error!r}); see write_submission"
            ) from None
    return out


def kind_of(question: Mapping[str, Any]) -> str:
    """First word of its type.

    >>> kind_of({"question_type": "predictive_multiple_choice"})
    'predictive'
    """
    return str(question.get("question_type", "")).lower().split("_")[0]


def _index(scene: Any) -> Any:
    return scene.get("scene_index", "?") if isinstance(scene, Mapping) else "?"


def comphy_scores(answers: Scenes, truth: Scenes) -> dict[str, float]:
    """Accuracy of open questions; of multiple choice per option, and per question (all options right).

    Args:
        answers: see `comphy_marks`.
        truth: see `comphy_marks`.

    Returns:
        ``factual``, ``predictive_option``, ``predictive_question``, ``counterfactual_option``,
        ``counterfactual_question``, and the like of other kinds that are there, in [0, 1]; NaN where nothing
        is asked.

    Raises:
        DataError: see `comphy_marks`.

    Source: Chen et al., ComPhy, ICLR 2022.

    >>> truth = [{"scene_index": 0, "questions": [
    ...     {"question_id": 0, "question_type": "Factual", "answer": "red"}]}]
    >>> comphy_scores(truth, truth)["factual"]
    1.0
    """
    by_kind: dict[str, list[tuple[bool, ...]]] = {kind: [] for kind in KINDS}
    for mark in comphy_marks(answers, truth):
        by_kind.setdefault(mark.kind, []).append(mark.right)
    scores: dict[str, float] = {}
    for kind, rows in by_kind.items():
        whole = _mean([all(r) for r in rows])
        if kind in _OPEN:
            scores[kind] = whole
        else:
            scores[f"{kind}_option"] = _mean([right for r in rows for right in r])
            scores[f"{kind}_question"] = whole
    return scores


def _mean(values: Sequence[bool]) -> float:
    return sum(values) / len(values) if values else float("nan")
