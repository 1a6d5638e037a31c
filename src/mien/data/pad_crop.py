"""The scaled box crop of anti-spoofing nets: a face box enlarged, and slid back into the picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.core.errors import DataError

_TINY = 1e-9  # keeps 215.0 from becoming 214 by rounding


def scaled_box(width: int, height: int, box: Sequence[float], scale: float) -> tuple[int, int, int, int]:
    """A box enlarged about its centre and slid back into the picture, never squashed.

    s' = min(s, (W - 1) / w, (H - 1) / h); the new size is (s' w, s' h); a side that leaves the frame moves
    the whole box; corners are truncated to integers. O(1).

    Args:
        width: W of the picture, pixels.
        height: H of the picture, pixels.
        box: x, y, w, h of the face, pixels.
        scale: s; 2.7 and 4.0 in the published mobile nets.

    Returns:
        x0, y0, x1, y1, both ends inclusive.

    Raises:
        DataError: no box (not finite, empty, or outside of the picture), no picture, or a scale that is not
            positive.

    >>> scaled_box(500, 400, (300, 200, 100, 120), 2.7)
    (215, 75, 485, 399)
    """
    x, y, w, h = (float(v) for v in box)
    if not np.isfinite([x, y, w, h, scale]).all() or min(w, h) <= 0 or scale <= 0 or min(width, height) < 1:
        raise DataError(f"box {tuple(box)} at scale {scale} in {width} x {height} pixels: no face to crop")
    if x >= width or y >= height or x + w <= 0 or y + h <= 0:
        raise DataError(f"box {tuple(box)} lies outside of the picture of {width} x {height} pixels")
    factor = min(scale, (width - 1) / w, (height - 1) / h)
    x0, x1 = _slid(x + w / 2, factor * w, width - 1)
    y0, y1 = _slid(y + h / 2, factor * h, height - 1)
    return x0, y0, x1, y1


def _slid(centre: float, size: float, last: int) -> tuple[int, int]:
    """Both ends of a side within 0 .. last."""
    low = max(min(centre - size / 2, last - size), 0.0)
    return int(low + _TINY), min(int(low + size + _TINY), last)


def scaled_crop(picture: NDArray[Any], box: Sequence[float], scale: float) -> NDArray[Any]:
    """The pixels of `scaled_box`, as a view: (y1 - y0 + 1, x1 - x0 + 1, ..).

    Args:
        picture: (H, W) or (H, W, C).
        box: x, y, w, h of the face, pixels.
        scale: see `scaled_box`.

    Raises:
        DataError: see `scaled_box`.
    """
    x0, y0, x1, y1 = scaled_box(picture.shape[1], picture.shape[0], box, scale)
    return picture[y0 : y1 + 1, x0 : x1 + 1]
