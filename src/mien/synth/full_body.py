"""Pictures of dressed people from head to foot, with exact ground truth of the front and of the back.

Camera frame: x right, y up, z towards the camera; the body turns, the camera looks along -z.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.core.errors import ConfigError
from mien.core.seeds import derive
from mien.synth import facial_hair, shading
from mien.synth.body import people
from mien.synth.dressed import GARMENT, Dressed, dress, vertex_moves
from mien.synth.face import CHEAP, Person, backdrop, grade, make_person, rotation, shade_skin_at
from mien.synth.garment import Outfit, sample_outfit
from mien.synth.identity import Identity, sample_identity
from mien.synth.landmarks import coco_keypoints, vertex_parts
from mien.synth.light import Light, fibonacci, sample_light, shadow_maps, transfer
from mien.synth.looks import sample_looks
from mien.synth.noise import fbm_at, volume
from mien.synth.portraits import head_mesh
from mien.synth.raster import raster, weights
from mien.synth.strands import Strands, draw, join

Array = NDArray[Any]  # of floats
Index = NDArray[np.int32]
_FAR = 100.0  # dm; an orthographic camera stands here, a perspective one comes nearer
_HALF = 10.5  # dm of the light's maps around a body


@dataclass(frozen=True)
class Body:
    """A dressed person, computed once.

    Attributes:
        seed: who.
        identity: shape.
        person: head: looks, hair, paint.
        dressed: skin and clothes at rest.
        masks: (V, 7) for `skin.paint`, whole base mesh.
        part: (V,) index into `landmarks.PARTS`.
    """

    seed: int
    identity: Identity
    person: Person
    dressed: Dressed
    masks: Array
    part: NDArray[np.uint8]


@dataclass(frozen=True)
class View:
    """How a body is seen.

    Attributes:
        yaw: turn of the body to its left, radians.
        pitch: tilt towards the camera, radians.
        height: of the picture, pixels.
        width: pixels.
        focal: 35 mm-equivalent focal length; 0: orthographic.
        span: what the picture's height covers at the body, metres; 0: the body fills the picture.
        light: sky and key.
        seed: background and sensor noise.
    """

    yaw: float
    light: Light
    pitch: float = 0.0
    height: int = 512
    width: int = 256
    focal: float = 0.0
    span: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Checks sizes.

        Raises:
            ConfigError: a size outside 16 .. 2048.
        """
        for name in ("height", "width"):
            if not 16 <= getattr(self, name) <= 2048:
                raise ConfigError(f"{name}={getattr(self, name)} is outside [16, 2048] pixels")


@dataclass(frozen=True)
class BodyPicture:
    """A picture and its ground truth; maps (H, W, ..) share pixels, the back is seen through the body.

    Attributes:
        rgb: uint8 (H, W, 3).
        alpha: (H, W) coverage of the body in [0, 1].
        depth: metres towards the viewer's far side from the plane through the body's root; inf background.
        depth_back: the same of the farthest surface.
        normal: (H, W, 3) unit, camera frame; 0 background.
        normal_back: of the farthest surface, outward.
        albedo: (H, W, 3) linear.
        layer: uint8: 0 background, 1 skin, 2 and 3 eyes, 4 teeth, 5 tongue, 6.. clothes, 100 hair.
        part: uint8: 0 background, 1 + index into `landmarks.PARTS`.
        canon: (H, W, 3) canonical position at rest, metres.
        keypoints: (17, 3) COCO: x, y pixels, depth metres.
        points: (N, 3) posed vertices of the mesh in the camera frame, metres.
        joints: (J, 3) likewise.
        transforms: (J, 4, 4) of the bones from rest to the camera frame, metres.
    """

    rgb: NDArray[np.uint8]
    alpha: Array
    depth: Array
    depth_back: Array
    normal: Array
    normal_back: Array
    albedo: Array
    layer: NDArray[np.uint8]
    part: NDArray[np.uint8]
    canon: Array
    keypoints: Array
    points: Array
    joints: Array
    transforms: Array


