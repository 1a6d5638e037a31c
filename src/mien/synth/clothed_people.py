"""Clothed people in the star pose, rigged: surface, skinning, the body below, and a body as estimated.

Heads are shaven and lengths are metres. Test people are of ranges that training never saw: stature and weight
more than 1.5 standard deviations from the mean, and clothes with a coat, a long or a wide skirt.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from mien.core.errors import ConfigError
from mien.core.seeds import derive
from mien.render.raster import rasterize
from mien.synth.body import METRES, people
from mien.synth.body_models import CapsuleBody, dense_weights
from mien.synth.clothed_poses import CAPSULE_LIMBS, PEOPLE_LIMBS, joint_transforms, skinned, star_pose
from mien.synth.dressed import Dressed, sample_surface, signed_distance, vertex_moves
from mien.synth.full_body import Body, make_body, stature
from mien.synth.garment import Outfit, sample_outfit
from mien.synth.identity import Identity, sample_identity
from mien.synth.shading import vertex_normals

Array = NDArray[Any]  # of floats
Index = NDArray[np.int32]
SEEN_RADIUS = 1.5  # standard deviations of (stature, weight)
LONG, WIDE = 0.7, 0.22  # of skirts and dresses
_SPREADS = (0.16, 0.16)  # of stature and weight, as they are drawn
_CLEAR = 0.003  # m
_LIFTS, _AROUND = (-0.45, 0.0, 0.5, 1.1), 12  # sides from which a scanner looks, radians
_NEARER = np.array([1, 1, -1], np.float32)  # smaller z is nearer
_TRIES = 1000
KEPT = (
    "root", "spine03", "spine01", "neck01", "head",
    *(f"{b}.{s}" for s in "LR" for b in
      ("clavicle", "upperarm01", "lowerarm01", "wrist", "upperleg01", "lowerleg01", "foot")),
)  # fmt: skip
"""Joints of the rig; other bones of the shipped human move with the nearest one above."""


@dataclass(frozen=True)
class Rig:
    """What all people of a kind share.

    Attributes:
        names: of the J joints, the root first.
        parents: index of each joint's parent, -1 for the root.
        body_faces: (T, 3) of the body without clothes.
        body_weights: (V, J) of its vertices.
    """

    names: tuple[str, ...]
    parents: tuple[int, ...]
    body_faces: Index
    body_weights: Array


@dataclass(frozen=True)
class Clothed:
    """A person in the star pose.

    Attributes:
        points: (N, 3) clothed mesh.
        faces: (T, 3) its outer surface: what a scanner around sees.
        weights: (N, J) skinning weights.
        heads: (J, 3) of the joints.
        body: (V, 3) without clothes.
        given: (V, 3) the body as an estimator would see it: another shape.
        given_heads: (J, 3) of its joints.
        solid: (S, 3) triangles of the closed solid, into ``solid_points``.
        solid_points: (N + V, 3) or (N, 3).
    """

    points: Array
    faces: Index
    weights: Array
    heads: Array
    body: Array
    given: Array
    given_heads: Array
    solid: Index
    solid_points: Array


def without_hidden(person: Clothed, side: int = 768) -> Clothed:
    """The person without triangles that no scanner around sees.

    A triangle is seen from a side if it faces it and its centre is at most 3 mm behind the nearest surface.
    O(sides (T + pixels)).

    Args:
        person: who.
        side: pixels of the depth maps.
    """
    corners = person.points[person.faces]
    centre = corners.mean(1)
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    middle = 0.5 * (person.points.min(0) + person.points.max(0))
    half = float(np.linalg.norm(person.points - middle, axis=1).max()) * 1.01
    seen, faces = np.zeros(len(centre), bool), torch.as_tensor(person.faces)
    for lift in _LIFTS:
        for yaw in np.arange(_AROUND) * 2 * np.pi / _AROUND:
            turn = Rotation.from_euler("yx", [yaw, lift]).as_matrix().astype(np.float32)
            drawn = torch.as_tensor((person.points - middle) @ turn.T / half * _NEARER)
            depth = rasterize(drawn[None], faces, side, side).depth[0].numpy()
            at = (centre - middle) @ turn.T / half
            column = ((at[:, 0] + 1) * side / 2).astype(np.int64)
            row = ((1 - at[:, 1]) * side / 2).astype(np.int64)
            seen |= (normal @ turn[2] > 0) & (-at[:, 2] <= depth[row, column] + _CLEAR / half)
    return replace(person, faces=person.faces[seen])


@dataclass(frozen=True)
class Samples:
    """Points in the star pose, metres, with the skinning weights of the nearest clothed vertex.

    Attributes:
        surface: (N, 3) on the surface.
        surface_normal: (N, 3) unit, outward.
        surface_weight: (N, J).
        near: (N, 3) surface + N(0, 0.05^2).
        near_sdf: (N,) signed distance, negative inside.
        near_weight: (N, J).
        box: (N / 4, 3) uniform in the box of +- 1.8 m around the middle.
        box_sdf: (N / 4,).
        box_weight: (N / 4, J).
    """

    surface: Array
    surface_normal: Array
    surface_weight: Array
    near: Array
    near_sdf: Array
    near_weight: Array
    box: Array
    box_sdf: Array
    box_weight: Array


NEAR, BOX = 0.05, 1.8  # metres


def draw_samples(person: Clothed, count: int, seed: int) -> Samples:
    """Training points (page of CAR, 2.3). O(count (S / 48 + log N)).

    Args:
        person: who.
        count: N surface points, as many near ones, a quarter in the box.
        seed: of the draw.
    """
    rng = np.random.default_rng(derive(seed, "samples"))
    surface, normal, _ = sample_surface(person.points, person.faces, count, seed)
    near = surface + rng.normal(0, NEAR, surface.shape)
    middle = 0.5 * (person.points.min(0) + person.points.max(0))
    box = middle + rng.uniform(-BOX, BOX, (count // 4, 3))
    sdf = signed_distance(np.concatenate([near, box]), person.solid_points, person.faces, person.solid, seed)
    tree = cKDTree(person.points)
    own = [person.weights[tree.query(p)[1]].astype(np.float16) for p in (surface, near, box)]
    f32 = np.float32
    return Samples(
        surface.astype(f32), normal.astype(f32), own[0],
        near.astype(f32), sdf[:count].astype(f32), own[1],
        box.astype(f32), sdf[count:].astype(f32), own[2],
    )  # fmt: skip


# -- the shipped human --------------------------------------------------------------------------------------


@lru_cache(1)
def people_rig() -> Rig:
    """The rig of the shipped human: 19 joints, the body's 13,380 vertices."""
    human = people()
    faces = human.faces["body"]
    used = np.unique(faces)
    weights = _kept_weights()[used]
    kept = [human.bones.index(b) for b in KEPT]
    parents = tuple(-1 if k == 0 else _kept_above()[human.parents[k]] for k in kept)
    return Rig(KEPT, parents, np.searchsorted(used, faces).astype(np.int32), weights)


