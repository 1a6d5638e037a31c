"""Expressions read off the 68 landmarks of iBUG, in distances of the outer eye corners."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from mien.core.errors import ShapeError

EXPRESSIONS = ("mouth_opening", "right_eye", "left_eye", "smile_width", "brow_raise")
"""What `expression_of` measures."""
_RIGHT_EYE, _LEFT_EYE = (36, 37, 38, 39, 40, 41), (45, 44, 43, 42, 47, 46)  # from the outer corner, mirrored
_RIGHT_BROW, _LEFT_BROW = tuple(range(17, 22)), tuple(range(22, 27))


def between(points: Tensor, a: int, b: int) -> Tensor:
    """|p_a - p_b| over the distance of the outer eye corners: (N, 68, 2 or 3) -> (N,)."""
    width = (points[:, 36] - points[:, 45]).norm(dim=-1)
    return cast("Tensor", (points[:, a] - points[:, b]).norm(dim=-1) / width.clamp(min=1e-6))


def mouth_opening(points: Tensor) -> Tensor:
    """Inner lips, middle above to middle below, in distances of the eye corners: (N, 68, 2 or 3) -> (N,)."""
    return between(points, 62, 66)


def smile_width(points: Tensor) -> Tensor:
    """Corner of the mouth to corner, in distances of the eye corners: (N, 68, 2 or 3) -> (N,)."""
    return between(points, 48, 54)


def eye_openings(points: Tensor) -> Tensor:
    """Mean of the two distances from upper to lower lid, in distances of the eye corners.

    (N, 68, 2 or 3) -> (N, 2): right, left of the person.
    """
    return torch.stack(
        [(between(points, e[1], e[5]) + between(points, e[2], e[4])) / 2 for e in (_RIGHT_EYE, _LEFT_EYE)],
        1,
    )


def brow_raise(points: Tensor) -> Tensor:
    """Middle of a brow to that of its eye's corners, mean of both sides, in distances of the eye corners.

    (N, 68, 2 or 3) -> (N,).
    """
    width: Tensor = (points[:, 36] - points[:, 45]).norm(dim=-1).clamp(min=1e-6)
    sides = ((_RIGHT_BROW, _RIGHT_EYE), (_LEFT_BROW, _LEFT_EYE))
    gaps = [points[:, list(b)].mean(1) - (points[:, e[0]] + points[:, e[3]]) / 2 for b, e in sides]
    return torch.stack([g.norm(dim=-1) for g in gaps]).mean(0) / width


def expression_of(points: Tensor) -> Tensor:
    """The measures of `EXPRESSIONS`: (N, 68, 2 or 3) -> (N, 5). O(N).

    Seen from the side, distances across shrink: compare with the truth from the same side.

    Raises:
        ShapeError: other points.
    """
    if points.ndim != 3 or points.shape[1] != 68 or points.shape[2] not in (2, 3):
        raise ShapeError(f"expected landmarks (N, 68, 2 or 3), got {tuple(points.shape)}")
    single = (smile_width(points), brow_raise(points))
    return torch.cat([mouth_opening(points)[:, None], eye_openings(points), torch.stack(single, 1)], 1)
