"""Face actions and head pose of a video's landmarks: the rig's 68 points, fitted frame by frame.

A head with actions a, turned by R and shifted by t before a camera at (0, 0, r) shows landmark k at

    p = R (b_k + sum_j a_j d_kj) + t,   u = f p_x / (r - p_z),   v = -f p_y / (r - p_z)

in picture sides from the middle, lengths in sides of the avatar's cube (`mien.synth.orbit`). Each step of
Gauss-Newton is a linear least-squares problem with 0 <= a <= 1. Who it is stays out: what the first, neutral
frames show beside the rig's own face is added to b.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import lsq_linear
from scipy.spatial.transform import Rotation

from mien.core.errors import ConfigError, DataError, ShapeError
from mien.synth.body import people
from mien.synth.face import ORBIT_FOCAL, ORBIT_RADIUS, head_span
from mien.synth.orbit import CUBE
from mien.synth.portraits import displacement, head_mesh

Array = NDArray[Any]  # of floats
_HIDDEN = ("eyeLook", "tongue")  # what landmarks do not show
_PULL = 3e-5  # squared picture sides, so that noise of 0.001 sides moves little; half a smile costs 2e-3
_STEADY = 1e-6  # cost of a step of the pose
_SIDES = [*range(6), *range(11, 17)]  # of the jaw: an outline, no fixed places of the skin
_SIDE_WEIGHT = 0.3


class Rig(NamedTuple):
    """Landmarks of a face that can move.

    Attributes:
        base: (68, 3) at rest, sides of the cube from its middle.
        moves: (A, 68, 3) displacement of each action at 1.
        names: of the actions.
    """

    base: Array
    moves: Array
    names: tuple[str, ...]


class Fit(NamedTuple):
    """One frame.

    Attributes:
        actions: (A,) in 0 .. 1.
        rotation: (3, 3).
        translation: (3,) right, up, to the camera.
    """

    actions: Array
    rotation: Array
    translation: Array


class FittedClip(NamedTuple):
    """A clip of T frames; rows of frames without a face are NaN.

    Attributes:
        expression: (T, 52) actions in the order of ``names``; those that landmarks do not show are 0.
        angles: (T, 3) pitch, yaw, roll: R = Y(yaw) X(pitch) Z(roll), radians.
        translation: (T, 3) of the head since the neutral frames, sides of the cube.
        focal: (T,) picture sides; the picture is a square in which the neutral head has the avatar's size.
        names: of all actions.
        found: (T,) whether there was a face.
        error: (T,) root mean square distance of the landmarks from the fit, picture sides.
    """

    expression: Array
    angles: Array
    translation: Array
    focal: Array
    names: tuple[str, ...]
    found: NDArray[np.bool_]
    error: Array


@lru_cache(1)
def mean_rig() -> Rig:
    """The landmarks of the shipped human, lids at rest, and what moves them."""
    human, head = people(), head_mesh()
    at = head.landmarks
    names = tuple(n for n in human.actions if not n.startswith(_HIDDEN))
    moves = np.stack([human.expressed({n: 1.0})[head.own][at] for n in names])
    base = head.canon[at] + displacement()[at] - head_span(head, head.canon)[0]
    return Rig(np.asarray(base / CUBE, np.float64), np.asarray(moves / CUBE, np.float64), names)


def project(points: Array) -> Array:
    """(.., 3) before the camera -> (.., 2) picture sides from the middle, right and down."""
    scale = ORBIT_FOCAL / (ORBIT_RADIUS - points[..., 2:])
    return np.asarray(points[..., :2] * scale * (1, -1))


def posed(rig: Rig, fit: Fit) -> Array:
    """(68, 3) landmarks of a moved face before the camera."""
    moved = rig.base + np.einsum("a,aki->ki", fit.actions, rig.moves)
    return np.asarray(moved @ fit.rotation.T + fit.translation)


def fit_frame(rig: Rig, seen: Array, start: Fit | None = None, steps: int = 6) -> Fit:
    """Actions and pose of one frame by Gauss-Newton. O(steps (A + 6)^2 68).

        min sum_k w_k^2 |u_k - seen_k|^2 + 3e-5 sum_j (a_j + 1)^2,   0 <= a <= 1

    The last term, a_j^2 + 2 a_j beside a constant, prefers few actions to many that look alike.

    Args:
        rig: the face.
        seen: (68, 2) picture sides from the middle.
        start: of a neighbouring frame; None: at rest, looking at the camera.
        steps: of Gauss-Newton.
    """
    count = len(rig.moves)
    fit = start or Fit(np.zeros(count), np.eye(3), np.zeros(3))
    weight = np.ones((68, 2))
    weight[_SIDES] = _SIDE_WEIGHT
    pull = np.diag(np.sqrt(np.r_[np.full(count, _PULL), np.full(6, _STEADY)]))
    free = np.full(6, np.inf)
    low, high = np.r_[np.zeros(count), -free], np.r_[np.ones(count), free]
    for _ in range(steps):
        points = posed(rig, fit)
        columns = np.concatenate([rig.moves @ fit.rotation.T, _pose_moves(points - fit.translation)])
        slopes = weight * _projected_moves(points, columns)
        wanted = weight * (seen - project(points)) + np.tensordot(fit.actions, slopes[:count], 1)
        rows = np.concatenate([slopes.reshape(count + 6, -1).T, pull])
        found = lsq_linear(rows, np.r_[wanted.ravel(), -pull[:count].sum(1), np.zeros(6)], (low, high)).x
        turn = Rotation.from_rotvec(found[count : count + 3]).as_matrix()
        fit = Fit(found[:count].clip(0, 1), turn @ fit.rotation, fit.translation + found[count + 3 :])
    return fit


def _pose_moves(arms: Array) -> Array:
    """(6, 68, 3) velocity of points (68, 3) around the middle: turns w x p about x, y, z, then shifts."""
    turns = [np.cross(axis, arms) for axis in np.eye(3)]
    return np.stack([*turns, *(np.broadcast_to(axis, arms.shape) for axis in np.eye(3))])


def _projected_moves(points: Array, moves: Array) -> Array:
    """(N, 68, 2): du = f (dp_x + p_x dp_z / (r - p_z)) / (r - p_z), dv alike and down."""
    depth = ORBIT_RADIUS - points[:, 2:]
    return np.asarray(
        (moves[..., :2] + points[:, :2] * moves[..., 2:] / depth) * (ORBIT_FOCAL / depth) * (1, -1)
    )


def at_rest(rig: Rig) -> Rig:
    """The same face without actions: only its pose can be fitted."""
    return rig._replace(moves=rig.moves[:0], names=())


def neutral_rig(rig: Rig, seen: Array) -> Rig:
    """The rig with the face of neutral frames (N, 68, 2): what is left of them goes to the landmarks at rest.

    It goes across the line of sight; how deep a landmark lies stays the rig's. O(N).
    """
    still, offset = at_rest(rig), np.zeros_like(rig.base)
    for frame in seen:
        fit = fit_frame(still, frame)
        points = posed(still, fit)
        left = (frame - project(points)) * (1, -1) * (ORBIT_RADIUS - points[:, 2:]) / ORBIT_FOCAL
        offset += np.concatenate([left, np.zeros((68, 1))], 1) @ fit.rotation / len(seen)
    return rig._replace(base=rig.base + offset)


def framing(rig: Rig, pixels: Array) -> tuple[Array, float]:
    """Middle (2,) and side, pixels, of the square in which heads (N, 68, 2) sit as the avatar's does."""
    still = at_rest(rig)
    flat = project(rig.base)
    middle = pixels.mean((0, 1))
    side = float(np.sqrt(pixels.var(1).sum() / len(pixels) / flat.var(0).sum()))
    for _ in range(3):
        shift = np.mean([fit_frame(still, (p - middle) / side).translation for p in pixels], 0)
        reach = ORBIT_RADIUS / (ORBIT_RADIUS - shift[2])
        middle = middle + side * reach * ORBIT_FOCAL / ORBIT_RADIUS * shift[:2] * (1, -1)
        side *= float(reach)
    return middle, side


