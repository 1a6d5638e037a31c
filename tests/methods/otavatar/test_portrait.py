from __future__ import annotations

import numpy as np
import pytest
import torch

from mien.methods.otavatar.portrait import (
    face_square,
    is_profile,
    matte,
    silhouette,
)
from mien.methods.otavatar.rays import project
from mien.render.alignment import TEMPLATE
from mien.synth.body import people
from mien.synth.face import detail_for
from mien.synth.orbit import in_cube, orbit_cameras, photograph_orbit, studio
from mien.synth.portraits import make_face


def test_the_square_of_a_training_picture_is_that_picture():
    """Box of the 68 landmarks (brows to chin) of rendered people: the square around it is the picture."""
    names, squares = people().actions, []
    for who in range(3):
        camera = orbit_cameras(0.0)[0]
        picture = photograph_orbit(
            make_face(who, detail_for(32)), studio(who), camera, np.zeros(len(names), np.float32), names, 32
        )
        points = torch.tensor(in_cube(picture, picture.landmarks))[None]
        seen = project(points, torch.tensor(camera)[None, None])[0, 0].numpy()
        squares.append(face_square([*seen.min(0), *seen.max(0)]))
    assert np.mean(squares, 0) == pytest.approx((0, 0, 1), abs=0.06)


def test_the_silhouette_is_soft_and_holds_head_and_shoulders():
    mask = silhouette(64)
    assert mask.dtype == np.float32
    assert mask[29, 32] == mask[62, 32] == mask[62, 10] == 1  # face, collar, shoulder
    assert mask[1, 1] == mask[40, 1] == 0
    assert ((mask > 0) & (mask < 1)).any()
    assert np.allclose(mask, mask[:, ::-1], atol=1e-6)


def test_the_matte_follows_the_colours_between_core_and_outside():
    size = 64
    at = (np.arange(size) + 0.5) / size
    head = np.hypot((at[None] - 0.5) / 0.28, (at[:, None] - 0.45) / 0.36) < 1
    body = (at[:, None] > 0.8) & (abs(at[None] - 0.5) < 0.4)
    picture = np.full((size, size, 3), (90, 140, 200), np.uint8)
    picture[head | body] = (200, 140, 110)
    found = matte(picture)
    assert found.dtype == np.float32
    assert found.shape == (size, size)
    upper = at < 0.75
    assert np.abs(found - head)[upper].mean() < 0.01
    assert np.abs(silhouette(size) - head)[upper].mean() > 0.1  # knows no colours


def test_where_all_is_one_colour_the_matte_is_the_silhouette():
    grey = np.full((32, 32, 3), 90, np.uint8)
    assert np.array_equal(matte(grey), silhouette(32))
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    assert ((matte(noise) >= 0) & (matte(noise) <= 1)).all()


def test_profiles():
    assert not is_profile(TEMPLATE)
    turned = TEMPLATE.copy()
    turned[2, 0] += 0.7 * (TEMPLATE[1, 0] - TEMPLATE[0, 0])
    assert is_profile(turned)
    turn = np.array([[0.8, -0.6], [0.6, 0.8]])
    assert is_profile(turned @ turn.T)
    assert not is_profile(TEMPLATE @ turn.T)
    assert is_profile(np.zeros((5, 2)))
