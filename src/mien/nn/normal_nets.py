"""Pictures to maps of normals: a small U-Net and the global generator of pix2pixHD.

Source: Wang et al. (arXiv 1711.11585), as used for normals by PIFuHD (arXiv 2004.00452) and ICON
(arXiv 2112.09127).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien.core.errors import ConfigError, ShapeError


def _check(x: Tensor, mask: Tensor, inputs: int, halvings: int) -> None:
    unit = 1 << halvings
    if x.ndim != 4 or x.shape[1] != inputs or any(n < unit or n % unit for n in x.shape[2:]):
        raise ShapeError(
            f"expected (B, {inputs}, H, W) with sides a multiple of {unit}, got {tuple(x.shape)}"
        )
    if mask.shape != (x.shape[0], 1, *x.shape[2:]):  # len(x) would fix the batch of an export
        raise ShapeError(f"mask must be {(len(x), 1, *x.shape[2:])}, got {tuple(mask.shape)}")


def _two_convs(inputs: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in (inputs, outputs):
        layers += [nn.Conv2d(width, outputs, 3, padding=1), nn.GroupNorm(8, outputs), nn.ReLU()]
    return nn.Sequential(*layers)


class NormalUNet(nn.Module):
    """U-Net with two 3x3 convolutions a level, group norm, tanh; the output times the mask.

    Args:
        inputs: channels: 6 = picture and normals of the body.
        widths: channels of the levels, each of half the side; multiples of 8.

    Raises:
        ConfigError: widths that are no multiples of 8, or fewer than two.

    >>> NormalUNet()(torch.zeros(2, 6, 32, 32), torch.ones(2, 1, 32, 32)).shape
    torch.Size([2, 3, 32, 32])
    """

    def __init__(self, inputs: int = 6, widths: Sequence[int] = (16, 32, 64, 128)) -> None:
        super().__init__()
        if len(widths) < 2 or any(w < 8 or w % 8 for w in widths):
            raise ConfigError(f"widths={tuple(widths)} must be two or more multiples of 8")
        self.inputs = inputs
        self.down = nn.ModuleList(_two_convs(i, o) for i, o in pairwise((inputs, *widths)))
        self.up = nn.ModuleList(_two_convs(low + high, high) for high, low in pairwise(widths))
        self.last = nn.Conv2d(widths[0], 3, 3, padding=1)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, inputs, H, W), mask (B, 1, H, W) -> normals (B, 3, H, W) in [-1, 1], 0 outside the mask.

        O(B H W widths^2).

        Raises:
            ShapeError: other channels, or sides that cannot be halved once a level.
        """
        _check(x, mask, self.inputs, len(self.down) - 1)
        kept: list[Tensor] = []
        for level in self.down:
            x = level(F.avg_pool2d(x, 2) if kept else x)
            kept.append(x)
        for level, beside in zip(reversed(self.up), reversed(kept[:-1]), strict=True):
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = level(torch.cat([x, beside], 1))
        return cast("Tensor", self.last(x).tanh() * mask)


class _ResidualBlock(nn.Module):
    """X + norm(conv(relu(norm(conv(x))))), each convolution 3x3 on a reflected border."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = [nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3), nn.InstanceNorm2d(channels)]
        again = [nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3), nn.InstanceNorm2d(channels)]
        self.body = nn.Sequential(*half, nn.ReLU(), *again)

    def forward(self, x: Tensor) -> Tensor:
        return cast("Tensor", x + self.body(x))


class GlobalGenerator(nn.Module):
    """pix2pixHD's global generator: 7x7, convolutions of stride 2, residual blocks, and the way back; tanh.

    Instance norm without parameters and ReLU after each convolution but the last; output times the mask.

    Args:
        inputs: channels: 6 = picture and normals of the body, 3 = picture alone (PIFuHD).
        channels: of the first layer; doubled at each halving of the side.
        halvings: convolutions of stride 2.
        blocks: residual blocks at the smallest size.
    """

    def __init__(self, inputs: int = 6, channels: int = 64, *, halvings: int = 4, blocks: int = 9) -> None:
        super().__init__()
        if min(inputs, channels, halvings, blocks) < 1:
            raise ConfigError("inputs, channels, halvings and blocks must be at least 1")
        self.inputs, self.halvings = inputs, halvings
        widths = [channels << k for k in range(halvings + 1)]
        layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(inputs, channels, 7)]
        for i, o in pairwise(widths):
            layers += [nn.InstanceNorm2d(i), nn.ReLU(), nn.Conv2d(i, o, 3, 2, 1)]
        layers += [nn.InstanceNorm2d(widths[-1]), nn.ReLU()]
        layers += [_ResidualBlock(widths[-1]) for _ in range(blocks)]
        for o, i in reversed(list(pairwise(widths))):
            layers += [nn.ConvTranspose2d(i, o, 3, 2, 1, output_padding=1), nn.InstanceNorm2d(o), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(channels, 3, 7), nn.Tanh())

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, inputs, H, W), mask (B, 1, H, W) -> normals (B, 3, H, W) in [-1, 1], 0 outside the mask.

        O(B H W channels^2).

        Raises:
            ShapeError: other channels, or sides that cannot be halved so often.
        """
        _check(x, mask, self.inputs, self.halvings)
        return cast("Tensor", self.layers(x) * mask)
