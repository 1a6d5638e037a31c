from __future__ import annotations

import numpy as np
import pytest

from mien.core.errors import DataError, ShapeError
from mien.methods.otavatar.warps import (
    best_homography,
    copy_source,
    fit_homography,
    fit_thin_plate,
    thin_plate_warp,
)

WARPS = (copy_source, best_homography, thin_plate_warp)


def scene(seed=0, size=24):
    rng = np.random.default_rng(seed)
    return rng.random((size, size, 3)), rng.uniform(0.2, 0.8, (68, 2))


@pytest.mark.parametrize("method", WARPS)
def test_landmarks_that_stay_leave_the_picture(method):
    picture, points = scene()
    assert method(picture, points, points) == pytest.approx(picture, abs=1e-6)


def test_a_known_homography_is_found():
    true = np.array([[1.1, 0.1, -0.05], [-0.08, 0.9, 0.04], [0.2, -0.1, 1.0]])
    _, points = scene(1)
    seen = np.concatenate([points, np.ones((68, 1))], 1) @ true.T
    assert fit_homography(points, seen[:, :2] / seen[:, 2:]) == pytest.approx(true, abs=1e-9)


@pytest.mark.parametrize("method", [best_homography, thin_plate_warp])
def test_a_shift_of_whole_pixels_moves_the_middle(method):
    picture, points = scene(2)
    moved = method(picture, points, points + np.array([2, 0]) / 24)
    if method is best_homography:
        assert moved[:, 2:] == pytest.approx(picture[:, :-2], abs=1e-6)
        assert (moved[:, 0] == 1).all()  # nothing of the source lies there: white
    else:  # corners stay, so only the place of a landmark is sure
        back = fit_thin_plate(points + np.array([2, 0]) / 24, points)
        assert back(points + np.array([2, 0]) / 24) == pytest.approx(points, abs=1e-9)


def test_a_thin_plate_passes_through_its_points_and_keeps_the_corners():
    _, a = scene(3)
    b = a + np.random.default_rng(4).normal(0, 0.02, a.shape)
    corners = np.array([[0.0, 0], [1, 0], [0, 1], [1, 1]])
    back = fit_thin_plate(a, b)
    assert back(a) == pytest.approx(b, abs=1e-8)
    assert back(corners) == pytest.approx(corners, abs=1e-8)
    assert np.abs(fit_thin_plate(a, b, smoothing=1e-3)(a) - b).max() < 0.05


def test_a_thin_plate_equals_its_slow_twin():
    _, a = scene(5)
    a = a[:10]
    b = a + np.random.default_rng(6).normal(0, 0.05, a.shape)
    knots = np.concatenate([a, [[0, 0], [1, 0], [0, 1], [1, 1]]])
    images = np.concatenate([b, [[0, 0], [1, 0], [0, 1], [1, 1]]])
    n = len(knots)

    def bend(p, q):
        r = np.hypot(*(p - q))
        return 0.0 if r == 0 else r * r * np.log(r)

    system = np.zeros((n + 3, n + 3))
    for i in range(n):
        for j in range(n):
            system[i, j] = bend(knots[i], knots[j])
        system[i, n:] = system[n:, i] = (1, *knots[i])
    weights = np.linalg.solve(system, np.concatenate([images, np.zeros((3, 2))]))
    at = np.array([0.37, 0.61])
    wanted = sum(weights[j] * bend(at, knots[j]) for j in range(n)) + np.array([1, *at]) @ weights[n:]
    assert fit_thin_plate(a, b)(at[None])[0] == pytest.approx(wanted, abs=1e-8)


def test_what_fits_no_map_is_named():
    picture, points = scene()
    line = np.stack([np.linspace(0, 1, 68)] * 2, 1)
    with pytest.raises(DataError, match="on one line"):
        best_homography(picture, line, line)
    with pytest.raises(ShapeError, match="floats"):
        copy_source((picture * 255).astype(np.uint8), points, points)
    with pytest.raises(ShapeError, match="at least 4"):
        best_homography(picture, points[:3], points[:3])
    twice = points.copy()
    twice[1] = twice[0]
    with pytest.raises(DataError, match="coincide"):
        fit_thin_plate(twice, points)
    assert np.isfinite(thin_plate_warp(picture, points, twice)).all()
