"""From linear radiance to a picture: backdrop, tone curve, mean of samples, sRGB, blur, sensor noise."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from mien.core.seeds import derive
from mien.synth.jit import njit
from mien.synth.light import Light

Array = NDArray[Any]  # of floats
_BLUR = 0.45  # pixels
_NOISE = 0.008
_STEPS = 4096  # of the table of the sRGB curve


def backdrop(light: Light, seed: int, size: int) -> Array:
    """A defocused room: blurred rectangles on a base colour, (size, size, 3) linear, tone-mapped."""
    rng = np.random.default_rng(derive(seed, "background"))
    base = rng.uniform(0.08, 0.6) * (0.75 + 0.5 * rng.random(3))
    canvas = np.tile(base, (48, 48, 1))
    for _ in range(rng.integers(3, 13)):
        i, j = rng.integers(-10, 48, 2)
        h, w = rng.integers(4, 30, 2)
        canvas[max(0, i) : i + h, max(0, j) : j + w] = rng.uniform(0.05, 0.8) * (0.7 + 0.6 * rng.random(3))
    s = rng.uniform(0.8, 3)
    canvas = gaussian_filter(canvas.astype(np.float32), (s, s, 0))
    level = 0.5 * (np.array(light.top) + np.array(light.bottom)) * 1.6 + 0.15
    out = np.empty((size, size, 3), np.float32)
    _stretch((canvas * level).astype(np.float32), out)
    return out


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _stretch(canvas: Array, out: Array) -> None:
    """Bilinear enlargement of a square canvas, tone-mapped."""
    size, last = len(out), len(canvas) - 2
    for i in range(size):
        y = (i + 0.5) / size * len(canvas) - 0.5
        i0 = min(last, max(0, int(np.floor(y))))
        v = min(1.0, max(0.0, y - i0))
        for j in range(size):
            x = (j + 0.5) / size * len(canvas) - 0.5
            j0 = min(last, max(0, int(np.floor(x))))
            u = min(1.0, max(0.0, x - j0))
            for c in range(3):
                top = canvas[i0, j0, c] * (1 - u) + canvas[i0, j0 + 1, c] * u
                low = canvas[i0 + 1, j0, c] * (1 - u) + canvas[i0 + 1, j0 + 1, c] * u
                value = top * (1 - v) + low * v
                out[i, j, c] = 1.18 * value * (1 + 0.1 * value) / (1 + 0.42 * value)


def tone(x: Array) -> Array:
    """Gentle shoulder: 1.18 x (1 + .1 x) / (1 + .42 x)."""
    return np.asarray(1.18 * x * (1 + 0.1 * x) / (1 + 0.42 * x), np.float32)


def srgb(x: Array) -> Array:
    """Linear [0, 1] to sRGB [0, 1]."""
    x = np.clip(x, 0, 1)
    return np.asarray(np.where(x < 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055), np.float32)


@lru_cache(1)
def _curve() -> Array:
    """Values of `srgb` at even steps, the last one twice."""
    return srgb(np.minimum(np.arange(_STEPS + 2, dtype=np.float64) / _STEPS, 1))


def grade(
    radiance: Array, part: NDArray[np.uint8], room: Array, seed: int, k: int, noise: float = _NOISE
) -> NDArray[np.uint8]:
    """Tone curve on every sample, mean of k x k samples over the backdrop, sRGB, blur, sensor noise.

    Args:
        radiance: (k H, k W, 3) linear.
        part: (k H, k W), 0 where the backdrop shows.
        room: (H, W, 3) of `backdrop`.
        seed: of the noise.
        k: samples a pixel side.
        noise: standard deviation of the sensor's, of a range of 1.
    """
    image = np.empty(room.shape, np.float32)
    _develop(
        np.ascontiguousarray(radiance, np.float32), part, np.asarray(room, np.float32), k, _curve(), image
    )
    rng = np.random.default_rng(derive(seed, "sensor"))
    grain = rng.standard_normal(image.shape, np.float32)
    side = float(np.exp(-0.5 / _BLUR**2))
    out = np.empty(room.shape, np.uint8)
    _record(image, grain, side / (1 + 2 * side), noise, out)
    return out


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _develop(radiance: Array, part: NDArray[np.uint8], room: Array, k: int, curve: Array, out: Array) -> None:
    rows, cols = room.shape[0], room.shape[1]
    last = np.float32(len(curve) - 2)
    a, b, c, one = np.float32(1.18), np.float32(0.1), np.float32(0.42), np.float32(1)
    share = np.float32(1 / (k * k))
    for i in range(rows):
        for j in range(cols):
            for q in range(3):
                total, behind = np.float32(0), 0
                for y in range(i * k, i * k + k):
                    for x in range(j * k, j * k + k):
                        value = radiance[y, x, q]
                        if part[y, x] > 0:
                            total += a * value * (one + b * value) / (one + c * value)
                        else:
                            behind += 1
                total = (total + np.float32(behind) * room[i, j, q]) * share
                at = min(one, max(np.float32(0), total)) * last
                low = int(at)
                out[i, j, q] = curve[low] + (at - np.float32(low)) * (curve[low + 1] - curve[low])


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _record(image: Array, noise: Array, side: float, level: float, out: NDArray[np.uint8]) -> None:
    """Blur over 3 x 3 pixels, noise, 8 bits."""
    rows, cols = image.shape[0], image.shape[1]
    u, w, scale = np.float32(side), np.float32(1 - 2 * side), np.float32(level)
    for i in range(rows):
        a, b = max(0, i - 1), min(rows - 1, i + 1)
        for j in range(cols):
            e, f = max(0, j - 1), min(cols - 1, j + 1)
            for c in range(3):
                top = u * (image[a, e, c] + image[a, f, c]) + w * image[a, j, c]
                mid = u * (image[i, e, c] + image[i, f, c]) + w * image[i, j, c]
                low = u * (image[b, e, c] + image[b, f, c]) + w * image[b, j, c]
                value = u * (top + low) + w * mid + scale * noise[i, j, c]
                out[i, j, c] = np.uint8(
                    min(np.float32(1), max(np.float32(0), value)) * np.float32(255) + np.float32(0.5)
                )
