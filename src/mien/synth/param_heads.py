"""ParamHeads: heads that are formulas, with exact depth, albedo, normals, parts, view, light and landmarks.

Conventions of `mien.methods.igc_net`: x right, y down, z away from the camera, which looks along +z with a
field of view of 10 degrees; the middle of the head is c0 = (0, 0, 1). A view is rotations x, y, z (radians)
and translations x, y, z:  W(P) = Rz Ry Rx (P - c0) + c0 + T. Normals point into the head, (0, 0, 1) for a
flat wall, and light l is the way it travels, in the head's frame, so a matt surface shows
a (ambient + diffuse max(0, n . l)).

A surface is an ellipsoid (w, h, d), narrower at the jaw, moved along -z by Gaussian bumps of (x, y) / h.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mien.core.seeds import derive
from mien.synth.raster import raster, weights
from mien.synth.shading import vertex_normals

Array = NDArray[Any]  # of floats
FOV = 10.0
"""Field of view, degrees."""
PARTS = ("background", "skin", "eyes", "brows", "nose", "mouth", "hair")
LANDMARKS = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
"""Left and right as the viewer sees a frontal face."""
_SAMPLES = 3  # a pixel side; odd, so that the middle sample is the pixel's centre
_RINGS, _SPOKES = 96, 128
_HIDDEN = 0.004  # a landmark so far behind what is drawn is hidden


class HeadView(NamedTuple):
    """One picture with its truth, or n of them with a leading axis.

    Attributes:
        image: (S, S, 3) uint8.
        depth: (S, S) along the optical axis, 0.9 to 1.1; 0 = background.
        normal: (S, S, 3) unit, of the view; 0 = background.
        albedo: (S, S, 3) in [0, 1]; 0 = background.
        part: (S, S) uint8.
        view: (6,) rotations, then translations.
        light: (5,) ambient, diffuse, direction of travel in the head's frame.
        landmarks: (5, 2) column, row of `LANDMARKS`; (0, 0) is the middle of the first pixel.
        visible: (5,) in the picture, and nothing hides it.
    """

    image: NDArray[np.uint8]
    depth: Array
    normal: Array
    albedo: Array
    part: NDArray[np.uint8]
    view: Array
    light: Array
    landmarks: Array
    visible: NDArray[np.bool_]


@dataclass(frozen=True)
class ParamHead:
    """A person. Lengths of features are shares of the head's half height.

    Attributes:
        axes: half width, height and depth of the ellipsoid.
        jaw: how much narrower it is at the chin.
        nose: width and height of the nose.
        sockets: depth of the eye sockets.
        lips: height of the lips.
        chin: height of the chin.
        eyes: x, y, half width and half height of the left eye in the picture's sense.
        brows: y, slope, half thickness.
        mouth: y, half width, half thickness.
        tilt: asymmetry: how much lower the right half of the features lies.
        hairline: y of the hairline over the forehead.
        long: y to which hair reaches beside and behind the face.
        fringe: y to which a lock before one half of the forehead reaches; the hairline: none.
        glasses: whether there are any.
        skin, hair, iris, lip, rim: colours in [0, 1].
        phase: of the streaks of the hair.
    """

    axes: tuple[float, float, float]
    jaw: float
    nose: tuple[float, float]
    sockets: float
    lips: float
    chin: float
    eyes: tuple[float, float, float, float]
    brows: tuple[float, float, float]
    mouth: tuple[float, float, float]
    tilt: float
    hairline: float
    long: float
    fringe: float
    glasses: bool
    skin: Array
    hair: Array
    iris: Array
    lip: Array
    rim: Array
    phase: float


def focal_pixels(size: int) -> float:
    """Focal length: f = (W - 1) / 2 / tan(fov / 2).

    >>> round(focal_pixels(5), 6)
    22.860105
    """
    return float((size - 1) / 2 / np.tan(np.deg2rad(FOV / 2)))


def rotation_xyz(angles: Array) -> Array:
    """R = Rz Ry Rx (3, 3) of angles (3,) about x, y, z in radians."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return np.asarray(z @ y @ x)


