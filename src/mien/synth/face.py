"""A person's head, rendered with exact ground truth.

Order: person (shape, hair, transfer, paint; once an identity) -> expression, gaze, pose -> brows, beard,
lashes -> meshes and strands into one z-buffer -> shadow maps -> shading -> tone, background, sensor.
World axes: x subject's left, y up, z towards the camera; decimetres.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from mien.core.seeds import derive
from mien.synth import facial_hair, hair, shading, skin
from mien.synth.head import EYE_L, EYE_R, SKIN, TEETH, TONGUE, HeadMesh
from mien.synth.light import Light, Shadows, fibonacci, shadow_maps, transfer
from mien.synth.looks import Looks, Shot
from mien.synth.noise import fbm_at, volume
from mien.synth.raster import raster, weights
from mien.synth.strands import BEARD, BROWS, Strands, draw, join
from mien.synth.worn import worn_region

Array = NDArray[Any]  # of floats
Index = NDArray[np.int32]
SHIRT = 5
_BLUR_MM = (1.7, 0.75, 0.45)


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
FULL = Detail()
FINE = Detail(3, 1.0, 6, 224, True)


def detail_for(size: int) -> Detail:
    """Enough for a picture of this size."""
    return CHEAP if size <= 64 else FULL


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


def _smooth(a: float, b: float, x: Array) -> Array:
    return hair.step(a, b, x)


def make_person(head: HeadMesh, vertices: Array, looks: Looks, neck: Array, detail: Detail = FULL) -> Person:
    """Grows hair and computes what light reaches the vertices.

    Args:
        head: shared geometry.
        vertices: (V, 3) of this identity, dm, those that the head keeps.
        looks: colours and hair.
        neck: (3,) pivot.
        detail: share of strands.

    O(strands + 64 (faces + strands)): 0.1 - 0.6 s.
    """
    rng = np.random.default_rng(derive(looks.seed, "growth"))
    normals = shading.vertex_normals(vertices, head.faces)
    color = np.array(looks.hair_color)
    used = np.unique(head.faces[head.material == SKIN])
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
    low = head.shirt[head.canon[head.shirt].mean(1)[:, 1] < 4.8]
    occluders = np.concatenate([head.faces, low])
    seen = np.zeros((len(vertices), 64), np.float32)
    everything = np.unique(np.concatenate([head.faces.ravel(), head.shirt.ravel()]))
    whole = shading.vertex_normals(vertices, np.concatenate([head.faces, head.shirt]))
    seen[everything] = transfer(
        vertices[everything], whole[everything], _within(everything, occluders), strands
    )
    eyes, radius = _eyeballs(head, vertices)
    skull = vertices[used][head.canon[used, 1] > 6.15]
    low, high = float(skull[:, 1].min()), float(skull[:, 1].max())
    middle = np.array([0.0, 0.5 * (low + high) - 0.05, 0.35], np.float32)
    return Person(
        vertices, neck, middle, high - low, eyes, radius, looks, strands, seen, masks, paint, tuple(growth)
    )


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


def _collar(canon: Array, kind: str) -> NDArray[np.bool_]:
    """Whether cloth covers canonical points: crew, V or scoop in front, one line at the back."""
    x, y, z = np.abs(canon[:, 0]), canon[:, 1], canon[:, 2]
    if kind == "v":
        front = np.minimum(5.05 + 1.1 * x, 5.42 + 0.42 * x)
    elif kind == "scoop":
        front = np.minimum(5.12 + 0.9 * x**1.5, 5.38 + 0.42 * x)
    else:
        front = 5.40 + 0.45 * x
    back = 5.48 + 0.45 * x
    w = hair.step(0.5, -0.05, z)
    return y < front * (1 - w) + back * w


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
    detail = detail or detail_for(size)
    side = size * detail.supersample
    rot = rotation(shot.yaw, shot.pitch, shot.roll)
    base = person.vertices if delta is None else (person.vertices + delta).astype(np.float32)
    looks = person.looks
    weight = _smooth(5.35, 6.3, head.canon[:, 1])[:, None].astype(np.float32)
    turn = ((base - person.neck) @ rot.T + person.neck).astype(np.float32)
    points = np.ascontiguousarray(base + weight * (turn - base), np.float32)
    normals = shading.vertex_normals(points, head.faces)
    eyes = tuple(((c - person.neck) @ rot.T + person.neck).astype(np.float32) for c in person.eyes)
    cloth_points, cloth_normals = _shirt(head, points)

    strands: list[Strands] = []
    if person.strands is not None:
        p = person.strands.points
        w = _smooth(5.35, 6.3, p[:, 1])[:, None].astype(np.float32)
        t = ((p - person.neck) @ rot.T + person.neck).astype(np.float32)
        strands.append(person.strands.moved((p + w * (t - p)).astype(np.float32)))
    strands += [g.grown(points, normals) for g in person.growth]
    strands.append(facial_hair.lashes(head, points, (eyes[0], eyes[1]), looks.lash))
    if shot.frames is not None:
        left, right = person.eyes
        ears = (
            left + np.array([0.44, 0.06, -1.05], np.float32),
            right + np.array([-0.44, 0.06, -1.05], np.float32),
        )
        local = facial_hair.glasses(shot.frames, person.eyes, ears)
        strands.append(local.moved(((local.points - person.neck) @ rot.T + person.neck).astype(np.float32)))
    drawn = join(strands) if strands else None

    focal = shot.focal / 36 * side
    distance = focal * person.height / (side * shot.fill)
    middle = (rot @ (person.middle - person.neck) + person.neck) * np.float32(0.7) + np.float32(
        0.3
    ) * person.middle
    camera = middle + np.array([0, 0, distance], np.float32)

    def project(p: Array) -> Array:
        depth = camera[2] - p[:, 2]
        x = 0.5 * side + focal * (p[:, 0] - camera[0]) / depth
        y = 0.5 * side - focal * (p[:, 1] - camera[1]) / depth
        return np.ascontiguousarray(np.stack([x, y, depth], 1), np.float32)

    zbuf = np.zeros((side, side), np.float32)
    ids = np.full((side, side), -1, np.int32)
    screen = project(points)
    raster(screen, head.faces, zbuf, ids, 0)
    zc = np.zeros((side, side), np.float32)
    idc = np.full((side, side), -1, np.int32)
    cloth_screen = project(cloth_points)
    raster(cloth_screen, head.shirt, zc, idc, 0)

    rows_c, cols_c = (a.astype(np.int32) for a in np.nonzero(idc >= 0))
    bary_c = weights(cloth_screen, head.shirt, rows_c, cols_c, idc[rows_c, cols_c])
    canon_c = shading.gather(head.shirt, idc[rows_c, cols_c], bary_c, head.canon)
    covered = _collar(canon_c, shot.shirt[1])
    below = zbuf[rows_c, cols_c]
    skin_y = _canon_y(head, screen, ids, rows_c, cols_c)
    near = (skin_y < 5.75) & (zc[rows_c, cols_c] < below * 0.88)
    wins = covered & ((zc[rows_c, cols_c] < below) | near)
    rows_c, cols_c, bary_c, canon_c = rows_c[wins], cols_c[wins], bary_c[wins], canon_c[wins]
    face_c = idc[rows_c, cols_c]
    zbuf[rows_c, cols_c] = np.minimum(zc[rows_c, cols_c], below[wins])
    ids[rows_c, cols_c] = -2

    strand = np.full((side, side), -1, np.int32)
    along = np.zeros((side, side), np.float32)
    if drawn is not None:
        draw(project(drawn.points), drawn.first, drawn.width, focal, zbuf, strand, along)

    low = head.shirt[head.canon[head.shirt].mean(1)[:, 1] < 4.8]
    hairs = strands[0] if person.strands is not None else None
    casts = np.concatenate([head.faces, low]).astype(np.int32)
    shadows = shadow_maps(shot.light, points, casts, hairs, detail.maps, detail.side)
    sky = shot.light.sky((fibonacci() @ rot.T).astype(np.float32))
    irradiance = person.transfer @ sky
    ambient = person.transfer.sum(1)

    radiance = np.zeros((side, side, 3), np.float32)
    albedo = np.zeros((side, side, 3), np.float32)
    normal_map = np.zeros((side, side, 3), np.float32)
    canon_map = np.zeros((side, side, 3), np.float32)
    part = np.zeros((side, side), np.uint8)

    seen = (ids >= 0) & (strand < 0)
    rows, cols = (a.astype(np.int32) for a in np.nonzero(ids >= 0 if detail.per_pixel else seen))
    face = ids[rows, cols]
    bary = weights(screen, head.faces, rows, cols, face)
    packed = np.concatenate(
        [points, normals, head.canon, irradiance, ambient[:, None], person.paint, person.masks], 1
    ).astype(np.float32)
    got = shading.gather(head.faces, face, bary, packed)
    position, normal, canon = (np.ascontiguousarray(got[:, k : k + 3]) for k in (0, 3, 6))
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-9
    light_in, seen_sky, masks = np.ascontiguousarray(got[:, 9:12]), got[:, 12].copy(), got[:, 16:]
    material = head.material[face]
    part[rows, cols] = material + 1
    canon_map[rows, cols] = canon
    normal_map[rows, cols] = normal

    own = np.flatnonzero(material == SKIN)
    color, shine, under = shade_skin_at(
        own,
        position,
        normal,
        canon,
        light_in,
        seen_sky,
        masks,
        looks,
        shot.light,
        shadows,
        camera,
        None if detail.per_pixel else got[:, 13:16],
    )
    if detail.per_pixel:
        image = np.zeros((side, side, 3), np.float32)
        cover = np.zeros((side, side), np.float32)
        image[rows[own], cols[own]] = under
        cover[rows[own], cols[own]] = 1
        per_mm = focal / (distance * 100)
        for c, mm in enumerate(_BLUR_MM):
            s = mm * per_mm
            if s > 0.3:
                image[..., c] = gaussian_filter(image[..., c], s) / np.maximum(
                    gaussian_filter(cover, s), 0.05
                )
        under = image[rows[own], cols[own]]
    radiance[rows[own], cols[own]] = color * under + shine
    albedo[rows[own], cols[own]] = color

    view = camera - position
    view /= np.linalg.norm(view, axis=1, keepdims=True)
    for k, m in enumerate((EYE_L, EYE_R)):
        at = np.flatnonzero(material == m)
        if len(at):
            gaze = rot @ _gaze(shot, 0.04 * (-1 if k == 0 else 1))
            q = position[at] - eyes[k]
            q /= np.linalg.norm(q, axis=1, keepdims=True)
            light = np.tile(irradiance[head.faces[:, 0]].mean(0), (len(at), 1))
            radiance[rows[at], cols[at]] = shading.shade_eyes(
                np.ascontiguousarray(q, np.float32),
                np.ascontiguousarray(view[at], np.float32),
                light,
                np.clip(seen_sky[at] * 1.3 + 0.15, 0, 1).astype(np.float32),
                gaze.astype(np.float32),
                (rot @ np.array([0, 1, 0], np.float32)),
                np.array(looks.iris),
                looks.iris_radius,
                looks.sclera,
                looks.veins,
                shot.light,
                volume(),
            )
            albedo[rows[at], cols[at]] = (0.7, 0.65, 0.6)
            normal_map[rows[at], cols[at]] = q
    for m, tone in ((TEETH, (0.72, 0.66, 0.54)), (TONGUE, (0.42, 0.14, 0.13))):
        at = np.flatnonzero(material == m)
        if len(at):
            e = 0.6 * light_in[at] + 0.55 * irradiance.mean(0)
            depth_in = 0.1 + 0.9 * np.clip((canon[at, 2] - 0.80) / 0.5, 0, 1) ** 1.2
            radiance[rows[at], cols[at]] = np.array(tone, np.float32) * e * depth_in[:, None]
            albedo[rows[at], cols[at]] = tone

    if len(rows_c):
        rgb, nrm = _cloth(
            head, shot, cloth_points, cloth_normals, face_c, bary_c, canon_c, irradiance, shadows
        )
        radiance[rows_c, cols_c], normal_map[rows_c, cols_c] = rgb, nrm
        albedo[rows_c, cols_c] = shot.shirt[0]
        part[rows_c, cols_c] = SHIRT + 1
        canon_map[rows_c, cols_c] = canon_c

    if drawn is not None:
        centre = person.neck + rot @ (np.array([0, 7.55, 0.25], np.float32) - person.neck)
        hit = np.nonzero(strand >= 0)
        own_strand = strand[hit]
        soft = np.where((drawn.kind[own_strand] == BROWS) | (drawn.kind[own_strand] == BEARD), 0.78, 1.0)[
            :, None
        ]
        soft = np.where((ids[hit] >= 0)[:, None] & detail.per_pixel, soft, 1.0).astype(np.float32)
        shine, outward = shading.shade_strands(
            along[hit],
            own_strand,
            drawn.points,
            drawn.first,
            centre,
            drawn.color,
            drawn.layer,
            drawn.shift,
            drawn.kind,
            camera,
            shot.light,
            shadows,
            shading.environment(shot.light),
        )
        radiance[hit] = (1 - soft) * radiance[hit] + soft * shine
        albedo[hit] = drawn.color[own_strand]
        part[hit] = 7 + drawn.kind[own_strand]
        normal_map[hit] = outward
        canon_map[hit] = 0
    marks = screen[head.landmarks]
    marks = np.concatenate([marks[:, :2] / detail.supersample, marks[:, 2:] * 0.1], 1).astype(np.float32)
    k = detail.supersample
    rgb = grade(radiance, part, backdrop(shot.light, shot.seed, size), shot.seed, k)
    pick = (slice(k // 2, None, k), slice(k // 2, None, k))
    depth = np.where(part[pick] > 0, -0.1 / np.minimum(zbuf[pick], -1e-9), np.inf).astype(np.float32)
    return Picture(
        rgb,
        depth,
        normal_map[pick],
        albedo[pick],
        part[pick],
        canon_map[pick],
        focal / detail.supersample,
        (camera * 0.1).astype(np.float32),
        rot,
        marks,
        _unhidden(marks, depth),
    )


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


def _canon_y(head: HeadMesh, screen: Array, ids: Index, rows: Index, cols: Index) -> Array:
    """Canonical height of the skin behind given pixels, 99 where there is none."""
    face = ids[rows, cols]
    out = np.full(len(rows), 99.0, np.float32)
    there = face >= 0
    out[there] = head.canon[head.faces[face[there]], 1].mean(1)
    return out


def _shirt(head: HeadMesh, points: Array) -> tuple[Array, Array]:
    """The garment: tights pushed outwards along their normals."""
    normals = shading.vertex_normals(points, head.shirt)
    used = np.unique(head.shirt)
    out = points.copy()
    lift = 0.09 + 0.035 * fbm_at(volume(), np.ascontiguousarray(head.canon[used]), 1.3, 2, 3.0)
    out[used] += lift[:, None] * normals[used]
    return out.astype(np.float32), shading.vertex_normals(out.astype(np.float32), head.shirt)


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


def _cloth(
    head: HeadMesh,
    shot: Shot,
    points: Array,
    normals: Array,
    face: Index,
    bary: Array,
    canon: Array,
    irradiance: Array,
    shadows: Shadows,
) -> tuple[Array, Array]:
    packed = np.concatenate([points, normals, irradiance], 1).astype(np.float32)
    got = shading.gather(head.shirt, face, bary, packed)
    normal = got[:, 3:6] / (np.linalg.norm(got[:, 3:6], axis=1, keepdims=True) + 1e-9)
    color, kind, stripes = shot.shirt
    albedo = np.tile(np.array(color, np.float32), (len(face), 1))
    knit = 0.05 * np.sin(canon[:, 1] * 160)
    band = stripes * (np.sin(canon[:, 1] * 24) > 0.2)
    edge = ~_collar(canon + np.array([0, 0.10, 0], np.float32), kind)
    albedo = albedo * (1 + knit - 0.6 * band - 0.22 * edge)[:, None].astype(np.float32)
    rgb = shading.shade_matt(
        np.ascontiguousarray(got[:, :3]),
        np.ascontiguousarray(normal),
        np.ascontiguousarray(got[:, 6:9]),
        albedo.astype(np.float32),
        shot.light,
        shadows,
        0.15,
    )
    return rgb, normal


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
    canvas = np.stack([gaussian_filter(canvas[..., c], s) for c in range(3)], -1)
    at = (np.arange(size) + 0.5) / size * 48 - 0.5
    low = np.clip(np.floor(at).astype(int), 0, 46)
    f = np.clip(at - low, 0, 1)
    rows = canvas[low] * (1 - f)[:, None, None] + canvas[low + 1] * f[:, None, None]
    full = rows[:, low] * (1 - f)[None, :, None] + rows[:, low + 1] * f[None, :, None]
    level = 0.5 * (np.array(light.top) + np.array(light.bottom)) * 1.6 + 0.15
    return tone((full * level).astype(np.float32))


def tone(x: Array) -> Array:
    """Gentle shoulder: 1.18 x (1 + .1 x) / (1 + .42 x)."""
    return np.asarray(1.18 * x * (1 + 0.1 * x) / (1 + 0.42 * x), np.float32)


def srgb(x: Array) -> Array:
    """Linear [0, 1] to sRGB [0, 1]."""
    x = np.clip(x, 0, 1)
    return np.asarray(np.where(x < 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055), np.float32)


def _mean(x: Array, k: int) -> Array:
    h, w = x.shape[0] // k, x.shape[1] // k
    return x.reshape(h, k, w, k, *x.shape[2:]).mean((1, 3)).astype(np.float32)


def grade(radiance: Array, part: NDArray[np.uint8], room: Array, seed: int, k: int) -> NDArray[np.uint8]:
    """Tone curve on every sample, mean of k x k samples over the backdrop, sRGB, blur, sensor noise.

    Args:
        radiance: (k H, k W, 3) linear.
        part: (k H, k W), 0 where the backdrop shows.
        room: (H, W, 3) of `backdrop`.
        seed: of the noise.
        k: samples a pixel side.
    """
    cover = (part > 0).astype(np.float32)
    mask = _mean(cover, k)[..., None]
    front = _mean(tone(radiance) * cover[..., None], k)
    image = srgb(front + (1 - mask) * room)
    image = np.stack([gaussian_filter(image[..., c], 0.45) for c in range(3)], -1)
    rng = np.random.default_rng(derive(seed, "sensor"))
    image = image + rng.normal(0, 0.008, image.shape)
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)


def contact_sheet(pictures: Sequence[NDArray[np.uint8]], columns: int) -> NDArray[np.uint8]:
    """Pictures of one size side by side, white gaps of 2 pixels."""
    size = pictures[0].shape[0]
    rows = -(-len(pictures) // columns)
    sheet = np.full((rows * (size + 2), columns * (size + 2), 3), 255, np.uint8)
    for n, p in enumerate(pictures):
        i, j = divmod(n, columns)
        sheet[i * (size + 2) : i * (size + 2) + size, j * (size + 2) : j * (size + 2) + size] = p
    return sheet
