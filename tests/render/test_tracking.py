from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.core.errors import DataError, ShapeError
from mien.render.tracking import euler_rotations, nearest_rotations, tracker_to_camera

ANGLES = [[0.1, 0.25, -0.05], [0.12, 0.15, -0.02], [0.09, 0.3, 0.01]]
TRANSLATION = [[0.02, 0.05, -0.3], [0.03, 0.04, -0.25], [0.01, 0.075, -0.28]]
FOCAL = [1050, 1100, 1000]


def loop(angles, translation, focal):
    """The correct form, one frame and one sum at a time, with the polar decomposition by Newton steps."""
    out = []
    for i in range(len(angles)):
        near = [j for j in (i - 1, i, i + 1) if 0 <= j < len(angles)]
        r, t = np.zeros((3, 3)), np.zeros(3)
        for j in near:
            x, y, z = -angles[j][0], -angles[j][1], angles[j][2]
            about_x = [[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]]
            about_y = [[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]]
            about_z = [[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]]
            r += (np.array(about_z) @ about_y @ about_x).T / len(near)
            t += np.array(translation[j]) / len(near)
        for _ in range(30):
            r = (r + np.linalg.inv(r).T) / 2
        t[2] -= 10
        place = -(r @ t) * 0.27
        place[1] += 0.015
        place[2] += 0.161
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = r @ np.diag([1, -1, -1]), place * 2.7 / 4
        f = 2985.29 / 700 * focal[i] / 1050
        out.append([*pose.flatten(), f, 0, 0.5, 0, f, 0.5, 0, 0, 1])
    return np.array(out)


def test_the_worked_track():
    found = tracker_to_camera(ANGLES, TRANSLATION, FOCAL, legacy=True)
    first = found[0, :16].reshape(4, 4)
    rotation = [
        [0.978137, 0.0341, -0.198421],
        [0.056069, -0.992389, 0.107549],
        [-0.193405, -0.117334, -0.972866],
    ]
    np.testing.assert_allclose(first[:3, :3], rotation, rtol=0, atol=2e-6)
    np.testing.assert_allclose(first[:3, 3], [0.367390, -0.199667, 1.930401], rtol=0, atol=2e-6)
    np.testing.assert_allclose(found[2, [3, 7, 11]], [0.273899, -0.218434, 1.942382], rtol=0, atol=2e-6)
    np.testing.assert_allclose(found[[0, 2], 16], [4.2647, 4.061619], rtol=0, atol=2e-6)
    assert found.shape == (3, 25)


def test_legacy_never_uses_the_last_frame_and_ours_does():
    other = [*ANGLES[:2], [1.0, 1.0, 1.0]]
    legacy = [tracker_to_camera(a, TRANSLATION, FOCAL, legacy=True) for a in (ANGLES, other)]
    np.testing.assert_array_equal(*legacy)
    assert not np.allclose(tracker_to_camera(other, TRANSLATION, FOCAL)[1:], legacy[0][1:])


def test_equals_its_loop():
    np.testing.assert_allclose(
        tracker_to_camera(ANGLES, TRANSLATION, FOCAL), loop(ANGLES, TRANSLATION, FOCAL), atol=1e-12
    )


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6))
def test_a_rotation_comes_out(seed, count):
    rng = np.random.default_rng(seed)
    found = tracker_to_camera(
        rng.normal(0, 0.5, (count, 3)), rng.normal(size=(count, 3)), np.full(count, 900.0)
    )
    r = found[:, :16].reshape(-1, 4, 4)[:, :3, :3]
    np.testing.assert_allclose(r @ r.transpose(0, 2, 1), np.broadcast_to(np.eye(3), r.shape), atol=1e-9)
    np.testing.assert_allclose(np.linalg.det(r), 1, atol=1e-9)


def test_one_frame_is_enough_and_a_still_track_stays():
    one = tracker_to_camera(ANGLES[:1], TRANSLATION[:1], FOCAL[:1])
    many = tracker_to_camera(ANGLES[:1] * 4, TRANSLATION[:1] * 4, FOCAL[:1] * 4)
    np.testing.assert_allclose(many, np.repeat(one, 4, 0), atol=1e-12)


def test_nearest_rotation_of_a_reflection_is_no_reflection():
    found = nearest_rotations(np.diag([1.0, 1.0, -0.1])[None])
    np.testing.assert_allclose(found[0], np.eye(3), atol=1e-12)
    turn = euler_rotations([[0.3, -0.2, 0.5]])
    np.testing.assert_allclose(nearest_rotations(1.7 * turn), turn, atol=1e-12)


def test_wrong_tracks_are_named():
    with pytest.raises(ShapeError, match="focal"):
        tracker_to_camera(ANGLES, TRANSLATION, FOCAL[:2])
    with pytest.raises(DataError, match="at least 2"):
        tracker_to_camera(ANGLES[:1], TRANSLATION[:1], FOCAL[:1], legacy=True)
    with pytest.raises(DataError, match="at least 1"):
        tracker_to_camera(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0))
    with pytest.raises(DataError, match="no numbers"):
        tracker_to_camera([[np.nan, 0, 0]], [[0, 0, 0]], [1050])
