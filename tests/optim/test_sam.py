from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from mien.core.errors import ConfigError
from mien.optim.sam import SAM, frozen_batch_statistics

A = torch.tensor([[3.0, 0.5], [0.5, 1.0]], dtype=torch.float64)
START = torch.tensor([1.0, -2.0], dtype=torch.float64)


def quadratic(w):
    return 0.5 * w @ A @ w


def closure_of(optimizer, loss):
    def closure():
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    return closure


def small_net(seed=0):
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    return net, torch.randn(16, 4), torch.randint(3, (16,))


def test_step_equals_the_algorithm_by_hand_on_a_quadratic():
    """w1 = w - lr A (w + rho g / |g|), g = A w; twice."""
    w = START.clone().requires_grad_()
    optimizer = SAM(None, torch.optim.SGD([w], 0.1), rho=0.3)
    expected = START.clone()
    for _ in range(2):
        loss = optimizer.step(closure_of(optimizer, lambda: quadratic(w)))
        torch.testing.assert_close(loss.detach(), quadratic(expected))
        g = A @ expected
        expected = expected - 0.1 * (A @ (expected + 0.3 * g / g.norm()))
        torch.testing.assert_close(w.detach(), expected, rtol=1e-10, atol=1e-10)


def test_one_norm_over_all_parameters_and_groups():
    a, b = (torch.tensor([v], dtype=torch.float64, requires_grad=True) for v in (3.0, 4.0))
    optimizer = SAM(None, torch.optim.SGD([{"params": [a]}, {"params": [b], "lr": 0.5}], 0.1), rho=1.0)
    optimizer.step(closure_of(optimizer, lambda: 0.5 * (a**2 + b**2).sum()))
    # gradient (3, 4), norm 5: perturbed to (3.6, 4.8)
    torch.testing.assert_close(a.detach(), torch.tensor([3 - 0.36], dtype=torch.float64))
    torch.testing.assert_close(b.detach(), torch.tensor([4 - 2.4], dtype=torch.float64))


def test_second_pass_is_at_the_ascent_point_and_weights_return():
    w = START.clone().requires_grad_()
    seen = []
    optimizer = SAM(None, torch.optim.SGD([w], 0.0), rho=0.25)

    def loss():
        seen.append(w.detach().clone())
        return quadratic(w)

    optimizer.step(closure_of(optimizer, loss))
    assert len(seen) == 2
    assert float((seen[1] - seen[0]).norm()) == pytest.approx(0.25, rel=1e-9)
    assert quadratic(seen[1]) > quadratic(seen[0])
    assert torch.equal(w.detach(), START)


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True, weight_decay=1e-3),
        lambda p: torch.optim.Adam(p, 1e-2),
        lambda p: torch.optim.AdamW(p, 1e-2),
    ],
    ids=["sgd", "adam", "adamw"],
)
def test_no_radius_is_the_base_to_the_bit(make):
    net, x, y = small_net()
    other = copy.deepcopy(net)
    base, sam = make(other.parameters()), SAM(net.parameters(), make, rho=0.0)
    for _ in range(5):
        closure_of(base, lambda: nn.functional.cross_entropy(other(x), y))()
        base.step()
        passes = []

        def loss(passes=passes):
            passes.append(1)
            with frozen_batch_statistics(net) if len(passes) > 1 else torch.enable_grad():
                return nn.functional.cross_entropy(net(x), y)

        sam.step(closure_of(sam, loss))
    for (name, a), b in zip(net.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def test_step_without_a_closure():
    optimizer = SAM(None, torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.1))
    with pytest.raises(ConfigError, match="closure"):
        optimizer.step()


@pytest.mark.parametrize("rho", [-0.1, float("nan")])
def test_radius_out_of_range(rho):
    with pytest.raises(ConfigError, match="rho"):
        SAM(None, torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.1), rho=rho)


def test_parameters_without_gradient_stay():
    used, unused = START.clone().requires_grad_(), START.clone().requires_grad_()
    optimizer = SAM(None, torch.optim.SGD([used, unused], 0.1), rho=0.1)
    optimizer.step(closure_of(optimizer, lambda: quadratic(used)))
    assert torch.equal(unused.detach(), START)
    assert not torch.equal(used.detach(), START)


def test_zero_gradient_gives_no_nan():
    w = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    optimizer = SAM(None, torch.optim.SGD([w], 0.1), rho=0.5)
    optimizer.step(closure_of(optimizer, lambda: quadratic(w)))
    assert torch.equal(w.detach(), torch.zeros(2, dtype=torch.float64))


def test_state_is_the_bases_and_survives_a_reload():
    def run(optimizer, net, x, y, steps):
        for _ in range(steps):
            optimizer.step(closure_of(optimizer, lambda: nn.functional.cross_entropy(net(x), y)))

    net, x, y = small_net()
    first = SAM(None, torch.optim.SGD(net.parameters(), 0.1, momentum=0.9), rho=0.1)
    run(first, net, x, y, 2)
    other, state = copy.deepcopy(net), copy.deepcopy(first.state_dict())
    second = SAM(None, torch.optim.SGD(other.parameters(), 0.5, momentum=0.9), rho=0.1)
    second.load_state_dict(state)
    assert second.param_groups is second.base.param_groups
    assert second.param_groups[0]["lr"] == 0.1
    run(first, net, x, y, 2)
    run(second, other, x, y, 2)
    for a, b in zip(net.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


def test_learning_rate_of_the_groups_is_the_bases():
    w = START.clone().requires_grad_()
    optimizer = SAM(None, torch.optim.SGD([w], 0.1))
    optimizer.param_groups[0]["lr"] = 0.0
    optimizer.step(closure_of(optimizer, lambda: quadratic(w)))
    assert torch.equal(w.detach(), START)
    assert SAM.two_pass


@pytest.mark.parametrize("training", [True, False])
def test_frozen_batch_statistics(training):
    net, x, _ = small_net()
    net.train(training)
    before = copy.deepcopy(net.state_dict())
    expected = copy.deepcopy(net)(x)
    with frozen_batch_statistics(net):
        found = net(x)
    assert torch.equal(found, expected)  # the batch's own statistics are used as ever
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert net[1].track_running_stats
    if training:
        net(x)
        assert net[1].num_batches_tracked == before["1.num_batches_tracked"] + 1


def test_frozen_batch_statistics_come_back_after_an_error():
    net, _, _ = small_net()
    untracked = nn.BatchNorm1d(8, track_running_stats=False)
    both = nn.Sequential(net, untracked)
    with pytest.raises(RuntimeError, match="boom"), frozen_batch_statistics(both):
        raise RuntimeError("boom")
    assert net[1].track_running_stats
    assert not untracked.track_running_stats
