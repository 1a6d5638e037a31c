"""A small convolutional net that turns a picture into one vector."""

from __future__ import annotations

from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from mien.core.errors import ConfigError


class _Down(nn.Module):
    """Residual block that halves the side: two 3 x 3 convolutions with group norm beside a 1 x 1 one."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, 2, 1)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1)
        self.norms = nn.ModuleList(nn.GroupNorm(8, outputs) for _ in range(2))
        self.skip = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = F.silu(self.norms[0](self.first(x)))
        y = self.norms[1](self.second(y))
        return F.silu(y + self.skip(F.avg_pool2d(x, 2)))


class PictureEncoder(nn.Module):
    """(B, 3, S, S) in [-1, 1] -> (B, outputs). O(B S^2 widths).

    Args:
        size: side S of the pictures; others are resampled to it.
        outputs: length of the vector.
        widths: channels of the blocks, each of which halves the side; multiples of 8.

    Raises:
        ConfigError: a side that the blocks cannot halve.
    """

    def __init__(self, size: int, outputs: int, widths: tuple[int, ...] = (32, 48, 64, 96)) -> None:
        super().__init__()
        left = size >> len(widths)
        if left < 1 or left << len(widths) != size:
            raise ConfigError(f"a side of {size} pixels cannot be halved {len(widths)} times")
        self.size = size
        self.blocks = nn.Sequential(*(_Down(i, o) for i, o in zip((3, *widths), widths, strict=False)))
        self.last = nn.Linear(widths[-1] * left**2, outputs)

    def forward(self, images: Tensor) -> Tensor:
        """Vectors of pictures."""
        if images.shape[-1] != self.size:
            images = F.interpolate(images, (self.size, self.size), mode="bilinear", antialias=True)
        return cast("Tensor", self.last(self.blocks(images).flatten(1)))
