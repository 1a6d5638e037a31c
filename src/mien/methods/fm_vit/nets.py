"""The net of a config."""

from __future__ import annotations

from typing import Any

import torch

from mien.core.errors import ConfigError
from mien.methods.fm_vit.config import FmVitConfig
from mien.methods.fm_vit.flexible import FlexibleNet


def build_net(config: FmVitConfig, size: int, seed: int, *, load: bool = True) -> FlexibleNet:
    """The net of a recipe; weights drawn from ``seed``, then from ``config.pretrained`` if there is one.

    Args:
        config: which net.
        size: side of its input.
        seed: of the weights.
        load: whether ``config.pretrained`` is read (a trained net needs it no more).

    Raises:
        ConfigError: the input cannot be cut into patches.
    """
    if size % config.patch:
        raise ConfigError(f"data.size={size} is not a multiple of method.patch={config.patch}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = _net(config, size)
    return _with_pretrained(net, config.pretrained) if load and config.pretrained is not None else net


def _with_pretrained(net: FlexibleNet, file: str) -> FlexibleNet:
    """Loads timm weights; ``loaded`` names the parameters that they changed."""
    from mien.methods.fm_vit.pretrained import load_timm_vit

    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    load_timm_vit(net, file)
    net.loaded = frozenset(n for n, p in net.named_parameters() if not torch.equal(p, before[n]))
    return net


def _net(config: FmVitConfig, size: int) -> FlexibleNet:
    from mien.methods.fm_vit import baselines, mavit, model

    shape: dict[str, Any] = {
        "img_size": size,
        **{k: getattr(config, k) for k in ("patch", "dim", "depth", "heads", "mlp_ratio", "stem")},
    }
    own = config.modalities
    stages = 2 if config.stages is None else config.stages
    if config.net == "fm":
        given = {k: v for k in ("mutual", "rho", "soft", "mma", "mfa", "share_stb", "missing", "own_position")
                 if (v := getattr(config, k)) is not None}  # fmt: skip
        return model.FMViT(own, stages=stages, aux_targets=config.aux_targets, **given, **shape)
    if config.net == "mavit":
        rho = 0.5 if config.rho is None else config.rho
        return mavit.MAViT(own, stages=stages, rho=rho, **shape)
    if config.net == "single":
        return baselines.SingleViT(own[0], **shape)
    if config.net == "early":
        return baselines.EarlyConcatViT(own, **shape)
    if config.net == "late":
        return baselines.LateFusionViT(own, **shape)
    if config.net == "cross":
        return baselines.CrossAttentionFusion(own, **shape)
    from mien.nn.cdc import CDConv2d

    theta = 0.7 if config.theta is None else config.theta

    def conv(inputs: int, outputs: int, **_: object) -> CDConv2d:
        return CDConv2d(inputs, outputs, theta=theta)

    return baselines.HalfwayCNN(own, img_size=size, width=config.dim // 2, conv=conv)
