"""Compiled tri-plane march; `mien.render.triplane_fast` loads it, `mien.render.triplane` is its oracle.

Planes lie channels-last and hold the decoder's hidden layer already, so a point costs twelve short reads, one
softplus a hidden unit and one dot product; its colours are worked out only where light comes from. Loops over
hidden units are written so that the compiler turns them into vector instructions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float32]
ONE = np.float32(1)
HALF = np.float32(0.5)
ZERO = np.float32(0)
FAST = {"nsz", "arcp", "contract", "reassoc"}  # infinities and nan stay what they are


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)  # type: ignore[untyped-decorator]
def _exp_minus(v: Any) -> Any:
    """exp(-|v|), at least exp(-17): the 16th power of a Taylor sum at a sixteenth."""
    z = -min(abs(v), np.float32(17)) * np.float32(0.0625)
    y = z * np.float32(1 / 720) + np.float32(1 / 120)
    y = y * z + np.float32(1 / 24)
    y = y * z + np.float32(1 / 6)
    y = y * z + HALF
    y = y * z + ONE
    y = y * z + ONE
    y = y * y
    y = y * y
    y = y * y
    return y * y


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)  # type: ignore[untyped-decorator]
def softplus_rows(x: Array) -> None:
    """log(1 + exp(x)) in place, to 1e-6: max(x, 0) + 2 artanh(y / (2 + y)), y = exp(-|x|). O(len(x))."""
    for c in range(len(x)):
        y = _exp_minus(x[c])
        s = y / (np.float32(2) + y)
        q = s * s
        p = q * np.float32(2 / 11) + np.float32(2 / 9)
        p = p * q + np.float32(2 / 7)
        p = p * q + np.float32(2 / 5)
        p = p * q + np.float32(2 / 3)
        p = p * q + np.float32(2)
        x[c] = max(x[c], ZERO) + s * p


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)  # type: ignore[untyped-decorator]
def sigmoid_rows(x: Array) -> None:
    """1 / (1 + exp(-x)) in place, to 1e-6. O(len(x))."""
    for c in range(len(x)):
        y = _exp_minus(x[c])
        x[c] = (ONE if x[c] >= ZERO else y) / (ONE + y)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)  # type: ignore[untyped-decorator]
def _read(flat: Array, k: int, rows: int, cols: int, u: Any, v: Any, out: Array) -> None:
    """Adds a bilinear read of plane k at (u, v), zeros outside; texel j of P is at (2 j + 1) / P - 1.

    Offsets into the flat planes are unsigned: no check for negative ones, no array made for each row.
    """
    x = (u + ONE) * HALF * np.float32(cols) - HALF
    y = (v + ONE) * HALF * np.float32(rows) - HALF
    if not (x > -ONE and y > -ONE and x < np.float32(cols) and y < np.float32(rows)):
        return
    left, top = np.floor(x), np.floor(y)
    a, b = x - left, y - top
    j0, i0 = int(left), int(top)
    j1, i1 = j0 + 1, i0 + 1
    a0, a1, b0, b1 = ONE - a, a, ONE - b, b
    if j0 < 0:
        a0, j0 = ZERO, 0
    if i0 < 0:
        b0, i0 = ZERO, 0
    if j1 >= cols:
        a1, j1 = ZERO, j0
    if i1 >= rows:
        b1, i1 = ZERO, i0
    w00, w01, w10, w11 = b0 * a0, b0 * a1, b1 * a0, b1 * a1
    width = len(out)
    p00 = np.uint64(((k * rows + i0) * cols + j0) * width)
    p01 = np.uint64(((k * rows + i0) * cols + j1) * width)
    p10 = np.uint64(((k * rows + i1) * cols + j0) * width)
    p11 = np.uint64(((k * rows + i1) * cols + j1) * width)
    for c in range(np.uint64(width)):
        out[c] += w00 * flat[p00 + c] + w01 * flat[p01 + c] + w10 * flat[p10 + c] + w11 * flat[p11 + c]


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)  # type: ignore[untyped-decorator]
def _hidden(
    flat: Array, shape: Any, axes: Any, scale: Any, px: Any, py: Any, pz: Any, bias: Array, out: Array
) -> None:
    """softplus(W1 x + b1) at a point; out (H,). O(H)."""
    q = (px * scale, py * scale, pz * scale)
    for c in range(len(out)):
        out[c] = bias[c]
    for k in range(3):
        _read(flat, k, shape[0], shape[1], q[axes[k][0]], q[axes[k][1]], out)
    softplus_rows(out)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)  # type: ignore[untyped-decorator]
def _dot(a: Array, b: Array) -> Any:
    total = ZERO
    for c in range(len(a)):
        total += a[c] * b[c]
    return total


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)  # type: ignore[untyped-decorator]
def _colours(hidden: Array, w2: Array, b2: Array, out: Array) -> None:
    """1.002 sigmoid(y_1..) - 0.001; out (F,). O(F H)."""
    for f in range(len(out)):
        out[f] = _dot(hidden, w2[f + 1]) + b2[f + 1]
    sigmoid_rows(out)
    for f in range(len(out)):
        out[f] = out[f] * np.float32(1.002) - np.float32(0.001)


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _thickness(sigma: Any, scale: Any) -> Any:
    """Scale softplus(sigma - 1)."""
    x = sigma - ONE
    return scale * (max(x, ZERO) + np.log1p(np.exp(-abs(x))))


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _raw_of(rho: Any) -> Any:
    """The raw density whose softplus(sigma - 1) is rho."""
    return ONE + (rho if rho > np.float32(30) else np.float32(np.log(np.expm1(rho))))


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)  # type: ignore[untyped-decorator]
def raw_density(
    planes: Array, axes: Any, box: Any, b1: Array, w2: Array, b2: Array, points: Array, out: Array
) -> None:
    """Raw density at points (M, 3); out (M,). O(M H)."""
    hidden = np.empty(len(b1), np.float32)
    scale, flat, shape = np.float32(2) / box, planes.reshape(-1), (planes.shape[1], planes.shape[2])
    for m in range(len(points)):
        _hidden(flat, shape, axes, scale, points[m, 0], points[m, 1], points[m, 2], b1, hidden)
        out[m] = _dot(hidden, w2[0]) + b2[0]


@njit(cache=True, nogil=True, error_model="numpy", inline="always")  # type: ignore[untyped-decorator]
def _occupied(cells: Any, half: Any, size: Any, px: Any, py: Any, pz: Any) -> bool:
    """Whether a point lies in an occupied cell; nothing is outside the box."""
    x, y, z = (px + half) * size, (py + half) * size, (pz + half) * size
    n = np.float32(len(cells))  # one comparison each: nan is outside, too
    inside = x >= ZERO and y >= ZERO and z >= ZERO and x < n and y < n and z < n
    return inside and cells[int(z), int(y), int(x)] > 0


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)  # type: ignore[untyped-decorator]
def march_planes(
    planes: Array,
    axes: Any,
    box: Any,
    b1: Array,
    w2: Array,
    b2: Array,
    cells: Any,
    stride: Any,
    origins: Array,
    directions: Array,
    starts: Array,
    steps: Array,
    count: int,
    density_scale: Any,
    leap: int,
    refine: Any,
    stop: Any,
    dim: Any,
    features: Array,
    depth: Array,
    opacity: Array,
) -> int:
    """Front-to-back mid-point march of R rays; returns the points evaluated. O(points H + lit points F H).

    Args:
        planes: (3, P, P, H) W1 times the planes, to be added up.
        axes: for each of three planes the two coordinates that it reads.
        box: side of the cube that the planes span.
        b1: (H,).
        w2: (1 + F, H).
        b2: (1 + F,).
        cells: (G, G, G) uint8 over the box, z first; (0, 0, 0): no cell is skipped.
        stride: (R,) samples to go on by from one that lies in an empty cell.
        origins: (R, 3).
        directions: (R, 3).
        starts: (R,) distance of the first sample.
        steps: (R,) distance between samples.
        count: samples of a ray.
        density_scale: k of k softplus(sigma - 1).
        leap: samples to go on by where a field is thin; where it proves not to be, those between follow.
        refine: optical thickness of a leap, from the denser of its ends, that is not thin any more.
        stop: a ray ends where less light than this is left; what it saw stands for the rest.
        dim: an interval of less weight adds no colour.
        features: (R, F) sum of w c, written.
        depth: (R,) sum of w t, written.
        opacity: (R,) sum of w, written.
    """
    colours = features.shape[1]
    hidden, seen = np.empty((2, len(b1)), np.float32), np.empty((2, colours), np.float32)
    here = 0  # row of this sample; the other is the last one's (exchanging arrays costs more than the march)
    scale, half = np.float32(2) / box, HALF * box
    flat, shape = planes.reshape(-1), (planes.shape[1], planes.shape[2])
    size = np.float32(len(cells)) / box
    evaluated = 0
    for r in range(len(origins)):
        ox, oy, oz = origins[r, 0], origins[r, 1], origins[r, 2]
        dx, dy, dz = directions[r, 0], directions[r, 1], directions[r, 2]
        light, place, total, last_sigma = ONE, ZERO, ZERO, ZERO
        joined, coloured = False, False
        last, careful, thick = 0, 0, _raw_of(refine / (density_scale * np.float32(leap) * steps[r]))
        for f in range(colours):
            features[r, f] = ZERO
        j = 0
        while j < count:
            t = starts[r] + np.float32(j) * steps[r]
            px, py, pz = ox + t * dx, oy + t * dy, oz + t * dz
            if len(cells) > 0 and not _occupied(cells, half, size, px, py, pz):
                joined = False
                j += stride[r]
                continue
            _hidden(flat, shape, axes, scale, px, py, pz, b1, hidden[here])
            evaluated += 1
            sigma = _dot(hidden[here], w2[0]) + b2[0]
            if joined and j > last + 1 and max(sigma, last_sigma) > thick:
                careful, j = j, last + 1
                continue
            known = False
            if joined:
                length = np.float32(j - last) * steps[r]
                tau = _thickness(HALF * (last_sigma + sigma), density_scale) * length
                w = -light * np.float32(np.expm1(-tau))
                light -= w
                total += w
                place += w * (t - HALF * length)
                if w > dim:
                    if not coloured:
                        _colours(hidden[1 - here], w2, b2, seen[1 - here])
                    _colours(hidden[here], w2, b2, seen[here])
                    known = True
                    for f in range(colours):
                        features[r, f] += w * HALF * (seen[0, f] + seen[1, f])
                if light < stop:
                    for f in range(colours):
                        features[r, f] /= total
                    place /= total
                    total = ONE
                    break
            here = 1 - here
            last_sigma, joined, coloured, last = sigma, True, known, j
            if j < careful or sigma > thick or j == count - 1:
                j += 1
            else:
                j = min(j + leap, count - 1)
        depth[r] = place
        opacity[r] = total
    return evaluated
