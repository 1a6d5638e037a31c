from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from mien.core.errors import ConfigError, ShapeError
from mien.nn.hourglass import ConcatBlock, HGFilter, Hourglass, group_norm


def count(module):
    return sum(p.numel() for p in module.parameters())


def test_published_and_small_maps():
    with torch.device("meta"):
        published = HGFilter(3, 256, stacks=4, depth=2)(torch.zeros(1, 3, 512, 512))
    small = HGFilter(3, 32, stacks=2, depth=2)(torch.randn(2, 3, 128, 128))
    assert [m.shape for m in published] == [(1, 256, 128, 128)] * 4
    assert [m.shape for m in small] == [(2, 32, 32, 32)] * 2
    assert all(torch.isfinite(m).all() for m in small)


def test_block_is_three_convolutions_side_by_side():
    torch.manual_seed(0)
    block, x = ConcatBlock(16, 32), torch.randn(2, 16, 8, 8)
    a = block.convs[0](F.relu(block.norms[0](x)))
    b = block.convs[1](F.relu(block.norms[1](a)))
    c = block.convs[2](F.relu(block.norms[2](b)))
    assert [v.shape[1] for v in (a, b, c)] == [16, 8, 8]
    assert torch.equal(block(x), torch.cat([a, b, c], 1) + block.skip(x))
    same = ConcatBlock(32, 32)
    assert count(same) == 9 * (32 * 16 + 16 * 8 + 8 * 8) + 2 * (32 + 16 + 8)


def test_hourglass_without_its_inside_is_the_block_beside():
    torch.manual_seed(0)
    net, x = Hourglass(2, 16), torch.randn(1, 16, 16, 16)
    whole = net(x)
    net.after = torch.nn.Module()
    net.after.forward = torch.zeros_like
    assert torch.equal(net(x), net.beside(x))
    assert not torch.allclose(whole, net.beside(x))
    assert isinstance(net.inner, Hourglass)
    assert isinstance(net.inner.inner, ConcatBlock)


def test_groups_divide_the_channels():
    assert [group_norm(c).num_groups for c in (256, 64, 8, 24)] == [32, 32, 8, 8]


def test_bad_sizes():
    with pytest.raises(ConfigError, match="multiple of 16"):
        HGFilter(3, 24)
    with pytest.raises(ConfigError, match="at least 1"):
        HGFilter(3, 32, stacks=0)
    with pytest.raises(ShapeError, match="multiple of 16"):
        HGFilter(3, 16, depth=2)(torch.zeros(1, 3, 24, 24))
    assert HGFilter(3, 16, stacks=1, depth=1)(torch.zeros(1, 3, 8, 24))[0].shape == (1, 16, 2, 6)
