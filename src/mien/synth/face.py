"""A person's head, rendered with exact ground truth.

Order: person (shape, hair, transfer, paint; once an identity) -> expression, gaze, pose -> brows, beard,
lashes -> meshes and strands into one z-buffer -> shadow maps -> shading -> tone, background, sensor.
World axes: x subject's left, y up, z towards the camera; decimetres.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.core.seeds import derive
from mien.synth import facial_hair, hair, shading, skin, surface
from mien.synth.grading import backdrop, grade, srgb, tone
from mien.synth.head import EYE_L, EYE_R, SHIRT, SKIN, HeadMesh
from mien.synth.light import Light, Shadows, fibonacci, shadow_maps, transfer
from mien.synth.looks import Looks, Shot
from mien.synth.noise import volume
from mien.synth.raster import raster, weights
from mien.synth.strands import BEARD, BROWS, GLASSES, Strands, bound_strands, draw, join, project, turn
from mien.synth.worn import worn_region

__all__ = [
    "CHEAP",
    "FINE",
    "FULL",
    "MIDDLE",
    "SHIRT",
    "STAGES",
    "Detail",
    "Person",
    "Picture",
    "backdrop",
    "detail_for",
    "grade",
    "make_person",
    "render",
    "rotation",
    "shade_skin_at",
    "srgb",
    "tone",
]
Array = NDArray[Any]  # of floats
Index = NDArray[np.int32]
ORBIT_RADIUS, ORBIT_FOCAL = 2.7, 3.2
"""Distance of a camera that goes around the head, cubes, and its focal length, picture sides."""
_TURNS = 9.0  # dm, a height that turns fully
_BLUR_MM = (1.7, 0.75, 0.45)
_EYES = np.array([0.0, 7.284, 1.245], np.float32)  # canonical, between the eyes


@dataclass(frozen=True)
class Detail:
    """How much work a picture gets.

    Attributes:
        supersample: samples a pixel side.
        strands: share of the hair strands.
        maps: shadow maps.
        side: pixels of a shadow map.
        per_pixel: skin painted for each sample instead of each vertex, with bump and blurred irradiance.
    """

    supersample: int = 2
    strands: float = 1.0
    maps: int = 6
    side: int = 224
    per_pixel: bool = True


CHEAP = Detail(2, 0.3, 1, 128, False)
MIDDLE = Detail(2, 0.5, 3, 160)
FULL = Detail()
FINE = Detail(3, 1.0, 6, 224, True)


def detail_for(size: int) -> Detail:
    """Enough for a picture of this size."""
    return CHEAP if size <= 64 else MIDDLE if size <= 128 else FULL


@dataclass(frozen=True)
class Person:
    """Everything that one identity needs, computed once.

    Attributes:
        vertices: (V, 3) neutral, dm.
        neck: (3,) pivot of the head.
        middle: (3,) middle of the head.
        height: of the head, chin to crown, dm.
        eyes: centres of the left and right eyeball, radius.
        looks: colours and hair.
        strands: hair on the neutral head.
        transfer: (V, 64) of the neutral head.
        masks: (V, 7) for `skin.paint`.
        paint: (V, 3) albedo at the vertices.
        growth: brows and beard, bound to faces.
        kept: what the first picture leaves for the next ones.
    """

    vertices: Array
    neck: Array
    middle: Array
    height: float
    eyes: tuple[Array, Array]
    radius: float
    looks: Looks
    strands: Strands | None
    transfer: Array
    masks: Array
    paint: Array
    growth: tuple[facial_hair.BoundHair, ...]
    kept: list[_Kept] = field(default_factory=list, init=False, repr=False, compare=False)


@dataclass(frozen=True)
class _Kept:
    """What the pictures of one person share.

    Attributes:
        still: (2 V, `surface.STILL`), head and garment.
        ambient: (V,) visibility of the sky.
        strands: hair, brows, beard, lashes; their points are written anew for each picture.
        ends: number of points up to the end of hair, of each growth, of the lashes.
    """

    still: Array
    ambient: Array
    strands: Strands
    ends: tuple[int, ...]


@dataclass(frozen=True)
class Picture:
    """A rendered head and its ground truth, all (size, size).

    Attributes:
        rgb: uint8 (S, S, 3).
        depth: metres along the optical axis, inf for background.
        normal: (S, S, 3) unit, world axes; 0 for background.
        albedo: (S, S, 3) linear.
        part: uint8: 0 background, 1 skin, 2 and 3 eyes, 4 teeth, 5 tongue, 6 shirt, 7.. strands by kind.
        canon: (S, S, 3) canonical position in dm (mesh only, else 0).
        focal: pixels; centre of the picture is the principal point.
        camera: (3,) its position, metres; it looks along -z.
        rotation: (3, 3) of the head about the neck.
        landmarks: (68, 3): x, y in pixels (corner of the picture is 0, 0), depth in metres.
        visible: (68,) whether nothing hides them.
        alpha: (S, S) share of the pixel that is no backdrop.
    """

    rgb: NDArray[np.uint8]
    depth: Array
    normal: Array
    albedo: Array
    part: NDArray[np.uint8]
    canon: Array
    focal: float
    camera: Array
    rotation: Array
    landmarks: Array
    visible: NDArray[np.bool_]
    alpha: Array


def make_person(head: HeadMesh, vertices: Array, looks: Looks, neck: Array, detail: Detail = FULL) -> Person:
    """Grows hair and computes what light reaches the vertices.

    Args:
        head: shared geometry.
        vertices: (V, 3) of this identity, dm, those that the head keeps.
        looks: colours and hair.
        neck: (3,) pivot.
        detail: share of strands.

    O(strands + 64 (faces + strands)): 0.05 - 0.2 s.
    """
    rng = np.random.default_rng(derive(looks.seed, "growth"))
    normals = shading.vertex_normals(vertices, head.faces)
    color = np.array(looks.hair_color)
    used = head.skin
    scalp = hair.Scalp(vertices[used], normals[used], head.canon[used], _within(used, head.scalp))
    strands = hair.grow(
        looks.style, scalp, looks.line, color, looks.grey, derive(looks.seed, "hair"), detail.strands
    )
    density = 1.0 if detail.per_pixel else 0.5
    growth = [facial_hair.brows(head, looks.brow, _brow_color(looks), int(looks.brow_hairs * density), rng)]
    if looks.beard in ("full", "goatee", "moustache"):
        count = {"full": 16000, "goatee": 6500, "moustache": 3600}[looks.beard]
        tone = 0.8 * color + 0.2 * np.array([0.05, 0.025, 0.015])
        growth.append(
            facial_hair.beard(
                head,
                looks.beard,
                looks.beard_length,
                tone,
                looks.grey,
                int(count * density * looks_share(detail)),
                rng,
            )
        )
    masks = np.zeros((len(vertices), 7), np.float32)
    masks[:, :4] = head.masks
    masks[used, 4] = looks.line.weight(head.canon[used])
    masks[used, 5] = looks.brow.weight(head.canon[used])
    region = looks.beard if looks.beard in ("goatee", "moustache") else "full"
    masks[used, 6] = facial_hair.beard_weight(head.canon[used], region)
    if looks.style == "bald":
        masks[:, 4] *= 0.6
    paint = np.zeros((len(vertices), 3), np.float32)
    paint[used] = skin.paint(looks.skin, head.canon[used], masks[used])
    seen = np.zeros((len(vertices), 64), np.float32)
    whole = shading.vertex_normals(vertices, np.concatenate([head.faces, head.shirt]))
    solid = head.solid
    seen[solid] = transfer(vertices[solid], whole[solid], _within(solid, head.occluders), strands)
    eyes, radius = _eyeballs(head, vertices)
    middle, height = head_span(head, vertices)
    return Person(
        vertices, neck, middle, height, eyes, radius, looks, strands, seen, masks, paint, tuple(growth)
    )


def head_span(head: HeadMesh, vertices: Array) -> tuple[NDArray[np.float32], float]:
    """(3,) middle of a head and its height from chin to crown, dm."""
    skull = vertices[head.skin][head.canon[head.skin, 1] > 6.15]
    low, high = float(skull[:, 1].min()), float(skull[:, 1].max())
    return np.array([0.0, 0.5 * (low + high) - 0.05, 0.35], np.float32), high - low


def looks_share(detail: Detail) -> float:
    """Share of beard hairs."""
    return min(1.0, detail.strands * 1.5)


def _brow_color(looks: Looks) -> Array:
    return np.array(looks.skin.hair_color) * 0.9


def _within(used: Index, faces: Index) -> Index:
    """Faces renumbered to a subset of vertices that holds all of them."""
    return np.searchsorted(used, faces).astype(np.int32)


def _eyeballs(head: HeadMesh, vertices: Array) -> tuple[tuple[Array, Array], float]:
    """Centres and radius: the box gives x, y; z from the back, because the front carries the cornea."""
    centres, radii = [], []
    for m in (EYE_L, EYE_R):
        v = vertices[np.unique(head.faces[head.material == m])]
        low, high = v.min(0), v.max(0)
        radius = 0.25 * (high[0] - low[0] + high[1] - low[1])
        centres.append(np.array([*(0.5 * (low[:2] + high[:2])), low[2] + radius], np.float32))
        radii.append(radius)
    return (centres[0], centres[1]), float(np.mean(radii))


def rotation(yaw: float, pitch: float, roll: float) -> Array:
    """(3, 3): roll about z, then pitch about x (down positive), then yaw about y (to the subject's left)."""
    cy, sy, cp, sp, cr, sr = (f(a) for a in (yaw, pitch, roll) for f in (math.cos, math.sin))
    y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return (y @ x @ z).astype(np.float32)


@dataclass
class _Scene:
    """A picture in the making; the stages fill it in order."""

    head: HeadMesh
    person: Person
    shot: Shot
    size: int
    delta: Array | None
    detail: Detail
    kept: _Kept
    side: int = 0
    rot: Array = field(default_factory=lambda: np.zeros(0))
    pivot: Array = field(default_factory=lambda: np.zeros(0))
    light: Light = field(init=False)
    focal: float = 0.0
    distance: float = 0.0
    camera: Array = field(default_factory=lambda: np.zeros(0))
    eyes: list[Array] = field(default_factory=list)
    points: Array = field(default_factory=lambda: np.zeros(0))
    screen: Array = field(default_factory=lambda: np.zeros(0))
    moving: Array = field(default_factory=lambda: np.zeros(0))
    strands: Strands | None = None
    glasses: Strands | None = None
    zbuf: Array = field(default_factory=lambda: np.zeros(0))
    ids: Index = field(default_factory=lambda: np.zeros(0, np.int32))
    strand: Index = field(default_factory=lambda: np.zeros(0, np.int32))
    along: Array = field(default_factory=lambda: np.zeros(0))
    shadows: Shadows | None = None
    radiance: Array = field(default_factory=lambda: np.zeros(0))
    part: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))
    maps: tuple[Array, Array, Array] = field(default_factory=lambda: (np.zeros(0),) * 3)
    picture: Picture | None = None


