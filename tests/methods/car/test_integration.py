from __future__ import annotations

import numpy as np
import pytest
import torch
import trimesh

from mien.core.errors import ConfigError, DataError, ShapeError
from mien.methods.car.integration import (
    DepthPair,
    IntegrationSettings,
    bilateral_weights,
    closed_field,
    differences,
    integrate_normals,
    stitched,
)
from mien.render.iso import marching_cubes
from tests.methods.car.shapes import AXES, analytic_maps

VOLUME = 4 / 3 * np.pi * float(AXES.prod())


def ellipsoid_pair(size=64):
    front, back, depth, mask = analytic_maps(size)
    return integrate_normals(front, back, mask, (depth, -depth)), depth, mask


def test_differences_of_a_small_mask():
    mask = np.array([[True, True, False], [True, True, True]])
    z = np.array([10.0, 11, 20, 22, 25])  # 10 11 / 20 22 25
    right, left = differences(mask, 1)
    np.testing.assert_array_equal(right @ z, [1, 0, 2, 3, 0])
    np.testing.assert_array_equal(left @ z, [0, 1, 0, 2, 3])
    up, down = differences(mask, 0)
    np.testing.assert_array_equal(up @ z, [0, 0, -10, -11, 0])
    np.testing.assert_array_equal(down @ z, [-10, -11, 0, 0, 0])


def test_the_smaller_step_counts():
    assert bilateral_weights(np.zeros(1), np.zeros(1), 4.0)[0] == 0.5
    np.testing.assert_allclose(
        bilateral_weights(np.array([0.5, 0.0]), np.array([0.0, 1.0]), 4.0),
        [1 / (1 + np.e), 1 / (1 + np.exp(-4))],
    )


def test_a_plane_is_exact():
    mask = np.ones((12, 12), np.bool_)
    n = np.array([-0.3, 0.2, 1.0]) / np.linalg.norm([-0.3, 0.2, 1.0])
    maps = np.broadcast_to(n[:, None, None], (3, 12, 12))
    found = integrate_normals(maps, -maps, mask)
    x = (np.arange(12) + 0.5) / 6 - 1
    plane = 0.3 * x[None, :] - 0.2 * -x[:, None]
    front, back = (m - m.mean() for m in found[:2])
    np.testing.assert_allclose(front, plane - plane.mean(), atol=2e-3)
    np.testing.assert_allclose(back, plane - plane.mean(), atol=2e-3)


def test_an_ellipsoid_from_its_normals():
    found, depth, mask = ellipsoid_pair()
    inner = depth > 0.1
    assert np.abs(found.front - depth)[inner].mean() < 0.01
    assert np.abs(found.back + depth)[inner].mean() < 0.01
    assert np.array_equal(np.isnan(found.front), ~mask)
    assert (found.front > found.back)[mask].all()
    assert len(found.energies) < 100
    assert found.energies[-1] == pytest.approx(found.energies[-2], rel=1e-4)


def test_a_wrong_prior_is_overruled_by_the_normals():
    front, back, depth, mask = analytic_maps(64)
    flat = np.where(mask, 0.2, np.nan)
    found = integrate_normals(front, back, mask, (flat, -flat))
    inner = depth > 0.1

    def shape_error(z):
        gap = (z - depth)[inner]
        return np.abs(gap - gap.mean()).mean()

    assert shape_error(found.front) < 0.1 * shape_error(flat)


def test_without_a_prior_the_sides_meet_at_the_outline():
    front, back, depth, mask = analytic_maps(96)
    found = integrate_normals(front, back, mask)
    np.testing.assert_allclose(found.front, -found.back, atol=1e-3)
    assert np.abs(found.front - depth)[depth > 0.1].mean() < 0.08


def test_a_step_of_depth_stays_a_step():
    """Two flat halves at different depths, told by the prior alone; normals say flat everywhere."""
    size = 24
    mask = np.ones((size, size), np.bool_)
    up = np.zeros((3, size, size))
    up[2] = 1
    step = np.where(np.arange(size) < size // 2, 0.0, 0.8)[None].repeat(size, 0)
    settings = IntegrationSettings(prior=1e-2)
    found = integrate_normals(up, -up, mask, (step + 0.1, step - 0.1), settings)
    assert np.abs(found.front - step - 0.1).mean() < 0.02
    even = IntegrationSettings(sharpness=0.0, prior=1e-2)
    smooth = integrate_normals(up, -up, mask, (step + 0.1, step - 0.1), even)
    assert np.abs(smooth.front - step - 0.1).mean() > 3 * np.abs(found.front - step - 0.1).mean()


def test_the_sides_never_cross():
    _, _, depth, mask = analytic_maps(32)
    front = np.zeros((3, 32, 32))
    front[2] = 1
    found = integrate_normals(front, -front, mask, (-depth, depth))
    assert (found.front - found.back)[mask].min() == pytest.approx(1 / 32)


@pytest.mark.parametrize("how", ["stitched", "cubes"])
def test_one_closed_surface(how):
    found, _, _ = ellipsoid_pair()
    if how == "stitched":
        vertices, faces = stitched(found)
    else:
        vertices, faces, _ = marching_cubes(closed_field(found), [-1] * 3, [1] * 3, 64, coarse=None)
    mesh = trimesh.Trimesh(vertices.numpy(), faces.numpy(), process=False)
    assert mesh.is_watertight
    assert mesh.euler_number == 2
    assert mesh.volume == pytest.approx(VOLUME, rel=0.06)


def test_the_body_fills_what_is_missing():
    found, _, _ = ellipsoid_pair(32)
    ball = torch.tensor([0.0, 0.0, -0.5])
    field = closed_field(found, lambda x: (x - ball).norm(dim=-1) - 0.3)
    points = torch.tensor([[0.0, 0, -0.7], [0, 0, 0.2], [0, 0, 0.5], [0.9, 0.9, 0]])
    assert (field(points) < 0).tolist() == [True, True, False, False]
    assert (closed_field(found)(points) < 0).tolist() == [False, True, False, False]


def test_corners_do_not_pinch_the_mesh():
    depth = np.full((6, 6), np.nan)
    depth[:3, :3] = depth[2:, 2:] = 0.2  # two blocks of squares that share one pixel
    vertices, faces = stitched(DepthPair(depth, -depth, []))
    mesh = trimesh.Trimesh(vertices.numpy(), faces.numpy(), process=False)
    assert mesh.is_watertight
    assert mesh.volume > 0
    thin = np.full((6, 6), np.nan)
    thin[2] = 0.1
    with pytest.raises(DataError, match="thinner than two pixels"):
        stitched(DepthPair(thin, -thin, []))


def test_bad_input():
    front, back, depth, mask = analytic_maps(16)
    with pytest.raises(ShapeError, match="must fit the mask"):
        integrate_normals(front[:, 1:], back, mask)
    with pytest.raises(ShapeError, match="must fit the mask"):
        integrate_normals(front, back, mask, (depth[1:], depth))
    with pytest.raises(DataError, match="empty"):
        integrate_normals(front, back, mask & False)
    with pytest.raises(DataError, match="no numbers"):
        integrate_normals(front * np.nan, back, mask)
    with pytest.raises(ConfigError, match="at least one round"):
        IntegrationSettings(rounds=0)
