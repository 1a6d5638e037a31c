"""One clip of a user, looked at and explained: its objects, their paths, and what these tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mien.methods.phycine.concepts import Latents
from mien.methods.phycine.found import Gaussians, matched_parts, set_latents, shared_latents
from mien.methods.phycine.model import Normal, Phycine, PhysLatents, fit_settings
from mien.methods.phycine.perception import Percepts
from mien.methods.phycine.sight import Seen, SeenSets, linked, object_columns, seen_of
from mien.methods.phycine.threshold import pieces
from mien.methods.phycine.tracks import Tracks

STILL = 0.1
"""World units: paths that stay within so little show no motion; seen places tremble by half as much."""
_WRONG, _INNER = 0.25, 16  # error of a colour, and pixels inside a piece of wrong ones, that nothing explains


@dataclass(frozen=True, eq=False)
class WatchedClip:
    """A clip of T frames, K slots.

    Attributes:
        video: (1, T, 3, H, W) in [0, 1].
        percepts: of it, slots linked.
        tracks: of all slots; rare ones, which show no object, are absent.
        slots: N numbers of the slots that show an object, the longest seen first.
        seen: paths and looks of these N.
        latents: of all slots; None: the clip is too short to tell.
    """

    video: Tensor
    percepts: Percepts
    tracks: Tracks
    slots: tuple[int, ...]
    seen: Seen
    latents: PhysLatents | None

    @property
    def travelled(self) -> float:
        """The longest side of the box around an object's path, world units. O(T N)."""
        there, place = self.seen.present[..., None], self.seen.place
        sides = sum(torch.where(there, x, -torch.inf).amax(1) for x in (place, -place))
        return max(0.0, float(torch.as_tensor(sides).amax()))

    @property
    def unexplained(self) -> int:
        """Pieces of a frame that no slot draws, of an object's size: median over the frames. O(T H W)."""
        counts = [
            pieces(x, r, _WRONG, _INNER).max()
            for x, r in zip(_pictures(self.video), _pictures(self.percepts.recon), strict=True)
        ]
        if self.percepts.left_out is not None:
            counts = self.percepts.left_out[0].tolist()
        return int(np.median(counts))


def _pictures(video: Tensor) -> NDArray[np.float64]:
    return video[0].permute(0, 2, 3, 1).double().cpu().numpy()


def watch(net: Phycine, video: Tensor) -> WatchedClip:
    """Looks at a clip (1, T, 3, H, W) and explains it. O(T K H W + steps T K^2).

    Slots that show something in few frames only are left out (`object_columns`).
    """
    percepts, tracks = linked(net.perception, video)
    columns = object_columns(tracks.present)
    chosen = torch.zeros_like(tracks.present[:, 0]).index_fill(1, columns[0], value=True)
    tracks = replace(tracks, present=tracks.present & chosen[:, None])
    codes = percepts.slots[..., 2:]
    slots = tuple(columns[0].tolist()) if tracks.present.any() else ()
    long_enough = video.shape[1] > net.config.window
    latents = net.explain(tracks, codes) if long_enough else None
    return WatchedClip(video, percepts, tracks, slots, seen_of(tracks, codes), latents)


def with_references(net: Phycine, first: WatchedClip, others: Sequence[WatchedClip]) -> WatchedClip:
    """The first clip with what the others tell of its objects' masses and charges.

    The product of the clips' Gaussians (`set_latents`), its mean refined on all clips at once
    (`shared_latents`). A clip that is too short or empty tells nothing. O(steps clips T N^2 + clips N^3).
    """
    telling = [c for c in others if c.latents is not None and c.slots]
    if first.latents is None or not first.slots or not telling:
        return first
    found = _found(first, first.latents)
    parts = matched_parts(SeenSets(first.seen, first.seen, 1), 0)
    for other in telling:
        assert other.latents is not None
        seen = SeenSets(first.seen, other.seen, 1)
        found = set_latents(found, _found(other, other.latents), seen, 1)
        parts += matched_parts(seen, 1)[1:]
    means = shared_latents(net.laws, fit_settings(net.config), found.mean, parts, net.dt)
    at = torch.tensor(first.slots, device=first.video.device)
    old = (first.latents.mass, first.latents.charge)
    mass, charge = (
        Normal(z.mean.index_copy(1, at, mean), z.std.index_copy(1, at, std))
        for z, mean, std in zip(old, means, found.std, strict=True)
    )
    return replace(first, latents=first.latents._replace(mass=mass, charge=charge))


def _found(clip: WatchedClip, latents: PhysLatents) -> Gaussians:
    """Of the objects alone."""
    at = list(clip.slots)
    mean, std = (
        Latents(*(getattr(z, n)[:, at] for z in (latents.mass, latents.charge))) for n in ("mean", "std")
    )
    return Gaussians(mean, std)
