from __future__ import annotations

import pickle

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer

from mien.core.errors import WeightsError
from mien.methods.fm_vit import (
    CrossAttentionFusion,
    EarlyConcatViT,
    HalfwayCNN,
    LateFusionViT,
    MAViT,
    SingleViT,
    load_timm_vit,
)
from mien.methods.fm_vit.pretrained import fold_normalisation, resized_position
from tests.methods.fm_vit.nets import NAMES, SIZES, only, pictures, small, stirred

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
PLAIN = {k: v for k, v in SIZES.items() if k != "stages"}


def timm_vit(size=16, **options):
    torch.manual_seed(7)
    vit = VisionTransformer(
        size, 4, num_classes=5, embed_dim=16, depth=2, num_heads=2, mlp_ratio=2.0, **options
    )
    return stirred(vit).eval()


def normalised(x, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)):
    return (x - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]


@pytest.mark.parametrize(
    "options", [{"rho": 1.0, "mfa": False}, {}, {"own_position": True}, {"share_stb": False}]
)
@pytest.mark.parametrize("known", [{}, IMAGENET])
def test_every_branch_is_the_loaded_transformer(options, known):
    vit, net, images = timm_vit(), stirred(small(**options), 3), pictures()
    load_timm_vit(net, vit.state_dict(), **known)
    for m in NAMES:
        found = net.forward_features(only(images, m))[m]
        wanted = vit.forward_features(normalised(images[m], **known))
        assert (found - wanted).abs().max() < 1e-5
    # Cross-modal blocks are the identity again, so peers change nothing either.
    together = net.forward_features(images)
    assert (together["ir"] - vit.forward_features(normalised(images["ir"], **known))).abs().max() < 1e-5


def test_cross_modal_blocks_take_the_loaded_blocks():
    vit, net = timm_vit(), stirred(small(), 3)
    load_timm_vit(net, vit)
    for cross, block in zip(net.cross_blocks, vit.blocks, strict=True):
        assert torch.equal(cross.qkv.of("ir").weight, block.attn.qkv.weight)
        assert torch.equal(torch.cat([cross.fuse_q.bias, cross.fuse_kv.bias]), block.attn.qkv.bias)
        assert torch.equal(cross.mlp[0].weight, block.mlp.fc1.weight)
        assert not any(
            p.abs().sum() for end in (cross.out, cross.fuse_out, cross.mlp[2]) for p in end.parameters()
        )


def test_a_model_tells_how_its_images_are_normalised():
    vit, net, images = timm_vit(), small(), pictures(names=("rgb",))
    vit.pretrained_cfg = dict(IMAGENET)
    load_timm_vit(net, vit)
    wanted = vit.forward_features(normalised(images["rgb"], **IMAGENET))
    assert (net.forward_features(images)["rgb"] - wanted).abs().max() < 1e-5
    load_timm_vit(net, vit, mean=(0.5,) * 3, std=(0.5,) * 3)
    assert torch.equal(net.embed["rgb"].weight, vit.patch_embed.proj.weight)


def test_folding_is_exact():
    torch.manual_seed(0)
    conv = torch.nn.Conv2d(3, 8, 4, 4).double()
    state = {f"patch_embed.proj.{k}": v.detach() for k, v in conv.state_dict().items()}
    x = torch.rand(2, 3, 8, 8).double()
    wanted = conv(normalised(x, **IMAGENET).double())
    conv.load_state_dict({k[17:]: v for k, v in fold_normalisation(state, **IMAGENET).items()})
    assert (conv(2 * x - 1) - wanted).abs().max() < 1e-6


def test_the_position_table_is_interpolated():
    vit, net = timm_vit(32), small()
    load_timm_vit(net, vit)
    table = net.position["shared"]
    assert table.shape == (1, 17, 16)
    assert torch.equal(table[:, 0], vit.pos_embed[:, 0])
    even = resized_position(torch.full((1, 65, 16), 0.7), 4)
    torch.testing.assert_close(even, torch.full((1, 17, 16), 0.7))
    rising = torch.arange(8.0).repeat(8).reshape(1, 64, 1)  # along each row
    resized = resized_position(torch.cat([torch.zeros(1, 1, 1), rising], 1), 4)[0, 1:, 0].reshape(4, 4)
    torch.testing.assert_close(resized[0], resized[3])
    assert (resized.diff(dim=1) > 1).all()
    with pytest.raises(WeightsError, match="pos_embed of 16 rows is no square grid"):
        resized_position(torch.zeros(1, 16, 4), 4)


