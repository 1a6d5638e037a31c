"""The ResNets of small pictures (He et al. 2016, section 4.2), which timm and torchvision lack."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from mien.core.errors import ConfigError


class _Block(nn.Module):
    """Two 3x3 convolutions and the parameter-free option-A shortcut."""

    def __init__(self, inputs: int, planes: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, planes, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.stride, self.extra = stride, planes - inputs

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, planes, H / stride, W / stride)."""
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.extra or self.stride > 1:
            side = self.extra // 2
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, side, self.extra - side))
        return F.relu(x + y)


class StagedNet(nn.Module):
    """A backbone that is a list of ``stages`` and a global average pool; subclasses fill the two attributes.

    Attributes:
        stages: applied one after another; an early part of them can be shared between nets.
        num_features: D.
    """

    stages: nn.ModuleList
    num_features: int

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) -> (B, D, H/4, W/4)."""
        for stage in self.stages:
            x = stage(x)
        return x

    def forward_head(self, x: Tensor) -> Tensor:
        """Global average pool: (B, D, h, w) -> (B, D)."""
        return x.mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) -> (B, D)."""
        return self.forward_head(self.forward_features(x))


class CifarResNet(StagedNet):
    """ResNet-``6n+2`` with 16, 32, 64 channels; stem stride 1, no max-pool.

    Args:
        depth: 8, 20, 32, 44, 56 or 110.
        channels: input channels.

    >>> sum(p.numel() for p in CifarResNet(32).parameters())
    463504
    """

    def __init__(self, depth: int = 32, channels: int = 3) -> None:
        super().__init__()
        self.num_features = 64
        if depth < 8 or (depth - 2) % 6:
            raise ConfigError(f"CifarResNet depth={depth}: use 6n+2, for example 8, 20, 32, 44, 56, 110")
        stem = nn.Sequential(nn.Conv2d(channels, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        stages: list[nn.Module] = [stem]
        inputs = 16
        for planes in (16, 32, 64):
            blocks: list[nn.Module] = []
            for i in range((depth - 2) // 6):
                blocks.append(_Block(inputs, planes, 2 if i == 0 and planes > 16 else 1))
                inputs = planes
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.ModuleList(stages)
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight)


class SmallResNet(StagedNet):
    """A stem 3x3 of stride 1, then one block of stride 2 for each width: for pictures of 32 to 96 pixels.

    Args:
        widths: channels of the blocks; the stem has the first.
        channels: input channels.

    >>> SmallResNet((16, 32, 64, 96)).num_features
    96
    """

    def __init__(self, widths: Sequence[int], channels: int = 3) -> None:
        super().__init__()
        if not widths or list(widths) != sorted(widths):
            raise ConfigError(
                f"SmallResNet widths={list(widths)}: give widths that never fall, as 16, 32, 64, 96"
            )
        self.num_features = widths[-1]
        stem = nn.Sequential(
            nn.Conv2d(channels, widths[0], 3, 1, 1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU()
        )
        pairs = zip((widths[0], *widths), widths, strict=False)
        self.stages = nn.ModuleList([stem, *(_Block(i, o, 2) for i, o in pairs)])
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight)


class SmallConvNet(StagedNet):
    """Three 3x3 convolutions (strides 2, 2, 1) for 28-pixel pictures on a laptop.

    Args:
        width: channels of the first; then twice and four times as many.
        channels: input channels.
    """

    def __init__(self, width: int = 12, channels: int = 1) -> None:
        super().__init__()
        self.num_features = 4 * width
        sizes = (channels, width, 2 * width, 4 * width)
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(i, o, 3, stride, 1, bias=False), nn.BatchNorm2d(o), nn.ReLU())
            for i, o, stride in zip(sizes, sizes[1:], (2, 2, 1), strict=False)
        )
