from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from mien.nn.softplus import Softplus, softplus


@pytest.mark.parametrize("beta", [1.0, 100.0])
def test_value_and_two_gradients_are_those_of_the_plain_operator(beta):
    x = torch.linspace(-0.5, 0.5, 101, dtype=torch.float64).mul(20 / beta).requires_grad_()
    found, wanted = softplus(x, beta), torch.log1p(torch.exp(beta * x)) / beta
    assert torch.allclose(found, wanted, rtol=0, atol=1e-14)
    (first,) = torch.autograd.grad(found.sum(), x, create_graph=True)
    assert torch.allclose(first, torch.sigmoid(beta * x), rtol=0, atol=1e-14)
    (second,) = torch.autograd.grad(first.sum(), x)
    assert second[50] == pytest.approx(beta / 4)
    assert torch.autograd.gradgradcheck(lambda v: softplus(v, beta), x)


def test_far_from_zero_nothing_overflows():
    x = torch.tensor([-1e4, -1.0, 0.0, 1.0, 1e4], requires_grad=True)
    y = softplus(x, 100.0)
    (first,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    assert y[[0, 4]].tolist() == [0.0, 1e4]
    assert first[[0, 2, 4]].tolist() == [0.0, 0.5, 1.0]
    assert torch.isfinite(second).all()


def test_vmap_and_module():
    x = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(torch.func.vmap(Softplus(100.0))(x), softplus(x, 100.0))
    assert torch.allclose(softplus(x), F.softplus(x), rtol=0, atol=1e-6)
