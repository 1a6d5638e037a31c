"""A small set for a contest to try things on: rendered people before one camera, live and as attacks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from mien.challenge.items import SPLITS, Item, picture_quality
from mien.core import io
from mien.core.config import check_range

PEOPLE = (1, 4, 7)
"""Of the train, dev and test split."""
EACH = 4
"""Pictures of a person."""


def made_items(
    folder: str | Path,
    people: tuple[int, int, int] = PEOPLE,
    *,
    size: int = 64,
    seed: int = 0,
    watch: Callable[[int, int], None] = lambda done, of: None,
) -> dict[str, list[Item]]:
    """Draws the pictures, four of each person, and lists them for `mien.challenge.init`.

    A track is a person and what they do. Some 0.4 s a picture.

    Args:
        folder: for the pictures.
        people: of each split.
        size: pixels a side.
        seed: same seed, same pictures.
        watch: called with (done, all) before each person.

    Raises:
        ConfigError: a split without people.
    """
    from mien.synth.attacks import SPECIES
    from mien.synth.made_sets import PadSet

    for split, count in zip(SPLITS, people, strict=True):
        check_range("made_items", split, count, 1, 10_000)
    made = PadSet(identities=sum(people), per_identity=EACH, size=size, seed=seed)
    kinds = ("live", *SPECIES)
    out: dict[str, list[Item]] = {split: [] for split in SPLITS}
    owner = [split for split, count in zip(SPLITS, people, strict=True) for _ in range(count)]
    for number, split in enumerate(owner):
        watch(number, len(owner))
        for sample in made.samples(number):
            path = Path(folder) / f"{number:03d}_{sample.name}.png"
            io.write_bytes(path, sample.files["png"])
            label = json.loads(sample.files["json"])
            out[split].append(
                Item(
                    path,
                    kinds.index(label["species"]),
                    f"{number:03d} {label['species']}",
                    f"camera {label['device']}",
                    "made",
                    picture_quality(path),
                )
            )
    return out
