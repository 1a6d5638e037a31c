"""A body for a photograph that comes without one: the mean human, posed until it covers the mask.

A silhouette tells little of depth: who stands turned away, bent or seated needs a fitted body.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from mien.core.errors import DataError
from mien.methods.car.bodies import BodyParams, body_of
from mien.methods.car.pose_fit import PoseFitSettings, Skin, fit_pose, overlap, posed_vertices
from mien.methods.car.view import seen_faces, to_view
from mien.synth.body import METRES, people
from mien.synth.clothed_people import people_rig, star_shaped
from mien.synth.clothed_poses import PEOPLE_LIMBS
from mien.synth.clothed_set import calibration
from mien.synth.identity import macro_weights
from mien.synth.looks import Macro
from mien.synth.skinning import chain, moved

ARMS = (75.0, 55.0, 35.0, 0.0, -60.0)
"""Degrees below the horizontal that the first poses are tried with."""
LEGS = (8.0, 20.0)
"""Degrees that they turn inwards from the star pose, whose legs are 25 degrees out."""
LEAST = 0.6
"""Overlap (intersection over union) with the mask below which an estimate is refused."""
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


def estimate_body(mask: Tensor, least: float = LEAST, settings: PoseFitSettings | None = None) -> Estimate:
    """The mean human in the pose that covers a mask best, seen from the front. Some 5 s at 128 pixels.

    The best of `ARMS` x `LEGS` is where `fit_pose` starts.

    Args:
        mask: (S, S) booleans: one whole person.
        least: see Raises.
        settings: of the fit.

    Raises:
        DataError: the silhouette covers the mask by less than ``least``, or the mask is empty.
    """
    mask, own = mask.cpu(), settings or PoseFitSettings()
    tried = [placed(standing(arms, legs), mask) for arms in ARMS for legs in LEGS]
    covers = [overlap(silhouette(pose, len(mask)), mask) for pose in tried]
    cover, best = max(covers), tried[int(np.argmax(covers))]
    if cover >= own.least:
        found = fit_pose(
            skin_of(mean_human()), best.calib, mask, best.rotations, best.translation, own, freedom()
        )
        cover, best = found.overlap[1], Pose(found.rotations, found.translation, best.calib)
    if cover < least:
        raise DataError(
            f"the estimated body covers the mask by {cover:.2f} (intersection over union), less than {least}:"
            " the person should stand upright and face the camera; else give --body FILE of a fitted body"
        )
    human = mean_human()
    moves = moved(chain(human.joints[None], best.rotations[None], human.parents), best.translation[None])[0]
    return Estimate(replace(human, transforms=moves, calib=best.calib), cover)


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
