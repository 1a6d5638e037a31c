"""Skinning weights of points that are no vertices of the body: nearest, barycentric, blended, diffused.

CAR takes those of the nearest vertex, which tears cloth between the legs and under the arms; the others are
smoother the further away from the skin.
"""

from __future__ import annotations

from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mien.core.errors import ConfigError, DataError

Array = NDArray[Any]  # of floats
Index = NDArray[Any]  # of integers
NEIGHBOURS = 30
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


def nearest_weights(points: Array, vertices: Array, weights: Array) -> Array:
    """Skinning weights of the nearest vertex, (N, J): CAR's rule. O((N + V) log V).

    Args:
        points: (N, 3).
        vertices: (V, 3).
        weights: (V, J).
    """
    from scipy.spatial import cKDTree

    return np.asarray(weights[cKDTree(vertices).query(points)[1]])


def barycentric_weights(points: Array, vertices: Array, faces: Index, weights: Array) -> Array:
    """Skinning weights of the nearest point of the surface, (N, J). Costs `closest_points`.

    Args:
        points: (N, 3).
        vertices: (V, 3).
        faces: (T, 3).
        weights: (V, J).
    """
    near = closest_points(points, vertices, faces)
    return np.asarray(np.einsum("nk,nkj->nj", near.bary, weights[faces[near.face]]))


def inverse_distance_weights(
    points: Array, vertices: Array, weights: Array, neighbours: int = NEIGHBOURS
) -> Array:
    """W(x) = sum_k w_k / d_k / sum_k 1 / d_k over the nearest vertices, (N, J). O(N neighbours (J + log V)).

    Args:
        points: (N, 3).
        vertices: (V, 3).
        weights: (V, J).
        neighbours: how many vertices count, at most V.

    Raises:
        ConfigError: fewer than one neighbour.
    """
    from scipy.spatial import cKDTree

    if neighbours < 1:
        raise ConfigError(f"neighbours={neighbours} must be at least 1")
    count = min(neighbours, len(vertices))
    distance, near = cKDTree(vertices).query(points, k=count)
    share = 1 / np.maximum(distance.reshape(-1, count), 1e-9)
    share /= share.sum(1, keepdims=True)
    return np.asarray(np.einsum("nk,nkj->nj", share, weights[near.reshape(-1, count)]))


def smooth_weights(weights: Array, faces: Index) -> Array:
    """One Laplacian smoothing over a mesh: the mean over a vertex and its neighbours, (V, J). O(T J).

    Args:
        weights: (V, J), rows sum to 1; they do so afterwards.
        faces: (T, 3).
    """
    from scipy.sparse import coo_array

    ends = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).astype(np.int64)
    both = np.unique(np.concatenate([ends, ends[:, ::-1]]), axis=0)
    count = len(weights)
    ring = coo_array((np.ones(len(both)), (both[:, 0], both[:, 1])), shape=(count, count)).tocsr()
    total = weights + ring @ weights
    return np.asarray(total / (1 + ring.sum(1).reshape(-1, 1)), weights.dtype)


def vertex_weights(points: Array, faces: Index, vertices: Array, weights: Array) -> Array:
    """Weights of a clothed mesh from those of the body: `inverse_distance_weights`, smoothed once.

    Legs that nearly touch share no single nearest vertex, so skirts stretch where 1-NN weights tear them.

    Args:
        points: (N, 3) vertices of the clothed mesh, canonical.
        faces: (T, 3) of it.
        vertices: (V, 3) of the body, canonical.
        weights: (V, J).

    Returns:
        (N, J).
    """
    return smooth_weights(inverse_distance_weights(points, vertices, weights), faces)


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
    from scipy.spatial import cKDTree

    if not len(faces):
        raise DataError("the nearest points of a mesh without triangles were asked for")
    points, corners = np.asarray(points, np.float64), np.asarray(vertices, np.float64)[faces]
    middles = corners.mean(1)
    reach = np.sqrt(((corners - middles[:, None]) ** 2).sum(-1).max(1))
    bound = cKDTree(corners.reshape(-1, 3)).query(points)[0]
    out = SurfacePoints(
        np.zeros(len(points), np.int64), np.zeros((len(points), 3)), bound * (1 + 1e-9) + 1e-12
    )
    octave = np.log2(reach.max() / np.maximum(reach, 1e-3 * reach.max() + 1e-300)).astype(np.int64)
    for size in np.unique(octave):
        own = np.flatnonzero(octave == size)
        tree, most = cKDTree(middles[own]), reach[own].max()
        for first in range(0, len(points), _CHUNK):
            at = slice(first, first + _CHUNK)
            found = tree.query_ball_point(points[at], out.distance[at] + most)
            row = np.repeat(np.arange(len(found)), [len(f) for f in found]) + first
            face = own[np.fromiter(chain.from_iterable(found), np.int64, len(row))]
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


