"""Three small sets of real files and what is trained on them, on any number of processes."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from mien.core.catalogue import method
from mien.core.config import evolve_all
from mien.core.protocol import Stage
from mien.data.config import PadData
from mien.data.shard_pack import pack_folder, pack_pad
from mien.engine.stages import train_recipe, train_stages
from mien.methods.gkd.protocol import CHAINS

BATCH, STEPS = 16, 5
PICTURES = 44
"""Training pictures of each set: batches of 16 leave 12, which two processes share."""
CLASSES = {"ape": 20, "bee": 12, "cat": 8, "dog": 4}
PEOPLE = 15
CAMERAS = {"rgb": 3, "depth": 1, "ir": 1}
METHODS = ("ncl", "gkd", "fm_vit")


def write(path, level, seed, channels=3, size=32):
    """Coarse noise around a level."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    coarse = rng.normal(level, 40, (8, 8, channels)).clip(0, 255).astype(np.uint8)
    Image.fromarray(coarse.repeat(size // 8, 0).repeat(size // 8, 1).squeeze()).save(path)


def write_classes(root: Path) -> Path:
    """ROOT/{train,val,test}/CLASS/*.png, long-tailed."""
    for k, (name, count) in enumerate(CLASSES.items()):
        for part, n in (("train", count), ("val", 2), ("test", 2)):
            for i in range(n):
                write(root / part / name / f"{i:02d}.png", 60 + 40 * k, hash_of("classes", part, k, i))
    return root


def write_people(root: Path) -> Path:
    """ROOT/PERSON/*.png."""
    for k in range(PEOPLE):
        for i in range(4):
            write(root / f"p{k:02d}" / f"{i}.png", 40 + 12 * k, hash_of("people", k, i))
    return root


def write_pad(root: Path) -> Path:
    """A table of live faces and attacks, and its pictures; with the repeats of live ones 44 to train on."""
    rows = []
    for split, live, attacks in (("train", 14, 22), ("dev", 4, 4), ("test", 4, 4)):
        for i in range(live + attacks):
            is_live = i < live
            names = {m: f"{split}{i:02d}.{m}.png" for m in CAMERAS}
            for c, (m, name) in enumerate(names.items()):
                write(root / name, 150 if is_live else 90, hash_of("pad", split, i, c), CAMERAS[m])
            rows.append({**names, "live": int(is_live), "split": split, "subject": f"{split}{i // 2}"})
    with open(root / "list.csv", "w", newline="") as stream:
        table = csv.DictWriter(stream, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    return root / "list.csv"


def hash_of(*names):
    from mien.core.seeds import derive

    return derive(0, *names) % 2**32


WRITERS = {"ncl": write_classes, "gkd": write_people, "fm_vit": write_pad}


def write_sets(folder: Path) -> dict[str, str]:
    """Method -> where its set lies."""
    return {name: str(make(folder / name)) for name, make in WRITERS.items()}


def pack_sets(folder: Path) -> dict[str, str]:
    """The same sets as shards of 10; method -> where they lie."""
    for name, place in write_sets(folder).items():
        if name == "fm_vit":
            pack_pad(PadData(kind="csv", root=place, convention="live1"), folder / f"{name}-shards", 10)
        else:
            pack_folder(place, folder / f"{name}-shards", 10)
    return {name: str(folder / f"{name}-shards") for name in METHODS}


def recipe_of(name, root, **changes):
    """The debug recipe on a set of files, for a few epochs."""
    data = {
        "ncl": {"data.kind": "folder", "data.channels": 3, "data.mean": (0.5,) * 3, "data.std": (0.5,) * 3},
        "gkd": {"data.kind": "folder", "data.people": 3000, "data.val_people": 2, "data.test_people": 2},
        "fm_vit": {"data.kind": "csv", "data.convention": "live1"}
        | dict.fromkeys(("data.subjects", "data.each", "data.devices")),
    }[name]
    own = {"ncl": {"method.n_hard": 2}, "gkd": {}, "fm_vit": {}}[name]
    steps = {"schedule.steps": STEPS, "schedule.batch": BATCH, "schedule.checkpoint_every": 0}
    recipe = method(name).load("config").RECIPES["debug"]()
    return evolve_all(recipe, {**data, **own, **steps, "data.root": root, **changes})


def teacher_of(recipe):
    """The teacher's recipe for a student's, on the same data and schedule."""
    first = CHAINS["gkd-debug"][0].recipe
    return replace(first, data=recipe.data, optim=recipe.optim, schedule=recipe.schedule)


class Recorded:
    """A source that remembers the places it gave, step by step."""

    def __init__(self, source):
        self.source, self.steps = source, []

    def steps_per_epoch(self, world):
        return self.source.steps_per_epoch(world)

    def stream(self, start, rank, world):
        for batches in self.source.stream(start, rank, world):
            copies = getattr(self.source, "copies", 1)
            self.steps.append([int(i) for b in batches for i in b.index[: len(b) // copies]])
            yield batches


def train_from_shards(name, root, folder):
    """Trains one epoch from shards; for each step, the places that this process saw."""
    kind = {"data.kind": "shards", "data.root": root, "data.buffer": 8, "schedule.steps": 3}
    recipe = recipe_of(name, root, **kind, **({"data.convention": None} if name == "fm_vit" else {}))
    recipe = teacher_of(recipe) if name == "gkd" else recipe
    experiment = method(name).load("task").build(recipe, {})
    recorded = Recorded(experiment.source)
    train_recipe(method(name), recipe, folder, experiment=replace(experiment, source=recorded))
    return recorded.steps[:3]


def train(name, root, folder, **changes):
    """Trains a method's debug chain in a folder."""
    recipe = recipe_of(name, root, **changes)
    if name != "gkd":
        train_recipe(method(name), recipe, folder)
        return
    chain = (Stage("teacher", teacher_of(recipe)), Stage("gkd", recipe, {"teacher": "teacher"}))
    train_stages(method(name), chain, folder, {})
