from __future__ import annotations

import numpy as np
import pytest
import torch

from mien.core.errors import ConfigError
from mien.methods.car.skin_weights import (
    barycentric_weights,
    diffuse_weights,
    inverse_distance_weights,
    nearest_weights,
    smooth_weights,
    vertex_weights,
)

SQUARE = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0.0]])
FACES = np.array([[0, 1, 2], [0, 2, 3]])
EYE = np.eye(4)


def rng(seed=0):
    return np.random.default_rng(seed)


def test_weights_of_points_over_a_square():
    points = np.array([[0.1, 0.05, 0.3], [1, 0, -2], [0.75, 0.25, 1.0]])
    assert nearest_weights(points, SQUARE, EYE) == pytest.approx(EYE[[0, 1, 1]])
    wanted = [[0.9, 0.05, 0.05, 0], [0, 1, 0, 0], [0.25, 0.5, 0.25, 0]]
    assert barycentric_weights(points, SQUARE, FACES, EYE) == pytest.approx(np.array(wanted))


def test_barycentric_weights_are_continuous_where_nearest_ones_jump():
    left, right = (np.array([[x, 0.2, 0.1]]) for x in (0.4999, 0.5001))
    jump = nearest_weights(right, SQUARE, EYE) - nearest_weights(left, SQUARE, EYE)
    step = barycentric_weights(right, SQUARE, FACES, EYE) - barycentric_weights(left, SQUARE, FACES, EYE)
    assert abs(jump).max() == 1
    assert abs(step).max() < 1e-3


def test_inverse_distances_against_loops():
    vertices, weights = rng(0).normal(size=(50, 3)), rng(1).dirichlet(np.ones(4), 50)
    points = rng(2).normal(size=(5, 3))
    found = inverse_distance_weights(points, vertices, weights, 7)
    for p, w in zip(points, found, strict=True):
        gaps = sorted((np.linalg.norm(p - v), k) for k, v in enumerate(vertices))[:7]
        slow = sum(weights[k] / d for d, k in gaps) / sum(1 / d for d, _ in gaps)
        assert w == pytest.approx(slow)
    at_vertex = inverse_distance_weights(vertices[:1], vertices, weights, 500)
    assert at_vertex == pytest.approx(weights[:1], abs=1e-6)


def test_smoothing_is_the_mean_of_the_ring():
    found = smooth_weights(EYE, FACES)
    assert found[1] == pytest.approx(np.array([1, 1, 1, 0]) / 3)  # 1 has the neighbours 0 and 2
    assert found[0] == pytest.approx(np.full(4, 0.25))
    assert found.sum(1) == pytest.approx(np.ones(4))


def test_vertices_of_clothes():
    weights = rng(1).dirichlet(np.ones(3), 4)
    lifted = SQUARE + np.array([0, 0, 0.1])
    found = vertex_weights(lifted, FACES, SQUARE, weights)
    assert found == pytest.approx(smooth_weights(inverse_distance_weights(lifted, SQUARE, weights), FACES))
    assert found.sum(1) == pytest.approx(np.ones(4))


def test_order_of_the_vertices_is_meaningless():
    vertices, weights = rng(0).normal(size=(40, 3)), rng(1).dirichlet(np.ones(4), 40)
    order, points = rng(3).permutation(40), rng(2).normal(size=(6, 3))
    for rule in (nearest_weights, inverse_distance_weights):
        assert rule(points, vertices[order], weights[order]) == pytest.approx(rule(points, vertices, weights))


def test_diffused_weights():
    """Two columns of vertices: their own weights near them, a smooth change between."""
    rows = np.linspace(0, 1, 21)
    vertices = np.concatenate([np.stack([np.full(21, x), rows, 0 * rows], 1) for x in (0.0, 1.0)])
    weights = np.repeat(np.eye(2), 21, axis=0)
    grid = diffuse_weights(vertices, weights, resolution=16, margin=0.25, steps=60)
    sharp = diffuse_weights(vertices, weights, resolution=16, margin=0.25, steps=0)
    assert torch.allclose(grid.table.sum(0), torch.ones(16, 16, 16), atol=1e-5)
    across = grid.look_up(torch.tensor([[x, 0.5, 0.0] for x in np.linspace(0, 1, 9)]).float())[:, 1]
    steps = across.diff()
    assert (steps > 0).all()
    assert steps.max() < 0.25 < sharp.look_up(torch.tensor([[0.47, 0.5, 0], [0.53, 0.5, 0]]))[:, 1].diff()
    assert across[4] == pytest.approx(0.5, abs=0.02)
    nodes = torch.stack(torch.meshgrid(*[torch.linspace(0, 1, 16)] * 3, indexing="ij"), -1)
    at = grid.lower + nodes * (grid.upper - grid.lower)
    assert torch.allclose(grid.look_up(at), grid.table.permute(1, 2, 3, 0), atol=1e-4)
    assert grid.look_up(torch.full((3, 4, 3), 9.0)).shape == (3, 4, 2)


def test_bad_input():
    with pytest.raises(ConfigError, match="at least 1"):
        inverse_distance_weights(SQUARE, SQUARE, EYE, 0)
    with pytest.raises(ConfigError, match="4 to 256"):
        diffuse_weights(SQUARE, EYE, resolution=2)
