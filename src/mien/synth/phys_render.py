"""Pictures of the world of discs: frames and whose every pixel is.

Drawn as discs, diamonds and squares of one area, so that size tells nothing; x to the right, y up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mien.core.errors import ConfigError
from mien.core.seeds import derive, uniform
from mien.synth.jit import njit
from mien.synth.noise import noise, volume
from mien.synth.phys_world import COLOURS, MATERIALS, SHAPES, Trajectory

Array = NDArray[Any]
Background = Literal["plain", "textured"]
PALETTE = {
    "gray": (96, 96, 96),
    "red": (204, 32, 40),
    "blue": (42, 75, 215),
    "green": (24, 128, 44),
    "brown": (134, 78, 26),
    "yellow": (255, 225, 40),
    "cyan": (30, 205, 215),
    "purple": (150, 40, 190),
}
"""RGB of `COLOURS`."""
GROUND = (205, 205, 205)
"""RGB of the plain background, and about the mean of a textured one."""
HALF_SIDE = {"sphere": 1.0, "cylinder": np.sqrt(np.pi / 2), "cube": np.sqrt(np.pi) / 2}
"""Radius of the disc, half diagonal of the diamond, half side of the square, in radii: all of area pi r^2."""
_CELLS, _CONTRAST = 6, 14
"""Cells of noise along a side; standard deviation of each channel of a textured background."""


@dataclass(frozen=True, eq=False)
class Rendered:
    """Clips as pictures.

    Attributes:
        frames: (B, T, H, W, 3) uint8 RGB.
        segmentation: (B, T, H, W) uint8: 0 = background, k + 1 = object k.
    """

    frames: NDArray[np.uint8]
    segmentation: NDArray[np.uint8]


@njit(cache=True, inline="always", error_model="numpy")  # type: ignore[untyped-decorator]
def _distance(kind: int, dx: float, dy: float, side: float) -> float:
    """Signed distance to the outline, negative inside (beyond a corner, to the longer edge's line)."""
    if kind == 0:
        return np.sqrt(dx * dx + dy * dy) - side
    if kind == 1:
        return (abs(dx) + abs(dy) - side) / np.sqrt(2.0)
    return max(abs(dx), abs(dy)) - side


@njit(cache=True, inline="always", error_model="numpy")  # type: ignore[untyped-decorator]
def _metal(distance: float, dx: float, dy: float, radius: float) -> tuple[float, float]:
    """Shares of darkening at the rim and of white in the highlight, up and to the left."""
    rim = 0.5 * min(max(1 + (distance + 0.15 * radius) / (0.2 * radius), 0.0), 1.0)
    hx, hy = dx / radius + 0.3, dy / radius + 0.3
    return rim, 0.95 * np.exp(-(hx * hx + hy * hy) / (2 * 0.2**2))


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _draw(
    x: Any, radius: Any, kind: Any, metal: Any, rgb: Any, sides: Any, frames: Any, segments: Any
) -> None:
    """One clip's objects over its background, in order. O(T N patch).

    Coverage of a pixel = clip(1/2 - signed distance of its centre in pixels, 0, 1).
    """
    height, width = frames.shape[1:3]
    for t in range(len(x)):
        for i in range(x.shape[1]):
            cx, cy, r = x[t, i, 0], x[t, i, 1], radius[i]
            side = sides[kind[i]] * r
            for row in range(max(int(cy - side - 1), 0), min(int(cy + side + 2), height)):
                for col in range(max(int(cx - side - 1), 0), min(int(cx + side + 2), width)):
                    dx, dy = col + 0.5 - cx, row + 0.5 - cy
                    distance = _distance(kind[i], dx, dy, side)
                    cover = min(max(0.5 - distance, 0.0), 1.0)
                    if cover == 0:
                        continue
                    rim, shine = _metal(distance, dx, dy, r) if metal[i] else (0.0, 0.0)
                    for c in range(3):
                        colour = rgb[i, c] * (1 - rim)
                        colour += shine * (255 - colour)
                        under = frames[t, row, col, c]
                        frames[t, row, col, c] = np.uint8(under + cover * (colour - under) + 0.5)
                    if cover >= 0.5:
                        segments[t, row, col] = i + 1


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _texture(v: Any, offset: Any, ground: Any, out: Any) -> None:
    """One clip's background: smooth noise, each channel from its own place of the volume. O(H W)."""
    height, width = out.shape[:2]
    for row in range(height):
        for col in range(width):
            for c in range(3):
                n = noise(
                    v, offset[c] + _CELLS * row / height, offset[3 + c] + _CELLS * col / height, offset[6 + c]
                )
                out[row, col, c] = np.uint8(min(max(ground[c] + _CONTRAST * n, 0.0), 255.0))


def backgrounds(
    count: int, size: tuple[int, int], background: Background = "plain", seed: int = 0
) -> NDArray[np.uint8]:
    """(count, H, W, 3); the k-th depends on the seed and k alone. O(count H W).

    Raises:
        ConfigError: no such background.
    """
    if background not in get_args(Background):
        raise ConfigError(f"no background {background!r}; one of {', '.join(get_args(Background))}")
    out = np.full((count, *size, 3), GROUND, np.uint8)
    if background == "textured":
        offsets = 64.0 * uniform(derive(seed, "phys_render"), np.arange(count), 9)
        for picture, offset in zip(out, offsets, strict=True):
            _texture(volume(), offset, GROUND, picture)
    return out


def render_clip(
    trajectory: Trajectory,
    size: int | tuple[int, int] = 64,
    half: float = 2.4,
    background: Background = "plain",
    seed: int = 0,
) -> Rendered:
    """Anti-aliased pictures of y in [-half, half]; later objects lie over earlier ones.

    An object owns the pixels of which it covers half or more. Pixel (row, col) has its centre at
    x = (2 col + 1 - W) half / H, y = (H - 2 row - 1) half / H. O(B T N patch + B T H W).

    Args:
        trajectory: B clips of T frames of N objects.
        size: (H, W) in pixels; one number for both.
        half: half the height of what is seen, in world units.
        background: "plain", or "textured": smooth noise, still within a clip.
        seed: of the textures.

    Raises:
        ConfigError: a size or half not above 0, or no such background.
    """
    size = (size, size) if isinstance(size, int) else size
    if min(size) < 1 or not half > 0:
        raise ConfigError(f"size >= 1 pixel and half > 0 are needed; got {size}, {half}")
    batch, count = trajectory.x.shape[:2]
    objects, scale = trajectory.objects, size[0] / (2 * half)
    x = np.array([size[1], size[0]]) / 2 + scale * trajectory.x * np.array([1, -1])
    rgb = np.array([PALETTE[name] for name in COLOURS], float)[objects.colour]
    metal = objects.material == MATERIALS.index("metal")
    sides = np.array([HALF_SIDE[name] for name in SHAPES])
    frames = np.repeat(backgrounds(batch, size, background, seed)[:, None], count, 1)
    segments = np.zeros(frames.shape[:-1], np.uint8)
    radius = scale * np.asarray(objects.radius, float)
    for b in range(batch):
        _draw(x[b], radius[b], objects.shape[b], metal[b], rgb[b], sides, frames[b], segments[b])
    return Rendered(frames, segments)
