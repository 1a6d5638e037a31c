"""What a ComPhy program looks at: objects, events and motion of one target video.

Positions in pixels of the 480 x 320 picture, x to the right, y down; frames are integers at 25 a second.

Source: Chen et al., ComPhy, ICLR 2022, and the code released with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mien.core.errors import ConfigError
from mien.synth.phys_world import COLOURS, MATERIALS, SHAPES, Objects

Array = NDArray[Any]
WIDTH, HEIGHT, FPS = 480, 320, 25
SHOWN = 120
"""Frames of a target that are shown; what comes later is to be predicted."""
PARTNER = 68.0
"""Pixels within which a jump of the velocity is taken for a collision."""
MOVING = 0.25
"""Pixels a frame above which an object moves."""
DIRECTIONS = {"left": 180.0, "right": 0.0, "up": -90.0, "down": 90.0}
"""Degrees of atan2(vy, vx), in the order in which the released code tries them."""
CONE = 42.0
"""Half-angle of a direction, degrees; between the cones there is no direction."""
_JUMP = (0.003, 5.0)  # |dv| of a collision, pixels a frame
_SAMPLED = 5  # every 5th frame is asked for the direction of a whole video
_REST = 10  # frames without contact that part two collisions of one pair


class Thing(NamedTuple):
    """What an object is.

    Attributes:
        color: of `COLOURS`.
        material: of `MATERIALS`.
        shape: of `SHAPES`.
        mass: 1 or 5.
        charge: -1, 0 or 1.
    """

    color: str
    material: str
    shape: str
    mass: float = 1
    charge: int = 0


class Event(NamedTuple):
    """Something that happens.

    Attributes:
        kind: "start", "end", "in", "out" or "collision".
        objects: none, one, or the two that collide.
        frame: None for an event that is only possible.
    """

    kind: str
    objects: tuple[int, ...] = ()
    frame: int | None = None


class Change(NamedTuple):
    """A counterfactual: object ``item`` had ``value`` for its ``what`` ("mass" or "charge")."""

    item: int
    what: str
    value: float


@dataclass(frozen=True, eq=False)
class ComPhyScene:
    """One target video of N objects and T sampled frames, as programs see it.

    Attributes:
        things: the N objects; an object's id is its place.
        in_out: entering and leaving.
        collisions: of all frames.
        centres: (T, N, 2) pixels; anything where not visible.
        visible: (T, N) bool.
        shown: frames that are seen; later events are unseen.
        step: frames between two rows of ``centres``.
        counterfactuals: collisions under each recorded change.
    """

    things: tuple[Thing, ...]
    in_out: tuple[Event, ...]
    collisions: tuple[Event, ...]
    centres: Array
    visible: Array
    shown: int = SHOWN
    step: int = 1
    counterfactuals: Mapping[Change, tuple[Event, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = len(self.things)
        if self.centres.shape != (*self.visible.shape, 2) or self.visible.shape[1:] != (n,):
            raise ConfigError(
                f"centres must be (T, {n}, 2) and visible (T, {n}) for {n} objects; got"
                f" {self.centres.shape}, {self.visible.shape}"
            )

    @cached_property
    def velocity(self) -> Array:
        """(T, N, 2) pixels a frame (`velocities`)."""
        return velocities(self.centres, self.visible, self.step)

    def row(self, frame: int) -> int | None:
        """The row that shows a frame: the last one sampled up to it; None outside the video."""
        row = frame // self.step
        return row if 0 <= row < len(self.visible) else None

    def is_visible(self, item: int, frame: int | None = None) -> bool:
        """At a frame; None: at any that is shown."""
        if frame is None:
            return bool(self.visible[: -(-self.shown // self.step), item].any())
        row = self.row(frame)
        return row is not None and bool(self.visible[row, item])

    def is_moving(self, item: int, frame: int | None = None) -> bool:
        """Visible and faster than `MOVING` at a frame; None: at any that is shown."""
        if frame is None:
            return any(self.is_moving(item, f) for f in range(0, self.shown, self.step))
        row = self.row(frame)
        return (
            row is not None
            and bool(self.visible[row, item])
            and float(np.linalg.norm(self.velocity[row, item])) > MOVING
        )

    def heads(self, item: int, direction: str, frame: int) -> bool:
        """Whether the velocity at a frame lies within `CONE` of a direction."""
        row = self.row(frame)
        return row is not None and bool(within_cone(self.velocity[row, item], direction))

    def sampled(self) -> range:
        """The frames that a direction without a frame is judged by."""
        return range(0, self.shown, _SAMPLED)


def within_cone(velocity: Array, direction: str) -> Array:
    """|angle - direction| < `CONE` for velocities (..., 2); a zero velocity has the angle 0."""
    angle = np.degrees(np.arctan2(velocity[..., 1], velocity[..., 0]))
    return np.asarray(np.abs((angle - DIRECTIONS[direction] + 180) % 360 - 180) < CONE)


def velocities(centres: Array, visible: Array, step: int = 1) -> Array:
    """Mean of the backward and forward difference per frame, where both rows are visible; else 0. O(T N).

    Args:
        centres: (T, N, 2).
        visible: (T, N).
        step: frames between rows.

    Returns:
        (T, N, 2) pixels a frame.
    """
    both = (visible[1:] & visible[:-1])[..., None]
    moved = np.where(both, np.diff(np.where(visible[..., None], centres, 0), axis=0) / step, 0)
    total, count = np.zeros(centres.shape), np.zeros((*visible.shape, 1))
    total[1:] += moved
    total[:-1] += moved
    count[1:] += both
    count[:-1] += both
    return np.asarray(total / np.maximum(count, 1))


def in_out_events(visible: Array, step: int = 1) -> tuple[Event, ...]:
    """Where visibility (T, N) begins or ends: at the first row that differs. O(TN)."""
    change = np.diff(visible.astype(int), axis=0)
    return tuple(
        Event("in" if change[t, i] > 0 else "out", (int(i),), int(t + 1) * step)
        for t, i in np.argwhere(change)
    )


def proposed_collisions(centres: Array, visible: Array, step: int = 5) -> tuple[Event, ...]:
    """Collisions guessed from tracks, each pair once, as the released code does. O(T N^2).

    A proposal is a local maximum of |v_t - v_(t-1)| over an object's visible rows, above 0.003 and below 5
    pixels a frame; its partner is the nearest visible object, if within `PARTNER`.

    Args:
        centres: (T, N, 2) pixels.
        visible: (T, N).
        step: frames between rows.
    """
    speed = velocities(centres, visible, step)
    found: dict[frozenset[int], Event] = {}
    for item in range(visible.shape[1]):
        rows = np.flatnonzero(visible[:, item])
        jump = np.zeros(len(rows))
        jump[1:] = np.linalg.norm(np.diff(speed[rows, item], axis=0), axis=-1)
        inner = jump[1:-1]
        peak = (inner > jump[:-2]) & (inner > jump[2:]) & (inner > _JUMP[0]) & (inner < _JUMP[1])
        for row in rows[1:-1][peak]:
            far = np.linalg.norm(centres[row] - centres[row, item], axis=-1)
            far[~visible[row]] = np.inf
            far[item] = np.inf
            other = int(far.argmin())
            if far[other] < PARTNER:
                pair = frozenset((item, other))
                found.setdefault(pair, Event("collision", (item, other), int(row) * step))
    return tuple(found.values())


def true_collisions(hits: Array) -> tuple[Event, ...]:
    """Collisions of a simulated clip, by frame; contacts of a pair within 10 frames are one. O(T N^2).

    Args:
        hits: (T, N, N) bool of `mien.synth.Trajectory`.
    """
    last: dict[tuple[int, int], int] = {}
    found = []
    for t, i, j in np.argwhere(np.triu(hits, 1)).tolist():
        if t - last.get((i, j), -_REST - 1) > _REST:
            found.append(Event("collision", (i, j), t))
        last[i, j] = t
    return tuple(found)


def things_of(objects: Objects, clip: int) -> tuple[Thing, ...]:
    """The objects of one clip in words."""
    columns = (objects.colour, objects.material, objects.shape, objects.mass, objects.charge)
    return tuple(
        Thing(COLOURS[c], MATERIALS[m], SHAPES[s], plain(mass), int(charge))
        for c, m, s, mass, charge in zip(*(a[clip] for a in columns), strict=True)
    )


def plain(value: float) -> float:
    """5.0 -> 5: numbers as the files and answers write them."""
    return int(value) if value == int(value) else float(value)


def to_pixels(x: Array, view: float) -> Array:
    """World units (..., 2), y up, to pixels, y down: the picture shows |y| <= view around the origin."""
    scale = HEIGHT / 2 / view
    return np.asarray(x * np.array([scale, -scale]) + np.array([WIDTH / 2, HEIGHT / 2]))


def inside(centres: Array) -> Array:
    """Which centres (..., 2) lie in the picture."""
    return np.asarray(((centres >= 0) & (centres <= np.array([WIDTH, HEIGHT]))).all(-1))


def pairs_of(events: Sequence[Event]) -> set[frozenset[int]]:
    """The unordered pairs that collide."""
    return {frozenset(e.objects) for e in events if e.kind == "collision"}
