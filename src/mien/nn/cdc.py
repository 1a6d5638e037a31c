"""Central difference convolution and the depth-map net built of it.

Source: Searching Central Difference Convolutional Networks for Face Anti-Spoofing, Yu et al. (arXiv
2003.04092).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien.core.errors import ConfigError, ShapeError
from mien.nn.heads import Normalize


def central_difference(weight: Tensor, theta: float) -> Tensor:
    """The plain kernel that does the same: w_k - theta [k = centre] sum_j w_j.

    sum_k w_k (x_{p+k} - theta x_p) = sum_k w_k x_{p+k} - theta x_p sum_k w_k, so one convolution does
    the work of two.

    Args:
        weight: (O, I, k, k), k odd.
        theta: share of the differences; 0 leaves the weights as they are.
    """
    if theta == 0:
        return weight
    half = weight.shape[-1] // 2
    return weight - theta * F.pad(weight.sum((2, 3), keepdim=True), (half,) * 4)


class CDConv2d(nn.Module):
    """y(p) = sum_k w_k (x_{p+k} - theta x_p): a convolution of which a share theta sees only differences.

    Zero padding of k // 2, no bias (a bias would have to stand outside the difference).

    Args:
        inputs: channels.
        planes: channels of the output.
        kernel: side k, odd.
        stride: of the convolution.
        groups: of the convolution.
        theta: in [0, 1]; 0 is `torch.nn.Conv2d` to the bit.

    Raises:
        ConfigError: an even kernel, or theta outside [0, 1].

    >>> import torch
    >>> CDConv2d(3, 8, stride=2)(torch.ones(1, 3, 9, 9)).shape
    torch.Size([1, 8, 5, 5])
    """

    def __init__(
        self, inputs: int, planes: int, kernel: int = 3, stride: int = 1, groups: int = 1, theta: float = 0.7
    ) -> None:
        super().__init__()
        if kernel < 1 or kernel % 2 == 0 or not 0 <= theta <= 1:
            raise ConfigError(f"kernel={kernel} must be odd and theta={theta} between 0 and 1")
        self.conv = nn.Conv2d(inputs, planes, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.theta = theta

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, planes, ceil(H / s), ceil(W / s)). O(B H W / s^2 k^2 inputs planes)."""
        weight, conv = central_difference(self.conv.weight, self.theta), self.conv
        return F.conv2d(x, weight, None, conv.stride, conv.padding, conv.dilation, conv.groups)


class CdcnOut(NamedTuple):
    """What `CDCN` finds.

    Attributes:
        map: (B, h, w) the face's depth where it is live, 0 where it is an attack; not negative.
        score: (B,) its mean: higher is more live.
    """

    map: Tensor
    score: Tensor


def _unit(inputs: int, planes: int, theta: float) -> nn.Sequential:
    return nn.Sequential(CDConv2d(inputs, planes, theta=theta), nn.BatchNorm2d(planes), nn.ReLU())


def _block(inputs: int, width: int, theta: float) -> nn.Sequential:
    """Three convolutions of 2, 3.0625 and 2 times the width, and a halving."""
    wide = round(196 / 64 * width)
    return nn.Sequential(
        _unit(inputs, 2 * width, theta),
        _unit(2 * width, wide, theta),
        _unit(wide, 2 * width, theta),
        nn.MaxPool2d(3, 2, 1),
    )


class CDCN(nn.Module):
    """A face picture -> a map of its depth at 1/8 of the side, and the mean of the map.

    A stem, three blocks (low, mid, high), their maps brought to the size of the last and joined, three
    convolutions. ``width=64`` at 256 pixels is the net of the paper: 2.2 M weights, a map of 32 x 32.

    Args:
        width: channels of the stem; the others follow.
        channels: of the input.
        theta: of all convolutions.

    Raises:
        ConfigError: a width or channels below 1, or theta outside [0, 1].

    >>> import torch
    >>> [tuple(v.shape) for v in CDCN(width=4).eval()(torch.zeros(2, 3, 64, 64))]
    [(2, 8, 8), (2,)]
    """

    def __init__(self, width: int = 64, channels: int = 3, theta: float = 0.7) -> None:
        super().__init__()
        if width < 1 or channels < 1:
            raise ConfigError(f"width={width} and channels={channels} must be at least 1")
        self.channels = channels
        self.normalize = Normalize((0.5,) * channels, (128 / 255,) * channels)
        self.stem = _unit(channels, width, theta)
        self.blocks = nn.ModuleList(_block(w, width, theta) for w in (width, 2 * width, 2 * width))
        self.head = nn.Sequential(
            _unit(6 * width, 2 * width, theta),
            _unit(2 * width, width, theta),
            CDConv2d(width, 1, theta=theta),
            nn.ReLU(),
        )

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) in [0, 1] -> the joined maps (B, 6 width, ceil(H / 8), ceil(W / 8))."""
        x, maps = self.stem(self.normalize(x)), []
        for block in self.blocks:
            x = block(x)
            maps.append(x)
        sized = [F.interpolate(m, x.shape[2:], mode="bilinear", align_corners=False) for m in maps[:-1]]
        return torch.cat([*sized, x], 1)

    def forward_head(self, x: Tensor) -> CdcnOut:
        """Joined maps -> `CdcnOut`."""
        depth = self.head(x)[:, 0]
        return CdcnOut(depth, depth.mean((1, 2)))

    def forward(self, x: Tensor) -> CdcnOut:
        """(B, channels, H, W) in [0, 1] -> `CdcnOut` with a map (B, ceil(H / 8), ceil(W / 8)).

        Raises:
            ShapeError: other channels.
        """
        if x.ndim != 4 or x.shape[1] != self.channels:
            raise ShapeError(f"expected pictures (B, {self.channels}, H, W), got {tuple(x.shape)}")
        return self.forward_head(self.forward_features(x))
