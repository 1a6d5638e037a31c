"""Clothed people of a config: made ones, or the user's."""

from __future__ import annotations

from typing import NamedTuple

from mien.core.errors import ConfigError
from mien.data.clothed import ClothedSplits, clothed_in_memory, clothed_people, is_kept
from mien.data.clothed_loader import ClothedLoader, ClothedSource, Stage
from mien.data.config import USER_CLOTHED, ClothedData
from mien.data.render_people import read_render_people
from mien.data.thuman import read_thuman
from mien.synth.clothed_set import CapsuleSet, ClothedSet


class ClothedSources(NamedTuple):
    """Pictures to train, validate and test with; validation is None where the set has none."""

    train: ClothedSource
    val: ClothedSource | None
    test: ClothedSource


def is_drawn(data: ClothedData) -> bool:
    """Whether the people are there, or would first be drawn."""
    return data.kind != "clothed" or is_kept(clothed_settings(data))


def read_clothed(data: ClothedData) -> ClothedSplits:
    """Made training, validation and test people; drawn when first asked for.

    Raises:
        ConfigError: a user's set, which is read by `clothed_sources`.
        DataError: the cache is damaged.
    """
    if data.kind in USER_CLOTHED:
        raise ConfigError(f"data.kind={data.kind!r} is not made; its pictures are read one by one")
    parts = (data.people, data.val_people, data.test_people)
    if data.kind == "debug":
        return clothed_in_memory(clothed_settings(data), parts)
    return clothed_people(clothed_settings(data), parts, data.workers)


def clothed_sources(data: ClothedData) -> ClothedSources:
    """Pictures of any kind for `ClothedLoader`.

    Raises:
        ConfigError: no root where one is needed.
        DataError: files that cannot be read.
    """
    if data.kind == "thuman":
        return ClothedSources(*read_thuman(data.folder()))
    if data.kind in USER_CLOTHED:
        train, test = read_render_people(data.folder(), data.kind)
        return ClothedSources(train, None, test)
    splits = read_clothed(data)
    return ClothedSources(splits.train, splits.val, splits.test)


def clothed_loader(
    data: ClothedData, source: ClothedSource, stage: Stage, batch: int, seed: int, *, body: bool = False
) -> ClothedLoader:
    """The training stream of a stage; ``body``: sdf batches tell of the given body."""
    counts = (data.surface, data.near, data.box)
    flip = data.flip and stage != "hyper"
    return ClothedLoader(source, batch, seed, stage, counts, flip, data.workers, body)


def clothed_settings(data: ClothedData) -> ClothedSet:
    """Everybody of a made set."""
    kind = CapsuleSet if data.kind == "debug" else ClothedSet
    people = data.people + data.val_people + data.test_people
    return kind(people, data.pictures, data.size, data.set_seed, data.test_people, data.points)
