"""Cameras around a head, and what they see."""

from __future__ import annotations

import numpy as np
import torch

from mien.render.eg3d import eg3d_rays
from mien.synth.body import people
from mien.synth.face import CHEAP, rotation
from mien.synth.orbit import head_turn, in_cube, orbit_cameras, photograph_orbit, ray_lengths, studio
from mien.synth.portraits import make_face

NAMES = people().actions
REST = np.zeros(len(NAMES), np.float32)


def test_turned_head_before_a_still_camera_is_a_camera_that_turned_the_other_way() -> None:
    camera = orbit_cameras(0.4, -0.2)[0]
    r = rotation(*head_turn(camera))
    place = camera[:16].reshape(4, 4)[:3, 3]
    assert np.allclose(r @ place, [0, 0, 2.7], atol=1e-5)
    assert place[0] > 0
    assert place[1] > 0  # pitch below 0: from above


def test_points_are_where_their_rays_meet_the_surface() -> None:
    """Landmark back to the cube = origin + distance along the ray through its pixel."""
    person, size = make_face(3, CHEAP), 96
    camera = orbit_cameras(0.3, 0.1)
    picture = photograph_orbit(person, studio(3), camera[0], REST, NAMES, size)
    rays = eg3d_rays(torch.from_numpy(camera), size)
    lengths = ray_lengths(picture)
    points = in_cube(picture, picture.landmarks)
    tip = points[30]
    column, row = np.floor(picture.landmarks[30, :2]).astype(int)
    met = rays.origins[0, row, column] + float(lengths[row, column]) * rays.directions[0, row, column]
    assert np.abs(met.numpy() - tip).max() < 0.03
    assert np.isinf(lengths[0, 0])
    assert tip[2] > 0.3


def test_a_face_keeps_its_points_and_its_light_from_all_sides() -> None:
    person, shot = make_face(5, CHEAP), studio(5)
    cameras = orbit_cameras([0.0, 0.35], [0.0, 0.15])
    front, side = (photograph_orbit(person, shot, c, REST, NAMES, 96) for c in cameras)
    assert np.abs(in_cube(front, front.landmarks) - in_cube(side, side.landmarks)).max() < 1e-3
    tones = []
    for p in (front, side):
        x, y = p.landmarks[[31, 35], :2].mean(0).astype(int)  # below the nose
        tones.append(p.rgb[y + 2, x].astype(float))
    assert np.abs(tones[0] - tones[1]).max() < 40
    assert (front.rgb[0, 0] == 255).all()
    assert front.alpha[0, 0] == 0
    assert front.alpha.max() == 1


def test_wide_mouth_lowers_the_chin() -> None:
    person, shot, camera = make_face(7, CHEAP), studio(7), orbit_cameras(0.0)[0]
    wide = REST.copy()
    wide[NAMES.index("jawOpen")] = 1.0
    shut, opened = (
        in_cube(p, p.landmarks)
        for p in (photograph_orbit(person, shot, camera, row, NAMES, 64) for row in (REST, wide))
    )
    assert opened[8, 1] < shut[8, 1] - 0.02
    assert np.abs(opened[36:48] - shut[36:48]).max() < 0.01