def render(
    head: HeadMesh,
    person: Person,
    shot: Shot,
    size: int,
    delta: Array | None = None,
    detail: Detail | None = None,
) -> Picture:
    """One picture. O(size^2 supersample^2 + strands + faces).

    Args:
        head: shared geometry.
        person: who.
        shot: how.
        size: pixels a side.
        delta: (V, 3) displacement of the expression, dm.
        detail: default by size.
    """
    scene = begin(head, person, shot, size, delta, detail)
    for stage in STAGES.values():
        stage(scene)
    assert scene.picture is not None
    return scene.picture


def begin(
    head: HeadMesh,
    person: Person,
    shot: Shot,
    size: int,
    delta: Array | None = None,
    detail: Detail | None = None,
) -> _Scene:
    """A picture before its first stage; arguments as `render`."""
    if not person.kept:
        person.kept.append(_keep(head, person))
    return _Scene(head, person, shot, size, delta, detail or detail_for(size), person.kept[0])


def _keep(head: HeadMesh, person: Person) -> _Kept:
    own = head.skin
    still = np.zeros((2, len(head.canon), surface.STILL), np.float32)
    ambient = person.transfer.sum(1)
    still[:, :, :3] = head.canon
    still[:, :, 3] = ambient
    still[0, own, 4:7] = skin.broad(person.looks.skin, head.canon[own], person.masks[own])
    still[0, :, 7:12] = person.masks[:, [0, 3, 4, 5, 6]]
    still[0, :, 12:15] = person.paint
    seen = np.clip(ambient, 0, 1)
    still[0, :, 15] = seen**0.6 * (0.35 + 0.65 * np.clip(1.35 * seen, 0, 1))
    normals = shading.vertex_normals(person.vertices, head.faces)
    parts = [] if person.strands is None else [person.strands]
    parts += [g.grown(person.vertices, normals) for g in person.growth]
    parts.append(facial_hair.lashes(head, person.vertices, person.eyes, person.looks.lash))
    ends = np.cumsum([0 if person.strands is None else len(person.strands.points)] + [
        len(p.points) for p in parts[person.strands is not None :]
    ])  # fmt: skip
    return _Kept(still.reshape(-1, surface.STILL), ambient, join(parts), tuple(int(e) for e in ends))


