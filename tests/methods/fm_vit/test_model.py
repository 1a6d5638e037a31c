from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer

from mien.core.errors import ConfigError
from mien.methods.fm_vit import FMViT
from tests.methods.fm_vit.nets import NAMES, SIZES, only, pictures, small, stirred

SUBSETS = [s for n in (1, 2, 3) for s in itertools.combinations(NAMES, n)]
OPTIONS = [
    {},
    {"mutual": "product"},
    {"mutual": "peer", "missing": "skip"},
    {"soft": True},
    {"mma": False},
    {"mfa": False, "rho": 1.0},
    {"share_stb": False},
    {"per_modal_qkv": True, "own_position": True, "head": "shared"},
]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("subset", SUBSETS)
def test_any_subset(options, subset):
    out = small(**options)(pictures(names=subset))
    assert list(out["logits"]) == list(out["relevance"]) == list(out["cls"]) == list(subset)
    for m in subset:
        assert out["logits"][m].shape == (3, 2)
        assert out["relevance"][m].shape == (3, 16)
        assert out["cls"][m].shape == (3, 16)
        torch.testing.assert_close(out["relevance"][m].sum(1), torch.ones(3))
        assert not out["relevance"][m].requires_grad
    torch.testing.assert_close(out["fused"], torch.stack(list(out["logits"].values())).mean(0))
    assert "aux" not in out


@pytest.mark.parametrize("options", OPTIONS)
def test_subsets_at_once_say_what_each_says_alone(options):
    net, images = stirred(small(depth=4, **options)), pictures()
    outs = net.forward_subsets(images, SUBSETS)
    for subset, out in zip(SUBSETS, outs, strict=True):
        alone = net({m: images[m] for m in subset})
        assert list(out["logits"]) == list(subset)
        torch.testing.assert_close(out, alone, atol=1e-5, rtol=1e-5)


def test_what_subsets_share_runs_once():
    net, runs = small(depth=4), []
    for layer in (net.embed["rgb"], net.blocks[1], net.blocks[2]):
        layer.register_forward_hook(lambda layer, *_: runs.append(layer))
    net.forward_subsets(pictures(), [NAMES, ("rgb",)])
    assert [sum(r is layer for r in runs) for layer in (net.embed["rgb"], *net.blocks[1:3])] == [1, 1, 2]


def test_worked_fusion_of_logits():
    net = small()
    z = {"rgb": (0.2, -0.1), "depth": (1.4, -0.6), "ir": (0.5, 0.3)}
    with torch.no_grad():
        for m, values in z.items():
            net.head.of(m).weight.zero_()
            net.head.of(m).bias.copy_(torch.tensor(values))
    images = pictures()
    out = net(images)
    torch.testing.assert_close(out["fused"], torch.tensor([[0.7, -0.133333]]).expand(3, 2), atol=1e-6, rtol=0)
    probability = net.predict_proba(images)
    torch.testing.assert_close(probability, torch.full((3,), 0.697059), atol=1e-6, rtol=0)
    live = torch.zeros(3, dtype=torch.long)
    terms = [F.cross_entropy(out["logits"][m], live).item() for m in NAMES]
    assert terms == pytest.approx([0.554355, 0.126928, 0.598139], abs=1e-6)
    assert sum(terms) / 3 == pytest.approx(0.426474, abs=1e-6)


@pytest.mark.parametrize("options", OPTIONS)
def test_absent_modalities_change_nothing(options):
    net = stirred(small(**options))
    images = {m: x.requires_grad_() for m, x in pictures().items()}
    out = net(only(images, "rgb"))
    grads = torch.autograd.grad(
        out["fused"].sum() + out["cls"]["rgb"].sum(), list(images.values()), allow_unused=True
    )
    assert grads[0].abs().sum() > 0
    assert grads[1] is None
    assert grads[2] is None
    # In one tensor of all modalities the gradient of the absent ones is exactly 0.
    stacked = torch.stack([x.detach() for x in images.values()]).requires_grad_()
    net({"rgb": stacked[0], "ir": stacked[2]})["fused"].sum().backward()
    assert (stacked.grad[1] == 0).all()
    assert (stacked.grad[[0, 2]].flatten(1).abs().sum(1) > 0).all()
    # Nor do the absent ones' weights get one, so no optimiser moves them.
    net.zero_grad(set_to_none=True)
    net(only(images, "rgb"))["fused"].sum().backward()
    own = [n for n, p in net.named_parameters() if p.grad is not None and {"depth", "ir"} & set(n.split("."))]
    assert own == []


