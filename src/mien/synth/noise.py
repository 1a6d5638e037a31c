"""One periodic volume of smooth noise: what is painted on people is a function of canonical position."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from mien.synth.jit import njit

Array = NDArray[np.float32]
_SIDE = 64


@lru_cache(1)
def volume() -> Array:
    """(64, 64, 64) float32, periodic, zero mean, unit variance; the same on every machine with this numpy."""
    raw = np.random.default_rng(20231106).standard_normal((_SIDE,) * 3)
    smooth = gaussian_filter(raw, 0.7, mode="wrap")
    return np.ascontiguousarray((smooth - smooth.mean()) / smooth.std(), np.float32)


@njit(cache=True, inline="always")  # type: ignore[untyped-decorator]
def _smooth(t: float) -> float:
    return t * t * (3.0 - 2.0 * t)


@njit(cache=True)  # type: ignore[untyped-decorator]
def noise(v: Array, x: float, y: float, z: float) -> float:
    """Trilinear with smooth weights at a point in cells; v: `volume()`."""
    i, j, k = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
    a, b, c = _smooth(x - i), _smooth(y - j), _smooth(z - k)
    i0, j0, k0 = i & 63, j & 63, k & 63
    i1, j1, k1 = (i + 1) & 63, (j + 1) & 63, (k + 1) & 63
    x00 = v[i0, j0, k0] * (1 - c) + v[i0, j0, k1] * c
    x01 = v[i0, j1, k0] * (1 - c) + v[i0, j1, k1] * c
    x10 = v[i1, j0, k0] * (1 - c) + v[i1, j0, k1] * c
    x11 = v[i1, j1, k0] * (1 - c) + v[i1, j1, k1] * c
    return float((x00 * (1 - b) + x01 * b) * (1 - a) + (x10 * (1 - b) + x11 * b) * a)


@njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def gradient(v: Array, x: float, y: float, z: float) -> tuple[float, float, float]:
    """Exact derivatives of `noise` by x, y, z, a cell."""
    i, j, k = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
    fa, fb, fc = x - i, y - j, z - k
    a, b, c = _smooth(fa), _smooth(fb), _smooth(fc)
    da, db, dc = 6.0 * fa * (1.0 - fa), 6.0 * fb * (1.0 - fb), 6.0 * fc * (1.0 - fc)
    i0, j0, k0 = i & 63, j & 63, k & 63
    i1, j1, k1 = (i + 1) & 63, (j + 1) & 63, (k + 1) & 63
    d00, d01 = v[i0, j0, k1] - v[i0, j0, k0], v[i0, j1, k1] - v[i0, j1, k0]
    d10, d11 = v[i1, j0, k1] - v[i1, j0, k0], v[i1, j1, k1] - v[i1, j1, k0]
    x00, x01 = v[i0, j0, k0] + c * d00, v[i0, j1, k0] + c * d01
    x10, x11 = v[i1, j0, k0] + c * d10, v[i1, j1, k0] + c * d11
    low, high = x00 + b * (x01 - x00), x10 + b * (x11 - x10)
    gx = da * (high - low)
    gy = db * ((x01 - x00) * (1 - a) + (x11 - x10) * a)
    gz = dc * ((d00 * (1 - b) + d01 * b) * (1 - a) + (d10 * (1 - b) + d11 * b) * a)
    return gx, gy, gz


@njit(cache=True)  # type: ignore[untyped-decorator]
def fbm(v: Array, x: float, y: float, z: float, f: float, octaves: int, s: float) -> float:
    """Octaves at f, 2 f, 4 f ... cells a decimetre with gain 1/2, unit variance; s: offset of this field."""
    total, gain, power = 0.0, 1.0, 0.0
    for o in range(octaves):
        t = s + 17.3 * o
        total += gain * noise(v, x * f + t, y * f + 1.7 * t, z * f + 2.3 * t)
        power += gain * gain
        gain *= 0.5
        f *= 2.0
    return total / np.sqrt(power)


@njit(cache=True)  # type: ignore[untyped-decorator]
def fbm_at(v: Array, points: Array, f: float, octaves: int, s: float) -> Array:
    """`fbm` at many points (N, 3) -> (N,). O(N octaves)."""
    out = np.empty(len(points), np.float32)
    for n in range(len(points)):
        out[n] = fbm(v, points[n, 0], points[n, 1], points[n, 2], f, octaves, s)
    return out


@njit(cache=True, inline="always")  # type: ignore[untyped-decorator]
def smoothstep(a: float, b: float, x: float) -> float:
    """0 below a, 1 above b (reversed when b < a), smooth between."""
    t = min(1.0, max(0.0, (x - a) / (b - a)))
    return t * t * (3.0 - 2.0 * t)
