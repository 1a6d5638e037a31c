"""Answers to questions about a video: a transformer over the question's words and the objects of its frames.

Tokens: one to be read, the words, and one for each object of each frame, which carries its time among its
features. Reconstruction, in the manner of ALOE (Ding et al. 2021).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien.core.errors import ConfigError, ShapeError
from mien.data.comphy import Answer
from mien.methods.phycine.words import CHOICES, PADDING, UNTOLD, Asked, Asking, Vocabulary

_HIDDEN = 0.1
"""Weight of the regression of hidden objects."""


class Rows(NamedTuple):
    """B questions with what is seen of their videos.

    Attributes:
        words: (B, W) numbers of words.
        objects: (B, M, inputs) features of the objects of all frames.
        present: (B, M) bool: there is such an object.
        target: (B,) class, 0 or 1 of a choice, or `UNTOLD`.
        is_choice: (B,) bool.
    """

    words: Tensor
    objects: Tensor
    present: Tensor
    target: Tensor
    is_choice: Tensor


def rows_of(asked: Asked, objects: Tensor, present: Tensor, chosen: Tensor) -> Rows:
    """Chosen rows, each with the objects of its set. O(B M).

    Args:
        asked: Q rows.
        objects: (S, M, inputs) of the sets.
        present: (S, M) bool.
        chosen: (B,) numbers of rows.
    """
    numbers, rows = (asked.words, asked.target, asked.is_choice, asked.scene), chosen.cpu()
    words, target, is_choice, scene = (torch.from_numpy(n)[rows].to(objects.device) for n in numbers)
    return Rows(words, objects[scene], present[scene], target, is_choice)


class Read(NamedTuple):
    """What the net says of B rows.

    Attributes:
        classes: (B, classes) logits of answers.
        choice: (B,) logit of "correct".
        objects: (B, M, inputs) the objects as guessed from the others.
    """

    classes: Tensor
    choice: Tensor
    objects: Tensor


class AnswerNet(nn.Module):
    """Pre-norm transformer encoder with an answer's class or a choice's logit read off the first token.

    Args:
        inputs: features of an object, about unit scale; 0 = the question alone.
        words: numbers of words, `len` of a `Vocabulary`.
        classes: answers of factual questions.
        width: of a token.
        layers: of the encoder.
        heads: of its attention.
        length: longest question, in words.
        told: leading features that stay where an object is hidden, such as its time and which one it is.

    Raises:
        ConfigError: sizes that are not possible.
    """

    def __init__(
        self,
        inputs: int,
        words: int,
        classes: int,
        width: int = 64,
        layers: int = 2,
        heads: int = 4,
        length: int = 64,
        told: int = 0,
    ) -> None:
        super().__init__()
        if min(words, classes, width, layers, heads, length) < 1 or width % heads or not 0 <= told <= inputs:
            raise ConfigError(
                "AnswerNet needs sizes from 1, a width that heads divide, and told from 0 to inputs; got"
                f" words={words}, classes={classes}, width={width}, layers={layers}, heads={heads},"
                f" length={length}, told={told}, inputs={inputs}"
            )
        self.inputs, self.length, self.told = inputs, length, told
        self.first = nn.Parameter(0.02 * torch.randn(width))
        self.word = nn.Embedding(words, width, padding_idx=PADDING)
        self.place = nn.Embedding(length, width)
        self.object = nn.Linear(inputs, width) if inputs else None
        self.blank = nn.Parameter(torch.zeros(inputs - told))
        layer = nn.TransformerEncoderLayer(
            width, heads, 4 * width, dropout=0.0, batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, layers, nn.LayerNorm(width), enable_nested_tensor=False)
        self.classes, self.choice = nn.Linear(width, classes), nn.Linear(width, 1)
        self.guess = nn.Linear(width, inputs - told) if inputs > told else None

    def forward(self, words: Tensor, objects: Tensor, present: Tensor, hidden: Tensor | None = None) -> Read:
        """Reads questions. O(layers B (1 + W + M)^2 width).

        Args:
            words: (B, W) numbers of words.
            objects: (B, M, inputs); not looked at if the net has no inputs.
            present: (B, M) bool.
            hidden: (B, M) bool: only the first ``told`` features of these objects are shown.

        Raises:
            ShapeError: shapes that do not fit the net.
        """
        self._check(words, objects, present)
        places = torch.arange(words.shape[1], device=words.device)
        tokens = [self.first.expand(len(words), 1, -1), self.word(words) + self.place(places)]
        there = [words.new_ones(len(words), 1, dtype=torch.bool), words != PADDING]
        if self.object is not None:
            shown = objects if hidden is None else self._hide(objects, hidden)
            tokens.append(self.object(torch.where(present[..., None], shown, 0.0)))
            there.append(present)
        out = self.encoder(torch.cat(tokens, 1), src_key_padding_mask=~torch.cat(there, 1))
        guessed = objects[..., :0] if self.guess is None else self.guess(out[:, 1 + words.shape[1] :])
        return Read(self.classes(out[:, 0]), self.choice(out[:, 0])[:, 0], guessed)

    def _hide(self, objects: Tensor, hidden: Tensor) -> Tensor:
        shown, rest = objects[..., : self.told], objects[..., self.told :]
        return torch.cat([shown, torch.where(hidden[..., None], self.blank, rest)], -1)

    def _check(self, words: Tensor, objects: Tensor, present: Tensor) -> None:
        if words.ndim != 2 or words.shape[1] > self.length:
            raise ShapeError(f"words must be (B, up to {self.length}), got {tuple(words.shape)}")
        if self.inputs and (
            objects.shape != (*present.shape, self.inputs) or present.shape[:1] != words.shape[:1]
        ):
            raise ShapeError(
                f"objects must be (B, M, {self.inputs}) with (B, M) present for {len(words)} questions; got"
                f" {tuple(objects.shape)}, {tuple(present.shape)}"
            )

    def loss(self, rows: Rows, generator: torch.Generator, masked: float = 0.0) -> tuple[Tensor, Tensor]:
        """Loss and the share of right answers of the rows that have a target.

        Mean of cross-entropies (binary ones of choices) + 0.1 smooth L1 of the hidden objects.

        Args:
            rows: B of them.
            generator: of the choice of hidden objects, on the CPU.
            masked: share of the objects that are hidden and guessed from the others.
        """
        hidden = self._hidden(rows.present, generator, masked)
        read = self(rows.words, rows.objects, rows.present, hidden)
        told = rows.target != UNTOLD
        open_, choice = told & ~rows.is_choice, told & rows.is_choice
        classes, best = read.classes[open_], rows.target[open_]
        logit, is_right = read.choice[choice], rows.target[choice].to(read.choice)
        count = told.sum().clamp_min(1)
        loss = F.cross_entropy(classes, best, reduction="sum")
        loss = loss + F.binary_cross_entropy_with_logits(logit, is_right, reduction="sum")
        right = (classes.argmax(1) == best).sum() + ((logit > 0) == (is_right > 0)).sum()
        if hidden is None or not hidden.any():
            return loss / count, right / count
        guess = F.smooth_l1_loss(read.objects[hidden], rows.objects[hidden][:, self.told :])
        return loss / count + _HIDDEN * guess, right / count

    def _hidden(self, present: Tensor, generator: torch.Generator, masked: float) -> Tensor | None:
        if not masked or self.guess is None:
            return None
        drawn = torch.rand(present.shape, generator=generator).to(present.device)
        return (drawn < masked) & present


@torch.no_grad()
def answers(
    net: AnswerNet, asked: Asked, vocabulary: Vocabulary, objects: Tensor, present: Tensor, batch: int = 256
) -> list[str]:
    """An answer a row, as ComPhy's files have it: a class, or "correct" or "wrong".

    Args:
        net: put into evaluation.
        asked: Q rows.
        vocabulary: the net was trained with.
        objects: (S, M, inputs) of the sets.
        present: (S, M) bool.
        batch: rows at a time.
    """
    net.eval()
    found: list[str] = []
    for chosen in torch.arange(len(asked)).split(batch):
        rows = rows_of(asked, objects, present, chosen)
        read = net(rows.words, rows.objects, rows.present)
        best, right = read.classes.argmax(1).tolist(), (read.choice > 0).tolist()
        found += [
            CHOICES[r] if choice else vocabulary.answers[b]
            for b, r, choice in zip(best, right, rows.is_choice.tolist(), strict=True)
        ]
    return found


class Submission(TypedDict):
    """Arguments of `mien.data.comphy.answer_file` and `write_submission`.

    Attributes:
        questions: by number of the set.
        answer: of a number and question.
    """

    questions: dict[int, Sequence[Mapping[str, Any]]]
    answer: Answer


def submission(sets: Sequence[Asking], asked: Asked, predicted: Sequence[str]) -> Submission:
    """Answers of rows put back to their questions: ``write_submission(path, **submission(...))``. O(Q).

    Args:
        sets: that were encoded, each number once.
        asked: their rows.
        predicted: an answer a row.

    Raises:
        ShapeError: another number of answers than rows.
        ConfigError: two sets of one number.
    """
    questions = {one.number: one.questions for one in sets}
    if len(predicted) != len(asked):
        raise ShapeError(f"{len(predicted)} answers to {len(asked)} rows; one a row is needed")
    if len(questions) < len(sets):
        raise ConfigError(f"{len(sets)} sets have {len(questions)} numbers; a submission is of one split")
    places = ((sets[s].number, q, c) for s, q, c in asked.keys.tolist())
    found = dict(zip(places, predicted, strict=True))

    def answer(number: int, question: Mapping[str, Any]) -> str | list[str]:
        own = number, question["question_id"]
        if "choices" not in question:
            return found[*own, UNTOLD]
        return [found[*own, choice["choice_id"]] for choice in question["choices"]]

    return {"questions": questions, "answer": answer}
