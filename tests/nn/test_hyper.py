from __future__ import annotations

import pytest
import torch
from torch.func import functional_call

from mien.core.errors import ConfigError, ShapeError
from mien.nn.hyper import Head, HyperNetwork, PointEncoder, call_each, one_of
from mien.nn.implicit import SDFNet, value_and_gradient

PUBLISHED = (3, 1024, 512, 256, 128, 1), (2, 3, 4)
SMALL = (3, 16, 16, 1)
FORMS = [{}, {"start_at_target": True}, {"factorized": True, "rank": 4}]


def count(module):
    return sum(p.numel() for p in module.parameters())


def small(seed=0, **options):
    torch.manual_seed(seed)
    return HyperNetwork(SDFNet(SMALL), width=32, hidden=32, **options)


def body(seed=1, batch=2, points=40):
    return torch.randn(batch, points, 6, generator=torch.Generator().manual_seed(seed))


def test_published_sizes():
    with torch.device("meta"):
        net = HyperNetwork(SDFNet(*PUBLISHED))
    assert [count(h) for h in net.heads] == [1_184_262, 134_214_915, 33_487_363, 8_387_715, 164_737]
    assert [h.layers[3].bias.numel() for h in net.heads] == [4096, 521_725, 129_789, 32_125, 129]
    assert net.encoder.outputs == [250, 250, 250, 250, 256]
    assert count(net.encoder) == 260_292
    assert round(sum(count(h) for h in net.heads) / 1e6, 1) == 177.4


def test_compact_sizes():
    with torch.device("meta"):
        target = SDFNet((3, 64, 64, 64, 64, 1))
        full, narrow = HyperNetwork(target), HyperNetwork(target, hidden=32, skip=False)
        factorized = HyperNetwork(SDFNet(*PUBLISHED), factorized=True)
    assert round(sum(count(h) for h in full.heads) / 1e6, 1) == 3.9
    assert round(sum(count(h) for h in narrow.heads) / 1e6, 2) == 0.47
    assert count(factorized) < 2.5e6


def test_encoder_against_loops():
    torch.manual_seed(0)
    net, x = PointEncoder(6, 16, 3).double(), body().double()
    found = net(x)
    for b in range(2):
        sums = [0, 0, 0]
        for p in x[b]:
            h = p
            for i, layer in enumerate(net.layers):
                h = (layer.weight @ (torch.cat([h, p]) if i else p) + layer.bias).clamp_min(0)
                sums[i] = sums[i] + h
        assert all(torch.allclose(f[b], s / 40) for f, s in zip(found, sums, strict=True))
    assert net.outputs == [10, 10, 16]


def test_head_sees_its_feature_twice_or_alone():
    torch.manual_seed(0)
    twice, alone = Head(10, 16, 5), Head(16, 16, 5)
    assert [tuple(m.weight.shape) for m in twice.layers] == [(16, 10), (6, 16), (16, 16), (5, 16)]
    assert alone.layers[1].weight.shape == (0, 16)
    e = torch.randn(3, 16)
    assert torch.equal(alone(e), alone.layers[3](alone.layers[2](e).relu()))
    assert twice(torch.randn(3, 10)).shape == (3, 5)


@pytest.mark.parametrize("form", FORMS)
def test_weights_are_those_of_a_plain_network(form):
    net, points = small(**form), torch.randn(2, 9, 3)
    theta = net(body())
    plain = SDFNet(SMALL)
    assert {k: v.shape[1:] for k, v in theta.items()} == {k: v.shape for k, v in plain.named_parameters()}
    for i in range(2):
        plain.load_state_dict(one_of(theta, i))
        called = functional_call(SDFNet(SMALL), one_of(theta, i), (points[i],))
        assert (called - plain(points[i])).abs().max() == 0
        assert torch.allclose(call_each(plain, theta, points)[i], called, rtol=0, atol=1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_order_of_the_points_is_meaningless(form):
    net, x = small(**form), body()
    shuffled = x[:, torch.randperm(40, generator=torch.Generator().manual_seed(3))]
    for name, value in net(x).items():
        assert torch.allclose(net(shuffled)[name], value, rtol=0, atol=1e-6)
    assert any(not torch.allclose(v[0], v[1]) for v in net(x).values())


def test_bias_is_column_0():
    net = small()
    head = net.heads[1]
    with torch.no_grad():
        head.layers[3].weight.zero_()
        head.layers[3].bias.copy_(torch.arange(16 * 17))
    theta = net(body(batch=1))
    assert theta["layers.1.bias"][0].tolist() == [17.0 * i for i in range(16)]
    assert theta["layers.1.weight"][0, 2, :3].tolist() == [35.0, 36.0, 37.0]


@pytest.mark.parametrize("form", FORMS[1:])
def test_a_start_at_the_target(form):
    torch.manual_seed(0)
    target = SDFNet((3, 32, 32, 1))
    net = HyperNetwork(target, width=32, hidden=32, **form)
    with torch.no_grad():
        for head in net.heads:
            head.layers[3].weight.zero_()
    theta = one_of(net(body(batch=1)), 0)
    assert all(torch.equal(theta[k], v) for k, v in target.named_parameters())
    if form.get("factorized"):
        assert all(torch.equal(net.mean_network()[k], v) for k, v in target.named_parameters())


def test_factorised_layer_written_out():
    net = small(factorized=True, rank=3).double()
    x = body().double()
    numbers = net.heads[1](net.encoder(x)[1])
    theta = net(x)
    for b in range(2):
        change = net.left[1] @ torch.diag(numbers[b, :3]) @ net.right[1]
        assert torch.allclose(theta["layers.1.weight"][b], net.mean[1][:, 1:] + change)
        assert torch.allclose(theta["layers.1.bias"][b], net.mean[1][:, 0] + numbers[b, 3:])


def test_the_loss_of_gradients_reaches_every_weight():
    net, plain = small(factorized=True, rank=4), SDFNet(SMALL)
    theta = net(body())
    x = torch.randn(2, 20, 3)
    s, gradient = value_and_gradient(lambda p: call_each(plain, theta, p), x, create_graph=True)
    (s.abs().mean() + (gradient.norm(dim=-1) - 1).square().mean()).backward()
    reached = [p.grad for p in net.parameters()]
    assert all(g is not None and torch.isfinite(g).all() for g in reached)
    alone = value_and_gradient(lambda p: functional_call(plain, one_of(theta, 1), (p,)), x[1])[1]
    assert torch.allclose(gradient[1], alone, rtol=0, atol=1e-5)


def test_bad_input():
    net = small()
    with pytest.raises(ShapeError, match="B, V, 6"):
        net(torch.zeros(2, 5, 3))
    with pytest.raises(ShapeError, match="B, V, 6"):
        net(torch.zeros(2, 0, 6))
    with pytest.raises(ConfigError, match="skip"):
        HyperNetwork(SDFNet(SMALL), hidden=32)
    with pytest.raises(ConfigError, match="only factorized"):
        net.mean_network()
    assert net.names[:2] == ["layers.0.weight", "layers.0.bias"]
