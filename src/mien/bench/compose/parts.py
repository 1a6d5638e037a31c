"""IGC-Net x GKD: is it the shape of a face, or its texture, that the distilled recogniser goes by?"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from mien.bench.compose.faces import ShippedRecogniser, heads
from mien.data.capsule_files import CapsuleSet
from mien.data.surveil_loader import as_floats
from mien.engine.task import Measured
from mien.engine.zoo import load_folder
from mien.methods.igc_net.edits import Level
from mien.methods.igc_net.evaluate import restore
from mien.methods.igc_net.importance import PartImportance, part_importance
from mien.methods.igc_net.task import configs
from mien.metrics import by_cluster

CAPSULES = "igc_net/small"
PEOPLE = 60
FRONTAL = 25.0
"""Largest yaw, degrees, of the pictures that are looked at."""


@lru_cache(1)
def faces_of(seed: int, people: int = PEOPLE) -> tuple[CapsuleSet, NDArray[np.int64]]:
    """Pictures from nearly the front, of the side that the capsule net was trained on, and whose each is.

    Persons are numbered 0 .. people - 1; some may have no such picture.
    """
    _, data = configs(load_folder(CAPSULES).recipe)
    faces = heads(data.size, people, seed)
    assert faces.yaw is not None
    assert faces.identity is not None
    person = np.unique(faces.identity, return_inverse=True)[1]
    front = np.flatnonzero(np.abs(faces.yaw) <= FRONTAL)
    return faces.some(front), person[front]


@lru_cache(4)
def importance(seed: int, recogniser: str, level: Level, people: int = PEOPLE) -> PartImportance:
    """What the recogniser loses when a part of every face becomes the mean one. O(parts n)."""
    faces, _ = faces_of(seed, people)
    net = ShippedRecogniser(recogniser)
    assert faces.landmarks is not None
    return part_importance(
        net.embedder(faces.landmarks), as_floats(faces.pictures), level, net=restore(load_folder(CAPSULES))
    )


def parts(seed: int, level: Level, by: str, people: int = PEOPLE) -> Measured:
    """Loss of similarity by part, and as ``drop`` its mean over parts in units of people.

    ``like_teacher``: correlation over parts of this recogniser's losses with those of its teacher.

    Args:
        seed: of the people.
        level: "shape" or "albedo".
        by: "small", or "alone" and "teacher", which GKD ships beside it.
        people: so many.
    """
    found, (_, person) = importance(seed, f"gkd/{by}", level, people), faces_of(seed, people)
    metrics = {f"part_{m}": float(v) for m, v in zip(found.parts, found.drop, strict=True)}
    if by != "teacher":
        metrics["like_teacher"] = _alike(found.drop, importance(seed, "gkd/teacher", level, people).drop)
    drop = found.images.mean(0)
    return Measured(metrics | {"drop": float(drop.mean())}, {"drop": by_cluster(drop, person, people)})


def _alike(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Pearson's correlation; 0 where one is constant."""
    return float(torch.nan_to_num(torch.corrcoef(torch.from_numpy(np.stack([a, b])))[0, 1]))
