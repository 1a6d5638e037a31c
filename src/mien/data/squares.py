"""Squares around a face in a user's picture, and how they are cut out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.core.errors import ShapeError

Square = tuple[float, float, float]
"""Left, top and side, pixels; it may reach beyond the picture."""


def square_around(box: Sequence[float], side: float, rise: float) -> Square:
    """The square around a face. O(1).

    Args:
        box: left, top, right, bottom of the face from the brows to the chin, pixels.
        side: of the square, in heights of that face.
        rise: how far its middle lies above the middle of the face, in heights of that face.

    >>> square_around((40, 100, 140, 200), 2.0, 0.25)
    (-10.0, 25.0, 200.0)
    """
    left, top, right, bottom = (float(v) for v in box)
    height = bottom - top
    length = side * height
    return (left + right - length) / 2, (top + bottom - length) / 2 - rise * height, length


def middle_square(height: int, width: int) -> Square:
    """The largest square in the middle of a picture."""
    side = min(height, width)
    return (width - side) / 2, (height - side) / 2, float(side)


def cut_square(
    picture: NDArray[np.uint8], square: Square, size: int, fill: int | None = 255
) -> NDArray[np.uint8]:
    """The square of a picture at ``size`` pixels a side. O(pixels).

    Args:
        picture: (H, W, 3) or (H, W).
        square: see `Square`.
        size: pixels a side.
        fill: grey level where it reaches beyond; None: the border's pixels are repeated.

    Raises:
        ShapeError: the square does not meet the picture.
    """
    left, top, side = square
    height, width = picture.shape[:2]
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + side, width), min(top + side, height)
    if not (x1 > x0 and y1 > y0):
        raise ShapeError(f"the square {square} does not meet the picture of {width} x {height} pixels")
    scale = size / side
    begin = [min(round((a - b) * scale), size - 1) for a, b in ((x0, left), (y0, top))]
    end = [max(b + 1, round((a - c) * scale)) for b, a, c in zip(begin, (x1, y1), (left, top), strict=True)]
    shape = (end[0] - begin[0], end[1] - begin[1])
    whole = Image.fromarray(picture).resize(shape, Image.Resampling.BILINEAR, (x0, y0, x1, y1))
    seen = np.asarray(whole)[: size - begin[1], : size - begin[0]]
    around = [(b, size - b - n) for b, n in zip(begin[::-1], seen.shape, strict=False)]
    pads = around + [(0, 0)] * (seen.ndim - 2)
    if fill is None:
        return np.pad(seen, pads, mode="edge")
    return np.pad(seen, pads, constant_values=fill)
