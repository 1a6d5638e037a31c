from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from mien.core.errors import ConfigError, ShapeError
from mien.losses import kl_divergence
from mien.losses.logit import dkd_terms
from mien.methods.gkd import (
    PRESETS,
    GKDLoss,
    GroupSelector,
    cache_teacher,
    cached_terms,
    gkd_terms,
    group_masses,
)
from mien.methods.gkd.loss import EVERY, TeacherCache, best_columns, on_grid, smallest_k, with_label

F64 = torch.float64
ZT = torch.tensor([[8.0, 4.0, 2.0, 0.0, -2.0]], dtype=F64)
ZS = torch.tensor([[5.0, 4.0, 1.0, 0.0, 0.0]], dtype=F64)
Y = torch.tensor([0])


def batch(n=6, c=20, scale=5.0, seed=0):
    g = torch.Generator().manual_seed(seed)
    zs, zt = (scale * torch.randn(n, c, generator=g, dtype=F64) for _ in range(2))
    return zs, zt, torch.randint(c, (n,), generator=g)


def group(*columns, y=0):
    index = torch.tensor([list(columns)])
    return with_label(index, torch.tensor([index.shape[1]]), torch.tensor([y]))


def random_group(n, c, y, seed=0):
    """Ragged groups with the label in each."""
    g = torch.Generator().manual_seed(seed)
    index = torch.rand(n, c, generator=g).argsort(1)
    return with_label(index, torch.randint(1, c, (n,), generator=g), y)


def terms(zs, zt, mask, T=4.0):
    return {k: v for k, v in gkd_terms(zs, zt, mask, T).items()}


# 1. The decomposition


@pytest.mark.parametrize("T", [1.0, 4.0])
def test_the_three_terms_sum_to_kd(T):
    zs, zt, y = batch()
    for seed in range(5):
        found = terms(zs, zt, random_group(6, 20, y, seed), T)
        p = found["p_teacher"]
        whole = found["binary"] + p * found["primary"] + (1 - p) * found["secondary"]
        torch.testing.assert_close(whole, kl_divergence(zt / T, zs / T), rtol=0, atol=1e-10)


def test_the_sum_holds_for_gradients_of_both_nets():
    zs, zt, y = batch()
    mask = random_group(6, 20, y)
    zs.requires_grad_()
    zt.requires_grad_()
    found = terms(zs, zt, mask)
    p = found["p_teacher"]
    whole = found["binary"] + p * found["primary"] + (1 - p) * found["secondary"]
    logp, logq = (zt / 4).log_softmax(1), (zs / 4).log_softmax(1)
    wanted = (logp.exp() * (logp - logq)).sum()
    for a, b in zip(
        torch.autograd.grad(whole.sum(), (zs, zt)), torch.autograd.grad(wanted, (zs, zt)), strict=True
    ):
        torch.testing.assert_close(a, b)


def loop(zs, zt, index, T):
    """The definition, with a mask and logs of probabilities."""
    out = []
    for s, t, row in zip((zs / T).softmax(1), (zt / T).softmax(1), index.tolist(), strict=True):
        a = [j for j in row if j >= 0]
        b = [j for j in range(len(s)) if j not in a]
        P, Q = t[a].sum(), s[a].sum()
        binary = P * (P / Q).log() + (1 - P) * ((1 - P) / (1 - Q)).log()
        primary = (t[a] / P * ((t[a] / P) / (s[a] / Q)).log()).sum()
        r, u = t[b] / (1 - P), s[b] / (1 - Q)
        out.append((binary, primary, (r * (r / u).log()).sum(), P, Q))
    return [torch.stack(x) for x in zip(*out, strict=True)]


