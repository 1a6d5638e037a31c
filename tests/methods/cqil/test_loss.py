"""Losses of CQIL: worked numbers of the method's page, slow twins, identities, bad input."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mien.core.errors import ConfigError, ShapeError
from mien.methods.cqil import (
    CQILLoss,
    CqilOut,
    GradientReversal,
    byol,
    nt_xent,
    orthogonality_loss,
    quality_loss,
    sup_con,
)
from mien.methods.cqil.loss import pair_cross_entropy, reverse_gradient


def waves(shift: float = 0.0) -> Tensor:
    return torch.tensor(
        [[math.cos(1.3 * i + 0.7 * j + shift) for j in range(3)] for i in range(4)], dtype=torch.float64
    )


def rows(n: int, d: int, seed: int = 0) -> Tensor:
    return torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def cosine(a: Tensor, b: Tensor) -> float:
    return (a @ b / (a.norm() * b.norm())).item()


def test_nt_xent_of_the_page() -> None:
    assert float(nt_xent(waves(), waves(0.2), 0.2)) == pytest.approx(0.144603, abs=1e-6)
    assert float(nt_xent(waves(), waves(), 0.2)) == pytest.approx(0.108210, abs=1e-6)
    same = torch.ones(4, 5)
    assert float(nt_xent(same, same)) == pytest.approx(1.945910, abs=1e-6)


def test_nt_xent_equals_its_sum_written_out() -> None:
    a, b, t = rows(5, 7), rows(5, 7, 1), 0.3
    z, n = torch.cat([a, b]), 5
    total = 0.0
    for i in range(2 * n):
        partner = (i + n) % (2 * n)
        below = sum(math.exp(cosine(z[i], z[j]) / t) for j in range(2 * n) if j != i)
        total -= math.log(math.exp(cosine(z[i], z[partner]) / t) / below) / (2 * n)
    assert float(nt_xent(a, b, t)) == pytest.approx(total, abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 6), st.integers(1, 5), st.floats(0.05, 2.0), st.integers(0, 10_000))
def test_nt_xent_has_a_least_value_and_no_order(n: int, d: int, t: float, seed: int) -> None:
    a, b = rows(n, d, seed), rows(n, d, seed + 1)
    loss = nt_xent(a, b, t)
    assert float(loss) >= math.log1p((2 * n - 2) * math.exp(-2 / t)) - 1e-9
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(nt_xent(b[order], a[order], t), loss)
    torch.testing.assert_close(nt_xent(3 * a, 0.5 * b, t), loss)


def test_sup_con_of_the_page() -> None:
    assert float(sup_con(waves(), torch.tensor([0, 1, 0, 1]), 0.2)) == pytest.approx(5.571129, abs=1e-6)


def test_sup_con_equals_its_sum_written_out() -> None:
    z, y, t = rows(7, 4), [0, 1, 1, 0, 2, 1, 0], 0.2
    losses = []
    for i in range(7):
        same = [p for p in range(7) if p != i and y[p] == y[i]]
        if not same:
            continue
        below = sum(math.exp(cosine(z[i], z[j]) / t) for j in range(7) if j != i)
        losses.append(-sum(cosine(z[i], z[p]) / t - math.log(below) for p in same) / len(same))
    assert float(sup_con(z, torch.tensor(y), t)) == pytest.approx(sum(losses) / len(losses), abs=1e-12)


def test_sup_con_of_two_views_without_other_positives_is_nt_xent() -> None:
    a, b = rows(4, 6), rows(4, 6, 2)
    labels = torch.arange(4).repeat(2)
    torch.testing.assert_close(sup_con(torch.cat([a, b]), labels, 0.2), nt_xent(a, b, 0.2))


def test_sup_con_without_any_pair_is_zero_and_has_a_gradient() -> None:
    z = rows(3, 2).requires_grad_()
    loss = sup_con(z, torch.arange(3))
    loss.backward()
    assert loss.item() == 0
    assert z.grad is not None
    assert torch.isfinite(z.grad).all()


def test_byol_is_twice_one_minus_cosine_and_teaches_one_side() -> None:
    p, z = rows(3, 4).requires_grad_(), rows(3, 4, 1).requires_grad_()
    loss = byol(p, z)
    assert loss.item() == pytest.approx(sum(2 - 2 * cosine(p[i], z[i]) for i in range(3)) / 3)
    loss.backward()
    assert z.grad is None
    assert byol(p, 2 * p).item() == pytest.approx(0, abs=1e-12)


def test_quality_loss_wants_zero_of_clean_views() -> None:
    predicted = torch.tensor([0.1, 0.0, 0.5, 1.0])
    q = torch.tensor([0.4, 0.7])
    expected = (0.1**2 + 0) / 2 + (0.1**2 + 0.3**2) / 2
    assert float(quality_loss(predicted, q)) == pytest.approx(expected)
    assert float(quality_loss(torch.cat([0 * q, q]), q)) == 0
    with pytest.raises(ShapeError, match=r"expected \(4,\) predictions for 2 pairs, got \(3,\)"):
        quality_loss(predicted[:3], q)


def test_orthogonality_is_the_mean_squared_cosine_of_rows() -> None:
    a, b = rows(3, 5), rows(2, 5, 1)
    slow = sum(cosine(x, y) ** 2 for x in a for y in b) / 6
    assert float(orthogonality_loss(a, b)) == pytest.approx(slow)
    assert float(orthogonality_loss(torch.eye(4)[:2], torch.eye(4)[2:])) == 0
    with pytest.raises(ShapeError, match="expected maps"):
        orthogonality_loss(a, b[:, :4])


@pytest.mark.parametrize("loss", [lambda a, b: nt_xent(a, b), byol, orthogonality_loss])
def test_gradients_are_those_of_finite_differences(loss) -> None:
    a, b = rows(3, 4).requires_grad_(), rows(3, 4, 1)
    assert torch.autograd.gradcheck(lambda x: loss(x, b), (a,))


def test_reversal_is_the_identity_with_minus_beta_times_the_gradient() -> None:
    """Against finite differences of the loss without reversal."""
    w, x, beta = rows(3, 4), rows(1, 4)[0].requires_grad_(), 0.7

    def plain(v: Tensor) -> Tensor:
        return (w @ v).sin().square().sum()

    loss = plain(reverse_gradient(x, beta))
    torch.testing.assert_close(loss, plain(x))
    (found,) = torch.autograd.grad(loss, x)
    h = 1e-6
    slope = torch.stack(
        [(plain(x + h * e) - plain(x - h * e)) / (2 * h) for e in torch.eye(4, dtype=torch.float64)]
    )
    torch.testing.assert_close(found, -beta * slope, rtol=1e-6, atol=1e-8)
    assert GradientReversal.apply(x, 1.0).tolist() == x.tolist()  # type: ignore[no-untyped-call]


def test_pair_cross_entropy_sums_both_views() -> None:
    z, y = rows(6, 2), torch.tensor([0, 1, 1])
    slow = sum(-torch.log_softmax(z[k], 0)[y[k % 3]] / 3 for k in range(6))
    assert float(pair_cross_entropy(z, y)) == pytest.approx(float(slow))
    assert float(pair_cross_entropy(z[:3], y)) == pytest.approx(
        float(torch.nn.functional.cross_entropy(z[:3], y))
    )


def out_of(b: int = 3, **changes: Tensor) -> CqilOut:
    parts = {
        "logits": rows(2 * b, 2), "features": rows(2 * b, 4), "quality": rows(2 * b, 1, 3)[:, 0],
        "leaked": rows(2 * b, 1, 4)[:, 0], "projection": rows(2 * b, 5, 5), "prediction": rows(2 * b, 5, 6),
    }  # fmt: skip
    return CqilOut(**{**parts, **changes})


def test_the_whole_is_the_weighted_sum_of_its_parts() -> None:
    y, q = torch.tensor([0, 1, 0]), torch.tensor([0.2, 0.9, 0.5], dtype=torch.float64)
    out, maps = out_of(), (rows(3, 4), rows(2, 4, 1))
    assert out.quality is not None
    assert out.leaked is not None
    assert out.projection is not None
    loss, logs = CQILLoss()(out, y, q, maps=maps)
    parts = {
        "cls": pair_cross_entropy(out.logits, y),
        "contrast": nt_xent(out.projection[:3], out.projection[3:]),
        "quality": quality_loss(out.quality, q),
        "leak": quality_loss(out.leaked, q),
        "orthogonal": orthogonality_loss(*maps),
    }
    assert set(logs) == set(parts)
    for name, value in parts.items():
        torch.testing.assert_close(logs[name], value)
    weights = {"cls": 1.0, "contrast": 0.2, "quality": 0.1, "leak": 0.05, "orthogonal": 0.01}
    torch.testing.assert_close(loss, sum(weights[k] * v for k, v in parts.items()))


def test_contrasts_by_name() -> None:
    y, q, out = torch.tensor([0, 1, 0]), torch.rand(3), out_of()
    assert out.projection is not None
    assert out.prediction is not None
    found = CQILLoss("supcon", 0.5)(out, y, q)[1]["contrast"]
    torch.testing.assert_close(found, sup_con(out.projection, y.repeat(2), 0.5))
    target = rows(6, 5, 9)
    found = CQILLoss("byol")(out, y, q, target=target)[1]["contrast"]
    torch.testing.assert_close(found, byol(out.prediction, torch.cat([target[3:], target[:3]])))
    assert "contrast" not in CQILLoss("none")(out, y, q)[1]
    assert "contrast" not in CQILLoss(contrast_weight=0.0)(out, y, q)[1]


def test_what_does_not_fit_is_refused() -> None:
    y, q, out = torch.tensor([0, 1, 0]), torch.rand(3), out_of()
    with pytest.raises(ShapeError, match=r"expected embeddings \(B, D\) of one shape"):
        nt_xent(rows(3, 2), rows(4, 2))
    with pytest.raises(ConfigError, match="temperature t=0 must be above 0"):
        nt_xent(rows(3, 2), rows(3, 2), 0)
    with pytest.raises(ShapeError, match=r"expected labels \(3,\), got \(2,\)"):
        sup_con(rows(3, 2), torch.zeros(2))
    with pytest.raises(ShapeError, match=r"expected logits \(4, 2\)"):
        CQILLoss()(out, y[:2], q[:2])
    with pytest.raises(ConfigError, match="needs a net with a projection head"):
        CQILLoss()(out._replace(projection=None), y, q)
    with pytest.raises(ConfigError, match="needs a predictor"):
        CQILLoss("byol")(out, y, q)
