from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.io import savemat

from mien.core.errors import ConfigError, DataError, ShapeError
from mien.data.hdtf import Condition, HdtfClip, split_coefficients
from mien.methods.otavatar.controller import window
from mien.methods.otavatar.head_pose import Pose
from mien.methods.otavatar.motion_track import MotionTrack
from mien.render.tracking import euler_rotations, tracker_to_camera
from mien.synth.face import rotation

NAMES = ("eyeBlinkLeft", "jawOpen")


def made(frames=6, **changes):
    rng = np.random.default_rng(0)
    pose = Pose(rng.normal(0, 0.2, (frames, 3)), rng.normal(0, 0.1, (frames, 3)), rng.uniform(3, 4, frames))
    given = {"pose": pose, "fps": 30.0, "names": NAMES, **changes}
    return MotionTrack.of(rng.uniform(0, 1, (frames, 2)), **given)


def test_a_talking_head():
    track = MotionTrack.from_talk(3, 20)
    assert (len(track), track.fps, track.expression.dtype) == (20, 25.0, np.float32)
    assert track.expression.shape == (20, len(track.names))
    assert track.expression.min() >= 0
    assert track.expression.max() <= 1
    assert np.array_equal(track.expression, MotionTrack.from_talk(3, 20).expression)
    strong = MotionTrack.from_talk(3, 20, "perform")
    assert strong.expression.sum() > track.expression.sum()
    yaw = track.angles[0, 1]
    assert track.cameras()[0, 3] == pytest.approx(-2.7 * np.sin(yaw) * np.cos(track.angles[0, 0]), abs=0.15)
    with pytest.raises(ConfigError, match="no motion 'sing'; talk or perform"):
        MotionTrack.from_talk(3, 20, "sing")
    with pytest.raises(ConfigError, match="a clip of 0 frames"):
        MotionTrack.from_talk(3, 0)


def test_windows_are_those_of_the_controller():
    track = made()
    whole = window(torch.from_numpy(track.expression), 2)
    for t in (0, 3, 5):
        assert np.array_equal(track.window(t, 2), whole[t].numpy())
    posed = track.window(5, 2, pose_rows=4)
    assert posed.shape == (6, 5)
    assert np.array_equal(posed[2:5, 2], track.angles[5])
    assert posed[5, 3] == track.translation[5, 0]


def test_a_file_and_back(tmp_path):
    for track in (made(), made(names=()), made(times=np.array([0, 1, 2, 5, 6, 7.0]))):
        back = MotionTrack.from_npz(track.to_npz(tmp_path / "track.npz"))
        for name in ("expression", "angles", "translation", "focal", "fps", "names"):
            assert np.array_equal(getattr(back, name), getattr(track, name))
        assert (back.times is None) == (track.times is None)


def test_files_that_are_no_tracks(tmp_path):
    path = tmp_path / "a.npz"
    path.write_bytes(b"no archive")
    with pytest.raises(DataError, match=r"a\.npz: not an \.npz file that can be read"):
        MotionTrack.from_npz(path)
    np.savez(path, expression=np.zeros((2, 3)))
    with pytest.raises(DataError, match=r"a\.npz: not a motion track \('angles'\); write it with"):
        MotionTrack.from_npz(path)
    arrays = {"angles": np.zeros((0, 3)), "translation": np.zeros((0, 3)), "focal": np.zeros(0)}
    np.savez(path, expression=np.zeros((0, 3)), fps=25.0, names=np.array([], np.str_), **arrays)
    with pytest.raises(DataError, match=r"a\.npz: a track of no frames"):
        MotionTrack.from_npz(path)


def test_what_is_refused():
    rows = np.zeros((5, 2))
    with pytest.raises(DataError, match="a track of no frames"):
        MotionTrack.of(rows[:0])
    bad = rows.copy()
    bad[3:, 1] = np.nan
    with pytest.raises(DataError, match=r"frame 3 of the track holds values that are no numbers \(2 such"):
        MotionTrack.of(bad)
    with pytest.raises(ShapeError, match="2 actions but 3 names"):
        MotionTrack.of(rows, names=("a", "b", "c"))
    with pytest.raises(ShapeError, match=r"got \(5, 2\) and \(4, 3\), \(4, 3\), \(4,\)"):
        MotionTrack.of(rows, Pose(np.zeros((4, 3)), np.zeros((4, 3)), np.ones(4)))
    with pytest.raises(ConfigError, match="fps must be above 0"):
        MotionTrack.of(rows, fps=0)
    with pytest.raises(DataError, match="times must be 5 numbers that increase"):
        MotionTrack.of(rows, times=np.array([0, 1, 1, 2, 3.0]))


