from __future__ import annotations

import pytest
import torch

from mien.core.errors import ConfigError
from mien.engine.task import total_parameters
from mien.methods.fm_vit import (
    EarlyConcatViT,
    FMViT,
    LateFusionViT,
    MAViT,
    SingleViT,
    flops,
    parameters,
)
from tests.methods.fm_vit.nets import NAMES, only, pictures, small

D, L, N = 768, 197, 196
BLOCK = 12 * L * D**2 + 2 * L**2 * D
EMBED = N * 3 * 16**2 * D
FUSION = D**2 + 2 * N * D**2 + 2 * N * D + D**2
"""Multiply-adds: a block, the patch embedding, fusion-attention of a branch on its own patches."""


def on_meta(kind, **options):
    with torch.device("meta"):
        return kind(**options)


def test_operations_of_the_published_size():
    net = on_meta(FMViT)
    relevance = 4 * 196 * D  # one product of the CLS query in each CMTB
    one = flops(net, ("rgb",)) / 2
    assert one == 12 * BLOCK + EMBED + 4 * (BLOCK + FUSION) + relevance + 2 * D
    assert 12 * BLOCK + EMBED == pytest.approx(17.6e9, rel=0.005)  # a plain ViT-B/16
    assert 4 * (BLOCK + FUSION) == pytest.approx(6.7e9, rel=0.01)
    assert flops(on_meta(SingleViT), ("rgb",)) / 2 == 12 * BLOCK + EMBED + 2 * D
    three = flops(net, NAMES) / 2
    more_peers = 4 * 3 * 2 * N * D  # of each branch one CLS row looks at twice as many patches
    assert three == 3 * one + more_peers
    for m in NAMES:
        assert flops(net, (m,)) == 2 * one
        assert flops(net, (m,)) < flops(net, NAMES) / 2.9
    # Off, the parts cost nothing; own branches cost what shared ones do.
    assert flops(on_meta(FMViT, mfa=False), ("rgb",)) / 2 == one - 4 * FUSION
    assert flops(on_meta(FMViT, share_stb=False), NAMES) / 2 == three
    assert flops(on_meta(LateFusionViT), NAMES) / 2 == 3 * (12 * BLOCK + EMBED + 2 * D)
    early = on_meta(EarlyConcatViT)
    assert flops(early, ("ir",)) == flops(early, NAMES)


def test_weights_of_the_published_size():
    net = on_meta(FMViT)
    cross = total_parameters(net.cross_blocks.parameters())
    shared = total_parameters(net.parameters())
    vit = total_parameters(on_meta(SingleViT).parameters())
    assert vit == 85_800_194
    assert cross == 37_843_968
    assert shared - cross == 87_062_790
    assert (shared - cross) / vit < 1.015  # ViT-B 86 M, and little for what is each branch's own
    own = total_parameters(on_meta(FMViT, share_stb=False).parameters())
    assert own == 294_941_958
    assert total_parameters(on_meta(LateFusionViT).parameters()) == 3 * vit
    # What a device with one sensor holds does not depend on whether the others' branches share it.
    assert parameters(net, ("ir",)) == parameters(on_meta(FMViT, share_stb=False), ("ir",)) == 123_607_298
    assert parameters(net, NAMES) == shared
    assert total_parameters(on_meta(MAViT).parameters()) < shared


def test_a_real_net_is_counted_and_left_alone():
    net = small()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    images = pictures(1)
    assert parameters(net, ("rgb",)) < parameters(net, NAMES)
    assert flops(net, ("rgb",)) > 0
    assert all(torch.equal(v, before[k]) and v.device.type == "cpu" for k, v in net.state_dict().items())
    net(only(images, "rgb"))["fused"].sum().backward()
    counted = sum(p.numel() for p in net.parameters() if p.grad is not None)
    assert counted == parameters(net, ("rgb",))


def test_wrong_subsets():
    with pytest.raises(ConfigError, match="unknown modality 'x'"):
        flops(small(), ("x",))
    with pytest.raises(ConfigError, match="different names"):
        parameters(small(), ())
