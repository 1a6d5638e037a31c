"""Answers without training: found masses, charges and paths become a scene that ComPhy's programs run on.

z_m and |z_c| are split in two without labels; the laws' paths give what will happen, and what would.
World units; frames of the video.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mien.core.errors import ShapeError
from mien.synth.comphy_program import PROPERTIES, Executor, counterfactual
from mien.synth.comphy_scene import (
    Change,
    ComPhyScene,
    Event,
    Thing,
    in_out_events,
    inside,
    to_pixels,
    true_collisions,
)

Array = NDArray[Any]
LIGHT, HEAVY = 1, 5
APART = 3.0
"""Least gap of two groups, in standard deviations within them; two halves of one normal have 2.65."""


class Split(NamedTuple):
    """Two groups of numbers, by their means.

    Attributes:
        low: mean of the lower group.
        high: mean of the upper one; infinite if there is but one group.
    """

    low: float
    high: float

    @property
    def border(self) -> float:
        """Halfway."""
        return (self.low + self.high) / 2


def two_means(values: Array, apart: float = APART) -> Split:
    """The split of numbers that leaves the least squared distance to the means of both sides. O(n log n).

    Args:
        values: any shape; those that are not finite are left out.
        apart: a gap of the means below this many standard deviations within the groups is none.
    """
    x = np.sort(np.asarray(values, float)[np.isfinite(values)])
    if len(x) < 2 or x[0] == x[-1]:
        return Split(float(x.mean()) if len(x) else 0.0, np.inf)
    count = np.arange(1, len(x))
    total = np.cumsum(x)[:-1]
    low, high = total / count, (x.sum() - total) / (len(x) - count)
    within = np.square(x).sum() - count * low**2 - (len(x) - count) * high**2
    best = int(within.argmin())
    spread = np.sqrt(max(within[best], 0.0) / len(x))
    if high[best] - low[best] < apart * spread:
        return Split(float(x.mean()), np.inf)
    return Split(float(low[best]), float(high[best]))


class Thresholds(NamedTuple):
    """Where light ends and heavy begins, and neutral and charged.

    Attributes:
        mass: of z_m.
        charge: of |z_c|.
    """

    mass: Split
    charge: Split


def thresholds_of(z_m: Array, z_c: Array, *, apart: float = APART) -> Thresholds:
    """`two_means` of z_m and |z_c| of all objects of many sets, without labels; ``apart`` 0 always splits."""
    return Thresholds(two_means(z_m, apart), two_means(np.abs(z_c), apart))


def labelled(looks: Sequence[Thing], z_m: Array, z_c: Array, thresholds: Thresholds) -> tuple[Thing, ...]:
    """Objects of these looks with a mass of 1 or 5 and a charge of -1, 0 or 1; the first charged one has 1.

    Args:
        looks: N objects; their masses and charges are not looked at.
        z_m: (N,).
        z_c: (N,).
        thresholds: of `thresholds_of`.

    Raises:
        ShapeError: other numbers of objects.
    """
    if np.shape(z_m) != (len(looks),) or np.shape(z_c) != (len(looks),):
        raise ShapeError(
            f"z_m and z_c of {len(looks)} objects are needed, got {np.shape(z_m)}, {np.shape(z_c)}"
        )
    mass = np.where(np.asarray(z_m) > thresholds.mass.border, HEAVY, LIGHT)
    charge = np.where(np.abs(z_c) > thresholds.charge.border, np.sign(z_c), 0).astype(int)
    if charge.any():
        charge = charge * charge[charge != 0][0]
    found = zip(looks, mass.tolist(), charge.tolist(), strict=True)
    return tuple(thing._replace(mass=m, charge=q) for thing, m, q in found)


def changes_of(things: Sequence[Thing]) -> list[Change]:
    """Each change that a program can ask for, once."""
    asked = [counterfactual(t, i, word) for i, t in enumerate(things) for word in PROPERTIES]
    return list(dict.fromkeys(change for change in asked if change))


def with_change(
    z_m: Array, z_c: Array, things: Sequence[Thing], change: Change, thresholds: Thresholds
) -> tuple[Array, Array]:
    """z_m and z_c (N,) under a change: the mass by the factor between groups, the charge to 0 or turned."""
    z_m, z_c = np.array(z_m, float), np.array(z_c, float)
    own = things[change.item]
    if change.what == "mass":
        z_m[change.item] += np.sign(change.value - own.mass) * _step(thresholds.mass)
    elif change.value != own.charge:
        z_c[change.item] *= -1 if change.value else 0
    return z_m, z_c


def _step(split: Split) -> float:
    """From the lower group to the upper one; the logarithm of 5 where there is but one."""
    return split.high - split.low if np.isfinite(split.high) else float(np.log(HEAVY / LIGHT))


class Motion(NamedTuple):
    """Paths, sampled.

    Attributes:
        place: (..., T, N, 2) world units, x right and y up; NaN = nowhere.
        first: frame of the first row.
        step: frames between rows.
    """

    place: Array
    first: int
    step: int


def contacts(motion: Motion, touch: float) -> tuple[Event, ...]:
    """Collisions of a path: two objects that go on as before would touch before the next row.

    Those of a pair within 10 frames are one. Unlike `proposed_collisions` it needs ``touch``, and no jump of
    the velocity; of true paths at every third frame it misses about 1 pair in 100. O(T N^2).

    Args:
        motion: one clip, (T, N, 2), of two rows or more.
        touch: distance of two centres at a collision.

    Raises:
        ShapeError: another shape.
    """
    place, first, step = motion
    if place.ndim != 3 or place.shape[-1] != 2 or len(place) < 2:
        raise ShapeError(f"a path is (T, N, 2) of two rows or more, got {place.shape}")
    i, j = np.triu_indices(place.shape[1], 1)
    apart = place[:, i] - place[:, j]
    moved = np.diff(apart, axis=0)
    before = np.concatenate([moved[:1], moved])
    closing = -(apart * before).sum(-1)
    when = np.clip(closing / np.maximum(np.square(before).sum(-1), 1e-12), 0, 1)
    near = np.linalg.norm(apart + when[..., None] * before, axis=-1)
    row, pair = np.nonzero((near < touch) & (closing > 0))
    frame = first + np.rint((row + when[row, pair]) * step).astype(int)
    hits = np.zeros((first + len(place) * step + 1, place.shape[1], place.shape[1]), bool)
    hits[frame, i[pair], j[pair]] = True
    return true_collisions(hits)


Roll = Callable[[Array, Array], Motion]
"""z_m and z_c, (C, N) each, to C paths of the objects of one video from its start to beyond its end."""


def predicted_scene(
    seen: ComPhyScene,
    future: Motion,
    z_m: Array,
    z_c: Array,
    thresholds: Thresholds,
    what_if: Roll,
    *,
    touch: float,
    view: float,
) -> ComPhyScene:
    """What programs see when nothing is told but looks and what is shown. O(C T N^2) and ``what_if``.

    Args:
        seen: looks, events and centres; what comes after ``shown``, masses and charges are not looked at.
        future: the path (T, N, 2) from half a second before the end of what is shown, as seen, then as
            predicted: what goes on from there is no new collision.
        z_m: (N,) found masses.
        z_c: (N,) found charges.
        thresholds: of `thresholds_of`.
        what_if: paths under changes, all in one call.
        touch: see `contacts`.
        view: world units from the middle of the picture to its upper edge.

    Raises:
        ShapeError: other numbers of objects.
    """
    things = labelled(seen.things, z_m, z_c, thresholds)
    rows = -(-seen.shown // seen.step)
    later = to_pixels(_resampled(future, rows * seen.step, seen.step), view)
    centres = np.concatenate([seen.centres[:rows], later])
    visible = np.concatenate([seen.visible[:rows], inside(later)])
    gone = _after(in_out_events(visible, seen.step), seen.shown)
    changes = changes_of(things)
    latents = [with_change(z_m, z_c, things, change, thresholds) for change in changes]
    paths = what_if(*(np.stack(z) for z in zip(*latents, strict=True)))
    would = (contacts(paths._replace(place=place), touch) for place in paths.place)
    return replace(
        seen,
        things=things,
        in_out=(*_before(seen.in_out, seen.shown), *gone),
        collisions=(*_before(seen.collisions, seen.shown), *_after(contacts(future, touch), seen.shown)),
        centres=centres,
        visible=visible,
        counterfactuals=dict(zip(changes, would, strict=True)),
    )


def _before(events: Sequence[Event], frame: int) -> tuple[Event, ...]:
    return tuple(e for e in events if e.frame is not None and e.frame < frame)


def _after(events: Sequence[Event], frame: int) -> tuple[Event, ...]:
    return tuple(e for e in events if e.frame is not None and e.frame >= frame)


def _resampled(motion: Motion, start: int, step: int) -> Array:
    """A path (T, N, 2) at frames start, start + step ... to its end, straight between its own rows."""
    place, first, own = motion
    known = first + own * np.arange(len(place))
    wanted = np.arange(start, known[-1] + 1, step)
    flat = place.reshape(len(place), -1)
    found = [np.interp(wanted, known, column) for column in flat.T]
    return np.stack(found, -1).reshape(len(wanted), *place.shape[1:])


def symbolic_answers(
    scene: ComPhyScene, questions: Sequence[Mapping[str, Any]], compat: bool = True
) -> list[str | list[str]]:
    """What the programs of questions answer about a scene; a list of "correct" and "wrong" for choices."""
    executor = Executor(scene, compat)
    return [executor.answer(question) for question in questions]
