"""Linear blend skinning between canonical and posed space: matrices, points and normals.

Canonical space is the body in the star pose; T_j carries joint j from there to the photographed pose. Column
vectors, metres.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from mien.core.errors import ConfigError, ShapeError

NormalTransport = Literal["exact", "official"]


def joint_transforms(posed: Tensor, star: Tensor) -> Tensor:
    """T_j = P_j S_j^-1: from the star pose to the photographed one.

    Args:
        posed: (..., J, 4, 4) P_j, from rest to the photographed pose.
        star: (..., J, 4, 4) S_j, from rest to the star pose.

    Returns:
        (..., J, 4, 4).
    """
    out: Tensor = posed @ torch.linalg.inv(star)
    return out


def blended_matrices(weights: Tensor, transforms: Tensor) -> Tensor:
    """VT(x) = sum_j w_j(x) T_j. O(B N J).

    Args:
        weights: (B, N, J), rows sum to 1.
        transforms: (B, J, 4, 4).

    Returns:
        (B, N, 4, 4).

    Raises:
        ShapeError: shapes that do not fit together.
    """
    batch, _, joints = weights.shape if weights.ndim == 3 else (-1, -1, -1)
    if transforms.shape != (batch, joints, 4, 4):
        raise ShapeError(
            f"expected weights (B, N, J) and transforms (B, J, 4, 4), got {tuple(weights.shape)} and "
            f"{tuple(transforms.shape)}"
        )
    mixed: Tensor = (weights @ transforms.flatten(2)).unflatten(2, (4, 4))
    return mixed


def transform_points(matrices: Tensor, points: Tensor) -> Tensor:
    """A [x; 1] without the last row: (..., 4, 4) and (..., 3) -> (..., 3). O(N).

    With vT of a point: canonical -> posed space; with calib: posed space -> the picture's box [-1, 1]^3.
    """
    return transform3(matrices[..., :3, :3], points) + matrices[..., :3, 3]


def transform3(matrices: Tensor, vectors: Tensor) -> Tensor:
    """A x: (..., 3, 3) and (..., 3) -> (..., 3). O(N)."""
    out: Tensor = (matrices @ vectors[..., None])[..., 0]
    return out


def inverse3(matrices: Tensor) -> Tensor:
    """Inverse of 3x3 matrices by cofactors, (..., 3, 3); many times as fast as LAPACK on many. O(N).

        A^-1 = [b x c, c x a, a x b] / (a . (b x c)) of the rows a, b, c

    >>> inverse3(torch.diag(torch.tensor([1.0, 2.0, 4.0]))).diagonal().tolist()
    [1.0, 0.5, 0.25]
    """
    a, b, c = matrices.unbind(-2)
    columns = [torch.linalg.cross(*pair) for pair in ((b, c), (c, a), (a, b))]
    volume = (a * columns[0]).sum(-1)
    inverse: Tensor = torch.stack(columns, -1) / volume[..., None, None]
    return inverse


def inverse_transform_points(matrices: Tensor, points: Tensor) -> Tensor:
    """A_3x3^-1 (x - t): the way back of `transform_points`, (..., 3). O(N)."""
    return transform3(inverse3(matrices[..., :3, :3]), points - matrices[..., :3, 3])


def normals_to_canonical(
    normals: Tensor, matrices: Tensor, calib: Tensor, transport: NormalTransport = "exact"
) -> Tensor:
    """Normals of the picture's box, brought to canonical space and normalised. O(N).

        exact:    n_c = normalize((C vT)^T n_p),   as a normal is a row of the surface's gradient
        official: n_c = normalize(vT^-1 C^-1 n_p), equal only where both are rotations

    with the 3x3 parts of vT and C.

    Args:
        normals: (B, N, 3) in the axes of calib's range; they need no unit length.
        matrices: (B, N, 4, 4) vT.
        calib: (B, 4, 4) C.
        transport: which.

    Returns:
        (B, N, 3); 0 where the normal is 0.

    Raises:
        ConfigError: no such transport.
    """
    if transport not in get_args(NormalTransport):
        raise ConfigError(f"normal transport {transport!r} is none of {', '.join(get_args(NormalTransport))}")
    c, v = calib[:, None, :3, :3], matrices[..., :3, :3]
    back = (c @ v).mT if transport == "exact" else inverse3(v) @ inverse3(c)
    return F.normalize(transform3(back, normals), dim=-1)