def sample_view(rng: np.random.Generator, yaw: float = 40.0, pitch: float = 17.0) -> Array:
    """(6,) view: pitch and yaw even within +- degrees, no roll, no translation."""
    turn = np.deg2rad([rng.uniform(-pitch, pitch), rng.uniform(-yaw, yaw), 0.0])
    return np.concatenate([turn, np.zeros(3)]).astype(np.float32)


def sample_light(rng: np.random.Generator) -> Array:
    """(5,) light: ambient .3 to .6, diffuse .4 to .7, direction within 35 degrees of the face's own."""
    off, around = np.deg2rad(35) * np.sqrt(rng.uniform()), rng.uniform(0, 2 * np.pi)
    way = [np.sin(off) * np.cos(around), np.sin(off) * np.sin(around), np.cos(off)]
    return np.array([rng.uniform(0.3, 0.6), rng.uniform(0.4, 0.7), *way], np.float32)


def sample_backdrop(rng: np.random.Generator, size: int) -> Array:
    """(S, S, 3) in [0, 1]: one colour, or a gradient between two."""
    first, second = rng.uniform(0.05, 0.95, (2, 3))
    if rng.random() < 0.5:
        return np.broadcast_to(first, (size, size, 3)).copy()
    angle, at = rng.uniform(0, 2 * np.pi), np.linspace(-0.5, 0.5, size)
    share = np.clip(0.5 + np.cos(angle) * at[None] + np.sin(angle) * at[:, None], 0, 1)[..., None]
    return np.asarray((1 - share) * first + share * second)


def sample_head(
    seed: int, *, hair: bool = False, glasses: bool = False, asymmetry: bool = False
) -> ParamHead:
    """A person.

    Args:
        seed: who.
        hair: every other person has a lock before the forehead.
        glasses: every other person wears them.
        asymmetry: features of the right half lie lower or higher.
    """
    rng = np.random.default_rng(derive(seed, "param head"))
    u = rng.uniform
    tone, warm = u(0.25, 0.92), u(-0.04, 0.04)
    skin = np.clip(np.array([tone + 0.06, tone * 0.80 + warm * 0.5, tone * 0.66 - warm]), 0.08, 1)
    dark = np.array([[0.07, 0.06, 0.06], [0.20, 0.13, 0.08], [0.42, 0.27, 0.14], [0.78, 0.62, 0.36],
                     [0.50, 0.22, 0.10], [0.70, 0.69, 0.68]])  # fmt: skip
    irises = np.array([[0.16, 0.09, 0.05], [0.32, 0.20, 0.09], [0.22, 0.33, 0.20], [0.25, 0.42, 0.58]])
    hairline = u(-0.66, -0.50)
    head = ParamHead(
        axes=(u(0.056, 0.063), u(0.074, 0.080), u(0.062, 0.070)),
        jaw=u(0.12, 0.34),
        nose=(u(0.8, 1.3), u(0.75, 1.25)),
        sockets=u(0.05, 0.09),
        lips=u(0.7, 1.4),
        chin=u(0.02, 0.08),
        eyes=(u(0.275, 0.335), u(-0.06, 0.01), u(0.115, 0.145), u(0.048, 0.068)),
        brows=(u(-0.22, -0.17), u(-0.12, 0.18), u(0.018, 0.042)),
        mouth=(u(0.47, 0.54), u(0.19, 0.27), u(0.045, 0.075)),
        tilt=0.0,
        hairline=hairline,
        long=u(0.45, 1.0) if rng.random() < 0.4 else u(-0.05, 0.15),
        fringe=hairline,
        glasses=False,
        skin=skin,
        hair=np.clip(dark[rng.integers(len(dark))] * u(0.8, 1.2), 0.02, 1),
        iris=irises[rng.integers(len(irises))],
        lip=np.clip(skin * np.array([0.92, 0.62, 0.62]) + np.array([u(0, 0.1), 0, 0.02]), 0, 1),
        rim=u(0.03, 0.2, 3),
        phase=u(0, 6.28),
    )
    own = np.random.default_rng(derive(seed, "occluders")).uniform(-1, 1, 4)
    changes: dict[str, Any] = {}
    if hair and own[0] > 0:
        changes["fringe"] = -0.36 + 0.14 * own[1]
    if glasses and own[2] > 0:
        changes["glasses"] = True
    if asymmetry:
        changes["tilt"] = 0.05 * own[3]
    return ParamHead(**{**head.__dict__, **changes})