def fit_clip(pixels: Array, neutral: int = 10, rig: Rig | None = None) -> FittedClip:
    """Actions and head pose of a clip, relative to its first frames. About 0.02 s of a core a frame.

    Args:
        pixels: (T, 68, 2) landmarks (iBUG's order), x right and y down; NaN rows: no face.
        neutral: first frames with a face, in which it is taken to rest.
        rig: whose actions; default the shipped human's.

    Raises:
        ShapeError: another shape.
        DataError: no face in any frame.
        ConfigError: no neutral frames.
    """
    pixels = np.asarray(pixels, np.float64)
    if pixels.ndim != 3 or pixels.shape[1:] != (68, 2):
        raise ShapeError(f"expected landmarks (T, 68, 2), got {pixels.shape}")
    if neutral < 1:
        raise ConfigError(f"neutral={neutral} must be at least 1 frame")
    found = np.asarray(np.isfinite(pixels).all((1, 2)), bool)
    if not found.any():
        raise DataError(f"no face in any of {len(pixels)} frames; check the video")
    rig = rig or mean_rig()
    resting = pixels[found][:neutral]
    middle, side = framing(rig, resting)
    rig = neutral_rig(rig, (resting - middle) / side)
    every = people().actions
    columns = [every.index(n) for n in rig.names]
    count = len(pixels)
    expression, pose, error = (
        np.full((count, len(every)), np.nan),
        np.full((count, 6), np.nan),
        np.full(count, np.nan),
    )
    fit: Fit | None = None
    for t in np.flatnonzero(found):
        seen = (pixels[t] - middle) / side
        fit = fit_frame(rig, seen, fit, steps=6 if fit is None else 3)
        expression[t] = 0
        expression[t, columns] = fit.actions
        yaw, pitch, roll = Rotation.from_matrix(fit.rotation).as_euler("YXZ")
        pose[t] = pitch, yaw, roll, *fit.translation
        error[t] = np.sqrt(((project(posed(rig, fit)) - seen) ** 2).sum(1).mean())
    focal = np.where(found, ORBIT_FOCAL, np.nan)
    return FittedClip(expression, pose[:, :3], pose[:, 3:], focal, every, found, error)
