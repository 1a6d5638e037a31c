"""A head that moves before a still camera, as a camera that moves around a head at rest; orbits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from mien.core.errors import ConfigError, ShapeError
from mien.render.camera import OPENCV_AXES
from mien.synth.face import ORBIT_FOCAL as FOCAL
from mien.synth.face import ORBIT_RADIUS as RADIUS
from mien.synth.orbit import orbit_cameras

Array = NDArray[Any]  # of floats


class Pose(NamedTuple):
    """Head poses of T frames.

    Attributes:
        angles: (T, 3) pitch, yaw, roll, radians.
        translation: (T, 3) right, up and to the camera, in sides of the cube.
        focal: (T,) picture sides.
    """

    angles: Array
    translation: Array
    focal: Array


def head_rotations(angles: Array) -> Array:
    """(T, 3) pitch, yaw, roll -> R = Y(yaw) X(pitch) Z(roll), (T, 3, 3)."""
    return np.asarray(Rotation.from_euler("YXZ", np.asarray(angles, np.float64)[:, [1, 0, 2]]).as_matrix())


def head_angles(rotations: Array) -> Array:
    """The inverse of `head_rotations`: (T, 3, 3) -> (T, 3); yaw and roll within pi, pitch within pi / 2."""
    return np.asarray(Rotation.from_matrix(rotations).as_euler("YXZ")[:, [1, 0, 2]])


def turned_head(rotations: Array) -> Pose:
    """The pose of heads (T, 3, 3) that turn and stay where they are."""
    count = len(rotations)
    return Pose(head_angles(rotations), np.zeros((count, 3)), np.full(count, FOCAL))


def head_cameras(pose: Pose) -> NDArray[np.float32]:
    """Cameras (T, 25) that see a head at rest as a still camera at distance r sees this one. O(T).

    A head turned by R and shifted by t before a camera at (0, 0, r) is a head at rest before a camera with

        C = R^T diag(1, -1, -1),   o = R^T ((0, 0, r) - t),   K = (f, 0, 1/2; 0, f, 1/2; 0, 0, 1)

    so a head turned by yaw is a camera at -yaw (`mien.synth.orbit.head_turn` is the inverse).
    """
    back = head_rotations(pose.angles).transpose(0, 2, 1)
    count = len(back)
    matrix, k = np.zeros((count, 4, 4)), np.zeros((count, 3, 3))
    matrix[:, :3, :3] = back * np.asarray(OPENCV_AXES)
    matrix[:, :3, 3] = np.einsum("tij,tj->ti", back, np.array([0, 0, RADIUS]) - pose.translation)
    matrix[:, 3, 3] = k[:, 2, 2] = 1
    k[:, 0, 0] = k[:, 1, 1] = pose.focal
    k[:, :2, 2] = 0.5
    return np.concatenate([matrix.reshape(count, 16), k.reshape(count, 9)], 1).astype(np.float32)


def head_pose(cameras: Array) -> Pose:
    """The inverse of `head_cameras`: (T, 25) -> the pose; of the intrinsics only fx is kept. O(T).

    Raises:
        ShapeError: another shape.
    """
    c = np.asarray(cameras, np.float64)
    if c.ndim != 2 or c.shape[1] != 25:
        raise ShapeError(f"expected cameras (T, 25), got {c.shape}")
    matrix = c[:, :16].reshape(-1, 4, 4)
    r = (matrix[:, :3, :3] * np.asarray(OPENCV_AXES)).transpose(0, 2, 1)
    shift = np.array([0, 0, RADIUS]) - np.einsum("tij,tj->ti", r, matrix[:, :3, 3])
    return Pose(head_angles(r), shift, c[:, 16])


@dataclass(frozen=True)
class Orbit:
    """A camera that goes around the head: yaw sin(2 pi t / period) and pitch cos(2 pi t / period).

    Attributes:
        yaw: how far to each side, radians.
        pitch: how far up and down, radians.
        period: frames of one turn.
    """

    yaw: float = 0.5
    pitch: float = 0.0
    period: int = 100

    def __post_init__(self) -> None:
        if self.period < 1 or not abs(self.pitch) < math.pi / 2:
            raise ConfigError(f"period >= 1 and |pitch| < pi / 2 are needed, got {self}")

    def cameras(self, frames: int | None = None) -> NDArray[np.float32]:
        """(T, 25) cameras; default one turn."""
        phase = 2 * math.pi * np.arange(self.period if frames is None else frames) / self.period
        return orbit_cameras(self.yaw * np.sin(phase), self.pitch * np.cos(phase))
