"""Light on people: a sky seen through 64 directions, and one soft key light with jittered shadow maps.

Directions are unit vectors towards the light in world axes (x subject's left, y up, z towards the camera).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mien.core.errors import ConfigError
from mien.core.seeds import derive
from mien.synth.jit import njit
from mien.synth.strands import Strands

Array = NDArray[np.float32]
Index = NDArray[np.int32]
LightKind = Literal["indoor", "window", "studio", "outdoor", "flash"]
_SHARE = {"indoor": 0.30, "window": 0.25, "studio": 0.20, "outdoor": 0.15, "flash": 0.10}
_CENTRE = np.array([0.0, 7.2, 0.3], np.float32)
_HALF = 2.1  # dm of the orthographic maps around the head


@dataclass(frozen=True)
class Light:
    """A sky of two colours and lobes, and a key light.

    Attributes:
        kind: what it imitates.
        top, bottom: linear RGB radiance of the sky.
        lobes: (direction, colour, angular width s) of exp((d.c - 1) / (s^2 / 2)).
        key: direction of the key light.
        color: its linear RGB.
        radius: its angular radius, radians.
    """

    kind: LightKind
    top: tuple[float, float, float]
    bottom: tuple[float, float, float]
    lobes: tuple[tuple[tuple[float, float, float], tuple[float, float, float], float], ...]
    key: tuple[float, float, float]
    color: tuple[float, float, float]
    radius: float

    def sky(self, directions: Array) -> Array:
        """Radiance (N, 3) from unit directions (N, 3)."""
        t = (0.5 * (directions[:, 1:2] + 1)).astype(np.float32)
        out = t * np.array(self.top, np.float32) + (1 - t) * np.array(self.bottom, np.float32)
        for centre, color, s in self.lobes:
            glow = np.exp((directions @ np.array(centre, np.float32) - 1) / (0.5 * s * s))
            out = out + glow[:, None] * np.array(color, np.float32)
        return out.astype(np.float32)

    def turned(self, rot: Array) -> Light:
        """Key and lobes turned by a rotation (3, 3); the sky's two colours stay above and below."""

        def move(v: tuple[float, float, float]) -> tuple[float, float, float]:
            x, y, z = (float(c) for c in rot @ np.array(v))
            return x, y, z

        lobes = tuple((move(d), color, s) for d, color, s in self.lobes)
        return replace(self, key=move(self.key), lobes=lobes)


def direction(azimuth: float, elevation: float) -> tuple[float, float, float]:
    """Unit vector; azimuth from the camera towards the subject's left, radians."""
    c = math.cos(elevation)
    return c * math.sin(azimuth), math.sin(elevation), c * math.cos(azimuth)


def _warm(t: float, level: float) -> tuple[float, float, float]:
    return level * (1 + t), level, level * (1 - 1.3 * t)


