from __future__ import annotations

import sys
import weakref
from fractions import Fraction

import numpy as np
import pytest

from mien.core.errors import ConfigError, DataError, LimitError, MissingPackageError, ShapeError
from mien.data.video import read_video, video_rate, write_video


def flat(level, height=32, width=48):
    return np.full((height, width, 3), level, np.uint8)


def levels(frames):
    return [round(float(f.image.mean()) / 10) for f in frames]


def write_uneven(path, times, base=1000):
    """A video whose frame k is of level 10 (k + 1) and starts at ``times[k]`` / base seconds."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        stream.codec_context.time_base = Fraction(1, base)
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(flat(10 * (number + 1)), format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, base)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def shown_at(times, end, fps):
    """The loop: which frame the screen shows at k / fps."""
    out, k = [], 0
    while k / fps < end - 1e-9:
        out.append(max(i for i, t in enumerate(times) if t <= k / fps + 1e-9) + 1)
        k += 1
    return out


def test_what_is_written_is_read(tmp_path):
    pytest.importorskip("av")
    written = write_video(tmp_path / "v.mp4", (flat(20 * k + 10) for k in range(8)), 25)
    assert written.frames == 8
    assert written.codec in ("libx264", "mpeg4")
    frames = list(read_video(written.path))
    assert [f.time for f in frames] == pytest.approx([k / 25 for k in range(8)])
    for k, frame in enumerate(frames):
        assert frame.image.shape == (32, 48, 3)
        assert frame.image.dtype == np.uint8
        assert np.abs(frame.image.astype(int) - (20 * k + 10)).max() <= 4
    assert video_rate(written.path) == pytest.approx(25)
    assert {p.name for p in tmp_path.iterdir()} == {"v.mp4"}
    again = write_video(tmp_path / "w.mp4", [flat(20 * k + 10) for k in range(8)], 25).path
    assert again.read_bytes() == written.path.read_bytes()


def test_it_is_h264_in_yuv420p_where_the_wheel_has_it(tmp_path):
    av = pytest.importorskip("av")
    path = write_video(tmp_path / "v.mp4", [flat(9)], 29.97).path
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        assert context.pix_fmt == "yuv420p"
        assert context.name == ("h264" if "libx264" in av.codecs_available else "mpeg4")


def test_without_h264_it_is_mpeg4(tmp_path, monkeypatch):
    av = pytest.importorskip("av")
    monkeypatch.setattr(av, "codecs_available", {"mpeg4"})
    written = write_video(tmp_path / "v.mp4", [flat(100)] * 3, 25)
    assert written.codec == "mpeg4"
    assert levels(read_video(written.path)) == [10, 10, 10]


def test_odd_sides_get_their_last_line_twice(tmp_path):
    pytest.importorskip("av")
    path = write_video(tmp_path / "v.mp4", [flat(80, 31, 47)] * 2, 10).path
    frames = list(read_video(path))
    assert [f.image.shape for f in frames] == [(32, 48, 3)] * 2
    assert np.abs(frames[0].image.astype(int) - 80).max() <= 3


@pytest.mark.parametrize("fps", [10, 25, 50, 12.5, 7])
def test_an_uneven_rate_becomes_even(tmp_path, fps):
    times = [0, 40, 200, 240, 500, 540]
    path = write_uneven(tmp_path / "v.mp4", times)
    own = list(read_video(path))
    assert [f.time for f in own] == pytest.approx([t / 1000 for t in times])
    assert levels(own) == [1, 2, 3, 4, 5, 6]
    frames = list(read_video(path, fps))
    assert [f.time for f in frames] == pytest.approx([k / fps for k in range(len(frames))])
    got = levels(frames)
    expected = shown_at([t / 1000 for t in times], 0.54, fps)
    assert got[: len(expected)] == expected
    assert set(got[len(expected) :]) <= {6}  # the last is shown for as long as the file says


def test_the_same_rate_changes_nothing(tmp_path):
    pytest.importorskip("av")
    path = write_video(tmp_path / "v.mp4", [flat(10 * k) for k in range(1, 11)], 25).path
    assert levels(read_video(path, 25)) == list(range(1, 11))
    assert levels(read_video(path, 50)) == [k for k in range(1, 11) for _ in range(2)]
    assert levels(read_video(path, 12.5)) == [1, 3, 5, 7, 9]


def test_frames_come_one_by_one(tmp_path):
    pytest.importorskip("av")
    kept, most = [], 0

    def frames():
        nonlocal most
        for k in range(60):
            most = max(most, sum(ref() is not None for ref in kept))
            image = flat(k)
            kept.append(weakref.ref(image))
            yield image
            del image

    path = write_video(tmp_path / "v.mp4", frames(), 25).path
    assert len(kept) == 60
    assert most <= 3  # none is held longer than it is written
    reading = read_video(path)
    assert next(reading).time == 0
    reading.close()  # the file is let go before its end
    first, second = (f.image for _, f in zip(range(2), read_video(path, 100), strict=False))
    first[:] = 255
    assert second.max() < 50  # a repeated frame is a copy


def test_a_video_without_frames_is_one_line(tmp_path):
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "v.avi"), "w") as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuvj420p"
        container.start_encoding()
    for fps in (None, 25):
        with pytest.raises(DataError, match=r"v\.avi: no ") as caught:
            list(read_video(tmp_path / "v.avi", fps))
        assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="no frames to write"):
        write_video(tmp_path / "w.mp4", [], 25)
    assert not (tmp_path / "w.mp4").exists()


def test_a_failed_writing_leaves_the_former_file(tmp_path):
    pytest.importorskip("av")
    path = write_video(tmp_path / "v.mp4", [flat(1)], 25).path
    before = path.read_bytes()
    with pytest.raises(
        ShapeError, match=r"frame 1: expected uint8 RGB \(32, 48, 3\), got uint8 \(16, 48, 3\)"
    ):
        write_video(path, [flat(1), flat(1, 16)], 25)
    with pytest.raises(ShapeError, match="got float64"):
        write_video(path, [flat(1) / 255], 25)
    assert path.read_bytes() == before
    assert {p.name for p in tmp_path.iterdir()} == {"v.mp4"}


def test_what_cannot_be_read_or_written(tmp_path, monkeypatch):
    pytest.importorskip("av")
    with pytest.raises(DataError, match="no such file"):
        list(read_video(tmp_path / "v.mp4"))
    (tmp_path / "v.mp4").write_bytes(b"no video")
    with pytest.raises(DataError, match="not a video"):
        list(read_video(tmp_path / "v.mp4"))
    with pytest.raises(ConfigError, match="fps must be above 0"):
        read_video(tmp_path / "v.mp4", 0)
    with pytest.raises(ConfigError, match=r"name it v\.mp4"):
        write_video(tmp_path / "v.avi", [flat(1)], 25)
    with pytest.raises(ConfigError, match="crf"):
        write_video(tmp_path / "v.mp4", [flat(1)], 25, crf=99)
    path = write_video(tmp_path / "w.mp4", [flat(1)], 25).path
    monkeypatch.setenv("MIEN_MAX_IMAGE_PIXELS", "1000")
    with pytest.raises(LimitError, match="1536 pixels a frame"):
        list(read_video(path))


def test_without_pyav(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingPackageError, match=r"mien\[data\]"):
        list(read_video(tmp_path / "v.mp4"))
    with pytest.raises(MissingPackageError, match=r"mien\[data\]"):
        write_video(tmp_path / "v.mp4", [flat(1)], 25)