def test_terms_equal_their_loop():
    zs, zt, y = batch()
    mask = random_group(6, 20, y)
    for found, wanted in zip(terms(zs, zt, mask).values(), loop(zs, zt, mask.index, 4.0), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("columns", "y", "wanted"),
    [
        ((0, 1), 0, (0.392336, 0.975547, 0.676136, 0.756391, 0.654045)),
        ((0, 1, 2), 0, (0.448188, 0.896219, 0.484798, 0.879774, None)),
        ((0, 1), 3, (0.772594, 0.569582, 0.442681, 0.627802, 0.473034)),
        ((0,), 0, (1.130162, 0.0, 0.368611, 0.552966, None)),
    ],
)
def test_worked_examples(columns, y, wanted):
    found = terms(ZS, ZT, group(*columns, y=y))
    for value, factor, number in zip(found.values(), (16, 16, 16, 1, 1), wanted, strict=True):
        if number is not None:
            assert factor * value.item() == pytest.approx(number, abs=1.5e-6)


def test_worked_gradients():
    for term, wanted in (
        ("binary", [-0.230144, -0.179237, 0.160064, 0.124658, 0.124658]),
        ("primary", [-0.675528, 0.675528, 0, 0, 0]),
    ):
        zs = ZS.clone().requires_grad_()
        (16 * terms(zs, ZT, group(0, 1))[term]).backward()
        torch.testing.assert_close(zs.grad[0], torch.tensor(wanted, dtype=F64), rtol=0, atol=1.5e-6)


def test_gradient_formulae():
    zs, zt, y = batch()
    mask, T = random_group(6, 20, y), 3.0
    zs.requires_grad_()
    found = terms(zs, zt, mask, T)
    p_s = (zs.detach() / T).softmax(1)
    inside = torch.zeros(6, 21, dtype=torch.bool).scatter(1, mask.index % 21, True)[:, :20]
    P_t, P_s = (found[k].detach()[:, None] for k in ("p_teacher", "p_student"))
    ratio = torch.where(inside, P_t / P_s, (1 - P_t) / (1 - P_s))
    (grad,) = torch.autograd.grad(T**2 * found["binary"].sum(), zs, retain_graph=True)
    torch.testing.assert_close(grad, T * p_s * (1 - ratio))
    (grad,) = torch.autograd.grad(T**2 * found["primary"].sum(), zs)
    q_t = torch.where(inside, (zt / T).softmax(1) / P_t, 0.0)
    torch.testing.assert_close(grad, T * (torch.where(inside, p_s / P_s, 0.0) - q_t))
    torch.testing.assert_close(grad.sum(1), torch.zeros(6, dtype=F64), rtol=0, atol=1e-12)


# 2 to 8. What it equals, and what it does not see


def test_a_group_of_the_label_is_dkd():
    zs, zt, y = batch()
    mask = with_label(y[:, None], torch.ones_like(y), y)
    found = terms(zs, zt, mask)
    target, others = dkd_terms(zs, zt, y, 4.0)
    torch.testing.assert_close(found["binary"], target)
    torch.testing.assert_close(found["secondary"], others)
    assert found["primary"].abs().max() < 1e-12


def test_a_group_of_everything_is_kd_without_nan():
    zs, zt, y = batch()
    loss = GKDLoss(0.0, 1.0, 5.0, selector=GroupSelector(k_min=20, k_max=20), ce=0)
    zs.requires_grad_()
    found, logs = loss(zs, zt, y, 10)
    torch.testing.assert_close(found, 16 * kl_divergence(zt / 4, zs / 4).mean())
    assert logs["binary"] == 0
    assert logs["secondary"] == 0
    assert logs["p_teacher"] == 1
    (grad,) = torch.autograd.grad(found, zs)
    (wanted,) = torch.autograd.grad(16 * kl_divergence(zt / 4, zs / 4).mean(), zs)
    torch.testing.assert_close(grad, wanted)


def test_a_shifted_teacher_is_learnt_already():
    _, zt, y = batch()
    zs = (zt + torch.arange(6.0, dtype=F64)[:, None]).requires_grad_()
    loss, _ = GKDLoss(lam=1.0, ce=0)(zs, zt, y, 10)
    loss.backward()
    assert abs(loss.item()) < 1e-12
    assert zs.grad.abs().max() < 1e-12


