"""Front and back normals of meshes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import trimesh

from mien.core.errors import ConfigError
from mien.render.normal_maps import depth_pair, draw_normals, normal_maps, vertex_normals


def ball(radius=0.5):
    made = trimesh.creation.icosphere(4, radius)
    return torch.tensor(made.vertices[None], dtype=torch.float32), torch.tensor(np.array(made.faces))


def test_normals_of_a_ball_are_its_points():
    points, faces = ball()
    assert torch.allclose(vertex_normals(points, faces), points / 0.5, atol=2e-2)
    maps = normal_maps(points, faces, 64, 64)
    at = (torch.arange(64) + 0.5) / 32 - 1
    x, y = at[None, :].expand(64, 64), -at[:, None].expand(64, 64)
    z = (0.25 - x**2 - y**2).clamp(min=0).sqrt()
    inner = (x**2 + y**2).sqrt() < 0.45
    for found, side in ((maps.front, 1.0), (maps.back, -1.0)):
        truth = torch.stack([x, y, side * z], -1) / 0.5
        assert torch.allclose(found[0][inner], truth[inner], atol=2e-2)
    assert maps.mask[0][inner].all()
    assert not maps.mask[0, 0].any()
    assert (maps.front[~maps.mask] == 0).all()


def test_depths_of_a_ball():
    """z = +-sqrt(r^2 - x^2 - y^2), larger is nearer; nothing beside it."""
    points, faces = ball()
    near, far = depth_pair(points + torch.tensor([0, 0, 0.1]), faces, 64, 64)
    at = (torch.arange(64) + 0.5) / 32 - 1
    square = at[None, :] ** 2 + at[:, None] ** 2
    inner = square.sqrt() < 0.45
    z = (0.25 - square).clamp(min=0).sqrt()
    assert torch.allclose(near[0][inner], 0.1 + z[inner], atol=1e-2)
    assert torch.allclose(far[0][inner], 0.1 - z[inner], atol=1e-2)
    mask = normal_maps(points, faces, 64, 64).mask
    for depth in (near, far):
        assert torch.equal(depth.isfinite(), mask)
        assert depth.isnan()[~mask].all()


def test_half_is_what_the_picture_shows():
    points, faces = ball()
    assert torch.equal(
        normal_maps(2 * points, faces, 32, 32, half=2.0).front, normal_maps(points, faces, 32, 32).front
    )
    assert np.array_equal(
        draw_normals(points[0].numpy(), faces.numpy(), 32), normal_maps(points, faces, 32, 32).front[0]
    )


def test_a_sheet_seen_from_behind_is_turned_to_the_viewer():
    sheet = torch.tensor([[[-1.0, -1, 0], [-1, 1, 0], [1, -1, 0]]])
    faces = torch.tensor([[0, 1, 2]])  # clockwise: its normal is -z
    maps = normal_maps(sheet, faces, 8, 8)
    assert (maps.front[maps.mask][:, 2] == 1).all()
    assert (maps.back[maps.mask][:, 2] == -1).all()


def test_gradients_reach_the_points():
    points, faces = ball()
    own = points.clone().requires_grad_()
    normal_maps(own, faces, 16, 16).front[..., 2].sum().backward()
    assert own.grad.abs().sum() > 0
    one = torch.randn(
        1, 5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True
    )
    assert torch.autograd.gradcheck(lambda p: vertex_normals(p, torch.tensor([[0, 1, 2], [2, 3, 4]])), one)


def test_bad_half():
    with pytest.raises(ConfigError, match="half=0"):
        normal_maps(*ball(), 8, 8, half=0)
