"""A body for a photograph that comes without one: the mean human, posed until it covers the mask.

A silhouette tells little of depth: who stands turned away, bent or seated needs keypoints or a fitted body.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from mien.core.errors import DataError
from mien.methods.car.bodies import BodyParams, body_of
from mien.methods.car.keypoints import (
    KeypointFit,
    Person,
    check_seen,
    fit_keypoints,
    keypoint_error,
    projected,
)
from mien.methods.car.pose_fit import PoseFitSettings, Skin, fit_pose, overlap, posed_vertices
from mien.methods.car.view import seen_faces, to_view
from mien.synth.body import METRES, people
from mien.synth.clothed_people import people_rig, star_shaped
from mien.synth.clothed_poses import PEOPLE_LIMBS
from mien.synth.clothed_set import calibration
from mien.synth.identity import macro_weights
from mien.synth.landmarks import LANDMARKS
from mien.synth.looks import Macro
from mien.synth.skinning import chain, moved

ARMS = (75.0, 55.0, 35.0, 0.0, -60.0)
"""Degrees below the horizontal that the first poses are tried with."""
LEGS = (8.0, 20.0)
"""Degrees that they turn inwards from the star pose, whose legs are 25 degrees out."""
TURNS = (0.0, 90.0, 180.0, 270.0)
"""Degrees about the vertical that the first poses are tried with where keypoints are given."""
BENT = {PEOPLE_LIMBS.elbow: ("y", -15.0), PEOPLE_LIMBS.knee: ("x", 10.0)}
"""Axis and degrees of these joints in the first poses on keypoints, which then bend as they can in people."""
LEAST = 0.6
"""Overlap (intersection over union) with the mask below which an estimate is refused."""
NOSE, TIP = 30, 0.01
"""Index of the nose's tip in `LANDMARKS`; metres of a foot that are its tip or its heel."""
JOINTS = {
    "shoulder": PEOPLE_LIMBS.shoulder, "elbow": PEOPLE_LIMBS.elbow, "wrist": PEOPLE_LIMBS.wrist,
    "hip": PEOPLE_LIMBS.hip, "knee": PEOPLE_LIMBS.knee, "ankle": PEOPLE_LIMBS.foot,
}  # fmt: skip
"""Joint of each keypoint that has one."""
_MEAN = Macro((1 / 3, 1 / 3, 1 / 3), 0.5, 0.5)
_STIFF = (
    "root",
    "spine",
    "neck",
    "head",
    "clavicle",
    "wrist",
    "foot",
)  # half as free as the limbs; names begin so


class Estimate(NamedTuple):
    """The body of a mask.

    Attributes:
        body: in the picture.
        overlap: intersection over union of its silhouette and the mask.
    """

    body: BodyParams
    overlap: float


class Pose(NamedTuple):
    """The mean human before a camera.

    Attributes:
        rotations: (J, 3, 3) about the joints, from the star pose.
        translation: (3,) metres.
        calib: (4, 4) posed space -> box.
    """

    rotations: Tensor
    translation: Tensor
    calib: Tensor


