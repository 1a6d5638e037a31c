"""A user's portrait as the net was trained to see people: a square crop of head and shoulders on white.

In the training pictures the middle of the head is the middle of the square, and a head of 2.35 dm from chin
to crown fills four fifths of its side.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mien.data.squares import Square, square_around

FACE_SIDE, FACE_RISE = 1.88, 0.18
"""Side of the square, and how far its middle lies above the middle of the face from brows to chin, in heights
of that face; means over rendered people."""
_HEAD, _SHOULDERS = (0.5, 0.42, 0.34, 0.48), (0.5, 1.1, 0.56, 0.25)
_CORES, _OUTSIDE = (0.5, 0.9), 1.5  # of the two ellipses: surely the person, surely the background
_PROFILE = 0.6


def face_square(box: Sequence[float]) -> Square:
    """The square around a face. O(1).

    Args:
        box: left, top, right, bottom of the face from the brows to the chin, pixels.

    >>> face_square((40, 100, 140, 200))
    (-4.0, 38.0, 188.0)
    """
    return square_around(box, FACE_SIDE, FACE_RISE)


def silhouette(size: int, edge: float = 0.04) -> NDArray[np.float32]:
    """(size, size) in 0 .. 1: an ellipse around the head and one for the shoulders, soft. O(size^2).

    For who has no matte: most of the background goes, hair that stands out far goes with it.

    Args:
        size: pixels a side.
        edge: width of the edge, sides.
    """

    def inside(radius: NDArray[np.float64], a: float, b: float) -> NDArray[np.float64]:
        return np.clip((1 - radius) * min(a, b) / edge + 0.5, 0, 1)

    head, shoulders = _ellipses(size)
    soft = np.maximum(inside(head, *_HEAD[2:]), inside(shoulders, *_SHOULDERS[2:]))
    return soft.astype(np.float32)


def _ellipses(size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(size, size) distance from the middle of the head, and of the shoulders; 1 on the ellipse."""
    at = (np.arange(size) + 0.5) / size
    u, v = at[None], at[:, None]
    head, shoulders = (np.hypot((u - x) / a, (v - y) / b) for x, y, a, b in (_HEAD, _SHOULDERS))
    return head, shoulders


def matte(picture: NDArray[np.uint8], contrast: float = 2000.0) -> NDArray[np.float32]:
    """(S, S) in 0 .. 1, what of a square crop is the person, by its colours.

    2 p - 1/2, cut to 0 .. 1, with p the probability that a random walk from a pixel, which shuns edges, comes
    to the core of the ellipses of `silhouette` before it comes outside of them. Source: Grady, Random walks
    for image segmentation (PAMI 2006). One sparse system of S^2 unknowns, 0.1 s at 128.

    Args:
        picture: (S, S, 3), the square of `face_square`.
        contrast: beta, how strongly the walk shuns edges.
    """
    from skimage.segmentation import random_walker

    head, shoulders = _ellipses(len(picture))
    if picture.std() < 1:  # nothing to tell apart
        return silhouette(len(picture))
    seeds = np.zeros(picture.shape[:2], np.uint8)
    seeds[(head < _CORES[0]) | (shoulders < _CORES[1])] = 1
    seeds[(head > _OUTSIDE) & (shoulders > _OUTSIDE)] = 2
    chance = random_walker(picture / 255.0, seeds, contrast, "bf", return_full_prob=True, channel_axis=-1)[0]
    return np.asarray(np.clip(2 * chance - 0.5, 0, 1), np.float32)


def is_profile(points: NDArray[np.float64]) -> bool:
    """Whether a face looks so far to the side that one half is hidden (beyond 50 degrees or so).

    The tip of the nose is then further from the middle of the eyes, along their axis, than 0.6 of their
    distance.

    Args:
        points: (5, 2) right eye, left eye, nose, corners of the mouth, pixels.
    """
    axis = points[1] - points[0]
    length = float(np.linalg.norm(axis))
    if not length > 0:
        return True
    off = float((points[2] - (points[0] + points[1]) / 2) @ axis) / length
    return abs(off) > _PROFILE * length