def test_a_file(tmp_path):
    vit, net = timm_vit(), small()
    path = tmp_path / "vit.safetensors"
    save_file(vit.state_dict(), str(path))
    load_timm_vit(net, str(path))
    assert torch.equal(net.blocks[1].mlp.of("rgb")[2].weight, vit.blocks[1].mlp.fc2.weight)
    with pytest.raises(WeightsError, match="no such file"):
        load_timm_vit(net, tmp_path / "none.safetensors")
    bad = tmp_path / "vit.pth"
    bad.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(WeightsError, match="a pickle, which can run code"):
        load_timm_vit(net, bad)


def test_a_name(monkeypatch):
    net, vit = small(), timm_vit()
    vit.pretrained_cfg = dict(IMAGENET)
    asked = []

    def create_model(name, pretrained):
        asked.append((name, pretrained))
        return vit

    monkeypatch.setattr(timm, "create_model", create_model)
    load_timm_vit(net, "vit_tiny_patch16_224")
    assert asked == [("vit_tiny_patch16_224", True)]
    assert not torch.equal(net.embed["rgb"].weight, vit.patch_embed.proj.weight)  # folded

    def offline(name, pretrained):
        raise OSError("no network\nand more")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(WeightsError, match=r"cannot get its weights \(no network\); give a safetensors file"):
        load_timm_vit(net, "vit_tiny_patch16_224")
    with pytest.raises(WeightsError, match="vit_huge_nothing: neither a safetensors file nor a model"):
        load_timm_vit(net, "vit_huge_nothing")


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda s: s.pop("cls_token"), "cls_token is missing"),
        (lambda s: s.pop("norm.weight"), "norm.weight is missing"),
        (lambda s: s.pop("blocks.1.attn.qkv.bias"), "blocks.1.attn.qkv.bias is missing"),
        (lambda s: s.update({"blocks.2.norm1.weight": s["norm.weight"]}), "has no blocks.2.norm1.weight"),
        (
            lambda s: s.update({"norm.weight": s["norm.weight"][:8]}),
            r"norm.weight has shape \(8,\), this net needs",
        ),
        (lambda s: s.update({"pos_embed": s["pos_embed"][:, 1:]}), "of 16 rows is no square grid"),
    ],
)
def test_weights_of_another_net(change, line):
    state = timm_vit().state_dict()
    change(state)
    with pytest.raises(WeightsError, match=line) as caught:
        load_timm_vit(small(), state)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [SingleViT, LateFusionViT, CrossAttentionFusion])
def test_baselines_take_them_too(kind):
    vit, net = timm_vit(), kind(**PLAIN).eval()
    load_timm_vit(net, vit.state_dict(), **IMAGENET)
    inner = [m for m in net.modules() if isinstance(m, VisionTransformer)]
    x = pictures()["rgb"]
    assert len(inner) == (3 if kind is LateFusionViT else 1)
    for other in inner:
        found = other.forward_features(2 * x - 1)
        torch.testing.assert_close(
            found, vit.forward_features(normalised(x, **IMAGENET)), atol=1e-5, rtol=1e-5
        )


def test_early_fusion_of_equal_images_is_the_loaded_net():
    vit, net = timm_vit(), EarlyConcatViT(**PLAIN).eval()
    load_timm_vit(net, vit)
    x = pictures()["rgb"]
    stacked = torch.cat(net.with_zeros(dict.fromkeys(NAMES, x)), 1)
    assert (net.vit.forward_features(stacked) - vit.forward_features(2 * x - 1)).abs().max() < 1e-5


def test_the_single_branch_takes_them():
    vit, net = timm_vit(), stirred(MAViT(**SIZES))
    load_timm_vit(net, vit)
    assert torch.equal(net.blocks[0].qkv.of("all").weight, vit.blocks[0].attn.qkv.weight)
    x = torch.randn(2, 3, 18, 16)
    for cross in net.agnostic_blocks:
        assert torch.equal(cross(x)[0], x)


def test_a_net_without_a_transformer():
    with pytest.raises(WeightsError, match="a HalfwayCNN has no vision transformer"):
        load_timm_vit(HalfwayCNN(img_size=16), timm_vit())