def _bump(x: Array, y: Array, at: tuple[float, float], wide: tuple[float, float]) -> Array:
    return np.asarray(np.exp(-0.5 * (((x - at[0]) / wide[0]) ** 2 + ((y - at[1]) / wide[1]) ** 2)))


def relief(head: ParamHead, x: Array, y: Array) -> Array:
    """How far the face stands out at (x, y) in half heights: a sum of Gaussian bumps. O(points)."""
    y = y - head.tilt * np.tanh(4 * x)
    wide, high = head.nose
    ex, ey, _, _ = head.eyes
    my, mw, mt = head.mouth
    out = high * (
        0.17 * _bump(x, y, (0, 0.20), (0.075 * wide, 0.085)) + 0.10 * _bump(x, y, (0, 0.02), (0.05, 0.13))
    )
    out = out + head.lips * (
        0.035 * _bump(x, y, (0, my - 0.5 * mt), (0.6 * mw, 0.028))
        + 0.04 * _bump(x, y, (0, my + 0.5 * mt), (0.5 * mw, 0.03))
    )
    out = (
        out + 0.04 * _bump(x, y, (0, my), (0.9 * mw, 0.12)) + head.chin * _bump(x, y, (0, 0.84), (0.15, 0.09))
    )
    for side in (-1, 1):
        out = out + 0.05 * high * _bump(x, y, (side * 0.085 * wide, 0.25), (0.04, 0.04))
        out = out - head.sockets * _bump(x, y, (side * ex, ey), (0.14, 0.085))
        out = out + 0.03 * _bump(x, y, (side * ex, ey), (0.07, 0.05))
        out = out + 0.035 * _bump(x, y, (side * 0.24, head.brows[0]), (0.17, 0.05))
        out = out + 0.03 * _bump(x, y, (side * 0.40, 0.20), (0.13, 0.12))
    return np.asarray(out)


def surface_points(head: ParamHead, d: Array) -> Array:
    """Points of the head, relative to its middle, in unit directions d (N, 3) of the sphere. O(N)."""
    w, h, deep = head.axes
    narrow = 1 - head.jaw * _step(0.0, 1.0, d[:, 1]) - 0.05 * _step(-0.4, -1.0, d[:, 1])
    out = d * np.array([w, h, deep])
    out[:, 0] *= narrow
    front = _step(0.05, 0.6, -d[:, 2])
    out[:, 2] -= h * front * relief(head, out[:, 0] / h, out[:, 1] / h)
    thick = 1 + 0.06 * hair_share(head, d)
    ear = _ear(d)
    out[:, 0] += np.sign(d[:, 0]) * 0.16 * w * ear
    return np.asarray(out * thick[:, None])


def direction_at(head: ParamHead, x: Array, y: Array) -> Array:
    """Unit directions (N, 3) of points of the face at (x, y) in half heights, of `surface_points`."""
    w, h, _ = head.axes
    narrow = 1 - head.jaw * _step(0.0, 1.0, y) - 0.05 * _step(-0.4, -1.0, y)
    dx = x * h / (w * narrow)
    return np.stack([dx, y, -np.sqrt(np.maximum(1 - dx**2 - y**2, 0))], -1)


def _step(low: float, high: float, t: Array) -> Array:
    s = np.clip((t - low) / (high - low), 0, 1)
    return np.asarray(s * s * (3 - 2 * s))


def _ear(d: Array) -> Array:
    """Share of an ear at directions (N, 3): a ridge behind the middle of each side."""
    back = d[:, 2] / np.maximum(np.abs(d[:, 0]), 1e-6)
    return _bump(back, d[:, 1], (0.12, 0.05), (0.10, 0.13)) * (np.abs(d[:, 0]) > 0.5)


