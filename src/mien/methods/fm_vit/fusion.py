"""What a net costs with each subset of its modalities, beside a fixed fusion of three ViTs."""

from __future__ import annotations

from dataclasses import replace

import torch

from mien.engine.task import total_parameters
from mien.methods.fm_vit.config import MODALITIES, FmVitConfig
from mien.methods.fm_vit.cost import flops
from mien.methods.fm_vit.nets import build_net
from mien.methods.fm_vit.score import subset_name, subsets_of


def fusion_of(config: FmVitConfig) -> FmVitConfig:
    """The reference: one plain ViT as deep and wide for each of the three modalities, logits averaged."""
    shape = {k: getattr(config, k) for k in ("patch", "dim", "heads", "mlp_ratio", "stem")}
    return FmVitConfig(net="late", modalities=MODALITIES, depth=blocks_of(config), **shape)


def blocks_of(config: FmVitConfig) -> int:
    """Transformer blocks that a picture goes through, those that join branches included."""
    joins = 2 if config.stages is None else config.stages
    return config.depth + (joins if config.net in ("fm", "mavit") else 0)


def cost(config: FmVitConfig, size: int) -> dict[str, float]:
    """Floating-point operations of one sample with each subset, and parameters; the same of the fusion.

    ``flops_one`` is the mean over single modalities. Nothing is computed: nets live on the meta device.
    """
    with torch.device("meta"):
        own = build_net(replace(config, pretrained=None), size, 0)
        fusion = build_net(fusion_of(config), size, 0)
    out = {f"flops_{subset_name(s)}": float(flops(own, s)) for s in subsets_of(config.modalities)}
    alone = [out[f"flops_{m}"] for m in config.modalities]
    return {
        **out,
        "flops_one": sum(alone) / len(alone),
        "flops_fusion": float(flops(fusion, MODALITIES)),
        "params": float(total_parameters(own.parameters())),
        "params_fusion": float(total_parameters(fusion.parameters())),
    }
