from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from mien.core.errors import ConfigError, ShapeError
from mien.nn import FACE_NETS, FaceViT, IResNet, build_face_net
from mien.nn.face_net import halved
from mien.nn.face_vit import random_tokens, scatter_tokens

COUNTS = {
    "mobilefacenet": 1_003_136,
    "mbf": 2_059_520,
    "mbf_large": 6_314_880,
    "r50": 43_590_848,
    "r100": 65_156_160,
    "ir_50": 43_585_600,
    "vit_t": 19_137_792,
    "vit_s": 76_023_296,
    "swin_t": 46_784_506,
}
TINY = ("mbf_tiny", "ir_tiny", "vit_tiny", "swin_tiny")


@pytest.mark.parametrize("name", COUNTS)
def test_parameter_counts(name):
    with torch.device("meta"):
        net = build_face_net(name, embedding=128 if name == "mobilefacenet" else 512)
    assert sum(p.numel() for p in net.parameters()) == COUNTS[name]


@pytest.mark.parametrize("name", ["mbf", "r18", "ir_se_18", "vit_t", "swin_t"])
def test_maps_of_a_112_pixel_crop(name):
    with torch.device("meta"):
        net = build_face_net(name).eval()
        x = torch.empty(2, 3, 112, 112)
        maps = net.forward_features(x)
        assert {k: tuple(m.shape[1:]) for k, m in maps.items()} == net.taps
        assert net(x).shape == (2, net.num_features) == (2, 512)
    last = list(net.taps.values())[-1][1:]
    assert last == ((12, 12) if name == "vit_t" else (7, 7))


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("size", [32, 48, 64])
def test_small_sizes_train(name, size):
    torch.manual_seed(0)
    net = build_face_net(name, size=size, embedding=24)
    x = torch.rand(3, 3, size, size)
    found = net(x)
    assert found.shape == (3, 24)
    assert {k: tuple(m.shape[1:]) for k, m in net.forward_features(x).items()} == net.taps
    found.square().sum().backward()
    missing = [n for n, p in net.named_parameters() if p.requires_grad and p.grad is None]
    assert not missing


@pytest.mark.parametrize("name", TINY)
def test_embeddings_keep_their_length_and_are_a_function_in_eval(name):
    torch.manual_seed(0)
    net = build_face_net(name, size=32, embedding=24).eval()
    x = torch.rand(2, 3, 32, 32)
    a = net(x)
    torch.testing.assert_close(net(x), a, rtol=0, atol=0)
    torch.testing.assert_close(net(x.flip(0)).flip(0), a, rtol=1e-4, atol=1e-5)
    assert (a.norm(dim=1) - 1).abs().min() > 1e-3
    torch.testing.assert_close(net.forward_head(list(net.forward_features(x).values())[-1]), a)


@pytest.mark.parametrize("name", TINY)
def test_the_first_layer_sees_minus_one_to_one(name):
    net = build_face_net(name, size=32, embedding=8)
    seen = net.normalize(torch.tensor([0.0, 0.5, 1.0]).expand(1, 3, 1, 3))
    assert seen[0, 0, 0].tolist() == [-1.0, 0.0, 1.0]


@pytest.mark.parametrize("name", TINY)
def test_an_exported_net_takes_any_batch(name):
    torch.manual_seed(0)
    net = build_face_net(name, size=32, embedding=8).eval()
    batch = {0: torch.export.Dim("batch", min=1, max=64)}
    graph = torch.export.export(net, (torch.rand(2, 3, 32, 32),), dynamic_shapes=(batch,)).module()
    x = torch.rand(5, 3, 32, 32)
    torch.testing.assert_close(graph(x), net(x))


def test_wrong_input():
    net = build_face_net("mbf_tiny", size=32, embedding=8)
    with pytest.raises(ShapeError, match=r"\(B, 3, 32, 32\), got \(1, 3, 112, 112\)"):
        net(torch.zeros(1, 3, 112, 112))
    with pytest.raises(ShapeError, match=r"got \(3, 32, 32\)"):
        net(torch.zeros(3, 32, 32))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: build_face_net("mbff"), r"no face net 'mbff'; did you mean 'mbf'\?"),
        (lambda: build_face_net("zzzz"), r"known: .*vit_t"),
        (
            lambda: build_face_net("r50", drop_out=0.4),
            r"r50 has no option 'drop_out'; did you mean 'dropout'\?",
        ),
        (lambda: build_face_net("mbf", size=8), "size=8 must be at least 16"),
        (lambda: IResNet(51), "depth=51 is unknown"),
        (lambda: IResNet(18, variant="se"), "variant='se' is unknown"),
        (lambda: FaceViT(10, 2, 3), "heads=3 must divide"),
        (lambda: FaceViT(8, 2, 2, mask=1.0), r"mask=1.0 is outside \[0, 1\)"),
        (lambda: build_face_net("swin_tiny", size=33), "patch=2 must divide size=33"),
        (lambda: build_face_net("swin_tiny", size=32, heads=(5, 2, 2, 2)), "must divide the widths"),
        (lambda: build_face_net("mbf", size=32, blocks=(0, 1, 1, 1)), "must be at least 1"),
    ],
)
def test_settings_that_do_not_work(call, message):
    with torch.device("meta"), pytest.raises(ConfigError, match=message):
        call()


