from __future__ import annotations

import itertools

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from mien.core.errors import ConfigError, ShapeError
from mien.methods.otavatar.generator import SMALL, FieldDecoder, SuperResolution, TriPlaneGenerator

TINY = {
    "z_dim": 8, "c_dim": 3, "w_dim": 8, "plane_size": 16, "plane_channels": 4, "channel_base": 128,
    "channel_max": 8, "decoder_width": 8, "features": 6, "sr_side": 16, "sr_channels": (8, 4),
}  # fmt: skip


def dense(inputs, outputs):
    return inputs * outputs + outputs


def conv(inputs, outputs, w=512, noise=1):
    """Kernel, bias, affine of the style, strength of the noise."""
    return 9 * inputs * outputs + outputs + dense(w, inputs) + noise


def rgb(inputs, outputs, w=512):
    return dense(inputs, outputs) + dense(w, inputs)


def count(net):
    return sum(p.numel() for p in net.parameters())


def test_the_size_of_eg3d_by_hand():
    with torch.device("meta"):
        net = TriPlaneGenerator()
    assert count(net.mapping) == dense(25, 512) + dense(1024, 512) + dense(512, 512)
    widths = [512, 512, 512, 512, 512, 256, 128]  # 4, 8, 16, 32, 64, 128, 256 pixels
    by_hand = 512 * 4 * 4 + conv(512, 512) + rgb(512, 96)
    for before, width in itertools.pairwise(widths):
        by_hand += conv(before, width) + conv(width, width) + rgb(width, 96)
    assert count(net.synthesis) == by_hand
    assert count(net.decoder) == dense(32, 64) + dense(64, 33)
    assert count(net.super_resolution) == sum(
        conv(a, b, noise=0) + conv(b, b, noise=0) + rgb(b, 3) for a, b in ((32, 256), (256, 128))
    )
    assert net.num_ws == 14
    assert sum("conv" in k and k.endswith("affine.weight") for k in net.synthesis.state_dict()) == 13


def test_the_shapes_of_eg3d():
    with torch.device("meta"):
        net = TriPlaneGenerator()
        ws = net.mapping(torch.empty(2, 512), torch.empty(2, 25))
        assert ws.shape == (2, 14, 512)
        assert net.planes(ws).shape == (2, 3, 32, 256, 256)
        sigma, feat = net.decoder(torch.empty(2, 10, 32))
        assert (sigma.shape, feat.shape) == ((2, 10, 1), (2, 10, 32))
        image = net.super_resolution(torch.empty(2, 3, 128, 128), torch.empty(2, 32, 128, 128), ws)
        assert image.shape == (2, 3, 512, 512)


def test_the_cost_of_eg3d():
    with torch.device("meta"):
        net, ws = TriPlaneGenerator(), torch.empty(1, 14, 512)
        with FlopCounterMode(display=False) as backbone:
            net.planes(ws)
        with FlopCounterMode(display=False) as large:
            net.super_resolution(torch.empty(1, 3, 64, 64), torch.empty(1, 32, 64, 64), ws)
    assert backbone.get_total_flops() / 2e9 == pytest.approx(45, rel=0.05)  # multiply-adds
    assert large.get_total_flops() / 2e9 == pytest.approx(98, rel=0.02)


def test_the_small_size():
    torch.manual_seed(0)
    net = TriPlaneGenerator(**SMALL)
    assert count(net) < 1_000_000
    assert net.super_resolution is None
    planes = net.planes(net.mapping(torch.randn(1, 128), torch.zeros(1, 25)))
    assert planes.shape == (1, 3, 16, 64, 64)
    assert 0.3 < planes.std() < 10
    with torch.device("meta"):  # 3 pixels doubled four times
        assert TriPlaneGenerator(**{**SMALL, "plane_size": 48, "start": 3}).num_ws == 10


def test_decoder_in_its_own_words():
    torch.manual_seed(0)
    net = FieldDecoder(4, 8, 5, sigma_bias=-0.5)
    x = torch.randn(2, 7, 4)
    first, second = net.net[0], net.net[2]
    h = torch.log1p((x @ first.weight.T / 2 + first.bias).exp())
    y = h @ second.weight.T / 8**0.5 + second.bias
    sigma, feat = net(x)
    torch.testing.assert_close(sigma, y[..., :1])
    torch.testing.assert_close(feat, 1.002 / (1 + (-y[..., 1:]).exp()) - 0.001)
    assert second.bias[0] == -0.5
    assert (second.bias[1:] == 0).all()
    extreme = net(torch.full((1, 4), 1e6))[1]
    assert set(extreme.mul(1000).round().flatten().tolist()) <= {-1.0, 1001.0}


def test_super_resolution_uses_the_last_code_only_and_starts_from_any_size():
    torch.manual_seed(0)
    net = TriPlaneGenerator(**TINY)
    rgb_, feat, ws = torch.randn(2, 3, 8, 8), torch.randn(2, 6, 8, 8), torch.randn(2, 6, 8)
    image = net.super_resolution(rgb_, feat, ws)
    assert image.shape == (2, 3, 64, 64)
    other = torch.cat([torch.randn(2, 5, 8), ws[:, -1:]], 1)
    assert torch.equal(net.super_resolution(rgb_, feat, other), image)
    assert not torch.equal(net.super_resolution(rgb_, feat, ws.flip(1)), image)
    large = [torch.nn.functional.interpolate(v, (16, 16), mode="bilinear") for v in (rgb_, feat)]
    torch.testing.assert_close(net.super_resolution(*large, ws), image)


def test_gradients_reach_every_weight_and_runs_repeat():
    torch.manual_seed(0)
    net = TriPlaneGenerator(**TINY)
    z, c = torch.randn(2, 8), torch.randn(2, 3)

    def picture():
        ws = net.mapping(z, c)
        feature = net.planes(ws).mean(1).flatten(2).transpose(1, 2)
        sigma, feat = net.decoder(feature)
        feat = 2 * (feat * sigma.sigmoid()).transpose(1, 2).unflatten(2, (16, 16)) - 1
        return net.super_resolution(feat[:, :3], feat, ws)

    first = picture()
    first.square().mean().backward()
    assert [n for n, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []
    assert torch.equal(picture(), first)


def test_slope_with_respect_to_a_code():
    torch.manual_seed(0)
    net = TriPlaneGenerator(**TINY).double()
    w = torch.randn(1, 1, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda w: net.planes(w.expand(1, 6, 8))[:, :, :2, ::5, ::5], (w,))


def test_wrong_input_is_named():
    net = TriPlaneGenerator(**TINY)
    with pytest.raises(ShapeError, match=r"expected codes \(B, 6, 8\)"):
        net.planes(torch.zeros(1, 14, 8))
    with pytest.raises(ShapeError, match=r"feat \(B, 6, h, h\)"):
        net.super_resolution(torch.zeros(1, 3, 8, 8), torch.zeros(1, 6, 8, 4), torch.zeros(1, 6, 8))
    with pytest.raises(ConfigError, match="features=2"):
        TriPlaneGenerator(features=2)
    with pytest.raises(ConfigError, match="size=20"):
        TriPlaneGenerator(**{**TINY, "plane_size": 20})
    with pytest.raises(ConfigError, match="needs blocks"):
        SuperResolution(6, 8, 16, ())


def test_the_plain_decoder_is_the_same_function():
    torch.manual_seed(0)
    decoder = FieldDecoder(6, 8, 4, sigma_bias=-2.0)
    x = torch.randn(2, 5, 6)
    for got, expected in zip(decoder.plain()(x), decoder(x), strict=True):
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-6)
