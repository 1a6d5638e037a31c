"""Head pose of a 3DMM tracker -> camera around a head at rest.

Source: the preparation scripts of OTAvatar (arXiv 2303.14662), for tracks in the manner of AD-NeRF.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.core.errors import DataError, ShapeError

Floats = NDArray[np.floating[Any]]

FOCAL = 2985.29 / 700
"""Focal length over the picture's side at a tracked focal length of 1050 pixels."""


def euler_rotations(angles: ArrayLike) -> Floats:
    """(T, 3) angles about x, y, z in radians -> (Rz Ry Rx)^T of each row, (T, 3, 3)."""
    x, y, z = np.asarray(angles, np.float64).T
    one, zero = np.ones_like(x), np.zeros_like(x)

    def stack(*entries: Floats) -> Floats:
        return np.stack(entries, -1).reshape(-1, 3, 3)

    rx = stack(one, zero, zero, zero, np.cos(x), -np.sin(x), zero, np.sin(x), np.cos(x))
    ry = stack(np.cos(y), zero, np.sin(y), zero, one, zero, -np.sin(y), zero, np.cos(y))
    rz = stack(np.cos(z), -np.sin(z), zero, np.sin(z), np.cos(z), zero, zero, zero, one)
    return np.asarray((rz @ ry @ rx).transpose(0, 2, 1))


def nearest_rotations(matrices: Floats) -> Floats:
    """The rotations nearest to (T, 3, 3) matrices in the Frobenius norm: U diag(1, 1, det U V^T) V^T."""
    u, _, vt = np.linalg.svd(matrices)
    u[..., -1] *= np.linalg.det(u @ vt)[..., None]
    return np.asarray(u @ vt)


def tracker_to_camera(
    angles: ArrayLike, translation: ArrayLike, focal: ArrayLike, *, legacy: bool = False
) -> Floats:
    """Tracked pose of every frame -> the 25 numbers of an EG3D camera. O(T).

        R = (Rz Ry Rx)^T of (-a_x, -a_y, a_z);  R, t = means over neighbouring frames;  t_z <- t_z - 10
        o = (0.27 (-R t) + (0, 0.015, 0.161)) 2.7 / 4;  R <- R diag(1, -1, -1);  f = 4.2647 focal / 1050

    Args:
        angles: (T, 3) radians about x, y, z.
        translation: (T, 3).
        focal: (T,) pixels.
        legacy: as the scripts do it: frame i is the mean of frames i - 1 to min(i + 1, T - 2), so the last
            one is never used, and the mean of rotations is left as it is. Otherwise i - 1 to i + 1 within the
            clip, and the nearest rotation.

    Returns:
        (T, 25): camera to world, 4 x 4 row by row (axes of OpenCV), then intrinsics 3 x 3 in picture sides.

    Raises:
        ShapeError: shapes that differ.
        DataError: no frames, a single frame with ``legacy`` (which has no neighbours), or no numbers.

    >>> tracker_to_camera([[0, 0, 0]], [[0, 0, 0]], [1050])[0, [3, 7, 11, 16]].round(4).tolist()
    [0.0, 0.0101, 1.9312, 4.2647]
    """
    a, t, f = (np.asarray(v, np.float64) for v in (angles, translation, focal))
    if a.ndim != 2 or a.shape[1] != 3 or t.shape != a.shape or f.shape != a.shape[:1]:
        raise ShapeError(
            f"expected angles (T, 3), translation (T, 3), focal (T,), got {a.shape}, {t.shape}, {f.shape}"
        )
    count = len(a)
    if count < 1 + legacy:
        raise DataError(f"a track of {count} frames; at least {1 + legacy} are needed (legacy={legacy})")
    if not (np.isfinite(a).all() and np.isfinite(t).all() and np.isfinite(f).all()):
        raise DataError("the track holds values that are no numbers; track the clip again")
    single = euler_rotations(a * (-1, -1, 1))
    spans = [(max(i - 1, 0), min(i + 2, count - legacy)) for i in range(count)]
    r = np.stack([single[begin:end].mean(0) for begin, end in spans])
    t = np.stack([t[begin:end].mean(0) for begin, end in spans]) - (0, 0, 10)
    if not legacy:
        r = nearest_rotations(r)
    matrix, intrinsics = np.zeros((count, 4, 4)), np.zeros((count, 3, 3))
    matrix[:, :3, :3] = r * (1, -1, -1)
    matrix[:, :3, 3] = (0.27 * -np.einsum("tij,tj->ti", r, t) + (0, 0.015, 0.161)) * 2.7 / 4
    matrix[:, 3, 3] = 1
    intrinsics[:, 0, 0] = intrinsics[:, 1, 1] = FOCAL * f / 1050
    intrinsics[:, :2, 2], intrinsics[:, 2, 2] = 0.5, 1
    return np.concatenate([matrix.reshape(count, 16), intrinsics.reshape(count, 9)], 1)