def hair_share(head: ParamHead, d: Array) -> Array:
    """Share of hair at directions (N, 3): above a line that falls from forehead to nape. O(N)."""
    around = np.rad2deg(np.arctan2(np.abs(d[:, 0]), -d[:, 2]))
    top, side = head.hairline, head.long
    heights = [
        top,
        top + 0.03,
        top + 0.26,
        side - 0.05,
        side - 0.02,
        *(max(side, y) for y in (0.3, 0.6, 0.7)),
    ]
    line = np.interp(around, [0, 35, 58, 72, 84, 100, 125, 180], heights)
    lock = head.fringe - head.hairline
    line = line + lock * _step(-0.25, 0.15, d[:, 0]) * _step(75, 45, around)
    share = _step(0.02, -0.02, d[:, 1] - line)
    return share if head.long > 0.3 else share * (1 - np.clip(1.4 * _ear(d), 0, 1))


def paint(head: ParamHead, d: Array, place: Array) -> tuple[Array, NDArray[np.uint8]]:
    """Albedo (N, 3) and part (N,) at directions (N, 3) with x, y (N, 2) in half heights. O(N)."""
    x, y = place[:, 0], place[:, 1] - head.tilt * np.tanh(4 * place[:, 0])
    front = d[:, 2] < 0
    color = np.broadcast_to(head.skin, (len(d), 3)).copy()
    part = np.ones(len(d), np.uint8)

    def lay(share: Array, tint: Array, what: int = 0) -> None:
        share = share * front
        color[:] += share[:, None] * (tint - color)
        if what:
            part[share > 0.5] = what

    flush = head.skin * np.array([1.0, 0.82, 0.80])
    ex, ey, ew, eh = head.eyes
    my, mw, mt = head.mouth
    wide = head.nose[0]
    for side in (-1, 1):
        lay(0.5 * _bump(x, y, (side * 0.38, 0.24), (0.13, 0.11)), flush)
        lay(0.35 * _bump(x, y, (side * ex, ey + 0.01), (0.13, 0.08)), head.skin * 0.72)
    part[front & (np.abs(x) < wide * np.interp(y, [-0.08, 0.12, 0.24, 0.31], [0.05, 0.07, 0.14, 0.11]))
         & (y > -0.08) & (y < 0.31)] = PARTS.index("nose")  # fmt: skip
    lay(0.4 * _bump(x, y, (0, 0.22), (0.09, 0.08)), flush)
    for side in (-1, 1):
        lay(0.85 * _bump(x, y, (side * 0.055 * wide, 0.295), (0.026, 0.014)), head.skin * 0.25)
        u, v = (x - side * ex) / ew, (y - ey) / eh
        open_ = 1 - u**2 - np.abs(v) * np.where(v < 0, 1.0, 1.15)  # the lids meet in corners
        lay(_step(-0.30, -0.05, open_), head.skin * 0.45, PARTS.index("eyes"))
        lay(_step(0.0, 0.2, open_), np.array([0.92, 0.90, 0.88]))
        r = np.hypot(x - side * ex, y - ey - 0.004) / (0.92 * eh)
        inside = _step(0.0, 0.15, open_)
        lay(inside * _step(1.05, 0.95, r), head.iris)
        lay(inside * _step(0.50, 0.42, r), np.array([0.02, 0.02, 0.02]))
        glint = np.hypot(x - side * ex + 0.014, y - ey + 0.012) / 0.013
        lay(inside * _step(1.1, 0.8, glint), np.array([1.0, 1.0, 1.0]))
        lay(0.8 * _bump(v, u, (-1.0, 0.0), (0.22, 0.55)), head.hair * 0.4)
        along = (side * x - 0.10) / 0.36
        centre = (
            head.brows[0] - 0.04 * np.sin(np.pi * np.clip(along, 0, 1)) + head.brows[1] * 0.1 * (along - 0.5)
        )
        thin = head.brows[2] * np.clip(1.25 - 0.8 * along, 0.2, 1)
        lay(0.9 * _step(1.2, 0.7, np.abs(y - centre) / thin) * ((along > 0) & (along < 1)), head.hair * 0.75,
            PARTS.index("brows"))  # fmt: skip
    bow = my - 0.02 * (x / mw) ** 2
    taper = np.clip(1 - (x / mw) ** 2, 0, 1) ** 0.7
    upper = mt * taper * (1 - 0.25 * _bump(x, y, (0, my), (0.03, 1.0)))
    v = np.where(
        y < bow, (bow - y) / np.maximum(upper, 1e-4), (y - bow) / np.maximum(1.15 * mt * taper, 1e-4)
    )
    lay(_step(1.1, 0.85, v) * (np.abs(x) < mw), head.lip, PARTS.index("mouth"))
    lay(0.8 * _step(0.016, 0.004, np.abs(y - bow)) * (np.abs(x) < mw), head.lip * 0.35)
    if head.glasses:
        for side in (-1, 1):
            ring = np.abs(np.hypot((x - side * ex) / 0.21, (y - ey - 0.03) / 0.17) - 1)
            lay(_step(0.17, 0.09, ring), head.rim)
        lay(_step(0.028, 0.018, np.abs(y - ey + 0.02)) * (np.abs(x) < ex - 0.19), head.rim)
        lay(_step(0.028, 0.018, np.abs(y - ey + 0.02)) * (np.abs(x) > ex + 0.2), head.rim)
    share = hair_share(head, d)
    around = np.arctan2(d[:, 0], np.abs(d[:, 2]) + 0.3)
    streak = (
        1
        + 0.16 * np.sin(38 * around + head.phase + 3 * d[:, 1])
        + 0.10 * np.sin(83 * around + 2 * head.phase)
    )
    color += share[:, None] * (head.hair * streak[:, None] - color)
    part[share > 0.5] = PARTS.index("hair")
    return np.clip(color, 0, 1), part


