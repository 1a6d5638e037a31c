"""Stacked hourglass: a picture to a map of features at a quarter of its side.

Source: Newell et al. (arXiv 1603.06937), in the form of PIFu, Saito et al. (arXiv 1905.05172): group norm,
blocks whose three convolutions are concatenated, average pooling.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien.core.errors import ConfigError, ShapeError

GROUPS = 32


def group_norm(channels: int, groups: int = GROUPS) -> nn.GroupNorm:
    """Group norm of ``groups`` groups, or of the most that divide both."""
    return nn.GroupNorm(math.gcd(groups, channels), channels)


def _conv(inputs: int, outputs: int, size: int = 3, stride: int = 1, *, bias: bool = False) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=bias)


class ConcatBlock(nn.Module):
    """[a, b, c] + skip with a = conv(x) of C/2 channels, b = conv(a) of C/4 and c = conv(b) of C/4.

    Each 3x3 convolution follows group norm and ReLU; the skip is x, or norm, ReLU and 1x1 where the width
    changes.

    Args:
        inputs: channels.
        outputs: channels C, a multiple of 4.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        widths = (inputs, outputs // 2, outputs // 4, outputs // 4)
        self.norms = nn.ModuleList(group_norm(w) for w in widths[:3])
        self.convs = nn.ModuleList(_conv(i, o) for i, o in pairwise(widths))
        self.skip = (
            nn.Identity()
            if inputs == outputs
            else nn.Sequential(group_norm(inputs), nn.ReLU(), _conv(inputs, outputs, 1))
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H, W)."""
        y, parts = x, []
        for norm, conv in zip(self.norms, self.convs, strict=True):
            y = conv(F.relu(norm(y)))
            parts.append(y)
        return cast("Tensor", torch.cat(parts, 1) + self.skip(x))


class Hourglass(nn.Module):
    """y = block(x) + up(block(inner(block(pool(x))))): ``depth`` levels, each of half the side.

    Args:
        depth: levels, at least 1.
        channels: of x and y.
    """

    def __init__(self, depth: int, channels: int) -> None:
        super().__init__()
        self.beside, self.before, self.after = (ConcatBlock(channels, channels) for _ in range(3))
        self.inner: nn.Module = (
            Hourglass(depth - 1, channels) if depth > 1 else ConcatBlock(channels, channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        y = self.after(self.inner(self.before(F.avg_pool2d(x, 2))))
        y = F.interpolate(y, x.shape[-2:], mode="bicubic", align_corners=True)
        return cast("Tensor", self.beside(x) + y)


class HGFilter(nn.Module):
    """Picture -> one map of features of each stack, at a quarter of the side.

    A 7x7 convolution of stride 2, blocks and an average pooling, then the stacks: hourglass, block, 1x1 with
    norm, 1x1 to the output. Each stack adds its result to what the next one reads.

    Args:
        inputs: channels of the picture.
        channels: of the features; a multiple of 16.
        stacks: hourglasses one after the other.
        depth: levels of each.

    Raises:
        ConfigError: a count below 1, or channels that cannot be split.

    >>> HGFilter(3, 32, stacks=1, depth=2)(torch.zeros(1, 3, 64, 64))[-1].shape
    torch.Size([1, 32, 16, 16])
    """

    def __init__(self, inputs: int = 3, channels: int = 256, *, stacks: int = 4, depth: int = 2) -> None:
        super().__init__()
        if min(inputs, stacks, depth) < 1 or channels < 16 or channels % 16:
            raise ConfigError(
                f"inputs={inputs}, stacks={stacks}, depth={depth} must be at least 1, "
                f"channels={channels} a multiple of 16"
            )
        self.depth = depth
        quarter, half = channels // 4, channels // 2
        self.stem = nn.Sequential(
            _conv(inputs, quarter, 7, 2, bias=True), group_norm(quarter), nn.ReLU(),
            ConcatBlock(quarter, half), nn.AvgPool2d(2), ConcatBlock(half, half), ConcatBlock(half, channels),
        )  # fmt: skip
        self.stacks = nn.ModuleList(
            nn.Sequential(
                Hourglass(depth, channels), ConcatBlock(channels, channels),
                _conv(channels, channels, 1, bias=True), group_norm(channels), nn.ReLU(),
            )
            for _ in range(stacks)
        )  # fmt: skip
        self.outputs = nn.ModuleList(_conv(channels, channels, 1, bias=True) for _ in range(stacks))
        self.merge_state = nn.ModuleList(_conv(channels, channels, 1, bias=True) for _ in range(stacks - 1))
        self.merge_output = nn.ModuleList(_conv(channels, channels, 1, bias=True) for _ in range(stacks - 1))

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, inputs, H, W) -> maps (B, channels, H/4, W/4), one of each stack, the last one the best.

        O(B H W channels^2).

        Raises:
            ShapeError: sides that cannot be halved depth + 2 times.
        """
        sides, unit = x.shape[-2:], 4 << self.depth
        if x.ndim != 4 or any(n < unit or n % unit for n in sides):
            raise ShapeError(f"expected (B, C, H, W) with sides a multiple of {unit}, got {tuple(x.shape)}")
        x, maps = self.stem(x), []
        for i, stack in enumerate(self.stacks):
            state = stack(x)
            maps.append(self.outputs[i](state))
            if i < len(self.merge_state):
                x = x + self.merge_state[i](state) + self.merge_output[i](maps[-1])
        return maps