def sample_light(seed: int, kind: LightKind | None = None) -> Light:
    """A light of one kind, or of a random one.

    Raises:
        ConfigError: no such kind.
    """
    rng = np.random.default_rng(derive(seed, "light"))
    names = list(_SHARE)
    drawn = str(rng.choice(names, p=list(_SHARE.values())))
    kind = kind or drawn  # type: ignore[assignment]
    if kind not in get_args(LightKind):
        raise ConfigError(f"light kind {kind!r} is none of {', '.join(names)}")
    side = rng.choice([-1.0, 1.0])
    rim = (
        direction(side * rng.uniform(1.9, 2.8), rng.uniform(0.0, 0.7)),
        _warm(rng.uniform(-0.05, 0.08), rng.uniform(0, 0.9)),
        0.6,
    )
    lobes = [rim]
    if kind == "indoor":
        key, color, radius = direction(rng.uniform(-0.9, 0.9), rng.uniform(0.5, 1.1)), 1.0, 0.30
        warm, top, bottom = rng.uniform(-0.02, 0.12), 0.5, 0.3
        lobes.append((direction(rng.uniform(-1.5, 1.5), 0.4), _warm(warm, 0.3), 0.5))
    elif kind == "window":
        key, color, radius = direction(side * rng.uniform(0.7, 1.35), rng.uniform(0.05, 0.5)), 1.35, 0.30
        warm, top, bottom = rng.uniform(-0.05, 0.03), 0.30, 0.16
    elif kind == "studio":
        azimuth = rng.uniform(-1.2, 1.2)
        key, color, radius = direction(azimuth, rng.uniform(0.15, 0.9)), 1.5, 0.22
        warm, top, bottom = rng.uniform(-0.02, 0.04), 0.35, 0.30
        lobes.append((direction(-np.sign(azimuth) * 1.0, 0.2), _warm(0, 0.8), 0.6))
    elif kind == "outdoor":
        key, color = direction(rng.uniform(-1.6, 1.6), rng.uniform(0.35, 1.1)), 2.3
        radius = float(rng.choice([0.02, 0.25]))
        warm, top, bottom = 0.06, 0.75, 0.35
    else:
        key, color, radius = direction(rng.uniform(-0.08, 0.08), rng.uniform(0.02, 0.12)), 1.7, 0.03
        warm, top, bottom = 0.0, 0.22, 0.15
    top_color = (top * 0.86, top * 0.96, top * 1.15) if kind == "outdoor" else _warm(0.3 * warm, top)
    return Light(
        kind,  # type: ignore[arg-type]
        _plain(top_color),
        _plain(_warm(0.6 * warm, bottom)),
        tuple((_plain(d), _plain(c), float(s)) for d, c, s in lobes),
        _plain(key),
        _plain(_warm(warm, color)),
        float(radius),
    )


def _plain(v: tuple[float, float, float]) -> tuple[float, float, float]:
    return float(v[0]), float(v[1]), float(v[2])


@lru_cache(4)
def fibonacci(count: int = 64) -> Array:
    """Evenly spread unit directions (count, 3)."""
    i = np.arange(count) + 0.5
    y = 1 - 2 * i / count
    phi = math.pi * (1 + 5**0.5) * i
    r = np.sqrt(1 - y * y)
    return np.stack([r * np.cos(phi), y, r * np.sin(phi)], 1).astype(np.float32)


def frame_of(d: Array) -> Array:
    """(3, 3) rows: two axes across a direction, and the direction."""
    x, y, z = (float(v) for v in d)
    ux, uy, uz = (0.0, 1.0, 0.0) if abs(y) < 0.95 else (1.0, 0.0, 0.0)
    ax, ay, az = uy * z - uz * y, uz * x - ux * z, ux * y - uy * x
    length = math.sqrt(ax * ax + ay * ay + az * az)
    ax, ay, az = ax / length, ay / length, az / length
    bx, by, bz = y * az - z * ay, z * ax - x * az, x * ay - y * ax
    return np.array([[ax, ay, az], [bx, by, bz], [x, y, z]], np.float32)


