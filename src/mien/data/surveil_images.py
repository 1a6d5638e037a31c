"""Faces far from a surveillance camera, in memory: what the training and the tables of `cqil` see."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.core.errors import DataError, ShapeError


@dataclass(frozen=True, eq=False)
class SurveilImages:
    """N pictures of one split and what is known of each; all other arrays are (N,).

    Attributes:
        pictures: (N, S, S, 3) uint8.
        label: int64, 0 live, 1 to 9 the kind of attack.
        live: bool, ``label == 0``.
        track: int64, a stable number of the face track: the same in every split and every copy.
        subject: int64; 0 for what nobody carries.
        camera: int64, 1 to 7.
        scene: int64, 1 to 40.
        frame: int64, which frame of its track.
        quality: float64 in [0, 1], larger = better.
        paths: as the list has them.

    Raises:
        ShapeError: an array of another length, or pictures that are not (N, S, S, 3) uint8.
        DataError: ``live`` contradicts ``label``.
    """

    pictures: NDArray[np.uint8]
    label: NDArray[np.int64]
    live: NDArray[np.bool_]
    track: NDArray[np.int64]
    subject: NDArray[np.int64]
    camera: NDArray[np.int64]
    scene: NDArray[np.int64]
    frame: NDArray[np.int64]
    quality: NDArray[np.float64]
    paths: NDArray[np.str_]

    def __post_init__(self) -> None:
        """Checks shapes and the polarity of the labels."""
        x = self.pictures
        if x.ndim != 4 or x.shape[1] != x.shape[2] or x.shape[3] != 3 or x.dtype != np.uint8:
            raise ShapeError(f"pictures: expected (N, S, S, 3) uint8, got {x.shape} {x.dtype}")
        for name in _COLUMNS:
            column = getattr(self, name)
            if column.shape != (len(x),):
                raise ShapeError(f"{name}: expected ({len(x)},), one for each picture, got {column.shape}")
        wrong = np.flatnonzero(self.live != (self.label == 0))
        if len(wrong):
            k = int(wrong[0])
            raise DataError(f"{self.paths[k]}: label {self.label[k]}, live={self.live[k]}; live is label 0")

    def __len__(self) -> int:
        return len(self.pictures)

    def subset(self, indices: Sequence[int] | NDArray[Any] | slice) -> SurveilImages:
        """Only these places (numbers, a mask or a slice), in this order. A slice copies nothing."""
        at = indices if isinstance(indices, slice) else np.asarray(indices)
        if not isinstance(at, slice) and not len(at):
            at = at.astype(np.int64)
        return SurveilImages(**{f.name: getattr(self, f.name)[at] for f in fields(self)})

    def fingerprint(self) -> str:
        """16 hex digits that change when any pixel, label or path does. O(bytes)."""
        digest = hashlib.sha256(str(self.pictures.shape).encode())
        digest.update(np.ascontiguousarray(self.pictures).tobytes())
        for name in _COLUMNS[:-1]:
            digest.update(name.encode() + np.ascontiguousarray(getattr(self, name)).tobytes())
        digest.update("\n".join(self.paths.tolist()).encode("utf-8", "surrogateescape"))
        return digest.hexdigest()[:16]


_COLUMNS = tuple(f.name for f in fields(SurveilImages) if f.name != "pictures")
