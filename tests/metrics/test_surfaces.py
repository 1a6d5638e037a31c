"""Errors of surfaces: worked numbers, a slow twin, identities, soundness of meshes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import trimesh

from mien.core.errors import ConfigError, DataError
from mien.metrics import surfaces as s
from mien.render.iso import marching_cubes
from mien.render.normal_maps import draw_normals


class Mesh(NamedTuple):
    vertices: np.ndarray
    faces: np.ndarray


def ball(radius=0.5, shift=(0.0, 0, 0), subdivisions=3):
    made = trimesh.creation.icosphere(subdivisions, radius)
    return Mesh(made.vertices + np.array(shift), np.asarray(made.faces))


def joined(*meshes):
    first = np.cumsum([0, *(len(m.vertices) for m in meshes)])
    faces = [m.faces + n for m, n in zip(meshes, first, strict=False)]
    return Mesh(np.concatenate([m.vertices for m in meshes]), np.concatenate(faces))


TARGET = Mesh(np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]), np.array([[0, 1, 2]]))
PRED = Mesh(np.array([[0.0, 0, 0.1], [1, 0, 0.1], [0, 1, 0.3]]), np.array([[0, 1, 2]]))


def test_worked_numbers():
    """Check E: samples are the vertices."""
    options = {"protocol": "car", "samples": "vertices"}
    assert s.chamfer(PRED, TARGET, **options) == pytest.approx(16.666667, abs=1e-6)
    assert s.point_to_surface(PRED, TARGET, **options) == pytest.approx(16.666667, abs=1e-6)
    assert s.point_to_surface(TARGET, PRED, **options) == pytest.approx(16.666667, abs=1e-6)
    normals = np.array([[0, 0, 1.0], [0, 0.6, 0.8]])
    assert s.normal_difference(normals, np.array([[0, 0, 1.0], [0, 0, 1]])) == pytest.approx(0.05)


def test_direction_of_p2s_is_from_the_truth():
    half = Mesh(ball().vertices, ball().faces[ball().vertices[ball().faces].mean(1)[:, 2] > 0])
    assert s.point_to_surface(ball(), half) < 0.1 < 5 < s.point_to_surface(half, ball())


def slow_distance(p, a, b, c, grid=200):
    """The nearest of many points of the triangle."""
    u, v = np.meshgrid(np.linspace(0, 1, grid), np.linspace(0, 1, grid))
    u, v = u[u + v <= 1], v[u + v <= 1]
    return np.linalg.norm(a + u[:, None] * (b - a) + v[:, None] * (c - a) - p, axis=1).min()


def test_point_to_triangle_is_the_loop():
    rng = np.random.default_rng(0)
    p, a, b, c = rng.normal(size=(4, 40, 3))
    found = s.point_triangle_distance(p, a, b, c)
    slow = [slow_distance(*q) for q in zip(p, a, b, c, strict=True)]
    assert np.all(found <= np.array(slow) + 1e-12)
    assert np.allclose(found, slow, atol=2e-2)


def test_surface_distance_is_the_minimum_over_all_triangles():
    """Also where triangles differ a hundredfold in size, and for points far away."""
    rng = np.random.default_rng(1)
    floor = Mesh(np.array([[-40.0, -1, -40], [40, -1, -40], [0, -1, 40]]), np.array([[0, 1, 2]]))
    mesh = joined(ball(subdivisions=2), floor)
    points = np.concatenate([rng.normal(size=(30, 3)), 20 * rng.normal(size=(10, 3))])
    a, b, c = mesh.vertices[mesh.faces].swapaxes(0, 1)
    slow = [s.point_triangle_distance(np.broadcast_to(p, a.shape), a, b, c).min() for p in points]
    assert np.allclose(s.surface_distance(points, mesh), slow, atol=1e-12)


def test_a_mesh_against_itself():
    """Exact distances vanish; nearest vertices leave the spacing of the mesh: the protocols differ."""
    own = ball()
    assert s.chamfer(own, own) < 1e-6
    assert s.chamfer(own, own, protocol="car") > 0.5
    assert s.chamfer(own, own, protocol="car", samples="vertices") == 0
    assert s.normal_error(own, own) == 0
    assert s.normal_error(own, own, protocol="icon", draw=lambda v, f: draw_normals(v, f, 32)) == 0
    assert s.volume_iou(own, own) == 1


def test_concentric_balls():
    """5 cm apart everywhere, the same normals."""
    inner, outer = ball(0.5, subdivisions=4), ball(0.55, subdivisions=4)
    assert s.chamfer(inner, outer) == pytest.approx(5, abs=0.05)
    assert s.normal_error(inner, outer) < 1e-3
    assert s.volume_iou(inner, outer) == pytest.approx((0.5 / 0.55) ** 3, abs=5e-3)


def test_chamfer_follows_rigid_motion():
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    pred, target = ball(0.5, (0.1, 0, 0)), ball()
    moved = [Mesh(m.vertices @ turn.T + 3, m.faces) for m in (pred, target)]
    before = s.chamfer(pred, target, samples="vertices")
    assert s.chamfer(*moved, samples="vertices") == pytest.approx(before, rel=1e-9)


def test_volume_iou_of_boxes_is_known():
    box = trimesh.creation.box((1, 1, 1))
    one = Mesh(np.asarray(box.vertices), np.asarray(box.faces))
    moved = Mesh(one.vertices + np.array([0.5, 0, 0]), one.faces)
    assert s.volume_iou(one, moved) == pytest.approx(1 / 3, abs=1e-2)
    assert s.volume_iou(joined(one, moved), one) == pytest.approx(
        2 / 3, abs=1e-2
    )  # the union, not its parity
    assert s.volume_iou(one, Mesh(one.vertices + 5, one.faces)) == 0


def test_reprojected_normals_of_opposite_faces():
    """A square seen from the front and from behind: the turned one differs by |2 n|^2 / 4 = 1 where it is."""

    def draw(vertices, faces):
        out = np.zeros((2, 2, 3))
        out[0] = [0, 0, 1.0 if vertices[0, 2] >= 0 else -1.0]
        return out

    front = Mesh(np.array([[0, 0, 1.0], [1, 0, 1], [0, 1, 1]]), np.array([[0, 1, 2]]))
    back = Mesh(front.vertices * [1, 1, -1], front.faces)
    assert s.reprojected_normal_error(front, back, draw, angles=(0.0,)) == pytest.approx(0.5)
    assert s.reprojected_normal_error(front, front, draw) == 0


def test_soundness_of_meshes():
    sphere = marching_cubes(lambda x: x.norm(dim=1) - 0.5, [-1] * 3, [1] * 3, 48)
    assert s.is_watertight(sphere)
    assert s.euler_number(sphere) == 2
    assert s.self_intersections(sphere) == 0
    open_ball = Mesh(ball().vertices, ball().faces[1:])
    assert not s.is_watertight(open_ball)
    assert s.euler_number(open_ball) == 1


def test_self_intersections_are_those_of_all_pairs():
    mesh = joined(ball(0.5, subdivisions=1), ball(0.45, (0.3, 0.05, 0.02), 1))
    corners, (i, j) = mesh.vertices[mesh.faces], np.triu_indices(len(mesh.faces), 1)
    shared = np.array([bool(set(f) & set(g)) for f, g in zip(mesh.faces[i], mesh.faces[j], strict=True)])
    count = int((s.triangles_cross(corners[i], corners[j]) & ~shared).sum())
    assert count > 20
    assert s.self_intersections(mesh) == count
    assert s.self_intersections(joined(ball(0.5), ball(0.1))) == 0


def test_a_large_triangle_meets_small_ones():
    cut = Mesh(np.array([[-9.0, -9, 0.013], [9, -9, 0.013], [0, 9, 0.013]]), np.array([[0, 1, 2]]))
    assert s.self_intersections(joined(ball(), cut)) > 50


def test_triangles_that_touch_do_not_cross():
    one = np.array([[[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]])
    through = np.array([[[0.2, 0.2, -1.0], [0.2, 0.2, 1], [0.3, 0.2, 1]]])
    assert s.triangles_cross(one, through).all()
    assert not s.triangles_cross(one, through + np.array([0, 0, 1.0])).any()
    assert not s.triangles_cross(one, one + np.array([0.1, 0.1, 0])).any()


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: s.chamfer(PRED, TARGET, protocol="pifu"), ConfigError, "car, icon"),
        (lambda: s.normal_error(PRED, TARGET, protocol="pifu"), ConfigError, "car, icon"),
        (lambda: s.normal_error(PRED, TARGET, protocol="icon"), ConfigError, "draw"),
        (lambda: s.chamfer(PRED, TARGET, samples=0), ConfigError, "samples=0"),
        (lambda: s.volume_iou(PRED, TARGET, resolution=2), ConfigError, "resolution=2"),
        (lambda: s.volume_iou(PRED, TARGET), DataError, "closed"),
        (lambda: s.chamfer(Mesh(PRED.vertices, PRED.faces[:0]), TARGET), DataError, "no triangles"),
        (lambda: s.chamfer(Mesh(PRED.vertices * np.nan, PRED.faces), TARGET), DataError, "not finite"),
        (lambda: s.euler_number(Mesh(PRED.vertices, PRED.faces + 1)), DataError, "out of range"),
        (lambda: s.is_watertight(Mesh(PRED.vertices[:, :2], PRED.faces)), DataError, "vertices"),
    ],
)
def test_bad_input_is_named(call, error, words):
    with pytest.raises(error, match=words) as found:
        call()
    assert "\n" not in str(found.value)
