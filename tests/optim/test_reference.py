"""The SAM family against a slow twin (to the bit) and against the package `pytorch_optimizer`."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mien.optim import ASAM, GSAM, SAGM, SAM

STEPS = 6


def net_and_data(wide=16):
    """With ``wide=300`` a layer is larger than the pieces that the optimisers work in."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, wide), nn.Tanh(), nn.Linear(wide, wide), nn.Tanh(), nn.Linear(wide, 3))
    return net, torch.randn(32, 6), torch.randint(3, (32,))


def sgd(params):
    return torch.optim.SGD(params, 0.1, momentum=0.9, weight_decay=1e-3)


def closure_of(net, x, y, optimizer):
    def closure():
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        return loss

    return closure


def ours(make, wide=16):
    net, x, y = net_and_data(wide)
    optimizer = make(net.parameters())
    for _ in range(STEPS):
        optimizer.step(closure_of(net, x, y, optimizer))
    return [p.detach() for p in net.parameters()]


def twin(kind, wide, rho, alpha=0.0, beta=0.0, adaptive=False):
    """The same written out: copies of everything, one parameter after another."""
    net, x, y = net_and_data(wide)
    base = sgd(net.parameters())
    closure = closure_of(net, x, y, base)
    for _ in range(STEPS):
        closure()
        params = list(net.parameters())
        g = [p.grad.clone() for p in params]
        with torch.no_grad():
            before = [p.clone() for p in params]
            seen = [p.abs() * a for p, a in zip(params, g, strict=True)] if adaptive else g
            norm = torch.stack([torch.linalg.vector_norm(s) for s in seen]).norm()
            scale = rho / (norm + 1e-12) - alpha
            along = [p.abs() * s for p, s in zip(params, seen, strict=True)] if adaptive else g
            for p, a in zip(params, along, strict=True):
                p.add_(a * scale)
        closure()
        with torch.no_grad():
            for p, b in zip(params, before, strict=True):
                p.copy_(b)
            inner = torch.stack([(a * p.grad).sum() for a, p in zip(g, params, strict=True)]).sum()
            square = torch.stack([torch.linalg.vector_norm(p.grad) for p in params]).norm() ** 2
            for p, a in zip(params, g, strict=True):
                if kind == "sagm":
                    p.grad = (p.grad + a) * 0.5
                if kind == "gsam":
                    p.grad = p.grad * (1 + beta * inner / (square + 1e-12)) - beta * a
        base.step()
    return [p.detach() for p in net.parameters()]


@pytest.mark.parametrize("wide", [16, 300])
@pytest.mark.parametrize(
    ("kind", "make", "knobs"),
    [
        ("sam", lambda p: SAM(p, sgd, 0.1), {"rho": 0.1}),
        ("sam", lambda p: ASAM(p, sgd, 0.5), {"rho": 0.5, "adaptive": True}),
        ("gsam", lambda p: GSAM(p, sgd, 0.1, 0.4), {"rho": 0.1, "beta": 0.4}),
        ("sagm", lambda p: SAGM(p, sgd, 0.1, 0.01), {"rho": 0.1, "alpha": 0.01}),
        (
            "sagm",
            lambda p: SAGM(p, sgd, 0.1, 0.01, adaptive=True),
            {"rho": 0.1, "alpha": 0.01, "adaptive": True},
        ),
    ],
    ids=["sam", "asam", "gsam", "sagm", "adaptive-sagm"],
)
def test_equal_to_the_slow_twin_to_the_bit(kind, make, knobs, wide):
    for a, b in zip(ours(make, wide), twin(kind, wide, **knobs), strict=True):
        assert torch.equal(a, b)


def close(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a.detach(), b.detach(), rtol=0, atol=1e-6)
    return True


def furthest(some, others):
    return max(float((a.detach() - b.detach()).abs().max()) for a, b in zip(some, others, strict=True))


@pytest.mark.parametrize("adaptive", [False, True], ids=["sam", "asam"])
def test_sam_matches_pytorch_optimizer(adaptive):
    """Its convention: the caller runs the first pass, ``step(closure)`` only the second; base by class."""
    package = pytest.importorskip("pytorch_optimizer")
    net, x, y = net_and_data()
    theirs = package.SAM(
        net.parameters(),
        torch.optim.SGD,
        rho=0.2,
        adaptive=adaptive,
        lr=0.1,
        momentum=0.9,
        weight_decay=1e-3,
    )
    closure = closure_of(net, x, y, theirs)
    for _ in range(STEPS):
        closure()
        theirs.step(closure)
    found = ours(lambda p: (ASAM if adaptive else SAM)(p, sgd, 0.2))
    assert close(found, net.parameters())
    assert furthest(found, net_and_data()[0].parameters()) > 0.05


@pytest.mark.parametrize("adaptive", [False, True])
def test_gsam_matches_pytorch_optimizer(adaptive):
    """Its ``alpha`` is our ``beta``; d = g_s - alpha (g - cos ||g|| / ||g_s|| g_s), the same decomposition.

    Its radius comes from a scheduler, here a constant one, and it takes the perturbation off by subtraction,
    so the weights drift by ulps from ours.
    """
    package = pytest.importorskip("pytorch_optimizer")

    class Constant:
        def step(self):
            return 0.2

    net, x, y = net_and_data()
    base = sgd(net.parameters())
    theirs = package.GSAM(net.parameters(), base, net, Constant(), alpha=0.4, adaptive=adaptive)
    for _ in range(STEPS):
        theirs.set_closure(F.cross_entropy, x, y)
        theirs.step()
    found = ours(lambda p: GSAM(p, sgd, 0.2, 0.4, adaptive=adaptive))
    assert close(found, net.parameters())
    plain = ours(lambda p: SAM(p, sgd, 0.2, adaptive=adaptive))
    assert furthest(found, plain) > 1e-4


def test_groups_with_their_own_rates_match_pytorch_optimizer():
    package = pytest.importorskip("pytorch_optimizer")
    net, x, y = net_and_data()
    other = copy.deepcopy(net)

    def groups(of):
        return [{"params": list(of[0].parameters()), "lr": 0.3}, {"params": list(of[2:].parameters())}]

    theirs = package.SAM(groups(other), torch.optim.SGD, rho=0.2, lr=0.1)
    mine = SAM(groups(net), lambda p: torch.optim.SGD(p, 0.1), 0.2)
    closure = closure_of(other, x, y, theirs)
    for _ in range(STEPS):
        closure()
        theirs.step(closure)
        mine.step(closure_of(net, x, y, mine))
    assert close(net.parameters(), other.parameters())
