from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from mien.core.errors import ConfigError, ShapeError
from mien.nn import MiniFASNet


def test_size_and_work_are_those_of_the_published_nets():
    """0.414 to 0.435 M weights, 0.081 GFLOPs at 80 x 80."""
    with torch.device("meta"):
        net = MiniFASNet().eval()
        with FlopCounterMode(display=False) as counted:
            assert net(torch.empty(1, 3, 80, 80)).shape == (1, 2)
    assert sum(p.numel() for p in net.parameters()) == 420_162
    assert 0.41e6 < 420_162 < 0.44e6
    assert 0.04e9 < counted.get_total_flops() / 2 < counted.get_total_flops() < 0.12e9


def test_features_head_and_new_classes():
    torch.manual_seed(0)
    net = MiniFASNet(3, size=32, embedding=24)
    x = torch.rand(4, 3, 32, 32)
    assert net(x).shape == (4, 3)
    net.eval()
    features = net.forward_features(x)
    assert features.shape == (4, net.num_features) == (4, 24)
    torch.testing.assert_close(net.forward_head(features), net(x))
    net.reset_classifier(2)
    assert (net(x).shape, net.num_classes) == ((4, 2), 2)


def test_dropout_is_of_training_only():
    torch.manual_seed(0)
    net = MiniFASNet(size=16, embedding=64, dropout=0.5)
    features = torch.randn(8, 64)
    assert not torch.equal(net.forward_head(features), net.forward_head(features))
    net.eval()
    assert torch.equal(net.forward_head(features), net.forward_head(features))


def test_every_weight_learns():
    net = MiniFASNet(size=32)
    net(torch.rand(4, 3, 32, 32)).square().sum().backward()
    assert all(p.grad is not None for p in net.parameters())


def test_wrong_input_and_settings():
    with pytest.raises(ShapeError, match=r"expected faces \(B, 3, 80, 80\)"):
        MiniFASNet()(torch.zeros(1, 3, 64, 64))
    for bad in ({"num_classes": 1}, {"dropout": 1.0}, {"size": 8}):
        with pytest.raises(ConfigError, match="must be at least"):
            MiniFASNet(**bad)
