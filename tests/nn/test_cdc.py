from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mien.core.errors import ConfigError, ShapeError
from mien.nn import CDCN, CDConv2d
from mien.nn.cdc import central_difference


def loop(x, w, theta, stride):
    """sum_k w_k (x_{p+k} - theta x_p), one number at a time; outside the picture is 0."""
    b, c, height, width = x.shape
    r = w.shape[-1] // 2
    rows, columns = range(0, height, stride), range(0, width, stride)
    out = torch.zeros(b, len(w), len(rows), len(columns), dtype=x.dtype)
    for n, o, i, j in np.ndindex(*out.shape):
        y, z = rows[i], columns[j]
        for ch in range(c):
            for dy in range(-r, r + 1):
                for dx in range(-r, r + 1):
                    inside = 0 <= y + dy < height and 0 <= z + dx < width
                    there = x[n, ch, y + dy, z + dx] if inside else 0.0
                    out[n, o, i, j] += w[o, ch, dy + r, dx + r] * (there - theta * x[n, ch, y, z])
    return out


@pytest.mark.parametrize(("kernel", "stride", "theta"), [(3, 1, 0.7), (3, 2, 0.3), (5, 1, 1.0), (1, 1, 0.5)])
def test_equals_its_loop_and_the_two_convolutions(kernel, stride, theta):
    torch.manual_seed(0)
    net = CDConv2d(2, 3, kernel, stride, theta=theta).double()
    x, w = torch.randn(2, 2, 6, 5, dtype=torch.float64), net.conv.weight
    found = net(x)
    torch.testing.assert_close(found, loop(x, w, theta, stride))
    two = F.conv2d(x, w, stride=stride, padding=kernel // 2)
    two = two - theta * F.conv2d(x, w.sum((2, 3), keepdim=True), stride=stride)
    torch.testing.assert_close(found, two)


def test_groups():
    torch.manual_seed(0)
    whole = CDConv2d(4, 6, groups=2)
    x = torch.randn(1, 4, 7, 7)
    for k in range(2):
        part = CDConv2d(2, 3)
        part.conv.weight.data = whole.conv.weight.data[3 * k : 3 * k + 3]
        torch.testing.assert_close(whole(x)[:, 3 * k : 3 * k + 3], part(x[:, 2 * k : 2 * k + 2]))


@pytest.mark.parametrize("stride", [1, 2])
def test_theta_0_is_conv2d_to_the_bit(stride):
    torch.manual_seed(0)
    net = CDConv2d(3, 8, stride=stride, theta=0)
    plain = nn.Conv2d(3, 8, 3, stride, 1, bias=False)
    plain.load_state_dict(net.conv.state_dict())
    x = torch.randn(2, 3, 9, 9)
    assert torch.equal(net(x), plain(x))
    assert central_difference(plain.weight, 0) is plain.weight


def test_theta_1_sees_no_constant():
    net = CDConv2d(3, 8, theta=1.0).double()
    y = net(torch.full((1, 3, 8, 8), 3.7, dtype=torch.float64))
    assert y[:, :, 1:-1, 1:-1].abs().max() < 1e-12
    assert y.abs().max() > 0.1


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 1), st.floats(-3, 3))
def test_a_constant_shifts_the_interior_by_its_share(seed, theta, c):
    torch.manual_seed(seed)
    net = CDConv2d(2, 4, theta=theta).double()
    x = torch.randn(1, 2, 7, 7, dtype=torch.float64)
    moved = (net(x + c) - net(x))[:, :, 1:-1, 1:-1]
    expected = (1 - theta) * c * net.conv.weight.sum((1, 2, 3))
    torch.testing.assert_close(moved, expected[None, :, None, None].expand_as(moved))


def test_gradients():
    net = CDConv2d(2, 2).double()
    x = torch.randn(1, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    convolve = lambda x, w: F.conv2d(x, central_difference(w, 0.7), padding=1)  # noqa: E731
    assert torch.autograd.gradcheck(convolve, (x, net.conv.weight))


@pytest.mark.parametrize("bad", [{"kernel": 2}, {"kernel": 0}, {"theta": 1.5}, {"theta": -0.1}])
def test_wrong_settings(bad):
    with pytest.raises(ConfigError, match="must be odd and theta"):
        CDConv2d(3, 4, **bad)


@pytest.mark.parametrize(("size", "side"), [(32, 4), (48, 6), (50, 7)])
def test_the_map_is_an_eighth_and_the_score_its_mean(size, side):
    torch.manual_seed(0)
    net = CDCN(width=4).eval()
    found = net(torch.rand(2, 3, size, size))
    assert found.map.shape == (2, side, side)
    assert (found.map >= 0).all()
    torch.testing.assert_close(found.score, found.map.mean((1, 2)))


def test_the_net_of_the_paper():
    with torch.device("meta"):
        net = CDCN().eval()
        assert net(torch.empty(1, 3, 256, 256)).map.shape == (1, 32, 32)
        count = sum(p.numel() for p in net.parameters())
    assert count == 2_245_016


def test_every_weight_learns_and_depth_can_be_fitted():
    torch.manual_seed(0)
    net = CDCN(width=8, channels=1)
    x = torch.rand(8, 1, 32, 32)
    label = torch.zeros(8, 4, 4)
    x[:4] = x[:4].round()  # "live": another texture
    label[:4] = 0.8
    optimiser = torch.optim.Adam(net.parameters(), 3e-3)
    losses = []
    for _ in range(40):
        loss = F.mse_loss(net(x).map, label)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert all(p.grad is not None for p in net.parameters())
    assert losses[-1] < 0.4 * losses[0]
    score = net(x).score
    assert score[:4].min() > score[4:].max()


def test_wrong_input():
    with pytest.raises(ShapeError, match=r"expected pictures \(B, 3, H, W\), got \(1, 1, 32, 32\)"):
        CDCN(width=2)(torch.zeros(1, 1, 32, 32))
    with pytest.raises(ConfigError, match="width=0"):
        CDCN(width=0)
