"""Forty places that a surveillance camera looks at: a painted background and the light on who stands there.

Reconstruction: the real set names no scenes. Eight kinds of places, five of each; a place is a function of
its number alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

from mien.core.errors import ConfigError
from mien.core.seeds import derive
from mien.synth.light import Light, direction

SCENES = 40
SIDE = 192
"""Pixels a side of a background."""
_FINE = 2 * SIDE  # drawn so large, then reduced
Color = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class SurveilScene:
    """A place.

    Attributes:
        number: 1 to `SCENES`.
        kind: of place.
        picture: (SIDE, SIDE, 3) sRGB in [0, 1].
        light: on people in it.
    """

    number: int
    kind: str
    picture: NDArray[np.float32]
    light: Light


class _Brush:
    """Polygons on a canvas whose coordinates run from 0 to 1, x to the right, y down."""

    def __init__(self, color: Color) -> None:
        self.image = Image.new("RGB", (_FINE, _FINE), _bytes(color))
        self.draw = ImageDraw.Draw(self.image)

    def area(self, color: Color, *points: tuple[float, float]) -> None:
        self.draw.polygon([(x * _FINE, y * _FINE) for x, y in points], _bytes(color))

    def box(self, color: Color, x0: float, y0: float, x1: float, y1: float) -> None:
        self.area(color, (x0, y0), (x1, y0), (x1, y1), (x0, y1))

    def blob(self, color: Color, x: float, y: float, rx: float, ry: float) -> None:
        at = [(x - rx) * _FINE, (y - ry) * _FINE, (x + rx) * _FINE, (y + ry) * _FINE]
        self.draw.ellipse(at, _bytes(color))


def _bytes(color: Color) -> tuple[int, int, int]:
    r, g, b = (int(255 * min(max(v, 0.0), 1.0)) for v in color)
    return r, g, b


def _shade(color: Color, level: float) -> Color:
    return color[0] * level, color[1] * level, color[2] * level


def _tint(rng: np.random.Generator, low: float, high: float, spread: float = 0.08) -> Color:
    level = rng.uniform(low, high)
    r, g, b = level * np.exp(rng.normal(0, spread, 3))
    return float(r), float(g), float(b)


def _corridor(rng: np.random.Generator) -> _Brush:
    """Walls, floor and ceiling that run to one point, doors, lamps."""
    wall, floor, ceiling = _tint(rng, 0.5, 0.8), _tint(rng, 0.3, 0.55), _tint(rng, 0.65, 0.9, 0.03)
    x, y, r = rng.uniform(0.35, 0.65), rng.uniform(0.3, 0.45), rng.uniform(0.10, 0.2)
    b = _Brush(_shade(wall, 0.8))
    corners = [(x - r, y - r), (x + r, y - r), (x + r, y + r), (x - r, y + r)]
    b.area(ceiling, (0, 0), (1, 0), corners[1], corners[0])
    b.area(floor, (0, 1), (1, 1), corners[2], corners[3])
    b.area(_shade(wall, 0.9), (0, 0), corners[0], corners[3], (0, 1))
    b.area(_shade(wall, 1.05), (1, 0), corners[1], corners[2], (1, 1))
    door = _tint(rng, 0.2, 0.5, 0.2)
    for side, t in ((0, 0.25), (1, 0.4), (0, 0.62), (1, 0.75)):
        edge, far = float(side), corners[0][0] if side == 0 else corners[1][0]
        cols = [edge + (far - edge) * s for s in (t, t + 0.13)]
        tops = [y - (1 - s) * y * 0.55 - s * r * 0.4 for s in (t, t + 0.13)]
        feet = [1 - s * (1 - y - r) for s in (t, t + 0.13)]
        b.area(door, (cols[0], tops[0]), (cols[1], tops[1]), (cols[1], feet[1]), (cols[0], feet[0]))
    for s in (0.15, 0.45, 0.7):
        w, at = 0.12 * (1 - s), s * (y - r)
        b.box((1.0, 0.99, 0.94), 0.5 + s * (x - 0.5) - w, at, 0.5 + s * (x - 0.5) + w, at + 0.04 * (1 - s))
    b.box(_shade(wall, 0.6), x - r, y - r, x + r, y + r)
    return b


def _hall(rng: np.random.Generator) -> _Brush:
    """Columns before a far wall, a tiled floor, signs."""
    wall, floor, stone = _tint(rng, 0.4, 0.7), _tint(rng, 0.4, 0.65, 0.05), _tint(rng, 0.45, 0.8)
    horizon = rng.uniform(0.5, 0.62)
    b = _Brush(wall)
    b.box(_shade(wall, 1.25), 0, 0, 1, 0.14)
    b.box(floor, 0, horizon, 1, 1)
    for k, t in enumerate(np.geomspace(0.02, 1 - horizon, 8)):
        b.box(_shade(floor, 0.85 if k % 2 else 1.05), 0, horizon + t * 0.72, 1, horizon + t)
    for x in np.arange(rng.uniform(0.02, 0.12), 1, rng.uniform(0.2, 0.28)):
        b.box(_shade(stone, 0.75), x, 0.08, x + 0.07, horizon + 0.03)
        b.box(stone, x, 0.08, x + 0.045, horizon + 0.03)
    for _ in range(4):
        x, y = rng.uniform(0, 0.85), rng.uniform(0.16, horizon - 0.12)
        b.box(_tint(rng, 0.2, 0.8, 0.5), x, y, x + rng.uniform(0.06, 0.16), y + rng.uniform(0.03, 0.08))
    return b


def _shop(rng: np.random.Generator) -> _Brush:
    """Shelves full of coloured goods."""
    b = _Brush(_tint(rng, 0.5, 0.75))
    shelf = _tint(rng, 0.3, 0.6)
    edges = np.linspace(rng.uniform(0.02, 0.1), 0.95, int(rng.integers(5, 8)))
    for top, foot in pairwise(edges):
        b.box(_shade(shelf, 0.55), 0, top, 1, foot)
        x = 0.0
        while x < 1:
            w, high = rng.uniform(0.02, 0.07), rng.uniform(0.45, 0.85) * (foot - top)
            b.box(_tint(rng, 0.2, 0.75, 0.25), x, foot - high, x + 0.9 * w, foot)
            x += w
        b.box(_shade(shelf, 1.2), 0, foot - 0.012, 1, foot + 0.008)
    return b


def _office(rng: np.random.Generator) -> _Brush:
    """A wall with a window, pictures, a desk."""
    wall = _tint(rng, 0.5, 0.85)
    b = _Brush(wall)
    x, w = rng.uniform(0.05, 0.5), rng.uniform(0.25, 0.45)
    b.box(_shade(wall, 0.6), x - 0.02, 0.08, x + w + 0.02, 0.6)
    for k in range(3):
        a = x + k * w / 3
        b.box((0.8, 0.88, 0.95), a, 0.1, a + w / 3 - 0.012, 0.34)
        b.box((0.6, 0.7, 0.65), a, 0.34, a + w / 3 - 0.012, 0.58)
    for _ in range(3):
        u, v = rng.uniform(0, 0.9), rng.uniform(0.12, 0.5)
        b.box(_tint(rng, 0.25, 0.7, 0.3), u, v, u + rng.uniform(0.07, 0.14), v + rng.uniform(0.08, 0.16))
    desk = _tint(rng, 0.25, 0.5, 0.15)
    b.box(desk, 0, 0.74, 1, 1)
    b.box(_shade(desk, 1.3), 0, 0.74, 1, 0.77)
    return b


def _car_park(rng: np.random.Generator) -> _Brush:
    """Rows of cars on asphalt, a building behind."""
    ground, wall = _tint(rng, 0.28, 0.42, 0.03), _tint(rng, 0.35, 0.6)
    horizon = rng.uniform(0.35, 0.5)
    b = _Brush(wall)
    b.box(ground, 0, horizon, 1, 1)
    top = horizon + 0.08
    for x in np.arange(-0.2, 1.2, 0.18):
        b.area((0.75, 0.75, 0.72), (x, top), (x + 0.01, top), (x - 0.08, 1), (x - 0.12, 1))
    for row, size in ((horizon - 0.02, 0.16), (horizon + 0.14, 0.26)):
        for x in np.arange(rng.uniform(-0.1, 0.1), 1, size * rng.uniform(1.2, 1.6)):
            paint = _tint(rng, 0.12, 0.7, 0.25)
            b.box(paint, x, row, x + size, row + 0.35 * size)
            b.area(_shade(paint, 0.8), (x + 0.15 * size, row), (x + 0.3 * size, row - 0.25 * size),
                   (x + 0.75 * size, row - 0.25 * size), (x + 0.88 * size, row))  # fmt: skip
            b.box((0.12, 0.15, 0.18), x + 0.3 * size, row - 0.2 * size, x + 0.72 * size, row - 0.02 * size)
            for wheel in (0.2, 0.8):
                b.blob((0.06, 0.06, 0.06), x + wheel * size, row + 0.35 * size, 0.09 * size, 0.09 * size)
    return b


def _street(rng: np.random.Generator) -> _Brush:
    """Houses with rows of windows, a pavement, a bit of sky."""
    b = _Brush(_tint(rng, 0.7, 0.9, 0.05))
    horizon, x = rng.uniform(0.6, 0.72), -0.05
    while x < 1:
        w, top = rng.uniform(0.22, 0.42), rng.uniform(0.0, 0.2)
        front = _tint(rng, 0.3, 0.7, 0.12)
        b.box(front, x, top, x + w, horizon)
        step = rng.uniform(0.06, 0.09)
        for u in np.arange(x + 0.02, x + w - 0.04, step):
            for v in np.arange(top + 0.03, horizon - 0.16, 1.3 * step):
                b.box(_tint(rng, 0.12, 0.4, 0.1), u, v, u + 0.55 * step, v + 0.8 * step)
        b.box(_tint(rng, 0.15, 0.6, 0.3), x + 0.02, horizon - 0.12, x + w - 0.02, horizon)
        x += w
    b.box(_tint(rng, 0.4, 0.55, 0.03), 0, horizon, 1, horizon + 0.1)
    b.box(_tint(rng, 0.25, 0.35, 0.03), 0, horizon + 0.1, 1, 1)
    return b


def _park(rng: np.random.Generator) -> _Brush:
    """Sky, trees, grass and a path."""
    b = _Brush((0.72, 0.8, 0.9))
    horizon = rng.uniform(0.5, 0.62)
    grass = (0.28 * rng.uniform(0.8, 1.2), 0.38 * rng.uniform(0.8, 1.2), 0.18)
    b.box(grass, 0, horizon, 1, 1)
    middle = rng.uniform(0.2, 0.8)
    path = _tint(rng, 0.5, 0.65)
    b.area(path, (middle, horizon), (middle + 0.04, horizon), (middle + 0.4, 1), (middle - 0.3, 1))
    for _ in range(int(rng.integers(6, 11))):
        x, y, r = rng.uniform(0, 1), horizon - rng.uniform(0.08, 0.3), rng.uniform(0.06, 0.16)
        leaf = (0.16 * rng.uniform(0.6, 1.6), 0.3 * rng.uniform(0.7, 1.3), 0.1 * rng.uniform(0.6, 1.4))
        b.box((0.2, 0.15, 0.1), x - 0.012, y, x + 0.012, horizon + 0.02)
        for _ in range(5):
            u, v = rng.normal(0, 0.45 * r, 2)
            b.blob(_shade(leaf, rng.uniform(0.7, 1.3)), x + u, y + v, 0.6 * r, 0.5 * r)
    return b


def _gate(rng: np.random.Generator) -> _Brush:
    """Turnstiles and glass before a bright front."""
    back = _tint(rng, 0.55, 0.8, 0.06)
    b = _Brush(back)
    frame, step = _tint(rng, 0.2, 0.45), rng.uniform(0.16, 0.24)
    for x in np.arange(rng.uniform(-0.1, 0.05), 1, step):
        b.box(_shade(back, rng.uniform(0.8, 1.25)), x, 0.0, x + step, 0.62)
        b.box(frame, x, 0, x + 0.02, 0.66)
    b.box(frame, 0, 0.1, 1, 0.13)
    b.box(_tint(rng, 0.35, 0.55, 0.04), 0, 0.64, 1, 1)
    steel = _tint(rng, 0.5, 0.7, 0.02)
    for x in np.arange(rng.uniform(0, 0.15), 1, 0.27):
        b.box(_shade(steel, 0.7), x, 0.55, x + 0.1, 0.95)
        b.box(steel, x, 0.55, x + 0.1, 0.6)
        b.box((0.7, 0.1, 0.08) if rng.random() < 0.5 else (0.1, 0.6, 0.15), x + 0.03, 0.62, x + 0.07, 0.65)
    return b


_KINDS: tuple[tuple[str, Callable[[np.random.Generator], _Brush], bool], ...] = (
    ("corridor", _corridor, False),
    ("hall", _hall, False),
    ("shop", _shop, False),
    ("office", _office, False),
    ("car park", _car_park, True),
    ("street", _street, True),
    ("park", _park, True),
    ("gate", _gate, False),
)


@lru_cache(SCENES)
def surveil_scene(number: int) -> SurveilScene:
    """A place by its number, 1 to `SCENES`. Some 10 ms; kept.

    Raises:
        ConfigError: no such place.
    """
    if not 1 <= number <= SCENES:
        raise ConfigError(f"scene {number} is outside 1 .. {SCENES}")
    rng = np.random.default_rng(derive(0, "surveil scene", number))
    kind, paint, is_outdoor = _KINDS[(number - 1) % len(_KINDS)]
    image = paint(rng).image.resize((SIDE, SIDE), Image.Resampling.BOX)
    pixels = np.asarray(image, np.float32) / 255
    pixels = 0.7 * pixels + 0.3 * pixels.mean(-1, keepdims=True)
    down = np.linspace(rng.uniform(1.0, 1.12), rng.uniform(0.8, 0.95), SIDE, dtype=np.float32)
    pixels = gaussian_filter(pixels * down[:, None, None], (0.6, 0.6, 0))
    grain = gaussian_filter(rng.standard_normal((SIDE, SIDE)), 1.0)[..., None] * 0.03
    picture = np.clip(pixels * (1 + grain), 0, 1).astype(np.float32)
    return SurveilScene(number, kind, picture, _light(rng, is_outdoor))


def _light(rng: np.random.Generator, is_outdoor: bool) -> Light:
    """Lamps above indoors; outdoors sun or a grey sky."""
    side = float(rng.uniform(-1.1, 1.1))
    if is_outdoor:
        sun = float(rng.uniform(0.4, 1.9))
        top, bottom = (0.72, 0.78, 0.9), (0.34, 0.33, 0.3)
        key, color, radius = direction(side, float(rng.uniform(0.5, 1.0))), (sun, 0.96 * sun, 0.9 * sun), 0.1
        return Light("outdoor", top, bottom, (), key, color, radius)
    warm, level = float(rng.uniform(-0.03, 0.1)), float(rng.uniform(0.7, 1.1))
    top = (0.5 * (1 + warm), 0.5, 0.5 * (1 - 1.3 * warm))
    color = (level * (1 + warm), level, level * (1 - 1.3 * warm))
    key = direction(side, float(rng.uniform(0.55, 1.1)))
    return Light("indoor", top, _shade(top, 0.6), (), key, color, 0.3)
