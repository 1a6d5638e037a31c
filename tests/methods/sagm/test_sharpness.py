from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mien.core.errors import ConfigError
from mien.methods.sagm.sharpness import (
    loss_slice,
    mean_loss,
    sharpness_by_domain,
    sharpness_report,
    surrogate_gaps,
)

H = torch.tensor([[10.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
DATA = [(torch.zeros(3, 2, dtype=torch.float64), torch.zeros(3))]


class Quadratic(nn.Module):
    """L = theta' H theta / 2, whatever the input: worked example 1 of the method."""

    def __init__(self):
        super().__init__()
        self.theta = nn.Parameter(torch.tensor([1.0, 2.0], dtype=torch.float64))

    def forward(self, x):
        return 0.5 * self.theta @ H @ self.theta


def value(output, target):
    return output


def small_net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 3))


def small_data(sizes=(6, 10)):
    g = torch.Generator().manual_seed(1)
    return [(torch.randn(n, 4, generator=g), torch.randint(3, (n,), generator=g)) for n in sizes]


def test_worked_example_1():
    report = sharpness_report(Quadratic(), value, DATA, 0.05)
    assert report["loss"] == pytest.approx(7.0)
    assert report["perturbed"] == pytest.approx(7.521969, abs=1e-6)
    assert report["gap"] == pytest.approx(0.521969, abs=1e-6)
    assert report["cosine"] == pytest.approx(0.999967, abs=1e-6)
    assert report["grad_norm"] == pytest.approx(10.198039, abs=1e-6)
    assert (
        report["random_direction_increase"]
        == sharpness_report(Quadratic(), value, DATA, 0.05)["random_direction_increase"]
    )
    assert surrogate_gaps(Quadratic(), value, DATA, (0.05,))[1][0] == pytest.approx(report["gap"], abs=1e-12)


def test_batches_of_any_size_are_one_set():
    net, data = small_net(), small_data()
    whole = [(torch.cat([x for x, _ in data]), torch.cat([y for _, y in data]))]
    a, b = (sharpness_report(net, F.cross_entropy, d, 0.1) for d in (data, whole))
    assert a == pytest.approx(b, abs=1e-5)
    assert mean_loss(net.eval(), F.cross_entropy, data) == pytest.approx(a["loss"], abs=1e-6)


@pytest.mark.parametrize("fails_at", [None, 2])
def test_the_model_comes_back_to_the_bit(fails_at):
    net, calls = small_net().train(), []
    before = {k: v.clone() for k, v in net.state_dict().items()}

    def loss(z, y):
        calls.append(0)
        if len(calls) == fails_at:
            raise RuntimeError("no")
        return F.cross_entropy(z, y)

    if fails_at:
        with pytest.raises(RuntimeError, match="no"):
            sharpness_report(net, loss, small_data((8,)), 0.1)
    else:
        sharpness_report(net, loss, small_data((8,)), 0.1)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert net.training
    assert all(m.training for m in net.modules())
    assert all(p.grad is None for p in net.parameters())


def test_slice_of_a_quadratic():
    """Along the unit gradient u: L(t) = 7 + t ||g|| + t^2 u'Hu / 2."""
    at, surface = loss_slice(Quadratic(), value, DATA, 0.5, 5)
    g = np.array([10.0, 2.0])
    u = g / np.linalg.norm(g)
    curve = 7 + at * np.linalg.norm(g) + at**2 * (u @ H.numpy() @ u) / 2
    assert surface[:, 2] == pytest.approx(curve, abs=1e-9)


def test_by_domain_and_without_data():
    first, second = ([d] for d in small_data())
    found = sharpness_by_domain(small_net(), F.cross_entropy, {"a": first, "b": second}, 0.05, directions=0)
    assert set(found) == {"a", "b"}
    assert "random_direction_increase" not in found["a"]
    with pytest.raises(ConfigError, match="no data"):
        sharpness_report(small_net(), F.cross_entropy, [], 0.05)
