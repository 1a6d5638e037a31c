from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from mien.core.errors import ConfigError
from mien.nn.cifar_resnet import CifarResNet, SmallConvNet, _Block


def parameters(net):
    return sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize(("depth", "count"), [(20, 269_072), (32, 463_504), (56, 852_368)])
def test_parameters(depth, count):
    """Stem 3*16*9 + 32; each block two convolutions and two norms; no classifier, no shortcut weights."""
    blocks = (depth - 2) // 6
    by_hand, inputs = 3 * 16 * 9 + 32, 16
    for planes in (16, 32, 64):
        for _ in range(blocks):
            by_hand += inputs * planes * 9 + planes * planes * 9 + 4 * planes
            inputs = planes
    assert parameters(CifarResNet(depth)) == by_hand == count


def test_shapes():
    net, x = CifarResNet(8).eval(), torch.rand(2, 3, 32, 32)
    features = net.forward_features(x)
    assert features.shape == (2, 64, 8, 8)
    assert net.forward_head(features).shape == (2, net.num_features)
    torch.testing.assert_close(net(x), features.mean((2, 3)))
    assert len(net.stages) == 4
    assert net.stages[0](x).shape == (2, 16, 32, 32)
    assert CifarResNet(8, channels=1)(torch.rand(2, 1, 28, 28)).shape == (2, 64)


@pytest.mark.parametrize("depth", [0, 2, 7, 9, 18, 34, 51])
def test_depths_that_do_not_exist(depth):
    with pytest.raises(ConfigError, match=r"6n\+2"):
        CifarResNet(depth)


def test_option_a_shortcut_subsamples_and_pads_both_sides():
    block = _Block(16, 32, 2).eval()
    for convolution in (block.conv1, block.conv2):
        torch.nn.init.zeros_(convolution.weight)
    x = torch.randn(2, 16, 8, 8)
    out = block(x)
    assert out.shape == (2, 32, 4, 4)
    assert not out[:, :8].any()
    assert not out[:, 24:].any()
    assert torch.equal(out[:, 8:24], F.relu(x[:, :, ::2, ::2]))
    same = _Block(16, 16, 1).eval()
    torch.nn.init.zeros_(same.conv2.weight)
    assert torch.equal(same(x), F.relu(x))


def test_block_equals_its_equation():
    torch.manual_seed(0)
    block = _Block(4, 4, 1).eval()
    x = torch.randn(1, 4, 5, 5)
    scale = 1 / (1 + 1e-5) ** 0.5
    inner = F.relu(F.conv2d(x, block.conv1.weight, padding=1) * scale)
    expected = F.relu(F.conv2d(inner, block.conv2.weight, padding=1) * scale + x)
    torch.testing.assert_close(block(x), expected)


def test_kaiming_normal_start():
    torch.manual_seed(0)
    weight = CifarResNet(8).stages[3][0].conv2.weight
    assert float(weight.detach().std()) == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)


@pytest.mark.parametrize(("width", "channels", "size"), [(12, 1, 28), (4, 3, 16), (24, 1, 9)])
def test_small_conv_net(width, channels, size):
    net, x = SmallConvNet(width, channels), torch.rand(3, channels, size, size)
    assert net.num_features == 4 * width
    assert net(x).shape == (3, 4 * width)
    side = (size + 3) // 4
    assert net.forward_features(x).shape == (3, 4 * width, side, side)
    by_hand = 9 * (channels * width + 2 * width**2 + 8 * width**2) + 2 * 7 * width
    assert parameters(net) == by_hand


@pytest.mark.parametrize("make", [lambda: CifarResNet(8), lambda: SmallConvNet(4, 3)])
def test_every_parameter_gets_a_gradient(make):
    net = make()
    net(torch.randn(4, 3, 16, 16)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_public_names():
    import mien.nn

    assert {"CifarResNet", "CosineHead", "build_backbone"} <= set(dir(mien.nn))
    assert mien.nn.CifarResNet is CifarResNet
