"""Presentations to a face recogniser, live or attack, as several cameras see them."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.core.errors import DataError

MODALITIES = ("rgb", "depth", "ir")
"""Names of the cameras, in the order in which they are always listed."""
LIVE, ATTACK = 0, 1
"""Class indices of the networks."""


@dataclass(frozen=True, eq=False)
class PadLabels:
    """What is known of N presentations; all arrays are (N,).

    Attributes:
        species: "live", or the instrument of attack.
        subjects: who is shown.
        devices: by which device.
        videos: to which clip a frame belongs (scores are averaged over it); by default each is its own.
        keys: uint64, a stable name of each; augmentation depends on it.
    """

    species: NDArray[np.str_]
    subjects: NDArray[np.str_]
    devices: NDArray[np.str_]
    keys: NDArray[np.uint64]
    videos: NDArray[np.str_] = field(default_factory=lambda: np.empty(0, np.str_))

    def __post_init__(self) -> None:
        if not len(self.videos):
            object.__setattr__(self, "videos", np.arange(len(self.species)).astype(np.str_))
        lengths = {len(getattr(self, n)) for n in ("species", "subjects", "devices", "keys", "videos")}
        if len(lengths) > 1:
            raise DataError(f"labels of presentations have different lengths: {sorted(lengths)}")

    @property
    def live(self) -> NDArray[np.bool_]:
        """Which are live."""
        return np.asarray(self.species == "live")

    @property
    def targets(self) -> NDArray[np.int64]:
        """Class indices: `LIVE` or `ATTACK`."""
        return np.where(self.live, LIVE, ATTACK).astype(np.int64)

    def subset(self, indices: NDArray[Any]) -> PadLabels:
        """Only these places, in this order."""
        return PadLabels(
            *(getattr(self, n)[indices] for n in ("species", "subjects", "devices", "keys", "videos"))
        )

    def digest(self) -> str:
        """Hex digits that change when any label or key does."""
        text = "\n".join(
            "\t".join(row) for row in zip(self.species, self.subjects, self.devices, self.videos, strict=True)
        )
        return hashlib.sha256(text.encode() + np.ascontiguousarray(self.keys, "<u8").tobytes()).hexdigest()[
            :16
        ]


class PadImages(ABC):
    """N presentations with their pictures.

    Attributes:
        labels: what is known of each.
        modalities: the cameras that saw them, in the order of `MODALITIES`.
        shards: (N,) int64, the shard of each where training should read shard after shard; None = anywhere.
    """

    labels: PadLabels
    modalities: tuple[str, ...]
    shards: NDArray[np.int64] | None = None

    @abstractmethod
    def pictures(self, modality: str, indices: Sequence[int] | NDArray[Any]) -> list[NDArray[np.uint8]]:
        """What one camera saw: (H, W, 3) colour, (H, W, 1) depth or infrared, uint8."""

    @abstractmethod
    def subset(self, indices: NDArray[Any]) -> PadImages:
        """Only these places, in this order."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Hex digits that change when any label, key or (in memory) pixel does."""

    def for_epoch(self, seed: int, epoch: int) -> PadImages:
        """What training sees in one epoch: as many, with the same labels; by default always the same."""
        return self

    def __len__(self) -> int:
        return len(self.labels.species)

    def without_species(self, names: Sequence[str]) -> PadImages:
        """All but the attacks with these instruments.

        Raises:
            DataError: there is none of one of them.
        """
        for name in names:
            if name not in self.labels.species:
                known = ", ".join(np.unique(self.labels.species))
                raise DataError(f"no presentation of species {name!r}; there are {known}")
        return self.subset(np.flatnonzero(~np.isin(self.labels.species, list(names))))

    def only_species(self, names: Sequence[str]) -> PadImages:
        """Live presentations and the attacks with these instruments."""
        return self.subset(np.flatnonzero(np.isin(self.labels.species, ["live", *names])))


class PadArrays(PadImages):
    """Pictures of one size in memory.

    Args:
        images: modality -> (N, H, W) or (N, H, W, 3) uint8.
        labels: of the N presentations.
        mark: of what drew the pixels (`mien.synth.maker.mark_of`); the fingerprint has it instead of them.
    """

    def __init__(
        self, images: Mapping[str, NDArray[np.uint8]], labels: PadLabels, mark: str | None = None
    ) -> None:
        self.mark = mark
        self.images = {
            m: images[m] if images[m].ndim == 4 else images[m][..., None] for m in MODALITIES if m in images
        }
        self.labels, self.modalities = labels, tuple(self.images)
        unknown = sorted(set(images) - set(MODALITIES))
        if unknown or not images:
            raise DataError(f"modalities {unknown or 'missing'}: give some of {', '.join(MODALITIES)}")
        for m, x in self.images.items():
            if len(x) != len(labels.species):
                raise DataError(f"{len(x)} pictures of {m}, but {len(labels.species)} labels")

    def pictures(self, modality: str, indices: Sequence[int] | NDArray[Any]) -> list[NDArray[np.uint8]]:
        """See `PadImages`."""
        return list(self.images[modality][np.asarray(indices, np.int64)])

    def subset(self, indices: NDArray[Any]) -> PadArrays:
        """Only these places, in this order (copies the pixels)."""
        pictures = {m: x[indices] for m, x in self.images.items()}
        return PadArrays(pictures, self.labels.subset(indices), self.mark)

    @property
    def fingerprint(self) -> str:
        """Hash of labels, keys, and pixels or their mark. O(bytes)."""
        digest = hashlib.sha256(self.labels.digest().encode())
        for m, x in self.images.items():
            digest.update(m.encode())
            digest.update(self.mark.encode() if self.mark else np.ascontiguousarray(x).tobytes())
        return digest.hexdigest()[:16]


@dataclass(frozen=True, eq=False)
class PadSplits:
    """Training, development (thresholds) and test presentations of one set.

    Attributes:
        train: to learn from.
        dev: to choose thresholds on.
        test: to be measured on.
        also: further test sets by name.
        fingerprint: of all.
        real: photographs, or rendered.
        note: what a reader should know.
    """

    train: PadImages
    dev: PadImages
    test: PadImages
    fingerprint: str
    also: Mapping[str, PadImages] = field(default_factory=dict)
    real: bool = False
    note: str = ""

    def get(self, name: str) -> PadImages:
        """One split by name.

        Raises:
            DataError: no such split.
        """
        sets = {"train": self.train, "dev": self.dev, "test": self.test, **self.also}
        if name not in sets:
            raise DataError(f"no split {name!r}; there are {', '.join(sets)}")
        return sets[name]
