from __future__ import annotations

import math

import pytest
import torch
import trimesh

from mien.core.errors import ConfigError, DataError
from mien.render import marching_cubes

BOX = (-0.5, -0.5, -0.5), (0.5, 0.5, 0.5)


class Counted:
    """A field that counts what it is asked."""

    def __init__(self, field):
        self.field, self.count = field, 0

    def __call__(self, p):
        assert p.dtype == torch.float32
        assert not torch.is_grad_enabled()
        self.count += len(p)
        return self.field(p)


def sphere(p):
    return p.norm(dim=-1) - 0.4


def torus(p):
    return torch.stack([p[:, :2].norm(dim=-1) - 0.33, p[:, 2]], -1).norm(dim=-1) - 0.1


@pytest.mark.parametrize("field", [sphere, torus])
@pytest.mark.parametrize(("resolution", "coarse"), [(64, 8), (64, 16), ((70, 61, 55), 10), (37, 9)])
def test_the_octree_gives_the_mesh_of_the_dense_grid(field, resolution, coarse):
    few = Counted(field)
    a = marching_cubes(few, *BOX, resolution, coarse=coarse)
    b = marching_cubes(field, *BOX, resolution, coarse=None)
    assert torch.equal(a.vertices, b.vertices)
    assert torch.equal(a.faces, b.faces)
    assert a.evaluations == few.count < 0.7 * b.evaluations


def test_how_many_points_a_ball_takes():
    a = marching_cubes(sphere, *BOX, 128, coarse=16)
    assert a.evaluations < 129**3 / 7


@pytest.mark.parametrize(("field", "volume", "euler"), [(sphere, 0.268083, 2), (torus, 0.065140, 0)])
def test_outward_and_closed(field, volume, euler):
    a = marching_cubes(field, *BOX, 64)
    mesh = trimesh.Trimesh(a.vertices, a.faces, process=False)
    assert mesh.is_watertight
    assert mesh.euler_number == euler
    assert mesh.volume == pytest.approx(volume, rel=5e-3)
    assert float(field(a.vertices).abs().max()) < 2e-3  # metres
    assert (a.vertices.dtype, a.faces.dtype) == (torch.float32, torch.int32)


def test_inside_above_and_other_levels():
    a = marching_cubes(lambda p: -sphere(p), *BOX, 40, inside="above", level=0.1)  # radius 0.3
    mesh = trimesh.Trimesh(a.vertices, a.faces, process=False)
    assert mesh.volume == pytest.approx(4 / 3 * math.pi * 0.3**3, rel=2e-2)


def test_a_box_of_other_sides_and_a_steep_field():
    field = lambda p: 5 * ((p - torch.tensor([1.0, 2.0, 3.0])).norm(dim=-1) - 0.4)  # noqa: E731
    box = (0.5, 1.4, 2.5), (1.6, 2.5, 3.7)
    a = marching_cubes(field, *box, (48, 40, 64), coarse=8, lipschitz=5)
    b = marching_cubes(field, *box, (48, 40, 64), coarse=None, chunk=1000)
    assert torch.equal(a.vertices, b.vertices)
    assert trimesh.Trimesh(a.vertices, a.faces, process=False).volume == pytest.approx(0.268, rel=2e-2)


def test_a_network_is_a_field():
    torch.manual_seed(0)
    net = torch.nn.Linear(3, 1)
    a = marching_cubes(lambda p: net(p)[:, 0] - net.bias, *BOX, 16, coarse=4)
    assert len(a.faces) > 0
    assert not a.vertices.requires_grad


@pytest.mark.parametrize("coarse", [None, 4])
@pytest.mark.parametrize("value", [1.0, -1.0, 0.0])
def test_no_surface(coarse, value):
    with pytest.raises(DataError, match=r"no surface: the field is .* never crosses 0"):
        marching_cubes(lambda p: torch.full((len(p),), value), *BOX, 16, coarse=coarse)


def test_wrong_input_says_so():
    for args, kwargs, text in (
        (((0, 0, 0), (1, 1, 0), 8), {}, "lower < upper"),
        (((0, 0), (1, 1), 8), {}, "three numbers"),
        ((*BOX, 0), {}, "resolution"),
        ((*BOX, 2000), {}, "resolution"),
        ((*BOX, 8), {"coarse": 0}, "coarse"),
        ((*BOX, 8), {"lipschitz": 0.0}, "lipschitz"),
        ((*BOX, 8), {"inside": "left"}, "inside"),
    ):
        with pytest.raises(ConfigError, match=text):
            marching_cubes(sphere, *args, **kwargs)
    with pytest.raises(ConfigError, match=r"the field gave \(729, 1\) for 729 points"):
        marching_cubes(lambda p: p[:, :1], *BOX, 8)
    with pytest.raises(DataError, match="not finite at"):
        marching_cubes(lambda p: p[:, 0] / 0, *BOX, 8)
