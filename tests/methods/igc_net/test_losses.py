"""Worked numbers and limits of the losses."""

import math

import pytest
import torch

from mien.methods.igc_net.losses import (
    SemanticBasis,
    area_prior,
    background_loss,
    concentration_loss,
    depth_smoothness,
    dome_prior,
    equivariance_loss,
    orthogonality,
    perceptual_loss,
    photometric_loss,
    presence_entropy,
    random_warp,
    semantic_consistency_loss,
    silhouette_loss,
    view_prior,
)
from mien.render.canonical import resample


def rng():
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize(("sigma", "value"), [(0.1, -0.888372), (math.sqrt(2) * 0.1, -0.956012)])
def test_worked_confidence(sigma, value):
    target = torch.rand(2, 3, 4, 4, generator=rng(), dtype=torch.float64)
    found = photometric_loss(target + 0.1, target, torch.full((2, 1, 4, 4), sigma, dtype=torch.float64))
    assert found.item() == pytest.approx(value, abs=2e-5)


def test_only_the_mask_counts_and_it_may_be_empty():
    pred, target = torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4)
    pred[..., 0] = 1
    mask = torch.ones(1, 4, 4, dtype=torch.bool)
    mask[..., 0] = False
    assert photometric_loss(pred, target, mask=mask).item() == 0
    assert photometric_loss(pred, target, mask=~mask).item() == 1
    assert photometric_loss(pred, target, mask=torch.zeros_like(mask)).item() == 0


def test_perceptual_takes_any_features():
    pred, target = torch.full((1, 3, 8, 8), 0.6), torch.full((1, 3, 8, 8), 0.5)

    def identity(x):
        return [x]

    assert perceptual_loss(pred, pred).item() == 0
    assert perceptual_loss(pred, target, identity).item() == pytest.approx(0.1, abs=1e-6)
    sigma = torch.full((1, 1, 8, 8), 0.1)
    want = 0.1**2 / (2 * 0.1**2) + math.log(0.1)
    assert perceptual_loss(pred, target, identity, sigma).item() == pytest.approx(want, abs=1e-4)


def test_semantic_is_zero_where_parts_explain_the_features():
    basis = torch.tensor([[1.0, 0, 2], [0, 3, 0]])
    parts = torch.zeros(1, 2, 4, 4)
    parts[:, 0, :2], parts[:, 1, 2:] = 1, 1
    features = torch.einsum("bmhw,mc->bchw", parts, basis)
    everywhere = torch.ones(1, 4, 4)
    assert semantic_consistency_loss(parts, features, basis, everywhere).item() == 0
    assert semantic_consistency_loss(parts.flip(1), features, basis, everywhere).item() == pytest.approx(
        14 / 3
    )


def test_basis_is_never_negative():
    basis = SemanticBasis(3, 5)
    basis.weight.data.neg_()
    assert bool((basis() >= 0).all())
    assert float(basis().detach().sum()) > 0


def test_orthogonality():
    assert orthogonality(torch.tensor([[2.0, 0, 0], [0, 0, 5]])).item() == pytest.approx(0)
    assert orthogonality(torch.tensor([[1.0, 1], [2, 2]])).item() == pytest.approx(2)


def test_concentration_is_the_slow_sum_and_does_not_depend_on_the_batch():
    parts = torch.rand(2, 3, 5, 5, generator=rng(), dtype=torch.float64)
    at, want = torch.linspace(-1, 1, 5, dtype=torch.float64), 0.0
    for density in (parts + 1e-3).flatten(0, 1):
        p = density / density.sum()
        x, y = (p.sum(0) * at).sum(), (p.sum(1) * at).sum()
        for i in range(5):
            for j in range(5):
                want += float(p[i, j] * ((at[j] - x) ** 2 + (at[i] - y) ** 2)) / 2
    assert concentration_loss(parts).item() == pytest.approx(want)
    assert concentration_loss(parts.repeat(3, 1, 1, 1)).item() == pytest.approx(want)
    spot = torch.zeros(1, 1, 33, 33)
    spot[..., 16, 16] = 1e4
    assert concentration_loss(spot).item() < 1e-3


def test_foreground_terms():
    half = torch.full((2, 4, 4), 0.5)
    assert background_loss(half, torch.ones(2, 4, 4)).item() == pytest.approx(math.log(2))
    assert area_prior(half).item() == 0
    assert area_prior(torch.ones(2, 4, 4)).item() == pytest.approx(0.2)
    assert area_prior(torch.zeros(2, 4, 4)).item() == pytest.approx(0.2)


def test_entropy_of_even_and_of_sure_layers():
    assert presence_entropy(torch.full((1, 4, 3, 3), 0.25)).item() == pytest.approx(math.log(4))
    sure = torch.zeros(1, 4, 3, 3)
    sure[:, 2] = 1
    assert presence_entropy(sure).item() == 0


def test_smoothness_of_a_ramp():
    ramp = torch.arange(5.0).expand(1, 5, 5) * 0.02
    assert depth_smoothness(ramp, 0.2).item() == pytest.approx(0.05)


def test_equivariance_is_zero_for_parts_that_follow():
    maps = torch.rand(3, 4, 16, 16, generator=rng())
    grid = random_warp(3, 16, rng())
    assert torch.equal(grid, random_warp(3, 16, rng()))
    still = random_warp(1, 16, rng(), turn=0, shift=0, bend=0)
    assert torch.allclose(resample(maps[:1], still), maps[:1], atol=1e-5)
    assert equivariance_loss(resample(maps, grid), maps, grid).item() == 0
    assert equivariance_loss(maps, maps, grid).item() > 0.01


def test_silhouettes_of_turned_faces_count_less_where_a_face_is_guessed():
    guess = torch.zeros(2, 4, 4)
    guess[:, :2] = 1
    share, view = torch.full((2, 4, 4), 0.3), torch.zeros(2, 6)
    front = silhouette_loss(share, guess, view)
    assert front.item() == pytest.approx(background_loss(share, guess).item(), rel=1e-5)
    view[:, 1] = 0.25
    want = (math.exp(-0.5) * -math.log(0.3) - math.log(0.7)) / 2
    assert silhouette_loss(share, guess, view).item() == pytest.approx(want, rel=1e-5)
    view[:, 0] = 3.0
    want = (0.25 * -math.log(0.3) - math.log(0.7)) / 2
    assert silhouette_loss(share, guess, view).item() == pytest.approx(want, rel=1e-5)


def test_views_of_a_crowd():
    view = torch.zeros(4, 6)
    assert view_prior(view, 0.4).item() == pytest.approx(1, abs=5e-3)
    view[:, 1] = torch.tensor([0.2, -0.2, 0.2, -0.2])
    assert view_prior(view, 0.4).item() == pytest.approx(0.25, rel=1e-4)
    assert view_prior(3 * view, 0.4).item() == 0
    view[:, 0] = 0.2
    assert view_prior(3 * view, 0.4).item() == pytest.approx(2.25, rel=1e-4)


def test_prior_of_a_ramp_beside_the_dome():
    beside = 0.01 * torch.arange(5.0).expand(2, 5, 5)
    assert dome_prior(beside, 1.0, 0.0).item() == pytest.approx(1e-4 * 6, rel=1e-5)
    assert dome_prior(beside, 0.0, 1.0).item() == pytest.approx(1e-4, rel=1e-5)
    assert dome_prior(torch.zeros(1, 4, 4), 1.0, 1.0).item() == 0
