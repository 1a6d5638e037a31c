from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from mien.core.errors import ConfigError, DataError, ShapeError
from mien.metrics.pictures import (
    cosine_similarity,
    feature_distance,
    frechet_distance,
    l1_error,
    learned_distance,
    psnr,
    ssim,
)


def pictures(seed=0, batch=2, size=16, channels=3):
    g = torch.Generator().manual_seed(seed)
    return torch.rand(batch, channels, size, size, generator=g, dtype=torch.float64)


def mask_of(batch=2, size=16):
    mask = torch.zeros(batch, size, size, dtype=torch.bool)
    mask[:, 4:9, 3:12] = True
    return mask


def ssim_twin(x, y, inside, data_range=1.0):
    """One window after the other: weights, means, variances, covariance."""
    side = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    w = np.outer(side, side) / np.outer(side, side).sum()
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    values = []
    for c in range(len(x)):
        for i in range(5, x.shape[1] - 5):
            for j in range(5, x.shape[2] - 5):
                if inside[i, j]:
                    a, b = (v[c, i - 5 : i + 6, j - 5 : j + 6] for v in (x, y))
                    ma, mb = (w * a).sum(), (w * b).sum()
                    va, vb, cab = (w * a * a).sum() - ma**2, (w * b * b).sum() - mb**2, (w * a * b).sum()
                    cab -= ma * mb
                    top = (2 * ma * mb + c1) * (2 * cab + c2)
                    values.append(top / ((ma**2 + mb**2 + c1) * (va + vb + c2)))
    return np.mean(values)


def test_psnr_and_l1_are_the_loops():
    x, y, mask = pictures(0), pictures(1), mask_of()
    for inside in (None, mask, mask[:, None], mask.double()):
        m = np.ones((2, 16, 16), bool) if inside is None else mask.numpy()
        for b in range(2):
            gaps = [
                float(x[b, c, i, j] - y[b, c, i, j])
                for c in range(3)
                for i in range(16)
                for j in range(16)
                if m[b, i, j]
            ]
            mse = sum(g * g for g in gaps) / len(gaps)
            assert float(psnr(x, y, inside)[b]) == pytest.approx(10 * math.log10(1 / mse), abs=1e-5)
            assert float(l1_error(x, y, inside)[b]) == pytest.approx(np.mean(np.abs(gaps)), abs=1e-12)


def test_identities_of_psnr():
    x, y = pictures(0), pictures(1)
    assert psnr(x, x).tolist() == [math.inf, math.inf]
    assert torch.allclose(psnr(2 * x - 1, 2 * y - 1, data_range=2), psnr(x, y))
    assert torch.allclose(psnr(x, x + 0.1), torch.full((2,), 20.0, dtype=torch.float64))
    everywhere = torch.ones(2, 16, 16, dtype=torch.bool)
    assert torch.allclose(psnr(x, y, everywhere), psnr(x, y))
    outside = x.clone()
    outside[~mask_of()[:, None].expand_as(x)] = torch.nan  # what is masked out is not read
    assert psnr(outside, x, mask_of()).tolist() == [math.inf, math.inf]


def test_ssim_is_the_loop():
    x, y, mask = pictures(0), (pictures(0) + pictures(1)) / 2, mask_of()
    for inside in (None, mask):
        m = np.ones((2, 16, 16), bool) if inside is None else mask.numpy()
        expected = [ssim_twin(x[b].numpy(), y[b].numpy(), m[b]) for b in range(2)]
        assert ssim(x, y, inside).tolist() == pytest.approx(expected, abs=1e-7)


def test_ssim_agrees_with_other_libraries_and_identities():
    from skimage.metrics import structural_similarity
    from torchmetrics.functional.image import structural_similarity_index_measure

    x, y = pictures(2, size=20), pictures(3, size=20)
    theirs = structural_similarity_index_measure(x, y, data_range=1.0, reduction="none")
    assert torch.allclose(ssim(x, y, border="reflect"), theirs)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    theirs = [
        structural_similarity(a, b, channel_axis=0, **options)
        for a, b in zip(x.numpy(), y.numpy(), strict=True)
    ]
    assert ssim(x, y).tolist() == pytest.approx(theirs, abs=1e-6)
    assert torch.allclose(ssim(x, x), torch.ones(2, dtype=torch.float64))
    assert torch.allclose(ssim(x, y), ssim(y, x))
    with pytest.raises(ConfigError, match="no border"):
        ssim(x, y, border="zero")


