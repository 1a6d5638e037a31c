"""K experts that share nothing (or an early stem), each a backbone and a classifier."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, cast

import torch
from torch import Tensor, nn

from mien.core.errors import ConfigError
from mien.nn.backbones import build_backbone
from mien.nn.cifar_resnet import StagedNet
from mien.nn.heads import CosineHead, Normalize


class Expert(nn.Module):
    """backbone -> pooled feature (B, D) -> classifier (B, C)."""

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head

    def forward(self, x: Tensor) -> Tensor:
        """Normalised pictures -> raw logits (B, C)."""
        return cast(Tensor, self.head(self.backbone(x)))


class Classifier(nn.Module):
    """What is exported: pictures in [0,1] -> logits (B, C), no prior inside.

    Args:
        parts: applied one after another (normalisation, shared stem if any, expert).
    """

    def __init__(self, *parts: nn.Module) -> None:
        super().__init__()
        self.parts = nn.Sequential(*parts)

    def forward(self, image: Tensor) -> Tensor:
        """(B, C_in, H, W) in [0, 1] -> (B, C)."""
        return cast(Tensor, self.parts(image))


class MultiExpertNet(nn.Module):
    """K experts on one input (section 2.1 of the method).

    Args:
        backbone: a name of `mien.nn.backbones`, or a function that makes one backbone.
        num_experts: K.
        num_classes: C.
        head: "linear" (with bias) or "cosine".
        scale: s of the cosine head.
        channels: input channels.
        mean: normalisation, part of the model.
        std: normalisation, part of the model.
        shared_stages: early stages of our small nets that all experts share (departs from the paper).
        pretrained: file of timm weights for every backbone.
    """

    def __init__(
        self,
        backbone: str | Callable[[], nn.Module],
        num_experts: int,
        num_classes: int,
        head: Literal["linear", "cosine"] = "linear",
        *,
        scale: float = 16.0,
        channels: int = 3,
        mean: tuple[float, ...] = (0.5, 0.5, 0.5),
        std: tuple[float, ...] = (0.5, 0.5, 0.5),
        shared_stages: int = 0,
        pretrained: str | None = None,
    ) -> None:
        super().__init__()
        if num_experts < 1 or num_classes < 2:
            raise ConfigError(f"num_experts={num_experts} must be >= 1 and num_classes={num_classes} >= 2")
        self.num_classes = num_classes
        self.normalize = Normalize(mean, std)
        self.stem = nn.Sequential()
        experts = []
        for _ in range(num_experts):
            if callable(backbone):
                net = backbone()
            else:
                net = build_backbone(backbone, channels=channels, pretrained=pretrained)
            if shared_stages:
                self.stem = _split_stem(net, shared_stages)
            features = int(net.num_features)  # type: ignore[arg-type]
            experts.append(Expert(net, _head(head, features, num_classes, scale)))
        self.experts = nn.ModuleList(experts)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) in [0, 1] -> raw logits (K, B, C)."""
        x = self.stem(self.normalize(x))
        return torch.stack([expert(x) for expert in self.experts])

    def predict(self, x: Tensor, mode: Literal["ensemble"] | int = "ensemble") -> Tensor:
        """Logits (B, C): the mean of the experts' raw logits, or those of one expert."""
        if mode == "ensemble":
            return cast(Tensor, self(x)).mean(0)
        return cast(Tensor, self.export_expert(mode)(x))

    def export_expert(self, k: int) -> Classifier:
        """Expert ``k`` as a plain classifier (shares the weights)."""
        if not isinstance(k, int) or not 0 <= k < len(self.experts):
            raise ConfigError(f"expert {k!r} does not exist; there are {len(self.experts)}, counted from 0")
        return Classifier(self.normalize, self.stem, self.experts[k])


def _head(kind: str, features: int, classes: int, scale: float) -> nn.Module:
    if kind == "cosine":
        return CosineHead(features, classes, scale)
    head = nn.Linear(features, classes)
    nn.init.kaiming_normal_(head.weight)
    nn.init.zeros_(head.bias)
    return head


def _split_stem(net: nn.Module, count: int) -> nn.Sequential:
    """Takes the first ``count`` stages out of a net of `mien.nn.cifar_resnet`; the last net's are kept."""
    if not isinstance(net, StagedNet) or not 0 < count < len(net.stages):
        raise ConfigError(
            f"shared_stages={count} needs smallconv or cifar-resnet and fewer stages than the net has"
        )
    stem = nn.Sequential(*list(net.stages)[:count])
    net.stages = nn.ModuleList(list(net.stages)[count:])
    return stem