def test_the_coarse_tracker_of_a_mat_file(tmp_path):
    coeff = np.random.default_rng(0).normal(0, 0.2, (4, 257))
    savemat(tmp_path / "clip.mat", {"coeff": coeff, "transform_params": np.zeros((4, 5))})
    track = MotionTrack.from_mat(tmp_path / "clip.mat")
    assert np.allclose(track.expression, coeff[:, 80:144], atol=1e-6)
    for (pitch, yaw, roll), given in zip(track.angles, coeff[:, 224:227], strict=True):
        assert np.allclose(rotation(yaw, pitch, roll), euler_rotations(given[None])[0].T, atol=1e-5)
    assert track.names == ()
    savemat(tmp_path / "other.mat", {"coeff": coeff[:, :200]})
    with pytest.raises(DataError, match="holds no 'coeff' of 257 numbers a frame"):
        MotionTrack.from_mat(tmp_path / "other.mat")
    with pytest.raises(DataError, match="no such file"):
        MotionTrack.from_mat(tmp_path / "none.mat")
    (tmp_path / "torn.mat").write_bytes((tmp_path / "clip.mat").read_bytes()[:300])
    with pytest.raises(DataError, match=r"not a \.mat file|holds no 'coeff'"):
        MotionTrack.from_mat(tmp_path / "torn.mat")


def test_a_clip_of_the_packed_set_keeps_its_cameras():
    rng = np.random.default_rng(0)
    pose = Condition(rng.normal(0, 0.1, (5, 3)), rng.normal(0, 0.1, (5, 3)), np.full(5, 1050.0))

    class Fake:
        def clip(self, name):
            return HdtfClip(name, name, 5)

        def coefficients(self, clip):
            return split_coefficients(np.tile(np.arange(260, dtype=np.float32), (5, 1)))

        def condition(self, clip):
            return pose

    track = MotionTrack.from_hdtf(Fake(), "a")
    assert np.array_equal(track.expression[0], np.arange(80, 144))
    assert np.allclose(track.cameras(), tracker_to_camera(*pose), atol=1e-5)


def test_gaps_are_filled_and_noted():
    times = np.array([0, 1, 2, 6, 7, 8]) / 10
    rows = np.stack([times, 1 - times], 1)
    track = MotionTrack.of(rows, fps=10, names=NAMES, times=times).resampled()
    assert len(track) == 9
    assert np.allclose(track.expression[:, 0], np.arange(9) / 10)
    assert track.notes == ("3 dropped frames in 1 gaps (longest 0.40 s) interpolated",)
    assert track.times is None


def test_another_rate():
    track = made(7)
    twice = track.resampled(60.0)
    assert len(twice) == 13
    assert twice.notes == ()
    assert np.allclose(twice.expression[::2], track.expression, atol=1e-6)
    assert np.allclose(twice.focal[1], track.focal[:2].mean(), atol=1e-6)
    assert len(made(1).resampled(60.0)) == 1
    with pytest.raises(ConfigError, match="fps must be above 0"):
        track.resampled(0)


def test_angles_are_interpolated_the_short_way():
    angles = np.zeros((2, 3))
    angles[:, 2] = 3.1, -3.1
    pose = Pose(angles, np.zeros((2, 3)), np.ones(2))
    track = MotionTrack.of(np.zeros((2, 1)), pose, fps=1).resampled(2.0)
    assert track.angles[1, 2] == pytest.approx(np.pi, abs=1e-6)


def test_smoothing_takes_the_jitter_out():
    rng = np.random.default_rng(0)
    noisy = MotionTrack.of(0.5 + rng.normal(0, 0.05, (60, 2)), fps=25)
    smooth = noisy.smoothed(1.0, 0.0)
    assert np.diff(smooth.expression, axis=0).std() < 0.5 * np.diff(noisy.expression, axis=0).std()
    still = MotionTrack.of(np.full((5, 2), 0.3))
    assert np.allclose(still.smoothed().expression, 0.3)


def test_actions_by_name():
    track = made().named(("jawOpen", "browInnerUp", "eyeBlinkLeft"))
    assert np.array_equal(track.expression[:, [2, 0]], made().expression)
    assert not track.expression[:, 1].any()
    assert track.notes == ("1 of 3 actions are not in the track and rest",)
    with pytest.raises(DataError, match="the track moves jawOpen, which this avatar does not know"):
        made().named(("eyeBlinkLeft",))


def test_the_first_frames():
    assert len(made().first(4)) == 4
    assert len(made().first(40)) == 6
