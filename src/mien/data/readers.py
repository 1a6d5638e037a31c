"""Kind of set -> its reader: a table of the user's sets, and one of those at hand."""

from __future__ import annotations

from collections.abc import Callable

from mien.data.cifar import cifar_splits
from mien.data.config import ClassificationData
from mien.data.folder import folder_splits
from mien.data.idx import idx_splits
from mien.data.inat import inat_splits
from mien.data.jsonform import json_splits
from mien.data.labelled import Splits
from mien.data.lists import imagenet_splits, places_splits
from mien.data.shard_images import shard_splits

READERS: dict[str, Callable[[ClassificationData], Splits]] = {
    "idx": idx_splits,
    "cifar10_lt": cifar_splits,
    "cifar100_lt": cifar_splits,
    "imagenet_lt": imagenet_splits,
    "places_lt": places_splits,
    "inat2018": inat_splits,
    "json": json_splits,
    "folder": folder_splits,
    "shards": shard_splits,
}


def read_splits(config: ClassificationData) -> Splits:
    """Training, validation and test pictures of any kind of set.

    Raises:
        DataError: the set is missing or damaged.
    """
    if config.kind in READERS:
        return READERS[config.kind](config)
    from mien.data import bundled
    from mien.data.glyphs import glyphs_splits
    from mien.data.longtail_people import people_splits

    at_hand = {
        "fashion_lt": bundled.fashion_lt_splits,
        "people": people_splits,
        "glyphs_lt": glyphs_splits,
        "debug": bundled.debug_splits,
    }
    return at_hand[config.kind](config)
