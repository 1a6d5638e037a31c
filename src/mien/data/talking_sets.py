"""Talking heads of a config: made ones, or the user's."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mien.core.errors import ConfigError
from mien.data.config import TalkingData
from mien.data.identity_numbers import person_numbers, star_numbers
from mien.data.talking import TalkingHeads, TalkingSplits, heads_in_memory, is_kept, talking_heads
from mien.data.talking_hdtf import hdtf_heads
from mien.synth.orbit import orbit_pictures
from mien.synth.star_heads import star_pictures
from mien.synth.talking_set import StarHeadSet, TalkingSet


def is_drawn(data: TalkingData) -> bool:
    """Whether the pictures are there, or would first be drawn."""
    return data.kind in ("debug", "hdtf") or is_kept(_settings(data))


def read_talking(data: TalkingData) -> TalkingSplits:
    """Training, validation and test people; made ones are drawn when first asked for.

    Raises:
        ConfigError: no root where one is needed.
        DataError: files that cannot be read.
    """
    if data.kind == "hdtf":
        return hdtf_heads(data.folder(), data.size, data.moments, data.val_people, data.set_seed,
                          resolution=data.resolution, backdrop=data.backdrop)  # fmt: skip
    parts = (data.people, data.val_people, data.test_people)
    if data.kind == "debug":
        return heads_in_memory(_settings(data), parts)
    return talking_heads(_settings(data), parts, data.workers)


def _settings(data: TalkingData) -> TalkingSet:
    """Everybody of a made set."""
    kind = StarHeadSet if data.kind == "stars" else TalkingSet
    people = data.people + data.val_people + data.test_people
    return kind(people, data.moments, data.views, data.size, data.set_seed)


def redraw(
    data: TalkingData,
    heads: TalkingHeads,
    person: int,
    expressions: NDArray[np.float32],
    cameras: NDArray[np.float32],
    size: int,
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """More true pictures of a made person, with any expressions from any cameras. O(N size^2).

    Args:
        data: what ``heads`` are of.
        heads: the set.
        person: which of it.
        expressions: (N, C) rows.
        cameras: (N, 25).
        size: S, pixels a side.

    Returns:
        (N, S, S, 4) as `TalkingHeads.images`, and (N, 68, 3) landmarks.

    Raises:
        ConfigError: people who were filmed.
    """
    if data.kind == "hdtf":
        raise ConfigError("data.kind='hdtf': people who were filmed cannot be drawn again; use a made set")
    draw = star_pictures if data.kind == "stars" else orbit_pictures
    seen = draw(heads.people[person], expressions, cameras, size)
    return seen.images, seen.points


def identity_numbers(data: TalkingData, heads: TalkingHeads) -> NDArray[np.float32] | None:
    """(P, K) numbers that the people are made of; None where they are not known."""
    if data.kind == "hdtf":
        return None
    return (star_numbers if data.kind == "stars" else person_numbers)(heads.people)
