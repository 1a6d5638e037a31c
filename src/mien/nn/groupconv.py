"""A small convolutional net without batch statistics, for two-pass optimisers and small pictures."""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn


class GroupConvNet(nn.Module):
    """Three 3x3 convolutions with group normalisation; max-pool after the first two, then a 2x2 average.

    Args:
        width: channels of the first; then twice and four times as many.
        channels: input channels.

    Attributes:
        num_features: 16 * width.
    """

    def __init__(self, width: int = 8, channels: int = 3) -> None:
        super().__init__()
        sizes = (channels, width, 2 * width, 4 * width)
        self.convs = nn.ModuleList(nn.Conv2d(i, o, 3, padding=1) for i, o in pairwise(sizes))
        self.norms = nn.ModuleList(nn.GroupNorm(max(1, min(4, o // 4)), o) for o in sizes[1:])
        self.num_features = 16 * width

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) -> (B, 4 width, H / 4, W / 4)."""
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            x = F.relu(norm(conv(x)))
            x = F.max_pool2d(x, 2) if i < 2 else x
        return x

    def forward_head(self, x: Tensor) -> Tensor:
        """(B, D, h, w) -> (B, 4 D)."""
        high, wide = x.shape[2:]
        if high % 2 or wide % 2:
            return F.adaptive_avg_pool2d(x, 2).flatten(1)
        # The same means; the adaptive form has no deterministic gradient on a GPU.
        return F.avg_pool2d(x, (high // 2, wide // 2)).flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) -> (B, num_features)."""
        return self.forward_head(self.forward_features(x))
