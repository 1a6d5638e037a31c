"""Self- and cross-reenactment of test people: what is inverted, what is drawn, and what is true."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mien.core.seeds import derive
from mien.data.talking import TalkingHeads
from mien.data.talking_loader import TalkingBatch, talking_batch
from mien.methods.otavatar.inversion import Inversion, InversionSettings, invert_codes
from mien.methods.otavatar.model import AvatarNet
from mien.methods.otavatar.rays import TargetRays, pick_rays

Motion = Literal["moved", "late", "still"]
"""moved: the controller is in the loop of the inversion (dbi); late: it only moves what was inverted without
it (naive); still: there is no motion (static)."""


@dataclass(frozen=True)
class Source:
    """One frame of each of P people, and the code that was found for it.

    Attributes:
        batch: (P, 1, 1) the front view of the source moments.
        found: the inversion.
        dw: (P, slots, W) motion of the source frame, None unless ``moved``.
    """

    batch: TalkingBatch
    found: Inversion
    dw: Tensor | None


def expressive(heads: TalkingHeads) -> NDArray[np.int64]:
    """(P, M) moments of each person, the one with the strongest expression first."""
    rows = heads.tracks[np.arange(len(heads.tracks))[:, None], heads.moments]
    return np.asarray(np.argsort(-np.abs(rows).sum(2), axis=1, kind="stable"))


def moments_of(
    heads: TalkingHeads, moments: NDArray[np.int64], views: list[int], radius: int
) -> TalkingBatch:
    """(P, 1, V) one moment of every person.

    Args:
        heads: P people.
        moments: (P,).
        views: which cameras.
        radius: of the windows.
    """
    people = np.arange(len(moments))
    cameras = np.broadcast_to(np.array(views), (len(moments), 1, len(views)))
    return talking_batch(heads, heads.windows(radius), people, moments[:, None], cameras)


def motion_of(net: AvatarNet, windows: Tensor) -> Tensor:
    """Motion dw (N, slots, W) of windows (N, C, L)."""
    with torch.no_grad():
        dw: Tensor = net.controller(windows)[0]
    return dw


def invert_frames(
    net: AvatarNet, batch: TalkingBatch, motion: Motion, settings: InversionSettings, seed: int = 0
) -> Source:
    """Codes of people from their first view each, as a user would: the surface is not known.

    Args:
        net: in eval mode.
        batch: (P, 1, V).
        motion: whether the controller is in the loop.
        settings: of the search.
        seed: of the rays.
    """
    own = net.config
    front = 2 * batch.images[:, 0, 0, :3] - 1
    with torch.no_grad():
        start = net.encode(front)
    dw = None
    if motion == "moved":
        dw = motion_of(net, batch.windows[:, 0])
        start = start - dw[:, : net.generator.num_ws].mean(1, keepdim=True)
    generator = torch.Generator(front.device).manual_seed(derive(seed, "inversion"))
    unknown = torch.full_like(batch.depth[:, 0, :1], float("nan"))

    def rays(step: int) -> TargetRays:
        return pick_rays(
            batch.images[:, 0, :1], unknown, batch.cameras[:, 0, :1], batch.points[:, 0], own.rays,
            face=own.face, parts=own.parts, generator=generator,
        )  # fmt: skip

    found = invert_codes(net, rays, dw, start, settings, seed=derive(seed, "samples"))
    return Source(batch, found, dw)


def codes_for(net: AvatarNet, source: Source, windows: Tensor, motion: Motion) -> Tensor:
    """Style codes (P, slots, W) of the inverted people in another moment (P, C, L)."""
    return net.moved(source.found.w_id, None if motion == "still" else motion_of(net, windows))


def at_size(images: Tensor, size: int) -> Tensor:
    """(N, V, 4, S, S) in [0, 1] -> RGB (N, V, 3, size, size) in [-1, 1], by area."""
    rgb = 2 * images[:, :, :3] - 1
    if rgb.shape[-1] == size:
        return rgb
    small: Tensor = F.interpolate(rgb.flatten(0, 1), (size, size), mode="area").unflatten(0, rgb.shape[:2])
    return small
