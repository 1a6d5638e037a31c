"""Labelled pictures in memory or in files, behind one small interface."""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.core.errors import DataError
from mien.core.images import read_image
from mien.core.seeds import keys_of

_NUMBER = re.compile(r"([0-9]+)")
Picture = NDArray[np.uint8]
"""(H, W, C) uint8."""


class LabelledImages(ABC):
    """N pictures with one class each.

    Attributes:
        targets: (N,) int64, index into ``classes``.
        classes: names.
        keys: (N,) uint64, a stable name of each picture; augmentation depends on it.
        shards: (N,) int64, the shard of each picture where training should read shard after shard; None =
            anywhere.
    """

    targets: NDArray[np.int64]
    classes: tuple[str, ...]
    keys: NDArray[np.uint64]
    shards: NDArray[np.int64] | None = None

    @abstractmethod
    def pictures(self, indices: Sequence[int] | NDArray[Any]) -> list[Picture]:
        """The pictures at these places, uint8 HWC."""

    @abstractmethod
    def subset(self, indices: NDArray[Any]) -> LabelledImages:
        """The same set with only these places, in this order."""

    def __len__(self) -> int:
        return len(self.targets)

    def counts(self) -> NDArray[np.int64]:
        """(C,) pictures of each class."""
        return np.bincount(self.targets, minlength=len(self.classes))

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Hex digits that change when any label, key or (in memory) pixel does."""

    def _label_hash(self) -> hashlib._Hash:
        digest = hashlib.sha256(np.ascontiguousarray(self.targets, dtype="<i8").tobytes())
        digest.update(np.ascontiguousarray(self.keys, dtype="<u8").tobytes())
        digest.update("\n".join(self.classes).encode("utf-8", "surrogateescape"))
        return digest


class ArrayImages(LabelledImages):
    """Pictures of one size in memory: ``images`` (N, H, W) or (N, H, W, C) uint8.

    Args:
        images: the pixels.
        targets: (N,) class indices.
        classes: names.
        keys: (N,) stable keys; default the place in this array.
        mark: of what drew the pixels (`mien.synth.maker.mark_of`); the fingerprint has it instead of them.
    """

    def __init__(
        self,
        images: NDArray[np.uint8],
        targets: NDArray[Any],
        classes: Sequence[str],
        keys: NDArray[np.uint64] | None = None,
        mark: str | None = None,
    ) -> None:
        self.mark = mark
        self.images = images if images.ndim == 4 else images[..., None]
        self.targets = np.asarray(targets, dtype=np.int64)
        self.classes = tuple(classes)
        self.keys = np.arange(len(images), dtype=np.uint64) if keys is None else keys
        _check_targets(self.targets, len(self.images), len(self.classes), "array")
        if self.keys.shape != self.targets.shape:
            raise DataError(f"array: {len(self.targets)} labels but {len(self.keys)} keys")

    def pictures(self, indices: Sequence[int] | NDArray[Any]) -> list[Picture]:
        """The pictures at these places, uint8 HWC."""
        return list(self.images[np.asarray(indices, dtype=np.int64)])

    def subset(self, indices: NDArray[Any]) -> ArrayImages:
        """The same set with only these places, in this order (copies the pixels)."""
        own = self.images[indices], self.targets[indices], self.classes, self.keys[indices]
        return ArrayImages(*own, self.mark)

    @property
    def fingerprint(self) -> str:
        """Hash of labels, keys, and pixels or their mark. O(bytes)."""
        digest = self._label_hash()
        digest.update(self.mark.encode() if self.mark else np.ascontiguousarray(self.images).tobytes())
        return digest.hexdigest()[:16]


@dataclass(frozen=True)
class _Files:
    root: Path
    names: tuple[str, ...]


class FileImages(LabelledImages):
    """Pictures in files below ``root``; decoded when asked for, so memory does not grow with N pictures.

    Args:
        root: folder.
        names: path of each picture relative to ``root``; also its key.
        targets: (N,) class indices.
        classes: names.
    """

    def __init__(
        self, root: str | Path, names: Sequence[str], targets: NDArray[Any], classes: Sequence[str]
    ) -> None:
        self._files = _Files(Path(root), tuple(names))
        self.targets = np.asarray(targets, dtype=np.int64)
        self.classes = tuple(classes)
        self.keys = keys_of(list(names))
        _check_targets(self.targets, len(names), len(self.classes), str(root))

    def path(self, index: int) -> Path:
        """Where picture ``index`` lies."""
        return self._files.root / self._files.names[index]

    def pictures(self, indices: Sequence[int] | NDArray[Any]) -> list[Picture]:
        """The pictures at these places, uint8 HWC; damaged ones raise, naming the file."""
        return [read_image(self.path(int(i))) for i in indices]

    def subset(self, indices: NDArray[Any]) -> FileImages:
        """The same set with only these places, in this order."""
        names = [self._files.names[int(i)] for i in indices]
        return FileImages(self._files.root, names, self.targets[indices], self.classes)

    @property
    def fingerprint(self) -> str:
        """Hash of labels and names (not of pixels: that would read every file)."""
        return self._label_hash().hexdigest()[:16]


def _check_targets(targets: NDArray[np.int64], count: int, classes: int, where: str) -> None:
    if targets.shape != (count,):
        raise DataError(f"{where}: {count} pictures but {targets.shape[0]} labels; the counts disagree")
    if count and (targets.min() < 0 or targets.max() >= classes):
        raise DataError(
            f"{where}: labels {targets.min()}..{targets.max()}, but there are {classes} classes (0-based)"
        )


@dataclass(frozen=True)
class Splits:
    """Training, validation and test pictures of one set; ``note`` says what a reader should know about it.

    ``also``: further test pictures by name, read when they are asked for; no part of the fingerprint.
    """

    train: LabelledImages
    val: LabelledImages
    test: LabelledImages
    real: bool = True
    note: str = ""
    also: Mapping[str, Callable[[], LabelledImages]] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """Hash of all three."""
        joined = ":".join(s.fingerprint for s in (self.train, self.val, self.test))
        return hashlib.sha256(joined.encode()).hexdigest()[:12]

    def get(self, name: str) -> LabelledImages:
        """One split by name: train, val or test, or one of ``also``.

        Raises:
            DataError: there is no such split.
        """
        own = {"train": self.train, "val": self.val, "test": self.test}
        if name in own:
            return own[name]
        if name in self.also:
            return self.also[name]()
        raise DataError(f"no split {name!r}; there are {', '.join((*own, *self.also))}")


def spread(total: int, count: int) -> NDArray[np.int64]:
    """At most ``count`` places, evenly over 0..total-1."""
    return np.unique(np.linspace(0, total - 1, min(count, total)).astype(np.int64))


def natural(text: str) -> tuple[tuple[int, int, str], ...]:
    """Sorts numbers inside of names by value: n2 before n10."""
    return tuple(
        (0, int(part), part) if part.isdigit() else (1, 0, part) for part in _NUMBER.split(text) if part
    )
