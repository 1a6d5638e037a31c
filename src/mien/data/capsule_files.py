"""Pictures of faces for graphics capsules: what a set holds, and how files become one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.core.errors import DataError
from mien.core.images import SUFFIXES, read_image
from mien.core.seeds import derive

Array = NDArray[Any]
Part = Literal["train", "val", "test"]
CAPSULE_PARTS: tuple[Part, ...] = ("train", "val", "test")
SMALLEST = 16
"""Pixels of the shorter side that a picture must have."""


@dataclass(frozen=True, eq=False)
class CapsuleSet:
    """n pictures of faces, and what is known of them; conventions of `mien.synth.param_heads`.

    Attributes:
        pictures: (n, S, S, 3) uint8.
        identity: (n,) int64, who it is.
        yaw: (n,) degrees.
        depth: (n, S, S) float32 in the picture's view; 0 = background.
        normal: (n, S, S, 3).
        albedo: (n, S, S, 3) in [0, 1].
        part: (n, S, S) uint8 index into ``parts``.
        view: (n, 6) rotations x, y, z in radians, translations.
        light: (n, 5) ambient, diffuse, direction.
        landmarks: (n, 5, 2) column, row; eyes, nose, corners of the mouth, from the viewer's left.
        visible: (n, 5) of them.
        parts: names of the parts, background first.
    """

    pictures: NDArray[np.uint8]
    identity: NDArray[np.int64] | None = None
    yaw: Array | None = None
    depth: Array | None = None
    normal: Array | None = None
    albedo: Array | None = None
    part: NDArray[np.uint8] | None = None
    view: Array | None = None
    light: Array | None = None
    landmarks: Array | None = None
    visible: NDArray[np.bool_] | None = None
    parts: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def mask(self) -> NDArray[np.bool_] | None:
        """(n, S, S) where a head is; None where depth is unknown."""
        return None if self.depth is None else self.depth > 0

    def some(self, index: Sequence[int] | Array | slice) -> CapsuleSet:
        """Chosen pictures."""
        held = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "parts"}
        own = index if isinstance(index, slice) else np.asarray(index)
        return replace(self, **{name: value[own] for name, value in held.items() if value is not None})


@dataclass(frozen=True)
class FaceFile:
    """A picture in a file, and what its set tells about it.

    Attributes:
        path: of the picture.
        identity: who it is.
        yaw: degrees.
        landmarks: five (x, y) in pixels of the file.
        depth: file with its depth, grey.
    """

    path: Path
    identity: int | None = None
    yaw: float | None = None
    landmarks: tuple[tuple[float, float], ...] | None = None
    depth: Path | None = None


def pictures_in(folder: Path) -> list[Path]:
    """Pictures directly in a folder, by name."""
    if not folder.is_dir():
        return []
    return sorted(f for f in folder.iterdir() if f.name.lower().endswith(SUFFIXES))


def split_people(people: Sequence[str], seed: int, part: Part) -> list[str]:
    """The people of a part, drawn by ``seed``: 10 % to validate, 20 % to test, at least one; the rest train.

    Raises:
        DataError: fewer than three people.

    >>> [len(split_people([str(n) for n in range(41)], 0, p)) for p in CAPSULE_PARTS]
    [29, 4, 8]
    """
    names = sorted(set(people))
    if len(names) < 3:
        raise DataError(f"{len(names)} people cannot be cut into train, val and test; at least 3 are needed")
    order = np.random.default_rng(derive(seed, "capsule people")).permutation(len(names))
    test, val = max(1, len(names) // 5), max(1, len(names) // 10)
    cut = {"test": order[:test], "val": order[test : test + val], "train": order[test + val :]}
    return sorted(names[k] for k in cut[part])


def square(image: NDArray[np.uint8], size: int, side: int | None) -> NDArray[np.uint8]:
    """A picture (H, W, 3) as (size, size, 3). O(H W).

    Args:
        image: the picture.
        size: pixels a side.
        side: of the square that is cut from the middle, at most the shorter side; None: the whole picture is
            squeezed, as SCOPS does.
    """
    top, left, high, wide = cut_of(image.shape[:2], side)
    cut = Image.fromarray(image[top : top + high, left : left + wide])
    return np.asarray(
        cut.resize(
            (size, size), Image.Resampling.BOX if min(high, wide) >= size else Image.Resampling.BILINEAR
        )
    )


def cut_of(shape: tuple[int, ...], side: int | None) -> tuple[int, int, int, int]:
    """Top, left, height, width of what `square` keeps."""
    high, wide = int(shape[0]), int(shape[1])
    if side is None:
        return 0, 0, high, wide
    side = min(side, high, wide)
    return (high - side) // 2, (wide - side) // 2, side, side


def squared_points(points: Array, shape: tuple[int, ...], size: int, side: int | None) -> Array:
    """Points (.., 2) x, y of a picture where `square` puts them; (0, 0) is the middle of the first pixel.

    >>> squared_points(np.array([50.0, 20.0]), (100, 200), 50, 100)
    array([-0.25,  9.75])
    """
    top, left, high, wide = cut_of(shape, side)
    return (np.asarray(points, np.float64) - [left, top] + 0.5) * [size / wide, size / high] - 0.5


def read_face_files(
    files: Sequence[FaceFile], size: int, side: int | None, limit: int | None = None
) -> CapsuleSet:
    """Reads and squares pictures; grey ones get their value three times. Memory O(n size^2).

    Args:
        files: what to read.
        size: pixels a side.
        side: see `square`.
        limit: at most so many, evenly spread.

    Raises:
        DataError: no file, or one that is damaged or tiny.
    """
    if not files:
        raise DataError("no pictures to read; check the folder")
    if limit is not None and limit < len(files):
        files = [files[k] for k in np.linspace(0, len(files) - 1, limit).astype(int)]
    images = [read_face(file.path) for file in files]
    shapes = [image.shape for image in images]
    held: dict[str, Any] = {}
    if all(file.identity is not None for file in files):
        held["identity"] = np.array([file.identity for file in files], np.int64)
    if all(file.yaw is not None for file in files):
        held["yaw"] = np.array([file.yaw for file in files], np.float32)
    if all(file.landmarks is not None for file in files):
        marks = [
            squared_points(np.array(file.landmarks), shape, size, side)
            for file, shape in zip(files, shapes, strict=True)
        ]
        held["landmarks"] = np.array(marks, np.float32)
        held["visible"] = ((held["landmarks"] > -0.5) & (held["landmarks"] < size - 0.5)).all(-1)
    if all(file.depth is not None for file in files):
        depths = [square(read_face(file.depth), size, side)[..., 0] for file in files if file.depth]
        held["depth"] = depth_of_grey(np.stack(depths))
    return CapsuleSet(np.stack([square(image, size, side) for image in images]), **held)


def read_face(path: Path) -> NDArray[np.uint8]:
    """A picture (H, W, 3).

    Raises:
        DataError: missing, damaged, or smaller than `SMALLEST`.
    """
    image = read_image(path)
    if min(image.shape[:2]) < SMALLEST:
        raise DataError(
            f"{path}: {image.shape[1]} x {image.shape[0]} pixels; a face needs at least {SMALLEST} a side"
        )
    return image


def depth_of_grey(grey: NDArray[np.uint8], near: float = 0.9, far: float = 1.1) -> NDArray[np.float32]:
    """Depth (.., S, S) of Unsup3D's pictures of depth: white = near, black = background, which becomes 0.

        depth = far - (far - near) g / 255

    >>> depth_of_grey(np.array([0, 51, 255], np.uint8))
    array([0.  , 1.06, 0.9 ], dtype=float32)
    """
    depth = far - (far - near) * (grey.astype(np.float32) / 255)
    return np.where(grey > 0, depth, 0).astype(np.float32)