def _prepare(s: _Scene) -> None:
    """Expression, pose, camera; strands and garment on the moved mesh."""
    head, person, shot, kept = s.head, s.person, s.shot, s.kept
    s.side = size = s.size * s.detail.supersample
    s.rot = rot = rotation(shot.yaw, shot.pitch, shot.roll)
    if shot.cube is None:
        s.pivot = neck = np.asarray(person.neck, np.float32)
        s.focal = shot.focal / 36 * size
        s.distance = s.focal * person.height / (size * shot.fill)
        middle = np.float32(0.7) * (rot @ (person.middle - neck) + neck) + np.float32(0.3) * person.middle
        rises, s.light = (lambda y: y), shot.light
    else:
        s.pivot = neck = middle = np.asarray(person.middle, np.float32)
        s.focal, s.distance = shot.zoom * ORBIT_FOCAL * size, ORBIT_RADIUS * shot.cube
        rises, s.light = (lambda y: np.full_like(y, _TURNS)), shot.light.turned(rot)
    s.camera = (middle + np.array([0, 0, s.distance])).astype(np.float32)
    s.eyes = [((c - neck) @ rot.T + neck).astype(np.float32) for c in person.eyes]

    base = person.vertices if s.delta is None else (person.vertices + s.delta).astype(np.float32)
    count = len(base)
    both = np.empty((2 * count, 3), np.float32)
    s.points = points = both[:count]
    turn(base, rises(head.canon[:, 1]), neck, rot, points)
    normals = shading.vertex_normals(points, head.faces)
    both[count:] = points + head.lift * shading.vertex_normals(points, head.shirt)
    cloth = shading.vertex_normals(both[count:], head.shirt)
    s.screen = np.empty_like(both)
    project(both, s.camera, s.focal, 0.5 * size, s.screen)
    around = fibonacci() if shot.cube is not None else (fibonacci() @ rot.T).astype(np.float32)
    irradiance = person.transfer @ shot.light.sky(around)
    s.moving = np.empty((2 * count, 9), np.float32)
    s.moving[:, :3] = both
    s.moving[:count, 3:6], s.moving[count:, 3:6] = normals, cloth
    s.moving[:count, 6:], s.moving[count:, 6:] = irradiance, irradiance

    if shot.frames is not None:
        side = np.array([0.44, 0.06, -1.05], np.float32)
        ears = (person.eyes[0] + side, person.eyes[1] + side * np.array([-1, 1, 1], np.float32))
        s.glasses = facial_hair.glasses(shot.frames, person.eyes, ears)
        rims = s.glasses.points[:82]
        between = _EYES - 0.5 * (person.eyes[0] + person.eyes[1])
        forward = facial_hair.clearance(head, base, rims, between)
        s.glasses = facial_hair.glasses(shot.frames, person.eyes, ears, forward)
    moved = np.empty((kept.ends[-1] + (0 if s.glasses is None else len(s.glasses.points)), 3), np.float32)
    start = kept.ends[0]
    if person.strands is not None:
        own = person.strands.points
        turn(own, rises(own[:, 1]), neck, rot, moved[:start])
    for g, end in zip(person.growth, kept.ends[1:], strict=False):
        bound_strands(g.roots.corners, g.roots.weights, g.shape, points, normals, moved[start:end])
        start = end
    moved[start : kept.ends[-1]] = facial_hair.lashes(
        head, points, (s.eyes[0], s.eyes[1]), person.looks.lash
    ).points
    s.strands = kept.strands
    if s.glasses is not None:
        moved[kept.ends[-1] :] = (s.glasses.points - neck) @ rot.T + neck
        s.strands = join([kept.strands, s.glasses])
    s.strands = s.strands.moved(moved)


