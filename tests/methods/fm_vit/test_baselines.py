from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from mien.core.errors import ConfigError
from mien.methods.fm_vit import (
    CrossAttentionFusion,
    EarlyConcatViT,
    HalfwayCNN,
    LateFusionViT,
    SingleViT,
)
from mien.methods.fm_vit.baselines import channel_attention
from tests.methods.fm_vit.nets import NAMES, SIZES, only, pictures, stirred

PLAIN = {k: v for k, v in SIZES.items() if k != "stages"}
SUBSETS = [s for n in (1, 2, 3) for s in itertools.combinations(NAMES, n)]
KINDS = [EarlyConcatViT, LateFusionViT, CrossAttentionFusion, HalfwayCNN]


def small(kind, **options):
    torch.manual_seed(0)
    sizes = {"img_size": 16, "width": 4} if kind is HalfwayCNN else PLAIN
    return kind(**sizes, **options).eval()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("subset", SUBSETS)
def test_any_subset(kind, subset):
    net, images = stirred(small(kind)), pictures(names=subset)
    out = net(images)
    assert list(out["logits"]) == list(subset)
    assert all(z.shape == (3, 2) for z in out["logits"].values())
    torch.testing.assert_close(out["fused"], torch.stack(list(out["logits"].values())).mean(0))
    torch.testing.assert_close(net.predict_proba(images), out["fused"].softmax(1)[:, 0])
    assert out["relevance"] == {}
    assert list(out["cls"]) == (list(subset) if kind is LateFusionViT else [])
    turned = net(only(images, *reversed(subset)))
    assert torch.equal(turned["fused"], out["fused"])
    assert net.required_modalities == ()
    assert isinstance(net.num_features, int)


@pytest.mark.parametrize("kind", KINDS)
def test_absent_modalities_change_nothing_and_present_ones_do(kind):
    net = stirred(small(kind))
    stacked = torch.stack(list(pictures().values())).requires_grad_()
    net({"rgb": stacked[0], "ir": stacked[2]})["fused"].sum().backward()
    assert (stacked.grad[1] == 0).all()
    assert (stacked.grad[[0, 2]].flatten(1).abs().sum(1) > 0).all()


@pytest.mark.parametrize("kind", [*KINDS, SingleViT])
def test_every_weight_learns(kind):
    net = stirred(small(kind)).train()
    images = pictures(names=("rgb",) if kind is SingleViT else NAMES)
    net(images)["fused"].square().sum().backward()
    assert [n for n, p in net.named_parameters() if p.grad is None] == []


def test_one_sensor():
    net, images = stirred(small(SingleViT, modality="depth")), pictures()
    assert net.required_modalities == net.modalities == ("depth",)
    out = net(only(images, "depth"))
    assert torch.equal(out["logits"]["depth"], out["fused"])
    assert out["cls"]["depth"].shape == (3, 16)
    with pytest.raises(ConfigError, match="unknown modality 'rgb'; known: depth"):
        net(images)


def test_zeros_in_early_fusion_are_mid_grey():
    net, images = stirred(small(EarlyConcatViT)), pictures()
    grey = torch.full((3, 1, 16, 16), 0.5)
    alone = net(only(images, "rgb"))["fused"]
    assert torch.equal(net({**only(images, "rgb"), "depth": grey, "ir": grey})["fused"], alone)
    assert net.vit.patch_embed.proj.in_channels == 9


def test_late_fusion_is_the_mean_of_nets_that_share_nothing():
    net, images = stirred(small(LateFusionViT)), pictures()
    out = net(images)
    for m in NAMES:
        assert torch.equal(net(only(images, m))["fused"], net(only(images, m))["logits"][m])
        torch.testing.assert_close(net(only(images, m))["fused"], out["logits"][m])
    owned = [{n for n, _ in net.named_parameters() if f".{m}." in n} for m in NAMES]
    assert sum(map(len, owned)) == len(list(net.named_parameters()))


def test_channel_attention_equals_its_loop():
    h, others = torch.randn(2, 5, 7), torch.randn(2, 2, 5, 7)
    wanted = h.clone()
    for b in range(2):
        for m in range(2):
            for i in range(5):
                weights = torch.softmax(torch.stack([others[m, b, i] @ h[b, j] for j in range(5)]), 0)
                wanted[b, i] += sum(weights[j] * h[b, j] for j in range(5))
    assert (channel_attention(h, others) - wanted).abs().max() < 1e-4


def test_cross_attention_runs_one_transformer_on_all():
    net, images = stirred(small(CrossAttentionFusion)), pictures()
    h = {m: net.vit.forward_features(2 * x - 1)[:, 1:].transpose(1, 2) for m, x in images.items()}
    joined = channel_attention(h["rgb"], torch.stack([h["depth"], h["ir"]]))
    wanted = net.head(net.mix(joined.reshape(3, 16, 4, 4)).mean((2, 3)))
    torch.testing.assert_close(net(images)["fused"], wanted, atol=1e-5, rtol=1e-5)
    assert isinstance(net.dropout, nn.Dropout)
    assert net.dropout.p == 0.3


def test_halfway_takes_another_convolution():
    made = []

    class Conv(nn.Conv2d):
        def __init__(self, *args, **options):
            made.append(options)
            super().__init__(*args, **options)

    net = small(HalfwayCNN, conv=Conv)
    assert made == [{"kernel_size": 3, "padding": 1, "bias": False}] * 8
    assert net(pictures())["fused"].shape == (3, 2)


def test_halfway_joins_maps_in_the_fixed_order():
    net, images = stirred(small(HalfwayCNN)), pictures()
    maps = [net.branches[m](2 * images[m] - 1) for m in NAMES]
    maps[1] = torch.zeros_like(maps[1])
    wanted = net.head(net.trunk(torch.cat(maps, 1)).mean((2, 3)))
    assert maps[0].shape == (3, 8, 4, 4)
    torch.testing.assert_close(net(only(images, "ir", "rgb"))["fused"], wanted)


def test_wrong_sizes():
    with pytest.raises(ConfigError, match="patch=5 must divide img_size=16, heads=2 divide dim=16"):
        SingleViT(**{**PLAIN, "patch": 5})
    with pytest.raises(ConfigError, match="heads=3 divide dim=16"):
        EarlyConcatViT(**{**PLAIN, "heads": 3})
    with pytest.raises(ConfigError, match="depth=0 be at least 1"):
        LateFusionViT(**{**PLAIN, "depth": 0})
    with pytest.raises(ConfigError, match="img_size=4 must be at least 8"):
        HalfwayCNN(img_size=4)
