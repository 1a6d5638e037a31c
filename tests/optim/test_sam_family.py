"""SAGM and its relatives: worked numbers and identities (a)-(m) of the method."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mien.core.errors import ConfigError, MienError
from mien.optim import ASAM, GSAM, SAGM, SAM
from mien.optim.sam import global_norm

H = torch.diag(torch.tensor([10.0, 1.0], dtype=torch.float64))
KINDS = {
    "sam": lambda p, base: SAM(p, base),
    "asam": lambda p, base: ASAM(p, base),
    "gsam": lambda p, base: GSAM(p, base),
    "sagm": lambda p, base: SAGM(p, base),
}


def sgd(lr):
    return lambda params: torch.optim.SGD(params, lr)


def walk(make, start, loss, steps=1):
    w = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    optimizer = make([w])
    path = []
    for _ in range(steps):

        def closure():
            optimizer.zero_grad()
            value = loss(w)
            value.backward()
            return value

        optimizer.step(closure)
        path.append(w.detach().clone())
    return path


def direction(make, start, loss):
    """The gradient that the base steps with."""
    return torch.tensor(start, dtype=torch.float64) - walk(lambda p: make(p, sgd(1.0)), start, loss)[0]


def quadratic(w):
    return 0.5 * w @ H @ w


def close(got, expected, tol=2e-6):
    want = torch.tensor(expected, dtype=torch.float64)
    alike = got.dtype == want.dtype and got.shape == want.shape
    return alike and torch.allclose(got, want, rtol=0, atol=tol)


def test_worked_example_1_quadratic():
    start = [1.0, 2.0]
    assert close(direction(lambda p, b: SAGM(p, b, 0.05, 0.001), start, quadratic), [10.195145, 2.003903])
    assert close(walk(lambda p: SAGM(p, sgd(0.1), 0.05, 0.001), start, quadratic)[0], [-0.019515, 1.799610])
    assert close(direction(lambda p, b: SAM(p, b, 0.05), start, quadratic), [10.490290, 2.009806])
    assert close(direction(lambda p, b: GSAM(p, b, 0.05, 0.4), start, quadratic), [10.496509, 1.977346])


def test_worked_example_2_three_steps():
    path = walk(
        lambda p: SAGM(p, sgd(0.05), 0.1, 0.01), [0.4], lambda x: (torch.sin(3 * x) + x**2 / 2).sum(), 3
    )
    assert close(torch.cat(path), [0.342058, 0.261800, 0.154132])


def test_worked_example_3_logistic_and_the_sign_trap():
    x = torch.tensor([[1, 2], [2, -1], [-1, 0.5], [0, -1.5]], dtype=torch.float64)
    y = torch.tensor([1, 0, 1, 0], dtype=torch.float64)

    def loss(w):
        return F.binary_cross_entropy_with_logits(x @ w, y)

    start = [0.2, -0.3]
    assert close(walk(lambda p: SAGM(p, sgd(1.0), 0.05, 0.1), start, loss)[0], [-0.128443, 0.461648])
    assert close(walk(lambda p: SAM(p, sgd(1.0), 0.05), start, loss)[0], [-0.138697, 0.489351])
    w = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    optimizer = SAGM([w], sgd(1.0), 0.05, 0.1)
    loss(w).backward()
    optimizer.first_step()
    assert close(loss(w).detach()[None], [0.932757])
    assert optimizer.negative_steps == 1


def test_worked_example_4_adaptive():
    w = torch.tensor([0.5, -1.5], dtype=torch.float64, requires_grad=True)
    w.grad = torch.tensor([0.4, 0.2], dtype=torch.float64)
    optimizer = SAGM([w], sgd(1.0), 0.5, 0.01, adaptive=True)
    optimizer.first_step()
    assert close((w - torch.tensor([0.5, -1.5])).detach(), [0.137675, 0.619538])


def train(optimizer_of, steps=5, seed=0, dropout=0.0, norm=False, replay=True, groups=1, frozen=False):
    """A small net trained for some steps; returns it and the optimiser."""
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Linear(4, 8), nn.BatchNorm1d(8) if norm else nn.Identity(), nn.Tanh(), nn.Dropout(dropout)
    )
    net.append(nn.Linear(8, 3))
    if frozen:
        net[0].weight.requires_grad_(False)
    x, y = torch.randn(16, 4), torch.randint(3, (16,))
    params = list(net.parameters())
    cut = len(params) // groups
    spread = [{"params": params[i : i + cut]} for i in range(0, len(params), cut)]
    optimizer = optimizer_of(spread, net)
    calls = []
    for step in range(steps):

        def closure(step=step):
            if replay:
                torch.manual_seed(step)
            calls.append(step)
            optimizer.zero_grad()
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            return loss

        optimizer.step(closure)
    return net, optimizer, calls


def adam(params):
    return torch.optim.Adam(params, 1e-2, weight_decay=1e-3)


def equal(a, b):
    return all(
        torch.equal(p, q) for p, q in zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize("base", [adam, sgd(0.1)], ids=["adam", "sgd"])
def test_a_no_radius_and_no_alpha_is_the_base_to_the_bit(base):
    plain, _, _ = train(lambda p, _: base(p), dropout=0.3)
    ours, _, calls = train(lambda p, _: SAGM(p, base, 0.0, 0.0), dropout=0.3)
    assert equal(plain, ours)
    assert len(calls) == 10  # (j): exactly two closure calls a step


def test_b_quadratic_direction_is_exact():
    start = torch.tensor([1.0, 2.0], dtype=torch.float64)
    g = H @ start
    s = 0.3 / g.norm() - 0.01
    d = direction(lambda p, b: SAGM(p, b, 0.3, 0.01), start.tolist(), quadratic)
    torch.testing.assert_close(d, g + s / 2 * (H @ g), rtol=1e-10, atol=0)


def test_c_alpha_that_cancels_rho_is_erm():
    g = H @ torch.tensor([1.0, 2.0], dtype=torch.float64)
    d = direction(lambda p, b: SAGM(p, b, 0.05, 0.05 / float(g.norm())), [1.0, 2.0], quadratic)
    torch.testing.assert_close(d, g, rtol=1e-8, atol=1e-9)


def test_d_twice_the_direction_without_alpha_minus_g_is_sam():
    g = H @ torch.tensor([1.0, 2.0], dtype=torch.float64)
    d = direction(lambda p, b: SAGM(p, b, 0.05, 0.0), [1.0, 2.0], quadratic)
    sam = direction(lambda p, b: SAM(p, b, 0.05), [1.0, 2.0], quadratic)
    torch.testing.assert_close(2 * d - g, sam, rtol=1e-10, atol=1e-10)


def test_sum_is_twice_the_average():
    half = direction(lambda p, b: SAGM(p, b, 0.05, 0.001), [1.0, 2.0], quadratic)
    whole = direction(lambda p, b: SAGM(p, b, 0.05, 0.001, average=False), [1.0, 2.0], quadratic)
    torch.testing.assert_close(whole, 2 * half, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_e_no_learning_rate_leaves_every_bit(kind):
    before, _, _ = train(lambda p, _: sgd(0.0)(p), steps=1)
    after, _, _ = train(lambda p, _: KINDS[kind](p, sgd(0.0)), steps=4)
    assert equal(before, after)


@pytest.mark.parametrize("kind", KINDS)
def test_f_batch_statistics_are_those_of_one_pass(kind):
    one, _, _ = train(lambda p, _: sgd(0.0)(p), steps=3, norm=True)
    two, _, _ = train(lambda p, net: _with_model(KINDS[kind](p, sgd(0.0)), net), steps=3, norm=True)
    assert torch.equal(one[1].running_mean, two[1].running_mean)
    assert torch.equal(one[1].running_var, two[1].running_var)
    assert two[1].num_batches_tracked == 3


def _with_model(optimizer, net):
    optimizer.model = net
    return optimizer


@pytest.mark.parametrize("kind", KINDS)
def test_g_groups_do_not_matter(kind):
    one, _, _ = train(lambda p, _: KINDS[kind](p, sgd(0.1)), groups=1)
    four, _, _ = train(lambda p, _: KINDS[kind](p, sgd(0.1)), groups=4)
    assert equal(one, four)


@settings(max_examples=20, deadline=None)
@given(
    st.floats(0.1, 50), st.tuples(st.floats(-3, 3), st.floats(-3, 3)).filter(lambda t: sum(map(abs, t)) > 0.1)
)
def test_h_scaling_the_loss_leaves_sams_perturbation(scale, start):
    moved = []
    for c in (1.0, scale):
        w = torch.tensor(start, dtype=torch.float64, requires_grad=True)
        optimizer = SAM([w], sgd(1.0), 0.2)
        (c * quadratic(w)).backward()
        optimizer.first_step()
        moved.append((w - torch.tensor(start, dtype=torch.float64)).detach())
    torch.testing.assert_close(moved[0], moved[1], rtol=1e-9, atol=1e-12)
    assert float(moved[0].norm()) == pytest.approx(0.2, rel=1e-6)


def test_i_the_inner_step_matches_gradients_to_first_order():
    theta = torch.tensor([0.7, -0.4], dtype=torch.float64)

    def loss(w):
        return torch.sin(w[0] * 2) + w[0] * w[1] ** 2 + w[1] ** 4

    g = torch.autograd.functional.jacobian(loss, theta)
    eps = 0.1 * g / g.norm()
    at = torch.autograd.functional.jacobian(loss, theta + eps)
    slope = (loss(theta + eps - 1e-6 * g) - loss(theta + eps)) / 1e-6
    torch.testing.assert_close(slope, -(at @ g), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_k_frozen_parameters_stay_and_zero_gradients_are_safe(kind):
    net, _, _ = train(lambda p, _: KINDS[kind](p, sgd(0.1)), frozen=True)
    fresh, _, _ = train(lambda p, _: sgd(0.0)(p), steps=1)
    assert torch.equal(net[0].weight, fresh[0].weight)
    assert not torch.equal(net[4].weight, fresh[4].weight)
    flat = walk(lambda p: KINDS[kind](p, sgd(0.1)), [1.0, 2.0], lambda w: (w * 0).sum())
    assert torch.equal(flat[0], torch.tensor([1.0, 2.0], dtype=torch.float64))


@pytest.mark.parametrize("kind", KINDS)
def test_l_state_goes_through_a_file(kind, tmp_path):
    whole, _, _ = train(lambda p, _: KINDS[kind](p, adam), steps=6)
    net, optimizer, _ = train(lambda p, _: KINDS[kind](p, adam), steps=3)
    torch.save(optimizer.state_dict(), tmp_path / "o")
    other = copy.deepcopy(net)
    again = KINDS[kind](list(other.parameters()), adam)
    again.load_state_dict(torch.load(tmp_path / "o", weights_only=True))
    torch.manual_seed(0)
    nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 3))  # the draws that `train` made for its net
    x, y = torch.randn(16, 4), torch.randint(3, (16,))
    for _ in range(3):

        def closure():
            again.zero_grad()
            loss = F.cross_entropy(other(x), y)
            loss.backward()
            return loss

        again.step(closure)
    assert equal(whole, other)


def test_m_gsam_without_beta_is_sam():
    sam, _, _ = train(lambda p, _: SAM(p, adam, 0.1))
    gsam, _, _ = train(lambda p, _: GSAM(p, adam, 0.1, beta=0.0))
    assert equal(sam, gsam)


def test_gsam_direction_by_hand():
    g, s = torch.tensor([3.0, 4.0]), torch.tensor([2.0, -1.0])
    expected = s - 0.4 * (g - (g @ s) / (s @ s) * s)
    got = GSAM([torch.zeros(2, requires_grad=True)], sgd(1.0), beta=0.4).combine([g.clone()], [s.clone()])
    torch.testing.assert_close(got[0], expected)


@pytest.mark.parametrize("kind", KINDS)
def test_two_call_form_equals_the_closure(kind):
    closed, _, _ = train(lambda p, _: KINDS[kind](p, sgd(0.1)), steps=3)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.Identity(), nn.Tanh(), nn.Dropout(0.0))
    net.append(nn.Linear(8, 3))
    x, y = torch.randn(16, 4), torch.randint(3, (16,))
    optimizer = KINDS[kind](net.parameters(), sgd(0.1))
    for _ in range(3):
        optimizer.zero_grad()
        F.cross_entropy(net(x), y).backward()
        optimizer.first_step(zero_grad=True)
        F.cross_entropy(net(x), y).backward()
        optimizer.second_step()
    assert equal(closed, net)
    with pytest.raises(ConfigError, match="without first_step"):
        optimizer.second_step()


@pytest.mark.parametrize("trouble", ["raises", "nan"])
@pytest.mark.parametrize("kind", KINDS)
def test_trouble_in_pass_two_restores_weights_and_statistics(kind, trouble):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))
    before = copy.deepcopy(net)
    optimizer = _with_model(KINDS[kind](net.parameters(), sgd(0.1)), net)
    calls = []

    def closure():
        calls.append(1)
        optimizer.zero_grad()
        loss = net(torch.ones(5, 4)).sum()
        loss.backward()
        if len(calls) == 2 and trouble == "raises":
            raise RuntimeError("lost the data")
        return loss * float("nan") if len(calls) == 2 else loss

    with pytest.raises(RuntimeError if trouble == "raises" else MienError):
        optimizer.step(closure)
    for p, q in zip(net.parameters(), before.parameters(), strict=True):
        assert torch.equal(p, q)
    assert net[1].track_running_stats


def test_same_rng_replays_dropout():
    masks = {}
    for same in (True, False):
        torch.manual_seed(1)
        layer, w = nn.Dropout(0.5), torch.ones(50, requires_grad=True)
        seen = []
        optimizer = SAM([w], sgd(0.0), 0.0, same_rng=same)

        def closure(layer=layer, w=w, seen=seen, optimizer=optimizer):
            optimizer.zero_grad()
            out = layer(w)
            seen.append(out.detach().clone())
            out.sum().backward()
            return out.sum()

        optimizer.step(closure)
        masks[same] = torch.equal(*seen)
    assert masks == {True: True, False: False}


def test_options_and_norm():
    with pytest.raises(ConfigError, match="alpha"):
        SAGM([torch.zeros(1, requires_grad=True)], sgd(0.1), alpha=-1)
    with pytest.raises(ConfigError, match="needs params"):
        SAM(None, sgd(0.1))
    assert float(global_norm([torch.tensor([3.0]), torch.tensor([[4.0]])])) == 5.0
    assert ASAM([torch.zeros(1, requires_grad=True)], sgd(0.1)).adaptive
