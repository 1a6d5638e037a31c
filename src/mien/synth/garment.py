"""Clothes: the close garments of the base mesh pushed outwards, smoothed, folded, and cut along smooth lines.

Everything is a function of canonical position (decimetres, y up, face +z), so that the same garment sits on
every body and follows every pose: a garment's vertices keep the skinning of the mesh it came from.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csr_matrix, diags

from mien.core.errors import ConfigError
from mien.core.seeds import derive
from mien.synth.body import People, people
from mien.synth.hair import step
from mien.synth.noise import fbm_at, volume
from mien.synth.shading import vertex_normals

Array = NDArray[Any]  # of floats
Index = NDArray[np.int32]
Color = tuple[float, float, float]
GarmentKind = Literal["shoes", "trousers", "shirt", "skirt", "dress", "coat"]
KINDS: tuple[str, ...] = get_args(GarmentKind)
"""Innermost first."""
TORSO, HIPS = (1.2, 4.6), (-0.6, 1.2)
"""Canonical heights (dm) that every outfit must cover."""


@dataclass(frozen=True)
class Garment:
    """One piece of clothing.

    Attributes:
        kind: shoes, trousers, shirt, skirt, dress, coat.
        color: linear RGB.
        sleeve: 0 short .. 1 to the wrist (shirt, coat).
        length: 0 short .. 1 long (trousers, skirt, dress, coat).
        flare: widening of a skirt, 0 .. 0.35.
        folds: depth of the folds, 1 is natural.
        stripes: contrast of horizontal stripes, 0 none.
        opening: half width of the gap in front of a skirt, dm; 0 closed (the tail of a coat is open).
        seed: of the folds.
    """

    kind: GarmentKind
    color: Color
    sleeve: float = 0.0
    length: float = 1.0
    flare: float = 0.12
    folds: float = 1.0
    stripes: float = 0.0
    opening: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Checks ranges.

        Raises:
            ConfigError: an unknown kind or a value outside its range.
        """
        if self.kind not in KINDS:
            raise ConfigError(f"garment {self.kind!r} is none of {', '.join(KINDS)}")
        for name, high in (
            ("sleeve", 1.0),
            ("length", 1.0),
            ("flare", 0.35),
            ("folds", 2.0),
            ("stripes", 1.0),
            ("opening", 1.0),
        ):
            if not 0 <= getattr(self, name) <= high:
                raise ConfigError(f"{self.kind}: {name}={getattr(self, name)} is outside [0, {high:g}]")


Outfit = tuple[Garment, ...]


def check_outfit(outfit: Outfit) -> None:
    """Nobody is undressed.

    Raises:
        ConfigError: chest or hips are bare.
    """
    kinds = {g.kind for g in outfit}
    if not kinds & {"dress", "shirt"} or not kinds & {"dress", "skirt", "trousers"}:
        raise ConfigError(
            "an outfit needs a dress, or a shirt with trousers or a skirt; it is"
            f" {', '.join(sorted(kinds)) or 'empty'}"
        )


def sample_outfit(seed: int, male: float) -> Outfit:
    """Clothes from a seed; skirts and dresses for women only."""
    rng = np.random.default_rng(derive(seed, "outfit"))

    def color(dark: float) -> Color:
        level = rng.choice(
            [0.025, 0.09, 0.25, 0.62], p=[dark, 0.5 - dark / 2, 0.3 - dark / 4, 0.2 - dark / 4]
        )
        hue = rng.random(3) ** 1.8 if rng.random() < 0.65 else np.ones(3)
        v = level * (0.25 + 0.75 * hue)
        return float(v[0]), float(v[1]), float(v[2])

    def piece(kind: GarmentKind, **more: float) -> Garment:
        dark = 0.55 if kind in ("trousers", "shoes", "coat") else 0.25
        return Garment(kind, color(dark), seed=int(rng.integers(2**31)), **more)

    out = [piece("shoes")]
    stripes = float(rng.uniform(0.3, 0.8)) if rng.random() < 0.2 else 0.0
    if male < 0.5 and rng.random() < 0.3:
        out.append(piece("dress", length=float(rng.uniform(0.1, 1)), flare=float(rng.uniform(0.02, 0.3))))
    else:
        if male < 0.5 and rng.random() < 0.35:
            below = piece("skirt", length=float(rng.uniform(0, 1)), flare=float(rng.uniform(0, 0.3)))
        else:
            below = piece("trousers", length=float(rng.choice([0.25, 1.0], p=[0.15, 0.85])))
        out += [below, piece("shirt", sleeve=float(rng.choice([0.0, 1.0])), stripes=stripes)]
    if rng.random() < 0.18:
        out.append(piece("coat", sleeve=1.0, length=float(rng.uniform(0, 0.8))))
    return tuple(sorted(out, key=lambda g: KINDS.index(g.kind)))