def test_peers_matter():
    net = stirred(small())
    images = pictures()
    both = net(only(images, "rgb", "ir"))["logits"]["rgb"]
    images["ir"] = images["ir"].flip(3)
    assert not torch.allclose(net(only(images, "rgb", "ir"))["logits"]["rgb"], both)
    assert not torch.allclose(net(only(images, "rgb"))["logits"]["rgb"], both)


@pytest.mark.parametrize("options", OPTIONS)
def test_the_order_of_keys_changes_nothing(options):
    net, images = stirred(small(**options)), pictures()
    wanted = net(images)
    for order in itertools.permutations(NAMES):
        found = net(only(images, *order))
        assert list(found["logits"]) == list(NAMES)
        assert torch.equal(found["fused"], wanted["fused"])
        for m in NAMES:
            assert torch.equal(found["logits"][m], wanted["logits"][m])


def tied(net, a, b):
    """Gives modality b all weights of modality a."""
    state = net.state_dict()
    for name in list(state):
        if f".{a}." in f".{name}.":
            state[name.replace(a, b)] = state[name]
    net.load_state_dict(state)
    return net


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("subset", [("rgb", "ir"), NAMES])
def test_swapping_tied_modalities_swaps_their_logits(options, subset):
    net, images = tied(stirred(small(**options)), "rgb", "ir"), pictures(names=subset)
    out = net(images)
    swapped = net({**images, "rgb": images["ir"], "ir": images["rgb"]})
    near = {"atol": 1e-6, "rtol": 1e-5}
    torch.testing.assert_close(swapped["logits"]["rgb"], out["logits"]["ir"], **near)
    torch.testing.assert_close(swapped["logits"]["ir"], out["logits"]["rgb"], **near)
    torch.testing.assert_close(swapped["fused"], out["fused"], **near)
    assert not torch.allclose(out["logits"]["rgb"], out["logits"]["ir"], atol=1e-4)


def as_own(shared, own):
    """Copies a net with shared blocks into one whose branches have their own."""
    state = shared.state_dict()
    for name in own.state_dict():
        for m in NAMES:
            if name not in state and f"parts.{m}" in name:
                state[name] = state[name.replace(f"parts.{m}", "parts.shared")]
    own.load_state_dict({name: state[name] for name in own.state_dict()})
    return own


@pytest.mark.parametrize("subset", [("depth",), ("rgb", "ir"), NAMES])
def test_one_batched_call_equals_the_loop_over_branches(subset):
    shared = stirred(small())
    own = as_own(shared, small(share_stb=False))
    images = pictures(names=subset)
    a, b = shared(images), own(images)
    assert (a["fused"] - b["fused"]).abs().max() < 1e-6
    for m in subset:
        assert (a["logits"][m] - b["logits"][m]).abs().max() < 1e-6
    # The shared blocks run once for all branches.
    calls = []
    shared.blocks[0].qkv.of("shared").register_forward_hook(lambda *_: calls.append(1))
    shared(images)
    assert len(calls) == 1


def test_at_the_start_cross_modal_blocks_are_the_identity():
    net, images = small(), pictures()
    _, x = net.tokens(images)
    for block in net.blocks:
        x = block(x, NAMES)
    plain = dict(zip(NAMES, net.norm(x, NAMES), strict=True))
    for m, features in net.forward_features(images).items():
        assert torch.equal(features, plain[m])
    # So one modality gives the same with peers as without, until training begins.
    alone = net(only(images, "ir"))["logits"]["ir"]
    torch.testing.assert_close(net(images)["logits"]["ir"], alone, atol=1e-6, rtol=1e-5)


