from __future__ import annotations

import numpy as np

from mien.synth.raster import raster, weights

SIDE, FOCAL = 24, 30.0


def project(points):
    """Camera at the origin, looking along -z; dm."""
    depth = -points[:, 2]
    x, y = (SIDE / 2 + s * FOCAL * points[:, k] / depth for k, s in ((0, 1), (1, -1)))
    return np.stack([x, y, depth], 1).astype(np.float32)


def draw(points, faces, base=0):
    zbuf, ids = np.zeros((SIDE, SIDE), np.float32), np.full((SIDE, SIDE), -1, np.int32)
    raster(project(points), np.asarray(faces, np.int32), zbuf, ids, base)
    return zbuf, ids


def hit(points, i, j):
    """Weights of the triangle and depth where the ray through a pixel's centre meets it."""
    ray = np.array([(j + 0.5 - SIDE / 2) / FOCAL, -(i + 0.5 - SIDE / 2) / FOCAL, -1.0])
    w0, w1, w2 = np.linalg.solve(points.T, ray)  # ray = sum w p, up to a factor
    total = w0 + w1 + w2
    return np.array([w1, w2]) / total, 1 / total


def test_weights_and_depth_are_those_of_the_ray():
    points = np.array([[-1.5, -1, -4], [2, -0.5, -9], [0, 2, -6]], float)
    zbuf, ids = draw(points, [[0, 1, 2]])
    rows, cols = (a.astype(np.int32) for a in np.nonzero(ids == 0))
    assert len(rows) > 40
    got = weights(project(points), np.array([[0, 1, 2]], np.int32), rows, cols, ids[rows, cols])
    for n in range(len(rows)):
        expected, depth = hit(points, rows[n], cols[n])
        np.testing.assert_allclose(got[n], expected, atol=1e-4)
        np.testing.assert_allclose(-1 / zbuf[rows[n], cols[n]], depth, rtol=1e-4)


def test_the_nearer_of_two_crossing_triangles_wins_at_each_pixel():
    points = np.array([[-2, -2, -4], [2, -2, -8], [0, 3, -6], [-2, -2, -8], [2, -2, -4], [0, 3, -6.0]], float)
    _, ids = draw(points, [[0, 1, 2], [3, 4, 5]])
    for i, j in zip(*np.nonzero(ids >= 0), strict=True):
        depth = []
        for t in (points[:3], points[3:]):
            w, d = hit(t, i, j)
            depth.append(d if w.min() >= -1e-6 and w.sum() <= 1 + 1e-6 else np.inf)
        assert depth[ids[i, j]] <= min(depth) + 1e-4
    assert {0, 1} <= set(ids.ravel().tolist())


def test_buffers_are_shared_and_faces_numbered_from_a_base():
    front = np.array([[-1, -1, -3], [1, -1, -3], [0, 1, -3]], float)
    zbuf, ids = draw(front, [[0, 1, 2]], 7)
    raster(project(front * 2), np.array([[0, 1, 2]], np.int32), zbuf, ids, 100)  # same pixels, farther
    assert set(ids.ravel().tolist()) <= {-1, 7, 100}
    assert (ids == 7).sum() > 20
    assert (ids == 100).sum() <= 2


def test_triangles_before_the_near_plane_are_left_out():
    points = np.array([[-1, -1, -3], [1, -1, -3], [0, 1, -0.05]], float)
    assert (draw(points, [[0, 1, 2]])[1] == -1).all()
