"""Star pose and random poses of a rig with two arms and two legs, split into seen and unseen ranges.

Axes: x to the subject's left, y up, z to the front. The star pose is a T-pose whose hips are turned 25
degrees outwards about z (CAR, arXiv 2304.03903); random poses are rotations relative to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from scipy.special import ndtr, ndtri

from mien.core.seeds import derive
from mien.synth.skinning import chain

Array = NDArray[Any]  # of floats
SPREAD = np.deg2rad(20.0)  # standard deviation of a joint angle
SEEN = 1.25  # training angles lie within so many standard deviations of the mean
FARTHEST = 2.25
STAR_HIP = np.deg2rad(25.0)
_ARM_DOWN, _ARM_LOWEST = np.deg2rad(55.0), np.deg2rad(68.0)  # below the horizontal


@dataclass(frozen=True)
class Limbs:
    """Names of a rig's joints, ``{}`` for the side: (left, right)."""

    shoulder: str
    elbow: str
    wrist: str
    hip: str
    knee: str
    foot: str
    sides: tuple[str, str]


PEOPLE_LIMBS = Limbs(
    "upperarm01.{}", "lowerarm01.{}", "wrist.{}", "upperleg01.{}", "lowerleg01.{}", "foot.{}", ("L", "R")
)
CAPSULE_LIMBS = Limbs(
    "upper_arm_{}", "lower_arm_{}", "", "upper_leg_{}", "lower_leg_{}", "foot_{}", ("left", "right")
)


def star_pose(limbs: Limbs, names: Sequence[str], heads: Array) -> dict[str, Array]:
    """Rotations from rest to the star pose by joint name.

    Args:
        limbs: names of the joints.
        names: all J joints.
        heads: (J, 3) at rest.
    """
    at = dict(zip(names, np.asarray(heads, np.float64), strict=True))
    out: dict[str, Array] = {}
    for side, sign in zip(limbs.sides, (1.0, -1.0), strict=True):
        outwards = np.array([sign, 0.0, 0.0])
        leg = np.array([sign * np.sin(STAR_HIP), -np.cos(STAR_HIP), 0.0])
        for chained, toward in (
            ((limbs.shoulder, limbs.elbow, limbs.wrist), outwards),
            ((limbs.hip, limbs.knee, limbs.foot), leg),
        ):
            above = np.eye(3)
            for upper, lower in pairwise(chained):
                if not lower:
                    continue
                bone = at[lower.format(side)] - at[upper.format(side)]
                whole = Rotation.align_vectors(toward[None], bone[None])[0].as_matrix()
                out[upper.format(side)] = above.T @ whole
                above = whole
    return out


def clothed_pose(limbs: Limbs, seed: int, *, unseen: bool = False) -> dict[str, Array]:
    """A random pose relative to the star pose: angles N(0, 20 degrees) about standing, by joint name.

    Seen: every angle within 1.25 standard deviations. Unseen: arms raised and legs in a stride by 1.25 to
    2.25, which no seen pose has. Elbows bend forwards only, knees backwards only.

    Args:
        limbs: names of the joints.
        seed: of the draw.
        unseen: of the test range.
    """
    rng = np.random.default_rng(derive(seed, "clothed pose", unseen))
    stride = rng.choice([-1.0, 1.0])
    out: dict[str, Array] = {}
    for side, sign in zip(limbs.sides, (1.0, -1.0), strict=True):
        lift, swing, bend, knee = (_normal(rng, -SEEN, SEEN) for _ in range(4))
        flex = _normal(rng, -SEEN, SEEN)
        if unseen:
            lift = -_normal(rng, SEEN, FARTHEST)
            flex = sign * stride * _normal(rng, SEEN, FARTHEST)
        down = min(_ARM_DOWN + SPREAD * lift, _ARM_LOWEST)
        close = np.deg2rad(18.0) + 0.2 * SPREAD * _normal(rng, -SEEN, SEEN)
        elbow, knee = SPREAD * max(0.0, 1 + bend), SPREAD * abs(knee)
        forward = max(SPREAD * flex, np.deg2rad(-30.0))
        out[limbs.shoulder.format(side)] = _turn(y=-sign * SPREAD * swing) @ _turn(z=-sign * down)
        out[limbs.elbow.format(side)] = _turn(y=-sign * elbow)
        out[limbs.hip.format(side)] = _turn(x=-forward) @ _turn(z=-sign * close)
        out[limbs.knee.format(side)] = _turn(x=knee)
    return out


def noisy_pose(pose: Mapping[str, Array], names: Sequence[str], seed: int, sigma: float) -> dict[str, Array]:
    """The pose with a rotation vector N(0, sigma^2) on every joint but the root, as an estimator errs."""
    rng = np.random.default_rng(derive(seed, "pose noise"))
    noise = Rotation.from_rotvec(sigma * rng.normal(size=(len(names) - 1, 3))).as_matrix()
    return {name: turn @ pose.get(name, np.eye(3)) for name, turn in zip(names[1:], noise, strict=True)}


def joint_transforms(
    heads: Array, parents: Sequence[int], names: Sequence[str], pose: Mapping[str, Array]
) -> Array:
    """Transforms (J, 4, 4) of the joints from the pose of ``heads`` (J, 3) by rotations relative to it."""
    turns = np.stack([pose.get(name, np.eye(3)) for name in names])
    moved = chain(torch.as_tensor(heads, dtype=torch.float64)[None], torch.as_tensor(turns)[None], parents)
    return np.asarray(moved[0].numpy())


def skinned(points: Array, weights: Array, transforms: Array) -> Array:
    """Linear blend skinning, sum_j w_j T_j [x, 1]. O(N J).

    Args:
        points: (N, 3).
        weights: (N, J).
        transforms: (J, 4, 4).
    """
    mixed = np.einsum("nj,jab->nab", weights.astype(np.float64), transforms[:, :3])
    return np.asarray(np.einsum("nab,nb->na", mixed[..., :3], points) + mixed[..., 3], np.float32)


def _normal(rng: np.random.Generator, low: float, high: float) -> float:
    """A standard normal number between two bounds."""
    return float(ndtri(rng.uniform(ndtr(low), ndtr(high))))


def _turn(x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Array:
    return np.asarray(Rotation.from_rotvec([x, y, z]).as_matrix())
