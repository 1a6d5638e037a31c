from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from mien.core.errors import ShapeError
from mien.core.figures import COLOURS
from mien.methods.car import looks
from mien.render.mesh_io import Mesh
from mien.render.shading import irradiance
from tests.methods.car.shapes import analytic_maps, ellipsoid

CAMERA = looks.Camera((0.0, 0.0, 0.0), 1.0)


def square(z=0.0):
    """Two triangles that face the viewer, x and y in [-0.5, 0.5]."""
    v = np.array([[-0.5, -0.5, z], [0.5, -0.5, z], [0.5, 0.5, z], [-0.5, 0.5, z]], np.float32)
    return v, np.array([[0, 1, 2], [0, 2, 3]], np.int32)


def test_a_wall_facing_the_light_is_white_and_one_turned_away_darker():
    towards = torch.tensor([-0.35, 0.55, 0.76])
    towards = towards / towards.norm()
    level = irradiance(torch.stack([towards, -towards])[None], looks.soft_light())[0] / math.pi
    torch.testing.assert_close(level, torch.tensor([[1.0] * 3, [0.0] * 3]), atol=2e-3, rtol=0)


def test_colours_without_light_are_those_given_on_white():
    v, f = square()
    colors = np.tile(np.array([0.2, 0.4, 1.0]), (4, 1))
    drawn = looks.draw(v, f, CAMERA, 16, colors=colors, even=True)
    assert drawn.shape == (16, 16, 3)
    np.testing.assert_array_equal(drawn[4:12, 4:12], np.broadcast_to([51, 102, 255], (8, 8, 3)))
    drawn[4:12, 4:12] = 255
    assert (drawn == 255).all()


def test_the_rim_is_smooth():
    v, f = square()
    drawn = looks.draw(v + np.float32([1 / 16, 0, 0]), f, CAMERA, 16, colors=np.zeros((4, 3)), even=True)
    assert drawn[8, 4, 0] == drawn[8, 12, 0] == 128  # half a pixel each


def test_normals_of_an_ellipsoid():
    P, F = ellipsoid(5)
    drawn = looks.draw_normals(P, F, CAMERA, 96)
    n, _, _, mask = analytic_maps(96)
    n = np.moveaxis(n, 0, -1)
    inner = mask & (n[..., 2] > 0.3)
    gap = np.abs(drawn[inner] / 127.5 - 1 - n[inner])
    assert gap.max() < 0.05
    assert (drawn[~mask][:100] == 255).all()


def test_a_turned_look_is_that_of_the_turned_mesh():
    P, F = ellipsoid(3)
    P = P + torch.tensor([0.1, 0.0, 0.2]) * (P[:, 1:2] > 0)
    turned = torch.stack([P[:, 2], P[:, 1], -P[:, 0]], -1)  # by 90 degrees about y
    side = looks.Camera((0.0, 0.0, 0.0), 1.0, math.pi / 2)
    for draw in (looks.draw, looks.draw_normals):
        gap = np.abs(draw(P, F, side, 64).astype(int) - draw(turned, F, CAMERA, 64))
        assert gap.mean() < 0.2


def test_front_and_back_show_different_sides():
    v, f = square()
    faces = np.concatenate([f, f[:, ::-1] + 4])
    points = np.concatenate([v, v - np.float32([0, 0, 0.1])])
    colors = np.repeat([[1.0, 0, 0], [0, 0, 1.0]], 4, 0)
    front, back = looks.front_and_back(Mesh(points, faces), CAMERA, 16, colors=colors, even=True)
    assert front[8, 8].tolist() == [255, 0, 0]
    assert back[8, 8].tolist() == [0, 0, 255]


def test_a_camera_sees_everything_from_any_yaw():
    points = np.array([[3.0, 1.0, 0.0], [-1.0, 1.0, 4.0], [0.0, 2.0, 0.0]])
    camera = looks.camera_for(points[:1], points[1:])
    for yaw in np.linspace(0, 6, 13):
        own = looks.Camera(camera.middle, camera.half, yaw)
        assert float(own.turn(torch.from_numpy(points))[:, :2].abs().max()) <= 1


def test_maps_are_coloured_on_white():
    n = np.zeros((3, 1, 2), np.float32)
    n[2, 0, 0] = 1
    assert looks.map_picture(torch.from_numpy(n)).tolist() == [[[128, 128, 255], [255, 255, 255]]]


def test_colours_of_numbers():
    assert looks.heat([0.0, 1.0, 7.0])[1].tolist() == looks.rgb_of([COLOURS[1]])[0].tolist()
    assert looks.heat([7.0]).tolist() == looks.heat([1.0]).tolist()
    assert (looks.heat([0.0]) > 0.96).all()


def test_colours_of_another_mesh_are_refused():
    v, f = square()
    with pytest.raises(ShapeError, match=r"colors must be \(4, 3\) like the vertices, got \(3, 3\)"):
        looks.draw(v, f, CAMERA, 16, colors=np.zeros((3, 3)))
