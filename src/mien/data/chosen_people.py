"""Some people of a set of faces, numbered without gaps, and pictures as a model is trained to see them."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.core.errors import ConfigError, DataError
from mien.core.seeds import derive
from mien.data.config import FaceData
from mien.data.labelled import LabelledImages, Picture
from mien.data.record_check import label_notes
from mien.data.rendered_faces import masked

MOST_HELD_OUT = 4472
"""Pictures whose pairs are all compared: ten million pairs."""


class ChosenPeople(LabelledImages):
    """The pictures of some people, decoded when asked for; labels are 0 .. people - 1, in the order given.

    Args:
        images: the whole set.
        people: (P,) its classes to keep.
        most: pictures kept of each; None = all.
    """

    def __init__(self, images: LabelledImages, people: NDArray[np.int64], most: int | None = None) -> None:
        number = np.full(len(images.classes), -1, np.int64)
        number[people] = np.arange(len(people))
        places = np.flatnonzero(number[images.targets] >= 0)
        if most is not None:
            places = places[_rank_in_class(images.targets[places]) < most]
        self._set(images, places, number[images.targets[places]], tuple(images.classes[p] for p in people))

    def _set(
        self,
        images: LabelledImages,
        places: NDArray[np.int64],
        targets: NDArray[np.int64],
        classes: tuple[str, ...],
    ) -> None:
        self.images, self.places, self.targets, self.classes = images, places, targets, classes
        self.keys = images.keys[places]
        self.shards = None if images.shards is None else images.shards[places]

    def pictures(self, indices: Sequence[int] | NDArray[Any]) -> list[Picture]:
        """The pictures at these places, uint8 HWC."""
        return self.images.pictures(self.places[np.asarray(indices, np.int64)])

    def subset(self, indices: NDArray[Any]) -> ChosenPeople:
        """The same people with only these places, in this order."""
        chosen = object.__new__(ChosenPeople)
        chosen._set(self.images, self.places[indices], self.targets[indices], self.classes)
        return chosen

    @property
    def fingerprint(self) -> str:
        """Hash of the whole set's, and of labels and keys."""
        digest = self._label_hash()
        digest.update(self.images.fingerprint.encode())
        return digest.hexdigest()[:16]


class MaskedFaces(LabelledImages):
    """The same pictures in grey, behind an oval; decoded when asked for.

    Args:
        images: aligned faces.
        size: S; other sizes are cut and resized as at test time.
    """

    def __init__(self, images: LabelledImages, size: int) -> None:
        self.images, self.size = images, size
        self.targets, self.classes, self.keys = images.targets, images.classes, images.keys
        self.shards = images.shards

    def pictures(self, indices: Sequence[int] | NDArray[Any]) -> list[Picture]:
        """The pictures at these places, uint8 (S, S, 3)."""
        return mask_pictures(self.images.pictures(indices), self.size)

    def subset(self, indices: NDArray[Any]) -> MaskedFaces:
        """The same set with only these places, in this order."""
        return MaskedFaces(self.images.subset(indices), self.size)

    @property
    def fingerprint(self) -> str:
        """That of the pictures, marked."""
        return f"{self.images.fingerprint}-masked{self.size}"


def mask_pictures(pictures: Sequence[Picture], size: int) -> list[Picture]:
    """Pictures as `masked` shows them at this size, uint8 (S, S, 3). O(pixels)."""
    from mien.data.augment import prepare

    if not pictures:
        return []
    pixels = (prepare(pictures, size, 3) * 255).round().byte().permute(0, 2, 3, 1).numpy()
    return list(masked(pixels))


def split_people(
    images: LabelledImages, data: FaceData
) -> tuple[ChosenPeople, ChosenPeople, ChosenPeople, list[str]]:
    """Training, validation and test people of a user's set, and what a reader should know about it.

    People without a picture are left out. Held out are people with two pictures or more: the last ones in
    the order of the classes, test after validation, or those that ``set_seed`` (not 0) draws. O(pictures).

    Raises:
        ConfigError: more people are asked for than there are, or too many pictures for a test of all pairs.

    Warns:
        UserWarning: classes without a picture, and people with one only.
    """
    counts = images.counts()
    notes = label_notes(np.sort(images.targets), len(images.classes))
    if notes:
        where = getattr(images, "root", None) or data.root
        warnings.warn(f"{where}: {'; '.join(notes)}; classes are numbered anew, without gaps", stacklevel=2)
    filled, several = np.flatnonzero(counts > 0), np.flatnonzero(counts > 1)
    wanted = data.val_people + data.test_people
    if wanted > len(several) or len(filled) - wanted < 2:
        raise ConfigError(
            f"data.val_people + data.test_people = {wanted}, but {data.root} has {len(filled)} people"
            f" ({len(several)} with two pictures or more), and 2 must be left to train on; lower them, as"
            f" by --data.val-people {max(1, len(several) // 10)} --data.test-people"
            f" {max(1, len(several) // 5)}"
        )
    if data.set_seed:
        several = np.random.default_rng(derive(data.set_seed, "held-out people")).permutation(several)
    held = several[len(several) - wanted :]
    val, test = np.sort(held[: data.val_people]), np.sort(held[data.val_people :])
    parts = [ChosenPeople(images, np.setdiff1d(filled, held))]
    for name, people in (("val_people", val), ("test_people", test)):
        part = ChosenPeople(images, people, data.per_identity)
        if len(part) > MOST_HELD_OUT:
            raise ConfigError(
                f"data.{name}={len(people)} with data.per_identity={data.per_identity}: {len(part)} pictures,"
                f" of which all pairs are compared; {MOST_HELD_OUT} at most, lower one of them"
            )
        parts.append(part)
    return parts[0], parts[1], parts[2], notes


def read_user_faces(data: FaceData) -> LabelledImages:
    """All faces of the user's copy that a config names; pictures are decoded when asked for.

    Raises:
        ConfigError: no root is given.
        DataError: the copy is missing or damaged, or empty.
    """
    root = data.require_root()
    if data.kind == "record":
        from mien.data.record import RecordFile

        images: LabelledImages = RecordFile(root).as_images()
    elif data.kind == "shards":
        from mien.data.shard_images import read_shards

        images = read_shards(root)
    else:
        from mien.data.face_folder import FaceFolder

        images = FaceFolder(root)
    if not len(images):
        raise DataError(f"{root}: no pictures in it; fetch it again")
    return images


def user_fingerprint(*parts: LabelledImages) -> str:
    """One hash of several splits."""
    return hashlib.sha256(":".join(p.fingerprint for p in parts).encode()).hexdigest()[:12]


def _rank_in_class(targets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Which picture of its person each one is, from 0. O(n log n).

    >>> _rank_in_class(np.array([4, 7, 4, 4])).tolist()
    [0, 0, 1, 2]
    """
    order = np.argsort(targets, kind="stable")
    ordered = targets[order]
    first = np.searchsorted(ordered, ordered, "left")
    rank = np.empty(len(targets), np.int64)
    rank[order] = np.arange(len(targets)) - first
    return rank
