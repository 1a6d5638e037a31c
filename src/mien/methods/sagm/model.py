"""Backbone, feature dropout, linear classifier; batch normalisation frozen if wanted."""

from __future__ import annotations

from typing import Self, cast

import torch
from torch import Tensor, nn

from mien.data.config import DomainData
from mien.methods.sagm.config import SagmConfig
from mien.nn.backbones import build_backbone
from mien.nn.heads import Normalize


class DomainNet(nn.Module):
    """Pictures of any domain -> logits.

    Args:
        config: backbone, dropout, frozen batch normalisation.
        data: channels and normalisation.
        num_classes: C.
    """

    def __init__(self, config: SagmConfig, data: DomainData, num_classes: int) -> None:
        super().__init__()
        self.normalize = Normalize(data.mean, data.std)
        self.backbone = build_backbone(config.backbone, channels=data.channels, pretrained=config.pretrained)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(int(self.backbone.num_features), num_classes)  # type: ignore[arg-type]
        self.frozen_bn = config.frozen_bn

    def forward_features(self, image: Tensor) -> Tensor:
        """(B, C_in, H, W) in [0, 1] -> (B, D)."""
        return cast(Tensor, self.backbone(self.normalize(image)))

    def forward_head(self, features: Tensor) -> Tensor:
        """(B, D) -> logits (B, C)."""
        return cast(Tensor, self.head(self.dropout(features)))

    def forward(self, image: Tensor) -> Tensor:
        """(B, C_in, H, W) in [0, 1] -> logits (B, C)."""
        return self.forward_head(self.forward_features(image))

    def train(self, mode: bool = True) -> Self:
        """Training mode; frozen batch normalisation stays in eval mode."""
        super().train(mode)
        if self.frozen_bn:
            for module in self.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self


def build_net(config: SagmConfig, data: DomainData, num_classes: int, seed: int) -> DomainNet:
    """The net of a recipe; weights drawn from ``seed``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return DomainNet(config, data, num_classes)