def test_constants_and_the_order_of_classes_do_not_matter():
    zs, zt, y = batch()
    loss = GKDLoss(lam=0.5)
    for shift in (zs, zt):
        before = loss(zs, zt, y, 7)[0].item()
        shift += 3.0
        assert loss(zs, zt, y, 7)[0].item() == pytest.approx(before, rel=1e-12)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(3))
    moved = loss(zs[:, order], zt[:, order], order.argsort()[y], 7)[0]
    assert moved.item() == pytest.approx(before, rel=1e-12)


def test_binary_and_primary_do_not_see_inside_the_rest():
    zs, zt, y = batch()
    mask = random_group(6, 20, y)
    before, ce = terms(zs, zt, mask), F.cross_entropy(zs, y)
    for i, row in enumerate(mask.index.tolist()):
        rest = [j for j in range(20) if j not in row]
        held = (zs[i, rest] / 4).logsumexp(0)
        new = torch.randn(len(rest), dtype=F64, generator=torch.Generator().manual_seed(i))
        zs[i, rest] = 4 * (new - new.logsumexp(0) + held)
    after = terms(zs, zt, mask)
    for name in ("binary", "primary", "p_student"):
        torch.testing.assert_close(after[name], before[name], rtol=1e-10, atol=1e-12)
    assert (after["secondary"] - before["secondary"]).abs().max() > 0.01
    assert abs(F.cross_entropy(zs, y) - ce) > 0.01


@pytest.mark.parametrize("name", ["recommended", "release-adaptive", "paper", "release-fixed"])
def test_gradcheck(name):
    zs, zt, y = batch(3, 12)
    loss = GKDLoss(lam=0.5, selector=PRESETS[name])
    assert torch.autograd.gradcheck(lambda z: loss(z, zt, y, 4)[0], zs.requires_grad_())


# 9. Groups


def test_worked_groups():
    p = (ZT / 4).softmax(1)
    wanted = [0.552966, 0.756391, 0.879774, 0.954610, 1.0]
    assert p.cumsum(1)[0].tolist() == pytest.approx(wanted, abs=1e-6)
    for t_group, k in ((4.0, 4), (1.0, 1)):
        select = GroupSelector(t_group=t_group, k_min=1, k_max=EVERY)
        assert select(ZS, ZT, Y).lengths.tolist() == [k]
    assert ZT.softmax(1)[0, 0].item() == pytest.approx(0.979264, abs=1e-6)


def test_worked_batch_groups():
    z = torch.tensor([[6.0, 2, 1, 0, -1, -2], [1, 0, 5, 3, 2, -3]], dtype=F64)
    masses = group_masses(z, 1.0)
    wanted = torch.tensor([0.987156, 0.023369, 0.832647, 0.114209, 0.042015, 0.000603], dtype=F64)
    torch.testing.assert_close(masses, wanted, rtol=0, atol=1e-6)
    y = torch.tensor([0, 2])
    for rate, k in ((0.93, 3), (0.5, 2)):
        select = GroupSelector("student", 1.0, rate, "batch", 1, EVERY)
        assert select(z, torch.zeros_like(z), y).lengths.tolist() == [k, k]
    assert GroupSelector("student", 1.0, 0.93, "sample", 1, EVERY)(z, z, y).lengths.tolist() == [1, 2]


def release_loop(zs, y, rate):
    """One K from the masses of the batch on the grid 1, 101, 201; then the label first, then the best."""
    batch, classes = zs.shape
    mass = zs.softmax(1).sum(0).sort(descending=True).values
    k = classes
    for candidate in range(1, classes + 1, 100):
        if mass[:candidate].sum() >= rate * batch:
            k = candidate
            break
    groups = []
    for row, label in zip(zs.tolist(), y.tolist(), strict=True):
        row[label] = math.inf
        groups.append(set(sorted(range(classes), key=lambda j: -row[j])[:k]))
    return k, groups


@pytest.mark.parametrize(("scale", "k"), [(0.3, 300), (2.5, 201), (4.0, 101), (60.0, 1)])
def test_release_adaptive_equals_its_loop(scale, k):
    zs, zt, y = batch(3 if scale == 60.0 else 8, 300, scale)
    if scale == 60.0:
        zs, zt, y = zs[:1], zt[:1], y[:1]
    wanted, groups = release_loop(zs, y, 0.93)
    assert wanted == k
    mask = PRESETS["release-adaptive"](zs, zt, y)
    assert set(mask.lengths.tolist()) == {k}
    assert [set(row) for row in mask.index.tolist()] == groups


