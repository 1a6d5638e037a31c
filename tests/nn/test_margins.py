from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from mien.core.errors import ConfigError, ShapeError
from mien.nn import AdaFace, AdaMargin, ArcFace, CombinedMargin, CosFace, Margin, NormFace
from mien.nn.margins import (
    adaface_logits,
    check_margin,
    filter_negatives,
    margin_logits,
    relative_norms,
    target_cosine,
)

COSINE, LABEL = torch.tensor([[0.6, 0.2, -0.3]], dtype=torch.float64), torch.tensor([0])


@pytest.mark.parametrize(
    ("margins", "logits", "loss"),
    [
        ((1, 0.5, 0), [9.152583, 12.8, -19.2], 3.673142),
        ((1, 0, 0.4), [12.8, 12.8, -19.2], 0.693147),
        ((1, 0.3, 0.2), [64 * 0.136786, 12.8, -19.2], None),
        ((1, 0, 0), [38.4, 12.8, -19.2], 0.0),
    ],
)
def test_worked_examples(margins, logits, loss):
    m1, m2, m3 = margins
    found = margin_logits(COSINE, LABEL, m1=m1, m2=m2, m3=m3)
    torch.testing.assert_close(found, torch.tensor([logits], dtype=torch.float64), rtol=0, atol=5e-5)
    if loss is not None:
        assert float(F.cross_entropy(found, LABEL)) == pytest.approx(loss, abs=1e-6)


def test_guards_beyond_pi():
    t = torch.tensor(-0.95, dtype=torch.float64)
    assert math.cos(math.pi - 0.5) == pytest.approx(-0.877583, abs=1e-6)
    assert float(target_cosine(t, guard="fallback")) == pytest.approx(-1.189713, abs=1e-6)
    assert float(target_cosine(t, guard="none")) == pytest.approx(-0.983404, abs=1e-6)
    assert float(target_cosine(t, guard="clip")) == pytest.approx(math.cos(math.pi - 1e-4), abs=1e-12)


@pytest.mark.parametrize("guard", ["clip", "fallback"])
def test_guarded_margins_never_fall_with_the_cosine(guard):
    t = torch.linspace(-1, 1, 2001, dtype=torch.float64)
    assert (target_cosine(t, guard=guard).diff() >= -1e-12).all()
    assert (target_cosine(t, guard="none").diff() < 0).any()


def loop(cosine, y, s, m1, m2, m3):
    out = torch.empty_like(cosine)
    for i, row in enumerate(cosine.tolist()):
        for j, c in enumerate(row):
            out[i, j] = s * (math.cos(m1 * math.acos(c) + m2) - m3 if j == int(y[i]) else c)
    return out


