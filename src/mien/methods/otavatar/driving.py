"""What of a driving motion an avatar takes over: all of it or what changes, the whole face or a part."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from mien.core.errors import ConfigError
from mien.methods.otavatar.head_pose import Orbit, head_pose
from mien.methods.otavatar.motion_track import MotionTrack

Array = NDArray[Any]  # of floats
Retarget = Literal["absolute", "relative"]
Parts = Literal["all", "mouth", "eyes"]
CameraChoice: TypeAlias = Literal["driving", "source"] | Orbit

PARTS: dict[str, tuple[str, ...]] = {
    "mouth": ("mouth", "jaw", "tongue", "cheekPuff"),
    "eyes": ("eye", "brow"),
}
"""How the names of a part's actions begin; the eyes go with the brows."""


def part_actions(names: tuple[str, ...], parts: Parts) -> NDArray[np.bool_]:
    """(C,) which actions belong to a part of the face.

    Raises:
        ConfigError: no such part, or actions without names.
    """
    if parts == "all":
        return np.ones(len(names), bool)
    if parts not in PARTS:
        raise ConfigError(f"no part {parts!r} of a face; one of {', '.join(get_args(Parts))}")
    if not names:
        raise ConfigError(f"parts={parts!r} needs a track with names of actions; this one has none")
    return np.array([n.startswith(PARTS[parts]) for n in names])


def retarget_rows(source: Array, driving: Array, retarget: Retarget, *, actions: bool = True) -> Array:
    """Rows of the avatar: driving_t, or source + (driving_t - driving_0). O(T C).

    The difference is expected of cross-identity driving: what the driver's face looks like at rest stays out.

    Args:
        source: (C,).
        driving: (T, C).
        retarget: "absolute" or "relative".
        actions: relative rows are cut to 0 .. 1.

    Raises:
        ConfigError: another word.

    >>> retarget_rows(np.array([0.5]), np.array([[0.1], [0.2], [0.9]]), "relative").ravel().round(2).tolist()
    [0.5, 0.6, 1.0]
    """
    if retarget not in get_args(Retarget):
        raise ConfigError(f"retarget={retarget!r} is none of {', '.join(get_args(Retarget))}")
    if retarget == "absolute":
        return driving
    moved = source + (driving - driving[:1])
    return np.asarray(np.clip(moved, 0, 1) if actions else moved)


def drive(
    track: MotionTrack,
    row: Array,
    camera: Array,
    retarget: Retarget = "absolute",
    parts: Parts = "all",
) -> MotionTrack:
    """The motion of an avatar whose source picture has the expression ``row`` and the camera ``camera``.

    The pose is retargeted as the expression is, the focal length by its ratio. O(T C).

    Args:
        track: of the driver.
        row: (C,) source expression.
        camera: (25,) of the source.
        retarget: see `retarget_rows`.
        parts: the part of the face that is driven; the rest stays as in the source.

    Raises:
        ConfigError: an unknown word, or a part of a track without names.
    """
    rows = retarget_rows(row, track.expression, retarget, actions=bool(track.names))
    if parts != "all":
        rows = np.where(part_actions(track.names, parts), rows, row)
    own = replace(track, expression=rows.astype(np.float32))
    if retarget == "absolute":
        return own
    angles, shift, focal = (x[0] for x in head_pose(camera[None]))
    return replace(
        own,
        angles=retarget_rows(angles, track.angles, retarget, actions=False).astype(np.float32),
        translation=retarget_rows(shift, track.translation, retarget, actions=False).astype(np.float32),
        focal=(focal * track.focal / track.focal[0]).astype(np.float32),
    )


def camera_path(choice: CameraChoice, track: MotionTrack, source: Array) -> NDArray[np.float32]:
    """(T, 25): the driven head's cameras, the source's for all frames, or an orbit.

    Raises:
        ConfigError: another word.
    """
    if isinstance(choice, Orbit):
        return choice.cameras(len(track))
    if choice == "driving":
        return track.cameras()
    if choice == "source":
        return np.repeat(np.asarray(source, np.float32)[None], len(track), 0)
    raise ConfigError(f"camera={choice!r} is neither driving, source nor an Orbit")
