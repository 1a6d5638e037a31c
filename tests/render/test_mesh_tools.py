from __future__ import annotations

import numpy as np
import pytest
import torch

from mien.core.errors import ConfigError
from mien.render.mesh_tools import face_pairs, laplacian, largest_component, unique_edges
from tests.render.meshes import icosphere

TETRA = torch.tensor([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]], dtype=torch.int32)


def test_edges_pairs_and_laplacian_of_a_tetrahedron():
    assert unique_edges(TETRA).tolist() == [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]
    assert sorted(sorted(p) for p in face_pairs(TETRA).tolist()) == [
        [0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]
    ]  # fmt: skip
    assert sorted(face_pairs(TETRA[:2])[0].tolist()) == [0, 1]
    np.testing.assert_array_equal(laplacian(TETRA, 5).toarray()[:4, :4], 4 * np.eye(4) - 1)
    assert laplacian(TETRA, 5)[4].nnz == 0 or not laplacian(TETRA, 5)[4].toarray().any()


def test_the_largest_part_is_kept():
    P, F = icosphere(torch.float32, 1)
    points, faces = largest_component(torch.cat([torch.randn(4, 3), P, P + 3]), torch.cat([TETRA, F + 4]))
    assert torch.equal(points, P)
    assert torch.equal(faces, F)
    with pytest.raises(ConfigError, match="without faces"):
        largest_component(P, F[:0])
