from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from mien.core.errors import ConfigError, ShapeError
from mien.losses import DKDLoss, KDLoss
from mien.losses.logit import dkd_terms

F64 = torch.float64
ZT = torch.tensor([[8.0, 4.0, 2.0, 0.0, -2.0]], dtype=F64)
ZS = torch.tensor([[5.0, 4.0, 1.0, 0.0, 0.0]], dtype=F64)
Y = torch.tensor([0])


def batch(n=4, c=7):
    g = torch.Generator().manual_seed(0)
    zs, zt = (5 * torch.randn(n, c, generator=g, dtype=F64) for _ in range(2))
    return zs, zt, torch.randint(c, (n,), generator=g)


def test_kd_is_torchs_kl():
    zs, zt, y = batch()
    loss, logs = KDLoss(T=3.0, alpha=0.5)(zs, zt, y, 0)
    kl = F.kl_div((zs / 3).log_softmax(1), (zt / 3).log_softmax(1), reduction="batchmean", log_target=True)
    torch.testing.assert_close(loss, F.cross_entropy(zs, y) + 0.5 * 9 * kl)
    torch.testing.assert_close(logs["kd"], 0.5 * 9 * kl)
    assert not any(v.requires_grad for v in logs.values())


def test_kd_worked_example():
    assert KDLoss(T=4, ce=0)(ZS, ZT, Y, 0)[0].item() == pytest.approx(1.294944, abs=1e-6)


def dkd_loop(zs, zt, y, T):
    """Target and other classes spelt out."""
    out = []
    for s, t, label in zip(zs / T, zt / T, y.tolist(), strict=True):
        p, q = t.softmax(0), s.softmax(0)
        a, b = p[label], q[label]
        target = a * (a / b).log() + (1 - a) * ((1 - a) / (1 - b)).log()
        rest = [j for j in range(len(s)) if j != label]
        u, v = t[rest].softmax(0), s[rest].softmax(0)
        out.append((target, (u * (u / v).log()).sum()))
    return [torch.stack(x) for x in zip(*out, strict=True)]


def test_dkd_equals_its_loop():
    zs, zt, y = batch()
    for found, wanted in zip(dkd_terms(zs, zt, y, 4.0), dkd_loop(zs, zt, y, 4.0), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)
    target, others = (v.mean() for v in dkd_loop(zs, zt, y, 4.0))
    loss, logs = DKDLoss(alpha=2, beta=3, T=4, warmup_epochs=4)(zs, zt, y, 1)
    torch.testing.assert_close(loss, F.cross_entropy(zs, y) + 0.25 * 16 * (2 * target + 3 * others))
    assert logs["kd_weight"].item() == 0.25


def test_dkd_worked_example():
    target, others = dkd_terms(ZS, ZT, Y, 4.0)
    assert 16 * target.item() == pytest.approx(1.130162, abs=1e-6)
    assert 16 * others.item() == pytest.approx(0.368611, abs=1e-6)


@pytest.mark.parametrize("loss", [KDLoss(T=2.0), DKDLoss(T=2.0)])
def test_gradcheck_and_no_gradient_to_the_teacher(loss):
    zs, zt, y = batch(3, 5)
    assert torch.autograd.gradcheck(lambda z: loss(z, zt, y, 5)[0], zs.requires_grad_())
    zt.requires_grad_()
    loss(zs, zt, y, 5)[0].backward()
    assert zt.grad is None


@pytest.mark.parametrize("loss", [KDLoss(), DKDLoss()])
def test_sharp_half_precision_logits_stay_finite(loss):
    g = torch.Generator().manual_seed(0)
    zs, zt = ((64 * torch.rand(4, 50, generator=g)).half() for _ in range(2))
    zs.requires_grad_()
    value, _ = loss(zs, zt, torch.arange(4), 20)
    value.backward()
    assert value.dtype == torch.float32
    assert torch.isfinite(value)
    assert torch.isfinite(zs.grad).all()


def test_wrong_use():
    with pytest.raises(ShapeError, match=r"got \(1, 5\), \(1, 4\) and \(1,\)"):
        KDLoss()(ZS, ZT[:, :4], Y, 0)
    with pytest.raises(ConfigError, match="T=0 must be above 0"):
        KDLoss(T=0)
