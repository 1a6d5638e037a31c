"""Capsules as meshes: geometry by hand, files that come back, parts that meet and move apart."""

import numpy as np
import pytest
import torch

from mien.core.errors import ConfigError, DataError
from mien.methods.igc_net.capsules import GraphicsCapsule, Light, ObjectCapsule
from mien.methods.igc_net.meshes import UNIT, exploded, grid_faces, merged, part_meshes, save, to_mesh
from mien.render.mesh_io import load_mesh


def wall(size=4, depth=1.0):
    """Two parts side by side at one depth; the upper row is background."""
    own = torch.full((1, size, size), depth)
    albedo = torch.full((1, 3, size, size), 0.5)
    code, zero = torch.zeros(1, 2), torch.zeros(1)
    part = GraphicsCapsule(own, albedo, own, code, code)
    visibility = torch.zeros(1, 3, size, size)
    visibility[:, 1, 1:, : size // 2] = 1
    visibility[:, 2, 1:, size // 2 :] = 1
    visibility[:, 0, 0] = 1
    light = Light(zero, zero, torch.zeros(1, 3))
    normal = torch.zeros(1, size, size, 3)
    return ObjectCapsule(own, albedo, normal, torch.zeros(1, 6), light, [part, part], visibility)


def normals(mesh):
    a, b, c = (mesh.vertices[mesh.faces[:, k]] for k in range(3))
    return np.cross(b - a, c - a)


def test_a_wall_by_hand():
    mesh = to_mesh(wall())
    assert len(mesh.vertices) == 12  # the upper row is gone
    assert len(mesh.faces) == 2 * 2 * 3
    reach = np.tan(np.deg2rad(5)) * UNIT
    assert mesh.vertices.min(0) == pytest.approx([-reach, -reach, 0], abs=1e-6)
    assert mesh.vertices[:, 1].max() == pytest.approx(reach / 3, abs=1e-6)  # y up
    assert (normals(mesh)[:, 2] > 0).all()  # seen from +z
    assert mesh.colors == pytest.approx(np.full((12, 3), 0.214), abs=1e-3)  # linear light of sRGB 0.5


def test_what_is_near_lies_towards_the_viewer():
    assert to_mesh(wall(depth=0.95)).vertices[:, 2] == pytest.approx(0.05 * UNIT, abs=1e-6)


def test_every_cell_has_two_triangles_and_every_inner_edge_two_owners():
    faces = grid_faces(5)
    assert len(faces) == 2 * 16
    edges = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), 1)
    _, count = np.unique(edges, axis=0, return_counts=True)
    assert (count == 1).sum() == 16  # the border
    assert count.max() == 2


def test_parts_share_the_surface_among_them():
    obj = wall()
    parts = part_meshes(obj)
    assert set(parts) == {0, 1}
    whole = len(to_mesh(obj).faces)
    # Triangles with two corners in a part are its own, so those in the upper row's cells may come on top.
    assert sum(len(m.faces) for m in parts.values()) >= whole
    assert len(merged(list(parts.values())).vertices) == sum(len(m.vertices) for m in parts.values())


def test_pulled_apart_each_moves_to_its_side():
    obj, own = wall(), part_meshes(wall())
    moved = exploded(obj, reach=0.05)
    shift = [moved[m].vertices.mean(0) - own[m].vertices.mean(0) for m in (0, 1)]
    assert shift[0][0] == pytest.approx(-0.05 * UNIT, rel=0.05)
    assert shift[1][0] == pytest.approx(0.05 * UNIT, rel=0.05)


def test_a_step_tears_the_surface():
    obj = wall()
    depth = obj.depth.clone()
    depth[..., 2:] += 0.05
    assert len(to_mesh(obj._replace(depth=depth)).faces) == 2 * 2 * 2


def test_nothing_seen_and_numbers_out_of_range():
    obj = wall()
    empty = torch.zeros_like(obj.visibility)
    empty[:, 0] = 1
    with pytest.raises(DataError, match="no surface"):
        to_mesh(obj._replace(visibility=empty))
    with pytest.raises(DataError, match="no part of this object is seen"):
        exploded(obj._replace(visibility=empty))
    with pytest.raises(ConfigError, match=r"no part 2; there are 0 \.\. 1"):
        to_mesh(obj, part=2)
    with pytest.raises(ConfigError, match=r"no object 1; there are 0 \.\. 0"):
        to_mesh(obj, 1)


@pytest.mark.parametrize("kind", ["obj", "ply", "glb"])
def test_files_come_back(kind, tmp_path):
    mesh = to_mesh(wall())
    again = load_mesh(save(tmp_path / f"face.{kind}", mesh))
    assert again.vertices == pytest.approx(mesh.vertices, abs=1e-5)
    assert len(again.faces) == len(mesh.faces)
