"""Faces of many people for training, validation and test: what a `FaceData` config names."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mien.core.seeds import derive
from mien.data.chosen_people import MaskedFaces, read_user_faces, split_people, user_fingerprint
from mien.data.config import USER_FACES, FaceData
from mien.data.labelled import ArrayImages, LabelledImages
from mien.data.rendered_faces import kept_at, masked, rendered_faces
from mien.data.verification_sets import open_verification, verification_names
from mien.synth.made_sets import AlignedSet


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
        verification: sets of pairs to test on, PATH or NAME=PATH.
        look: colour, or masked as in `mien.data.rendered_faces.masked`.
    """

    train: LabelledImages
    val: LabelledImages
    test: LabelledImages
    fingerprint: str
    landmarks: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    real: bool = False
    note: str = "rendered people"
    verification: tuple[str, ...] = ()
    look: Literal["colour", "masked"] = "colour"


def read_faces(data: FaceData) -> FaceSplits:
    """The people of a data config.

    Raises:
        ConfigError: a setting that does not fit the kind.
        DataError: a user's copy is missing or damaged.
    """
    for _, word in zip(verification_names(data.verification), data.verification, strict=True):
        open_verification(word)  # what is wrong with it is said before the training, not after
    return replace(_read(data), verification=data.verification, look=data.look)


def _read(data: FaceData) -> FaceSplits:
    if data.kind == "debug":
        faces = debug_faces(data)
    elif data.kind in USER_FACES:
        return user_faces(data)
    else:
        counts = (data.people, data.val_people, data.test_people)
        made = rendered_faces(*counts, data.per_identity, data.size, data.set_seed)
        faces = FaceSplits(made.train, made.val, made.test, made.fingerprint, made.landmarks)
    return without_background(faces) if data.look == "masked" and data.kind != "debug" else faces


def are_at_hand(data: FaceData) -> bool:
    """Whether `read_faces` would read, and not draw for minutes."""
    people = data.people + data.val_people + data.test_people
    made = AlignedSet(people, data.per_identity, data.size, data.set_seed)
    return data.kind != "rendered" or kept_at(made).is_file()


def user_faces(data: FaceData) -> FaceSplits:
    """A user's copy: people of the three splits, decoded when asked for. Memory O(pictures), not O(pixels).

    Raises:
        ConfigError: no root, or too many people are held out.
        DataError: the copy is missing or damaged.
    """
    whole = read_user_faces(data)
    *parts, notes = split_people(whole, data)
    train, val, test = (p if data.look == "colour" else MaskedFaces(p, data.size) for p in parts)
    kind = {"record": "RecordIO set", "folder": "folder of people", "shards": "shards of people"}[data.kind]
    note = "; ".join([f"{kind} {data.require_root().name}, {len(whole.classes):,} classes", *notes])
    return FaceSplits(train, val, test, user_fingerprint(train, val, test), real=True, note=note)


def without_background(faces: FaceSplits) -> FaceSplits:
    """The same people in grey, behind an oval. O(pixels)."""

    def plain(s: LabelledImages) -> LabelledImages:
        if not len(s):
            return ArrayImages(np.empty((0, 1, 1, 3), np.uint8), s.targets, s.classes, s.keys)
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