def estimate_body(
    mask: Tensor,
    least: float = LEAST,
    settings: PoseFitSettings | None = None,
    keypoints: Person | None = None,
) -> Estimate:
    """The mean human in the pose that covers a mask best. Some 5 s at 128 pixels.

    The best of `ARMS` x `LEGS` is where `fit_pose` starts, seen from the front; with keypoints it is
    `on_keypoints`, from any side, and the distance to them is a term of the fit.

    Args:
        mask: (S, S) booleans: one whole person.
        least: see Raises.
        settings: of the fit.
        keypoints: of the person, in the box of the mask.

    Raises:
        DataError: the silhouette covers the mask by less than ``least``, the mask is empty, or the keypoints
            are too few or of somebody else.
    """
    mask, own = mask.cpu(), settings or PoseFitSettings()
    also = None
    if keypoints is None:
        tried = [placed(standing(arms, legs), mask) for arms in ARMS for legs in LEGS]
        covers = [overlap(silhouette(pose, len(mask)), mask) for pose in tried]
        cover, best = max(covers), tried[int(np.argmax(covers))]
    else:
        best = on_keypoints(mask, keypoints)
        cover, also = overlap(silhouette(best, len(mask)), mask), _pull(keypoints, best.calib)
    if cover >= own.least:
        found = fit_pose(
            skin_of(mean_human()), best.calib, mask, best.rotations, best.translation, own, freedom(), also
        )
        cover, best = found.overlap[1], Pose(found.rotations, found.translation, best.calib)
    if cover < least:
        advice = "the mask should show the whole person and nothing else"
        if keypoints is None:
            advice = "the person should stand upright and face the camera, or give --keypoints FILE"
        raise DataError(
            f"the estimated body covers the mask by {cover:.2f} (intersection over union), less than {least}:"
            f" {advice}; else give --body FILE of a fitted body"
        )
    human = mean_human()
    moves = moved(chain(human.joints[None], best.rotations[None], human.parents), best.translation[None])[0]
    return Estimate(replace(human, transforms=moves, calib=best.calib), cover)


def on_keypoints(mask: Tensor, keypoints: Person) -> Pose:
    """The mean human on keypoints in the box of a mask (S, S): the best of `ARMS` x `LEGS` x `TURNS`.

    Raises:
        DataError: an empty mask; too few keypoints, or they lie beside the mask.
    """
    names, marks = human_marks()
    person = keypoints.named(names)
    check_seen(person, mask)
    tried = [
        placed(turned(bent(standing(arms, legs)), angle), mask)
        for arms, legs, angle in product(ARMS, LEGS, TURNS)
    ]
    rotations, translation, calib = (torch.stack(values) for values in zip(*tried, strict=True))
    found = fit_keypoints(marks, person, rotations, translation, calib, freedom())
    best = int(found.losses.argmin())
    return Pose(found.rotations[best], found.translation[best], found.calib[best])


