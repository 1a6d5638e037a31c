from __future__ import annotations

import pytest
import torch

from mien.core.errors import ConfigError, ShapeError
from mien.nn.normal_nets import GlobalGenerator, NormalUNet


def count(module):
    return sum(p.numel() for p in module.parameters())


def test_unet_size_and_mask():
    torch.manual_seed(0)
    net, x = NormalUNet(), torch.randn(2, 6, 32, 48)
    mask = torch.zeros(2, 1, 32, 48)
    mask[..., 10:20, 5:30] = 1
    y = net(x, mask)
    assert 0.95e6 < 2 * count(net) < 1.05e6
    assert y.shape == (2, 3, 32, 48)
    assert y.abs().max() < 1
    assert (y * (1 - mask) == 0).all()
    assert (y[..., 10:20, 5:30] != 0).all()


def test_published_generator():
    with torch.device("meta"):
        net = GlobalGenerator()
        y = net(torch.zeros(1, 6, 512, 512), torch.zeros(1, 1, 512, 512))
    ends = 49 * 6 * 64 + 64 + 49 * 64 * 3 + 3
    pairs = [(64, 128), (128, 256), (256, 512), (512, 1024)]
    ways = sum(2 * 9 * a * b + a + b for a, b in pairs)
    assert count(net) == ends + ways + 9 * 2 * (9 * 1024**2 + 1024)
    assert y.shape == (1, 3, 512, 512)


def test_small_generator_masks_its_output():
    torch.manual_seed(0)
    net = GlobalGenerator(3, 8, halvings=2, blocks=1)
    x, mask = torch.randn(1, 3, 16, 32), (torch.rand(1, 1, 16, 32) > 0.5).float()
    y = net(x, mask)
    assert y.shape == (1, 3, 16, 32)
    assert ((y == 0) == (mask == 0)).all()
    y.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters())


def test_bad_input():
    net = NormalUNet()
    with pytest.raises(ShapeError, match="multiple of 8"):
        net(torch.zeros(1, 6, 20, 24), torch.zeros(1, 1, 20, 24))
    with pytest.raises(ShapeError, match="mask must be"):
        net(torch.zeros(1, 6, 16, 16), torch.zeros(1, 16, 16))
    with pytest.raises(ConfigError, match="multiples of 8"):
        NormalUNet(6, (16, 20))
    with pytest.raises(ConfigError, match="at least 1"):
        GlobalGenerator(halvings=0)
    assert net.inputs == 6
