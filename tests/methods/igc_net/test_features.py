"""Features without a trained network."""

import math

import pytest
import torch

from mien.core.errors import DataError, ShapeError
from mien.methods.igc_net.features import (
    FACE_FEATURES,
    ORIENTATIONS,
    PrincipalFeatures,
    binary_density,
    face_features,
    gabor_energies,
    lab,
    offline_features,
    pyramid_features,
)


def pictures(batch=4, size=16):
    return torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("colour", "want"),
    [
        ((1, 1, 1), (100, 0, 0)),
        ((1, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 0, 128 / 255), (12.97, 47.51, -64.70)),
    ],
)
def test_lab_of_known_colours(colour, want):
    found = lab(torch.tensor(colour, dtype=torch.float64).view(1, 3, 1, 1)).flatten() * 100
    assert found.tolist() == pytest.approx(want, abs=0.1)


def test_a_wave_wakes_its_own_orientation_whatever_its_phase():
    x = torch.arange(32.0)
    waves = torch.stack([torch.cos(math.pi / 2 * x + phase).expand(32, 32) for phase in (0.0, 0.7, 1.9)])
    energy = gabor_energies(waves[:, None])[:, :, 8:-8, 8:-8].mean((2, 3))
    assert energy.argmax(1).tolist() == [0, 0, 0]
    assert float(energy[:, 0].std() / energy[:, 0].mean()) < 0.1
    across = gabor_energies(waves[:1, None].mT)[:, :, 8:-8, 8:-8].mean((2, 3))
    assert across.argmax().item() == ORIENTATIONS // 2
    assert gabor_energies(torch.full((1, 1, 8, 8), 0.7)).max().item() < 2e-3


def test_pyramid_of_an_even_picture_is_its_last_level():
    maps = pyramid_features(torch.full((1, 3, 16, 16), 0.4))
    assert maps[0].abs().max().item() < 1e-6
    assert maps[2].mean().item() == pytest.approx(0.4)


def test_binary_density_of_an_even_picture_and_a_dark_spot():
    grey = torch.full((1, 1, 9, 9), 0.5)
    assert not binary_density(grey).any()
    grey[..., 4, 4] = 0.1
    assert binary_density(grey)[0, 0, 4, 4].item() == pytest.approx(1 / 25)


def test_principal_features_are_whole_and_uncorrelated():
    maps = offline_features(pictures())
    assert maps.shape == (4, 12, 16, 16)
    found = PrincipalFeatures().fit(maps)(maps)
    assert found.shape == (4, 24, 16, 16)
    assert bool((found >= 0).all())
    z = (found[:, :12] - found[:, 12:]).movedim(1, -1).flatten(0, -2)
    covariance = z.mT @ z / len(z)
    assert torch.allclose(covariance, covariance.diagonal().diag(), atol=1e-3)
    assert covariance.trace().item() == pytest.approx(12, rel=1e-3)
    assert bool((covariance.diagonal().diff() <= 1e-4).all()), "largest axis first"


def test_bad_input():
    with pytest.raises(ShapeError, match="pictures"):
        offline_features(torch.zeros(2, 1, 8, 8))
    with pytest.raises(DataError, match="same at all pixels"):
        PrincipalFeatures(2, 1).fit(torch.zeros(1, 2, 4, 4))
    with pytest.raises(ShapeError, match="13"):
        PrincipalFeatures(12, 13)


def test_face_features_do_not_know_how_bright_a_face_is():
    face = torch.zeros(2, 16, 16)
    face[0, 4:12, 4:12] = 1
    face[1, 2:8, 6:14] = 1
    image = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    maps = face_features(image, face)
    assert maps.shape == (2, FACE_FEATURES, 16, 16)
    for k in range(2):
        inside = maps[k][:, face[k] > 0]
        assert torch.allclose(inside.mean(1), torch.zeros(FACE_FEATURES), atol=1e-5)
    assert maps[0, 3, 4, 0].item() == pytest.approx(-7 / 15, abs=1e-5)
    assert torch.allclose(maps[1, 3, :, 0] - maps[0, 3, :, 0], torch.tensor(6 / 15), atol=1e-5)
    assert face_features(image, torch.zeros(2, 16, 16)).isfinite().all()