def _pull(keypoints: Person, calib: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """What keypoints add to the loss of `fit_pose`."""
    names, marks = human_marks()
    person, weight = keypoints.named(names), KeypointFit().weight

    def pull(rotations: Tensor, translation: Tensor) -> Tensor:
        box = projected(marks, rotations[None], translation[None], calib[None])[0]
        return weight * keypoint_error(box, person)

    return pull


@lru_cache(1)
def human_marks() -> tuple[tuple[str, ...], Skin]:
    """Names of the points of the mean human that keypoints show, and the points in place of vertices.

    Joints, and on the surface the tip of the nose, the middles of the ears, and the ends of the feet.
    """
    body, human = mean_human(), people()
    used, z = np.unique(human.faces["body"]), body.vertices[:, 2].numpy()
    ears = human.masks["ears"][used] > 0.5
    joint: dict[str, int] = {}
    surface = {"nose": used == LANDMARKS[NOSE]}
    for side, letter, sign in zip(("left", "right"), PEOPLE_LIMBS.sides, (1, -1), strict=True):
        joint |= {f"{side}_{name}": body.names.index(bone.format(letter)) for name, bone in JOINTS.items()}
        foot = body.weights[:, joint[f"{side}_ankle"]].numpy() > 0.5
        surface[f"{side}_ear"] = ears & (sign * human.vertices[used, 0] > 0)
        surface[f"{side}_heel"] = foot & (z < z[foot].min() + TIP)
        surface[f"{side}_foot_index"] = foot & (z > z[foot].max() - TIP)
    at, spots = list(joint.values()), [torch.from_numpy(spot) for spot in surface.values()]
    points = torch.cat([body.joints[at], torch.stack([body.vertices[s].mean(0) for s in spots])])
    weights = torch.cat(
        [torch.eye(len(body.names))[at], torch.stack([body.weights[s].mean(0) for s in spots])]
    )
    no_faces = torch.zeros(0, 3, dtype=torch.int32)
    return (*joint, *surface), Skin(points, no_faces, weights, body.joints, body.parents)


@lru_cache(1)
def mean_human() -> BodyParams:
    """The shipped human of mean sex, ancestry and build, 25 years old, in the star pose."""
    human, rig = people(), people_rig()
    star = star_shaped(human.shaped(macro_weights(_MEAN, 0.5, 0.5)))
    heads = human.joints(star)[[human.bones.index(name) for name in rig.names]]
    return body_of(
        vertices=star[np.unique(human.faces["body"])] * METRES, faces=rig.body_faces,
        weights=rig.body_weights, joints=heads * METRES, transforms=np.eye(4)[None].repeat(len(heads), 0),
        calib=np.eye(4), parents=rig.parents, names=rig.names,
    )  # fmt: skip


def skin_of(body: BodyParams) -> Skin:
    """What `fit_pose` moves."""
    return Skin(body.vertices, body.faces, body.weights, body.joints, body.parents)


def freedom() -> Tensor:
    """(J,) of `fit_pose`: limbs 1, all else a half."""
    names = mean_human().names
    return torch.tensor([0.5 if name.startswith(_STIFF) else 1.0 for name in names])


def standing(arms: float, legs: float) -> Tensor:
    """(J, 3, 3) rotations from the star pose.

    Args:
        arms: degrees below the horizontal.
        legs: degrees that they turn inwards.
    """
    turns: dict[str, Rotation] = {}
    for side, sign in zip(PEOPLE_LIMBS.sides, (1, -1), strict=True):
        for joint, angle in ((PEOPLE_LIMBS.shoulder, arms), (PEOPLE_LIMBS.hip, legs)):
            turns[joint.format(side)] = Rotation.from_euler("z", -sign * angle, degrees=True)
    rows = [turns.get(name, Rotation.identity()).as_matrix() for name in mean_human().names]
    return torch.as_tensor(np.stack(rows), dtype=torch.float32)


def bent(rotations: Tensor) -> Tensor:
    """The pose (J, 3, 3) with elbows and knees bent by `BENT`."""
    out, names = rotations.clone(), mean_human().names
    for side, sign in zip(PEOPLE_LIMBS.sides, (1, -1), strict=True):
        for joint, (axis, angle) in BENT.items():
            own = sign * angle if axis == "y" else angle
            turn = Rotation.from_euler(axis, own, degrees=True).as_matrix()
            out[names.index(joint.format(side))] = torch.as_tensor(turn, dtype=torch.float32)
    return out


def turned(rotations: Tensor, angle: float) -> Tensor:
    """The pose (J, 3, 3) with the whole body turned to its left, degrees."""
    root = torch.as_tensor(Rotation.from_euler("y", angle, degrees=True).as_matrix(), dtype=torch.float32)
    return torch.cat([root @ rotations[:1], rotations[1:]])


def placed(rotations: Tensor, mask: Tensor) -> Pose:
    """The mean human in a pose, as high as a mask (S, S) and at its height, half of the mask on either side.

    O(V J + S^2).

    Raises:
        DataError: an empty mask.
    """
    rows = torch.nonzero(mask.any(1))[:, 0]
    if not len(rows):
        raise DataError("the mask is empty: nobody is in the picture")
    size, top, bottom = len(mask), int(rows[0]), int(rows[-1]) + 1
    column = int(torch.searchsorted(mask.sum(0).cumsum(0), int(mask.sum()) // 2))
    points = posed_vertices(skin_of(mean_human()), rotations, torch.zeros(3))
    low, high = points.amin(0), points.amax(0)
    half = float(high[1] - low[1]) * size / (2 * (bottom - top))
    there = torch.tensor([2 * (column + 0.5) / size - 1, 1 - (top + bottom) / size, 0.0]) * half
    return Pose(rotations, there - (low + high) / 2, torch.from_numpy(calibration(half)))


def silhouette(pose: Pose, size: int) -> Tensor:
    """(S, S) booleans: where the mean human is. O(V J + T + S^2)."""
    human = mean_human()
    points = posed_vertices(skin_of(human), pose.rotations, pose.translation)
    return seen_faces(to_view(points, pose.calib), human.faces, size, size) >= 0
