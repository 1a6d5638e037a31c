"""Faces of many people for training, validation and test: what a `FaceData` config names."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from mien.core.seeds import derive
from mien.data.config import FaceData
from mien.data.labelled import ArrayImages, LabelledImages
from mien.data.rendered_faces import masked, rendered_faces


@dataclass(frozen=True)
class FaceSplits:
    """Three sets of people who do not overlap.

    Attributes:
        train: pictures of the training identities.
        val: of the validation identities.
        test: of the test identities.
        fingerprint: of everything that training and evaluation see.
        landmarks: five points (N, 5, 2) of each picture where they are known, by split name, pixels.
        real: photographs, not renders.
        note: what it is, in a few words.
    """

    train: LabelledImages
    val: LabelledImages
    test: LabelledImages
    fingerprint: str
    landmarks: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    real: bool = False
    note: str = "rendered people"


def read_faces(data: FaceData) -> FaceSplits:
    """The people of a data config.

    Raises:
        ConfigError: a setting that does not fit the kind.
        DataError: a user's copy is missing or damaged.
    """
    if data.kind == "debug":
        return debug_faces(data)
    counts = (data.people, data.val_people, data.test_people)
    made = rendered_faces(*counts, data.per_identity, data.size, data.set_seed)
    splits = FaceSplits(made.train, made.val, made.test, made.fingerprint, made.landmarks)
    return without_background(splits) if data.look == "masked" else splits


def without_background(faces: FaceSplits) -> FaceSplits:
    """The same people in grey, behind an oval. O(pixels)."""

    def plain(s: LabelledImages) -> LabelledImages:
        images = np.stack(s.pictures(range(len(s))))
        return ArrayImages(masked(images), s.targets, s.classes, s.keys)

    return replace(
        faces,
        train=plain(faces.train),
        val=plain(faces.val),
        test=plain(faces.test),
        fingerprint=f"{faces.fingerprint}-masked",
    )


def debug_faces(data: FaceData) -> FaceSplits:
    """Blurred noise, the same for all pictures of a person but for a little more noise: for checks only."""
    counts = {"train": data.people, "val": data.val_people, "test": data.test_people}

    def draw(name: str) -> ArrayImages:
        people = counts[name]
        rng = np.random.default_rng(derive(data.set_seed, "debug faces", name))
        coarse = rng.uniform(0, 255, (people, 1, 4, 4, 3))
        fine = coarse + rng.normal(0, 25, (people, data.per_identity, 4, 4, 3))
        images = fine.reshape(-1, 4, 4, 3).clip(0, 255).astype(np.uint8)
        side = -(-data.size // 4)
        images = images.repeat(side, 1).repeat(side, 2)[:, : data.size, : data.size]
        labels = np.repeat(np.arange(people), data.per_identity)
        return ArrayImages(images, labels, [f"{name}{n}" for n in range(people)])

    train, val, test = map(draw, counts)
    joined = "-".join(s.fingerprint for s in (train, val, test))
    return FaceSplits(train, val, test, joined, note="made patterns")