@dataclass(frozen=True)
class Pattern:
    """A close garment of the base mesh, subdivided once: what garments are cut from.

    Attributes:
        base: (N,) vertices of the base mesh; rows past them are mid-points.
        up: (M, N) sparse: values at the base vertices -> values at all M.
        faces: (4 T, 3).
        smooth: (M, M) sparse mean over the neighbours.
        canon: (M, 3).
    """

    base: Index
    up: csr_matrix
    faces: Index
    smooth: csr_matrix
    canon: Array


@lru_cache(4)
def pattern(group: str) -> Pattern:
    """The pattern of ``tights`` or ``skirt``."""
    human = people()
    return make_pattern(human.vertices, human.faces[group])


def make_pattern(canon: Array, faces: Index) -> Pattern:
    """Subdivides the triangles (T, 3) of a mesh once at the mid-points of their edges. O(T)."""
    base, local = np.unique(faces, return_inverse=True)
    f = local.reshape(-1, 3)
    edges = np.sort(np.concatenate([f[:, [0, 1]], f[:, [1, 2]], f[:, [2, 0]]]), axis=1)
    pairs, of = np.unique(edges, axis=0, return_inverse=True)
    n, m = len(base), len(pairs)
    ab, bc, ca = (n + of.reshape(3, -1)[k] for k in range(3))
    a, b, c = f.T
    corners = ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))
    fine = np.concatenate([np.stack(t, 1) for t in corners]).astype(np.int32)
    rows = np.concatenate([np.arange(n), n + np.repeat(np.arange(m), 2)])
    cols = np.concatenate([np.arange(n), pairs.ravel()])
    up = csr_matrix((np.r_[np.ones(n), np.full(2 * m, 0.5)], (rows, cols)), shape=(n + m, n))
    e = np.concatenate([fine[:, [0, 1]], fine[:, [1, 2]], fine[:, [2, 0]]])
    e = np.concatenate([e, e[:, ::-1]])
    near = coo_matrix((np.ones(len(e)), (e[:, 0], e[:, 1])), shape=(n + m, n + m)).tocsr()
    near.data[:] = 1
    smooth = diags(1 / np.maximum(np.asarray(near.sum(1)).ravel(), 1)) @ near
    return Pattern(base.astype(np.int32), up, fine, smooth.tocsr(), (up @ canon[base]).astype(np.float32))


@dataclass(frozen=True)
class Cloth:
    """A garment on a body at rest, cut: vertices that share the skinning of the base mesh.

    Attributes:
        garment: which.
        points: (N, 3) dm, on the shaped body at rest.
        canon: (N, 3) canonical positions.
        faces: (T, 3), outward.
        fold: (N,) height of the folds, dm.
        blend: (N, B) sparse: values at the base mesh's vertices -> values here (for skinning).
        hem: (N,) distance from the cut, dm (about).
    """

    garment: Garment
    points: Array
    canon: Array
    faces: Index
    fold: Array
    blend: csr_matrix
    hem: Array


def _sleeve_end(g: Garment) -> float:
    return 2.35 + g.sleeve * 1.85


