"""A few named poses for avatars, as rotations of joints relative to the star pose."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mien.core.config import suggest
from mien.core.errors import ConfigError
from mien.methods.car.avatar import Avatar
from mien.methods.car.walk import APART, ARM_DOWN, limbs_of, to_floor, turn, walk_pose
from mien.render.mesh_io import Mesh
from mien.synth.clothed_poses import STAR_HIP, Limbs

Pose = dict[str, NDArray[Any]]
_RAISED, _BENT = np.deg2rad(50.0), np.deg2rad(55.0)  # of the waving arm above the horizontal; of its elbow


def star(_limbs: Limbs) -> Pose:
    """No rotation at all."""
    return {}


def standing(limbs: Limbs) -> Pose:
    """Arms down, legs almost together."""
    out: Pose = {}
    for side, sign in zip(limbs.sides, (1.0, -1.0), strict=True):
        out[limbs.shoulder.format(side)] = turn(z=-sign * ARM_DOWN)
        out[limbs.hip.format(side)] = turn(z=-sign * (STAR_HIP - APART))
    return out


def waving(limbs: Limbs) -> Pose:
    """Standing, the left arm raised and bent."""
    left = limbs.sides[0]
    return standing(limbs) | {
        limbs.shoulder.format(left): turn(z=_RAISED),
        limbs.elbow.format(left): turn(z=_BENT),
    }


def heel_down(limbs: Limbs) -> Pose:
    """A step of the walk, the left heel lands."""
    return walk_pose(limbs, 0.0)


def leg_passing(limbs: Limbs) -> Pose:
    """A step of the walk, the right leg swings past the left one."""
    return walk_pose(limbs, 0.25)


POSES: Mapping[str, Callable[[Limbs], Pose]] = {
    "standing": standing,
    "waving": waving,
    "walking, heel down": heel_down,
    "walking, leg passing": leg_passing,
    "star": star,
}
"""By name."""


def in_pose(avatar: Avatar, name: str) -> Mesh:
    """The avatar in a pose of `POSES`, its feet on the floor. O(V J).

    Raises:
        ConfigError: no such pose, or joints of a rig that is not known.
    """
    if name not in POSES:
        raise ConfigError(f"no pose {name!r}{suggest(name, list(POSES))}; one of {', '.join(POSES)}")
    pose = POSES[name](limbs_of(avatar.names))
    rotations = torch.from_numpy(np.stack([pose.get(n, np.eye(3)) for n in avatar.names])).float()
    return avatar.repose(avatar.bone_transforms(rotations, to_floor(avatar, rotations)))
