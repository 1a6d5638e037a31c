"""The net of a config."""

from __future__ import annotations

from torch import nn

from mien.core.errors import ConfigError
from mien.methods.cqil.config import CqilConfig
from mien.methods.cqil.model import CQIL
from mien.methods.cqil.solutions import DiseNet, FoldEnsemble, PartsNet


def build_net(config: CqilConfig, size: int, seed: int, *, load: bool = True) -> nn.Module:
    """Pictures (B, 3, size, size) in [0, 1] -> `mien.methods.cqil.loss.CqilOut`.

    Args:
        config: the net.
        size: side of its input.
        seed: of the first weights.
        load: whether pre-trained weights are read.

    Raises:
        ConfigError: an unknown backbone, or a side that the net cannot halve twice.
    """
    pretrained = config.pretrained if load else None
    if config.sr and size % 4:
        raise ConfigError(f"data.size={size} is no multiple of 4, and method.sr halves pictures twice")
    if config.net == "parts":
        return PartsNet(config.backbone, seed, pretrained)
    if config.net == "dise":
        return DiseNet(config.backbone, 1e-3 if config.kl is None else config.kl, seed, pretrained)
    if config.net == "folds":
        return FoldEnsemble(config.backbone, config.members or 3, seed, pretrained)
    return CQIL(
        config.backbone, config.sr, config.contrast, config.sqn,
        split=config.split or "maps",
        width=config.width,
        projection=config.projection or 64,
        beta=1.0 if config.beta is None else config.beta,
        sr_channels=config.sr_channels or 64,
        sr_blocks=config.sr_blocks or 8,
        pretrained=pretrained,
        seed=seed,
    )  # fmt: skip
