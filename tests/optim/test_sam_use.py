"""The SAM family in training loops: accumulation, clipping, gradient scalers, hooks, misuse."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mien.core.errors import ConfigError
from mien.optim import SAGM
from mien.optim.sam import global_norm
from tests.optim.test_sam_family import KINDS, equal, sgd


def batches():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    return net, torch.randn(16, 4), torch.randint(3, (16,))


def run(kind, backward, steps=4, base=None):
    """Steps whose closure is ``backward(net, x, y)``."""
    base = base or sgd(0.1)
    net, x, y = batches()
    optimizer = KINDS[kind](net.parameters(), base)
    for _ in range(steps):

        def closure():
            optimizer.zero_grad()
            return backward(net, x, y)

        optimizer.step(closure)
    return net


def whole(net, x, y):
    loss = F.cross_entropy(net(x), y)
    loss.backward()
    return loss


@pytest.mark.parametrize("kind", KINDS)
def test_accumulated_micro_batches_are_one_batch(kind):
    """The perturbation is taken once, along the gradient of all micro-batches."""

    def parts(net, x, y):
        losses = [F.cross_entropy(net(a), b) / 4 for a, b in zip(x.chunk(4), y.chunk(4), strict=True)]
        for loss in losses:
            loss.backward()
        return torch.stack(losses).sum()

    for a, b in zip(run(kind, whole).parameters(), run(kind, parts).parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_clipping_in_the_closure_clips_both_gradients(kind):
    limit = 1e-3

    def clipped(net, x, y):
        loss = whole(net, x, y)
        nn.utils.clip_grad_norm_(net.parameters(), limit)
        return loss

    net = run(kind, clipped, steps=1, base=sgd(1.0))
    start = batches()[0]
    moved = global_norm([p.detach() - q for p, q in zip(net.parameters(), start.parameters(), strict=True)])
    # GSAM's direction is g_s plus a part orthogonal to it, so it is a little longer than g_s.
    assert 0.5 * limit < float(moved.detach()) < 1.2 * limit


def scaled_run(kind, scale, steps=4, poison=None):
    """The documented recipe with a gradient scaler; pass number ``poison`` overflows."""
    net, x, y = batches()
    optimizer = KINDS[kind](net.parameters(), lambda p: torch.optim.SGD(p, 0.1, momentum=0.9))
    scaler = torch.amp.GradScaler("cpu", init_scale=scale, enabled=scale is not None)
    done = 0

    def backward():
        nonlocal done
        scaler.scale(F.cross_entropy(net(x * (float("inf") if done == poison else 1.0)), y)).backward()
        done += 1

    for _ in range(steps):
        backward()
        scaler.unscale_(optimizer)
        optimizer.first_step(zero_grad=True)
        scaler.update()
        backward()
        scaler.step(optimizer)
        optimizer.restore()
        scaler.update()
        optimizer.zero_grad()
    return net, scaler


@pytest.mark.parametrize("kind", KINDS)
def test_a_gradient_scaler_changes_nothing(kind):
    scaled, scaler = scaled_run(kind, 2.0**16)
    assert scaler.get_scale() == 2.0**16
    momentum = run(kind, whole, base=lambda p: torch.optim.SGD(p, 0.1, momentum=0.9))
    for a, b in zip(scaled.parameters(), momentum.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("poison", [0, 1], ids=["first pass", "second pass"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_overflow_skips_the_step_and_keeps_every_bit(kind, poison):
    net, scaler = scaled_run(kind, 2.0**16, steps=1, poison=poison)
    assert equal(net, batches()[0])
    assert scaler.get_scale() < 2.0**16
    again, _ = scaled_run(kind, 2.0**16, steps=3, poison=poison)
    two = run(kind, whole, steps=2, base=lambda p: torch.optim.SGD(p, 0.1, momentum=0.9))
    for a, b in zip(again.parameters(), two.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_the_hook_sees_the_combined_gradient_and_may_change_it(kind):
    net, x, y = batches()
    optimizer = KINDS[kind](net.parameters(), sgd(1.0))
    seen = []

    def reduce(grads):
        seen.append([g.clone() for g in grads])
        for g in grads:
            g.mul_(0.5)

    optimizer.reduce = reduce

    def closure():
        optimizer.zero_grad()
        return whole(net, x, y)

    optimizer.step(closure)
    plain = run(kind, whole, steps=1, base=sgd(1.0))
    start, _, _ = batches()
    for p, q, s, d in zip(net.parameters(), plain.parameters(), start.parameters(), seen[0], strict=True):
        torch.testing.assert_close(s - q, d, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(s - p, d / 2, rtol=1e-5, atol=1e-6)
    assert len(seen) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_memory_follows_a_net_that_changes_its_type(kind):
    net, x, y = batches()
    optimizer = KINDS[kind](net.parameters(), sgd(0.1))
    for dtype in (torch.float32, torch.float64):
        net.to(dtype)

        def closure(dtype=dtype):
            optimizer.zero_grad()
            return whole(net, x.to(dtype), y)

        optimizer.step(closure)
    assert all(p.dtype == torch.float64 and torch.isfinite(p).all() for p in net.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_parameters_of_different_types_in_one_step(kind):
    a = torch.tensor([1.0, 2.0], requires_grad=True)
    b = torch.tensor([3.0], dtype=torch.float64, requires_grad=True)
    optimizer = KINDS[kind]([a, b], sgd(0.1))

    def closure():
        optimizer.zero_grad()
        loss = (a.double() ** 2).sum() + (b**2).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert (a.dtype, b.dtype) == (torch.float32, torch.float64)
    assert float(b.detach()) < 3.0
    assert bool((a < torch.tensor([1.0, 2.0])).all())


def test_misuse_of_the_two_call_form():
    w = torch.tensor([1.0], requires_grad=True)
    optimizer = SAGM([w], sgd(0.1))
    with pytest.raises(ConfigError, match="first_step"):
        optimizer.step()
    (w**2).sum().backward()
    optimizer.first_step()
    with pytest.raises(ConfigError, match="first_step\\(\\) twice"):
        optimizer.first_step()
    optimizer.restore()
    assert float(w.detach()) == 1.0
    optimizer.first_step()
    w.grad = None
    with pytest.raises(ConfigError, match="lost its gradient"):
        optimizer.step()
    assert float(w.detach()) == 1.0


def test_the_first_gradient_is_taken_not_copied_and_a_step_given_up_gives_it_back():
    w = torch.tensor([1.0, -2.0], requires_grad=True)
    optimizer = SAGM([w], sgd(0.1), rho=0.1, alpha=0.0)
    (w**2).sum().backward()
    first = w.grad
    place = first.data_ptr()
    optimizer.first_step()
    assert w.grad is None
    optimizer.restore()
    assert w.grad is first
    assert w.grad.data_ptr() == place
    optimizer.first_step()
    (w**2).sum().backward()
    assert w.grad.data_ptr() != place
    optimizer.restore()  # the second pass has its own
    assert w.grad is not first


def test_gradients_that_a_process_group_keeps_in_one_buffer_are_copied():
    buffer = torch.zeros(2)
    w = torch.tensor([1.0, -2.0], requires_grad=True)
    w.grad = buffer[:]  # a view, as those of DistributedDataParallel can be
    optimizer = SAGM([w], sgd(0.1), rho=0.1, alpha=0.0)
    buffer += torch.tensor([2.0, -4.0])  # the gradient of w^2
    optimizer.first_step()
    buffer.zero_()
    (w**2).sum().backward()
    assert w.grad.data_ptr() == buffer.data_ptr()
    ahead = torch.tensor([1.0, -2.0]) * (1 + 0.1 / 5**0.5)
    optimizer.second_step()
    assert torch.allclose(w.detach(), torch.tensor([1.0, -2.0]) - 0.1 * (torch.tensor([1.0, -2.0]) + ahead))


def test_trouble_while_perturbing_restores_the_weights(monkeypatch):
    net, x, y = batches()
    optimizer = SAGM(net.parameters(), sgd(0.1))
    monkeypatch.setattr("mien.optim.sam._IN_CACHE", 1)  # one parameter after another
    plain, calls = torch._foreach_add_, []

    def add(*args):
        calls.append(args)
        if len(calls) == 3:
            raise RuntimeError("out of memory")
        plain(*args)

    monkeypatch.setattr(torch, "_foreach_add_", add)
    whole(net, x, y)
    with pytest.raises(RuntimeError, match="out of memory"):
        optimizer.first_step()
    assert equal(net, batches()[0])
    with pytest.raises(ConfigError, match="without first_step"):
        optimizer.second_step()