def test_release_fixed_and_the_limits_of_k():
    zs, zt, y = batch(4, 20)
    assert PRESETS["release-fixed"](zs, zt, y).lengths.tolist() == [20] * 4
    assert GroupSelector("student", k_min=3, k_max=3)(zs, zt, y).lengths.tolist() == [3] * 4
    flat = torch.zeros(2, 20, dtype=F64)
    assert GroupSelector()(flat, flat, y[:2]).lengths.tolist() == [10, 10]
    assert GroupSelector()(100 * zs, 100 * zt, y).lengths.tolist() == [5] * 4
    assert GroupSelector()(flat[:, :4], flat[:, :4], torch.tensor([0, 3])).lengths.tolist() == [2, 2]


@pytest.mark.parametrize("reduce", ["sample", "batch"])
def test_k_grows_with_the_rate_and_the_temperature(reduce):
    zs, zt, y = batch(8, 200)

    def mean_k(**options):
        select = GroupSelector(reduce=reduce, k_min=1, k_max=EVERY, **options)
        return select(zs, zt, y).lengths.float().mean().item()

    by_rate = [mean_k(rate=r, t_group=4.0) for r in (0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 1.0)]
    by_heat = [mean_k(t_group=t) for t in (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)]
    assert by_rate == sorted(by_rate)
    assert by_heat == sorted(by_heat)
    assert by_rate[0] < by_rate[-1]
    assert by_heat[0] < by_heat[-1]


def test_a_batch_of_one_gives_the_samples_own_k():
    zs, zt, y = batch(8, 200)
    for i in range(8):
        one = [
            GroupSelector(t_group=3.0, reduce=r, k_min=1, k_max=EVERY)(
                zs[i : i + 1], zt[i : i + 1], y[i : i + 1]
            )
            for r in ("sample", "batch")
        ]
        assert one[0].lengths.tolist() == one[1].lengths.tolist()
        assert torch.equal(one[0].index, one[1].index)


@pytest.mark.parametrize("name", PRESETS)
def test_every_group_has_its_label_once_and_no_gradient(name):
    zs, zt, y = batch(16, 60)
    zs.requires_grad_()
    mask = PRESETS[name](zs, zt, y)
    assert not mask.index.requires_grad
    assert ((mask.index == y[:, None]).sum(1) == 1).all()
    assert torch.equal((mask.index >= 0).sum(1), mask.lengths)
    natural = (zs if "release" in name else zt).argsort(1, descending=True)
    for i, k in enumerate(mask.lengths.tolist()):
        best = natural[i, :k].tolist()
        assert mask.outside[i].item() == (int(y[i]) not in best)
        assert set(best) - set(mask.index[i].tolist()) <= set(best[-1:])
        assert set(mask.index[i].tolist()) - {-1} <= {*best, int(y[i])}


def test_helpers():
    assert smallest_k(torch.tensor([[0.5, 0.5], [1.0, 0.0]]), 0.9).tolist() == [2, 1]
    assert smallest_k(torch.tensor([0.2, 0.1]), 0.9).item() == 2
    assert on_grid(torch.tensor([3, 5, 6, 8, 99]), 5, 40, 3).tolist() == [5, 5, 8, 8, 40]
    values, columns = best_columns(ZT, 2)
    assert values.tolist() == [[8.0, 4.0]]
    assert columns.tolist() == [[0, 1]]


# 11. The cache