_ONE, _PIXEL, _EMPTY = np.float32(1), np.float32(0.5), np.float32(0)


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def depth_map(
    points: Array, faces: Index, axes: Array, centre: Array, half: float, out: Array, cull: bool = False
) -> None:
    """Orthographic height map (N, N) along axes[2]; out starts at -1e9. O(T + covered pixels).

    Most triangles are smaller than a pixel: those without a pixel centre in their box are passed over first.

    Args:
        points: (V, 3).
        faces: (T, 3), counter-clockwise seen from outside.
        axes: (3, 3) of `frame_of`.
        centre: (3,) of the map.
        half: half its width, dm.
        out: (N, N), written.
        cull: leaves out what faces away; the highest surface of a closed mesh never does.
    """
    n = out.shape[0]
    k, wide = np.float32(n / (2 * half)), np.float32(half)
    last = np.float32(n - 1)
    q = np.empty_like(points)
    for v in range(len(points)):
        x, y, z = points[v, 0] - centre[0], points[v, 1] - centre[1], points[v, 2] - centre[2]
        q[v, 0] = (x * axes[0, 0] + y * axes[0, 1] + z * axes[0, 2] + wide) * k - _PIXEL
        q[v, 1] = (x * axes[1, 0] + y * axes[1, 1] + z * axes[1, 2] + wide) * k - _PIXEL
        q[v, 2] = x * axes[2, 0] + y * axes[2, 1] + z * axes[2, 2]
    listed = np.empty(len(faces), np.int32)
    count = 0
    for t in range(len(faces)):
        a, b, c = faces[t, 0], faces[t, 1], faces[t, 2]
        top = np.ceil(max(_EMPTY, min(q[a, 1], min(q[b, 1], q[c, 1]))))
        left = np.ceil(max(_EMPTY, min(q[a, 0], min(q[b, 0], q[c, 0]))))
        bottom = min(last, max(q[a, 1], max(q[b, 1], q[c, 1])))
        right = min(last, max(q[a, 0], max(q[b, 0], q[c, 0])))
        listed[count] = t
        count += int((top <= bottom) & (left <= right))
    for m in range(count):
        t = listed[m]
        a, b, c = faces[t, 0], faces[t, 1], faces[t, 2]
        x0, y0, x1, y1, x2, y2 = q[a, 0], q[a, 1], q[b, 0], q[b, 1], q[c, 0], q[c, 1]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if area == _EMPTY or (cull and area < _EMPTY):
            continue
        inverse = _ONE / area
        z0, z1, z2 = q[a, 2], q[b, 2] - q[a, 2], q[c, 2] - q[a, 2]
        i0, i1 = int(np.ceil(max(_EMPTY, min(y0, min(y1, y2))))), int(min(last, max(y0, max(y1, y2))))
        j0, j1 = int(np.ceil(max(_EMPTY, min(x0, min(x1, x2))))), int(min(last, max(x0, max(x1, x2))))
        for i in range(i0, i1 + 1):
            py = np.float32(i) - y0
            for j in range(j0, j1 + 1):
                px = np.float32(j) - x0
                w1 = (px * (y2 - y0) - (x2 - x0) * py) * inverse
                w2 = ((x1 - x0) * py - px * (y1 - y0)) * inverse
                if w1 >= _EMPTY and w2 >= _EMPTY and w1 + w2 <= _ONE:
                    out[i, j] = max(out[i, j], z0 + w1 * z1 + w2 * z2)


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def splat_map(points: Array, axes: Array, centre: Array, half: float, every: int, out: Array) -> None:
    """As `depth_map` for points of strands, each one pixel."""
    n = out.shape[0]
    k, wide, end = np.float32(n / (2 * half)), np.float32(half), np.float32(n)
    for v in range(0, len(points), every):
        x, y, z = points[v, 0] - centre[0], points[v, 1] - centre[1], points[v, 2] - centre[2]
        fj = (x * axes[0, 0] + y * axes[0, 1] + z * axes[0, 2] + wide) * k
        fi = (x * axes[1, 0] + y * axes[1, 1] + z * axes[1, 2] + wide) * k
        if fi >= _EMPTY and fj >= _EMPTY and fi < end and fj < end:
            i, j = int(fi), int(fj)
            out[i, j] = max(out[i, j], x * axes[2, 0] + y * axes[2, 1] + z * axes[2, 2])


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _visible(
    points: Array,
    normals: Array,
    d: Array,
    axes: Array,
    centre: Array,
    half: float,
    mesh: Array,
    hair: Array,
    weight: float,
    out: Array,
) -> None:
    n = mesh.shape[0]
    k = n / (2 * half)
    for v in range(len(points)):
        cos = normals[v, 0] * d[0] + normals[v, 1] * d[1] + normals[v, 2] * d[2]
        if cos <= 0:
            out[v] = 0
            continue
        x, y, z = points[v, 0] - centre[0], points[v, 1] - centre[1], points[v, 2] - centre[2]
        j = int((x * axes[0, 0] + y * axes[0, 1] + z * axes[0, 2] + half) * k)
        i = int((x * axes[1, 0] + y * axes[1, 1] + z * axes[1, 2] + half) * k)
        h = x * axes[2, 0] + y * axes[2, 1] + z * axes[2, 2]
        seen = 1.0
        if 0 <= i < n and 0 <= j < n:
            if mesh[i, j] > h + 0.05:
                seen = 0.0
            elif hair[i, j] > h + 0.02:
                seen = 0.12 + 0.88 * np.exp(-12 * (hair[i, j] - h))
        out[v] = seen * cos * weight


