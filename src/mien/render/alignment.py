"""Aligned faces: least-squares similarity of five landmarks to the standard template, and the warp."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.core.errors import ConfigError, DataError

Array = NDArray[Any]  # of floats

TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
"""Left and right eye, nose tip, left and right mouth corner (viewer's side), pixels of 112 x 112."""


def template(size: int) -> Array:
    """(5, 2) for another size: multiples of 112 scale; multiples of 128 keep a 112-wide middle.

    Raises:
        ConfigError: neither.
    """
    if size > 0 and size % 112 == 0:
        return TEMPLATE * (size / 112)
    if size > 0 and size % 128 == 0:
        return TEMPLATE * (size / 128) + np.array([8 * size / 128, 0])
    raise ConfigError(f"aligned size {size} is not a multiple of 112 or 128")


def similarity(source: Array, target: Array) -> Array:
    """The least-squares similarity from source to target (N, 2): M (2, 3) = [s R | t], no reflection.

    Umeyama 1991, equations 38-43: with centred points, A = target^T source / N = U S V^T,
    R = U D V^T, s = tr(S D) / var(source), t = mean(target) - s R mean(source).

    Raises:
        DataError: all source points are the same.
    """
    a, b = np.asarray(source, np.float64), np.asarray(target, np.float64)
    ma, mb = a.mean(0), b.mean(0)
    a, b = a - ma, b - mb
    spread = (a**2).sum() / len(a)
    if not spread > 0:
        raise DataError("alignment: the landmarks are all one point; check their columns")
    u, s, vt = np.linalg.svd(b.T @ a / len(a))
    d = np.array([1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    r = (u * d) @ vt
    scale = (s * d).sum() / spread
    return np.concatenate([scale * r, (mb - scale * r @ ma)[:, None]], 1)


def warp(image: NDArray[np.uint8], matrix: Array, size: int) -> NDArray[np.uint8]:
    """Output pixel (u, v) samples the image (H, W, 3) bilinearly at M^-1 (u, v, 1); 0 outside. O(size^2)."""
    from scipy.ndimage import map_coordinates

    inverse = np.linalg.inv(matrix[:, :2])
    u, v = np.meshgrid(np.arange(size), np.arange(size))
    p = np.stack([u - matrix[0, 2], v - matrix[1, 2]], -1) @ inverse.T
    planes = [
        map_coordinates(image[..., c].astype(np.float32), [p[..., 1], p[..., 0]], order=1, mode="constant")
        for c in range(image.shape[2])
    ]
    return np.clip(np.stack(planes, -1) + 0.5, 0, 255).astype(np.uint8)


def align_face(image: NDArray[np.uint8], five: Array, size: int = 112) -> NDArray[np.uint8]:
    """The face of ``image`` (H, W, 3) at the standard place, (size, size, 3).

    Args:
        image: uint8.
        five: (5, 2) landmarks, pixels, in the template's order.
        size: a multiple of 112 or 128.
    """
    return warp(image, similarity(five, template(size)), size)


def five_of_68(points: Array) -> Array:
    """Five landmarks (.., 5, C) of 68 (.., 68, C): eyes are the mean of their two corners."""
    p = np.asarray(points)
    eyes = [0.5 * (p[..., a, :] + p[..., b, :]) for a, b in ((36, 39), (42, 45))]
    return np.stack([*eyes, p[..., 30, :], p[..., 48, :], p[..., 54, :]], -2)
