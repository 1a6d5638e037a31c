"""Quality of a picture without a reference."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from mien.core.errors import ShapeError
from mien.metrics.quality import quality_score, quality_scores
from mien.synth.surveillance import surveil
from tests.synth.made import head


def slow(image):
    """The formulas by loops, for one grey picture in [0, 1]."""

    def rest(g):
        kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]]) / 6
        rows, cols = g.shape
        return np.array(
            [[(g[i : i + 3, j : j + 3] * kernel).sum() for j in range(cols - 2)] for i in range(rows - 2)]
        )

    def blocks(g):
        r, c = g.shape[0] // 4, g.shape[1] // 4
        cells = [[g[4 * i : 4 * i + 4, 4 * j : 4 * j + 4] for j in range(c)] for i in range(r)]
        return np.array([[cell.mean() for cell in row] for row in cells])

    def blocky(g):
        worst = 0.0
        for phase in range(8):
            on, off = [], []
            for j in range(g.shape[1] - 1):
                (on if j % 8 == phase else off).append(np.abs(g[:, j + 1] - g[:, j]).mean())
            worst = max(worst, (np.mean(on) - np.mean(off)) / (np.mean(on) + np.mean(off)))
        return worst

    fine, coarse = (np.sqrt((rest(g) ** 2).mean()) for g in (image, blocks(image)))
    noise = np.sqrt(np.pi / 2) * np.abs(rest(image)).mean()
    sharp, block = fine / (fine + coarse), max(blocky(image), blocky(image.T))
    size = min(image.shape)
    q = sharp * np.exp(-noise / 0.15) * (1 - block / 2) * min(1, size / 112) ** 0.25
    return {"size": size, "sharpness": sharp, "noise": noise, "blockiness": block, "q": q}


@pytest.mark.parametrize("shape", [(48, 48), (21, 34)])
def test_equals_the_loops(shape):
    image = np.random.default_rng(0).random(shape)
    image = gaussian_filter(image, 1.0)
    found, expected = quality_score(image), slow(image)
    assert list(found) == ["size", "sharpness", "noise", "blockiness", "q"]
    assert all(found[k] == pytest.approx(expected[k], abs=1e-12) for k in found)


def test_noise_is_its_standard_deviation_and_white_noise_has_sharpness_four_fifths():
    rng = np.random.default_rng(1)
    ramp = np.linspace(0.2, 0.8, 256)[None] + np.linspace(0, 0.1, 256)[:, None]
    assert quality_score(ramp)["noise"] == pytest.approx(0, abs=1e-12)
    found = quality_score(ramp + rng.normal(0, 0.03, ramp.shape))
    assert found["noise"] == pytest.approx(0.03, rel=0.02)
    assert found["sharpness"] == pytest.approx(0.8, abs=0.02)


def test_blocks_and_enlarged_pictures():
    rng = np.random.default_rng(2)
    small = rng.random((12, 12))
    blocks = small.repeat(8, 0).repeat(8, 1)
    assert quality_score(blocks)["blockiness"] == pytest.approx(1)
    assert quality_score(rng.random((96, 96)))["blockiness"] < 0.2
    image = gaussian_filter(rng.random((96, 96)), 0.5)
    soft = gaussian_filter(image, 3)
    assert quality_score(soft)["sharpness"] < 0.5 * quality_score(image)["sharpness"]
    assert quality_score(soft)["q"] < quality_score(image)["q"]


def test_q_falls_with_severity_on_average():
    images = [head(n, 0, 48).rgb for n in range(1, 4)]
    means = []
    for severity in (0.0, 0.25, 0.5, 0.75, 1.0):
        made = [surveil(x, severity, "C3", seed, ("night",))[0] for x in images for seed in range(12)]
        means.append(quality_scores(np.stack(made)).q.mean())
    assert (np.diff(means) < 0).all()
    assert means[-1] < 0.6 * means[0]


def test_batches_bytes_and_colours_agree():
    images = np.random.default_rng(3).integers(0, 256, (4, 20, 16, 3), np.uint8)
    many = quality_scores(images)
    for k, image in enumerate(images):
        one = quality_score(image)
        assert one == pytest.approx({n: float(v[k]) for n, v in many._asdict().items()})
        assert quality_score(image / 255) == pytest.approx(one)
        assert 0 <= one["q"] <= 1
        assert one["size"] == 16
    grey = images[..., 0]
    assert quality_scores(grey).q == pytest.approx(quality_scores(grey[..., None].repeat(3, 3)).q)


def test_wrong_shapes():
    for shape in ((48,), (1, 2, 3, 4)):
        with pytest.raises(ShapeError, match=r"img: expected \(H, W\) or \(H, W, 3\)"):
            quality_score(np.zeros(shape))
    with pytest.raises(ShapeError, match=r"images: expected \(N, H, W\) or \(N, H, W, 3\)"):
        quality_scores(np.zeros((2, 48, 48, 4)))
    with pytest.raises(ShapeError, match=r"at least 12 pixels a side are needed"):
        quality_score(np.zeros((11, 48)))
