from __future__ import annotations

import pytest
import torch

from mien.nn import GroupConvNet
from mien.nn.backbones import build_backbone


@pytest.mark.parametrize(("width", "channels", "size"), [(8, 3, 32), (2, 1, 28), (16, 3, 64)])
def test_features_have_one_length_at_every_size(width, channels, size):
    net = GroupConvNet(width, channels)
    assert net(torch.rand(3, channels, size, size)).shape == (3, net.num_features) == (3, 16 * width)
    assert net.forward_features(torch.rand(1, channels, size, size)).shape == (
        1,
        4 * width,
        size // 4,
        size // 4,
    )


def test_parameters_by_hand():
    convs = sum(o * (9 * i + 1) + 2 * o for i, o in ((3, 8), (8, 16), (16, 32)))
    assert sum(p.numel() for p in build_backbone("groupconv-8").parameters()) == convs == 6144


def test_a_picture_does_not_see_its_batch():
    net = GroupConvNet()
    x = torch.rand(4, 3, 32, 32)
    torch.testing.assert_close(net(x)[:1], net(x[:1]), rtol=1e-5, atol=1e-6)
    assert not list(net.buffers())
