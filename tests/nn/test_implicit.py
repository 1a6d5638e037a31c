from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.func import functional_call, vmap

from mien.core.errors import ConfigError, ShapeError
from mien.nn.implicit import SDFNet, layer_shapes, positional_encoding, value_and_gradient

PUBLISHED = (3, 1024, 512, 256, 128, 1), (2, 3, 4)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def on_spheres(radius, count=400):
    x = torch.randn(count, 3, generator=generator(9))
    return radius * x / x.norm(dim=-1, keepdim=True)


def start_means(dims, skips, seeds=5):
    """Mean of f at |x| = 0, 1, 2 over seeds."""
    nets = [SDFNet(dims, skips, generator=generator(s)) for s in range(seeds)]
    with torch.no_grad():
        return [sum(float(n(on_spheres(r)).mean()) for n in nets) / seeds for r in (0.0, 1.0, 2.0)]


@pytest.mark.parametrize(
    ("skips", "wanted", "spread"),
    [
        ((), (-0.735, -0.015, 0.932), (0.02, 0.12, 0.24)),
        ((2,), (-0.755, -0.010, 0.945), (0.02, 0.12, 0.24)),
        ((2, 3, 4), (-0.845, -0.293, 0.391), (0.02, 0.06, 0.12)),
    ],
)
def test_the_start_is_near_a_sphere(skips, wanted, spread):
    found = start_means((3, 256, 256, 256, 256, 1), skips)
    assert all(abs(a - b) < c for a, b, c in zip(found, wanted, spread, strict=True))
    assert found[0] < found[1] < found[2]
    assert found[0] < 0 < found[2]


def test_published_size():
    net = SDFNet(*PUBLISHED)
    assert sum(p.numel() for p in net.parameters()) == 687_864
    shapes = [tuple(layer.weight.shape) for layer in net.layers]
    assert shapes == layer_shapes(*PUBLISHED)
    assert [a * (b + 1) for a, b in shapes] == [4096, 521_725, 129_789, 32_125, 129]


def test_features_come_first_and_start_without_effect():
    net = SDFNet((9, 32, 32, 32, 1), (2,), features=6, octaves=2, generator=generator())
    x, f = on_spheres(0.7, 20), torch.randn(20, 6, generator=generator(1))
    assert torch.equal(net(x, f), net(x, torch.zeros(20, 6)))
    assert torch.equal(net(x, f), net(x, f[:, :4], f[:, 4:]))
    assert (net.layers[0].weight[:, :18] == 0).all()
    assert (net.layers[2].weight[:, -21:-3] == 0).all()
    assert (net.layers[2].weight[:, -3:] != 0).all()


def test_forward_is_the_layers_written_out():
    net = SDFNet((5, 16, 16, 16, 1), (2,), features=2, generator=generator()).double()
    x, f = torch.randn(7, 3, dtype=torch.float64), torch.randn(7, 2, dtype=torch.float64)
    z = torch.cat([f, x], 1)
    (w0, b0), (w1, b1), (w2, b2), (w3, b3) = ((m.weight, m.bias) for m in net.layers)

    def act(v):
        return torch.logaddexp(100 * v, torch.zeros_like(v)) / 100

    h = act(z @ w0.T + b0)
    h = torch.cat([act(h @ w1.T + b1), z], 1) / math.sqrt(2)
    assert torch.allclose(net(x, f), act(h @ w2.T + b2) @ w3.T + b3, rtol=0, atol=1e-13)


def test_functional_call_with_weights_of_every_sample():
    nets = [SDFNet((3, 16, 16, 1), (1,), generator=generator(s)) for s in range(3)]
    theta = {
        k: torch.stack([dict(n.named_parameters())[k] for n in nets]) for k, _ in nets[0].named_parameters()
    }
    x = torch.randn(3, 8, 3, generator=generator(5))
    wanted = torch.stack([n(v) for n, v in zip(nets, x, strict=True)])
    each = torch.stack(
        [functional_call(nets[0], {k: v[i] for k, v in theta.items()}, (x[i],)) for i in range(3)]
    )
    assert (each - wanted).abs().max() == 0
    at_once = vmap(lambda t, p: functional_call(nets[0], t, (p,)))(theta, x)
    assert torch.allclose(at_once, wanted, rtol=0, atol=1e-6)


def test_gradient_against_central_differences():
    net = SDFNet((5, 32, 32, 1), (1,), features=2, generator=generator()).double()
    nn.init.normal_(net.layers[0].weight, std=0.3, generator=generator(3))
    x = torch.randn(6, 3, dtype=torch.float64, generator=generator(1))
    f = torch.randn(6, 2, dtype=torch.float64, generator=generator(2))
    s, found = value_and_gradient(net, x, f)
    h = 1e-4
    steps = h * torch.eye(3, dtype=torch.float64)
    with torch.no_grad():
        wanted = torch.cat([(net(x + e, f) - net(x - e, f)) / (2 * h) for e in steps], 1)
    assert torch.equal(s, net(x, f).detach())
    assert (found - wanted).abs().max() < 1e-3
    assert not found.requires_grad


def test_gradient_is_partial_and_can_be_trained():
    net = SDFNet((4, 16, 16, 1), features=1, generator=generator())
    nn.init.ones_(net.layers[0].weight)
    x = torch.randn(5, 3, generator=generator(1))
    alone = value_and_gradient(net, x, x[:, :1])[1]
    s, gradient = value_and_gradient(net, x, x[:, :1].clone().requires_grad_(), create_graph=True)
    assert torch.equal(alone, gradient)  # although the feature is a function of x
    (s.mean() + (gradient.norm(dim=-1) - 1).square().mean()).backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters())
    total = value_and_gradient(lambda p: net(p, p[:, :1]), x)[1]
    assert not torch.allclose(total, alone)


def test_positional_encoding_counts():
    x = torch.tensor([[0.25, 0.0, 1.0]])
    found = positional_encoding(x, 2)
    assert found.shape == (1, 15)
    assert torch.equal(positional_encoding(x, 0), x)
    assert torch.equal(found[:, -3:], x)
    assert found[0, [0, 6]].tolist() == pytest.approx([math.sin(math.pi / 4), 1.0])


@pytest.mark.parametrize(
    ("dims", "skips", "features"),
    [
        ((3,), (), 0),
        ((4, 8, 1), (), 0),
        ((3, 8, 1), (0,), 0),
        ((3, 8, 1), (2,), 0),
        ((9, 8, 8, 1), (1,), 6),
    ],
)
def test_widths_that_do_not_fit(dims, skips, features):
    with pytest.raises(ConfigError, match=r"dims|skip"):
        SDFNet(dims, skips, features=features)
    assert layer_shapes((3, 8, 1)) == [(8, 3), (1, 8)]


def test_points_of_another_width():
    net = SDFNet((5, 8, 8, 1), features=2)
    with pytest.raises(ShapeError, match="2 features"):
        net(torch.zeros(4, 3))
    with pytest.raises(ShapeError, match="points"):
        net(torch.zeros(4, 2), torch.zeros(4, 2))
    assert net(torch.zeros(4, 3), torch.zeros(4, 2)).shape == (4, 1)