def transfer(
    points: Array,
    normals: Array,
    faces: Index,
    strands: Strands | None,
    directions: Array | None = None,
    side: int = 112,
    centre: Array = _CENTRE,
    half: float = _HALF,
) -> Array:
    """What each vertex sees of the sky: irradiance = T @ sky / pi-free units, ambient visibility = row sums.

    Args:
        points: (V, 3) dm, the neutral head.
        normals: (V, 3).
        faces: (T, 3) occluders.
        strands: hair, translucent.
        directions: (K, 3), default `fibonacci`.
        side: pixels of the maps.
        centre: (3,) of the maps.
        half: half their width, dm.

    Returns:
        (V, K), weights 4 cos visibility / K: a row sums to 1 in the open. O(K (T + P + V)).
    """
    directions = fibonacci() if directions is None else directions
    out = np.empty((len(directions), len(points)), np.float32)
    some = None if strands is None else np.ascontiguousarray(strands.points[::5])
    for k, d in enumerate(directions):
        axes = frame_of(d)
        mesh, hair = np.full((2, side, side), -1e9, np.float32)
        depth_map(points, faces, axes, centre, half, mesh, bool(d[1] > -0.2))  # open below
        if some is not None:
            splat_map(some, axes, centre, half, 1, hair)
        _visible(points, normals, d, axes, centre, half, mesh, hair, 4 / len(directions), out[k])
    return np.ascontiguousarray(out.T)


@dataclass(frozen=True)
class Shadows:
    """Shadow maps of a key light: (M, N, N) heights of meshes and of strands, (M, 3, 3) axes."""

    mesh: Array
    hair: Array
    axes: Array
    centre: Array
    half: float


