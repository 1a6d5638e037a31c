"""The steps of `mien.synth.surveillance` on small pictures, compiled: each a plain loop over one picture.

Pictures are (H, W, 3) float64 in [0, 1]. What is random comes from a counter: value i of a picture is a hash
of (its key, i), so nothing depends on order or batch.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.synth.jit import njit

Array = NDArray[Any]  # of floats
_NORMAL_OF_FOUR = math.sqrt(3.0)
_LUMA = np.array([
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
], np.int64).reshape(8, 8)  # fmt: skip
_CHROMA = np.full((8, 8), 99, np.int64)
_CHROMA[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]
_u, _x = np.mgrid[0:8, 0:8]
_DCT = np.cos((2 * _x + 1) * _u * np.pi / 16) * np.where(_u == 0, np.sqrt(1 / 8), 0.5)


@njit(cache=True, inline="always", error_model="numpy")  # type: ignore[untyped-decorator]
def _mix(z: Any) -> Any:
    """The SplitMix64 finaliser, as `mien.core.seeds.mix64`."""
    z = z + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@njit(cache=True, inline="always", error_model="numpy")  # type: ignore[untyped-decorator]
def _chance(key: Any, i: int) -> float:
    """Value i of a key's stream, uniform in [0, 1)."""
    return float(_mix(key ^ _mix(np.uint64(i))) >> np.uint64(11)) * 2.0**-53


