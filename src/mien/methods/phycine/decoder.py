"""Spatial broadcast decoders: a slot's code, copied to every place, becomes a layer of the picture.

Watters et al., arXiv 1901.07017; sizes as in OP3 and IODINE, or small enough for a CPU.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien.core.errors import ConfigError, ShapeError

_ZOOM = 4.0  # offsets are in eighths of the side: about an object's radius


class Layers(NamedTuple):
    """A picture in K layers.

    Attributes:
        means: (..., K, 3, H, W) colours in (0, 1).
        logits: (..., K, 1, H, W).
    """

    means: Tensor
    logits: Tensor

    @property
    def masks(self) -> Tensor:
        """(..., K, 1, H, W): softmax over the layers."""
        return self.logits.softmax(-4)

    @property
    def image(self) -> Tensor:
        """(..., 3, H, W): the layers, weighted by their masks."""
        return (self.masks * self.means).sum(-4)


def position_grid(height: int, width: int) -> Tensor:
    """(2, H, W): x right and y down; y is -1 and 1 at the outer rows' centres, x grows in the same steps."""
    side = (width - 1) / max(height - 1, 1)
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-side, side, width), indexing="ij")
    return torch.stack([x, y])


Size = int | tuple[int, int]
"""(H, W) of pictures; one number for both."""


def sides(size: Size) -> tuple[int, int]:
    """(H, W)."""
    return (size, size) if isinstance(size, int) else size


def without(layers: Layers, hidden: Tensor) -> Layers:
    """Layers of which some are not drawn: ``hidden`` (..., K) bool."""
    return layers._replace(logits=layers.logits.masked_fill(hidden[..., None, None, None], -torch.inf))


class BroadcastDecoder(nn.Module):
    """The published decoder: broadcast to the full size, five 5 x 5 convolutions, 4 outputs.

    Args:
        inputs: D, length of a code.
        size: of the pictures.
        width: channels.
        sigmoid: means in (0, 1) as in IODINE; else free, as in OP3.
    """

    grid: Tensor

    def __init__(self, inputs: int, size: Size = 64, width: int = 32, *, sigmoid: bool = True) -> None:
        super().__init__()
        self.sigmoid = sigmoid
        self.register_buffer("grid", position_grid(*sides(size)), persistent=False)
        widths = (inputs + 2, width, width, width, width)
        convs = [m for i, o in pairwise(widths) for m in (nn.Conv2d(i, o, 5, 1, 2), nn.CELU())]
        self.body = nn.Sequential(*convs, nn.Conv2d(width, 4, 5, 1, 2))

    def forward(self, slots: Tensor) -> Layers:
        """Codes (..., K, D) -> layers of (..., K, ., H, W). O(K H W width^2).

        Raises:
            ShapeError: codes of another length.
        """
        codes = slots.flatten(0, -2)
        wanted = cast("nn.Conv2d", self.body[0]).in_channels - 2
        if codes.shape[1] != wanted:
            raise ShapeError(f"codes must have length {wanted}, got {tuple(slots.shape)}")
        _, height, width = self.grid.shape
        wide = codes[:, :, None, None].expand(-1, -1, height, width)
        out = self.body(torch.cat([wide, self.grid.expand(len(codes), -1, -1, -1)], 1))
        out = out.unflatten(0, slots.shape[:-1])
        means, logits = out.split([3, 1], -3)
        return Layers(means.sigmoid() if self.sigmoid else means, logits)


class SmallDecoder(BroadcastDecoder):
    """Broadcasts to a quarter of the side (8 x 8 for 32 pixels), then doubles it twice.

    Args:
        inputs: D, length of a code.
        size: of the pictures, multiples of 4.
        width: channels.

    Raises:
        ConfigError: a size that is no multiple of 4.
    """

    def __init__(self, inputs: int, size: Size = 32, width: int = 32) -> None:
        height, across = sides(size)
        if height % 4 or across % 4 or min(height, across) < 8:
            raise ConfigError(f"size must be a multiple of 4, at least 8; got {size}")
        super().__init__(inputs, (height // 4, across // 4), width)
        self.body = nn.Sequential(
            nn.Conv2d(inputs + 2, width, 3, 1, 1),
            nn.CELU(),
            nn.ConvTranspose2d(width, width, 4, 2, 1),
            nn.CELU(),
            nn.ConvTranspose2d(width, width // 2, 4, 2, 1),
            nn.CELU(),
            nn.Conv2d(width // 2, 4, 3, 1, 1),
        )


class _PointDecoder(nn.Module):
    """(colour, logit) of a point from a code and the point's offset."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.from_code, self.from_offset = nn.Linear(inputs, width), nn.Linear(3, width, bias=False)
        self.body = nn.Sequential(nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 4))

    def forward(self, code: Tensor, offset: Tensor) -> Tensor:
        """Codes (..., 1, D), offsets (..., P, 3) -> (..., P, 4)."""
        out: Tensor = self.body(self.from_code(code) + self.from_offset(offset))
        return out


class PlaceDecoder(nn.Module):
    """Draws a slot around its place: an MLP of the code and of each point's offset from the place.

    Layers are drawn at half the side and doubled bilinearly; nothing in them depends on the place itself, so
    what is learned of an object holds everywhere in the picture. Slot 0, the background, has an MLP of its
    own.

    Args:
        inputs: D, length of a code.
        size: of the pictures, even.
        width: of the MLP.

    Raises:
        ConfigError: an odd size.
    """

    grid: Tensor

    def __init__(self, inputs: int, size: Size = 32, width: int = 32) -> None:
        super().__init__()
        height, across = sides(size)
        if height % 2 or across % 2:
            raise ConfigError(f"size must be even; got {size}")
        self.small = (height // 2, across // 2)
        self.register_buffer("grid", position_grid(*self.small).flatten(1).T, persistent=False)
        self.inputs = inputs
        self.front, self.back = _PointDecoder(inputs, width), _PointDecoder(inputs, width)

    def forward(self, slots: Tensor) -> Layers:
        """Slots (..., K, 2 + D) -> layers of (..., K, ., H, W). O(K H W width^2).

        Raises:
            ShapeError: slots of another length.
        """
        if slots.shape[-1] != self.inputs + 2:
            raise ShapeError(f"slots must have length {self.inputs + 2}, got {tuple(slots.shape)}")
        place, code = slots[..., None, :].split([2, self.inputs], -1)
        offset = (self.grid - place) * _ZOOM
        offset = torch.cat([offset, offset.square().sum(-1, keepdim=True)], -1)
        near = self.front(code[..., 1:, :, :], offset[..., 1:, :, :])
        ground = self.back(code[..., :1, :, :], offset[..., :1, :, :])
        small = torch.cat([ground, near], -3).mT.unflatten(-1, self.small)
        out = F.interpolate(small.flatten(0, -4), scale_factor=2, mode="bilinear")
        out = out.view(*small.shape[:-2], *out.shape[-2:])
        means, logits = out.split([3, 1], -3)
        return Layers(means.sigmoid(), logits)
