"""A user's clip as the net sees it: a video, a folder of frames, or an array."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mien.core.errors import DataError
from mien.core.images import SUFFIXES, read_image
from mien.data.physical import small_frame
from mien.data.video import read_video

Frames = NDArray[np.uint8]
ClipInput: TypeAlias = "str | Path | NDArray[np.uint8]"
"""A video, a folder of frames in order of name, one picture, or an array (T, H, W, 3) or (H, W, 3)."""


def read_clip(source: ClipInput, size: tuple[int, int], dt: float, fps: float, seconds: float) -> Frames:
    """Frames (T, h, w, 3), ``dt`` seconds apart, at the size (h, w). O(pixels of what is looked at).

    Args:
        source: the clip.
        size: pixels that the net sees.
        dt: seconds between two of its frames.
        fps: frames a second of a folder or an array; a video knows its own.
        seconds: what comes later is not looked at.

    Raises:
        DataError: missing, damaged, without frames, or of another shape than 2 : 3.
    """
    name = "clip" if isinstance(source, np.ndarray) else str(source)
    count = max(1, int(seconds / dt + 1e-6))
    small = [small_frame(f, size, name) for f in islice(_frames(source, dt, fps), count)]
    if not small:
        raise DataError(f"{name}: no frames in it")
    return np.stack(small)


def _frames(source: ClipInput, dt: float, fps: float) -> Iterator[Frames]:
    if isinstance(source, np.ndarray):
        return map(read_image, _every(source[None] if source.ndim == 3 else source, dt * fps))
    path = Path(source)
    if path.is_dir():
        names = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES)
        if not names:
            raise DataError(f"{path}: no pictures in this folder; it should hold the frames of one clip")
        return map(read_image, _every(names, dt * fps))
    if path.suffix.lower() in SUFFIXES:
        return iter([read_image(path)])
    return (frame.image for frame in read_video(path, 1 / dt))


def _every(frames: Iterable[Any], step: float) -> Iterator[Any]:
    """Frames floor(k step), k = 0, 1 ...: they repeat where step < 1."""
    shown = 0
    for number, frame in enumerate(frames):
        while int(shown * step + 1e-6) == number:
            yield frame
            shown += 1
