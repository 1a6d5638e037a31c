"""Talking heads packed as OTAvatar's preparation does (HDTF): one LMDB of pictures and tracks, two lists.

``ROOT/train_list.txt`` and ``test_list.txt`` name a clip a line, the person before its ``#``;
``ROOT/512/data.mdb`` holds ``CLIP-length`` (text), ``CLIP-0000123`` (JPEG), and float32 rows of the frames:
``CLIP-coeff_3dmm`` (260), ``CLIP-condition`` (7), ``CLIP-keypoint`` (68 x 2).

Source: arXiv 2303.14662; HDTF: Zhang et al., Flow-guided one-shot talking face generation, CVPR 2021.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mien.core.errors import ConfigError, DataError, MienError, require
from mien.core.images import read_image
from mien.core.io import read_text

Floats = NDArray[np.float32]
SPLITS = ("train", "test")
DRIVER = "WRA_EricCantor_000"
"""The clip that drives all others in the authors' cross-identity test."""
MAX_FRAMES = 10_000_000 - 1
_ONE_AT_A_TIME = threading.Lock()  # a process may hold an LMDB open once only
_WIDTHS = {"coeff_3dmm": 260, "condition": 7, "keypoint": 136}


class HdtfClip(NamedTuple):
    """One clip of a list: its name, the person, how many frames."""

    name: str
    person: str
    frames: int


class Coefficients(NamedTuple):
    """What the coarse tracker (Deep3DFaceRecon, BFM09) says of T frames; float32.

    Attributes:
        identity: (T, 80).
        expression: (T, 64).
        texture: (T, 80).
        angles: (T, 3) radians about x, y, z.
        light: (T, 27) spherical harmonics.
        translation: (T, 3).
        crop: (T, 3) ratio, then the corner in pixels.
    """

    identity: Floats
    expression: Floats
    texture: Floats
    angles: Floats
    light: Floats
    translation: Floats
    crop: Floats


def split_coefficients(rows: Floats) -> Coefficients:
    """The parts of (T, 260) numbers of the coarse tracker; of (T, 257) without the crop. O(T)."""
    return Coefficients(*np.split(rows, [80, 144, 224, 227, 254, 257], axis=1))


class Condition(NamedTuple):
    """What the fine tracker says of T frames; makes the camera (`mien.render.tracker_to_camera`).

    Attributes:
        angles: (T, 3) radians as stored: the tracker's, negated; the camera's formula takes them so.
        translation: (T, 3).
        focal: (T,) pixels of the tracker's picture.
    """

    angles: Floats
    translation: Floats
    focal: Floats


class CrossPair(NamedTuple):
    """One run of the cross-identity test: the first frame of ``source`` moves as ``driver`` does."""

    source: HdtfClip
    driver: HdtfClip


@dataclass(frozen=True)
class Hdtf:
    """A split of the packed set; opened for each read, so that it can be sent to workers.

    Attributes:
        root: folder of the lists.
        split: "train" or "test".
        resolution: side of the stored pictures, the name of the LMDB's folder.
        clips: in the order of the list.
    """

    root: Path
    split: str
    resolution: int
    clips: tuple[HdtfClip, ...]

    def __len__(self) -> int:
        return len(self.clips)

    def clip(self, name: str) -> HdtfClip:
        """A clip by its name.

        Raises:
            DataError: it is not in this split.
        """
        found = next((c for c in self.clips if c.name == name), None)
        if found is None:
            raise DataError(f"{self.root}: no clip {name!r} in the {self.split} list")
        return found

    def frame(self, clip: HdtfClip, number: int) -> NDArray[np.uint8]:
        """One picture, uint8 RGB (H, W, 3).

        Raises:
            DataError: no such frame, or damaged.
        """
        if not 0 <= number < clip.frames:
            raise DataError(f"{clip.name}: no frame {number}, it has {clip.frames} (0 .. {clip.frames - 1})")
        key = f"{clip.name}-{number:07d}"
        data = self._value(key)
        if data is None:
            raise DataError(f"{self.root}: no entry {key!r}; pack the set again")
        return read_image(data, name=f"{self.root}: {key}")

    def frames(self, clip: HdtfClip) -> Iterator[NDArray[np.uint8]]:
        """All pictures of a clip, one by one.

        Raises:
            DataError: a frame is missing or damaged.
        """
        for number in range(clip.frames):
            yield self.frame(clip, number)

    def coefficients(self, clip: HdtfClip) -> Coefficients:
        """The coarse track. O(T).

        Raises:
            DataError: missing, or not 260 numbers a frame.
        """
        rows = self._rows(clip, "coeff_3dmm")
        return split_coefficients(rows)

    def condition(self, clip: HdtfClip) -> Condition:
        """The fine track. O(T).

        Raises:
            DataError: missing, or not 7 numbers a frame.
        """
        rows = self._rows(clip, "condition")
        return Condition(rows[:, :3], rows[:, 3:6], rows[:, 6])

    def keypoints(self, clip: HdtfClip) -> Floats:
        """(T, 68, 2) landmarks in pixels of the stored pictures. O(T).

        Raises:
            DataError: missing, or not 136 numbers a frame.
        """
        return self._rows(clip, "keypoint").reshape(clip.frames, 68, 2)

    def cross_pairs(self, driver: str = DRIVER) -> tuple[CrossPair, ...]:
        """The authors' cross-identity runs: one clip drives the first frame of every other.

        Args:
            driver: a clip, or the person of one (then the first of them).

        Raises:
            DataError: no such clip in this split.
        """
        found = next((c for c in self.clips if driver in (c.name, c.person)), None)
        if found is None:
            raise DataError(f"{self.root}: no clip {driver!r} in the {self.split} list; name one that is")
        return tuple(CrossPair(clip, found) for clip in self.clips if clip != found)

    def _value(self, key: str) -> bytes | None:
        with opened_lmdb(self.root / str(self.resolution)) as value:
            return value(key)

    def _rows(self, clip: HdtfClip, what: str) -> Floats:
        data = self._value(f"{clip.name}-{what}")
        width = _WIDTHS[what]
        if data is None or len(data) != clip.frames * width * 4:
            found = "nothing" if data is None else f"{len(data)} bytes"
            raise DataError(
                f"{self.root}: {clip.name}-{what} must hold {clip.frames} x {width} float32, found {found}"
            )
        rows = np.frombuffer(data, "<f4").reshape(clip.frames, width)
        if not np.isfinite(rows).all():
            raise DataError(
                f"{self.root}: {clip.name}-{what} holds values that are no numbers; track it again"
            )
        return rows.astype(np.float32)