@lru_cache(1)
def _sphere() -> tuple[Array, NDArray[np.int32]]:
    """Directions (V, 3) and faces (T, 3) of a sphere whose poles are nose and back: dense on the face."""
    polar = np.pi * (np.linspace(0, 1, _RINGS)[:, None] ** 1.15)
    turn = np.linspace(0, 2 * np.pi, _SPOKES, endpoint=False)[None]
    d = np.stack(
        np.broadcast_arrays(np.sin(polar) * np.cos(turn), np.sin(polar) * np.sin(turn), -np.cos(polar)), -1
    )
    a = np.arange((_RINGS - 1) * _SPOKES).reshape(_RINGS - 1, _SPOKES)
    b = np.roll(a, -1, 1)
    faces = np.concatenate([np.stack([a, a + _SPOKES, b], -1), np.stack([b, a + _SPOKES, b + _SPOKES], -1)])
    return d.reshape(-1, 3), faces.reshape(-1, 3).astype(np.int32)


def draw_head(head: ParamHead, view: Array, light: Array, backdrop: Array) -> HeadView:
    """One picture of a head. O(S^2 + vertices); 20 ms at 64 pixels.

    Args:
        head: who.
        view: (6,).
        light: (5,).
        backdrop: (S, S, 3) in [0, 1].
    """
    size = len(backdrop)
    d, faces = _sphere()
    turn, move = rotation_xyz(view[:3]), view[3:] + np.array([0, 0, 1.0])
    rest = surface_points(head, d)
    points = rest @ turn.T + move
    screen = _on_screen(points, size)
    side = size * _SAMPLES
    zbuf, ids = np.zeros((side, side), np.float32), np.full((side, side), -1, np.int32)
    raster(np.ascontiguousarray(screen * [_SAMPLES, _SAMPLES, 1], np.float32), faces, zbuf, ids)
    rows, cols = (a.astype(np.int32) for a in np.nonzero(ids >= 0))
    face = ids[rows, cols]
    two = weights((screen * [_SAMPLES, _SAMPLES, 1]).astype(np.float32), faces, rows, cols, face)
    share = np.concatenate([1 - two.sum(1, keepdims=True), two], 1)

    def at(values: Array) -> Array:
        return np.einsum("nk,nkc->nc", share, values[faces[face]])

    towards = _unit(at(d))
    albedo, part = paint(head, towards, at(rest)[:, :2] / head.axes[1])
    normal = _unit(at(-vertex_normals(np.ascontiguousarray(points, np.float32), faces)))
    normal *= np.sign(normal[:, 2:3] + 1e-9)  # what is seen turns away from the camera
    lit = light[0] + light[1] * np.maximum(normal @ (turn @ light[2:]), 0)
    fine = np.repeat(np.repeat(backdrop, _SAMPLES, 0), _SAMPLES, 1)
    fine[rows, cols] = np.clip(albedo * lit[:, None], 0, 1)
    middle = (rows % _SAMPLES == _SAMPLES // 2) & (cols % _SAMPLES == _SAMPLES // 2)
    i, j = rows[middle] // _SAMPLES, cols[middle] // _SAMPLES
    seen: tuple[Array, ...] = (-1 / zbuf[rows, cols], normal, albedo, part)
    maps = [np.zeros((size, size, *v.shape[1:]), v.dtype) for v in seen]
    for target, values in zip(maps, seen, strict=True):
        target[i, j] = values[middle]
    depth, normals, albedos, parts = maps
    marks = _on_screen(_marks(head) @ turn.T + move, size)
    return HeadView(
        np.round(255 * fine.reshape(size, _SAMPLES, size, _SAMPLES, 3).mean((1, 3))).astype(np.uint8),
        depth, normals.astype(np.float32), albedos.astype(np.float32), parts, np.asarray(view, np.float32),
        np.asarray(light, np.float32), (marks[:, :2] - 0.5).astype(np.float32),
        unhidden(marks, depth, _HIDDEN),
    )  # fmt: skip


def unhidden(marks: Array, depth: Array, within: float) -> NDArray[np.bool_]:
    """Whether marks (N, 3), x, y from the corner and depth, are seen: (N,). O(N).

    They lie in the picture, and less than ``within`` behind what is drawn (0 = nothing) in a pixel around.
    """
    size, out = len(depth), np.zeros(len(marks), np.bool_)
    for k, (x, y, z) in enumerate(marks):
        i, j = int(np.floor(y)), int(np.floor(x))
        if 0 <= i < size and 0 <= j < size:
            near = depth[max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2]
            out[k] = z < near.max(initial=0) + within
    return out


def _marks(head: ParamHead) -> Array:
    """(5, 3) landmarks relative to the middle."""
    (ex, ey, *_), (my, mw, _) = head.eyes, head.mouth
    x = np.array([-ex, ex, 0, -mw, mw])
    y = np.array([ey, ey, 0.20, my, my]) + head.tilt * np.tanh(4 * x)
    return surface_points(head, direction_at(head, x, y))


def _on_screen(points: Array, size: int) -> Array:
    """Pixel x, y from the corner of the picture and depth of points (N, 3)."""
    flat = focal_pixels(size) * points[:, :2] / points[:, 2:] + size / 2
    return np.concatenate([flat, points[:, 2:]], 1)


def _unit(v: Array) -> Array:
    return np.asarray(v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-9))


def param_view(
    seed: int, identity: int, picture: int, size: int = 64, *,
    hair: bool = False, glasses: bool = False, asymmetry: bool = False,
) -> HeadView:  # fmt: skip
    """Picture ``picture`` of person ``identity``, a function of its arguments. 20 ms at 64 pixels.

    >>> param_view(0, 1, 2, 16).depth.shape
    (16, 16)
    """
    head = sample_head(derive(seed, "identity", identity), hair=hair, glasses=glasses, asymmetry=asymmetry)
    rng = np.random.default_rng(derive(seed, "picture", identity, picture))
    return draw_head(head, sample_view(rng), sample_light(rng), sample_backdrop(rng, size))