def _raster(s: _Scene) -> None:
    """Skin and garment into one z-buffer."""
    head, count = s.head, len(s.head.canon)
    shape = (s.side, s.side)
    s.zbuf, s.ids = np.zeros(shape, np.float32), np.full(shape, -1, np.int32)
    raster(s.screen[:count], head.faces, s.zbuf, s.ids, 0)
    zc, idc = np.zeros(shape, np.float32), np.full(shape, -1, np.int32)
    raster(s.screen[count:], head.shirt, zc, idc, 0)
    faces, _, height = head.surfaces
    collar = surface.COLLARS.index(s.shot.shirt[1])
    surface.dress(s.screen, faces, len(head.faces), s.kept.still, height, collar, zc, idc, s.zbuf, s.ids)


def _draw(s: _Scene) -> None:
    """Strands into the z-buffer."""
    assert s.strands is not None
    s.strand = np.full((s.side, s.side), -1, np.int32)
    s.along = np.zeros((s.side, s.side), np.float32)
    flat = np.empty_like(s.strands.points)
    project(s.strands.points, s.camera, s.focal, 0.5 * s.side, flat)
    kept, end = s.kept.strands, s.kept.ends[-1]
    draw(flat[:end], kept.first, kept.width, s.focal, s.zbuf, s.strand, s.along)
    if s.glasses is not None:
        g = s.glasses
        draw(flat[end:], g.first, g.width, s.focal, s.zbuf, s.strand, s.along, len(kept), end, 0.0)


