from __future__ import annotations

import sys

import numpy as np
import pytest

from mien.core.errors import DataError, LimitError, MissingPackageError
from mien.data.pad_clips import (
    frame_number,
    read_hdf5_channel,
    read_video_frame,
    read_video_frames,
    video_length,
)
from mien.data.pad_modalities import read_rgb
from tests.data.pad_fixtures import clip_frames, touch, write_clip, write_video


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        ("", 0),
        ("0", 0),
        ("4", 4),
        ("@0", 0),
        ("@0.000000", 0),
        ("@0.2", 1),
        ("@0.999999", 4),
        ("@1.000000", 4),
    ],
)
def test_which_frame_is_meant(frame, expected):
    assert frame_number(frame, 5) == expected


@pytest.mark.parametrize("frame", ["@1.5", "@", "-1", "x", "@.", "1.0", "5"])
def test_frames_that_are_not_there(frame):
    with pytest.raises(DataError, match=r"clip: (no frame 5, it has 5|frame '.*' is neither)"):
        frame_number(frame, 5)
    with pytest.raises(DataError, match="no frames in it"):
        frame_number("", 0)


@pytest.mark.parametrize("ending", ["avi", "mov", "mkv"])
def test_frames_of_a_video(tmp_path, ending):
    pytest.importorskip("av")
    path = write_video(tmp_path / f"v.{ending}")
    assert video_length(path) == 5
    for frame, level in (("", 0), ("2", 100), ("@0.5", 100), ("@0", 0), ("@1", 200), ("4", 200)):
        picture = read_video_frame(path, frame)
        assert picture.shape == (32, 32, 3)
        assert picture.dtype == np.uint8
        assert np.abs(picture.astype(int) - level).max() <= 3
    assert np.array_equal(read_rgb(path, "3"), read_video_frame(path, "3"))
    with pytest.raises(DataError, match=r"no frame 5, it has 5 \(0 \.\. 4\)"):
        read_video_frame(path, "5")


def test_videos_that_cannot_be_read(tmp_path, monkeypatch):
    pytest.importorskip("av")
    with pytest.raises(DataError, match=r"v\.avi: no such file; check the path"):
        read_video_frame(tmp_path / "v.avi")
    with pytest.raises(DataError, match=r"v\.avi: not a video that can be read") as caught:
        read_video_frame(touch(tmp_path / "v.avi"))
    assert "\n" not in str(caught.value)
    path = write_video(tmp_path / "w.avi")
    monkeypatch.setenv("MIEN_MAX_IMAGE_PIXELS", "1000")
    with pytest.raises(LimitError, match="1024 pixels a frame, more than 1000 allowed"):
        read_video_frame(path)


def test_a_video_that_ends_early_gives_its_last_frame_or_one_line(tmp_path):
    pytest.importorskip("av")
    for ending in ("mkv", "avi"):
        path = write_video(tmp_path / f"w.{ending}", list(range(0, 250, 10)), 64)
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    assert read_video_frame(tmp_path / "w.mkv", "@1").mean() > 100
    with pytest.raises(DataError, match=r"w\.avi: damaged video .*; fetch it again") as caught:
        read_video_frame(tmp_path / "w.avi", "@1")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("package", ["av", "h5py"])
def test_without_the_package_one_line_says_what_to_install(tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    read = {"av": lambda: read_video_frame(tmp_path / "a.avi"), "h5py": lambda: read_rgb(tmp_path / "a.hdf5")}
    with pytest.raises(
        MissingPackageError, match=rf"{package} is not installed; .* pip install 'mien\[data\]'"
    ):
        read[package]()


@pytest.mark.parametrize("channels", [4, 6])
def test_cameras_of_a_clip(tmp_path, channels):
    pytest.importorskip("h5py")
    path = write_clip(tmp_path / "c.hdf5", 3, frames=12, channels=channels)
    frames = clip_frames(3, 12, channels)
    for frame, number in (("", 0), ("2", 2), ("11", 11), ("@1", 11)):
        planes = frames[number]
        rgb = planes[:3] if channels == 6 else np.repeat(planes[:1], 3, 0)
        assert np.array_equal(read_hdf5_channel(path, "rgb", frame), np.moveaxis(rgb, 0, -1))
        for k, camera in enumerate(("depth", "ir", "thermal")):
            assert np.array_equal(read_hdf5_channel(path, camera, frame), planes[channels - 3 + k])


def test_a_clip_with_channels_last_and_one_of_colour(tmp_path):
    h5py = pytest.importorskip("h5py")
    array = clip_frames(0, 1, 4)[0]
    with h5py.File(tmp_path / "l.hdf5", "w") as file:
        file.create_group("Frame_0")["array"] = np.moveaxis(array, 0, -1)
    assert np.array_equal(read_hdf5_channel(tmp_path / "l.hdf5", "ir"), array[2])
    path = write_clip(tmp_path / "rgb.hdf5", channels=3)
    assert read_hdf5_channel(path, "rgb").shape == (10, 8, 3)
    with pytest.raises(DataError, match=r"shape \(3, 10, 8\) holds rgb, no depth; use the CDIT variant"):
        read_hdf5_channel(path, "depth")


def test_clips_that_cannot_be_read(tmp_path, monkeypatch):
    h5py = pytest.importorskip("h5py")
    with pytest.raises(DataError, match=r"x\.hdf5: no such file"):
        read_hdf5_channel(tmp_path / "x.hdf5", "rgb")
    with pytest.raises(DataError, match="not an HDF5 clip that can be read") as caught:
        read_hdf5_channel(touch(tmp_path / "x.hdf5"), "rgb")
    assert "\n" not in str(caught.value)
    with h5py.File(tmp_path / "e.hdf5", "w") as file:
        file.create_group("other")
    with pytest.raises(DataError, match="no frames in it"):
        read_hdf5_channel(tmp_path / "e.hdf5", "rgb")
    path = write_clip(tmp_path / "c.hdf5")
    with h5py.File(tmp_path / "link.hdf5", "w") as file:
        file.create_group("Frame_0")["array"] = h5py.ExternalLink(str(path), "Frame_0/array")
    with pytest.raises(DataError, match="Frame_0 has no data set 'array'"):
        read_hdf5_channel(tmp_path / "link.hdf5", "rgb")
    monkeypatch.setenv("MIEN_MAX_IMAGE_PIXELS", "30")
    with pytest.raises(LimitError, match="larger than allowed"):
        read_hdf5_channel(path, "rgb")


def test_frames_of_a_video_in_one_pass_are_those_read_one_by_one(tmp_path):
    path = write_video(tmp_path / "a.avi", levels=tuple(range(0, 220, 20)))
    found = read_video_frames(path, 4)
    assert len(found) == 4
    for frame, number in zip(found, (0, 3, 7, 10), strict=True):
        assert np.array_equal(frame, read_video_frame(path, str(number)))
    assert len(read_video_frames(path, 100)) == 11
    assert np.array_equal(read_video_frames(path, 1)[0], read_video_frame(path))
    with pytest.raises(DataError, match="no such file"):
        read_video_frames(tmp_path / "b.avi", 2)
