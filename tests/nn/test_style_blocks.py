from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from mien.core.errors import ConfigError, ShapeError
from mien.nn import MappingNetwork, StyleSynthesis
from mien.nn.modulated import modulated_conv2d, upsample2d
from mien.nn.style_blocks import StyleConv, ToRGB


def by_hand(layer, x, w):
    """A styled convolution in its own words."""
    style = w @ (layer.affine.weight / math.sqrt(w.shape[1])).T + layer.affine.bias
    y = modulated_conv2d(x, layer.weight, style, upsample=layer.upsample)
    y = y + layer.noise_const * layer.noise_strength + layer.bias[None, :, None, None]
    return torch.where(y > 0, y, 0.2 * y) * math.sqrt(2)


def shaken(net):
    """No parameter at a value that hides a mistake."""
    for p in net.parameters():
        p.data += 0.3 * torch.randn(p.shape)
    return net


def test_layers_in_their_own_words():
    torch.manual_seed(0)
    layer, rgb = shaken(StyleConv(3, 4, 5, 8, upsample=True)), shaken(ToRGB(4, 2, 5))
    x, w = torch.randn(2, 3, 4, 4), torch.randn(2, 5)
    y = layer(x, w)
    torch.testing.assert_close(y, by_hand(layer, x, w))
    style = rgb.affine(w) / 2  # sqrt(4)
    expected = torch.einsum("oi,bi,bihw->bohw", rgb.weight[..., 0, 0], style, y) + rgb.bias[:, None, None]
    torch.testing.assert_close(rgb(y, w), expected)


def test_clamp_and_noise():
    torch.manual_seed(0)
    layer = shaken(StyleConv(3, 4, 5, 4, clamp=0.1, noise=False))
    assert layer(torch.randn(2, 3, 4, 4), torch.randn(2, 5)).abs().max().item() == pytest.approx(0.1)
    assert not any("noise" in name for name in layer.state_dict())


def test_a_synthesis_is_a_sum_of_pictures_and_a_picture_shares_the_next_code():
    torch.manual_seed(0)
    net = shaken(StyleSynthesis(5, 16, 2, channel_base=64, channel_max=6))
    ws = torch.randn(2, net.num_ws, 5)
    b = net.blocks
    x = by_hand(b[0].conv1, net.const.expand(2, -1, -1, -1), ws[:, 0])
    picture = b[0].to_rgb(x, ws[:, 1])
    x = by_hand(b[1].conv1, by_hand(b[1].conv0, x, ws[:, 1]), ws[:, 2])
    picture = upsample2d(picture) + b[1].to_rgb(x, ws[:, 3])
    x = by_hand(b[2].conv1, by_hand(b[2].conv0, x, ws[:, 3]), ws[:, 4])
    picture = upsample2d(picture) + b[2].to_rgb(x, ws[:, 5])
    torch.testing.assert_close(net(ws), picture)


@pytest.mark.parametrize(("size", "start", "slots"), [(256, 4, 14), (32, 4, 8), (48, 3, 10), (4, 4, 2)])
def test_slots(size, start, slots):
    with torch.device("meta"):
        net = StyleSynthesis(8, size, 3, channel_base=512, channel_max=16, start=start)
        assert net(torch.empty(1, slots, 8)).shape == (1, 3, size, size)
    assert net.num_ws == slots


def test_every_slot_and_every_parameter_matters():
    torch.manual_seed(0)
    net = StyleSynthesis(8, 16, 3, channel_base=128, channel_max=8)
    ws = torch.randn(2, net.num_ws, 8, requires_grad=True)
    net(ws).square().mean().backward()
    assert (ws.grad.abs().sum((0, 2)) > 0).all()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_outputs_start_at_a_sane_scale_and_repeat():
    torch.manual_seed(0)
    mapping, net = MappingNetwork(32, 3, 32, 8), StyleSynthesis(32, 32, 4, channel_base=1024, channel_max=32)
    z, c = torch.randn(8, 32), torch.randn(8, 3)
    w = mapping(z, c)
    assert 0.5 < w.square().mean() < 2
    picture = net(w)
    assert 0.3 < picture.std() < 10
    assert torch.equal(picture, net(mapping(z, c)))
    torch.testing.assert_close(net(w[3:4]), picture[3:4], rtol=1e-4, atol=1e-4)


def test_mapping_in_its_own_words():
    torch.manual_seed(0)
    net = shaken(MappingNetwork(4, 3, 6, 5))
    z, c = torch.randn(2, 4), torch.randn(2, 3)
    unit = lambda v: v / (v.square().mean(1, keepdim=True) + 1e-8).sqrt()  # noqa: E731
    e = c @ net.embed.weight.T / math.sqrt(3) + net.embed.bias
    x = torch.cat([unit(z), unit(e)], 1)
    for layer in net.layers:
        x = F.leaky_relu(x @ layer.weight.T * 0.01 / math.sqrt(x.shape[1]) + layer.bias * 0.01, 0.2)
        x = x * math.sqrt(2)
    found = net(z, c)
    assert found.shape == (2, 5, 6)
    for slot in range(5):
        torch.testing.assert_close(found[:, slot], x)
    torch.testing.assert_close(net(3 * z, c), found)  # only the direction of z counts


def test_truncation_and_the_running_mean():
    torch.manual_seed(0)
    net = MappingNetwork(4, 0, 6, 3)
    z = torch.randn(16, 4)
    w = net(z, update_average=True)
    torch.testing.assert_close(net.w_avg, 0.002 * w[:, 0].mean(0))
    assert torch.equal(net(z), w)
    half = net(z, truncation_psi=0.5)
    torch.testing.assert_close(half, 0.5 * (net.w_avg + w))
    torch.testing.assert_close(net(z, truncation_psi=0.0), net.w_avg.expand(16, 3, 6))
    mean, std = net.statistics(z)
    torch.testing.assert_close(mean, w[:, 0].mean(0))
    torch.testing.assert_close(std, (w[:, 0] - mean).square().mean(0).sqrt())


def test_wrong_input_is_named():
    mapping, net = MappingNetwork(4, 3, 6, 4), StyleSynthesis(6, 8, 3, channel_base=64, channel_max=8)
    with pytest.raises(ShapeError, match=r"expected z \(B, 4\)"):
        mapping(torch.zeros(2, 5), torch.zeros(2, 3))
    with pytest.raises(ShapeError, match=r"expected c \(2, 3\), got None"):
        mapping(torch.zeros(2, 4))
    with pytest.raises(ShapeError, match="expected c None"):
        MappingNetwork(4, 0, 6, 4)(torch.zeros(2, 4), torch.zeros(2, 3))
    with pytest.raises(ShapeError, match=r"expected codes \(B, 4, 6\)"):
        net(torch.zeros(2, 5, 6))
    with pytest.raises(ConfigError, match="size=24"):
        StyleSynthesis(6, 24, 3)
    with pytest.raises(ConfigError, match="channel_base=8"):
        StyleSynthesis(6, 16, 3, channel_base=8)
    with pytest.raises(ConfigError, match="depth=-1"):
        MappingNetwork(4, 3, 6, 4, depth=-1)


def test_mapping_without_layers_is_the_normalised_latent() -> None:
    z = torch.tensor([[3.0, -3.0, 3.0, 3.0]])
    net = MappingNetwork(4, 0, 4, num_ws=3, depth=0)
    assert torch.allclose(net(z), torch.tensor([1.0, -1.0, 1.0, 1.0]).expand(1, 3, 4))
    with pytest.raises(ConfigError, match="without layers"):
        MappingNetwork(4, 0, 8, num_ws=3, depth=0)
