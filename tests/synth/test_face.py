from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mien.synth.face import CHEAP, FULL, detail_for, rotation
from mien.synth.looks import sample_shot
from mien.synth.portraits import photograph

from .made import person


def test_rotation_turns_as_documented():
    forward, up = np.array([0, 0, 1.0]), np.array([0, 1.0, 0])
    left = rotation(0.3, 0, 0) @ forward
    np.testing.assert_allclose(left, [np.sin(0.3), 0, np.cos(0.3)], atol=1e-6)  # to the subject's left, +x
    assert (rotation(0, 0.3, 0) @ forward)[1] == pytest.approx(-np.sin(0.3), abs=1e-6)  # pitch down
    np.testing.assert_allclose(rotation(0, 0, 0.2) @ up, [-np.sin(0.2), np.cos(0.2), 0], atol=1e-6)
    r = rotation(0.4, -0.2, 0.1)
    np.testing.assert_allclose(r, rotation(0.4, 0, 0) @ rotation(0, -0.2, 0) @ rotation(0, 0, 0.1), atol=1e-6)
    assert np.linalg.det(r) == pytest.approx(1, abs=1e-6)


def test_detail_grows_with_size():
    assert detail_for(64) == CHEAP
    assert detail_for(512) == FULL
    grown = [detail_for(size) for size in (32, 64, 65, 128, 256, 512)]
    for name in ("supersample", "strands", "maps", "side", "per_pixel"):
        assert (np.diff([float(getattr(d, name)) for d in grown]) >= 0).all(), name


def test_a_turned_head_looks_to_its_left():
    shot = sample_shot(2, frontal=True, glasses=0)
    pictures = {yaw: photograph(person(12), replace(shot, yaw=yaw), 64) for yaw in (-0.5, 0.5)}
    nose = {yaw: p.landmarks[30, 0] - p.landmarks[27:28, 0].mean() for yaw, p in pictures.items()}
    assert nose[0.5] > 1 > -1 > nose[-0.5]  # the subject's left is right in the picture
    left_cheek = {yaw: (p.canon[p.part == 1][:, 0] > 0).mean() for yaw, p in pictures.items()}
    assert left_cheek[0.5] < 0.45 < 0.55 < left_cheek[-0.5]


def test_glasses_and_shirt_do_not_change_the_face_below():
    from mien.synth.facial_hair import Frames

    bare = sample_shot(2, frontal=True, glasses=0)
    frames = Frames(0.3, 0.23, 3.0, 0.03, (0.01, 0.01, 0.01))
    a, b = (photograph(person(12), replace(bare, frames=f), 64) for f in (None, frames))
    changed = a.part != b.part
    assert 10 < changed.sum() < 400
    assert (b.depth[changed] < a.depth[changed] + 1e-6).all()  # in front of the face
    same = ~changed & (a.part == 1)
    np.testing.assert_allclose(a.canon[same], b.canon[same], atol=1e-5)