def shadow_maps(
    light: Light,
    points: Array,
    faces: Index,
    strands: Strands | None,
    count: int = 6,
    side: int = 224,
    every: int = 3,
    centre: Array = _CENTRE,
    half: float = _HALF,
) -> Shadows:
    """Maps from directions in a Vogel disc of the light's radius. O(count (T + P))."""
    key = np.array(light.key, np.float32)
    base = frame_of(key)
    mesh = np.full((count, side, side), -1e9, np.float32)
    hair = np.full((count, side, side), -1e9, np.float32)
    axes = np.empty((count, 3, 3), np.float32)
    some = None if strands is None else np.ascontiguousarray(strands.points[::every])
    for m in range(count):
        r, phi = light.radius * math.sqrt((m + 0.5) / count) * (count > 1), 2.39996 * m
        d = key + r * (math.cos(phi) * base[0] + math.sin(phi) * base[1])
        axes[m] = frame_of((d / np.linalg.norm(d)).astype(np.float32))
        depth_map(points, faces, axes[m], centre, half, mesh[m], bool(axes[m, 2, 1] > -0.2))
        if some is not None:
            splat_map(some, axes[m], centre, half, 1, hair[m])
    return Shadows(mesh, hair, axes, np.asarray(centre, np.float32), half)


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def lit(
    x: float,
    y: float,
    z: float,
    mesh: Array,
    hair: Array,
    axes: Array,
    centre: Array,
    half: float,
    bias: float,
) -> float:
    """Share of the key light that reaches a point, mean over the maps.

    A map gives (bilinear mean of exp(-30 d) behind meshes) x exp(-9 x bilinear mean of depth in the hair).
    """
    count, n = mesh.shape[0], mesh.shape[1]
    k, end = np.float32(n / (2 * half)), np.float32(n - 1)
    wide, above = np.float32(half), np.float32(bias)
    px, py, pz = np.float32(x) - centre[0], np.float32(y) - centre[1], np.float32(z) - centre[2]
    total = _EMPTY
    for m in range(count):
        fj = (px * axes[m, 0, 0] + py * axes[m, 0, 1] + pz * axes[m, 0, 2] + wide) * k - _PIXEL
        fi = (px * axes[m, 1, 0] + py * axes[m, 1, 1] + pz * axes[m, 1, 2] + wide) * k - _PIXEL
        h = px * axes[m, 2, 0] + py * axes[m, 2, 1] + pz * axes[m, 2, 2] + above
        if not (fi >= _EMPTY and fj >= _EMPTY and fi < end and fj < end):
            total += _ONE
            continue
        i, j = int(fi), int(fj)
        m00, m01, m10, m11 = mesh[m, i, j], mesh[m, i, j + 1], mesh[m, i + 1, j], mesh[m, i + 1, j + 1]
        h00, h01, h10, h11 = hair[m, i, j], hair[m, i, j + 1], hair[m, i + 1, j], hair[m, i + 1, j + 1]
        solid = max(max(m00, m01), max(m10, m11)) - h
        woolly = max(max(h00, h01), max(h10, h11)) - h
        if solid <= _EMPTY and woolly <= _EMPTY:
            total += _ONE
            continue
        u, v = fi - np.float32(i), fj - np.float32(j)
        w00, w01, w10, w11 = (_ONE - u) * (_ONE - v), (_ONE - u) * v, u * (_ONE - v), u * v
        seen = _ONE
        if solid > _EMPTY:
            seen = w00 * _behind(m00 - h) + w01 * _behind(m01 - h)
            seen += w10 * _behind(m10 - h) + w11 * _behind(m11 - h)
        if woolly > _EMPTY and seen > _EMPTY:
            curl = w00 * max(_EMPTY, h00 - h) + w01 * max(_EMPTY, h01 - h)
            curl += w10 * max(_EMPTY, h10 - h) + w11 * max(_EMPTY, h11 - h)
            seen *= np.exp(np.float32(-9) * curl)
        total += seen
    return float(total / np.float32(count))


@njit(cache=True, inline="always", error_model="numpy")  # type: ignore[untyped-decorator]
def _behind(over: Any) -> Any:
    """exp(-30 d) of the depth behind a mesh; nothing beyond .4 dm."""
    if over <= _EMPTY:
        return _ONE
    if over >= np.float32(0.4):
        return _EMPTY
    return np.exp(np.float32(-30) * over)


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def lit_hair(
    x: float,
    y: float,
    z: float,
    mesh: Array,
    hair: Array,
    axes: Array,
    centre: Array,
    half: float,
    bias: float,
) -> float:
    """As `lit` from the nearest sample of each map: strands hide its steps."""
    count, n = mesh.shape[0], mesh.shape[1]
    k, end = np.float32(n / (2 * half)), np.float32(n)
    wide, above = np.float32(half), np.float32(bias)
    px, py, pz = np.float32(x) - centre[0], np.float32(y) - centre[1], np.float32(z) - centre[2]
    total = _EMPTY
    for m in range(count):
        fj = (px * axes[m, 0, 0] + py * axes[m, 0, 1] + pz * axes[m, 0, 2] + wide) * k
        fi = (px * axes[m, 1, 0] + py * axes[m, 1, 1] + pz * axes[m, 1, 2] + wide) * k
        h = px * axes[m, 2, 0] + py * axes[m, 2, 1] + pz * axes[m, 2, 2] + above
        if not (fi >= _EMPTY and fj >= _EMPTY and fi < end and fj < end):
            total += _ONE
            continue
        i, j = int(fi), int(fj)
        over, curl = max(_EMPTY, mesh[m, i, j] - h), max(_EMPTY, hair[m, i, j] - h)
        if over < np.float32(0.4):
            depth = np.float32(30) * over + np.float32(9) * curl
            total += np.exp(-depth) if depth > _EMPTY else _ONE
    return float(total / np.float32(count))