def stature(seed: int) -> float:
    """How tall the person of a seed is: 0 short .. 1 tall, N(0.5, 0.16^2)."""
    return float(np.clip(np.random.default_rng(derive(seed, "tall")).normal(0.5, 0.16), 0, 1))


def make_body(seed: int, outfit: Outfit | None = None) -> Body:
    """A dressed person from a seed; the head is that of `portraits.make_face` of the same seed. Some 0.3 s.

    Args:
        seed: who.
        outfit: clothes; default from the seed.
    """
    human, head = people(), head_mesh()
    identity = sample_identity(seed, frozenset(human.shapes), tall=stature(seed))
    shaped = human.shaped(identity.shape)
    joints = dict(zip(human.bones, human.joints(shaped), strict=True))
    neck = (0.5 * (joints["neck01"] + joints["head"])).astype(np.float32)
    looks = sample_looks(seed, identity.macro)
    person = make_person(head, shaped[head.own], looks, neck, CHEAP)
    masks = np.zeros((len(shaped), 7), np.float32)
    masks[:, :4] = np.stack([human.masks[k] for k in ("lips", "lids", "ears", "mouth")], 1)
    masks[head.own] = person.masks
    clothes = sample_outfit(seed, identity.macro.male) if outfit is None else outfit
    return Body(seed, identity, person, dress(human, shaped, clothes), masks, vertex_parts(human))


