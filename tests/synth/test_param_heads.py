"""Heads that are formulas: truth agrees with itself and with the picture."""

import numpy as np
import pytest

from mien.synth.param_heads import (
    PARTS,
    direction_at,
    draw_head,
    focal_pixels,
    param_view,
    relief,
    rotation_xyz,
    sample_head,
    sample_light,
    sample_view,
    surface_points,
    unhidden,
)

GREY = np.full((48, 48, 3), 0.5)
LIGHT = np.array([0.4, 0.6, 0.0, 0.0, 1.0])


def frontal(seed: int = 0, **flags: bool):
    return draw_head(sample_head(seed, **flags), np.zeros(6), LIGHT, GREY)


def test_pictures_are_a_function_of_their_numbers():
    first, again = param_view(0, 1, 2, 24), param_view(0, 1, 2, 24)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    other, person = param_view(0, 1, 3, 24), param_view(0, 2, 2, 24)
    assert not np.array_equal(first.view, other.view)
    assert not np.array_equal(first.albedo, person.albedo)


def test_truth_lies_where_the_head_is():
    seen = frontal()
    here = seen.depth > 0
    assert 0.3 < here.mean() < 0.8
    assert 0.9 < seen.depth[here].min() < seen.depth[here].max() < 1.1
    assert np.array_equal(here, seen.part > 0)
    assert set(np.unique(seen.part)) == set(range(len(PARTS)))
    assert np.allclose(np.linalg.norm(seen.normal[here], axis=-1), 1, atol=1e-5)
    assert (seen.normal[~here] == 0).all()
    assert (seen.image[0, 0] == 128).all()


def test_the_picture_is_the_albedo_in_the_light():
    seen = frontal()
    inner = (seen.part == PARTS.index("skin")) & (seen.normal[..., 2] > 0.6)
    lit = np.clip(seen.albedo * (0.4 + 0.6 * seen.normal[..., 2:]), 0, 1)
    assert np.abs(lit - seen.image / 255)[inner].mean() < 0.02


def test_normals_are_those_of_the_depth():
    seen, size = draw_head(sample_head(0), np.zeros(6), LIGHT, np.full((96, 96, 3), 0.5)), 96
    at = (np.arange(size) - (size - 1) / 2) / focal_pixels(size)
    points = seen.depth[..., None] * np.stack([*np.meshgrid(at, at), np.ones((size, size))], -1)
    across, down = np.zeros_like(points), np.zeros_like(points)
    across[1:-1, 1:-1] = points[1:-1, 2:] - points[1:-1, :-2]
    down[1:-1, 1:-1] = points[2:, 1:-1] - points[:-2, 1:-1]
    normal = np.cross(across, down)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True) + 1e-12
    inner = (seen.part == PARTS.index("skin")) & (seen.normal[..., 2] > 0.7)
    angle = np.degrees(np.arccos(np.clip((normal * seen.normal).sum(-1)[inner], -1, 1)))
    assert np.median(angle) < 3


def test_a_turn_moves_the_nose_as_the_view_says():
    head = sample_head(3)
    tip = surface_points(head, direction_at(head, np.zeros(1), np.full(1, 0.20)))[0]
    view = np.array([0.1, np.deg2rad(25), 0, 0.01, 0, 0])
    seen = draw_head(head, view, LIGHT, GREY)
    x, y, z = rotation_xyz(view[:3]) @ tip + [0.01, 0, 1]
    where = focal_pixels(48) * np.array([x, y]) / z + 23.5
    assert np.allclose(seen.landmarks[2], where, atol=1e-3)
    assert seen.visible.all()
    column, row = np.round(where).astype(int)
    assert seen.depth[row, column] == pytest.approx(z, abs=0.004)


def test_symmetric_heads_look_symmetric_and_the_flag_ends_it():
    head = sample_head(5)
    x, y = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 100))
    assert np.allclose(relief(head, x, y), relief(head, -x, y))
    uneven = sample_head(5, asymmetry=True)
    assert not np.allclose(relief(uneven, x, y), relief(uneven, -x, y))
    marks = draw_head(uneven, np.zeros(6), LIGHT, GREY).landmarks
    assert abs(marks[0, 1] - marks[1, 1]) > 0.05


def test_flags_change_only_what_they_name():
    plain, glasses = frontal(1), frontal(1, glasses=True)
    wearers = [k for k in range(12) if sample_head(k, glasses=True).glasses]
    assert 2 < len(wearers) < 10
    own = wearers[0]
    plain, glasses = frontal(own), frontal(own, glasses=True)
    assert np.array_equal(plain.depth, glasses.depth)
    assert not np.array_equal(plain.image, glasses.image)
    locks = [k for k in range(12) if sample_head(k, hair=True).fringe != sample_head(k).fringe]
    hair = [
        (frontal(k, hair=flag).part == PARTS.index("hair")).sum() for k in locks[:1] for flag in (False, True)
    ]
    assert hair[1] > hair[0]


def test_ranges_of_views_and_lights():
    rng = np.random.default_rng(0)
    views = np.rad2deg([sample_view(rng)[:3] for _ in range(300)])
    assert np.abs(views).max(0) == pytest.approx([17, 40, 0], abs=1.5)
    lights = np.array([sample_light(rng) for _ in range(300)])
    assert np.allclose(np.linalg.norm(lights[:, 2:], axis=1), 1, atol=1e-6)
    assert np.degrees(np.arccos(lights[:, 4])).max() < 35.01
    assert (lights[:, :2].min(0) >= [0.3, 0.4]).all()


def test_what_lies_behind_is_hidden():
    depth = np.zeros((5, 5))
    depth[1:4, 1:4] = 0.95
    marks = np.array([[2.5, 2.5, 0.95], [2.5, 2.5, 0.99], [-1, 2.5, 0.9], [2.5, 5.5, 0.9]])
    assert unhidden(marks, depth, 0.01).tolist() == [True, False, False, False]
