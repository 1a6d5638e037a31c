from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from mien.core.errors import ConfigError, ShapeError
from mien.methods.phycine.likelihood import elbo, gaussian_kl, mixture_nll, op3_std, over_rounds

PIXEL = torch.tensor([0.2, 0.5, 0.7]).view(3, 1, 1)
MEANS = torch.tensor([[0.25, 0.45, 0.7], [0.8, 0.1, 0.1]]).view(2, 3, 1, 1)
LOGITS = torch.tensor([0.7, 0.3]).log().view(2, 1, 1, 1)


def picture(layers=3):
    g = torch.Generator().manual_seed(0)
    shapes = (2, 3, 4, 5), (2, layers, 3, 4, 5), (2, layers, 1, 4, 5)
    return [torch.rand(s, generator=g, dtype=torch.float64) for s in shapes]


@pytest.mark.parametrize(("joint", "expected"), [(True, 3.544265), (False, 2.831078)])
def test_worked_pixel_of_both_conventions(joint, expected):
    assert -float(mixture_nll(PIXEL, MEANS, LOGITS, 0.1, joint)) == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize("joint", [True, False])
def test_mixture_equals_a_slow_twin(joint):
    x, means, logits = picture()
    pi, expected = logits.softmax(1), torch.zeros(2, dtype=torch.float64)
    for b in range(2):
        for i in range(4):
            for j in range(5):
                n = Normal(means[b, :, :, i, j], 0.3).log_prob(x[b, :, i, j]).exp()  # (K, 3)
                p = pi[b, :, 0, i, j]
                each = (p * n.prod(1)).sum() if joint else (p[:, None] * n).sum(0).prod()
                expected[b] -= each.log()
    torch.testing.assert_close(mixture_nll(x, means, logits, 0.3, joint), expected)


@pytest.mark.parametrize("joint", [True, False])
def test_a_one_hot_mixture_is_a_plain_gaussian(joint):
    x, means, logits = picture()
    one_hot = torch.full_like(logits, -1e4)
    one_hot[:, 1] = 0
    expected = -Normal(means[:, 1], 0.2).log_prob(x).sum((1, 2, 3))
    torch.testing.assert_close(mixture_nll(x, means, one_hot, 0.2, joint), expected)


def test_mixture_does_not_depend_on_the_order_of_the_layers():
    x, means, logits = picture()
    order = [2, 0, 1]
    torch.testing.assert_close(
        mixture_nll(x, means[:, order], logits[:, order]), mixture_nll(x, means, logits)
    )


def test_mixture_takes_frames_too():
    x, means, logits = picture()
    frames = [t[:, None].expand(-1, 4, *t.shape[1:]) for t in (x, means, logits)]
    torch.testing.assert_close(mixture_nll(*frames)[:, 3], mixture_nll(x, means, logits))


def test_gradients_of_the_mixture():
    x, means, logits = (t[:1, ..., :2, :2] for t in picture(2))
    assert torch.autograd.gradcheck(
        lambda *layers: mixture_nll(x, *layers, 0.5),
        (means.clone().requires_grad_(), logits.clone().requires_grad_()),
    )


def test_worked_divergences():
    mean, std = torch.tensor([0.5, -1, 0]), torch.tensor([0.8, 0.5, 1.2])
    kl = gaussian_kl(mean, std)
    assert kl.tolist() == pytest.approx([0.168144, 0.818147, 0.037678], abs=1e-6)
    assert float(kl.sum()) == pytest.approx(1.023969, abs=1e-6)
    torch.testing.assert_close(kl, kl_divergence(Normal(mean, std), Normal(0.0, 1.0)))
    assert float(gaussian_kl(torch.zeros(()), torch.ones(()))) == 0


def test_worked_standard_deviations():
    assert op3_std(torch.tensor([0.0, 1, -2])).tolist() == pytest.approx(
        [0.832561, 1.145981, 0.356284], abs=1e-6
    )


def test_elbo_weighs_its_levels():
    nll = torch.tensor([[1.0, 3], [2, 2]])
    kl = {"ctx": torch.tensor([1.0, 0]), "mass": torch.tensor([2.0, 4])}
    assert elbo(nll, kl, {"ctx": 0.5, "mass": 0.1}).tolist() == pytest.approx([-2.7, -2.4])
    assert elbo(nll, {}, {}).tolist() == [-2, -2]
    with pytest.raises(ConfigError, match="charge"):
        elbo(nll, kl, {"ctx": 1.0, "charge": 1.0})


def test_later_rounds_count_more():
    assert float(over_rounds([torch.tensor(4.0), torch.tensor(2.0)])) == pytest.approx(0.5 * 4 + 2)


def test_bad_input_is_one_clear_line():
    x, means, logits = picture()
    with pytest.raises(ConfigError, match="sigma"):
        mixture_nll(x, means, logits, 0)
    with pytest.raises(ShapeError, match="means"):
        mixture_nll(x, means[:, :, :, :3], logits)
    with pytest.raises(ShapeError, match="logits"):
        mixture_nll(x, means, means)
    assert math.isfinite(float(mixture_nll(x, means, logits * 1e4).sum()))
