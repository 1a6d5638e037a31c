"""Pictures of codes, without gradients: planes and grid of density once a code, then any cameras."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mien.core.errors import ConfigError
from mien.methods.otavatar.model import AvatarNet
from mien.render.triplane_fast import BakedField, bake_planes, render_baked

_CHUNK = 16  # codes whose planes are held at a time


class Drawn(NamedTuple):
    """Pictures of N codes from V cameras each.

    Attributes:
        rgb: (N, V, 3, S, S) in [-1, 1], on white.
        depth: (N, V, S, S) distance along the ray.
        opacity: (N, V, S, S).
    """

    rgb: Tensor
    depth: Tensor
    opacity: Tensor


@torch.no_grad()
def bake(net: AvatarNet, ws: Tensor) -> BakedField:
    """Style codes (B, slots, W) as fields that any camera can look at."""
    return bake_planes(net.planes(ws), net.generator.decoder.plain(), net.config.settings())


@torch.no_grad()
def draw(net: AvatarNet, ws: Tensor, cameras: Tensor, size: int) -> Drawn:
    """Style codes seen by cameras. O(N (planes + V points)); memory O(N V S^2).

    Args:
        net: in eval mode.
        ws: (N, slots, W) of `AvatarNet.moved`.
        cameras: (N, V, 25).
        size: S.
    """
    parts = []
    for codes, views in zip(ws.split(_CHUNK), cameras.split(_CHUNK), strict=True):
        field = bake(net, codes)
        seen = [render_baked(field, views[:, v], size) for v in range(views.shape[1])]
        parts.append(Drawn(
            torch.stack([s.rgb.clamp(-1, 1) for s in seen], 1),
            torch.stack([s.depth[:, 0] for s in seen], 1),
            torch.stack([s.opacity[:, 0] for s in seen], 1),
        ))  # fmt: skip
    return Drawn(*(torch.cat(x) for x in zip(*parts, strict=True)))


@torch.no_grad()
def draw_enlarged(net: AvatarNet, ws: Tensor, cameras: Tensor) -> Tensor:
    """Style codes seen by cameras, through super-resolution: (N, V, 3, S, S) in [-1, 1].

    O(N (planes + V (points + enlarging))).

    Args:
        net: in eval mode.
        ws: (N, slots, W).
        cameras: (N, V, 25).

    Raises:
        ConfigError: the net has no super-resolution.
    """
    enlarge = net.generator.super_resolution
    if enlarge is None:
        raise ConfigError("the net has no super-resolution; train method.stage='sr' on it")
    parts = []
    for codes, views in zip(ws.split(_CHUNK), cameras.split(_CHUNK), strict=True):
        field = bake(net, codes)
        raw = [render_baked(field, views[:, v], enlarge.side) for v in range(views.shape[1])]
        parts.append(torch.stack([enlarge(r.rgb, r.features, codes).clamp(-1, 1) for r in raw], 1))
    return torch.cat(parts)