def _shadow(s: _Scene) -> None:
    """Maps of the key light."""
    assert s.strands is not None
    hairs = s.strands.moved(s.strands.points[: s.kept.ends[0]]) if s.person.strands is not None else None
    s.shadows = shadow_maps(s.light, s.points, s.head.occluders, hairs, s.detail.maps, s.detail.side)


def _shade(s: _Scene) -> None:
    """Linear radiance of every sample, and the maps of truth at the middle samples."""
    assert s.strands is not None
    assert s.shadows is not None
    head, looks, light, shadows = s.head, s.person.looks, s.light, s.shadows
    faces, material, _ = head.surfaces
    per_mm = s.focal / (s.distance * 100)
    level = surface.VERTEX
    if s.detail.per_pixel:
        level = surface.EVERY if per_mm >= 1.0 else surface.COARSE
    s.radiance = np.zeros((s.side, s.side, 3), np.float32)
    s.part = np.zeros((s.side, s.side), np.uint8)
    truth = np.zeros((3, s.size, s.size, 3), np.float32)
    s.maps = truth[0], truth[1], truth[2]
    planes = s.side if s.detail.per_pixel else 0
    under = np.zeros((4, planes, planes), np.float32)
    paint = np.zeros((planes, planes, 3), np.float32)
    kind = s.strands.kind
    clear = (kind == GLASSES) | (kind == BROWS) | (kind == BEARD)
    rays = (
        s.camera,
        shading.pack_light(light),
        shadows.mesh,
        shadows.hair,
        shadows.axes,
        shadows.centre,
        shadows.half,
    )
    irradiance = s.moving[: len(head.canon), 6:]
    mean_sky = head.share @ irradiance
    color, collar, stripes = s.shot.shirt
    surface.shade_surface(
        s.ids,
        s.zbuf,
        s.strand,
        clear,
        s.screen,
        faces,
        material,
        s.moving,
        s.kept.still,
        level,
        s.detail.per_pixel and s.detail.supersample == 2,
        volume(),
        skin.numbers(looks.skin),
        np.array(looks.skin.moles, np.float32).reshape(-1, 3),
        np.array(looks.skin.hair_color, np.float32),
        looks.oil,
        mean_sky,
        np.array(color, np.float32),
        surface.COLLARS.index(collar),
        stripes,
        *rays,
        s.detail.supersample,
        s.radiance,
        under,
        paint,
        s.part,
        *s.maps,
    )
    if looks.worn is not None:
        _shade_mask(s, under, paint)
    if s.detail.per_pixel:
        surface.scatter(under, paint, np.array(_BLUR_MM) * per_mm, s.radiance)
    _shade_eyes(s, mean_sky)
    centre = s.pivot + s.rot @ (np.array([0, 7.55, 0.25], np.float32) - s.pivot)
    t = s.strands
    surface.lay_strands(
        s.strand,
        s.along,
        s.zbuf,
        s.ids,
        0.78 if s.detail.per_pixel else 0.68,
        0.78 if s.detail.per_pixel else 0.95,
        s.focal,
        t.points,
        t.first,
        centre.astype(np.float32),
        t.color,
        t.layer,
        t.shift,
        t.width,
        t.kind,
        *rays,
        shading.harmonics(shading.environment(light)),
        s.detail.supersample,
        s.radiance,
        s.part,
        *s.maps,
    )