@njit(cache=True, inline="always", error_model="numpy")  # type: ignore[untyped-decorator]
def _normal(key: Any, i: int) -> float:
    """Nearly normal: the sum of four uniform 16-bit numbers, unit variance, at most 3.5 from 0."""
    z = _mix(key ^ _mix(np.uint64(i)))
    low = np.uint64(0xFFFF)
    total = (
        float(z & low) + float((z >> np.uint64(16)) & low)
        + float((z >> np.uint64(32)) & low) + float(z >> np.uint64(48))
    )  # fmt: skip
    return (total / 65535.0 - 2.0) * _NORMAL_OF_FOUR


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def line_kernel(length: float, angle: float) -> Array:
    """See `mien.synth.surveillance.motion_kernel`."""
    r = math.ceil(length / 2)
    side, count = 2 * r + 1, max(1, int(8 * length))
    out = np.zeros((side, side))
    for n in range(count):
        part = n / (count - 1) if count > 1 else 0.0
        t = -(length - 1) / 2 + part * (length - 1)
        x, y = r + t * math.cos(angle), r + t * math.sin(angle)
        i, j = math.floor(y), math.floor(x)
        for a in range(2):
            for b in range(2):
                if i + a < side and j + b < side:
                    out[i + a, j + b] += (1 - abs(y - i - a)) * (1 - abs(x - j - b))
    return out / out.sum()


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def convolved(x: Array, kernel: Array, is_edge_repeated: bool) -> Array:
    """Convolution with a small square kernel that is symmetric about its middle."""
    rows, cols, channels = x.shape
    r = len(kernel) // 2
    out = np.zeros_like(x)
    for a in range(len(kernel)):
        for b in range(len(kernel)):
            w = kernel[a, b]
            if w == 0:
                continue
            for i in range(rows):
                y = i + a - r
                if is_edge_repeated:
                    y = min(max(y, 0), rows - 1)
                elif y < 0 or y >= rows:
                    continue
                for j in range(cols):
                    z = j + b - r
                    if is_edge_repeated:
                        z = min(max(z, 0), cols - 1)
                    elif z < 0 or z >= cols:
                        continue
                    for c in range(channels):
                        out[i, j, c] += w * x[y, z, c]
    return out


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def weighted(x: Array, down: Array, across: Array) -> Array:
    """Rows and columns mixed by banded matrices: (h, H), (w, W) and (H, W, C) -> (h, w, C)."""
    rows, cols, channels = x.shape
    middle = np.zeros((len(down), cols, channels))
    for i in range(len(down)):
        for y in range(rows):
            w = down[i, y]
            if w != 0:
                for j in range(cols):
                    for c in range(channels):
                        middle[i, j, c] += w * x[y, j, c]
    out = np.zeros((len(down), len(across), channels))
    for j in range(len(across)):
        for z in range(cols):
            w = across[j, z]
            if w != 0:
                for i in range(len(down)):
                    for c in range(channels):
                        out[i, j, c] += w * middle[i, z, c]
    return out


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def gauss_weights(count: int, sigma: float) -> Array:
    """(count, count) of a Gaussian cut at 4 sigma, edges repeated."""
    out, r = np.zeros((count, count)), int(4 * sigma + 0.5)
    line = np.exp(-0.5 * (np.arange(-r, r + 1) / sigma) ** 2)
    line /= line.sum()
    for i in range(count):
        for k in range(2 * r + 1):
            out[i, min(max(i + k - r, 0), count - 1)] += line[k]
    return out


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def area_weights(old: int, new: int) -> Array:
    """(new, old) shares of old cells in new ones."""
    out = np.zeros((new, old))
    for i in range(new):
        low, high = i * old / new, (i + 1) * old / new
        for k in range(int(low), min(old, math.ceil(high))):
            out[i, k] = max(0.0, min(high, k + 1) - max(low, k)) * new / old
    return out


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def enlarge_weights(old: int, new: int, kind: int) -> Array:
    """(new, old) of interpolation at pixel centres: 0 nearest, 1 bilinear, 2 bicubic (a = -1/2)."""
    out = np.zeros((new, old))
    for i in range(new):
        at = (i + 0.5) * old / new
        if kind == 0:
            out[i, min(old - 1, int(at))] = 1.0
            continue
        total = 0.0
        for k in range(max(0, int(at - kind + 0.5)), min(old, int(at + kind + 0.5))):
            t = abs(k + 0.5 - at)
            if kind == 1:
                w = max(0.0, 1 - t)
            elif t < 1:
                w = (1.5 * t - 2.5) * t * t + 1
            else:
                w = (((t - 5) * t + 8) * t - 4) * -0.5 if t < 2 else 0.0
            out[i, k] = w
            total += w
        out[i] /= total
    return out


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def grainy(x: Array, peak: float, sigma: float, key: Any) -> Array:
    """Photon and read noise: variance x / peak + sigma^2, clipped to [0, 1]; photons as a normal."""
    out, n = np.empty_like(x), 0
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            for c in range(3):
                v = min(max(x[i, j, c], 0.0), 1.0)
                v += math.sqrt(v / peak + sigma * sigma) * _normal(key, n)
                out[i, j, c] = min(max(v, 0.0), 1.0)
                n += 1
    return out


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def snowy(x: Array, q: float, key: Any) -> Array:
    """Streaks of flakes, about .006 q of the pixels."""
    rows, cols = x.shape[:2]
    flakes = np.zeros((rows, cols, 1))
    chance, count, n = _chance(key, 0), 0, 1
    mean = 0.006 * q * rows * cols
    term = math.exp(-mean)
    total = term
    while chance > total and count < 1000:  # a Poisson number by its distribution function
        count += 1
        term *= mean / count
        total += term
    for _ in range(count):
        i, j = int(rows * _chance(key, n)), int(cols * _chance(key, n + 1))
        flakes[i, j, 0] = 0.4 + 0.6 * _chance(key, n + 2)
        n += 3
    length, angle = 1 + 4 * _chance(key, n), 1.0 + 1.1 * _chance(key, n + 1)
    streak = convolved(flakes, line_kernel(length, angle), False)
    out = np.empty_like(x)
    for i in range(rows):
        for j in range(cols):
            cover = min(1.6 * streak[i, j, 0], 0.9)
            for c in range(3):
                out[i, j, c] = x[i, j, c] * (1 - cover) + cover * 0.95
    return out


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _quantised(plane: Array, table: Array, quality: int) -> Array:
    """A plane of levels 0 .. 255 after the 8 x 8 cosine transform and its quantiser, edges repeated."""
    rows, cols = plane.shape
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    out = np.empty_like(plane)
    block, half, coef = np.empty((8, 8)), np.empty((8, 8)), np.empty((8, 8))
    for top in range(0, rows, 8):
        for left in range(0, cols, 8):
            for i in range(8):
                for j in range(8):
                    block[i, j] = plane[min(top + i, rows - 1), min(left + j, cols - 1)] - 128
            _product(_DCT, block, half, False, False)
            _product(half, _DCT, coef, False, True)
            for i in range(8):
                for j in range(8):
                    step = min(max((table[i, j] * scale + 50) // 100, 1), 255)
                    coef[i, j] = step * math.floor(coef[i, j] / step + 0.5)
            _product(_DCT, coef, half, True, False)
            _product(half, _DCT, block, False, False)
            for i in range(min(8, rows - top)):
                for j in range(min(8, cols - left)):
                    level = math.floor(block[i, j] + 128.5)
                    out[top + i, left + j] = min(max(level, 0.0), 255.0)
    return out


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _product(a: Array, b: Array, out: Array, is_first_turned: bool, is_second_turned: bool) -> None:
    for i in range(8):
        for j in range(8):
            total = 0.0
            for k in range(8):
                left = a[k, i] if is_first_turned else a[i, k]
                right = b[j, k] if is_second_turned else b[k, j]
                total += left * right
            out[i, j] = total


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def compressed(x: Array, quality: int) -> Array:
    """What JPEG leaves of a picture: YCbCr, chroma at half size, the standard tables at a quality."""
    rows, cols = x.shape[:2]
    y = np.empty((rows, cols))
    tall, wide = (rows + 1) // 2, (cols + 1) // 2
    blue, red = np.zeros((tall, wide)), np.zeros((tall, wide))
    count = np.zeros((tall, wide))
    for i in range(rows):
        for j in range(cols):
            r = math.floor(255 * x[i, j, 0] + 0.5)
            g = math.floor(255 * x[i, j, 1] + 0.5)
            b = math.floor(255 * x[i, j, 2] + 0.5)
            y[i, j] = math.floor(0.299 * r + 0.587 * g + 0.114 * b + 0.5)
            blue[i // 2, j // 2] += math.floor(128.5 - 0.168736 * r - 0.331264 * g + 0.5 * b)
            red[i // 2, j // 2] += math.floor(128.5 + 0.5 * r - 0.418688 * g - 0.081312 * b)
            count[i // 2, j // 2] += 1
    y = _quantised(y, _LUMA, quality)
    blue, red = _quantised(blue / count, _CHROMA, quality), _quantised(red / count, _CHROMA, quality)
    out = np.empty_like(x)
    for i in range(rows):
        for j in range(cols):
            u, v = _halfway(blue, i, j) - 128, _halfway(red, i, j) - 128
            out[i, j] = y[i, j]
            out[i, j, 0] += 1.402 * v
            out[i, j, 1] -= 0.344136 * u + 0.714136 * v
            out[i, j, 2] += 1.772 * u
            for c in range(3):
                out[i, j, c] = min(max(math.floor(out[i, j, c] + 0.5), 0.0), 255.0) / 255
    return out


@njit(cache=True, inline="always", error_model="numpy")  # type: ignore[untyped-decorator]
def _halfway(plane: Array, i: int, j: int) -> float:
    """Value of a plane of half size at a pixel: 3/4 and 1/4 of the two nearest in each direction."""
    a, b = i // 2, j // 2
    c = min(max(a + (1 if i % 2 else -1), 0), plane.shape[0] - 1)
    d = min(max(b + (1 if j % 2 else -1), 0), plane.shape[1] - 1)
    return (9 * plane[a, b] + 3 * plane[c, b] + 3 * plane[a, d] + plane[c, d]) / 16