def keep(g: Garment, p: Array) -> Array:
    """Where a garment covers: positive inside, about dm from the cut. Canonical points (N, 3) -> (N,)."""
    x, y, z = np.abs(p[:, 0]), p[:, 1], p[:, 2]
    if g.kind == "shoes":
        return -7.72 - y
    if g.kind == "trousers":
        leg = -7.85 + (1 - g.length) * 4.6
        return np.minimum(np.minimum(y - leg, 1.35 - y), 3.2 - x)
    neck = _neck(x, z, 5.46, 5.56, -0.1)
    if g.kind == "shirt":
        return np.minimum(np.minimum(y - 0.75, neck - y), _sleeve_end(g) - x)
    if g.kind == "skirt":
        gap = np.where((z > 0.0) & (g.opening > 0), x - g.opening - 0.06 * np.maximum(0, 1 - y), 1.0)
        return np.minimum.reduce([y - _hem(g), 1.75 - y, gap])
    if g.kind == "dress":
        return np.minimum(np.minimum(y - 1.2, neck - 0.12 - y), 2.1 - x)
    front = step(-0.2, 0.3, z)
    opening = np.where(y < 5.6, x - (0.10 + 0.05 * np.maximum(0, y - 4.0)), 1.0)
    open_front = np.where(front > 0.5, opening, 1.0)
    return np.minimum.reduce([y - 1.0, _neck(x, z, 5.62, 5.66, -0.05) - y, _sleeve_end(g) - x, open_front])


def _neck(x: Array, z: Array, front: float, back: float, shift: float) -> Array:
    w = step(0.5, -0.05, z)
    return front * (1 - w) + back * w + 0.45 * x + shift


def _hem(g: Garment) -> float:
    """Canonical height of the hem of a skirt."""
    return -1.6 - 4.4 * g.length


def _ridge(p: Array, f: float, s: float) -> Array:
    """Sharp ridges between smooth valleys, 0 .. 1.6."""
    warped = p + 0.35 * np.stack([fbm_at(volume(), p, 0.9, 1, s + 5.0 * k) for k in range(3)], 1)
    n = fbm_at(volume(), np.ascontiguousarray(warped, np.float32), f, 1, s + 31.0)
    return 1.6 * np.clip(1 - np.abs(n) / 1.1, 0, None) ** 2


def _along(p: Array, sx: float, sy: float, sz: float = 1.0) -> Array:
    """Canonical positions stretched, so that noise runs along an axis."""
    return np.ascontiguousarray(p * np.array([sx, sy, sz], np.float32))


def folds(g: Garment, p: Array) -> Array:
    """Height of the folds (dm) at canonical points (N, 3)."""
    x, y = np.abs(p[:, 0]), p[:, 1]
    s = (g.seed % 9973) * 0.37
    if g.kind == "shoes":
        return np.zeros(len(p), np.float32)
    if g.kind == "trousers":
        knee = np.exp(-(((y + 4) / 0.7) ** 2)) * 0.9 + step(-6.4, -7.2, y) * 1.1
        crotch = np.exp(-(((y - 0.2) / 0.9) ** 2)) * step(0.9, 0.3, x)
        out = 0.055 * _ridge(_along(p, 0.35, 1.0, 0.5), 1.5, s) * knee
        out += 0.05 * _ridge(_along(_turn(p, 0.7), 0.3, 1.0, 0.5), 1.3, s + 3) * crotch
        return (out + 0.028 * fbm_at(volume(), _along(p, 1.6, 0.25, 1.6), 1.0, 1, s + 7)).astype(np.float32)
    if g.kind == "skirt":
        around = np.arctan2(p[:, 0], p[:, 2] - 0.2)
        phase = 2.2 * fbm_at(volume(), _along(p, 0.3, 0.15, 0.3), 1.0, 1, s)
        depth = 0.02 + 0.20 * step(1.6, -6.5, y)
        return (depth * np.sin(11 * around + phase)).astype(np.float32)
    body = 0.05 * _ridge(_along(_turn(p, 0.75), 0.35, 1.0, 0.6), 2.0, s) * step(0.2, 0.9, x)
    body += 0.035 * _ridge(_along(p, 0.3, 1.0, 0.5), 2.2, s + 11) * step(2.6, 1.6, y)
    body += 0.03 * fbm_at(volume(), np.ascontiguousarray(p), 1.2, 2, s + 17)
    arm = 0.05 * _ridge(_along(_turn(p, 0.85), 1.0, 0.35, 0.5), 1.9, s + 23)
    w = step(1.9, 2.3, x)
    return (body * (1 - w) + arm * w).astype(np.float32)


