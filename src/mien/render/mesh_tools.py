"""Small operations on the graph of a triangle mesh: edges, neighbours, Laplacian, components."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from mien.core.errors import ConfigError


def unique_edges(F: Tensor) -> Tensor:
    """Edges (E, 2) of faces (T, 3), each once, the smaller index first. O(T log T)."""
    f = F.long()
    ends = torch.cat([f[:, [0, 1]], f[:, [1, 2]], f[:, [2, 0]]]).sort(-1).values
    return torch.unique(ends, dim=0)


def face_pairs(F: Tensor) -> Tensor:
    """Faces (E, 2) that share an edge which has exactly two of them. O(T log T)."""
    f = F.long()
    ends = torch.cat([f[:, [0, 1]], f[:, [1, 2]], f[:, [2, 0]]]).sort(-1).values
    _, edge, count = torch.unique(ends, dim=0, return_inverse=True, return_counts=True)
    face = torch.arange(len(f), device=f.device).repeat(3)
    order = edge.argsort(stable=True)
    return face[order[count[edge[order]] == 2]].reshape(-1, 2)


def laplacian(F: Tensor, count: int) -> Any:
    """Graph Laplacian D - A of a mesh of ``count`` vertices, (V, V) float64 CSR, positive semi-definite."""
    i, j = unique_edges(F).cpu().numpy().T
    ones = np.ones(len(i))
    a = sparse.coo_matrix((ones, (i, j)), (count, count))
    a = (a + a.T).tocsr()
    return sparse.diags(np.asarray(a.sum(1)).ravel()) - a


def largest_component(P: Tensor, F: Tensor) -> tuple[Tensor, Tensor]:
    """The connected part with most faces: vertices (V', 3) in their old order, faces (T', 3) int32. O(T).

    Raises:
        ConfigError: a mesh without faces.
    """
    if not len(F):
        raise ConfigError("a mesh without faces has no largest part")
    i, j = unique_edges(F).cpu().numpy().T
    graph = sparse.coo_matrix((np.ones(len(i)), (i, j)), (len(P), len(P)))
    _, label = sparse.csgraph.connected_components(graph, directed=False)
    own = torch.from_numpy(label).to(F.device)
    of_face = own[F[:, 0].long()].long()
    kept = of_face == torch.bincount(of_face).argmax()
    faces = F[kept].long()
    used, index = torch.unique(faces, return_inverse=True)
    return P[used], index.to(torch.int32)