def test_pictures_that_do_not_fit():
    x = pictures()
    with pytest.raises(ShapeError, match=r"pictures \(B, C, H, W\) of one shape"):
        psnr(x, x[:1])
    with pytest.raises(ShapeError, match="mask"):
        psnr(x, x, torch.ones(2, 3, 3))
    with pytest.raises(DataError, match="mask of picture 0 holds no pixel"):
        l1_error(x, x, torch.zeros(2, 16, 16))
    with pytest.raises(ShapeError, match="at least 11"):
        ssim(x[..., :10], x[..., :10])
    border = torch.zeros(2, 16, 16)
    border[:, 0] = 1
    with pytest.raises(DataError, match="holds no pixel"):
        ssim(x, x, border)
    for function in (psnr, ssim):
        with pytest.raises(ConfigError, match="data_range"):
            function(x, x, data_range=0)


def test_a_learned_distance_gets_pictures_in_minus_one_to_one():
    seen = []

    def net(a, b):
        seen.append((float(a.min()), float(a.max())))
        return (a - b).abs().mean((1, 2, 3), keepdim=True)

    x, y = pictures(0), pictures(1)
    assert torch.allclose(learned_distance(x, y, net), 2 * l1_error(x, y))
    assert -1 <= seen[0][0] < -0.9
    assert 0.9 < seen[0][1] <= 1
    with pytest.raises(ShapeError, match="must give 2 numbers"):
        learned_distance(x, y, lambda a, b: a - b)


def test_feature_distance_is_the_loop():
    x, y = pictures(0, size=4), pictures(1, size=4)

    def features(p):
        return [p - 0.5, p.mean((2, 3))]

    expected = []
    for b in range(2):
        layers = []
        f, g = (v[b].numpy() - 0.5 for v in (x, y))
        at = [
            f[:, i, j] / np.linalg.norm(f[:, i, j]) - g[:, i, j] / np.linalg.norm(g[:, i, j])
            for i in range(4)
            for j in range(4)
        ]
        layers.append(np.mean([d @ d for d in at]))
        f, g = (v[b].numpy().mean((1, 2)) for v in (x, y))
        d = f / np.linalg.norm(f) - g / np.linalg.norm(g)
        layers.append(d @ d)
        expected.append(np.mean(layers))
    assert feature_distance(x, y, features).tolist() == pytest.approx(expected, rel=1e-7)
    assert feature_distance(x, x, features).tolist() == [0, 0]
    assert feature_distance(x, -x, lambda p: p).tolist() == pytest.approx([4, 4])
    with pytest.raises(ShapeError, match="features must be"):
        feature_distance(x, y, lambda p: [])


def test_frechet_distance_of_known_gaussians():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(50, 4))
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(a, a + np.array([1, 0, 2, 0])) == pytest.approx(5)
    assert frechet_distance(a, 3 * (a - a.mean(0)) + a.mean(0)) == pytest.approx(4 * np.trace(np.cov(a.T)))
    b = rng.normal(size=(40, 4)) @ rng.normal(size=(4, 4))
    from scipy.linalg import sqrtm

    sa, sb = np.cov(a.T), np.cov(b.T)
    gap = a.mean(0) - b.mean(0)
    expected = gap @ gap + np.trace(sa + sb - 2 * sqrtm(sa @ sb).real)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(b, a) == pytest.approx(expected, rel=1e-6)
    with pytest.raises(ShapeError, match="expected features"):
        frechet_distance(a, b[:, :3])
    with pytest.raises(DataError, match="no numbers"):
        frechet_distance(a, b * np.nan)


def test_cosine_similarity_of_embeddings():
    x, y = pictures(0), pictures(1)

    def embed(p):
        return p.mean((2, 3)) - 0.5

    a, b = embed(x).numpy(), embed(y).numpy()
    expected = [a[i] @ b[i] / np.linalg.norm(a[i]) / np.linalg.norm(b[i]) for i in range(2)]
    assert cosine_similarity(x, y, embed).tolist() == pytest.approx(expected)
    assert cosine_similarity(x, x, embed).tolist() == pytest.approx([1, 1])
    assert cosine_similarity(x, x[:1], embed)[0] == pytest.approx(1)  # one source portrait for all frames
    assert torch.allclose(cosine_similarity(x, y, lambda p: 7 * embed(p)), cosine_similarity(x, y, embed))
    with pytest.raises(ShapeError, match="as many or one"):
        cosine_similarity(x, pictures(batch=3), embed)
    with pytest.raises(ShapeError, match="embeddings must be"):
        cosine_similarity(x, y, lambda p: p)