def _turn(p: Array, angle: float) -> Array:
    """Points turned about z, mirrored left to right: diagonals that meet in the middle."""
    c, s = np.cos(angle), np.sin(angle)
    x = np.abs(p[:, 0])
    return np.stack([c * x - s * p[:, 1], s * x + c * p[:, 1], p[:, 2]], 1).astype(np.float32)


def _offset(g: Garment, p: Array) -> Array:
    """Distance from the close garment, dm."""
    x, y = np.abs(p[:, 0]), p[:, 1]
    if g.kind == "shoes":
        return np.full(len(p), 0.10)
    if g.kind == "trousers":
        return 0.07 + 0.16 * step(-0.5, -5, y)
    if g.kind == "skirt":
        return np.full(len(p), 0.28 if g.opening else 0.05)
    if g.kind == "dress":
        return 0.07 + 0.03 * step(3, 1.5, y)
    out = 0.12 + 0.16 * step(3.2, 1, y) + 0.14 * step(1.5, 2.2, x)
    return out + (0.14 if g.kind == "coat" else 0.0)


_SMOOTHING = {"shoes": 6, "trousers": 10, "shirt": 14, "skirt": 4, "dress": 8, "coat": 18}


def pieces(outfit: Outfit) -> Outfit:
    """Dresses and coats as a top and a skirt, innermost first."""
    out: list[Garment] = []
    for g in outfit:
        if g.kind == "dress":
            out.append(replace(g, kind="skirt"))
        if g.kind == "coat":
            out.append(replace(g, kind="skirt", opening=0.12, flare=min(0.1, g.flare), length=0.6 * g.length))
        out.append(g)
    return tuple(out)


def tailor(g: Garment, human: People, shaped: Array) -> Cloth:
    """Puts a garment on a body at rest. O(vertices of the pattern x smoothing steps), some 20 ms.

    Args:
        g: the garment.
        human: the shipped human.
        shaped: (V, 3) dm, all vertices of the base mesh, shaped.
    """
    pat = pattern("skirt" if g.kind == "skirt" else "tights")
    close = (pat.up @ shaped[pat.base]).astype(np.float32)
    normal = vertex_normals(close, pat.faces)
    points = close + _offset(g, pat.canon)[:, None] * normal
    if g.kind == "skirt":
        widen = 1 + g.flare * step(1.6, -6, pat.canon[:, 1])[:, None]
        points = (
            np.stack([points[:, 0], points[:, 1], points[:, 2] - 0.2], 1) * np.c_[widen, widen * 0 + 1, widen]
        )
        points[:, 2] += 0.2
    for _ in range(_SMOOTHING[g.kind]):
        step_ = 0.5 * (pat.smooth @ points - points)
        points = points + (step_ * normal).sum(1, keepdims=True) * normal  # only the normal component
    floor = np.where((g.kind == "shirt") & (pat.canon[:, 1] < 2.0), 0.18, 0.05)
    if g.kind == "coat":
        floor = np.full(len(points), 0.26)
    out = ((points - close) * normal).sum(1)
    points = points + np.maximum(0, floor - out)[:, None] * normal
    height = folds(g, pat.canon) * g.folds
    own = vertex_normals(points.astype(np.float32), pat.faces)
    points = points + (1.2 if g.kind == "skirt" else 1.7) * height[:, None] * own
    if g.kind != "skirt":
        out = ((points - close) * normal).sum(1)
        points = points + np.maximum(0, floor - out)[:, None] * normal
    spread = csr_matrix(
        (np.ones(len(pat.base)), (np.arange(len(pat.base)), pat.base)), shape=(len(pat.base), len(shaped))
    )
    whole = Cloth(
        g,
        points.astype(np.float32),
        pat.canon,
        pat.faces,
        height.astype(np.float32),
        (pat.up @ spread).tocsr(),
        keep(g, pat.canon).astype(np.float32),
    )
    return cut(whole, lambda c: keep(g, c))


