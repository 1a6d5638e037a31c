from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt

from mien.core.errors import ConfigError
from mien.render import contour_edges, coverage, rasterize
from mien.render.silhouette import _grown
from tests.render.meshes import icosphere, triangle


def area(alpha):
    return alpha.sum((-2, -1)) * 4 / alpha[0].numel()


@pytest.mark.parametrize(("radius", "slope"), [(0.5, 3.1847), (0.6, 3.7467)])
def test_area_of_a_sphere_and_its_slope(radius, slope):
    points, faces = icosphere()
    r = torch.tensor(radius, dtype=torch.float64, requires_grad=True)
    alpha, face_id = coverage((points * r)[None], faces, 128, 128)
    value = area(alpha)[0]
    assert float(value.detach()) == pytest.approx({0.5: 0.784268, 0.6: 1.129462}[radius], abs=1e-5)
    (gradient,) = torch.autograd.grad(value, r)
    assert float(gradient) == pytest.approx(slope, abs=1e-4)
    assert torch.equal(face_id, rasterize((points * radius)[None], faces, 128, 128).face_id)
    assert float(alpha.detach().min()) >= 0
    assert float(alpha.detach().max()) <= 1


def test_slope_of_the_centroid_under_translation():
    points, faces = icosphere()
    t = torch.zeros((), dtype=torch.float64, requires_grad=True)
    alpha, _ = coverage((points * 0.5 + t * torch.tensor([1.0, 0, 0]))[None], faces, 128, 128)
    x = (torch.arange(128, dtype=torch.float64) + 0.5) / 64 - 1
    centroid = (alpha[0] * x).sum() / alpha.sum()
    (gradient,) = torch.autograd.grad(centroid, t)
    assert float(gradient) == pytest.approx(1.0126, abs=1e-4)


@pytest.mark.parametrize("shift", [0.0, 0.002, 0.0055])
def test_slope_varies_little_with_the_place_of_the_pixels(shift):
    points, faces = icosphere()
    r = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    alpha, _ = coverage((points * r + shift)[None], faces, 128, 128)
    (gradient,) = torch.autograd.grad(area(alpha)[0], r)
    assert float(gradient) == pytest.approx(torch.pi, rel=0.04)


def test_outline_of_a_sphere_is_closed_and_of_a_sheet_its_border():
    points, faces = icosphere()
    edges = contour_edges(points[:, :2], faces)
    assert (torch.bincount(edges.flatten())[edges.unique()] == 2).all()
    P, F = triangle()
    for f in (F, F.flip(1)):
        assert sorted(map(tuple, contour_edges(P[0, :, :2], f).tolist())) == [(0, 1), (0, 2), (1, 2)]


def slow_alpha(P, height, width, mask, width_px):
    """Distance of every pixel centre to the triangle's three sides."""
    xy = [((float(x) * 0.5 + 0.5) * width, (0.5 - float(y) * 0.5) * height) for x, y, _ in P]
    out = torch.zeros(height, width, dtype=torch.float64)
    for i in range(height):
        for j in range(width):
            gaps = []
            for k in range(3):
                (ax, ay), (bx, by) = xy[k], xy[(k + 1) % 3]
                px, py, dx, dy = j + 0.5 - ax, i + 0.5 - ay, bx - ax, by - ay
                t = min(1.0, max(0.0, (px * dx + py * dy) / (dx * dx + dy * dy)))
                gaps.append(((px - t * dx) ** 2 + (py - t * dy) ** 2) ** 0.5)
            s = 1 if mask[i, j] else -1
            out[i, j] = min(1.0, max(0.0, 0.5 + s * min(gaps) / width_px))
    return out


@pytest.mark.parametrize("width_px", [1.0, 2.0])
def test_equals_the_slow_twin_on_a_triangle(width_px):
    P, F = triangle(torch.float64)
    P = P * 1.3 + torch.tensor([0.031, 0.017, 0], dtype=torch.float64)
    alpha, face_id = coverage(P, F, 32, 32, width_px)
    expected = slow_alpha(P[0], 32, 32, face_id[0] >= 0, width_px)
    assert float((alpha[0] - expected).abs().max()) < 0.12  # nearest sample's edge, at corners
    assert float((alpha[0] - expected).abs().mean()) < 1e-3


def test_gradient_against_differences():
    """Where no pixel changes sides the coverage is smooth: autograd equals a difference quotient."""
    P, F = triangle(torch.float64)
    P = P + torch.tensor([0.0131, 0.0077, 0], dtype=torch.float64)
    weights = torch.randn(16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    value = lambda p: (coverage(p, F, 16, 16)[0][0] * weights).sum()  # noqa: E731
    (gradient,) = torch.autograd.grad(value(P.requires_grad_()), P)
    for v, axis in ((0, 0), (1, 1), (2, 0), (2, 1)):
        step = torch.zeros_like(P)
        step[0, v, axis] = 1e-6
        with torch.no_grad():
            slope = (value(P + step) - value(P - step)) / 2e-6
        assert float(gradient[0, v, axis]) == pytest.approx(float(slope), abs=1e-5)


def test_empty_full_and_cut_views():
    P, F = triangle()
    assert float(coverage(P + 5, F, 8, 8)[0].abs().max()) == 0
    assert float(coverage(P * 20, F, 8, 8)[0].min()) == 1
    cut, face_id = coverage(P + torch.tensor([0.8, 0, 0]), F, 32, 32)
    assert torch.isfinite(cut).all()
    inside = face_id[0, 20:22, -1] >= 0  # the border of the picture is no outline
    assert inside.all()
    assert (cut[0, 20:22, -1] == 1).all()


@pytest.mark.parametrize("reach", [1, 1.5, 2, 3.3, 4])
def test_growing_by_shifts_is_growing_by_distance(reach):
    mask = np.random.default_rng(0).random((40, 31)) < 0.03
    assert np.array_equal(_grown(mask, reach), distance_transform_edt(~mask) <= reach)
    assert np.array_equal(_grown(mask, 5), distance_transform_edt(~mask) <= 5)


@pytest.mark.parametrize("width_px", [0.0, -1.0, float("nan"), 100.0])
def test_ramp_out_of_range(width_px):
    with pytest.raises(ConfigError, match="width_px"):
        coverage(*triangle(), 8, 8, width_px)