@pytest.mark.parametrize("margins", [(1.0, 0.5, 0.0), (1.0, 0.3, 0.2), (1.2, 0.1, 0.05), (1.0, 0.0, 0.35)])
def test_margins_equal_their_loop(margins):
    g = torch.Generator().manual_seed(0)
    cosine = torch.rand(6, 5, generator=g, dtype=torch.float64) * 1.4 - 0.6
    y = torch.randint(5, (6,), generator=g)
    m1, m2, m3 = margins
    found = margin_logits(cosine, y, scale=30.0, m1=m1, m2=m2, m3=m3, guard="none")
    torch.testing.assert_close(found, loop(cosine, y, 30.0, *margins), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("guard", ["clip", "fallback", "none"])
def test_gradcheck_of_the_exact_margin(guard):
    cosine = torch.tensor([[0.6, 0.2, -0.3], [-0.95, 0.1, 0.4]], dtype=torch.float64, requires_grad=True)
    y = torch.tensor([0, 0])
    assert torch.autograd.gradcheck(lambda c: margin_logits(c, y, m2=0.5, guard=guard), cosine)


def test_exact_and_straight_through_slopes():
    for gradient, wanted in (
        ("exact", 64 * math.sin(math.acos(0.6) + 0.5) / math.sin(math.acos(0.6))),
        ("straight_through", 64.0),
    ):
        cosine = COSINE.clone().requires_grad_()
        z = margin_logits(cosine, LABEL, m2=0.5, gradient=gradient)
        assert float(z.detach()[0, 0]) == pytest.approx(9.152583, abs=1e-6)
        z[0, 0].backward()
        assert float(cosine.grad[0, 0]) == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("make", [ArcFace, CosFace, CombinedMargin, AdaFace, NormFace])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_aligned_embeddings_give_finite_gradients(make, dtype):
    torch.manual_seed(0)
    head = make(8, 3).to(dtype)
    for sign in (1.0, -1.0):
        x = (sign * head.weight.detach()).requires_grad_()
        z = head(x, torch.arange(3))
        F.cross_entropy(z, torch.arange(3)).backward()
        assert z.dtype == torch.float32
        assert torch.isfinite(x.grad).all()
        assert torch.isfinite(head.weight.grad).all()


def test_filter_of_likely_conflicts():
    cosine = torch.tensor([[0.9, 0.8, 0.3], [0.85, 0.2, 0.7]])
    y = torch.tensor([0, -1])
    assert filter_negatives(cosine, y, 0.0) is cosine
    found = filter_negatives(cosine, y, 0.6)
    assert found.tolist() == [[pytest.approx(0.9), 0.0, pytest.approx(0.3)], [0.0, pytest.approx(0.2), 0.0]]
    z = margin_logits(cosine, y, m3=0.4, scale=1.0, filter_above=0.6)
    torch.testing.assert_close(z, torch.tensor([[0.5, 0.0, 0.3], [0.0, 0.2, 0.0]]))


def test_rows_without_their_label_have_no_margin():
    y = torch.tensor([-1])
    torch.testing.assert_close(margin_logits(COSINE, y, m2=0.5), 64 * COSINE)
    torch.testing.assert_close(adaface_logits(COSINE, y, torch.zeros(1)), 64 * COSINE)
    assert margin_logits(torch.zeros(2, 0), torch.tensor([-1, -1]), m2=0.5).shape == (2, 0)


NORMS = torch.tensor([20.0, 24.0, 28.0, 16.0], dtype=torch.float64)


def test_adaface_worked_example():
    quality = relative_norms(NORMS, NORMS.mean(), NORMS.std())
    wanted = torch.tensor([-0.128945, 0.128945, 0.386836, -0.386836], dtype=torch.float64)
    torch.testing.assert_close(quality, wanted, rtol=0, atol=1e-6)
    cosine = torch.full((4, 1), 0.5, dtype=torch.float64)
    z = adaface_logits(cosine, torch.zeros(4, dtype=torch.long), quality)
    wanted = torch.tensor([6.800962, 5.913927, 4.656746, 7.378613], dtype=torch.float64)
    torch.testing.assert_close(z[:, 0], wanted, rtol=0, atol=1e-6)


def test_adaface_is_arcface_and_cosface_at_its_ends():
    y = torch.tensor([0])
    for q, wanted in (
        (-1.0, margin_logits(COSINE, y, m2=0.4)),
        (0.0, margin_logits(COSINE, y, m3=0.4)),
        (1.0, 64 * torch.tensor([[math.cos(math.acos(0.6) - 0.4) - 0.8, 0.2, -0.3]], dtype=torch.float64)),
    ):
        found = adaface_logits(COSINE, y, torch.tensor([q], dtype=torch.float64))
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)


def test_adaface_gradcheck():
    cosine = COSINE.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda c: adaface_logits(c, LABEL, torch.tensor([0.3])), cosine)


def test_adaface_straight_through():
    cosine = COSINE.clone().requires_grad_()
    exact = adaface_logits(COSINE, LABEL, torch.tensor([0.3]))
    found = adaface_logits(cosine, LABEL, torch.tensor([0.3]), gradient="straight_through")
    torch.testing.assert_close(found.detach(), exact)
    found[0, 0].backward()
    assert cosine.grad[0].tolist() == [64.0, 0.0, 0.0]


