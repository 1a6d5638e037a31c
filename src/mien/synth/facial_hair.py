"""Brows, beards, lashes and glasses: strands bound to the canonical face and regrown on the moved one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.synth.hair import step
from mien.synth.head import Bound, HeadMesh
from mien.synth.strands import BEARD, BROWS, GLASSES, LASHES, Strands, bound_strands, make_strands

Array = NDArray[Any]  # of floats


def _unit(v: Array) -> Array:
    return v / (np.linalg.norm(v, axis=-1, keepdims=True) + 1e-9)


@dataclass(frozen=True)
class BoundHair:
    """Short hairs on skin: roots bound to faces, shapes in the frame (right, up, out) of the skin.

    Attributes:
        roots: (S,) bound points.
        shape: (S, K, 3) offsets from the root, dm.
        color: (S, 3).
        kind: BROWS, BEARD or LASHES.
        width: dm.
    """

    roots: Bound
    shape: Array
    color: Array
    kind: int
    width: float

    def grown(self, points: Array, normals: Array) -> Strands:
        """On a mesh (V, 3) with normals (V, 3): the same hairs in exact correspondence. O(S K)."""
        count, length = self.shape.shape[:2]
        strands = np.empty((count, length, 3), np.float32)
        flat = strands.reshape(-1, 3)
        bound_strands(self.roots.corners, self.roots.weights, self.shape, points, normals, flat)
        shift = ((np.arange(count) * 0.618) % 1 - 0.5) * 0.1
        return make_strands(strands, self.kind, self.color, self.width, np.full(count, 0.8), shift)

    def thinned(self, every: int) -> BoundHair:
        """Each ``every``-th hair, wider."""
        roots = Bound(self.roots.corners[::every], self.roots.weights[::every])
        width = self.width * min(2.0, every**0.5)
        return BoundHair(roots, self.shape[::every], self.color[::every], self.kind, width)


@dataclass(frozen=True)
class BrowShape:
    """Line of a brow: y = base + tilt u + arch (1 - ((u - .62) / .62)^2) - .16 max(0, u - .72)."""

    base: float = 7.487
    tilt: float = 0.03
    arch: float = 0.05
    gap: float = 0.105
    length: float = 0.43
    thickness: float = 0.045

    def line(self, u: Array) -> Array:
        """Height of the centre line."""
        bend = self.arch * (1 - ((u - 0.62) / 0.62) ** 2)
        return self.base + self.tilt * u + bend - 0.16 * np.maximum(0, u - 0.72)

    def half(self, u: Array) -> Array:
        """Half thickness, tapering outwards and a little inwards."""
        return 0.72 * self.thickness * (0.6 + 0.4 * step(0, 0.25, u)) * (1 - 0.85 * step(0.4, 1.0, u))

    def weight(self, points: Array) -> Array:
        """Paint under the brows at canonical points (N, 3)."""
        u = (np.abs(points[:, 0]) - self.gap) / self.length
        d = np.abs(points[:, 1] - self.line(u)) / np.maximum(self.half(u), 0.012)
        inside = step(-0.08, 0.06, u) * step(1.06, 0.9, u)
        return (inside * step(1.35, 0.45, d) * (points[:, 2] > 0.6)).astype(np.float32)


def brows(head: HeadMesh, shape: BrowShape, color: Array, count: int, rng: np.random.Generator) -> BoundHair:
    """Hairs of both brows."""
    u = rng.beta(1.1, 1.15, count)
    side = np.where(np.arange(count) % 2, 1.0, -1.0)
    across = np.clip(rng.normal(0, 0.5, count), -1, 1)
    x = side * (shape.gap + shape.length * u)
    y = shape.line(u) + across * shape.half(u)
    bound, good = head.below(np.stack([x, y], 1).astype(np.float32))
    bound = Bound(bound.corners[good], bound.weights[good])
    u, side, across = u[good], side[good], across[good]
    angle = 1.25 + (-0.15 - 1.25) * step(0.0, 0.55, u) - 0.35 * across + rng.normal(0, 0.12, len(u))
    length = rng.uniform(0.04, 0.075, len(u)) * (0.65 + 0.35 * step(0, 0.2, u))
    t = np.linspace(0, 1, 4)[None, :, None]
    d = np.stack([np.cos(angle) * side, np.sin(angle), np.zeros(len(u))], 1)[:, None]
    droop = np.array([0.0, -0.25, 0.0]) * t * t
    path = length[:, None, None] * (d * t + droop)
    path[..., 2] += 0.008 + 0.006 * np.sin(np.pi * t[..., 0])
    tone = color * np.exp(rng.normal(0, 0.15, (len(u), 1)))
    return BoundHair(bound, path.astype(np.float32), tone.astype(np.float32), BROWS, 0.0085)


def beard_weight(points: Array, kind: str) -> Array:
    """Where a beard grows at canonical points: full, goatee, moustache (and shadow = full)."""
    x, y, z = np.abs(points[:, 0]), points[:, 1], points[:, 2]
    below = step(0.05, -0.05, y - (6.93 + 0.38 * (x - 0.15))) * step(0.25, 0.5, z)
    below = below * step(0.5, 0.85, z + 2 * (y - 6.15))  # not on the neck
    nose = step(6.88, 6.82, y) + step(0.24, 0.34, x)
    full = below * np.clip(nose, 0, 1)
    lip = (x / 0.29) ** 4 + (np.abs(y - 6.665) / 0.10) ** 4
    free = step(0.8, 1.3, lip)
    moustache = step(0.34, 0.26, x) * step(6.66, 6.70, y) * step(6.87, 6.83, y)
    goatee = step(0.34, 0.26, x) * step(6.64, 6.58, y) * below * step(0.8, 1.0, z)
    if kind == "moustache":
        return (moustache * free * (z > 0.9)).astype(np.float32)
    if kind == "goatee":
        return (np.maximum(moustache, goatee) * free).astype(np.float32)
    return (full * free).astype(np.float32)


def beard(
    head: HeadMesh, kind: str, length: float, color: Array, grey: float, count: int, rng: np.random.Generator
) -> BoundHair:
    """Hairs of a full beard, goatee or moustache."""
    x = rng.uniform(-0.95, 0.95, 4 * count)
    y = rng.uniform(5.8, 7.35, 4 * count)
    bound, good = head.below(np.stack([x, y], 1).astype(np.float32))
    place = bound.at(head.canon)
    keep = np.flatnonzero(good & (rng.random(len(x)) < beard_weight(place, kind)))[:count]
    place = place[keep]
    n = len(keep)
    reach = length * rng.uniform(0.6, 1.1, n) * (0.35 + 0.65 * step(7.05, 6.5, place[:, 1]))
    on_lip = (place[:, 1] > 6.66) & (np.abs(place[:, 0]) < 0.34)
    reach = np.where(on_lip, np.minimum(reach, 0.10 + 0.04 * rng.random(n)), reach)
    side = np.sign(place[:, 0]) * np.clip(np.abs(place[:, 0]) / 0.25, 0.2, 1)
    d = np.stack([0.35 * side, np.full(n, -1.0), np.full(n, 0.25)], 1) + 0.22 * rng.standard_normal((n, 3))
    d = _unit(d)[:, None]
    t = np.linspace(0, 1, 6)[None, :, None]
    path = reach[:, None, None] * (d * t + np.array([0.0, -0.35, -0.12]) * t * t)
    path[..., 2] = np.maximum(path[..., 2], 0.006)
    tone = color * np.exp(rng.normal(0, 0.2, (n, 1)))
    white = np.clip(grey + (grey > 0) * 0.12 * rng.standard_normal((n, 1)), 0, 1) * 0.6
    tone = tone + white * (np.array([0.62, 0.61, 0.59]) - tone)
    roots = Bound(bound.corners[keep], bound.weights[keep])
    return BoundHair(roots, path.astype(np.float32), tone.astype(np.float32), BEARD, 0.010)


def lashes(head: HeadMesh, points: Array, eyes: tuple[Array, Array], long: float) -> Strands:
    """Lashes on the moved cards.

    Args:
        head: cards.
        points: (V, 3) moved mesh.
        eyes: centres of the eyeballs: a root is the end nearer to one.
        long: factor of the upper ones; the lower are half as long as their card.
    """
    paths = head.lashes.at(points).reshape(-1, 4, 3)
    ends = paths[:, [0, -1]]
    near = np.minimum(*(np.linalg.norm(ends - e, axis=2) for e in eyes))
    paths = np.where((near[:, 0] > near[:, 1])[:, None, None], paths[:, ::-1], paths)
    factor = np.where(head.upper, long, 0.5)[:, None, None]
    paths = paths[:, :1] + factor * (paths - paths[:, :1])
    n = len(paths)
    return make_strands(paths, LASHES, np.full(3, 0.012), 0.0075, np.full(n, 0.7), np.zeros(n))


@dataclass(frozen=True)
class Frames:
    """Glasses: half width and height of a lens (dm), power of its superellipse, wire width, colour."""

    half_width: float
    half_height: float
    power: float
    width: float
    color: tuple[float, float, float]


def clearance(head: HeadMesh, points: Array, rims: Array, canon: Array) -> float:
    """How far the front of glasses must move forward to lie 3 mm before the skin, at most 2 cm, dm.

    Args:
        head: shared geometry.
        points: (V, 3) the face before it turns.
        rims: (N, 3) points of the rims.
        canon: (3,) canonical position minus that of this person, between the eyes.
    """
    bound, good = head.below((rims + canon)[:, :2].astype(np.float32))
    gap = bound.at(points)[good, 2] + 0.03 - rims[good, 2]
    return float(np.clip(gap.max(initial=0.0), 0.0, 0.2))


def glasses(
    frames: Frames, eyes: tuple[Array, Array], ears: tuple[Array, Array], forward: float = 0.0
) -> Strands:
    """Two rims .36 dm before the eyes, a bridge and two arms to the ears, as strands.

    Wires are 1.2 to 3 mm; colours are those of frames, dark and muted.

    Args:
        frames: shape.
        eyes: centres of the left and right eyeball (3,).
        ears: where the arms end, above the left and right ear.
        forward: how far before that the front sits, dm.
    """
    t = np.linspace(0, 2 * np.pi, 41)
    c, s = np.cos(t), np.sin(t)
    ex = np.sign(c) * np.abs(c) ** (2 / frames.power)
    ey = np.sign(s) * np.abs(s) ** (2 / frames.power)
    loops, arms = [], []
    for side, eye, ear in ((1.0, eyes[0], ears[0]), (-1.0, eyes[1], ears[1])):
        x = frames.half_width * ex
        apart = max(0.012, frames.half_width + 0.035 - side * float(eye[0]))
        centre = eye + np.array([side * apart, -0.015, 0.36 + forward])
        outward = np.maximum(0, x * side)
        loop = centre + np.stack([x, frames.half_height * ey, -0.35 * outward**2 / frames.half_width], 1)
        loops.append(loop)
        hinge = centre + np.array([side * frames.half_width, 0.35 * frames.half_height, -0.12])
        u = np.linspace(0, 1, 41)[:, None]
        arms.append(hinge + u * (ear - hinge) + np.array([side * 0.06, 0, 0]) * np.sin(np.pi * u))
    inner = [
        loop[np.argmin(np.abs(loop[:, 0]) + 0.2 * np.abs(loop[:, 1] - eye[1] - 0.05))]
        for loop, eye in zip(loops, eyes, strict=True)
    ]
    u = np.linspace(0, 1, 41)[:, None]
    bridge = inner[0] + u * (inner[1] - inner[0]) + np.array([0, 0.05, 0.05]) * np.sin(np.pi * u)
    paths = np.stack([*loops, *arms, bridge]).astype(np.float32)
    wire = 0.012 + 0.55 * max(0.0, frames.width - 0.018)
    color = np.array(frames.color)
    dull = color.mean() + 0.6 * (color - color.mean())
    count = len(paths)
    return make_strands(
        paths,
        GLASSES,
        np.minimum(color, 0.35 * dull + 0.004),
        wire,
        np.ones(count),
        np.zeros(count),
    )
