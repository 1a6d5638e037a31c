from __future__ import annotations

import pytest
import torch

from mien.core.errors import ShapeError
from mien.methods.car.view import eroded, facing, from_view, sample_map, seen_vertices, to_view
from mien.render.normal_maps import vertex_normals
from tests.methods.car.shapes import ellipsoid


def test_the_view_box_is_the_range_of_calib_with_y_up():
    calib = torch.diag(torch.tensor([0.9, -0.9, 0.9, 1.0]))
    calib[:3, 3] = torch.tensor([0.1, -0.2, 0.3])
    points = torch.tensor([[0.5, 1.0, -0.5]])
    torch.testing.assert_close(to_view(points, calib), torch.tensor([[0.55, 1.1, -0.15]]))
    torch.testing.assert_close(from_view(to_view(points, calib), calib), points)


def test_a_map_is_read_at_pixel_centres():
    image = torch.arange(12.0).view(1, 3, 4)
    at = torch.tensor(
        [[0.5 / 4 * 2 - 1, 1 - 0.5 / 3 * 2, 9.0], [2.5 / 4 * 2 - 1, 1 - 1.5 / 3 * 2, 0], [5, -5, 0]]
    )
    torch.testing.assert_close(sample_map(image, at), torch.tensor([[0.0], [6.0], [11.0]]))
    with pytest.raises(ShapeError, match="a map"):
        sample_map(image[0], at)


def test_erosion_keeps_the_rim_of_the_picture():
    mask = torch.zeros(6, 6, dtype=torch.bool)
    mask[:, :4] = True
    assert torch.equal(eroded(mask, 2)[3], torch.tensor([1, 1, 0, 0, 0, 0], dtype=torch.bool))
    assert torch.equal(eroded(mask, 0), mask)


def test_the_front_half_is_seen_unless_something_hides_it():
    P, F = ellipsoid(3)
    n_z = vertex_normals(P, F)[:, 2]
    seen = seen_vertices(P, F, 256)
    assert seen[n_z > 0.2].all()
    assert not seen[n_z < -0.2].any()
    whole = torch.ones(64, 64, dtype=torch.bool)
    weight = facing(P, F, whole)
    torch.testing.assert_close(weight[n_z > 0.2], n_z[n_z > 0.2])
    shield = torch.tensor([[-1.0, 0, 0.9], [1, 0, 0.9], [0, 1, 0.9]])
    hidden = facing(torch.cat([P, shield]), torch.cat([F, F.new_tensor([[0, 1, 2]]) + len(P)]), whole)[
        : len(P)
    ]
    covered = (P[:, 1] > 0.15) & (P[:, 1] < 0.3) & (n_z > 0.2)
    assert not hidden[covered].any()
    assert not facing(P, F, ~whole).any()
