"""Pictures of what is seen and of what comes next: uint8 (H, W, 3)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mien.core.figures import COLOURS
from mien.core.images import magnified
from mien.synth.phys_render import PALETTE
from mien.synth.sheet import contact_sheet

Picture = NDArray[np.uint8]
HEIGHT = 192
"""Pixels of a drawn frame, about."""
_REST = (225, 225, 225)


def frames_of(video: Tensor) -> Picture:
    """(T, 3, H, W) in [0, 1] -> (T, H, W, 3)."""
    rows = (255 * video.detach().cpu().clamp(0, 1)).round().byte()
    return np.asarray(rows.permute(0, 2, 3, 1).numpy())


def slot_frames(masks: Tensor, objects: Sequence[int]) -> Picture:
    """Whose each pixel is: (T, H, W, 3), each object's slot in a colour of its own, all else light grey.

    Args:
        masks: (T, K, H, W) shares.
        objects: numbers of the slots that show an object.
    """
    table = np.tile(np.array(_REST, np.uint8), (masks.shape[1], 1))
    for k, slot in enumerate(objects):
        table[slot] = slot_colour(k)
    return np.asarray(table[masks.argmax(1).cpu().numpy()])


def slot_colour(number: int) -> tuple[int, int, int]:
    """RGB of the number-th object's slot."""
    value = COLOURS[number % len(COLOURS)]
    return int(value[1:3], 16), int(value[3:5], 16), int(value[5:], 16)


def enlarged(frames: Iterable[Picture], height: int = HEIGHT) -> Iterator[Picture]:
    """Frames of about this height, each pixel a square. O(pixels)."""
    for frame in frames:
        yield magnified(frame, height)


def beside(*clips: Iterable[Picture]) -> Iterator[Picture]:
    """Clips of equal length side by side, frame by frame."""
    for frames in zip(*clips, strict=True):
        yield contact_sheet(frames, len(frames))


def colour_name(rgb: NDArray[np.float64]) -> str:
    """The nearest of `PALETTE` to a colour (3,) in [0, 1].

    >>> colour_name(np.array([0.8, 0.1, 0.2]))
    'red'
    """
    names, colours = list(PALETTE), np.array(list(PALETTE.values()))
    return names[int(np.square(255 * rgb - colours).sum(1).argmin())]