@lru_cache(1)
def _kept_above() -> tuple[int, ...]:
    """For each bone the kept joint that moves it: itself, or the nearest one above."""
    human, out = people(), list[int]()
    for bone, parent in zip(human.bones, human.parents, strict=True):
        out.append(KEPT.index(bone) if bone in KEPT else out[parent])
    return tuple(out)


@lru_cache(1)
def _kept_weights() -> Array:
    """(V, J) of the whole base mesh."""
    human = people()
    bone = np.asarray(_kept_above(), np.int32)[human.skin_bone]
    return dense_weights(bone, human.skin_weight.astype(np.float32), len(KEPT))


def is_unseen_shape(identity: Identity, tall: float) -> bool:
    """Whether stature and weight lie outside the training range.

    ((tall - 0.5) / 0.16)^2 + ((weight - 0.5) / 0.16)^2 > 1.5^2
    """
    share = {"min": 0.0, "max": 0.0}
    for name, value in identity.shape.items():
        for end in share:
            if name.startswith("universal-") and name.endswith(f"{end}weight"):
                share[end] += value
    offsets = np.array([tall - 0.5, 0.5 * (share["max"] - share["min"])]) / _SPREADS
    return bool((offsets**2).sum() > SEEN_RADIUS**2)


def is_unseen_outfit(outfit: Outfit) -> bool:
    """Whether it has a coat, or a skirt or dress that is long or wide."""
    skirts = (g for g in outfit if g.kind in ("skirt", "dress"))
    return any(g.kind == "coat" for g in outfit) or any(g.length > LONG or g.flare > WIDE for g in skirts)


def _first(fits: Callable[[int], bool], seed: int, what: str) -> int:
    """The first of a stream of seeds that fits."""
    for k in range(_TRIES):
        if fits(found := derive(seed, what, k)):
            return found
    raise ConfigError(f"no {what} in the wanted range among {_TRIES} draws of seed {seed}; take another")


def clothed_body(seed: int, *, unseen: bool = False) -> Body:
    """A dressed, shaven person of the seen or unseen ranges, at rest. Some 0.4 s."""
    known = frozenset(people().shapes)

    def shape(who: int) -> bool:
        tall = stature(who)
        return is_unseen_shape(sample_identity(who, known, tall=tall), tall) == unseen

    who = _first(shape, seed, "shape")
    male = sample_identity(who, known).macro.male
    wear = _first(lambda s: is_unseen_outfit(sample_outfit(s, male)) == unseen, seed, "outfit")
    body = make_body(who, sample_outfit(wear, male))
    return replace(body, person=replace(body.person, strands=None))


