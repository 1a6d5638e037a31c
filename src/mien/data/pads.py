"""Presentations of a recipe: made, or read from the user's copy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mien.core.errors import DataError
from mien.core.seeds import derive
from mien.data.config import PadData
from mien.data.pad_images import PadArrays, PadLabels, PadSplits
from mien.data.pad_user_sets import check_classes, user_pad
from mien.data.rendered_pad import EQUAL_PARTS, PadPlan, is_drawn, presentations, rendered_pad


def plan_of(data: PadData) -> PadPlan:
    """Sizes of a made set."""
    given = {name: v for name in ("subjects", "each", "devices") if (v := getattr(data, name)) is not None}
    return replace(PadPlan(size=data.size, seed=data.set_seed), **given)


def read_pad(data: PadData) -> PadSplits:
    """The presentations of a config.

    Raises:
        ConfigError: no root, or a protocol that the set does not have.
        DataError: the copy is missing or damaged or fails a check (see `user_pad`), or has no attacks of an
            ``unseen`` species, or no others.
    """
    if data.kind == "rendered":
        splits = rendered_pad(plan_of(data))
    elif data.kind == "debug":
        splits = debug_pad(plan_of(data))
    else:
        splits = user_pad(data)
    if data.unseen:
        splits = without_unseen(splits, data.unseen)
        for name in ("train", "dev"):
            check_classes(f"{name} without {', '.join(data.unseen)}", splits.get(name).labels.live)
    return splits


def further_people(data: PadData, people: int) -> PadArrays:
    """Presentations of people that no split has, before the test devices: a larger test set.

    O(people) presentations are drawn when first asked for, 0.1 to 0.2 s of a core each.

    Raises:
        DataError: the set is the user's, or the cache holds something else.
    """
    plan = plan_of(data)
    if data.kind == "debug":
        return _noise(plan, "further", people, plan.each[2])
    if data.kind != "rendered":
        raise DataError(f"data.kind={data.kind!r} has no further people; made sets (rendered, debug) have")
    return presentations(plan.further(people), plan.size)


def are_drawn(data: PadData) -> bool:
    """Whether `read_pad` would read, and not draw for minutes."""
    return data.kind != "rendered" or is_drawn(plan_of(data))


def without_unseen(splits: PadSplits, unseen: tuple[str, ...]) -> PadSplits:
    """Training and development lose some species; the test set keeps all, ``unseen`` has live and these."""
    return replace(
        splits,
        train=splits.train.without_species(unseen),
        dev=splits.dev.without_species(unseen),
        also={**splits.also, "unseen": splits.test.only_species(unseen)},
        fingerprint=f"{splits.fingerprint}-{derive(0, *sorted(unseen)) % 10**6:06d}",
    )


def debug_pad(plan: PadPlan) -> PadSplits:
    """Noise with a trace of the label in each modality: for checks only."""
    sizes = zip(("train", "dev", "test"), plan.subjects, plan.each, strict=True)
    train, dev, test = (_noise(plan, name, people, each) for name, people, each in sizes)
    mark = "-".join(s.fingerprint for s in (train, dev, test))
    return PadSplits(train, dev, test, mark, {"seen": test}, note="made noise")


def _noise(plan: PadPlan, name: str, people: int, each: int) -> PadArrays:
    """A split of `debug_pad`."""
    rng = np.random.default_rng(derive(plan.seed, "debug pad", name))
    count = people * each
    species = np.where(np.arange(count) % 2 == 0, "live", rng.choice(EQUAL_PARTS, count))
    level = np.where(species == "live", 150, 90)[:, None, None, None]
    shapes = {"rgb": 3, "depth": 1, "ir": 1}
    images = {
        m: (level + rng.normal(0, 40, (count, plan.size, plan.size, c))).clip(0, 255).astype(np.uint8)
        for m, c in shapes.items()
    }
    who = [f"{name}{n // each}" for n in range(count)]
    return PadArrays(
        images, PadLabels(species, np.array(who), np.full(count, name), np.arange(count, dtype=np.uint64))
    )
