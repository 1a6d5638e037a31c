"""MobileFaceNet: the small convolutional net of face recognition.

Source: MobileFaceNets (arXiv 1804.07573, table 1); "mbf" and "mbf_large" are the wider ones of InsightFace.
"""

from __future__ import annotations

from torch import Tensor, nn

from mien.core.errors import ConfigError
from mien.nn.face_net import HALF, FaceNet, check_size, halved
from mien.nn.heads import Normalize


def _conv(inputs: int, planes: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution without bias, BN, PReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, planes, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(planes),
        nn.PReLU(planes),
    )


class _Bottleneck(nn.Module):
    """1x1 to ``inner`` channels, 3x3 depthwise, linear 1x1 back; plus the input where ``residual``."""

    def __init__(self, inputs: int, planes: int, inner: int, stride: int = 1, residual: bool = False) -> None:
        super().__init__()
        self.expand = _conv(inputs, inner, 1)
        self.depthwise = _conv(inner, inner, 3, stride, inner)
        self.project = nn.Sequential(nn.Conv2d(inner, planes, 1, bias=False), nn.BatchNorm2d(planes))
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, planes, ceil(H / s), ceil(W / s))."""
        y = self.project(self.depthwise(self.expand(x)))
        out: Tensor = x + y if self.residual else y
        return out


def _residuals(count: int, planes: int, inner: int) -> list[nn.Module]:
    return [_Bottleneck(planes, planes, inner, residual=True) for _ in range(count)]


class MobileFaceNet(FaceNet):
    """Stride-2 stem, three strided bottlenecks with residual ones between, global depthwise convolution.

    ``scale=1`` with ``embedding=128`` is the net of the paper (0.996 M weights and 7,552 slopes of PReLU; the
    paper says 0.99 M), ``scale=2`` is "mbf", and ``scale=4, blocks=(2, 8, 12, 4)`` is "mbf_large". The inner
    widths of the bottlenecks do not scale.

    Args:
        blocks: residual bottlenecks after the stem and after each strided one. A first entry of 1 stands for
            a grouped 3x3 convolution (64 groups) instead of a bottleneck.
        scale: widths are 64, 64, 128, 128 times this (the paper's 1x).
        size: side of the input, pixels.
        embedding: D.
        base: 64 in all published nets; a smaller even number gives nets for small trainings, with inner
            widths 2, 4 and 8 times ``base``.

    Raises:
        ConfigError: blocks, scale or base below 1, or a size below 16.

    >>> import torch
    >>> with torch.device("meta"):
    ...     sum(p.numel() for p in MobileFaceNet().parameters())
    2059520
    """

    def __init__(
        self,
        blocks: tuple[int, int, int, int] = (1, 4, 6, 2),
        scale: int = 2,
        *,
        size: int = 112,
        embedding: int = 512,
        base: int = 64,
    ) -> None:
        super().__init__()
        check_size(size, embedding)
        if min(blocks) < 1 or scale < 1 or base < 1:
            raise ConfigError(f"blocks={blocks}, scale={scale} and base={base} must be at least 1")
        narrow, wide = base * scale, 2 * base * scale
        inner = (2 * base, 4 * base, 8 * base)
        self.size, self.num_features = size, embedding
        self.normalize = Normalize(HALF, HALF)
        second = (
            [_conv(narrow, narrow, 3, 1, base)] if blocks[0] == 1 else _residuals(blocks[0], narrow, 2 * base)
        )
        self.stages = nn.ModuleList(
            [
                nn.Sequential(_conv(3, narrow, 3, 2), *second),
                nn.Sequential(
                    _Bottleneck(narrow, narrow, inner[0], 2), *_residuals(blocks[1], narrow, inner[0])
                ),
                nn.Sequential(_Bottleneck(narrow, wide, inner[1], 2), *_residuals(blocks[2], wide, inner[1])),
                nn.Sequential(_Bottleneck(wide, wide, inner[2], 2), *_residuals(blocks[3], wide, inner[1])),
                _conv(wide, 8 * base, 1),
            ]
        )
        widths = (narrow, narrow, wide, wide, 8 * base)
        sides = [halved(size, i) for i in (1, 2, 3, 4, 4)]
        names = ("stem", "stage1", "stage2", "stage3", "final")
        self.taps = {n: (w, s, s) for n, w, s in zip(names, widths, sides, strict=True)}
        self.gdc = nn.Sequential(
            nn.Conv2d(8 * base, 8 * base, sides[-1], groups=8 * base, bias=False), nn.BatchNorm2d(8 * base)
        )
        self.fc = nn.Linear(8 * base, embedding, bias=False)
        self.features = nn.BatchNorm1d(embedding)
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")

    def forward_features(self, x: Tensor) -> dict[str, Tensor]:
        """(B, 3, S, S) -> maps ``stem, stage1 .. stage3, final``; 1/2, 1/4, 1/8, 1/16, 1/16 of S."""
        x = self.normalize(x)
        maps = {}
        for name, stage in zip(self.taps, self.stages, strict=True):
            x = stage(x)
            maps[name] = x
        return maps

    def forward_head(self, x: Tensor) -> Tensor:
        """Global depthwise convolution, linear, BN: (B, 8 base, S/16, S/16) -> (B, D)."""
        out: Tensor = self.features(self.fc(self.gdc(x).flatten(1)))
        return out
