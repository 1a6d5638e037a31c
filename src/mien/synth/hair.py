"""Hair as real strands: guides grown on the scalp with gravity and flow, each with a clump of children.

Lengths in decimetres. Hair-line angles are azimuth from the front and elevation, around `CENTRE`, in degrees.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from mien.core.errors import ConfigError
from mien.synth.jit import njit
from mien.synth.noise import fbm_at, smoothstep, volume
from mien.synth.strands import HAIR, Strands, join, make_strands

Array = NDArray[Any]  # of floats
Index = NDArray[np.int32]
Style = Literal[
    "bald",
    "buzz",
    "crop",
    "sidepart",
    "quiff",
    "bob",
    "long",
    "wavy",
    "fringe",
    "curly",
    "afro",
    "pulled",
    "balding",
]
CENTRE = np.array([0.0, 7.55, 0.25])
_LINE_AZ = np.array([0, 25, 45, 62, 76, 86, 100, 118, 140, 180], float)
_LINE_EL = np.array([22.5, 24, 26, 11, -16, 0, 8, -26, -38, -44], float)
_BUN = np.array([0.0, 7.75, -0.75])
WHITE = np.array([0.62, 0.61, 0.59])


def step(a: float, b: float, t: Array) -> Array:
    """Smoothstep of an array."""
    t = np.clip((t - a) / (b - a), 0, 1)
    return t * t * (3 - 2 * t)


@dataclass(frozen=True)
class HairLine:
    """Where hair begins: shifts of the line in degrees.

    Attributes:
        front: of the first three nodes (0 .. 45 degrees of azimuth).
        recession: at the temples.
        sideburn: before the ears.
        seed: offset of the jitter.
        bald_above: canonical y of a bald crown (balding), or 99.
    """

    front: float = 0.0
    recession: float = 0.0
    sideburn: float = 0.0
    seed: float = 0.0
    bald_above: float = 99.0

    def above(self, points: Array) -> Array:
        """Degrees above the hair line of canonical points (N, 3), negative below."""
        p = points - CENTRE.astype(np.float32)
        az = np.degrees(np.arctan2(np.abs(p[:, 0]), p[:, 2]))
        el = np.degrees(np.arctan2(p[:, 1], np.hypot(p[:, 0], p[:, 2])))
        line = _LINE_EL.copy()
        line[:3] += self.front
        line[1:4] += self.recession * np.array([0.5, 1, 0.5])
        line[4] += self.sideburn
        q = np.ascontiguousarray(points, np.float32)
        jitter = 1.5 * fbm_at(volume(), q, 2.5, 2, self.seed) + 1.2 * fbm_at(volume(), q, 14.0, 1, self.seed)
        return (el - np.interp(az, _LINE_AZ, line) + jitter).astype(np.float32)

    def weight(self, points: Array) -> Array:
        """How much hair grows at canonical points: 0 .. 1."""
        w = step(-1.5, 2.5, self.above(points))
        return w * step(self.bald_above + 0.08, self.bald_above - 0.08, points[:, 1])


@dataclass(frozen=True)
class Scalp:
    """The head that hair grows on, as it is for one person.

    Attributes:
        points, normals: (V, 3) deformed head, neck and shoulders; hair stays outside.
        canon: (V, 3) canonical positions.
        faces: (T, 3) faces where hair may grow (no ears).
    """

    points: Array
    normals: Array
    canon: Array
    faces: Index

    def roots(self, count: int, line: HairLine, rng: np.random.Generator) -> tuple[Array, Array, Array]:
        """Positions, normals, canonical positions (count, 3) of area-weighted roots where the line allows."""
        a, b, c = (self.points[self.faces[:, k]] for k in range(3))
        area = 0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1)
        middle = self.canon[self.faces].mean(1)
        area = area * (line.weight(middle) > 0)
        face = rng.choice(len(area), size=3 * count, p=area / area.sum())
        u = np.sqrt(rng.random(3 * count))
        w1 = u * rng.random(3 * count)
        weights = np.stack([1 - u, u - w1, w1], 1)[..., None]
        canon = (self.canon[self.faces[face]] * weights).sum(1).astype(np.float32)
        keep = np.flatnonzero(rng.random(3 * count) < line.weight(canon))[:count]
        corners = self.faces[face[keep]]
        place = (self.points[corners] * weights[keep]).sum(1)
        normal = (self.normals[corners] * weights[keep]).sum(1)
        normal /= np.linalg.norm(normal, axis=1, keepdims=True)
        return place.astype(np.float32), normal.astype(np.float32), canon[keep]


Flow = Callable[[Array, Array], Array]


@dataclass(frozen=True)
class Cut:
    """Numbers of a style; ``length`` and ``flow`` see canonical roots."""

    length: Callable[[Array, np.random.Generator], Array]
    flow: Flow
    lift: float
    thick: float
    gravity: float
    stiff: float
    volume: float
    reach: float
    points: int
    children: int
    radius: float
    clump: float
    frizz: float
    curl: float = 0.0
    turns: float = 0.0
    guides: int = 2200
    mess: float = 0.06
    hug: bool = True
    low: float = 9.0  # hair parts before it falls below this height on the face; 9: it may hang there


def _unit(v: Array) -> Array:
    return v / (np.linalg.norm(v, axis=-1, keepdims=True) + 1e-9)


def _between(
    low: tuple[float, float], high: tuple[float, float]
) -> Callable[[Array, np.random.Generator], Array]:
    """Lengths from sides (y 7.4) to top (y 8.15), one draw of each range for the head."""

    def length(root: Array, rng: np.random.Generator) -> Array:
        side, top = rng.uniform(*low), rng.uniform(*high)
        return (side + (top - side) * step(7.4, 8.15, root[:, 1])) * rng.uniform(0.85, 1.1, len(root))

    return length


def _down_back(p: Array) -> Array:
    side = np.sign(p[:, 0])
    return np.stack([0.15 * side, np.full(len(p), -1.0), np.full(len(p), -0.45)], 1)


def _short_flow(part: float, back: float, front: float) -> Flow:
    """Short hair: from the part sideways and back on top, down and back on the sides."""

    def flow(p: Array, root: Array) -> Array:
        away = np.where(root[:, 0] > part, 1.0, -1.0)
        forward = step(0.5, 1.1, root[:, 2])
        top = np.stack([away, np.full(len(p), -0.05), -back + (front + back) * forward], 1)
        w = step(7.6, 8.05, root[:, 1])[:, None]
        return _unit(w * _unit(top) + (1 - w) * _unit(_down_back(root)))

    return flow


def _long_flow(part: float) -> Flow:
    def flow(p: Array, root: Array) -> Array:
        away = np.where(root[:, 0] > part, 1.0, -1.0) * np.clip(0.35 + np.abs(root[:, 0] - part) * 2, 0, 1)
        w = step(7.2, 7.7, p[:, 1])[:, None]
        top = np.stack([away, np.full(len(p), -0.25), np.full(len(p), -0.25)], 1)
        low = np.stack([0.05 * away, np.full(len(p), -1.0), np.full(len(p), -0.1)], 1)
        return _unit(w * _unit(top) + (1 - w) * _unit(low))

    return flow


def _radial(p: Array, root: Array) -> Array:
    return _unit(root - CENTRE)


def _down(p: Array, root: Array) -> Array:
    return _unit(_down_back(root))


def _fringe_flow(p: Array, root: Array) -> Array:
    front = step(0.55, 0.85, root[:, 2])[:, None]
    ahead = np.stack([0.25 * root[:, 0], np.full(len(p), -0.8), np.full(len(p), 0.8)], 1)
    return _unit(front * _unit(ahead) + (1 - front) * _long_flow(0.0)(p, root))


def _quiff_flow(p: Array, root: Array) -> Array:
    top = step(7.6, 8.0, root[:, 1])[:, None]
    up = np.stack([0.15 * root[:, 0], np.full(len(p), 0.75), np.full(len(p), -0.7)], 1)
    return _unit(top * _unit(up) + (1 - top) * _unit(_down_back(root)))


def _to_bun(p: Array, root: Array) -> Array:
    return _unit(_BUN - p)


def _cut(style: Style, rng: np.random.Generator, taller: float) -> Cut:
    part = float(rng.choice([-0.35, 0.35]))
    if style == "buzz":
        return Cut(
            _between((0.03, 0.05), (0.05, 0.07)),
            _down,
            0.55,
            0.05,
            0.2,
            0.8,
            0,
            1,
            4,
            3,
            0.012,
            0,
            0.01,
            guides=12000,
        )
    if style == "crop":
        flow = _short_flow(part, 0.35, rng.uniform(0.2, 0.9))
        return Cut(
            _between((0.10, 0.16), (0.28, 0.42)),
            flow,
            0.45,
            rng.uniform(0.06, 0.16),
            0.25,
            0.55,
            0.25,
            2,
            8,
            11,
            0.035,
            0.5,
            0.025,
        )
    if style == "sidepart":
        flow = _short_flow(part, 0.45, rng.uniform(0.2, 0.6))
        return Cut(
            _between((0.12, 0.22), (0.55, 0.75)),
            flow,
            0.4,
            rng.uniform(0.07, 0.22),
            0.35,
            0.6,
            0.22,
            1.2,
            10,
            11,
            0.035,
            0.6,
            0.02,
        )
    if style == "quiff":
        return Cut(
            _between((0.08, 0.16), (0.5, 0.8)),
            _quiff_flow,
            0.6,
            rng.uniform(0.06, 0.32),
            0.25,
            0.62,
            0.35,
            1.5,
            10,
            11,
            0.035,
            0.65,
            0.025,
        )
    middle = part if rng.random() < 0.5 else 0.0
    if style == "bob":

        def bob(root: Array, rng: np.random.Generator) -> Array:
            return (1.0 + 0.85 * step(7.3, 8.4, root[:, 1])) * rng.uniform(0.93, 1.05, len(root))

        return Cut(
            bob,
            _long_flow(middle),
            0.15,
            rng.uniform(0.13, 0.16),
            1,
            0.35,
            0.02,
            0.8,
            16,
            12,
            0.045,
            0.55,
            0.025,
            low=7.5,
        )
    if style == "long":
        return Cut(
            _between((2.2, 3.0), (3.0, 3.8)),
            _long_flow(middle),
            0.15,
            rng.uniform(0.12, 0.15),
            1,
            0.35,
            0,
            0.8,
            20,
            12,
            0.05,
            0.55,
            0.035,
            low=7.5,
        )
    if style == "wavy":
        return Cut(
            _between((1.8, 2.5), (2.3, 3.0)),
            _long_flow(middle),
            0.2,
            rng.uniform(0.2, 0.22),
            0.9,
            0.35,
            0.03,
            0.8,
            24,
            12,
            0.05,
            0.65,
            0.05,
            rng.uniform(0.05, 0.09),
            rng.uniform(0.9, 1.5),
            low=7.5,
        )
    if style == "fringe":

        def fringe(root: Array, rng: np.random.Generator) -> Array:
            rest = 1.0 + 0.85 * step(7.3, 8.4, root[:, 1])
            return np.where(root[:, 2] > 0.75, 0.62, rest) * rng.uniform(0.93, 1.05, len(root))

        return Cut(
            fringe,
            _fringe_flow,
            0.15,
            rng.uniform(0.12, 0.14),
            1,
            0.35,
            0.02,
            0.6,
            16,
            12,
            0.04,
            0.5,
            0.02,
            low=7.0,
        )
    if style == "curly":
        return Cut(
            _between((0.4, 0.6), (0.5, 0.8)),
            _radial,
            0.7,
            rng.uniform(0.16, 0.3),
            0.45,
            0.6,
            0.1,
            1,
            24,
            10,
            0.035,
            0.75,
            0.05,
            rng.uniform(0.05, 0.08),
            rng.uniform(3, 5),
            mess=0.3,
            hug=False,
        )
    if style == "afro":
        size = rng.uniform(0, 1)
        lengths = _between((0.25 + 0.2 * size, 0.3 + 0.2 * size), (0.35 + 0.3 * size, 0.4 + 0.3 * size))
        return Cut(
            lengths,
            _radial,
            0.85,
            rng.uniform(0.1, 0.2),
            0,
            0.8,
            0.3,
            9,
            24,
            7,
            0.05,
            0,
            0.10,
            0.035,
            9,
            guides=4500,
            mess=0.3,
            hug=False,
        )
    if style == "pulled":

        def pulled(root: Array, rng: np.random.Generator) -> Array:
            return (0.9 * np.linalg.norm(root - _BUN, axis=1) + 0.1).astype(np.float32)

        return Cut(pulled, _to_bun, 0.12, 0.06, 0, 0.2, 0, 30, 14, 12, 0.04, 0.55, 0.012)
    if style == "balding":
        return Cut(
            _between((0.08, 0.16), (0.08, 0.16)), _down, 0.35, 0.06, 0.4, 0.5, 0, 1, 6, 9, 0.03, 0.2, 0.015
        )
    raise ConfigError(f"hair style {style!r} is none of {', '.join(get_args(Style))}")


def grow(
    style: Style, scalp: Scalp, line: HairLine, color: Array, grey: float, seed: int, density: float = 1.0
) -> Strands | None:
    """Hair of one person on the neutral head; none for bald.

    Args:
        style: see `Style`.
        scalp: where.
        line: hair line.
        color: (3,) linear RGB.
        grey: 0 .. 1, share of white clumps.
        seed: of everything random.
        density: share of the strands, wider in turn (small pictures).

    O(guides K log V + strands K).
    """
    if style == "bald":
        return None
    rng = np.random.default_rng(seed)
    cut = _cut(style, rng, 0.0)
    if density < 0.4:  # fewer, larger clumps: guides are what costs
        cut = replace(cut, guides=cut.guides // 2, children=2 * cut.children)
    guides, normals = _guides(cut, scalp, line, rng)
    strands = _children(cut, guides, normals, color, grey, rng, density)
    if style == "pulled":
        strands = join([strands, _bun(scalp, color, rng, density)])
    return strands


def _guides(cut: Cut, scalp: Scalp, line: HairLine, rng: np.random.Generator) -> tuple[Array, Array]:
    root, normal, canon = scalp.roots(cut.guides, line, rng)
    count = len(root)
    above = line.above(canon)
    taper = step(-1.0, 16.0, above)
    side = 0.35 + 0.65 * step(7.4, 8.15, canon[:, 1])
    length = cut.length(canon, rng)
    length = np.where(length < 1.0, length * (0.3 + 0.7 * taper), length)
    lift = (cut.lift * (0.25 + 0.75 * taper) * side)[:, None]
    vol = cut.volume * side
    layer = cut.thick * (0.25 + 0.75 * rng.random(count)) * (0.2 + 0.8 * taper)
    step_length = (length / (cut.points - 1))[:, None]
    tree = cKDTree(scalp.points)
    d = _unit(
        lift * normal + (1 - lift) * cut.flow(canon, canon) + cut.mess * rng.standard_normal((count, 3))
    )
    p = root + 0.004 * normal
    path = [p]
    down = np.array([0.0, -1.0, 0.0])
    near_normal = normal
    shift = root - canon
    away = np.where(cut.flow(canon, canon)[:, 0] < 0, -1.0, 1.0)
    for k in range(1, cut.points):
        s = k * step_length[:, 0]
        f = np.exp(-s / cut.reach)[:, None]
        flow = cut.flow(p - shift, canon)
        if cut.hug:
            flow = flow - np.maximum((flow * near_normal).sum(1, keepdims=True), 0) * near_normal
        target = flow * f + down * cut.gravity * (1 - 0.7 * f)
        d = cut.stiff * d + (1 - cut.stiff) * target + (vol * np.exp(-s / 0.6))[:, None] * normal
        d = _unit(d)
        new = p + step_length * d
        if cut.low < 9:
            new = _off_face(new, p - shift, away, cut.low)
        distance, near = tree.query(new, distance_upper_bound=0.9)
        found = np.isfinite(distance)
        near = np.where(found, near, 0)
        near_normal = np.where(found[:, None], scalp.normals[near], 0.0)
        height = ((new - scalp.points[near]) * near_normal).sum(1)
        want = np.minimum(layer, 0.5 * s + 0.01)
        push = np.where(found, np.maximum(0.0, want - height), 0.0)
        new = new + push[:, None] * near_normal
        d = _unit(new - p)
        p = p + step_length * d
        path.append(p)
    paths = np.stack(path, 1).astype(np.float32)
    if cut.low < 9:
        x, y, z = np.moveaxis(paths - shift[:, None], 2, 0)
        free = ~((np.abs(x) < 0.45) & (y < cut.low + 0.25) & (z > 0.95)).any(1)
        paths, normal = paths[free], normal[free]
    return paths, normal


def _off_face(new: Array, canon: Array, away: Array, low: float) -> Array:
    """Moves points (N, 3) sideways, out of the middle of the face, the more the lower they are.

    Args:
        new: where they would go.
        canon: canonical positions they come from.
        away: (N,) the side, -1 or 1, that each falls to.
        low: canonical height below which the face is free.
    """
    x, y, z = canon.T
    free = 0.62 * step(low + 0.45, low, y) * step(0.6, 0.95, z)
    short = np.maximum(0.0, free - x * away)
    return new + np.stack([short * away, np.zeros(len(x)), np.zeros(len(x))], 1)


def _children(
    cut: Cut,
    guides: Array,
    normals: Array,
    color: Array,
    grey: float,
    rng: np.random.Generator,
    density: float,
) -> Strands:
    count, length = guides.shape[:2]
    each = max(1, round(cut.children * density))
    if density < 1 and cut.children * density < 1:
        keep = rng.permutation(count)[: max(1, int(count * cut.children * density))]
        guides, normals, count = guides[keep], normals[keep], len(keep)
    width = rng.uniform(0.009, 0.012) * min(3.0, (1 / density) ** 0.5)
    offset = rng.standard_normal((count, each, 3), np.float32) * np.float32(cut.radius)
    share = 0.72 + 0.28 * rng.random((count, each), np.float32)
    walk = np.zeros((0, 0, 0, 3), np.float32)
    if cut.frizz:
        walk = rng.standard_normal((count, each, length, 3), np.float32)
        walk *= np.float32(cut.frizz / length**0.5)
    phase = np.zeros((0, 0), np.float32)
    if cut.curl:
        turn = rng.uniform(0, 2 * np.pi, (count, 1)) + rng.normal(0, 0.35, (count, each))
        phase = turn.astype(np.float32)
    points = np.empty((count * each, length, 3), np.float32)
    _clumps(guides, normals, offset, share, walk, phase, cut.clump, cut.curl, cut.turns, points)
    tone = np.exp(rng.normal(0, 0.22, (count, 1, 1)) + rng.normal(0, 0.10, (count, each, 1)))
    hue = color[None, None, :] * tone
    white = np.clip(grey + (grey > 0) * 0.07 * rng.standard_normal((count, 1, 1)), 0, 1) * rng.uniform(
        0.6, 0.8
    )
    hue = hue + white * (WHITE - hue)
    layer = np.clip(rng.beta(1.3, 1.3, (count, each)), 0, 1)
    shift = rng.uniform(-0.05, 0.05, count * each)
    return make_strands(points, HAIR, hue.reshape(-1, 3), width, layer.ravel(), shift)


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _clumps(
    guides: Array,
    normals: Array,
    offset: Array,
    share: Array,
    walk: Array,
    phase: Array,
    clump: float,
    curl: float,
    turns: float,
    out: Array,
) -> None:
    """Children of guides: cut shorter, set off from the root, frizzy, curled. O(points).

    Args:
        guides: (G, K, 3).
        normals: (G, 3) of the skin at their roots; most of an offset along it is dropped.
        offset: (G, C, 3) from the root of the guide.
        share: (G, C) of the guide's length.
        walk: (G, C, K, 3) steps of the frizz, or empty.
        phase: (G, C) of the curls, or empty.
        clump: how much of the offset is lost at the tip.
        curl: radius of the curls, dm.
        turns: of the curls, a dm.
        out: (G C, K, 3), written.
    """
    count, length = guides.shape[0], guides.shape[1]
    each = share.shape[1]
    for g in range(count):
        n = normals[g]
        ux, uy, uz, vx, vy, vz, whole = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        if curl > 0:
            ax = guides[g, length - 1, 0] - guides[g, 0, 0]
            ay = guides[g, length - 1, 1] - guides[g, 0, 1]
            az = guides[g, length - 1, 2] - guides[g, 0, 2]
            size = np.sqrt(ax * ax + ay * ay + az * az) + 1e-9
            ax, ay, az = ax / size, ay / size, az / size
            ux, uy, uz = ay * 0.8 - az * 0.5, az * 0.3 - ax * 0.8, ax * 0.5 - ay * 0.3
            size = np.sqrt(ux * ux + uy * uy + uz * uz) + 1e-9
            ux, uy, uz = ux / size, uy / size, uz / size
            vx, vy, vz = ay * uz - az * uy, az * ux - ax * uz, ax * uy - ay * ux
            for k in range(1, length):
                dx = guides[g, k, 0] - guides[g, k - 1, 0]
                dy = guides[g, k, 1] - guides[g, k - 1, 1]
                dz = guides[g, k, 2] - guides[g, k - 1, 2]
                whole += np.sqrt(dx * dx + dy * dy + dz * dz)
        for e in range(each):
            ox, oy, oz = offset[g, e, 0], offset[g, e, 1], offset[g, e, 2]
            dot = 0.8 * (ox * n[0] + oy * n[1] + oz * n[2])
            ox, oy, oz = ox - dot * n[0], oy - dot * n[1], oz - dot * n[2]
            fx, fy, fz = 0.0, 0.0, 0.0
            own = out[g * each + e]
            for k in range(length):
                t = k / (length - 1)
                at = share[g, e] * k
                low = min(length - 2, int(at))
                part, keep = at - low, 1 - clump * t
                if len(walk) and k > 0:
                    fx += walk[g, e, k, 0]
                    fy += walk[g, e, k, 1]
                    fz += walk[g, e, k, 2]
                x = guides[g, low, 0] * (1 - part) + guides[g, low + 1, 0] * part + ox * keep + fx
                y = guides[g, low, 1] * (1 - part) + guides[g, low + 1, 1] * part + oy * keep + fy
                z = guides[g, low, 2] * (1 - part) + guides[g, low + 1, 2] * part + oz * keep + fz
                if curl > 0:
                    angle = phase[g, e] + 2 * np.pi * turns * whole * t
                    r = smoothstep(0.0, 0.25, t) * curl
                    c, s = r * np.cos(angle), r * np.sin(angle)
                    x, y, z = x + c * ux + s * vx, y + c * uy + s * vy, z + c * uz + s * vz
                own[k, 0], own[k, 1], own[k, 2] = x, y, z


def _bun(scalp: Scalp, color: Array, rng: np.random.Generator, density: float) -> Strands:
    """Great circles around a knot behind the crown."""
    count, length = max(200, int(1500 * density)), 14
    radius = rng.uniform(0.26, 0.30)
    near = np.argmin(np.linalg.norm(scalp.canon - _BUN, axis=1))
    centre = scalp.points[near] + 0.6 * radius * scalp.normals[near]
    a = _unit(rng.standard_normal((count, 3)))
    b = _unit(np.cross(a, rng.standard_normal((count, 3))))
    angle = np.linspace(0, 3.5, length)[None, :, None] + rng.uniform(0, 6.28, (count, 1, 1))
    r = radius * (0.9 + 0.1 * rng.random((count, 1, 1)))
    points = centre + r * (np.cos(angle) * a[:, None] + np.sin(angle) * b[:, None])
    hue = color * np.exp(rng.normal(0, 0.2, (count, 1)))
    width = 0.011 * min(3.0, (1 / density) ** 0.5)
    return make_strands(points, HAIR, hue, width, rng.random(count), rng.uniform(-0.05, 0.05, count))
