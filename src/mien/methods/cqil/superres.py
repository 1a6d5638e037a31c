"""The image-quality part (IQV): a small super-resolution net for faces that a far camera saw small.

A reconstruction; the abstract says that super-resolution recovers discriminative information, not how.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien.core.errors import ConfigError, ShapeError

FLAT = 0.11
"""A picture is as good as one of half its side if the rest is below this share of its contrast.

Made faces of 48 pixels: .15 and more as they are; .05 to .08 where a camera had 12 to 24 of them and enlarged
them smoothly; enlarged by repeating pixels they are not told from large ones (.2).
"""


class SuperResolver(nn.Module):
    """S(x) = bicubic(x) + PixelShuffle(tail(body(head(x)))): (B, 3, h, w) -> (B, 3, r h, r w).

    head conv 5x5; body residual blocks x + .1 conv(relu(conv(x))); tail conv 3x3 to 3 r^2 channels. With the
    tail at zero it is bicubic up-sampling exactly, and so it starts. O(channels^2 blocks h w).

    Args:
        channels: of the body.
        blocks: residual blocks.
        scale: r.

    Raises:
        ConfigError: a scale below 2.
    """

    def __init__(self, channels: int = 64, blocks: int = 8, scale: int = 2) -> None:
        super().__init__()
        if scale < 2:
            raise ConfigError(f"a super-resolver of scale {scale}: at least 2")
        self.scale = scale
        self.head = nn.Conv2d(3, channels, 5, padding=2)
        self.body = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, channels, 3, padding=1),
                nn.ReLU(),
                nn.Conv2d(channels, channels, 3, padding=1),
            )
            for _ in range(blocks)
        )
        self.tail = nn.Conv2d(channels, 3 * scale**2, 3, padding=1)
        nn.init.zeros_(self.tail.weight)
        nn.init.zeros_(self.tail.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Pictures in [0, 1] -> r times as large; not clipped.

        Raises:
            ShapeError: not (B, 3, h, w).
        """
        if x.ndim != 4 or x.shape[1] != 3:
            raise ShapeError(f"expected pictures (B, 3, h, w), got {tuple(x.shape)}")
        h = self.head(x - 0.5)
        for block in self.body:
            h = h + 0.1 * block(h)
        return bicubic(x, self.scale) + F.pixel_shuffle(self.tail(h), self.scale)

    def enlarge(self, x: Tensor, side: int, most: int = 4) -> Tensor:
        """Applies S until the shorter side is at least ``side``, or ``most`` times the first one.

        Args:
            x: (B, 3, h, w) in [0, 1].
            side: pixels; larger pictures are left alone.
            most: largest enlargement.
        """
        first = min(x.shape[-2:])
        while min(x.shape[-2:]) < side and self.scale * min(x.shape[-2:]) <= most * first:
            x = self(x).clamp(0, 1)
        return x


def bicubic(x: Tensor, scale: int) -> Tensor:
    """(B, C, h, w) -> (B, C, r h, r w), bicubic, pixel centres."""
    return F.interpolate(x, scale_factor=scale, mode="bicubic", align_corners=False)


def shrink(x: Tensor, scale: int) -> Tensor:
    """Area down-sampling: means of r x r blocks, (B, C, h, w) -> (B, C, h / r, w / r)."""
    return F.avg_pool2d(x, scale)


def resolution_loss(resolver: SuperResolver, x: Tensor) -> Tensor:
    """L_sr = mean |S(down_r(x)) - x|.

    Args:
        resolver: S.
        x: (B, 3, h, w) clean pictures, sides multiples of r.
    """
    return F.l1_loss(resolver(shrink(x, resolver.scale)), x)


def halvings(x: Tensor, scale: int = 2, most: int = 2, flat: float = FLAT) -> Tensor:
    """How often a picture can be halved without loss: 0 .. most, (B, 3, h, w) -> (B,) int64. O(pixels).

    Pictures come at one size whatever the camera saw; this looks for the size that they really have. The
    k-th halving is free where |x - up(down(x))| is below ``flat`` of the contrast (standard deviations over
    the picture), up bicubic, down the mean of r^k x r^k blocks.

    Args:
        x: pictures in [0, 1], sides multiples of r^most.
        scale: r.
        most: halvings that are looked for.
        flat: largest share.
    """
    grey = x.mean(1, keepdim=True)
    contrast = grey.flatten(1).std(1).clamp_min(1e-6)
    found = torch.zeros_like(contrast, dtype=torch.int64)
    free = found == 0
    for k in range(1, most + 1):
        rest = grey - bicubic(shrink(grey, scale**k), scale**k)
        free = free & (rest.flatten(1).std(1) < flat * contrast)
        found = found + free
    return found
