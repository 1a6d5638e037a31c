"""Poses of the shipped human: standing, walking, arms; rotations of bones in world axes of the rest pose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from mien.core.errors import ConfigError
from mien.core.seeds import derive
from mien.synth.body import People

Array = NDArray[Any]  # of floats
PoseKind = Literal["rest", "standing", "walking", "arms"]
KINDS: tuple[str, ...] = get_args(PoseKind)


def _bend(along: Array, toward: Array, angle: float) -> Array:
    """Rotation (3, 3) that turns a direction by an angle towards another."""
    axis = np.cross(along, toward)
    return Rotation.from_rotvec(angle * axis / np.linalg.norm(axis)).as_matrix()


def sample_pose(seed: int, kind: PoseKind = "standing") -> dict[str, Array]:
    """Rotations of bones by name.

    Args:
        seed: of the draw.
        kind: rest, standing (arms down, weight shifted), walking (a moment of a step), arms (raised, bent).

    Raises:
        ConfigError: no such kind.
    """
    if kind not in KINDS:
        raise ConfigError(f"pose {kind!r} is none of {', '.join(KINDS)}")
    if kind == "rest":
        return {}
    rng = np.random.default_rng(derive(seed, "pose", kind))
    down, front = np.array([0, -1.0, 0]), np.array([0, 0, 1.0])
    out: dict[str, Array] = {}
    step = rng.uniform(0, 2 * np.pi)
    for side, s in (("L", 1.0), ("R", -1.0)):
        arm = np.array([s * 0.62, -0.78, 0.0])
        fore = np.array([s * 0.55, -0.5, 0.55])
        lower, swing = rng.uniform(0.35, 0.58), rng.normal(0, 0.12)
        elbow = rng.uniform(0.0, 0.35)
        if kind == "walking":
            swing = 0.45 * s * np.sin(step) + rng.normal(0, 0.05)
            elbow = rng.uniform(0.2, 0.5)
        if kind == "arms":
            lower, swing = rng.uniform(-0.9, 0.5), rng.normal(0.2, 0.45)
            elbow = rng.uniform(0.0, 1.4)
        turn = Rotation.from_rotvec([-swing, 0, 0]).as_matrix() @ _bend(arm, down, lower)
        out[f"upperarm01.{side}"] = turn
        out[f"lowerarm01.{side}"] = _bend(fore, np.array([0.0, 0.7, 0.7]) if elbow > 0.5 else front, elbow)
        close, hip, knee = rng.uniform(0.02, 0.10), rng.normal(0, 0.05), abs(rng.normal(0, 0.06))
        if kind == "walking":
            hip = -0.42 * s * np.sin(step)
            knee = 0.12 + 0.55 * max(0.0, s * np.cos(step)) + rng.uniform(0, 0.1)
        in_ = Rotation.from_rotvec([0, 0, -s * close]).as_matrix()
        out[f"upperleg01.{side}"] = Rotation.from_rotvec([-hip - 0.3 * knee, 0, 0]).as_matrix() @ in_
        out[f"lowerleg01.{side}"] = Rotation.from_rotvec([knee, 0, 0]).as_matrix()
        out[f"foot.{side}"] = Rotation.from_rotvec([0.7 * hip - 0.5 * knee, 0, 0]).as_matrix()
    lean, twist, nod = rng.normal(0, 0.04, 3), rng.normal(0, 0.08), rng.normal(0, 0.12, 3)
    out["spine03"] = Rotation.from_rotvec(lean + np.array([0, twist, 0])).as_matrix()
    out["head"] = Rotation.from_rotvec(nod * np.array([0.5, 1, 0.4])).as_matrix()
    return out


def pose_array(human: People, pose: Mapping[str, Array]) -> Array:
    """(J, 3, 3) for `People.forward`; bones that are not named do not turn.

    Raises:
        ConfigError: no such bone.
    """
    out = np.tile(np.eye(3), (len(human.bones), 1, 1))
    at = {b: k for k, b in enumerate(human.bones)}
    for bone, turn in pose.items():
        if bone not in at:
            raise ConfigError(f"no bone {bone!r}; bones are {', '.join(human.bones[:5])} ..")
        out[at[bone]] = turn
    return out