def test_running_statistics_of_adaface():
    margin = AdaMargin(t_alpha=1.0)
    margin(torch.zeros(4, 1), torch.zeros(4, dtype=torch.long), NORMS)
    assert float(margin.mean) == pytest.approx(22.0)
    assert float(margin.std) == pytest.approx(5.163978, abs=1e-5)
    margin = AdaMargin()
    margin(torch.zeros(4, 1), torch.zeros(4, dtype=torch.long), NORMS)
    assert float(margin.mean) == pytest.approx(0.01 * 22 + 0.99 * 20)
    assert float(margin.std) == pytest.approx(0.01 * 5.163978 + 0.99 * 100, abs=1e-4)
    before = {k: v.clone() for k, v in margin.state_dict().items()}
    margin(torch.zeros(1, 1), torch.zeros(1, dtype=torch.long), torch.tensor([1e6]))
    assert torch.equal(margin.std, before["std"])
    assert float(margin.mean) == pytest.approx(0.99 * float(before["mean"]) + 1.0)
    margin.eval()(torch.zeros(4, 1), torch.zeros(4, dtype=torch.long), NORMS)
    assert set(before) == {"mean", "std"}


def test_heads_are_cosines_and_a_margin():
    torch.manual_seed(0)
    x, y = torch.randn(5, 8, dtype=torch.float64), torch.tensor([0, 1, 2, 1, 0])
    for head, numbers in (
        (ArcFace(8, 3), {"m2": 0.5}),
        (CosFace(8, 3), {"m3": 0.4}),
        (CombinedMargin(8, 3), {"m2": 0.3, "m3": 0.2}),
        (NormFace(8, 3), {}),
    ):
        head.double()
        cosine = F.normalize(x) @ F.normalize(head.weight).T
        torch.testing.assert_close(head(x, y), margin_logits(cosine, y, **numbers))
        torch.testing.assert_close(head(x), 64 * cosine)
        torch.testing.assert_close(head(3.0 * x, y), head(x, y))
    assert float(head.weight.detach().std()) == pytest.approx(0.01, rel=0.4)
    for make in (NormFace, CosFace, ArcFace, CombinedMargin, AdaFace):
        bound = (6 / (64 + 32)) ** 0.5
        assert 0.9 * bound < make(64, 32, init="xavier").weight.abs().max() <= bound


def test_margins_are_positive_work_for_the_label():
    torch.manual_seed(0)
    x, y = torch.randn(64, 16), torch.randint(10, (64,))
    for make in (ArcFace, CosFace, CombinedMargin):
        head = make(16, 10)
        assert (head(x, y).gather(1, y[:, None]) < head(x).gather(1, y[:, None])).all()


def test_settings_that_do_not_work():
    with pytest.raises(ConfigError, match="guard='clamp' is unknown; known: clip, fallback, none"):
        check_margin(1, 0.5, "clamp", "exact")
    with pytest.raises(ConfigError, match="gradient='ste' is unknown"):
        ArcFace(4, 2, gradient="ste")
    with pytest.raises(ConfigError, match="'fallback' needs m1=1"):
        Margin(1.2, 0.1, 0.0, guard="fallback")
    with pytest.raises(ConfigError, match="m1=0 must be above 0"):
        Margin(0)
    with pytest.raises(ConfigError, match=r"t_alpha=2 is outside \[0, 1\]"):
        AdaMargin(t_alpha=2)
    with pytest.raises(ConfigError, match="init='he' is unknown; known: normal, xavier"):
        CosFace(4, 2, init="he")
    with pytest.raises(ShapeError, match=r"got \(1, 3\) and \(2,\)"):
        margin_logits(COSINE, torch.tensor([0, 1]))
    assert Margin(1.2, 0.1, 0.0).guard == "clip"