def _samples(s: _Scene, rows: Index, cols: Index, values: Array) -> Array:
    """Per-vertex values (V, C) at surface samples."""
    faces, face = s.head.surfaces[0], s.ids[rows, cols]
    return shading.gather(faces, face, weights(s.screen, faces, rows, cols, face), values)


def _set_middle(s: _Scene, rows: Index, cols: Index, target: Array, values: Array) -> None:
    """Writes values of samples into a map of truth."""
    k = s.detail.supersample
    own = (rows % k == k // 2) & (cols % k == k // 2)
    target[rows[own] // k, cols[own] // k] = values[own]


def _shade_mask(s: _Scene, under: Array, paint: Array) -> None:
    """Skin again, under a worn mask."""
    rows, cols = (a.astype(np.int32) for a in np.nonzero(s.part == SKIN + 1))
    masks = np.concatenate([s.person.masks, np.zeros_like(s.person.masks)])
    got = _samples(s, rows, cols, np.concatenate([s.moving, s.kept.still, masks], 1))
    normal = got[:, 3:6] / (np.linalg.norm(got[:, 3:6], axis=1, keepdims=True) + 1e-9)
    assert s.shadows is not None
    color, shine, into = shade_skin_at(
        np.arange(len(rows)),
        got[:, :3],
        normal,
        got[:, 9:12],
        got[:, 6:9],
        got[:, 12],
        got[:, 9 + surface.STILL :],
        s.person.looks,
        s.light,
        s.shadows,
        s.camera,
        None if s.detail.per_pixel else got[:, 21:24],
    )
    s.radiance[rows, cols] = shine
    if s.detail.per_pixel:
        under[:3, rows, cols], paint[rows, cols] = into.T, color
    else:
        s.radiance[rows, cols] += color * into
    _set_middle(s, rows, cols, s.maps[1], color)


def _shade_eyes(s: _Scene, sky: Array) -> None:
    """Eyeballs as spheres that look where the shot says."""
    looks = s.person.looks
    for k, m in enumerate((EYE_L, EYE_R)):
        rows, cols = (a.astype(np.int32) for a in np.nonzero(s.part == m + 1))
        if not len(rows):
            continue
        place = _samples(s, rows, cols, s.moving)[:, :3]
        open_ = _samples(s, rows, cols, s.kept.still)[:, 3]
        gaze = s.rot @ _gaze(s.shot, 0.04 * (-1 if k == 0 else 1))
        q, view = _unit(place - s.eyes[k]), _unit(s.camera - place)
        s.radiance[rows, cols] = shading.shade_eyes(
            q,
            view,
            np.tile(sky, (len(rows), 1)),
            np.clip(open_ * 1.3 + 0.15, 0, 1).astype(np.float32),
            gaze.astype(np.float32),
            np.ascontiguousarray(s.rot[:, 1]),
            np.array(looks.iris),
            looks.iris_radius,
            looks.sclera,
            looks.veins,
            s.light,
            volume(),
        )
        white = np.broadcast_to(np.array([0.7, 0.65, 0.6], np.float32), q.shape)
        _set_middle(s, rows, cols, s.maps[0], q)
        _set_middle(s, rows, cols, s.maps[1], white)


def _unit(v: Array) -> Array:
    return np.ascontiguousarray(v / (np.linalg.norm(v, axis=1, keepdims=True) + 1e-9), np.float32)


def _compose(s: _Scene) -> None:
    """Tone, backdrop, sensor; the truth beside it."""
    k, shot = s.detail.supersample, s.shot
    marks = s.screen[s.head.landmarks]
    marks = np.concatenate([marks[:, :2] / k, marks[:, 2:] * 0.1], 1).astype(np.float32)
    if shot.cube is None:
        rgb = grade(s.radiance, s.part, backdrop(shot.light, shot.seed, s.size), shot.seed, k)
    else:
        white = np.ones((s.size, s.size, 3), np.float32)
        rgb = grade(s.radiance, s.part, white, shot.seed, k, noise=0.0)
    alpha = (s.part > 0).reshape(s.size, k, s.size, k).mean((1, 3), dtype=np.float32)
    pick = (slice(k // 2, None, k), slice(k // 2, None, k))
    part = np.ascontiguousarray(s.part[pick])
    depth = np.where(part > 0, -0.1 / np.minimum(s.zbuf[pick], -1e-9), np.inf).astype(np.float32)
    normal, albedo, canon = s.maps
    s.picture = Picture(
        rgb,
        depth,
        normal,
        albedo,
        part,
        canon,
        s.focal / k,
        (s.camera * 0.1).astype(np.float32),
        s.rot,
        marks,
        _unhidden(marks, depth),
        alpha,
    )


STAGES: dict[str, Callable[[_Scene], None]] = {
    "prepare": _prepare,
    "raster": _raster,
    "strands": _draw,
    "shadows": _shadow,
    "shading": _shade,
    "compose": _compose,
}


def _unhidden(marks: Array, depth: Array) -> NDArray[np.bool_]:
    """Whether landmarks lie in the picture and at most 12 mm behind what is drawn there."""
    j, i = (np.floor(marks[:, k]).astype(int) for k in (0, 1))
    h, w = depth.shape
    inside = (i >= 0) & (j >= 0) & (i < h) & (j < w)
    front = depth[np.clip(i, 0, h - 1), np.clip(j, 0, w - 1)]
    return np.asarray(inside & (marks[:, 2] < front + 0.012))


def _gaze(shot: Shot, inward: float) -> Array:
    x, y = shot.gaze[0] + inward * 0.5, shot.gaze[1] - 0.13  # at rest the lids show the lower part of the eye
    return np.array([math.sin(x) * math.cos(y), math.sin(y), math.cos(x) * math.cos(y)], np.float32)


def shade_skin_at(
    own: NDArray[np.int64],
    position: Array,
    normal: Array,
    canon: Array,
    light_in: Array,
    ambient: Array,
    masks: Array,
    looks: Looks,
    light: Light,
    shadows: Shadows,
    camera: Array,
    painted: Array | None = None,
) -> tuple[Array, Array, Array]:
    """Albedo, specular radiance and irradiance (N, 3) of the skin samples ``own``. O(N).

    Args:
        own: which samples.
        position: (S, 3) world.
        normal: (S, 3).
        canon: (S, 3) canonical positions.
        light_in: (S, 3) irradiance of the sky.
        ambient: (S,) visibility of the sky.
        masks: (S, 7) of `skin.paint`.
        looks: whose skin.
        light: key and sky.
        shadows: of the key.
        camera: (3,) its position.
        painted: (S, 3) albedo; None: painted here, with bump.
    """
    p, n, c = (np.ascontiguousarray(a[own]) for a in (position, normal, canon))
    m, a = np.ascontiguousarray(masks[own]), np.ascontiguousarray(ambient[own])
    color = skin.paint(looks.skin, c, m) if painted is None else np.ascontiguousarray(painted[own])
    fine = n
    if painted is None:
        strength = 0.007 + 0.018 * max(0.0, looks.skin.age - 0.5)
        fine = shading.bump(
            volume(), c, n, np.ascontiguousarray(m[:, 0]), strength, looks.skin.age, True, looks.skin.seed
        )
    nose_line = np.exp(-((c[:, 0] / 0.18) ** 2)) * (c[:, 2] > 1.0)
    rough = (0.50 - 0.12 * m[:, 0] - 0.05 * nose_line * looks.oil).astype(np.float32)
    gloss = np.full(len(own), looks.oil, np.float32) * (1 - 0.8 * m[:, 3])
    if looks.worn is not None:
        w = worn_region(c).astype(np.float32)
        color = color + w[:, None] * (looks.worn.color(c, m) - color)
        fine = np.ascontiguousarray(fine + w[:, None] * (n - fine))  # no pores on a mask
        rough = (rough + w * (looks.worn.rough - rough)).astype(np.float32)
        gloss = gloss + w * (looks.worn.gloss - gloss)
    under, shine = shading.shade_skin(
        p,
        fine,
        np.ascontiguousarray(light_in[own]),
        a,
        rough,
        gloss.astype(np.float32),
        camera,
        light,
        shadows,
    )
    open_ = np.clip(a, 0, 1)
    nostril = (np.abs(c[:, 0]) < 0.27) & (c[:, 1] > 6.70) & (c[:, 1] < 7.0) & (c[:, 2] > 1.15)
    under = under * np.where(nostril, 1 - 0.88 * hair.step(0.22, 0.03, a), 1.0)[:, None].astype(np.float32)
    inside = m[:, 3:4]
    deep = (0.1 + 0.9 * np.clip((c[:, 2:3] - 0.80) / 0.5, 0, 1) ** 1.2) * (
        0.55 * light_in.mean(0) + 0.6 * under
    )
    under = under + inside * (deep - under)
    extra = np.clip(a, 0.0, 1) ** 0.6 * (0.35 + 0.65 * np.clip(1.35 * open_, 0, 1))
    extra = extra * (1 - inside[:, 0]) + inside[:, 0]
    return color, shine, (under * extra[:, None]).astype(np.float32)
