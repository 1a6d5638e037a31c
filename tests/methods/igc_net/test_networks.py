"""The networks' forms."""

import torch
from torch import nn

from mien.methods.igc_net.networks import AttentionPool, ConfidenceNet, Decoder, Decompose, Encoder


def draw():
    return torch.Generator().manual_seed(0)


def test_encoder_is_that_of_unsup3d():
    """With 64 channels: 16, 32, 64 groups, none at the fourth, no bias before the last."""
    layers = Encoder(64, 64, 256)
    convolutions = [m for m in layers if isinstance(m, nn.Conv2d)]
    assert [c.out_channels for c in convolutions] == [64, 128, 256, 512, 512, 256]
    assert [c.kernel_size[0] for c in convolutions] == [4, 4, 4, 4, 4, 1]
    assert [c.bias is None for c in convolutions] == [True] * 5 + [False]
    assert [m.num_groups for m in layers if isinstance(m, nn.GroupNorm)] == [16, 32, 64]


def test_a_part_depends_on_its_own_query_alone():
    torch.manual_seed(0)
    net, features = Decompose(6, 3, 4), torch.randn(2, 6, generator=draw())
    queries = torch.randn(5, 3, generator=draw())
    codes = net(features, queries)
    assert codes.shape == (2, 5, 4)
    assert torch.allclose(net(features, queries[2:3])[:, 0], codes[:, 2], atol=1e-6)


def test_attention_pool_is_its_slow_twin():
    torch.manual_seed(0)
    net = AttentionPool(32, 8, 6, 3, 4)
    features, queries = torch.randn(2, 6, generator=draw()), torch.randn(5, 3, generator=draw())
    with torch.no_grad():
        maps, found = nn.functional.avg_pool2d(net.decoder(features), 4), net(features, queries)
        q = net.query(queries)
        for b in range(2):
            total, weight = torch.zeros(5, 4), torch.zeros(5, 1)
            for place in maps[b].flatten(1).T:
                share = (q @ place).softmax(0)[:, None]
                total, weight = total + share * place, weight + share
            assert torch.allclose(found[b], total / weight, atol=1e-5)


def test_decoder_and_confidence():
    image = torch.rand(2, 3, 32, 32, generator=draw())
    assert Decoder(32, 8, 4, 3)(torch.zeros(5, 4)).shape == (5, 3, 32, 32)
    assert bool((ConfidenceNet(32, 8, 4)(image) > 0).all())
