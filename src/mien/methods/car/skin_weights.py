"""Skinning weights of points that are no vertices of the body: nearest, barycentric, blended, diffused.

CAR takes those of the nearest vertex, which tears cloth between the legs and under the arms; the others are
smoother the further away from the skin.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mien.core.errors import ConfigError
from mien.metrics.closest import closest_points

Array = NDArray[Any]  # of floats
Index = NDArray[Any]  # of integers
NEIGHBOURS = 30


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
