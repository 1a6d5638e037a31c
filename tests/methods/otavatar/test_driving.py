from __future__ import annotations

import numpy as np
import pytest

from mien.core.errors import ConfigError
from mien.methods.otavatar.driving import camera_path, drive, part_actions, retarget_rows
from mien.methods.otavatar.head_pose import Orbit, Pose, head_cameras, head_pose
from mien.methods.otavatar.motion_track import MotionTrack
from mien.synth.body import people
from tests.methods.otavatar.avatars import NAMES

ROW = np.array([0.2, 0.4, 0.9, 0.0], np.float32)
SOURCE = head_cameras(Pose(np.array([(0.1, -0.2, 0.05)]), np.array([(0.0, 0.1, 0.0)]), np.array([3.0])))[0]
RNG = np.random.default_rng(0)
POSE = Pose(RNG.normal(0, 0.2, (5, 3)), RNG.normal(0, 0.1, (5, 3)), np.linspace(3, 3.6, 5))
TRACK = MotionTrack.of(RNG.uniform(0, 1, (5, 4)), POSE, names=NAMES)


def test_every_action_of_the_mouth_and_eyes_has_its_part():
    names = people().actions
    mouth, eyes = (part_actions(names, p) for p in ("mouth", "eyes"))
    rest = [n for n, m, e in zip(names, mouth, eyes, strict=True) if not (m or e)]
    assert not (mouth & eyes).any()
    assert rest == ["cheekSquintLeft", "cheekSquintRight", "noseSneerLeft", "noseSneerRight"]
    assert part_actions(names, "all").all()


def test_absolute_driving_is_the_driver():
    own = drive(TRACK, ROW, SOURCE)
    assert np.array_equal(own.expression, TRACK.expression)
    assert np.array_equal(own.cameras(), TRACK.cameras())


def test_relative_driving_starts_at_the_source():
    own = drive(TRACK, ROW, SOURCE, "relative")
    assert np.allclose(own.expression[0], ROW)
    assert np.allclose(own.cameras()[0], SOURCE, atol=1e-6)
    expected = np.clip(ROW + TRACK.expression - TRACK.expression[0], 0, 1)
    assert np.allclose(own.expression, expected, atol=1e-6)
    assert own.expression.max() <= 1
    moved = head_pose(own.cameras())
    assert np.allclose(moved.angles - moved.angles[0], POSE.angles - POSE.angles[0], atol=1e-5)
    assert moved.focal[4] == pytest.approx(3.0 * 3.6 / 3.0)


def test_coefficients_without_names_are_not_clipped():
    driving = np.array([[0.0], [-2.0]])
    assert retarget_rows(np.array([0.5]), driving, "relative", actions=False).tolist() == [[0.5], [-1.5]]
    with pytest.raises(ConfigError, match="retarget='both' is none of absolute, relative"):
        retarget_rows(ROW, TRACK.expression, "both")


def test_a_part_leaves_the_rest_as_in_the_source():
    mouth, eyes = (drive(TRACK, ROW, SOURCE, parts=p).expression for p in ("mouth", "eyes"))
    assert np.array_equal(mouth[:, 2:], TRACK.expression[:, 2:])
    assert (mouth[:, :2] == ROW[:2]).all()
    assert np.array_equal(eyes[:, :2], TRACK.expression[:, :2])
    assert (eyes[:, 2:] == ROW[2:]).all()
    with pytest.raises(ConfigError, match="no part 'nose' of a face; one of all, mouth, eyes"):
        drive(TRACK, ROW, SOURCE, parts="nose")
    with pytest.raises(ConfigError, match="needs a track with names"):
        drive(MotionTrack.of(TRACK.expression), ROW, SOURCE, parts="eyes")


def test_paths_of_cameras():
    assert np.array_equal(camera_path("driving", TRACK, SOURCE), TRACK.cameras())
    assert (camera_path("source", TRACK, SOURCE) == SOURCE).all()
    assert camera_path(Orbit(period=3), TRACK, SOURCE).shape == (5, 25)
    with pytest.raises(ConfigError, match="camera='front' is neither"):
        camera_path("front", TRACK, SOURCE)
