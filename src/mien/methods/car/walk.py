"""A walk for avatars: one step with each leg, in place, as rotations of joints relative to the star pose.

Angles of hip, knee and foot are smooth curves in the manner of those of healthy adults (Perry, Gait Analysis:
hip +-25 degrees, knee up to 60 in the swing, the heel first, push-off at 0.6 of the cycle).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from mien.core.errors import ConfigError
from mien.methods.car.avatar import Avatar
from mien.render.skinned import Animation
from mien.synth.clothed_poses import CAPSULE_LIMBS, PEOPLE_LIMBS, STAR_HIP, Limbs

Array = NDArray[Any]  # of floats
PERIOD = 1.2
"""Seconds of two steps."""
ARM_DOWN = np.deg2rad(66.0)
"""Of the upper arm below the horizontal: lower, sleeves run into the body."""
APART = np.deg2rad(2.0)
"""Of a leg from the vertical, outwards."""


def limbs_of(names: Sequence[str]) -> Limbs:
    """The limbs of a rig that is known.

    Raises:
        ConfigError: joints of another rig.
    """
    for limbs in (PEOPLE_LIMBS, CAPSULE_LIMBS):
        asked = (limbs.shoulder, limbs.elbow, limbs.hip, limbs.knee, limbs.foot)
        if {name.format(side) for name in asked for side in limbs.sides} <= set(names):
            return limbs
    raise ConfigError(
        f"no walk for the joints {', '.join(names)}; name arms and legs as mien's bodies do"
        f" ({PEOPLE_LIMBS.hip.format('L')}, {PEOPLE_LIMBS.knee.format('L')}, ..)"
    )


def bump(phase: float, middle: float, width: float) -> float:
    """exp((cos 2 pi (t - m) - 1) / (2 pi w)^2): a periodic bell of height 1 and standard deviation w."""
    return float(np.exp((np.cos(2 * np.pi * (phase - middle)) - 1) / (2 * np.pi * width) ** 2))


def leg_angles(phase: float) -> tuple[float, float, float]:
    """Radians of one leg: hip forwards, knee backwards (>= 0), toes up; the heel lands at phase 0."""
    hip = np.deg2rad(5 + 22 * np.cos(2 * np.pi * phase))
    knee = np.deg2rad(4 + 10 * bump(phase, 0.14, 0.07) + 52 * bump(phase, 0.72, 0.1))
    pitch = np.deg2rad(14 * bump(phase, 0.0, 0.05) - 35 * bump(phase, 0.66, 0.09))  # of the sole
    toes = np.clip(pitch - hip + knee, np.deg2rad(-22), np.deg2rad(15))
    return float(hip), float(knee), float(toes)


def walk_pose(limbs: Limbs, phase: float) -> dict[str, Array]:
    """Rotations relative to the star pose, by joint name, at a phase of the cycle in [0, 1).

    Legs are half a cycle apart; each arm swings with the leg of the other side. A knee turns about the axis
    that is across its leg in the star pose, 25 degrees off x.

    Args:
        limbs: names of the joints.
        phase: 0: the left heel lands.
    """
    out: dict[str, Array] = {}
    for side, sign, t in zip(limbs.sides, (1.0, -1.0), (phase, phase + 0.5), strict=True):
        hip, knee, toes = leg_angles(t)
        swing = -np.deg2rad(20) * np.cos(2 * np.pi * t)  # forwards
        bend = np.deg2rad(18) + 0.6 * max(swing, 0.0)
        spread = turn(z=sign * STAR_HIP)
        out[limbs.shoulder.format(side)] = turn(x=-swing) @ turn(z=-sign * ARM_DOWN)
        out[limbs.elbow.format(side)] = turn(y=-sign * bend)
        out[limbs.hip.format(side)] = turn(x=-hip) @ turn(z=-sign * (STAR_HIP - APART))
        out[limbs.knee.format(side)] = spread @ turn(x=knee) @ spread.T
        out[limbs.foot.format(side)] = spread @ turn(x=-toes) @ spread.T
    return out


def walk_cycle(avatar: Avatar, frames: int = 24) -> Animation:
    """The walk of an avatar: frames + 1 keys over `PERIOD` seconds, the last as the first.

    The whole is moved up and down so that its lowest vertex is on the floor, y = 0. O(frames V J).

    Args:
        avatar: with the joints of one of mien's bodies.
        frames: of a cycle, at least 2.

    Raises:
        ConfigError: joints of another rig, or too few frames.
    """
    if frames < 2:
        raise ConfigError(f"a walk needs 2 frames or more, got {frames}")
    limbs, turns, moves = limbs_of(avatar.names), [], []
    for k in range(frames):
        pose = walk_pose(limbs, k / frames)
        own = np.stack([pose.get(name, np.eye(3)) for name in avatar.names])
        turns.append(torch.from_numpy(own).float())
        moves.append(to_floor(avatar, turns[-1]))
    closed = [torch.stack([*rows, rows[0]]) for rows in (turns, moves)]
    return Animation(PERIOD * torch.arange(frames + 1) / frames, *closed)


def to_floor(avatar: Avatar, rotations: torch.Tensor) -> torch.Tensor:
    """(3,) the move that puts the lowest vertex of a pose (J, 3, 3) on the floor, y = 0. O(V J)."""
    lowest = avatar.repose(avatar.bone_transforms(rotations)).vertices[:, 1].min()
    return torch.tensor([0.0, -float(lowest), 0.0])


def frames_of(avatar: Avatar, walk: Animation) -> list[Array]:
    """Vertices (V, 3) of each frame of a cycle, the repeated last one left out."""
    keys = zip(walk.rotations[:-1], walk.translations[:-1], strict=True)
    return [avatar.repose(avatar.bone_transforms(*key)).vertices for key in keys]


def turn(x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Array:
    """(3, 3) of a rotation vector, radians."""
    return np.asarray(Rotation.from_rotvec([x, y, z]).as_matrix())