def test_one_modality_without_cut_and_fusion_is_a_plain_transformer():
    net = stirred(small(rho=1.0, mfa=False, modalities=("rgb",)))
    vit = VisionTransformer(16, 4, num_classes=0, embed_dim=16, depth=4, num_heads=2, mlp_ratio=2.0).eval()
    vit.patch_embed.proj.load_state_dict(net.embed["rgb"].state_dict())
    vit.cls_token.data, vit.pos_embed.data = net.cls["rgb"].data, net.position["shared"].data
    vit.norm.load_state_dict(net.norm.of("rgb").state_dict())
    order = [net.blocks[0], net.cross_blocks[0], net.blocks[1], net.cross_blocks[1]]
    for theirs, ours in zip(vit.blocks, order, strict=True):
        is_cross = ours in list(net.cross_blocks)
        out, mlp = (ours.out, ours.mlp) if is_cross else (ours.out.of("rgb"), ours.mlp.of("rgb"))
        norm2 = ours.norm3 if is_cross else ours.norm2
        theirs.norm1.load_state_dict(ours.norm1.of("rgb").state_dict())
        theirs.attn.qkv.load_state_dict(ours.qkv.of("rgb").state_dict())
        theirs.attn.proj.load_state_dict(out.state_dict())
        theirs.norm2.load_state_dict(norm2.of("rgb").state_dict())
        theirs.mlp.fc1.load_state_dict(mlp[0].state_dict())
        theirs.mlp.fc2.load_state_dict(mlp[2].state_dict())
    images = pictures(names=("rgb",))
    wanted = vit.forward_features((images["rgb"] - 0.5) / 0.5)
    assert (net.forward_features(images)["rgb"] - wanted).abs().max() < 1e-5


def test_one_kept_patch_of_each_branch():
    net = stirred(small(rho=1 / 16, stages=1))
    images, block = pictures(), net.cross_blocks[0]
    present, x = net.tokens(images)
    for b in net.blocks:
        x = b(x, present)
    within, _ = block.maps(x, present)
    seen = (within > 0).sum(-1)
    assert (seen == 2).all()  # CLS and one patch


def test_auxiliary_targets():
    net = small(aux_targets=("depth", "ir"))
    images = pictures()
    aux = net(images)["aux"]
    assert {m: tuple(x.shape) for m, x in aux.items()} == {"depth": (3, 16, 16), "ir": (3, 16, 16)}
    assert "aux" in net(only(images, "rgb"))
    assert "aux" not in net(only(images, "depth", "ir"))
    with pytest.raises(ConfigError, match="'rgb' must be another of rgb, depth, ir than rgb"):
        small(aux_targets=("rgb",))
    with pytest.raises(ConfigError, match="a patch, here 2, that 4 divides"):
        small(aux_targets=("ir",), patch=2)


def test_every_weight_learns_and_float64_agrees():
    net = stirred(small()).train()
    images = pictures()
    net(images)["fused"].square().sum().backward()
    assert [n for n, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum()] == []
    double = stirred(small()).double()
    out = double({m: x.double() for m, x in images.items()})
    torch.testing.assert_close(out["fused"].float(), net(images)["fused"], atol=1e-5, rtol=1e-4)


def test_the_same_on_every_call_and_from_the_same_seed():
    images = pictures()
    outs, grads = [], []
    for _ in range(2):
        torch.manual_seed(3)
        net = FMViT(**SIZES).train()
        out = net(images)["fused"]
        out.square().sum().backward()
        outs.append(out)
        grads.append(net.embed["rgb"].weight.grad)
    assert torch.equal(*outs)
    assert torch.equal(*grads)


def test_soft_relevance_has_a_gradient():
    for soft in (False, True):
        net = stirred(small(modalities=("rgb", "ir"), soft=soft, mfa=False, stages=1))
        images = pictures(names=("rgb", "ir"))
        images["ir"].requires_grad_()
        # Without fusion-attention peers act on RGB through the mutual map alone.
        z = net(images)["logits"]["rgb"].sum()
        grad = torch.autograd.grad(z, images["ir"], allow_unused=True)[0]
        assert (grad is not None and grad.abs().sum() > 0) == soft


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"patch": 5}, "patch=5 must divide img_size=16, and stages=2 divide depth=2"),
        ({"stages": 3}, "stages=3 divide depth=2"),
        ({"stages": 0}, "stages=0 divide depth=2"),
        ({"heads": 3}, "heads=3 must divide dim=16"),
        ({"rho": 1.5}, r"rho=1.5 is outside \(0, 1\]"),
        ({"mutual": "x"}, "mutual='x' is unknown"),
        ({"missing": "x"}, "missing='x' is unknown"),
        ({"head": "x"}, "head='x' is unknown; known: per_modality, shared"),
        ({"modalities": ()}, r"modalities=\(\) must be a list of one or more different names"),
        ({"modalities": ("rgb", "rgb")}, "different names"),
        ({"modalities": "rgb"}, "different names"),
        ({"modalities": ("rgb", "shared")}, "different names"),
        ({"modalities": ("near.ir",)}, "different names"),
    ],
)
def test_wrong_options(options, line):
    with pytest.raises(ConfigError, match=line) as caught:
        small(**options)
    assert "\n" not in str(caught.value)