def cut(cloth: Cloth, field: Callable[[Array], Array]) -> Cloth:
    """Keeps the part where a field of canonical position is positive; new vertices on its zero line. O(T)."""
    value = field(cloth.canon).astype(np.float64)
    value = np.where(np.abs(value) < 1e-6, 1e-6, value)
    faces, mixes = clip_triangles(cloth.faces, value)
    n = len(cloth.points)
    rows = np.concatenate([np.arange(n), n + np.repeat(np.arange(len(mixes[0])), 2)])
    a, b, t = mixes
    cols = np.concatenate([np.arange(n), np.stack([a, b], 1).ravel()])
    data = np.concatenate([np.ones(n), np.stack([1 - t, t], 1).ravel()])
    mix = csr_matrix((data, (rows, cols)), shape=(n + len(a), n))
    used, renamed = np.unique(faces, return_inverse=True)
    mix = mix[used]
    hem = (mix @ value).astype(np.float32)
    return replace(
        cloth,
        points=(mix @ cloth.points).astype(np.float32),
        canon=(mix @ cloth.canon).astype(np.float32),
        faces=renamed.reshape(-1, 3).astype(np.int32),
        fold=(mix @ cloth.fold).astype(np.float32),
        blend=(mix @ cloth.blend).tocsr(),
        hem=hem,
    )


def clip_triangles(faces: Index, value: Array) -> tuple[Index, tuple[Array, Array, Array]]:
    """Triangles (T, 3) clipped to value > 0, linear on edges. O(T).

    Returns:
        Faces into the old vertices followed by the new ones; the new ones' ends a, b and share of b.
    """
    inside = value[faces] > 0
    count = inside.sum(1)
    whole = faces[count == 3]
    made: dict[tuple[int, int], int] = {}
    ends: list[tuple[int, int, float]] = []
    first = len(value)

    def between(a: int, b: int) -> int:
        key = (min(a, b), max(a, b))
        if key not in made:
            made[key] = first + len(ends)
            a, b = key
            ends.append((a, b, float(value[a] / (value[a] - value[b]))))
        return made[key]

    new: list[tuple[int, int, int]] = []
    for t in np.flatnonzero((count == 1) | (count == 2)):
        tri, ins = faces[t], inside[t]
        k = int(np.argmax(ins)) if count[t] == 1 else int(np.argmin(ins))
        a, b, c = int(tri[k]), int(tri[(k + 1) % 3]), int(tri[(k + 2) % 3])
        ab, ca = between(a, b), between(c, a)
        new += [(a, ab, ca)] if count[t] == 1 else [(ab, b, c), (ab, c, ca)]
    out = np.concatenate([whole, np.array(new, np.int32).reshape(-1, 3)]).astype(np.int32)
    table = np.array(ends, np.float64).reshape(-1, 3)
    return out, (table[:, 0].astype(int), table[:, 1].astype(int), table[:, 2])


def hides(g: Garment, p: Array) -> NDArray[np.bool_]:
    """Which canonical points of the skin a garment hides for sure (0.15 dm inside its hems)."""
    x, y = np.abs(p[:, 0]), p[:, 1]
    if g.kind == "skirt":
        return np.asarray((y > _hem(g) + 0.35) & (y < 1.6) & (x < 2.6) & (g.opening == 0))
    return np.asarray(keep(g, p) > 0.15)