# -- weights of a whole box ---------------------------------------------------------------------------------


class WeightGrid(NamedTuple):
    """Skinning weights of a box, read by trilinear interpolation.

    Attributes:
        table: (J, R, R, R) at the nodes, axes x, y, z; sums to 1 over J.
        lower: (3,) corner of the box.
        upper: (3,) opposite corner.
    """

    table: Tensor
    lower: Tensor
    upper: Tensor

    def look_up(self, points: Tensor) -> Tensor:
        """(..., 3) -> (..., J); outside of the box as at its border. O(N J)."""
        at = (points - self.lower) / (self.upper - self.lower) * 2 - 1
        grid = at.flip(-1).reshape(1, 1, 1, -1, 3).to(self.table.dtype)
        found = F.grid_sample(self.table[None], grid, padding_mode="border", align_corners=True)
        return found[0, :, 0, 0].T.reshape(*points.shape[:-1], -1)


def diffuse_weights(
    vertices: Array, weights: Array, *, resolution: int = 64, margin: float = 0.2, steps: int = 40
) -> WeightGrid:
    """Weights of the box around a body, smooth away from it. O(R^3 J steps).

    `nearest_weights`, then heat flow: the node nearest to each vertex keeps its weights, each step gives all
    others the mean of their six neighbours, and the border repeats itself.

    Args:
        vertices: (V, 3) canonical body.
        weights: (V, J), rows sum to 1.
        resolution: nodes R along each axis.
        margin: of the box around the body, metres.
        steps: of the flow; the weights spread by about sqrt(steps) nodes.

    Raises:
        ConfigError: a resolution outside [4, 256], or negative steps or margin.
    """
    if not 4 <= resolution <= 256 or steps < 0 or margin < 0:
        raise ConfigError(
            f"resolution={resolution} must be 4 to 256, steps={steps} and margin={margin} at least 0"
        )
    lower, upper = vertices.min(0) - margin, vertices.max(0) + margin
    axes = [np.linspace(low, high, resolution) for low, high in zip(lower, upper, strict=True)]
    nodes = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    start = nearest_weights(nodes, vertices, weights).astype(np.float32)
    sides = (resolution,) * 3
    at = np.rint((vertices - lower) / (upper - lower) * (resolution - 1)).astype(np.int64)
    held = torch.zeros(sides, dtype=torch.bool)
    held[tuple(torch.from_numpy(at).T)] = True
    first = torch.from_numpy(start).T.reshape(-1, *sides)
    table = first
    for _ in range(steps):
        table = torch.where(held, first, _neighbour_mean(table))
    box = (torch.as_tensor(x, dtype=torch.float32) for x in (lower, upper))
    return WeightGrid(table.contiguous(), *box)


def _neighbour_mean(table: Tensor) -> Tensor:
    """Mean of the six neighbours of each node of (J, R, R, R)."""
    x = F.pad(table[None], (1,) * 6, mode="replicate")[0]
    inner = slice(1, -1)
    along_x = x[:, :-2, inner, inner] + x[:, 2:, inner, inner]
    along_y = x[:, inner, :-2, inner] + x[:, inner, 2:, inner]
    return (along_x + along_y + x[:, inner, inner, :-2] + x[:, inner, inner, 2:]) / 6
