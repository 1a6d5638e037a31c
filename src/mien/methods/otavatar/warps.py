"""Baselines that know no third dimension: the source picture, moved in the plane to the target's landmarks.

All are given the true landmarks of the target, which no avatar gets. Pictures are (H, W, 3) in [0, 1] on
white, landmarks (N, 2) in picture sides, from the left and from the top.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.core.errors import DataError, ShapeError

Floats = NDArray[np.floating[Any]]


def copy_source(picture: Floats, source: ArrayLike, target: ArrayLike) -> Floats:
    """The source as it is.

    Raises:
        ShapeError: see `best_homography`.
    """
    _checked(picture, source, target, 0)
    return picture


def best_homography(picture: Floats, source: ArrayLike, target: ArrayLike) -> Floats:
    """The source seen through the homography that fits all landmarks best. O(H W + N).

    Direct linear transform: x' x H x = 0 for all pairs in the sense of least squares, each set first brought
    to mean 0 and mean distance sqrt(2).

    Args:
        picture: (H, W, 3).
        source: (N, 2) landmarks in it, N >= 4.
        target: (N, 2) where they shall be.

    Raises:
        ShapeError: other shapes, or too few landmarks.
        DataError: landmarks on one line, which no homography fits.

    Source: Hartley and Zisserman, Multiple view geometry in computer vision, algorithm 4.2.
    """
    return warp(picture, _through(fit_homography(*_checked(picture, source, target, 4)[::-1])))


def fit_homography(points: ArrayLike, images: ArrayLike) -> Floats:
    """(3, 3) H with (x', y', 1) ~ H (x, y, 1) of pairs (N, 2), H[2, 2] = 1 (`best_homography`). O(N).

    Raises:
        DataError: points on one line.
    """
    a, b = (np.asarray(p, np.float64) for p in (points, images))
    from_a, from_b = _normalisation(a), _normalisation(b)
    (x, y), (u, v) = _applied(from_a, a).T, _applied(from_b, b).T
    one, zero = np.ones_like(x), np.zeros_like(x)
    rows = [
        np.stack([x, y, one, zero, zero, zero, -x * u, -y * u, -u], 1),
        np.stack([zero, zero, zero, x, y, one, -x * v, -y * v, -v], 1),
    ]
    _, values, vt = np.linalg.svd(np.concatenate(rows))
    if values[7] < 1e-9 * values[0]:
        raise DataError("the landmarks lie on one line; no homography fits them")
    h = np.linalg.inv(from_b) @ vt[8].reshape(3, 3) @ from_a
    return cast("Floats", h / h[2, 2])


def _normalisation(points: Floats) -> Floats:
    """(3, 3) that brings points to mean 0 and mean distance sqrt(2)."""
    mean = points.mean(0)
    scale = np.sqrt(2) / max(float(np.linalg.norm(points - mean, axis=1).mean()), 1e-12)
    return np.array([[scale, 0, -scale * mean[0]], [0, scale, -scale * mean[1]], [0, 0, 1]])


def _applied(h: Floats, points: Floats) -> Floats:
    """Images (N, 2) of points (N, 2) under H."""
    seen = np.concatenate([points, np.ones((len(points), 1))], 1) @ h.T
    return cast("Floats", seen[:, :2] / seen[:, 2:])


def _through(h: Floats) -> Any:
    return lambda points: _applied(h, points)


def thin_plate_warp(
    picture: Floats, source: ArrayLike, target: ArrayLike, *, smoothing: float = 1e-3
) -> Floats:
    """The source bent so that its landmarks come to lie at the target's; the picture's corners stay.

    O(H W N + N^3).

    From target to source, f(p) = A p + b + sum_i w_i r_i^2 log r_i with r_i = |p - t_i|: the plane that bends
    least among those with f(t_i) near s_i.

    Args:
        picture: (H, W, 3).
        source: (N, 2) landmarks in it.
        target: (N, 2) where they shall be.
        smoothing: 0 = exactly there; above, less bending, and landmarks may coincide. The default is the best
            for rendered validation people.

    Raises:
        ShapeError: other shapes.
        DataError: smoothing 0 with landmarks that coincide.

    Source: Bookstein, Principal warps, 1989.
    """
    return warp(picture, fit_thin_plate(*_checked(picture, source, target, 1)[::-1], smoothing=smoothing))


def fit_thin_plate(points: ArrayLike, images: ArrayLike, *, smoothing: float = 0.0) -> Any:
    """The map of `thin_plate_warp` from places (M, 2) to places (M, 2), by pairs (N, 2). O(N^3).

    Raises:
        DataError: smoothing 0 with points that coincide.
    """
    from scipy.interpolate import RBFInterpolator

    corners = np.array([[0.0, 0], [1, 0], [0, 1], [1, 1]])
    a, b = (np.concatenate([np.asarray(p, np.float64), corners]) for p in (points, images))
    try:
        return RBFInterpolator(a, b, smoothing=smoothing, kernel="thin_plate_spline")
    except np.linalg.LinAlgError:
        raise DataError("landmarks coincide; a thin plate through them needs smoothing above 0") from None


def warp(picture: Floats, back: Any) -> Floats:
    """A picture whose place p shows the source at back(p): bilinear, white outside. O(H W).

    Args:
        picture: (H, W, 3).
        back: places (M, 2) of the result -> places (M, 2) of the source, in picture sides.
    """
    from skimage.transform import warp as resampled

    height, width = picture.shape[:2]
    side = np.array([width, height])

    def pixels(
        centres: Floats,
    ) -> Floats:  # skimage's pixel (j, i) is our place ((j + 1/2) / W, (i + 1/2) / H)
        return cast("Floats", back((centres + 0.5) / side) * side - 0.5)

    return cast("Floats", resampled(picture, pixels, order=1, mode="constant", cval=1.0))


def _checked(picture: Floats, source: ArrayLike, target: ArrayLike, least: int) -> tuple[Floats, Floats]:
    a, b = np.asarray(source, np.float64), np.asarray(target, np.float64)
    if picture.ndim != 3 or picture.shape[2] != 3 or not np.issubdtype(picture.dtype, np.floating):
        raise ShapeError(f"expected a picture (H, W, 3) of floats, got {picture.dtype} {picture.shape}")
    if a.shape != b.shape or a.ndim != 2 or a.shape[1] != 2 or len(a) < least:
        raise ShapeError(f"expected landmarks (at least {least}, 2) twice, got {a.shape} and {b.shape}")
    return a, b
