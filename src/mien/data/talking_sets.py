"""Talking heads of a config: made ones, or the user's."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from mien.data.config import TalkingData
from mien.data.identity_numbers import person_numbers, star_numbers
from mien.data.talking import TalkingHeads, TalkingSplits, kept_at, talking_heads
from mien.synth.made_sets import TalkingSet


def _counts(data: TalkingData) -> tuple[int, int, int]:
    return data.people, data.val_people, data.test_people


def is_drawn(data: TalkingData) -> bool:
    """Whether the pictures are there, or would first be drawn."""
    if data.kind != "rendered":
        return True
    return (kept_at(_settings(data)) / "names.npy").is_file()


def read_talking(data: TalkingData) -> TalkingSplits:
    """Training, validation and test people; drawn when first asked for.

    Raises:
        ConfigError: no root where one is needed.
        DataError: files that cannot be read.
    """
    return talking_heads(*_counts(data), data.moments, data.views, data.size, data.set_seed,
                         data.workers or os.cpu_count() or 1)  # fmt: skip


def _settings(data: TalkingData) -> TalkingSet:
    return TalkingSet(sum(_counts(data)), data.moments, data.views, data.size, data.set_seed)


def identity_numbers(data: TalkingData, heads: TalkingHeads) -> NDArray[np.float32] | None:
    """(P, K) numbers that the people are made of; None where they are not known."""
    made = {"rendered": person_numbers, "debug": person_numbers, "stars": star_numbers}
    return made[data.kind](heads.people) if data.kind in made else None
