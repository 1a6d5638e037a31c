"""Compiled loops of the renderer; `mien.render.backends` loads them and stands in where numba is missing.

All in float32 and without fused multiply-add, operation by operation as `mien.render.twin` does it, so both
give the same bits. The edge function is taken relative to the pixel, which makes it exactly antisymmetric in
its two ends: neighbours never leave a gap along a shared edge.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float32]
Index = NDArray[np.int32]
HALF = np.float32(0.5)
ZERO = np.float32(0)


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def to_screen(points: Array, rows: int, cols: int, sign: float, out: Array) -> None:
    """NDC (V, 3) to pixels: sx = (x/2 + 1/2) W, sy = (1/2 - y/2) H, z times ``sign``. O(V)."""
    w, h, s = np.float32(cols), np.float32(rows), np.float32(sign)
    for v in range(len(points)):
        out[v, 0] = (points[v, 0] * HALF + HALF) * w
        out[v, 1] = (HALF - points[v, 1] * HALF) * h
        out[v, 2] = points[v, 2] * s


@njit(cache=True, nogil=True, error_model="numpy", inline="always")  # type: ignore[untyped-decorator]
def _span(v0: Any, v1: Any, v2: Any, last: Any) -> tuple[Any, Any]:
    """First and last pixel with its centre between the least and the greatest value."""
    low = np.ceil(min(v0, min(v1, v2)) - HALF)
    high = np.floor(max(v0, max(v1, v2)) - HALF)
    return max(ZERO, low), min(last, high)


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _with_pixels(screen: Array, faces: Index, last_row: Any, last_col: Any, out: Index) -> int:
    """Lists the triangles whose bounding box holds a pixel centre. No branch: most small ones hold none."""
    count = 0
    for t in range(len(faces)):
        a, b, c = faces[t, 0], faces[t, 1], faces[t, 2]
        top, bottom = _span(screen[a, 1], screen[b, 1], screen[c, 1], last_row)
        left, right = _span(screen[a, 0], screen[b, 0], screen[c, 0], last_col)
        out[count] = t
        count += int((top <= bottom) & (left <= right))
    return count


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def draw(screen: Array, faces: Index, zbuf: Array, ids: Index, base: int, cull: int) -> None:
    """Draws triangles into a z-buffer. O(T + pixels of the bounding boxes).

    Args:
        screen: (V, 3) pixel x, pixel y (down), z; smaller is nearer.
        faces: (T, 3) indices, all in range.
        zbuf: (H, W) nearest z so far; written.
        ids: (H, W) written with base + triangle.
        base: added to the triangle index.
        cull: 0 draws all, 1 leaves front faces out, 2 back faces (front: counter-clockwise with y up).
    """
    rows, cols = zbuf.shape
    last_row, last_col = np.float32(rows - 1), np.float32(cols - 1)
    listed = np.empty(len(faces), np.int32)
    count = _with_pixels(screen, faces, last_row, last_col, listed)
    for n in range(count):
        t = listed[n]
        a, b, c = faces[t, 0], faces[t, 1], faces[t, 2]
        x0, x1, x2 = screen[a, 0], screen[b, 0], screen[c, 0]
        y0, y1, y2 = screen[a, 1], screen[b, 1], screen[c, 1]
        top, bottom = _span(y0, y1, y2, last_row)
        left, right = _span(x0, x1, x2, last_col)
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if not ZERO < abs(area) < np.inf:
            continue
        front = area < ZERO
        if (cull == 1 and front) or (cull == 2 and not front):
            continue
        z0, z1, z2 = screen[a, 2], screen[b, 2], screen[c, 2]
        if not (abs(z0) < np.inf and abs(z1) < np.inf and abs(z2) < np.inf):
            continue
        nearest = min(z0, min(z1, z2))
        sign = np.float32(-1) if front else np.float32(1)  # weights above 0 inside, for both windings
        for i in range(int(top), int(bottom) + 1):
            py = np.float32(i) + HALF
            v0, v1, v2 = (y0 - py) * sign, (y1 - py) * sign, (y2 - py) * sign
            for j in range(int(left), int(right) + 1):
                px = np.float32(j) + HALF
                u0, u1, u2 = x0 - px, x1 - px, x2 - px
                e0 = u1 * v2 - u2 * v1
                e1 = u2 * v0 - u0 * v2
                e2 = u0 * v1 - u1 * v0
                total = e0 + e1 + e2
                if (min(e0, min(e1, e2)) >= ZERO) & (total > ZERO) & (nearest < zbuf[i, j]):
                    z = max(nearest, z0 + e1 / total * (z1 - z0) + e2 / total * (z2 - z0))
                    if z < zbuf[i, j]:
                        zbuf[i, j] = z
                        ids[i, j] = base + t


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def weights(screen: Array, faces: Index, ids: Index, out: Array) -> None:
    """Screen-linear weights of vertices 1 and 2 at the covered pixels; out (H, W, 2). O(H W)."""
    rows, cols = ids.shape
    for i in range(rows):
        py = np.float32(i) + HALF
        for j in range(cols):
            t = ids[i, j]
            if t < 0:
                out[i, j, 0] = ZERO
                out[i, j, 1] = ZERO
                continue
            a, b, c = faces[t, 0], faces[t, 1], faces[t, 2]
            px = np.float32(j) + HALF
            u0, u1, u2 = screen[a, 0] - px, screen[b, 0] - px, screen[c, 0] - px
            v0, v1, v2 = screen[a, 1] - py, screen[b, 1] - py, screen[c, 1] - py
            e0 = u1 * v2 - u2 * v1
            e1 = u2 * v0 - u0 * v2
            e2 = u0 * v1 - u1 * v0
            total = e0 + e1 + e2
            out[i, j, 0] = e1 / total
            out[i, j, 1] = e2 / total


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def blend(
    points: Array, faces: Index, corners: Index, values: Array, ids: Index, w: Array, unit: bool, out: Array
) -> None:
    """Attributes (V, C) at the covered pixels of one image; out (H, W, C), left alone elsewhere. O(H W C).

    Args:
        points: (V, 3) NDC.
        faces: (T, 3) into points.
        corners: (T, 3) into values.
        values: (U, C).
        ids: (H, W).
        w: (V,) camera depth, or (0,) for orthographic views.
        unit: scale the results to length 1.
        out: (H, W, C).
    """
    rows, cols = ids.shape
    channels = values.shape[1]
    for i in range(rows):
        py = np.float32(1) - (np.float32(i) + HALF) / np.float32(rows) * np.float32(2)
        for j in range(cols):
            t = ids[i, j]
            if t < 0:
                continue
            a, b, c = faces[t, 0], faces[t, 1], faces[t, 2]
            px = (np.float32(j) + HALF) / np.float32(cols) * np.float32(2) - np.float32(1)
            u0, u1, u2 = points[a, 0] - px, points[b, 0] - px, points[c, 0] - px
            v0, v1, v2 = points[a, 1] - py, points[b, 1] - py, points[c, 1] - py
            e0 = u1 * v2 - u2 * v1
            e1 = u2 * v0 - u0 * v2
            e2 = u0 * v1 - u1 * v0
            if len(w) > 0:
                e0, e1, e2 = e0 / w[a], e1 / w[b], e2 / w[c]
            total = e0 + e1 + e2
            b0, b1, b2 = e0 / total, e1 / total, e2 / total
            p, q, r = corners[t, 0], corners[t, 1], corners[t, 2]
            length = ZERO
            for k in range(channels):
                value = b0 * values[p, k] + b1 * values[q, k] + b2 * values[r, k]
                out[i, j, k] = value
                length += value * value
            if unit and length > ZERO:
                scale = np.float32(1) / np.sqrt(length)
                for k in range(channels):
                    out[i, j, k] *= scale


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def march(
    tau: Array, colors: Array, places: Array, ends: bool, rgb: Array, depth: Array, weight: Array, seen: Array
) -> None:
    """Front-to-back sums of `mien.render.march` for R rays. O(R N C).

    Args:
        tau: (R, N) optical thickness of each interval.
        colors: (R, N, C), or (R, N + 1, C) at the ends of the intervals.
        places: (R, N) middle of each interval.
        ends: whether colours stand at the ends.
        rgb: (R, C) written.
        depth: (R,) sum of weight x place, written.
        weight: (R, N) written.
        seen: (R, N + 1) written: transmittance before each interval, and after the last.
    """
    rays, count = tau.shape
    channels = colors.shape[2]
    for r in range(rays):
        thick, before, place = ZERO, np.float32(1), ZERO
        for k in range(channels):
            rgb[r, k] = ZERO
        for n in range(count):
            seen[r, n] = before
            thick += tau[r, n]
            after = np.exp(-thick)
            w = -before * np.float32(np.expm1(-tau[r, n]))
            weight[r, n] = w
            place += w * places[r, n]
            for k in range(channels):
                if ends:
                    rgb[r, k] += w * HALF * (colors[r, n, k] + colors[r, n + 1, k])
                else:
                    rgb[r, k] += w * colors[r, n, k]
            before = after
        seen[r, count] = before
        depth[r] = place
