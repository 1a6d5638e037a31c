"""Heads as seen by a camera that goes around them, in the units of a tri-plane.

The middle of the head is that of a cube of side 1; y up, the face looks along +z; the camera is EG3D's
(`mien.render.eg3d`), 2.7 away with a focal length of 3.2 picture sides.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from mien.core.seeds import derive
from mien.render.eg3d import lookat_cam2world, pack_camera
from mien.synth.face import ORBIT_FOCAL, ORBIT_RADIUS, Detail, Person, Picture
from mien.synth.light import Light, direction
from mien.synth.looks import Shot, sample_shot
from mien.synth.motion import read_expression
from mien.synth.portraits import photograph

Array = NDArray[Any]  # of floats
CUBE = 3.4
"""Side of the cube, decimetres: a head with its hair, and the neck; a frontal picture shows 2.9 of them."""
SOFT = Light(
    "studio", (0.56, 0.55, 0.54), (0.46, 0.45, 0.44), (), direction(0.35, 0.55), (0.85, 0.82, 0.8), 0.3
)
"""The light of everybody: mostly sky, a soft key from above and the subject's left."""


def orbit_cameras(yaw: ArrayLike, pitch: ArrayLike = 0.0) -> NDArray[np.float32]:
    """(V, 25) cameras around the head; yaw > 0: from the subject's left, pitch > 0: from below (radians)."""
    turn, tilt = np.broadcast_arrays(np.atleast_1d(yaw), np.atleast_1d(pitch))
    pose = lookat_cam2world(
        torch.tensor(turn.astype(np.float64)), torch.tensor(tilt.astype(np.float64)), ORBIT_RADIUS, (0, 0, 0)
    )
    k = torch.tensor([[ORBIT_FOCAL, 0, 0.5], [0, ORBIT_FOCAL, 0.5], [0, 0, 1.0]], dtype=torch.float64)
    return pack_camera(pose, k).numpy().astype(np.float32)


def orbit_views(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float32]:
    """(M, V, 25) random cameras of M moments: yaw within 0.3, of all but the first view within 0.75."""
    yaw = rng.uniform(-1, 1, shape) * np.where(np.arange(shape[1]) == 0, 0.3, 0.75)
    pitch = np.clip(rng.normal(0, 0.12, shape), -0.3, 0.3)
    return orbit_cameras(yaw.ravel(), pitch.ravel()).reshape(*shape, 25)


def head_turn(camera: Array) -> tuple[float, float, float]:
    """Yaw, pitch and roll (`face.rotation`) of a head that a still camera sees as this one (25,) does.

    The head's rotation is R = diag(1, -1, -1) C^T with C the camera's, and R = Y(yaw) X(pitch) Z(roll).
    """
    r = np.diag([1.0, -1.0, -1.0]) @ np.asarray(camera, np.float64)[:16].reshape(4, 4)[:3, :3].T
    return (
        float(np.arctan2(r[0, 2], r[2, 2])),
        float(-np.arcsin(np.clip(r[1, 2], -1, 1))),
        float(np.arctan2(r[1, 0], r[1, 1])),
    )


def studio(who: int) -> Shot:
    """Clothes of a person, the same in all their pictures; no glasses; the same soft light for everybody."""
    shot = sample_shot(derive(who, "studio"), glasses=0.0, frontal=True)
    return replace(shot, cube=CUBE, light=SOFT)


def photograph_orbit(
    person: Person,
    shot: Shot,
    camera: Array,
    expression: Array,
    names: tuple[str, ...],
    size: int,
    detail: Detail | None = None,
) -> Picture:
    """One picture of a person from a camera around them. As `photograph`.

    Args:
        person: who.
        shot: of `studio`.
        camera: (25,) of `orbit_cameras`.
        expression: (len(names),) a row of `motion.expression_rows`.
        names: of its actions.
        size: pixels a side.
        detail: default by size.
    """
    actions, gaze = read_expression(expression, names)
    yaw, pitch, roll = head_turn(camera)
    turned = replace(shot, yaw=yaw, pitch=pitch, roll=roll, gaze=gaze)
    return photograph(person, turned, size, actions, detail)


def in_cube(picture: Picture, places: Array) -> NDArray[np.float32]:
    """Places of a picture in the units of the cube. O(N).

    Args:
        picture: of `photograph_orbit`.
        places: (N, 3): x, y in pixels, depth along the optical axis in metres.
    """
    size, side = len(picture.rgb), CUBE / 10
    z = places[:, 2]
    offset = (places[:, :2] - size / 2) / picture.focal * z[:, None]
    seen = np.stack([offset[:, 0], -offset[:, 1], ORBIT_RADIUS * side - z], 1)
    return np.asarray((seen @ picture.rotation) / side, np.float32)


def ray_lengths(picture: Picture) -> NDArray[np.float32]:
    """(S, S) distance along the ray to what is seen, in cubes; inf where nothing is. O(S^2)."""
    size = len(picture.rgb)
    at = (np.arange(size) + 0.5 - size / 2) / picture.focal
    stretch = np.sqrt(1 + at[:, None] ** 2 + at[None] ** 2)
    return np.asarray(picture.depth * stretch * 10 / CUBE, np.float32)