@contextmanager
def opened_lmdb(folder: Path) -> Iterator[Callable[[str], bytes | None]]:
    """A function key -> bytes or None of an LMDB that is only read. O(log n) a key.

    Raises:
        DataError: missing or damaged.
        MissingPackageError: without lmdb (extra ``data``).
    """
    lmdb = require("lmdb", extra="data")
    if not (folder / "data.mdb").is_file():
        raise DataError(f"{folder}: no data.mdb here; check the path and the resolution")
    try:
        with (
            _ONE_AT_A_TIME,
            lmdb.open(str(folder), readonly=True, lock=False, create=False, readahead=False) as environment,
            environment.begin() as transaction,
        ):
            yield lambda key: transaction.get(key.encode("utf-8"))
    except lmdb.Error as error:
        raise DataError(f"{folder}: not an LMDB that can be read ({error}); fetch it again") from None


def hdtf_resolutions(root: Path) -> tuple[int, ...]:
    """Sides of the stored pictures: the folders that hold an LMDB, smallest first."""
    names = (p.parent.name for p in root.glob("*/data.mdb"))
    return tuple(sorted(int(name) for name in names if name.isascii() and name.isdigit()))


def read_hdtf(root: str | Path, split: str = "train", resolution: int | None = None) -> Hdtf:
    """A split of a packed set; reads the list and the lengths, no picture. O(clips).

    Args:
        root: folder that holds the lists.
        split: "train" or "test".
        resolution: side of the pictures; default the largest there.

    Raises:
        ConfigError: no such split.
        DataError: list or LMDB is missing or damaged, a clip is listed twice or not packed.
        MissingPackageError: without lmdb (extra ``data``).
    """
    root = Path(root).expanduser()
    if split not in SPLITS:
        raise ConfigError(f"no split {split!r}; one of {', '.join(SPLITS)}")
    sizes = hdtf_resolutions(root)
    if not sizes:
        raise DataError(f"{root}: no folder of a resolution with data.mdb in it, as 512/data.mdb")
    side = sizes[-1] if resolution is None else resolution
    path = root / f"{split}_list.txt"
    names = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    if not names:
        raise DataError(f"{path}: names no clip")
    if twice := {n for n in names if names.count(n) > 1} if len(names) != len(set(names)) else set():
        raise DataError(f"{path}: {min(twice)} is listed twice; delete one line")
    with opened_lmdb(root / str(side)) as value:
        clips = tuple(_clip(path, name, value(f"{name}-length")) for name in names)
    return Hdtf(root, split, side, clips)


def _clip(path: Path, name: str, length: bytes | None) -> HdtfClip:
    if length is None:
        raise DataError(f"{path}: clip {name} is not in the LMDB; delete the line or pack it again")
    text = length.decode("ascii", "replace")
    if not text.isdigit() or not 1 <= int(text[:9]) <= MAX_FRAMES or len(text) > 9:
        raise DataError(f"{path}: clip {name} has length {text[:20]!r}; pack it again")
    return HdtfClip(name, name.split("#")[0], int(text))


def hdtf_problems(found: Hdtf, decode: bool = True) -> Iterator[str]:
    """What is wrong with a split, a line each: tracks of each clip, and with ``decode`` every picture."""
    for clip in found.clips:
        for read in (found.coefficients, found.condition, found.keypoints):
            try:
                read(clip)
            except MienError as error:
                yield str(error)
        for number in range(clip.frames) if decode else ():
            try:
                found.frame(clip, number)
            except MienError as error:
                yield str(error)