def test_names_cover_the_families():
    assert {"mobilefacenet", "mbf", "mbf_large", "r18", "r34", "r50", "r100", "r200"} <= set(FACE_NETS)
    assert {"vit_t", "vit_s", "vit_b", "vit_l", "swin_t", "ir_50", "ir_se_50"} <= set(FACE_NETS)


def test_variants_of_the_residual_net():
    with torch.device("meta"):
        plain, pooled = IResNet(18), IResNet(18, variant="adaface")
        bare = IResNet(18, variant="face_evolve", squeeze=True)
    assert not plain.features.weight.requires_grad
    assert plain.features.bias.requires_grad
    assert plain.dropout.p == 0.0
    assert isinstance(plain.stages[0][0].skip, torch.nn.Sequential)
    assert isinstance(pooled.stages[0][0].skip, torch.nn.MaxPool2d)
    assert isinstance(pooled.stages[1][0].skip, torch.nn.Sequential)
    assert pooled.features.weight is None
    assert pooled.dropout.p == 0.4
    assert isinstance(bare.stages[0][0].bn2, torch.nn.Identity)
    assert bare.stages[0][0].squeeze.fc1.out_channels == 4


def test_a_block_equals_its_steps():
    torch.manual_seed(0)
    net = IResNet((1, 1, 1, 1), size=16, width=4, embedding=8).eval()
    block, x = net.stages[1][0], torch.randn(2, 4, 8, 8)

    def norm(layer, t):
        return (t - layer.running_mean[:, None, None]) / torch.sqrt(
            layer.running_var[:, None, None] + layer.eps
        )

    y = F.conv2d(norm(block.bn1, x), block.conv1.weight, padding=1)
    y = F.prelu(norm(block.bn2, y), block.prelu.weight)
    y = norm(block.bn3, F.conv2d(y, block.conv2.weight, stride=2, padding=1))
    skip = norm(block.skip[1], F.conv2d(x, block.skip[0].weight, stride=2))
    torch.testing.assert_close(block(x), y + skip, rtol=1e-4, atol=1e-4)


def test_sides_round_up():
    assert [halved(112, i) for i in range(5)] == [112, 56, 28, 14, 7]
    assert halved(33, 2) == 9


def test_token_masking():
    torch.manual_seed(0)
    kept = random_tokens(200, 10, 7, torch.device("cpu"))
    assert kept.shape == (200, 7)
    assert all(len(set(row)) == 7 and sorted(row) == row for row in kept.tolist())
    assert torch.bincount(kept.flatten(), minlength=10).min() > 100
    x, fill = torch.arange(6.0).reshape(1, 3, 2), torch.full((1, 1, 2), -1.0)
    found = scatter_tokens(x, torch.tensor([[0, 2, 3]]), 5, fill)
    assert found[0, :, 0].tolist() == [0.0, -1.0, 2.0, 4.0, -1.0]
    assert scatter_tokens(x, None, 3, fill) is x


def test_masked_positions_hold_the_mask_token_in_training_only():
    torch.manual_seed(0)
    net = FaceViT(16, 4, 2, size=36, embedding=8, mask=0.5, drop_path=0.0)
    x = torch.rand(2, 3, 36, 36)
    maps = net.forward_features(x)
    token = net.mask_token.detach().reshape(1, 16, 1, 1)
    assert (maps["final"] == token).all(1).sum((1, 2)).tolist() == [8, 8]
    assert (maps["stage1"] == 0).all(1).sum((1, 2)).tolist() == [8, 8]
    assert not (net.eval().forward_features(x)["final"] == token).all(1).any()
    rates = [b.drop_path1.drop_prob for b in FaceViT(16, 3, 2, size=36, drop_path=0.1).blocks[1:]]
    assert rates == pytest.approx([0.05, 0.1])


def test_vit_attention_has_no_qkv_bias_and_looks_past_no_border():
    with torch.device("meta"):
        net = FaceViT(16, 1, 2)
    assert net.blocks[0].attn.qkv.bias is None
    assert net.blocks[0].attn.proj.bias is not None
    assert isinstance(net.blocks[0].mlp.act, torch.nn.ReLU6)
    torch.manual_seed(0)
    small = FaceViT(16, 1, 2, size=40, embedding=4).eval()
    x = torch.rand(1, 3, 40, 40)
    beyond = x.clone()
    beyond[..., 36:] = 0
    beyond[..., 36:, :] = 0
    assert torch.equal(small(x), small(beyond))


def test_a_convolutional_stem_gives_the_same_grid_and_needs_a_power_of_two():
    net = FaceViT(24, 2, 2, size=48, embedding=8, patch=8, stem="conv", mask=0.0)
    assert net.taps["final"] == (24, 6, 6)
    assert net.eval()(torch.zeros(1, 3, 48, 48)).shape == (1, 8)
    assert net.forward_features(torch.zeros(1, 3, 48, 48))["stem"].shape == (1, 24, 6, 6)
    for patch, size in ((6, 48), (8, 50)):
        with pytest.raises(ConfigError, match=r"a power of 2 that divides"):
            FaceViT(24, 2, 2, size=size, patch=patch, stem="conv")
