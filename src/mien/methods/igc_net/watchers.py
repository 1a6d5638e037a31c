"""What goes wrong without labels, found and mended: dead parts, hollow faces, a lost foreground."""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from mien.methods.igc_net.model import IGCNet

LEAST_SHARE = 0.01
LEAST_AREA, MOST_AREA = 0.05, 0.95
HOLLOW = -0.2


class Health(NamedTuple):
    """Of a batch of objects.

    Attributes:
        dead: numbers of parts (from 0) that win hardly a pixel.
        dome: correlation of nearness with a centred dome over the foreground, in [-1, 1].
        hollow: the face is concave.
        area: mean share of the foreground.
        collapsed: the foreground is nothing or all.
    """

    dead: list[int]
    dome: float
    hollow: bool
    area: float
    collapsed: bool


def part_shares(visibility: Tensor) -> Tensor:
    """Share of pixels that each part wins, (M,), of V (B, M + 1, H, W). O(B M H W)."""
    layers = visibility.shape[1]
    won = visibility.argmax(1).flatten().bincount(minlength=layers)
    return won[1:] / won.sum()


def dome_correlation(depth: Tensor, mask: Tensor | None = None) -> float:
    """Mean over B of corr(-D, sqrt(max(0, 2 - x^2 - y^2))), x and y in [-1, 1]; 0 if flat. O(B H W).

    Args:
        depth: (B, H, W).
        mask: (B, H, W) bool, the foreground: its step to the background alone would look like a dome.
    """
    y, x = (torch.linspace(-1, 1, n, dtype=depth.dtype, device=depth.device) for n in depth.shape[1:])
    dome = (2 - x.square()[None, :] - y.square()[:, None]).clamp_min(0).sqrt().flatten()
    weight = torch.ones_like(depth) if mask is None else mask.to(depth.dtype)
    weight = weight.flatten(1) / weight.flatten(1).sum(1, keepdim=True).clamp_min(1.0)
    near, dome = (v - (weight * v).sum(1, keepdim=True) for v in (-depth.flatten(1), dome[None]))
    norms = (weight * near.square()).sum(1) * (weight * dome.square()).sum(1)
    return float(((weight * near * dome).sum(1) / norms.sqrt().clamp_min(1e-9)).mean())


@torch.no_grad()
def health(depth: Tensor, visibility: Tensor) -> Health:
    """Of canonical depths (B, H, W) and visibilities (B, M + 1, H, W)."""
    shares, dome = part_shares(visibility), dome_correlation(depth, visibility[:, 0] < 0.5)
    area = float(1 - visibility[:, 0].mean())
    dead = (shares < LEAST_SHARE).nonzero().flatten().tolist()
    has_background = bool(visibility[:, 0].any())
    collapsed = area < LEAST_AREA or (has_background and area > MOST_AREA)
    return Health(dead, dome, dome < HOLLOW, area, collapsed)


@torch.no_grad()
def revive_part(net: IGCNet, part: int, like: int, rng: torch.Generator, spread: float = 0.1) -> None:
    """A dead part begins anew near a living one: its query is that one's plus N(0, spread^2).

    Without a shared decoder it also takes that part's decoders.
    """
    queries = net.queries
    noise = torch.randn(queries.shape[1], generator=rng, device=rng.device).to(queries)
    queries[part] = queries[like] + spread * noise
    for decoders in (net.shape_decoders, net.albedo_decoders):
        if len(decoders) > 1:
            decoders[part].load_state_dict(decoders[like].state_dict())


@torch.no_grad()
def turn_inside_out(net: IGCNet) -> None:
    """A hollow face becomes a solid one that looks nearly the same.

    Depths are mirrored at the middle of their range, rotations about x and y and the light's x and y change
    their signs. From afar the picture stays: a hollow face that turns left looks like one that turns right.
    """
    for decoder in net.shape_decoders:
        _negate(cast("nn.Conv2d", decoder.last), [0])
    _negate(_head(net.view_net), [0, 1])
    if net.light_net is not None:
        _negate(_head(net.light_net), [2, 3])


@torch.no_grad()
def mend(net: IGCNet, image: Tensor, single: bool, seed: int) -> Health:
    """Looks at a batch (B, 3, S, S) and mends the net in place: O(B M S^2 width).

    A hollow face is turned inside out; a dead part begins anew near the one that is seen most. Decided from
    what all processes see, so that their nets stay alike.

    Args:
        net: in training.
        image: pictures in [0, 1].
        single: one capsule is the whole face, so no part can be dead.
        seed: of what dead parts begin with; alike in all processes.

    Returns:
        What was found.
    """
    obj = net.encode(image, single=single)
    visibility, depth = gathered(obj.visibility), gathered(obj.depth)
    found = health(depth, visibility)
    if found.hollow:
        turn_inside_out(net)
    if not single and len(found.dead) < net.config.parts:
        most, rng = int(part_shares(visibility).argmax()), torch.Generator().manual_seed(seed)
        for part in found.dead:
            revive_part(net, part, most, rng)
    return found


def gathered(values: Tensor) -> Tensor:
    """Rows (B, ...) of all processes, in the order of the processes; without several, as they are."""
    import torch.distributed as dist

    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return values
    rows = [torch.empty_like(values) for _ in range(dist.get_world_size())]
    dist.all_gather(rows, values.contiguous())
    return torch.cat(rows)


def _head(encoder: nn.Sequential) -> nn.Conv2d:
    """The last convolution of an encoder."""
    return cast("nn.Conv2d", encoder[-2])


def _negate(layer: nn.Conv2d, outputs: list[int]) -> None:
    layer.weight[outputs] *= -1
    if layer.bias is not None:
        layer.bias[outputs] *= -1
