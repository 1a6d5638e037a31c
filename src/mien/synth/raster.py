"""Perspective z-buffer of the pictures of people, on the renderer's kernel; decimetres of camera depth."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.render import raster_numpy
from mien.synth.jit import njit

Array = NDArray[Any]  # of floats
Index = NDArray[np.int32]
_NEAR = 0.1  # dm; a triangle with a vertex before it is left out


def raster(screen: Array, faces: Index, zbuf: Array, ids: Index, base: int = 0) -> None:
    """Draws triangles into buffers that meshes and strands share. O(T + pixels).

    Args:
        screen: (V, 3) pixel x, pixel y (down), camera depth in dm.
        faces: (T, 3).
        zbuf: (H, W) of -1 / depth, starts at 0; written.
        ids: (H, W) written with base + triangle.
        base: added to the triangle index.
    """
    depth = screen[:, 2]
    z = np.where(depth > _NEAR, -1 / np.maximum(depth, _NEAR), np.inf)
    raster_numpy(
        np.ascontiguousarray(np.stack([screen[:, 0], screen[:, 1], z], 1), np.float32), faces, zbuf, ids, base
    )


@njit(cache=True)  # type: ignore[untyped-decorator]
def weights(screen: Array, faces: Index, rows: Index, cols: Index, face: Index) -> Array:
    """Perspective-correct weights (N, 2) of vertices 1, 2 at pixel centres; screen as in `raster`. O(N)."""
    out = np.empty((len(rows), 2), np.float32)
    for n in range(len(rows)):
        a, b, c = faces[face[n]]
        x0, y0, d0 = screen[a]
        x1, y1, d1 = screen[b]
        x2, y2, d2 = screen[c]
        px, py = cols[n] + 0.5, rows[n] + 0.5
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        w1 = ((px - x0) * (y2 - y0) - (x2 - x0) * (py - y0)) / area
        w2 = ((x1 - x0) * (py - y0) - (px - x0) * (y1 - y0)) / area
        u0, u1, u2 = (1 - w1 - w2) / d0, w1 / d1, w2 / d2
        s = u0 + u1 + u2
        out[n, 0], out[n, 1] = u1 / s, u2 / s
    return out
