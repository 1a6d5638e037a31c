"""The improved residual nets of face recognition.

Sources: ArcFace (arXiv 1801.07698, section 3.1: the "improved residual unit" and the output layer "E"), and
the nets of InsightFace, face.evoLVe and AdaFace, which differ in the skip, in one norm and in the output.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from mien.core.errors import ConfigError
from mien.nn.face_net import HALF, FaceNet, check_size, halved
from mien.nn.heads import Normalize

Variant = Literal["insightface", "adaface", "face_evolve"]

DEPTHS: dict[int, tuple[int, int, int, int]] = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 14, 3),
    100: (3, 13, 30, 3),
    200: (6, 26, 60, 6),
}
"""Blocks of each stage."""


@dataclass(frozen=True)
class _Traits:
    """What the families disagree on."""

    skip_by_pool: bool
    middle_norm: bool
    last_norm: Literal["bias", "none", "affine"]
    dropout: float


_TRAITS: dict[str, _Traits] = {
    "insightface": _Traits(skip_by_pool=False, middle_norm=True, last_norm="bias", dropout=0.0),
    "adaface": _Traits(skip_by_pool=True, middle_norm=True, last_norm="none", dropout=0.4),
    "face_evolve": _Traits(skip_by_pool=True, middle_norm=False, last_norm="affine", dropout=0.4),
}


class _Squeeze(nn.Module):
    """Squeeze-and-excitation (arXiv 1709.01507) without biases: x * sigmoid(W2 relu(W1 mean(x)))."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        inner = max(1, channels // reduction)
        self.fc1 = nn.Conv2d(channels, inner, 1, bias=False)
        self.fc2 = nn.Conv2d(inner, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        gate = self.fc2(torch.relu(self.fc1(x.mean((2, 3), keepdim=True))))
        out: Tensor = x * gate.sigmoid()
        return out


class _Block(nn.Module):
    """BN, conv 3x3, BN, PReLU, conv 3x3 of stride s, BN; plus the skip. No activation after the sum."""

    def __init__(self, inputs: int, planes: int, stride: int, traits: _Traits, squeeze: bool) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes) if traits.middle_norm else nn.Identity()
        self.prelu = nn.PReLU(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(planes)
        self.squeeze = _Squeeze(planes) if squeeze else nn.Identity()
        self.skip: nn.Module = nn.Identity()
        if inputs == planes and traits.skip_by_pool:
            self.skip = nn.MaxPool2d(1, stride)
        elif inputs != planes or stride != 1:
            self.skip = nn.Sequential(
                nn.Conv2d(inputs, planes, 1, stride, bias=False), nn.BatchNorm2d(planes)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, planes, ceil(H / s), ceil(W / s))."""
        y = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        y = self.squeeze(self.bn3(self.conv2(y)))
        out: Tensor = y + self.skip(x)
        return out


class IResNet(FaceNet):
    """IResNet-18/34/50/100/200: a stem of stride 1 and four stages that each open with stride 2.

    Args:
        depth: 18, 34, 50, 100 or 200, or the blocks of the four stages.
        size: side of the input, pixels.
        embedding: D.
        width: channels of the stem and the first stage; the next stages have 2, 4 and 8 times as many.
        variant: "insightface": convolution in every opening skip, last norm with weight fixed at 1.
            "adaface" and "face_evolve" ("IR"): a strided pool where the width stays, dropout 0.4; the first
            has a last norm without weights, the second no norm between convolution and PReLU.
        squeeze: "IR-SE", squeeze-and-excitation (reduction 16) on the residual branch.
        dropout: before the last linear layer; None = what the variant has.

    Raises:
        ConfigError: an unknown depth or variant, or a size below 16.

    >>> with torch.device("meta"):
    ...     sum(p.numel() for p in IResNet(50).parameters())
    43590848
    """

    def __init__(
        self,
        depth: int | tuple[int, int, int, int] = 50,
        *,
        size: int = 112,
        embedding: int = 512,
        width: int = 64,
        variant: Variant = "insightface",
        squeeze: bool = False,
        dropout: float | None = None,
    ) -> None:
        super().__init__()
        check_size(size, embedding)
        if variant not in get_args(Variant):
            raise ConfigError(f"variant={variant!r} is unknown; known: {', '.join(get_args(Variant))}")
        if isinstance(depth, int) and depth not in DEPTHS:
            raise ConfigError(
                f"depth={depth} is unknown; known: {', '.join(map(str, DEPTHS))}, or four numbers"
            )
        blocks = DEPTHS[depth] if isinstance(depth, int) else depth
        traits = _TRAITS[variant]
        self.size, self.num_features = size, embedding
        self.normalize = Normalize(HALF, HALF)
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.PReLU(width)
        )
        self.taps = {"stem": (width, size, size)}
        self.stages = nn.ModuleList()
        inputs = width
        for i, count in enumerate(blocks):
            planes, side = width * 2**i, halved(size, i + 1)
            stage = [
                _Block(inputs if j == 0 else planes, planes, 2 if j == 0 else 1, traits, squeeze)
                for j in range(count)
            ]
            self.stages.append(nn.Sequential(*stage))
            self.taps[f"stage{i + 1}"] = (planes, side, side)
            inputs = planes
        self.bn = nn.BatchNorm2d(inputs)
        self.dropout = nn.Dropout(traits.dropout if dropout is None else dropout)
        self.fc = nn.Linear(inputs * halved(size, 4) ** 2, embedding)
        self.features = nn.BatchNorm1d(embedding, affine=traits.last_norm != "none")
        if traits.last_norm == "bias":
            self.features.weight.requires_grad_(False)
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.normal_(m.weight, 0.0, 0.1)

    def forward_features(self, x: Tensor) -> dict[str, Tensor]:
        """(B, 3, S, S) -> maps ``stem, stage1 .. stage4``; 1, 1/2, 1/4, 1/8 and 1/16 of the side."""
        x = self.stem(self.normalize(x))
        maps = {"stem": x}
        for i, stage in enumerate(self.stages):
            x = stage(x)
            maps[f"stage{i + 1}"] = x
        return maps

    def forward_head(self, x: Tensor) -> Tensor:
        """BN, dropout, flatten, linear, BN: (B, 8 width, S/16, S/16) -> (B, D)."""
        out: Tensor = self.features(self.fc(self.dropout(self.bn(x)).flatten(1)))
        return out
