"""Questions as numbers, and numbers as answers. Free of torch.

A factual question is one row with a class as its target; a question with choices is one row a choice, the
question's words, a separator and the choice's words, with 1 for "correct" and 0 for "wrong".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mien.core.config import suggest
from mien.core.errors import DataError
from mien.metrics.comphy import KINDS, kind_of

Ints = NDArray[np.int64]
PADDING, SEPARATOR, FIRST = 0, 1, 2
"""Numbers that are no words, and the number of the first word."""
CHOICES = ("wrong", "correct")
"""Answers to a choice by target."""
UNTOLD = -1
"""Target of an answer that is not told, or never seen in training; key of a row without a choice."""


class Asking(Protocol):
    """A set with questions, such as `mien.data.PhysicalSet`."""

    @property
    def number(self) -> int:
        """Of the set in its split."""

    @property
    def questions(self) -> Sequence[Mapping[str, Any]]:
        """As ComPhy's files hold them."""


@dataclass(frozen=True, eq=False)
class Asked:
    """Q rows of questions.

    Attributes:
        words: (Q, W) numbers of words, `PADDING` at the end.
        kind: (Q,) place in `mien.metrics.comphy.KINDS`.
        target: (Q,) class of the answer, or place in `CHOICES`; `UNTOLD` where there is none.
        keys: (Q, 3) place of the set in its list, ``question_id``, ``choice_id`` or `UNTOLD`.
    """

    words: Ints
    kind: Ints
    target: Ints
    keys: Ints

    def __len__(self) -> int:
        return len(self.words)

    @property
    def scene(self) -> Ints:
        """(Q,) place of the set in its list."""
        return self.keys[:, 0]

    @property
    def is_choice(self) -> NDArray[np.bool_]:
        """(Q,) the row is a choice."""
        return np.asarray(self.keys[:, 2] != UNTOLD)


@dataclass(frozen=True)
class Vocabulary:
    """What is known of language: words of questions, and answers of factual ones.

    Attributes:
        words: sorted; a word's number is `FIRST` + its place.
        answers: sorted; an answer's class is its place.
    """

    words: tuple[str, ...]
    answers: tuple[str, ...]

    @classmethod
    def of(cls, sets: Iterable[Asking], also: Iterable[str] = ()) -> Vocabulary:
        """Of training sets. O(words).

        Args:
            sets: whose questions and answers are known.
            also: more texts whose words are known.
        """
        asked = [q for one in sets for q in one.questions]
        known = (word for text in (*texts(asked), *also) for word in split(text))
        answers = {str(q["answer"]) for q in asked if "answer" in q}
        return cls(tuple(sorted(set(known))), tuple(sorted(answers)))

    @classmethod
    def from_dict(cls, values: Mapping[str, Sequence[str]]) -> Vocabulary:
        """What `to_dict` gave.

        Raises:
            DataError: it is something else.
        """
        try:
            return cls(tuple(values["words"]), tuple(values["answers"]))
        except (KeyError, TypeError) as error:
            raise DataError(
                f"no vocabulary of words and answers ({error!r}); train the model again"
            ) from None

    def to_dict(self) -> dict[str, list[str]]:
        """Plain values."""
        return {"words": list(self.words), "answers": list(self.answers)}

    def __len__(self) -> int:
        """Numbers in use, those that are no words among them."""
        return FIRST + len(self.words)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {word: FIRST + place for place, word in enumerate(self.words)}

    @cached_property
    def _classes(self) -> dict[str, int]:
        return {answer: place for place, answer in enumerate(self.answers)}

    def encode(self, sets: Sequence[Asking]) -> Asked:
        """The questions of sets, in their order. O(words).

        Raises:
            DataError: an unknown word, kind of question or answer to a choice; it names the place.
        """
        rows: list[list[int]] = []
        numbers: list[tuple[int, ...]] = []
        for scene, one in enumerate(sets):
            for question in one.questions:
                where = f"set {one.number}, question {question['question_id']}"
                kind = _place(kind_of(question), KINDS, f"{where}: kind of question")
                for text, choice, target in self._rows(question, where):
                    rows.append(text)
                    numbers.append((kind, target, scene, question["question_id"], choice))
        words = np.full((len(rows), max(map(len, rows), default=0)), PADDING, np.int64)
        for filled, text in zip(words, rows, strict=True):
            filled[: len(text)] = text
        columns = np.array(numbers, np.int64).reshape(-1, 5)
        return Asked(words, columns[:, 0], columns[:, 1], columns[:, 2:])

    def _rows(self, question: Mapping[str, Any], where: str) -> Iterator[tuple[list[int], int, int]]:
        """Words, ``choice_id`` and target of each row."""
        own = self._text(question["question"], where)
        if "choices" not in question:
            yield own, UNTOLD, self._classes.get(str(question.get("answer")), UNTOLD)
            return
        for choice in question["choices"]:
            here = f"{where}, choice {choice['choice_id']}"
            target = _place(choice["answer"], CHOICES, f"{here}: answer") if "answer" in choice else UNTOLD
            text = [*own, SEPARATOR, *self._text(choice["choice"], here)]
            yield text, choice["choice_id"], target

    def _text(self, text: str, where: str) -> list[int]:
        words = split(text)
        for place, word in enumerate(words):
            if word not in self._numbers:
                hint = suggest(word, list(self.words))
                raise DataError(
                    f"{where}: word {place + 1}, {word!r}, is not in the training questions{hint}"
                )
        return [self._numbers[word] for word in words]


def split(text: str) -> list[str]:
    """Lower case words; signs part them.

    >>> split("Is the red cube heavier?")
    ['is', 'the', 'red', 'cube', 'heavier']
    """
    return re.findall(r"\w+", text.lower())


def texts(questions: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """The texts of questions and of their choices."""
    for question in questions:
        yield question["question"]
        yield from (choice["choice"] for choice in question.get("choices", ()))


def _place(word: str, known: Sequence[str], where: str) -> int:
    if word not in known:
        raise DataError(f"{where} is {word!r}; one of {', '.join(known)} is needed")
    return known.index(word)
