from __future__ import annotations

import math

import pytest
import torch

from mien.losses import binary_kl, cross_entropy, group_logits, kl_divergence, ramp, sharded_logsumexp
from mien.losses.numerics import pick, primary_kl, secondary_kl
from mien.losses.sharded import Shard, gather_rows, sharded_sum

F64 = torch.float64


def rand(*shape, seed=0, scale=3.0):
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def test_logsumexp_and_its_gradient():
    z = rand(4, 6).requires_grad_()
    torch.testing.assert_close(sharded_logsumexp(z), z.logsumexp(1))
    assert torch.autograd.gradcheck(sharded_logsumexp, z)
    big = torch.tensor([[1e4, -1e4, 1e4]])
    assert sharded_logsumexp(big).item() == pytest.approx(1e4 + math.log(2))


def test_logsumexp_of_nothing_is_minus_infinity_with_zero_gradient():
    z = torch.full((2, 3), -torch.inf, requires_grad=True)
    found = sharded_logsumexp(z)
    assert torch.isneginf(found).all()
    found.masked_fill(torch.isneginf(found), 0.0).sum().backward()
    assert z.grad.tolist() == [[0.0] * 3] * 2
    assert torch.isneginf(sharded_logsumexp(torch.zeros(2, 0))).all()


def test_binary_kl_equals_its_formula_and_survives_the_ends():
    p, q = torch.tensor([0.3, 0.9, 0.5], dtype=F64), torch.tensor([0.6, 0.2, 0.5], dtype=F64)
    wanted = p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()
    torch.testing.assert_close(binary_kl(p.logit(), q.logit()), wanted)
    odds = torch.tensor([200.0, -200.0, 0.0], requires_grad=True)
    found = binary_kl(torch.tensor([-200.0, 200.0, 500.0]), odds)
    assert torch.isfinite(found).all()
    found.sum().backward()
    assert torch.isfinite(odds.grad).all()
    s = rand(3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda d: binary_kl(rand(3), d), s)


def test_kl_divergence_equals_the_loop():
    zt, zs = rand(3, 5, seed=1), rand(3, 5, seed=2)
    p, q = zt.softmax(1).tolist(), zs.softmax(1).tolist()
    wanted = [sum(a * math.log(a / b) for a, b in zip(u, v, strict=True)) for u, v in zip(p, q, strict=True)]
    assert kl_divergence(zt, zs).tolist() == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("index", [[[0, 2, -1], [4, 1, 3]], [[0, 1, 2], [3, -1, -1]]])
def test_group_logits_equal_a_dense_mask(index):
    z, columns = rand(2, 5), torch.tensor(index)
    split = group_logits(z, columns)
    for i, row in enumerate(index):
        inside = [j for j in row if j >= 0]
        outside = [j for j in range(5) if j not in inside]
        assert split.log_in[i].item() == pytest.approx(z[i, inside].logsumexp(0).item(), rel=1e-12)
        assert split.log_out[i].item() == pytest.approx(z[i, outside].logsumexp(0).item(), rel=1e-12)
        p = z[i].softmax(0)[inside].sum().item()
        assert split.log_mass[i].exp().item() == pytest.approx(p, rel=1e-12)
        assert split.odds[i].item() == pytest.approx(math.log(p / (1 - p)), rel=1e-10)


def test_a_group_of_everything_has_mass_one_and_no_nan():
    z = rand(2, 4).requires_grad_()
    split = group_logits(z, torch.arange(4).expand(2, 4))
    assert split.log_mass.tolist() == [0.0, 0.0]
    (split.log_mass + binary_kl(split.odds.detach(), split.odds)).sum().backward()
    assert z.grad.abs().max() == 0


@pytest.mark.parametrize("gap", [0.0, 500.0])
def test_secondary_gradient_is_finite_however_far_the_group_is_above(gap):
    zt, zs = rand(2, 6, seed=1).float(), rand(2, 6, seed=2).float()
    zt[:, 0] += gap
    zs[:, 0] += gap
    zs.requires_grad_()
    index = torch.zeros(2, 1, dtype=torch.long)
    s, t = group_logits(zs, index), group_logits(zt, index)
    loss = secondary_kl(zt, zs, t, s, index) + binary_kl(t.odds, s.odds) + primary_kl(t, s)
    loss.sum().backward()
    assert torch.isfinite(loss).all()
    assert torch.isfinite(zs.grad).all()


def test_shards_of_one_process_number_their_columns():
    shard = Shard(3, 10)
    assert shard.local(torch.tensor([2, 3, 6, 7, -1]), 4).tolist() == [-1, 0, 3, -1, -1]
    z = rand(2, 4)
    y = torch.tensor([3, 6])
    assert torch.equal(pick(z, y, shard), z[[0, 1], [0, 3]])
    assert pick(z, torch.tensor([0, 1]), shard).tolist() == [0.0, 0.0]
    torch.testing.assert_close(
        cross_entropy(z, y - 3, Shard(0, 4)), torch.nn.functional.cross_entropy(z, y - 3)
    )
    assert gather_rows(z) is z
    assert sharded_sum(z) is z


def test_ramp():
    assert [ramp(e, 4) for e in (0, 1, 4, 9)] == [0.0, 0.25, 1.0, 1.0]
    assert ramp(0, 0) == 1.0
