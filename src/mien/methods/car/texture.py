"""Colours of a whole avatar from one picture: project, mirror, in-paint; and where each came from.

The method page calls this no contribution of the paper; the scheme is a reconstruction.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.linalg import cg
from scipy.spatial import cKDTree
from torch import Tensor

from mien.core.errors import DataError, ShapeError
from mien.methods.car.view import facing, sample_map
from mien.render.mesh_tools import laplacian
from mien.render.normal_maps import vertex_normals

_TINY = 1e-6  # pull of every vertex to the mean colour: parts without any colour take it


class Source(IntEnum):
    """What is known of a vertex, best first."""

    VISIBLE = 0  # the picture shows it
    SYMMETRIC = 1  # the picture shows its mirror image
    BODY = 2  # unseen, but near the body that was given
    EXTRAPOLATED = 3  # none of these


class Texture(NamedTuple):
    """What `paint` finds for each vertex.

    Attributes:
        colors: (V, 3) in [0, 1], as the picture's.
        provenance: (V,) uint8 `Source`.
        uncertainty: (V,) in [0, 1]: a ranking of the vertices, not a probability.
    """

    colors: Tensor
    provenance: Tensor
    uncertainty: Tensor


def mirror_partners(points: Tensor, normals: Tensor, seen: Tensor, reach: float = 0.03) -> Tensor:
    """For each vertex the seen vertex nearest to its mirror image (-x, y, z). O(V log V).

    Args:
        points: (V, 3) metres, canonical pose: the body is symmetric in x.
        normals: (V, 3) unit; those of partners, mirrored, differ by less than 60 degrees.
        seen: (V,) booleans.
        reach: largest distance, metres.

    Returns:
        (V,) indices, -1 where there is none.
    """
    known = torch.nonzero(seen)[:, 0]
    if not len(known):
        return torch.full_like(seen, -1, dtype=torch.long)
    flip = points.new_tensor([-1.0, 1.0, 1.0])
    tree = cKDTree(points[known].detach().cpu().double().numpy())
    distance, index = tree.query((points * flip).detach().cpu().double().numpy())
    partner = known[torch.from_numpy(index).to(known.device)]
    alike = (normals[partner] * normals * flip).sum(-1) > 0.5
    near = torch.from_numpy(distance <= reach).to(alike.device)
    return torch.where(alike & near, partner, -1)


def inpaint(values: Tensor, weights: Tensor, F: Tensor, smooth: float = 1e-3) -> Tensor:
    """Values of all vertices from weighted values of some, by conjugate gradients.

        min_c  sum_v w_v |c_v - t_v|^2 + smooth sum_edges |c_i - c_j|^2 + e sum_v |c_v - mean|^2

    with e = 1e-6 smooth.
    Where w = 0 the result is harmonic on the mesh's graph; a part without any weight takes the weighted mean.
    About O(V^1.5) time, O(V) memory.

    Args:
        values: (V, C) t.
        weights: (V,) w >= 0.
        F: (T, 3).
        smooth: of the values that are known.

    Raises:
        DataError: no vertex has a weight.
        ShapeError: values and weights that do not fit together.
    """
    if values.ndim != 2 or weights.shape != values.shape[:1]:
        raise ShapeError(
            f"values (V, C) and weights (V,), got {tuple(values.shape)} and {tuple(weights.shape)}"
        )
    t, w = values.detach().cpu().double().numpy(), weights.detach().cpu().double().numpy()
    if not w.sum() > 0:
        raise DataError("no vertex has a known colour; check that the mesh lies in the picture's mask")
    mean = (w[:, None] * t).sum(0) / w.sum()
    system = (sparse.diags(w + _TINY * smooth) + smooth * laplacian(F, len(t))).tocsr()
    jacobi, goal = sparse.diags(1 / system.diagonal()), w[:, None] * t + _TINY * smooth * mean
    columns = [
        cg(system, b, x0=np.full(len(t), m), rtol=1e-5 * smooth, maxiter=5000, M=jacobi)[0]
        for b, m in zip(goal.T, mean, strict=True)
    ]
    found = np.stack(columns, 1)
    return torch.from_numpy(found).to(values)


def sources(seen: Tensor, mirrored: Tensor, body_distance: Tensor, reach: float = 0.03) -> Tensor:
    """(V,) uint8 `Source`: the best that holds of each vertex.

    Args:
        seen: (V,) booleans.
        mirrored: (V,) booleans: a partner is seen.
        body_distance: (V,) metres to the given body.
        reach: metres within which the body vouches for a vertex.
    """
    out = torch.full_like(seen, Source.EXTRAPOLATED, dtype=torch.uint8)
    out[body_distance <= reach] = Source.BODY
    out[mirrored] = Source.SYMMETRIC
    out[seen] = Source.VISIBLE
    return out


def uncertainty(cosine: Tensor, partner: Tensor, body_distance: Tensor) -> Tensor:
    """(V,) 1 - max(cos_v, cos_partner / 2, exp(-d_v / 5 cm) / 4).

    Args:
        cosine: (V,) of `facing`.
        partner: (V,) of `mirror_partners`.
        body_distance: (V,) metres to the given body.
    """
    mirrored = torch.where(partner >= 0, cosine[partner.clamp(min=0)], 0) / 2
    return 1 - torch.maximum(torch.maximum(cosine, mirrored), torch.exp(-body_distance / 0.05) / 4)


def paint(
    view: Tensor,
    canonical: Tensor,
    F: Tensor,
    picture: Tensor,
    mask: Tensor,
    body: Tensor,
    *,
    least: float = 0.2,
    erode: int = 2,
    size: int = 512,
) -> Texture:
    """Colours, provenance and uncertainty of a mesh from one picture. See `inpaint` for the cost.

    Seen vertices take the picture's colour with weight cos = n_z, unseen ones that of their mirror image with
    half its weight; the rest is in-painted.

    Args:
        view: (V, 3) the posed mesh in the view box.
        canonical: (V, 3) metres, the same mesh in the canonical pose.
        F: (T, 3) counter-clockwise.
        picture: (3, H, W) in [0, 1].
        mask: (H, W) booleans.
        body: (Vb, 3) metres, the body in the canonical pose.
        least: cosine below which a vertex counts as unseen.
        erode: see `facing`.
        size: see `facing`.

    Raises:
        DataError: the picture shows nothing of the mesh.
        ShapeError: arrays that do not fit together.
    """
    if picture.ndim != 3 or picture.shape[1:] != mask.shape or view.shape != canonical.shape:
        raise ShapeError(
            f"picture {tuple(picture.shape)} and mask {tuple(mask.shape)}, or view {tuple(view.shape)} and"
            f" canonical mesh {tuple(canonical.shape)}, do not fit together"
        )
    cosine = facing(view, F, mask, erode=erode, size=size)
    cosine = cosine * (cosine >= least)
    seen = cosine > 0
    partner = mirror_partners(canonical, vertex_normals(canonical, F), seen)
    partner[seen] = -1
    mirrored, of = partner >= 0, partner.clamp(min=0)
    colors = sample_map(picture, view)
    colors = torch.where(mirrored[:, None], colors[of], colors)
    weights = torch.where(mirrored, cosine[of] / 2, cosine)
    tree = cKDTree(body.detach().cpu().double().numpy())
    distance = torch.from_numpy(tree.query(canonical.detach().cpu().double().numpy())[0]).to(view)
    return Texture(
        inpaint(colors, weights, F).clamp(0, 1),
        sources(seen, mirrored, distance),
        uncertainty(cosine, partner, distance),
    )
