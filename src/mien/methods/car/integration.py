"""Front and back normals -> front and back depth -> one closed surface (an alternative second stage).

Source: BiNI, Cao et al. (arXiv 2207.11130), joined for both sides with a body as prior as in ECON, Xiu et al.
(arXiv 2212.07422): k = 4, weight of the prior 1e-4, of the outline 1e-6. Orthographic view box.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse.linalg import cg
from scipy.special import expit
from torch import Tensor

from mien.core.errors import ConfigError, DataError, ShapeError
from mien.methods.car.view import sample_map
from mien.render.iso import Field

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class IntegrationSettings:
    """How normals are integrated; lengths are in pixels.

    Attributes:
        sharpness: k of the bilateral weights; larger = sharper steps of depth.
        prior: weight of the prior depth.
        outline: weight of the front and the back meeting at the outline.
        rounds: of reweighting, at most.
        tolerance: relative change of the energy that ends them; also of each linear solve.
    """

    sharpness: float = 4.0
    prior: float = 1e-4
    outline: float = 1e-6
    rounds: int = 100
    tolerance: float = 1e-4

    def __post_init__(self) -> None:
        if min(self.sharpness, self.prior, self.outline, self.tolerance) < 0 or self.rounds < 1:
            raise ConfigError(f"no negative numbers and at least one round, got {self}")


class DepthPair(NamedTuple):
    """Two sides of a body.

    Attributes:
        front: (H, W) z in the view box, larger = nearer to the viewer; NaN outside the mask.
        back: likewise of the farthest surface.
        energies: after each round, with its new weights: they settle, but need not fall.
    """

    front: Array
    back: Array
    energies: list[float]


def differences(mask: Mask, axis: int) -> tuple[Any, Any]:
    """Forward and backward differences (N, N) of the N pixels of a mask along x (axis 1) or up (axis 0).

    Rows of pixels without that neighbour are 0. O(N).
    """
    count = int(mask.sum())
    index = np.full(mask.shape, -1)
    index[mask] = np.arange(count)
    step = 1 if axis == 1 else -1  # rows count downwards
    out = []
    for sign in (1, -1):
        beside = np.full_like(index, -1)
        shifted = np.roll(index, -step * sign, axis)
        inner = [slice(None), slice(None)]
        inner[axis] = slice(0, -1) if step * sign == 1 else slice(1, None)
        beside[tuple(inner)] = shifted[tuple(inner)]
        own, other = index[mask], beside[mask]
        has = other >= 0
        rows = np.concatenate([own[has], own[has]])
        columns = np.concatenate([other[has], own[has]])
        values = np.repeat([float(sign), -float(sign)], has.sum())
        out.append(sparse.csr_matrix((values, (rows, columns)), (count, count)))
    return out[0], out[1]


def bilateral_weights(forward: Array, backward: Array, sharpness: float) -> Array:
    """Weight of the forward difference, sigma_k(d_-^2 - d_+^2); the backward one has 1 - w."""
    out: Array = expit(sharpness * (backward**2 - forward**2))
    return out


class _Side(NamedTuple):
    """The equations n_z dz = -n_x and n_z dz = -n_y of one side, each forward and backward; 0 = 0 at rims."""

    rows: Any  # (4 N, N)
    right: Array  # (4 N,)

    def weights(self, z: Array, sharpness: float) -> Array:
        """(4 N,) at depths z (N,)."""
        d = np.split(self.rows @ z, 4)
        x, y = (bilateral_weights(d[k], d[k + 1], sharpness) for k in (0, 2))
        return np.concatenate([x, 1 - x, y, 1 - y])


def _side(normals: Array, mask: Mask) -> _Side:
    n_x, n_y, n_z = normals[:, mask]
    scale = sparse.diags(n_z)
    steps = [d for axis in (1, 0) for d in differences(mask, axis)]
    has = np.concatenate([np.diff(d.indptr) > 0 for d in steps])
    rows = sparse.vstack([scale @ d for d in steps]).tocsr()
    return _Side(rows, has * -np.concatenate([n_x, n_x, n_y, n_y]))


def integrate_normals(
    front: Array,
    back: Array,
    mask: Mask,
    prior: tuple[Array, Array] | None = None,
    settings: IntegrationSettings | None = None,
) -> DepthPair:
    """Depths of both sides that agree best with their normals.

        min  sum_pixels sum_+- w (n_z d_+- z + n_xy)^2
             + prior sum_body (z - z_body)^2 + outline sum_rim (z_F - z_B)^2

    over z_F and z_B at once, w renewed after each solve (`bilateral_weights`): the side of a pixel with the
    smaller step counts, so a step of depth does not bend the surface beside it. O(rounds N^1.5) for N pixels
    in the mask.

    Args:
        front: (3, H, W) unit normals of the nearest surface: x right, y up, z to the viewer.
        back: (3, H, W) of the farthest surface at the same pixels; n_z < 0.
        mask: (H, W).
        prior: depths (H, W) of the body's two sides in the view box, NaN where it is not; None: both sides
            have the mean depth 0 along the outline.
        settings: how.

    Raises:
        ShapeError: maps that do not fit together.
        DataError: an empty mask, or normals in it that are no numbers.
    """
    own = settings or IntegrationSettings()
    _check_maps(front, back, mask, prior)
    pixel, count = 2 / mask.shape[1], int(mask.sum())
    sides = [_side(np.asarray(n, np.float64), mask) for n in (front, back)]
    equations = sparse.block_diag([s.rows for s in sides]).tocsr()
    right = np.concatenate([s.right for s in sides])
    given = np.full(2 * count, np.nan) if prior is None else np.concatenate([p[mask] for p in prior]) / pixel
    known = np.isfinite(given)
    target = np.where(known, given, 0.0)
    rim = (mask & ~ndimage.binary_erosion(mask))[mask].astype(float)
    fixed = own.prior * sparse.diags(known.astype(float))
    fixed = fixed + own.outline * sparse.kron([[1, -1], [-1, 1]], sparse.diags(rim))
    z = np.where(known, target, target[known].mean() if known.any() else 0.0)
    weights, energies = np.full(8 * count, 0.5), []
    for _ in range(own.rounds):
        weighted = equations.T @ sparse.diags(weights)
        system = (weighted @ equations + fixed).tocsr()
        jacobi = sparse.diags(1 / np.maximum(system.diagonal(), 1e-5))
        goal = weighted @ right + own.prior * known * target
        z, _ = cg(system, goal, x0=z, rtol=own.tolerance, maxiter=5000, M=jacobi)
        halves = np.split(z, 2)
        weights = np.concatenate([s.weights(h, own.sharpness) for s, h in zip(sides, halves, strict=True)])
        energies.append(float(weights @ (equations @ z - right) ** 2))
        if len(energies) > 1 and abs(energies[-2] - energies[-1]) <= own.tolerance * energies[-2]:
            break
    maps = []
    for half in np.split(z, 2):
        if not known.any():
            half = half - half[rim > 0].mean()
        whole = np.full(mask.shape, np.nan)
        whole[mask] = half * pixel
        maps.append(whole)
    return _ordered(DepthPair(maps[0], maps[1], energies), pixel / 2)


def _ordered(pair: DepthPair, least: float) -> DepthPair:
    """The pair with the front at least ``least`` before the back: both move away from their mean."""
    middle = (pair.front + pair.back) / 2
    half = np.maximum(pair.front - pair.back, least) / 2
    return pair._replace(front=middle + half, back=middle - half)


def _check_maps(front: Array, back: Array, mask: Mask, prior: tuple[Array, Array] | None) -> None:
    maps = (front, back, *(prior or ()))
    want = [(3, *mask.shape)] * 2 + [mask.shape] * (len(maps) - 2)
    if [np.shape(m) for m in maps] != want or mask.dtype != np.bool_:
        raise ShapeError(
            f"normals (3, H, W) and depths (H, W) must fit the mask {mask.shape} of booleans, got"
            f" {[np.shape(m) for m in maps]} and {mask.dtype}"
        )
    if not mask.any():
        raise DataError("the mask is empty; there is nobody to reconstruct")
    if not (np.isfinite(front[:, mask]).all() and np.isfinite(back[:, mask]).all()):
        raise DataError("the normals within the mask hold values that are no numbers")


def closed_field(pair: DepthPair, body: Field | None = None) -> Field:
    """A field that is negative between the two sides, for `mien.render.marching_cubes`.

        f(x, y, z) = max(z - z_F, z_B - z, d),  d the signed distance to the mask in the plane;  min(f, body)

    Its zero set is closed, but it is no distance: it changes as fast as the depth does, so use the dense grid
    (``coarse=None``). O(1) a point.

    Args:
        pair: of `integrate_normals`.
        body: signed distance to the body in the view box, which fills what the pictures do not show.
    """
    mask = np.isfinite(pair.front)
    nearest = ndimage.distance_transform_edt(~mask, return_distances=False, return_indices=True)
    filled = [m[tuple(nearest)] for m in (pair.front, pair.back)]
    pixel = 2 / mask.shape[1]
    outside, inside = (np.maximum(ndimage.distance_transform_edt(m) - 0.5, 0) for m in (~mask, mask))
    maps = torch.from_numpy(np.stack([*filled, pixel * (outside - inside)])).float()

    def field(points: Tensor) -> Tensor:
        z_front, z_back, d = sample_map(maps.to(points.device), points).unbind(1)
        z = points[:, 2]
        own = torch.maximum(torch.maximum(z - z_front, z_back - z), d)
        return own if body is None else torch.minimum(own, body(points))

    return field


def stitched(pair: DepthPair) -> tuple[Tensor, Tensor]:
    """The two sides as one closed mesh of the pixels' centres, joined by a wall along the outline. O(H W).

    Squares of four pixels become two triangles; squares that touch another only at a corner are left out, so
    that each edge has exactly two triangles.

    Returns:
        (V, 3) float32 vertices in the view box, (T, 3) int32 faces, counter-clockwise seen from outside.

    Raises:
        DataError: no square of four pixels has a depth.
    """
    square = _without_pinches(pair.front)
    if not square.any():
        raise DataError("the mask is thinner than two pixels everywhere; use larger pictures")
    height, width = pair.front.shape
    used: Mask = np.zeros((height, width), np.bool_)
    for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
        used[i : height - 1 + i, j : width - 1 + j] |= square
    count = int(used.sum())
    index = np.full(used.shape, -1)
    index[used] = np.arange(count)
    a, d = index[:-1, :-1][square], index[:-1, 1:][square]  # upper left and right
    b, c = index[1:, :-1][square], index[1:, 1:][square]
    face = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
    half = np.concatenate([face[:, [0, 1]], face[:, [1, 2]], face[:, [2, 0]]])
    key, twin = half[:, 0] * count + half[:, 1], half[:, 1] * count + half[:, 0]
    u, v = half[~np.isin(key, twin)].T
    wall = np.concatenate([np.stack([v, u, u + count], 1), np.stack([v, u + count, v + count], 1)])
    faces = np.concatenate([face, face[:, ::-1] + count, wall])
    row, column = np.nonzero(used)
    x, y = (column + 0.5) / width * 2 - 1, 1 - (row + 0.5) / height * 2
    vertices = np.concatenate([np.stack([x, y, m[used]], 1) for m in (pair.front, pair.back)])
    return torch.from_numpy(vertices).float(), torch.from_numpy(faces.astype(np.int32))


def _without_pinches(depth: Array) -> Mask:
    """Squares (H - 1, W - 1) of four known pixels, less those that touch others at one corner only."""
    known = np.isfinite(depth)
    square: Mask = known[:-1, :-1] & known[:-1, 1:] & known[1:, :-1] & known[1:, 1:]
    while True:
        a, b, c, d = square[:-1, :-1], square[:-1, 1:], square[1:, :-1], square[1:, 1:]
        falling, rising = a & d & ~b & ~c, b & c & ~a & ~d
        if not (falling.any() or rising.any()):
            return square
        square = square.copy()
        square[:-1, :-1] &= ~falling
        square[:-1, 1:] &= ~rising
