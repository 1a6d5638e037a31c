"""Backbones by name: ours for small pictures, timm's for the rest."""

from __future__ import annotations

import re
from pathlib import Path

from torch import nn

from mien.core.errors import ConfigError
from mien.nn.cifar_resnet import CifarResNet, SmallConvNet, SmallResNet
from mien.nn.groupconv import GroupConvNet


def build_backbone(name: str, *, channels: int = 3, pretrained: str | None = None) -> nn.Module:
    """A net (B, channels, H, W) -> (B, num_features).

    Args:
        name: ``smallconv-W`` or ``groupconv-W`` (W = width), ``cifar-resnet-D`` (D = 8, 20, 32 ...),
            ``small-resnet-W-W...`` (one block for each width), or any timm model name.
        channels: input channels.
        pretrained: path of timm weights (safetensors) for a timm model; never downloaded.

    Raises:
        ConfigError: unknown name.
    """
    if match := re.fullmatch(r"smallconv-(\d+)", name):
        return SmallConvNet(int(match[1]), channels)
    if match := re.fullmatch(r"groupconv-(\d+)", name):
        return GroupConvNet(int(match[1]), channels)
    if match := re.fullmatch(r"cifar-resnet-(\d+)", name):
        return CifarResNet(int(match[1]), channels)
    if match := re.fullmatch(r"small-resnet((?:-[1-9]\d*)+)", name):
        return SmallResNet([int(w) for w in match[1][1:].split("-")], channels)
    import timm

    if not timm.is_model(name):
        near = timm.list_models(f"*{name}*")[:3]
        hint = f"; timm has {', '.join(near)}" if near else ""
        raise ConfigError(
            f"unknown backbone {name!r}: smallconv-W, groupconv-W, cifar-resnet-D, small-resnet-W-W or a timm"
            f" model{hint}"
        )
    if pretrained and not Path(pretrained).is_file():
        raise ConfigError(f"pretrained weights {pretrained}: no such file")
    overlay = {"file": pretrained} if pretrained else None
    net: nn.Module = timm.create_model(
        name, num_classes=0, in_chans=channels, pretrained=bool(pretrained), pretrained_cfg_overlay=overlay
    )
    return net
