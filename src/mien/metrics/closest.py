"""The nearest point of a triangle mesh, exactly, for many points."""

from __future__ import annotations

from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from mien.core.errors import DataError

Array = NDArray[Any]  # of floats
Index = NDArray[Any]  # of integers
_CHUNK = 2048


class SurfacePoints(NamedTuple):
    """Nearest points of a triangle mesh.

    Attributes:
        face: (N,) triangle.
        bary: (N, 3) weights of its corners, each in [0, 1].
        distance: (N,).
    """

    face: Index
    bary: Array
    distance: Array


class SizeGroup(NamedTuple):
    """Triangles of about one size: which, the tree of their centres, the largest reach from a centre."""

    which: Index
    tree: cKDTree
    radius: float


def size_groups(corners: Array) -> list[SizeGroup]:
    """Triangles (T, 3, 3) by powers of two of their reach, so that large ones do not spoil the search."""
    centre = corners.mean(1)
    reach = np.linalg.norm(corners - centre[:, None], axis=2).max(1)
    power = np.ceil(np.log2(np.maximum(reach, 1e-12))).astype(np.int64)
    groups = (np.flatnonzero(power == p) for p in np.unique(power))
    return [SizeGroup(g, cKDTree(centre[g]), float(reach[g].max())) for g in groups]


def closest_points(points: Array, vertices: Array, faces: Index) -> SurfacePoints:
    """The nearest point of a mesh to each of N points; exact. O((N + T) log T + triangles near).

    A triangle has no point nearer than |p - m| - r, m its centroid and r its farthest corner's distance from
    there. So those with |p - m| < d + r are tried, d the distance of the nearest vertex or the best so far;
    triangles of like size share a tree.

    Args:
        points: (N, 3).
        vertices: (V, 3).
        faces: (T, 3).

    Raises:
        DataError: a mesh without triangles.
    """
    if not len(faces):
        raise DataError("the nearest points of a mesh without triangles were asked for")
    points, corners = np.asarray(points, np.float64), np.asarray(vertices, np.float64)[faces]
    bound = cKDTree(corners.reshape(-1, 3)).query(points)[0]
    out = SurfacePoints(
        np.zeros(len(points), np.int64), np.zeros((len(points), 3)), bound * (1 + 1e-9) + 1e-12
    )
    for group in size_groups(corners):
        for first in range(0, len(points), _CHUNK):
            at = slice(first, first + _CHUNK)
            found = group.tree.query_ball_point(points[at], out.distance[at] + group.radius)
            row = np.repeat(np.arange(len(found)), [len(f) for f in found]) + first
            face = group.which[np.fromiter(chain.from_iterable(found), np.int64, len(row))]
            _keep_nearest(out, points, corners, row, face)
    return out


def _keep_nearest(out: SurfacePoints, points: Array, corners: Array, row: Index, face: Index) -> None:
    """Writes to ``out`` those of the pairs of a point (P,) and a triangle (P,) that are nearer."""
    bary = closest_barycentric(points[row], corners[face])
    gap = np.sqrt((((bary[..., None] * corners[face]).sum(-2) - points[row]) ** 2).sum(-1))
    order = np.lexsort((gap, row))
    order = order[np.diff(row[order], prepend=-1) > 0]
    order = order[gap[order] < out.distance[row[order]]]
    out.face[row[order]], out.bary[row[order]], out.distance[row[order]] = (
        face[order],
        bary[order],
        gap[order],
    )


def closest_barycentric(points: Array, corners: Array) -> Array:
    """Barycentric weights (..., 3) of the nearest point of each triangle. O(N).

    Those of the projection on the plane where that is inside, else the best of the projections on the edges.

    Args:
        points: (..., 3).
        corners: (..., 3, 3), one triangle a point.
    """
    p, a, b, c = np.broadcast_arrays(points, *np.moveaxis(corners, -2, 0))
    u, v, w = b - a, c - a, p - a
    uu, uv, vv, wu, wv = (_dot(x, y) for x, y in ((u, u), (u, v), (v, v), (w, u), (w, v)))
    area = uu * vv - uv**2
    solid = area > 1e-30
    scale = np.where(solid, area, 1)
    b1, b2 = (vv * wu - uv * wv) / scale, (uu * wv - uv * wu) / scale
    inner = np.stack([1 - b1 - b2, b1, b2], -1)
    edges, gaps = [], []
    for i, (start, end) in enumerate(((a, b), (b, c), (c, a))):
        edge = end - start
        t = (_dot(p - start, edge) / np.maximum(_dot(edge, edge), 1e-30)).clip(0, 1)
        edges.append(np.roll(np.stack([1 - t, t, np.zeros_like(t)], -1), i, -1))
        away = start + t[..., None] * edge - p
        gaps.append(_dot(away, away))
    best = np.argmin(gaps, 0)[None, ..., None]
    outer = np.take_along_axis(np.stack(edges), best, 0)[0]
    return np.where((solid & (inner.min(-1) >= 0))[..., None], inner, outer)


def _dot(x: Array, y: Array) -> Array:
    return np.asarray((x * y).sum(-1))