def photograph_body(
    body: Body, pose: Mapping[str, Array], view: View, supersample: int = 2, dressed: Dressed | None = None
) -> BodyPicture:
    """One picture. O(pixels supersample^2 + faces x 64), 0.5 - 1 s at 512 x 256.

    Args:
        body: who.
        pose: rotations of bones by name (`poses.sample_pose`).
        view: camera, light, background.
        supersample: samples a pixel side.
        dressed: other clothes on the same body.
    """
    human, wear = people(), dressed or body.dressed
    moves, bones = vertex_moves(human, wear.shaped, pose)
    turn = rotation(view.yaw, view.pitch, 0).astype(np.float64)
    root = bones[0, :3, :3] @ human.joints(wear.shaped)[0] + bones[0, :3, 3]
    posed = wear.posed(moves)
    low, high = posed[:, 1].min(), posed[:, 1].max() + 0.25  # hair
    middle = np.array([root[0], 0.5 * (low + high), root[2]])

    def seen(p: Array) -> Array:
        return np.ascontiguousarray((p - middle) @ turn.T, np.float32)

    points = seen(posed)
    base = seen(np.einsum("vij,vj->vi", moves[..., :3], wear.shaped) + moves[..., 3])
    k = supersample
    rows, cols = view.height * k, view.width * k
    reach = np.linalg.norm((posed - middle)[:, [0, 2]], axis=1).max()  # of any yaw
    span = view.span * 10 or 1.06 * max(high - low, 2 * reach * rows / cols)
    if view.focal:
        focal = view.focal / 36 * max(rows, cols)
        eye = np.array([0, 0, focal * span / rows], np.float32)
    else:
        focal, eye = rows / span * _FAR, np.array([0, 0, _FAR], np.float32)

    def project(p: Array) -> Array:
        depth = eye[2] - p[:, 2]
        scale = focal / depth if view.focal else rows / span
        return np.ascontiguousarray(
            np.stack([0.5 * cols + scale * p[:, 0], 0.5 * rows - scale * p[:, 1], depth], 1), np.float32
        )

    screen = project(points)
    zbuf, ids = np.zeros((rows, cols), np.float32), np.full((rows, cols), -1, np.int32)
    raster(screen, wear.faces, zbuf, ids, 0)
    behind, ids_back = np.zeros((rows, cols), np.float32), np.full((rows, cols), -1, np.int32)
    far = screen.copy()
    far[:, 2] = 2 * eye[2] - screen[:, 2]  # nearest in the mirrored depth is farthest here
    raster(far, wear.faces, behind, ids_back, 0)

    strands = _strands(body, bones, base, seen)
    strand, along = np.full((rows, cols), -1, np.int32), np.zeros((rows, cols), np.float32)
    draw(project(strands.points), strands.first, strands.width, focal, zbuf, strand, along)

    folded = points + 0.9 * wear.fold[:, None] * shading.vertex_normals(points, wear.faces)
    normals = shading.vertex_normals(np.ascontiguousarray(folded, np.float32), wear.faces)
    truth = shading.vertex_normals(points, wear.faces)
    centre = np.zeros(3, np.float32)
    shadows = shadow_maps(view.light, points, wear.faces, strands, 6, 512, 3, centre, _HALF)
    sees = transfer(points, normals, wear.faces, strands, None, 256, centre, _HALF)
    irradiance, ambient = sees @ view.light.sky(fibonacci()), sees.sum(1)

    radiance = np.zeros((rows, cols, 3), np.float32)
    albedo, normal_map, canon = (np.zeros((rows, cols, 3), np.float32) for _ in range(3))
    layer, part = np.zeros((rows, cols), np.uint8), np.zeros((rows, cols), np.uint8)
    i, j = (a.astype(np.int32) for a in np.nonzero(ids >= 0))
    face = ids[i, j]
    bary = weights(screen, wear.faces, i, j, face)
    masks = (wear.blend @ body.masks).astype(np.float32)
    packed = np.concatenate(
        [points, normals, truth, wear.canon, irradiance, ambient[:, None], masks,
         wear.fold[:, None], wear.hem[:, None]], 1
    ).astype(np.float32)  # fmt: skip
    got = shading.gather(wear.faces, face, bary, packed)
    position, where = (np.ascontiguousarray(got[:, a : a + 3]) for a in (0, 9))
    normal, flat = (_unit(got[:, a : a + 3]) for a in (3, 6))
    view_dir = np.array([0, 0, 1.0], np.float32) if not view.focal else _unit(eye - position)
    backward = (flat * view_dir).sum(1) < 0  # the inside of a hem or a coat
    normal[backward], flat[backward] = -normal[backward], -flat[backward]
    sky, open_ = np.ascontiguousarray(got[:, 12:15]), np.ascontiguousarray(got[:, 15])
    sky[backward] *= 0.5
    what = wear.layer[face]
    layer[i, j], normal_map[i, j], canon[i, j] = what + 1, flat, where
    of_vertex = _parts(wear, body.part)
    corner = wear.faces[face, np.stack([1 - bary.sum(1), *bary.T], 1).argmax(1)]
    part[i, j] = of_vertex[corner] + 1

    own = np.flatnonzero(what == 0)
    camera = np.asarray(eye, np.float32)
    color, shine, under = shade_skin_at(
        own, position, normal, where, sky, open_, np.ascontiguousarray(got[:, 16:23]), body.person.looks,
        view.light, shadows, camera,
    )  # fmt: skip
    radiance[i[own], j[own]] = color * under + shine
    albedo[i[own], j[own]] = color
    face_sky = sky[own][where[own, 1] > 6.5].mean(0) if (where[own, 1] > 6.5).any() else sky.mean(0)
    _eyes(what, i, j, position, normal_map, radiance, albedo, base, body, view, face_sky, bones, turn)
    for m, tone in ((3, (0.72, 0.66, 0.54)), (4, (0.42, 0.14, 0.13))):
        at = what == m
        radiance[i[at], j[at]] = np.array(tone, np.float32) * 0.35 * sky[at]
        albedo[i[at], j[at]] = tone
    cloth = np.flatnonzero(what >= GARMENT)
    paint = _cloth_color(wear, what[cloth], where[cloth], got[cloth, 23], got[cloth, 24])
    radiance[i[cloth], j[cloth]] = shading.shade_matt(
        position[cloth], normal[cloth], sky[cloth], paint, view.light, shadows, 0.15
    )
    albedo[i[cloth], j[cloth]] = paint

    hit = np.nonzero(strand >= 0)
    knob = seen(_head_point(bones, human.bones.index("head"), np.array([0, 7.55, 0.25]), body, human))[0]
    rgb, outward = shading.shade_strands(
        along[hit], strand[hit], strands.points, strands.first, knob, strands.color, strands.layer,
        strands.shift, strands.kind, camera, view.light, shadows, shading.environment(view.light),
    )  # fmt: skip
    radiance[hit], normal_map[hit], albedo[hit] = rgb, outward, strands.color[strand[hit]]
    layer[hit], part[hit], canon[hit] = 100, 2, 0

    back = _back_normals(far, wear.faces, ids_back, truth)
    pick = (slice(k // 2, None, k), slice(k // 2, None, k))
    side = max(view.height, view.width)
    room = backdrop(view.light, view.seed, side)[: view.height, : view.width]
    picture = grade(radiance, layer, room, view.seed, k)
    alpha = (layer > 0).reshape(view.height, k, view.width, k).mean((1, 3)).astype(np.float32)
    covered = layer[pick] > 0
    depth = np.where(covered, (-1 / np.minimum(zbuf[pick], -1e-9) - eye[2]) * 0.1, np.inf)
    there = ids_back[pick] >= 0
    depth_back = np.where(there, (eye[2] + 1 / np.minimum(behind[pick], -1e-9)) * 0.1, np.inf)
    heads = np.einsum("jab,jb->ja", bones[:, :3, :3], human.joints(wear.shaped)) + bones[:, :3, 3]
    joints = seen(heads)
    keys = coco_keypoints(human, base, joints)
    marks = project(keys)
    marks = np.concatenate([marks[:, :2] / k, (marks[:, 2:] - eye[2]) * 0.1], 1).astype(np.float32)
    return BodyPicture(
        picture, alpha, depth.astype(np.float32), depth_back.astype(np.float32), normal_map[pick], back[pick],
        albedo[pick], layer[pick], part[pick], canon[pick] * 0.1, marks, points * 0.1, joints * 0.1,
        _to_camera(bones, turn, middle),
    )  # fmt: skip


def _back_normals(far: Array, faces: Index, ids: Index, normals: Array) -> Array:
    """Outward normals (H, W, 3) of the farthest surface.

    Args:
        far: (N, 3) screen with mirrored depth.
        faces: (T, 3).
        ids: (H, W) triangle drawn there, -1 for none.
        normals: (N, 3) of the vertices.
    """
    out = np.zeros((*ids.shape, 3), np.float32)
    i, j = (a.astype(np.int32) for a in np.nonzero(ids >= 0))
    bary = weights(far, faces, i, j, ids[i, j])
    n = _unit(shading.gather(faces, ids[i, j], bary, normals))
    n[n[:, 2] > 0] *= -1
    out[i, j] = n
    return out


def _to_camera(bones: Array, turn: Array, middle: Array) -> Array:
    """Transforms (J, 4, 4) of the bones from rest to the camera frame, metres."""
    world = np.eye(4)
    world[:3, :3], world[:3, 3] = turn, -turn @ middle
    out = world @ bones
    out[:, :3, 3] *= 0.1
    return out.astype(np.float32)


def sample_view(seed: int, height: int = 512, width: int = 256, yaw: float | None = None) -> View:
    """Orthographic, in a random light; yaw uniform if not given."""
    rng = np.random.default_rng(derive(seed, "view"))
    turn = float(rng.uniform(-np.pi, np.pi)) if yaw is None else yaw
    return View(turn, sample_light(seed), 0.0, height, width, seed=seed)


def _unit(v: Array) -> Array:
    return np.ascontiguousarray(v / (np.linalg.norm(v, axis=1, keepdims=True) + 1e-9), np.float32)


def _parts(wear: Dressed, part: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Body part of each vertex of a dressed mesh: that of its heaviest parent."""
    table = wear.blend
    heavy = np.array([
        table.indices[a:b][np.argmax(table.data[a:b])] if b > a else 0
        for a, b in zip(table.indptr[:-1], table.indptr[1:], strict=True)
    ])  # fmt: skip
    return part[heavy]


def _strands(body: Body, bones: Array, base: Array, seen: Any) -> Strands:
    """Hair with the head's bone; brows, beard and lashes on the posed mesh."""
    human, head, person = people(), head_mesh(), body.person
    local = np.ascontiguousarray(base[head.own])
    normals = shading.vertex_normals(local, head.faces)
    out: list[Strands] = [g.grown(local, normals) for g in person.growth]
    if person.strands is not None:
        t = bones[human.bones.index("head")]
        moved = seen(person.strands.points @ t[:3, :3].T + t[:3, 3])
        out.insert(0, person.strands.moved(moved))
    t = bones[human.bones.index("head")]
    eyes = tuple(seen(e[None] @ t[:3, :3].T + t[:3, 3])[0] for e in person.eyes)
    out.append(facial_hair.lashes(head, local, (eyes[0], eyes[1]), person.looks.lash))
    return join(out)


def _head_point(bones: Array, bone: int, canon: Array, body: Body, human: Any) -> Array:
    """A canonical point of the head on this body, posed (1, 3)."""
    shift = human.joints(body.dressed.shaped)[bone] - human.joints(human.vertices)[bone]
    return np.asarray((canon + shift)[None] @ bones[bone, :3, :3].T + bones[bone, :3, 3])


def _eyes(
    what: Array,
    i: Index,
    j: Index,
    position: Array,
    normal_map: Array,
    radiance: Array,
    albedo: Array,
    base: Array,
    body: Body,
    view: View,
    sky: Array,
    bones: Array,
    turn: Array,
) -> None:
    """Shades the eyeballs as spheres that look where the head looks, lit as the face is."""
    human, looks = people(), body.person.looks
    frame = turn @ bones[human.bones.index("head"), :3, :3]
    gaze = frame @ np.array([0, -0.13, 0.99])
    for k, group in ((1, "eye_l"), (2, "eye_r")):
        at = np.flatnonzero(what == k)
        if not len(at):
            continue
        ball = base[np.unique(human.faces[group])]
        q = _unit(position[at] - ball.mean(0))
        eye = np.tile(np.array([0, 0, 1], np.float32), (len(at), 1))
        light = np.tile(sky, (len(at), 1)).astype(np.float32)
        radiance[i[at], j[at]] = shading.shade_eyes(
            q, eye, light, np.full(len(at), 0.75, np.float32), gaze.astype(np.float32),
            frame[:, 1].astype(np.float32), np.array(looks.iris), looks.iris_radius, looks.sclera,
            looks.veins, view.light, volume(),
        )  # fmt: skip
        albedo[i[at], j[at]] = (0.7, 0.65, 0.6)
        normal_map[i[at], j[at]] = q


def _cloth_color(wear: Dressed, what: Array, canon: Array, fold: Array, hem: Array) -> Array:
    """Albedo of clothes: colour, knit, stripes, a darker hem, folds tinted by 7 %."""
    out = np.zeros((len(what), 3), np.float32)
    for k, g in enumerate(wear.worn):
        at = what == GARMENT + k
        p = np.ascontiguousarray(canon[at], np.float32)
        tint = 1 + np.clip(fold[at] * 1.4, -0.07, 0.07) + 0.015 * fbm_at(volume(), p, 3.0, 2, g.seed % 97)
        band = g.stripes * (np.sin(p[:, 1] * 18) > 0.3)
        seam = 0.22 * (hem[at] < 0.10)
        out[at] = np.array(g.color, np.float32) * (tint * (1 - 0.6 * band) * (1 - seam))[:, None]
    return out
