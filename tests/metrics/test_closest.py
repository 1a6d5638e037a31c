"""The nearest point of a mesh, against all triangles one by one."""

from __future__ import annotations

import numpy as np
import pytest

from mien.core.errors import DataError
from mien.metrics.closest import closest_barycentric, closest_points


def rng(seed=0):
    return np.random.default_rng(seed)


def soup(seed=0, triangles=60):
    """Triangles of very different sizes, anywhere."""
    draw = rng(seed)
    middle = draw.uniform(-1, 1, (triangles, 1, 3))
    size = 10 ** draw.uniform(-2, 0, (triangles, 1, 1))
    return (middle + size * draw.normal(size=(triangles, 3, 3))).reshape(-1, 3), np.arange(
        3 * triangles
    ).reshape(-1, 3)


def slow_distance(p, triangle, steps=150):
    """Least distance to a fine net of points of the triangle."""
    a, b = np.meshgrid(*[np.linspace(0, 1, steps)] * 2)
    a, b = a[a + b <= 1], b[a + b <= 1]
    at = triangle[0] + a[:, None] * (triangle[1] - triangle[0]) + b[:, None] * (triangle[2] - triangle[0])
    return np.sqrt(((at - p) ** 2).sum(1)).min()


@pytest.mark.parametrize(
    ("point", "weights"),
    [
        ((0.25, 0.25, 3), (0.5, 0.25, 0.25)),
        ((-1, -1, 0.5), (1, 0, 0)),
        ((0.5, -2, 0), (0.5, 0.5, 0)),
        ((2, 2, 0), (0, 0.5, 0.5)),
        ((-1, 0.25, 1), (0.75, 0, 0.25)),
    ],
)
def test_nearest_point_of_a_triangle(point, weights):
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0.0]])
    assert closest_barycentric(np.array(point, float), corners) == pytest.approx(np.array(weights), abs=1e-12)


def test_flat_triangles_have_nearest_points_too():
    line = np.array([[0, 0, 0], [1, 0, 0], [2, 0, 0.0]])
    weights = closest_barycentric(np.array([[1.5, 1, 0], [5, 0, 0.0]]), np.stack([line, line]))
    assert weights @ line == pytest.approx(np.array([[1.5, 0, 0], [2, 0, 0]]))


def test_nearest_points_against_all_triangles():
    vertices, faces = soup()
    points = rng(1).uniform(-1.5, 1.5, (50, 3))
    near = closest_points(points, vertices, faces)
    each = closest_barycentric(points[:, None], vertices[faces][None])
    gaps = np.linalg.norm((each[..., None] * vertices[faces]).sum(-2) - points[:, None], axis=-1)
    assert near.distance == pytest.approx(gaps.min(1), abs=1e-12)
    assert near.bary.sum(1) == pytest.approx(np.ones(50))
    assert near.bary.min() >= 0
    slow = [slow_distance(points[0], vertices[f]) for f in faces]
    assert gaps[0] == pytest.approx(np.array(slow), abs=0.03)


def test_no_points_and_no_triangles():
    vertices, faces = soup()
    assert closest_points(vertices[:0], vertices, faces).face.shape == (0,)
    with pytest.raises(DataError, match="without triangles"):
        closest_points(vertices, vertices, faces[:0])