@pytest.mark.parametrize("selector", [PRESETS["recommended"], GroupSelector(k_min=20, k_max=20)])
def test_the_cache_equals_the_dense_path(selector):
    zs, zt, y = batch()
    cache = cache_teacher(zt, y, selector, 4.0)
    dense, cached = terms(zs, zt, cache.mask), cached_terms(zs, cache)
    for name in ("binary", "primary", "p_teacher", "p_student"):
        torch.testing.assert_close(cached[name], dense[name], rtol=1e-12, atol=1e-14)
    loss = GKDLoss(selector=selector)
    a, b = zs.clone().requires_grad_(), zs.clone().requires_grad_()
    one, two = loss(a, zt, y, 5)[0], loss.from_cache(b, cache, y, 5)[0]
    one.backward()
    two.backward()
    torch.testing.assert_close(two, one)
    torch.testing.assert_close(b.grad, a.grad)
    small = TeacherCache(cache.mask, cache.values.half(), cache.log_out.float(), 4.0)
    torch.testing.assert_close(cached_terms(zs, small)["primary"], dense["primary"], rtol=0.05, atol=0.01)


def test_what_a_cache_cannot_do():
    zs, zt, y = batch()
    with pytest.raises(ConfigError, match="source='teacher'"):
        cache_teacher(zt, y, PRESETS["release-adaptive"], 4.0)
    cache = cache_teacher(zt, y, PRESETS["recommended"], 4.0)
    with pytest.raises(ConfigError, match=r"T=4.0 and has no secondary term; got 2.0, 0.0"):
        GKDLoss(T=2.0).from_cache(zs, cache, y)
    with pytest.raises(ConfigError, match="no secondary term"):
        GKDLoss(lam=1.0).from_cache(zs, cache, y)
    with pytest.raises(ShapeError, match=r"got \(5, 20\), 5 and 6"):
        GKDLoss().from_cache(zs[:5], cache, y[:5])


# The module


def test_the_loss_is_the_weighted_sum_and_ramps():
    zs, zt, y = batch()
    loss = GKDLoss(alpha=2.0, beta=3.0, lam=0.5, T=2.0, warmup_epochs=10)
    mask = loss.selector(zs, zt, y)
    parts = {k: v.mean() for k, v in gkd_terms(zs, zt, mask, 2.0).items()}
    kd = 4 * (2 * parts["binary"] + 3 * parts["primary"] + 0.5 * parts["secondary"])
    for epoch, weight in ((0, 0.0), (4, 0.4), (10, 1.0), (19, 1.0)):
        found, logs = loss(zs, zt, y, epoch)
        torch.testing.assert_close(found, F.cross_entropy(zs, y) + weight * kd)
        assert logs["kd_weight"].item() == weight
    assert logs["k"] == mask.lengths.double().mean()
    assert logs["outside"].item() == pytest.approx(mask.outside.double().mean().item())
    target = zt.softmax(1).gather(1, y[:, None]).mean()
    torch.testing.assert_close(logs["teacher_target"], target)
    torch.testing.assert_close(logs["kd"], kd)
    assert loss(zs, zt, y, 3)[1]["secondary"] > 0
    assert GKDLoss()(zs, zt, y, 3)[1]["secondary"] == 0


def test_sharp_half_precision_logits_stay_finite():
    g = torch.Generator().manual_seed(0)
    zs, zt = ((128 * torch.rand(4, 50, generator=g) - 64).half() for _ in range(2))
    zs.requires_grad_()
    for T in (0.5, 4.0):
        loss, logs = GKDLoss(lam=1.0, T=T)(zs, zt, torch.arange(4), 20)
        (grad,) = torch.autograd.grad(loss, zs)
        assert torch.isfinite(grad).all()
        assert all(torch.isfinite(v) for v in logs.values())


def test_settings_that_do_not_work():
    for options, message in (
        ({"source": "both"}, "source='both' is unknown; known: teacher, student"),
        ({"reduce": "mean"}, "reduce='mean' is unknown"),
        ({"rate": 0.0}, r"rate=0.0 in \(0, 1\]"),
        ({"t_group": 0}, "t_group=0 must be above 0"),
        ({"k_min": 8, "k_max": 4}, "got 8, 4, 1"),
    ):
        with pytest.raises(ConfigError, match=message):
            GroupSelector(**options)
    with pytest.raises(ShapeError, match=r"got \(1, 5\), \(1, 4\)"):
        gkd_terms(ZS, ZT[:, :4], group(0), 4.0)
    with pytest.raises(ConfigError, match="T=-1"):
        GKDLoss(T=-1)
