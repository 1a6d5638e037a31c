"""Small nets for the tests."""

from __future__ import annotations

import torch

from mien.methods.fm_vit import FMViT

NAMES = ("rgb", "depth", "ir")
SIZES = {"img_size": 16, "patch": 4, "dim": 16, "depth": 2, "heads": 2, "stages": 2, "mlp_ratio": 2.0}


def stirred(net, seed=0, scale=0.2):
    """All weights at random, so that no block is the identity."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.randn(p.shape, generator=g) * scale)
    return net


def small(**options):
    torch.manual_seed(0)
    return FMViT(**{**SIZES, **options}).eval()


def pictures(batch=3, names=NAMES, size=16, seed=0, channels=3):
    g = torch.Generator().manual_seed(seed)
    return {m: torch.rand(batch, channels, size, size, generator=g) for m in names}


def only(images, *names):
    return {m: images[m] for m in names}
