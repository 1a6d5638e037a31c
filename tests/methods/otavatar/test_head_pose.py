from __future__ import annotations

import numpy as np
import pytest

from mien.core.errors import ConfigError, ShapeError
from mien.methods.otavatar.head_pose import Orbit, Pose, head_angles, head_cameras, head_pose, head_rotations
from mien.synth.face import ORBIT_FOCAL, rotation
from mien.synth.orbit import head_turn, orbit_cameras

ANGLES = np.array([(0.1, 0.3, -0.2), (-0.25, -0.6, 0.4), (0.0, 0.0, 0.0)])  # pitch, yaw, roll


def still(angles):
    return Pose(np.asarray(angles), np.zeros((len(angles), 3)), np.full(len(angles), ORBIT_FOCAL))


def test_rotations_are_those_that_draw_the_training_pictures():
    for (pitch, yaw, roll), r in zip(ANGLES, head_rotations(ANGLES), strict=True):
        assert np.allclose(r, rotation(yaw, pitch, roll), atol=1e-6)
    assert np.allclose(head_angles(head_rotations(ANGLES)), ANGLES)


def test_a_head_turned_by_yaw_is_a_camera_at_minus_yaw():
    seen = head_cameras(still([(0.0, 0.4, 0.0)]))
    assert np.allclose(seen, orbit_cameras(-0.4), atol=1e-6)
    assert seen[0, 3] < 0  # a head turned to its left shows its right side: the camera is at -x


def test_the_renderers_own_inverse_gives_the_turn_back():
    for angles, camera in zip(ANGLES, head_cameras(still(ANGLES)), strict=True):
        yaw, pitch, roll = head_turn(camera)
        assert (pitch, yaw, roll) == pytest.approx(tuple(angles), abs=1e-6)


def test_poses_come_back_from_cameras():
    pose = Pose(ANGLES, np.array([(0.1, -0.05, 0.3), (0, 0.2, 0), (0, 0, 0)]), np.array([3.0, 3.2, 4.3]))
    back = head_pose(head_cameras(pose))
    for ours, theirs in zip(back, pose, strict=True):
        assert np.allclose(ours, theirs, atol=1e-6)
    with pytest.raises(ShapeError, match=r"expected cameras \(T, 25\), got \(25,\)"):
        head_pose(np.zeros(25))


def test_a_shifted_head_is_seen_where_it_is():
    """A head at (0.1, 0.2, 0) before the camera is 0.1 f / 2.7 right of the middle and 0.2 f / 2.7 above."""
    pose = Pose(np.array([(0.2, 0.3, 0.1)]), np.array([(0.1, 0.2, 0.0)]), np.array([3.0]))
    matrix = head_cameras(pose)[0, :16].reshape(4, 4).astype(float)
    middle = np.linalg.inv(matrix) @ np.array([0, 0, 0, 1])
    assert middle[:2] / middle[2] * 3.0 == pytest.approx((0.1 * 3 / 2.7, -0.2 * 3 / 2.7), abs=1e-6)


def test_a_turntable_goes_to_both_sides_and_comes_back():
    orbit = Orbit(0.5, 0.2, 8)
    cameras = orbit.cameras(9)
    assert cameras.shape == (9, 25)
    assert np.allclose(cameras[0], cameras[8], atol=1e-6)
    assert np.allclose(cameras[2], orbit_cameras(0.5, 0.0), atol=1e-6)
    assert np.allclose(cameras[0], orbit_cameras(0.0, 0.2), atol=1e-6)
    assert len(Orbit().cameras()) == 100
    for bad in ({"period": 0}, {"pitch": 1.6}):
        with pytest.raises(ConfigError, match="period >= 1"):
            Orbit(**bad)