def star_shaped(shaped: Array) -> Array:
    """Vertices (V, 3) of the shipped human at rest, in the star pose; decimetres. O(V)."""
    human = people()
    moves, _ = vertex_moves(human, shaped, star_pose(PEOPLE_LIMBS, human.bones, human.joints(shaped)))
    return np.asarray(np.einsum("vij,vj->vi", moves[..., :3], shaped) + moves[..., 3])


def star_dressed(wear: Dressed) -> Dressed:
    """The dressed body in the star pose, as if that were its rest; decimetres. O(vertices)."""
    human = people()
    pose = star_pose(PEOPLE_LIMBS, human.bones, human.joints(wear.shaped))
    moves, _ = vertex_moves(human, wear.shaped, pose)
    shaped = np.einsum("vij,vj->vi", moves[..., :3], wear.shaped) + moves[..., 3]
    return replace(wear, points=wear.posed(moves), shaped=shaped.astype(np.float32))


def clothed_person(body: Body, star: Dressed, shape_noise: float, seed: int) -> Clothed:
    """The person of `clothed_body` and `star_dressed` as a rig.

    The estimated body is the true one mixed with |N(0, shape_noise^2)| of another person's shape, their roots
    laid on each other.
    """
    human, rig = people(), people_rig()
    used = np.unique(human.faces["body"])
    kept = [human.bones.index(b) for b in rig.names]
    rng = np.random.default_rng(derive(seed, "shape noise"))
    share = min(abs(float(rng.normal(0, shape_noise))), 0.5)
    other = human.shaped(sample_identity(derive(seed, "other"), frozenset(human.shapes)).shape)
    mixed = body.dressed.shaped + share * (other - body.dressed.shaped)
    guessed = star_shaped(mixed)
    heads = human.joints(star.shaped)[kept]
    guessed += heads[0] - human.joints(guessed)[kept][0]
    points = (star.points * METRES).astype(np.float32)
    bare = (star.shaped[used] * METRES).astype(np.float32)
    solid = np.concatenate([star.faces, rig.body_faces + len(points)]).astype(np.int32)
    weights = np.asarray(star.blend @ _kept_weights(), np.float32)
    given = (guessed[used] * METRES).astype(np.float32)
    whole = Clothed(
        points, star.faces, weights, heads * METRES, bare, given, human.joints(guessed)[kept] * METRES,
        solid, np.concatenate([points, bare]),
    )  # fmt: skip
    return without_hidden(whole)


# -- capsules -----------------------------------------------------------------------------------------------


@lru_cache(1)
def capsule_body() -> CapsuleBody:
    """The capsules of cheap people."""
    return CapsuleBody(around=10, along=7)


@lru_cache(1)
def capsule_rig() -> Rig:
    """Fifteen joints, one a capsule."""
    model = capsule_body()
    return Rig(model.names, model.parents, model.faces, model.lbs_weights)


def capsule_person(seed: int, shape_noise: float, *, unseen: bool = False) -> Clothed:
    """Capsules with a wrinkled shell 15 to 40 mm thick; unseen ones are the slimmest and the stoutest."""
    rng, rig = np.random.default_rng(derive(seed, "capsules")), capsule_rig()
    stout = rng.uniform(0.15, 0.25) * rng.choice([-1, 1]) if unseen else rng.uniform(-0.12, 0.12)
    shape = np.array([rng.uniform(-0.06, 0.06), stout])
    guess = shape + shape_noise * rng.normal(0, 0.5, 2)
    body, heads = _capsule_star(shape)
    given, given_heads = _capsule_star(guess)
    normal = vertex_normals(body, rig.body_faces)
    along = body @ rng.normal(0, 1, 3) * 2 * np.pi / rng.uniform(0.05, 0.12)
    thick = rng.uniform(0.015, 0.04) + rng.uniform(0.002, 0.006) * np.sin(along)
    points = (body + thick[:, None] * normal).astype(np.float32)
    return without_hidden(
        Clothed(
            points, rig.body_faces, rig.body_weights, heads, body, given, given_heads, rig.body_faces, points
        )
    )


def _capsule_star(shape: Array) -> tuple[Array, Array]:
    """Vertices and joints of capsules in the star pose."""
    model, rig = capsule_body(), capsule_rig()
    rest = model.forward(torch.as_tensor(shape, dtype=torch.float32)[None])
    heads = rest.joints[0].numpy()
    moves = joint_transforms(heads, rig.parents, rig.names, star_pose(CAPSULE_LIMBS, rig.names, heads))
    moved = np.einsum("jab,jb->ja", moves[:, :3, :3], heads) + moves[:, :3, 3]
    return skinned(rest.vertices[0].numpy(), rig.body_weights, moves), moved
