"""What ComPhy's programs see of sets of videos of which nothing is told but looks.

Paths, masses and charges are found, events are read off the paths, and the laws say what comes next and what
would. World units; rows of a path are ``stride`` frames apart.

Looks (the words for colour, material and shape) are told from the truth, through the slot that shows the
object; slots that show none are left out. An object that no slot shows has its looks, is light and uncharged,
and is nowhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mien.core.errors import DataError
from mien.data.physical import PhysicalSet
from mien.methods.phycine.concepts import Latents
from mien.methods.phycine.forecast import FITTED, At, Start, explained_start, forecast
from mien.methods.phycine.symbolic import Motion, Split, Thresholds, contacts, predicted_scene
from mien.synth.comphy_scene import ComPhyScene, Thing, in_out_events, inside, to_pixels
from mien.synth.comphy_set import VIEW

Array = NDArray[Any]
_BOUNCES = 0.1  # quantile of the nearest approaches: many are bounces, and only by noise are some nearer
_SOFT = 1.1  # at which rollouts of the trained laws bend two slow bodies apart
_NEAR_END = 5  # rows that tell how a path goes on where it is not seen


NOTHING_FOUND = Thresholds(Split(0.0, np.inf), Split(0.0, np.inf))
"""With these all objects are light and uncharged."""


class FoundObjects(NamedTuple):
    """The N objects of S targets, in the order of the true ones; N of the set that has most.

    Attributes:
        place: (S, T, N, 2) in what is shown.
        present: (S, T, N) bool; never, of an object that no slot shows.
        latents: (S, N) each; 0 of an object that no slot shows.
    """

    place: Tensor
    present: Tensor
    latents: Latents


def whole_path(place: Array, present: Array) -> Array:
    """Paths (T, N, 2) without gaps: straight between what is seen, and beyond it; NaN if nothing is. O(T N).

    An object is not seen where the border cuts it, half a second before its centre leaves the picture.

    Args:
        place: (T, N, 2).
        present: (T, N) bool.
    """
    rows = np.arange(len(place))
    path = np.full(place.shape, np.nan)
    for k in range(place.shape[1]):
        at = np.flatnonzero(present[:, k])
        if not len(at):
            continue
        seen = place[at, k]
        path[:, k] = np.stack([np.interp(rows, at, column) for column in seen.T], -1)
        for end, own in ((at[0], slice(None, _NEAR_END)), (at[-1], slice(-_NEAR_END, None))):
            beyond = rows < end if end == at[0] else rows > end
            if len(at) > 1 and beyond.any():
                slope = np.polyfit(at[own], seen[own], 1)[0]
                path[beyond, k] = path[end, k] + (rows[beyond] - end)[:, None] * slope
    return path


def touch_of(place: Array, present: Array) -> float:
    """Distance of two centres at a collision, without labels: a low quantile of nearest approaches.

    Of all local minima of the distance of pairs; bodies do not overlap, so collisions crowd just above it.
    O(B T N^2).

    Args:
        place: (B, T, N, 2) of clips of one world, objects of one size.
        present: (B, T, N) bool.

    Raises:
        DataError: no pair ever comes nearer and parts again.
    """
    i, j = np.triu_indices(place.shape[2], 1)
    far = np.where(
        present[:, :, i] & present[:, :, j],
        np.linalg.norm(place[:, :, i] - place[:, :, j], axis=-1),
        np.nan,
    )
    least = far[:, 1:-1]
    nearest = least[(least < far[:, :-2]) & (least <= far[:, 2:])]
    if not len(nearest):
        raise DataError("no two objects approach and part in these clips: what a collision is cannot be told")
    return float(np.quantile(nearest, _BOUNCES))


def shown_scene(things: Sequence[Thing], path: Array, touch: float, stride: int) -> ComPhyScene:
    """The scene of a path (T, N, 2) that is shown: events are read off it. O(T N^2)."""
    centres = to_pixels(path, VIEW)
    visible = inside(centres)
    return ComPhyScene(
        tuple(things),
        in_out_events(visible, stride),
        contacts(Motion(path, 0, stride), touch),
        centres,
        visible,
        step=stride,
    )


def found_scenes(
    laws: nn.Module,
    sets: Sequence[PhysicalSet],
    found: FoundObjects,
    thresholds: Thresholds,
    noise: float,
) -> list[ComPhyScene]:
    """A scene of each set: `predicted_scene` of what is found. O(S C T N^2) of the laws, C changes of a set.

    The future goes on from the last `FITTED` rows that are shown. Under a change, places are what is seen and
    foretold plus what the change does to a rollout from the first rows: errors that both rollouts make
    cancel. Learnt collisions are softer than seen ones and begin at `_SOFT` times the distance of those.

    Args:
        laws: velocity changes.
        sets: whose looks are told, and nothing else.
        found: in their targets.
        thresholds: where light ends and charged begins.
        noise: of places, world units.
    """
    clip, shown = sets[0].target, found.place.shape[1]
    stride, last, there = clip.stride, len(clip.place) - 1, found.present.any(1)
    present = found.present.numpy()
    path = np.stack([whole_path(p, q) for p, q in zip(found.place.numpy(), present, strict=True)])
    rows = torch.from_numpy(np.nan_to_num(path)).float()

    def rolled(window: slice, at: At, steps: int) -> tuple[Start, Array]:
        """The start at the first or last row of a window, and what the laws make of it; NaN = nowhere."""
        fitted = rows[:, window]
        known = there[:, None].expand(fitted.shape[:3])
        start = explained_start(laws, fitted, known, found.latents, clip.dt, noise, at)
        return start, _placed(forecast(laws, start, found.latents, steps, clip.dt, there), there)

    begin, base = rolled(slice(0, FITTED), "first", last)
    _, later = rolled(slice(shown - FITTED, shown), "last", last - shown + 1)
    whole = np.concatenate([path, later[:, 1:]], 1)
    touch = touch_of(found.place.numpy(), present)
    scenes = []
    for s, one in enumerate(sets):
        own = len(one.target.things)
        mine = slice(s, s + 1), slice(0, own)

        def what_if(
            z_m: Array, z_c: Array, mine: tuple[slice, slice] = mine, s: int = s, own: int = own
        ) -> Motion:
            count = len(z_m)
            z = Latents(torch.from_numpy(z_m).float(), torch.from_numpy(z_c).float())
            start = Start(*(x[mine].expand(count, -1, -1) for x in begin))
            here = there[mine].expand(count, -1)
            moved = _placed(forecast(laws, start, z, last, clip.dt, here), here) - base[s, :, :own]
            return Motion(whole[s, :, :own] + moved, 0, stride)

        first = shown - FITTED + 1
        future = Motion(whole[s, first:, :own], first * stride, stride)
        z_m, z_c = (z[s, :own].numpy() for z in found.latents)
        seen = shown_scene(one.scene.things, path[s, :, :own], touch, stride)
        scenes.append(
            predicted_scene(seen, future, z_m, z_c, thresholds, what_if, touch=_SOFT * touch, view=VIEW)
        )
    return scenes


def _placed(path: Tensor, there: Tensor) -> Array:
    """Paths (B, T, N, 2), NaN where an object is not there (B, N)."""
    return torch.where(there[:, None, :, None], path, torch.nan).numpy()
