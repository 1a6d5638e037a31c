"""Videos in and out (PyAV): frames at a wanted rate one by one, and MP4 files written whole or not at all."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.core.errors import ConfigError, DataError, LimitError, ShapeError, require
from mien.core.io import new_file
from mien.core.limits import max_image_pixels

CODECS = ("libx264", "mpeg4")
"""What `write_video` writes, the first that PyAV's wheel has: H.264 (yuv420p), else MPEG-4 part 2."""


class VideoFrame(NamedTuple):
    """One picture of a video.

    Attributes:
        time: seconds since the first frame.
        image: uint8 RGB (H, W, 3).
    """

    time: float
    image: NDArray[np.uint8]


class WrittenVideo(NamedTuple):
    """What `write_video` wrote.

    Attributes:
        path: the file.
        frames: how many.
        codec: one of `CODECS`.
    """

    path: Path
    frames: int
    codec: str


@contextlib.contextmanager
def opened_video(path: Path) -> Iterator[tuple[Any, Any]]:
    """The container and video stream of a file; what the decoder says becomes one line.

    Raises:
        DataError: missing, damaged, or no video in it.
        LimitError: larger pictures than allowed.
        MissingPackageError: without PyAV (extra ``data``).
    """
    av = require("av", extra="data")
    if not path.is_file():
        raise DataError(f"{path}: no such file; check the path")
    try:
        container = av.open(str(path), mode="r")
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not a video that can be read ({error})") from None
    with container:
        if not container.streams.video:
            raise DataError(f"{path}: no video in it; fetch it again")
        stream = container.streams.video[0]
        pixels = stream.codec_context.width * stream.codec_context.height
        if pixels > max_image_pixels():
            raise LimitError(
                f"{path}: {pixels} pixels a frame, more than {max_image_pixels()} allowed"
                " (MIEN_MAX_IMAGE_PIXELS)"
            )
        yield container, stream


def decoded_frames(container: Any, stream: Any, path: Path) -> Iterator[Any]:
    """PyAV's frames one by one.

    Raises:
        DataError: damaged.
    """
    decoded = container.decode(stream)
    while True:
        try:
            picture = next(decoded)
        except StopIteration:
            return
        except (OSError, ValueError) as error:  # PyAV's errors are both
            raise DataError(f"{path}: damaged video ({error}); fetch it again") from None
        yield picture


def video_rate(path: str | Path) -> float:
    """Mean frames a second, as the header says. O(1).

    Raises:
        DataError: missing, damaged, no video in it, or it does not say.
        MissingPackageError: without PyAV (extra ``data``).
    """
    path = Path(path)
    with opened_video(path) as (_, stream):
        rate = stream.average_rate or stream.guessed_rate
        if not rate:
            raise DataError(f"{path}: says no frame rate; give the one you want")
        return float(rate)


def read_video(path: str | Path, fps: float | None = None) -> Iterator[VideoFrame]:
    """Frames in the order shown, one by one: O(frames) time, memory of two frames.

    With ``fps`` frame k is what the screen shows at k / fps seconds after the first frame: the last one with
    time <= k / fps. So a variable rate becomes an even one, frames repeat or fall out. The last is shown for
    as long as its header says, else for the mean step.

    Args:
        path: the file.
        fps: frames a second; None: every frame at its own time.

    Raises:
        ConfigError: a rate that is not positive.
        DataError: missing, damaged, or without frames (while reading).
        LimitError: larger pictures than allowed.
        MissingPackageError: without PyAV (extra ``data``).
    """
    if fps is not None and not (fps > 0 and math.isfinite(fps)):
        raise ConfigError(f"fps must be above 0, got {fps}")
    return _read(Path(path), fps)


def _read(path: Path, fps: float | None) -> Iterator[VideoFrame]:
    with opened_video(path) as (container, stream):
        step = float(1 / (stream.average_rate or stream.guessed_rate or 25))
        shown = _timed(decoded_frames(container, stream, path), step)
        first = next(shown, None)
        if first is None:
            raise DataError(f"{path}: no frame in it can be decoded; record or fetch it again")
        if fps is None:
            yield VideoFrame(0.0, _pixels(first[1]))
            for time, picture, _ in shown:
                yield VideoFrame(time - first[0], _pixels(picture))
            return
        number = 0
        for now, after in _neighbours(first, shown):
            end = (after[0] if after else now[0] + now[2]) - first[0]
            if (count := _ticks_before(end, fps) - number) <= 0:
                continue
            image = _pixels(now[1])
            for _ in range(count):
                yield VideoFrame(number / fps, image.copy())
                number += 1


_Timed = tuple[float, Any, float]


def _ticks_before(end: float, fps: float) -> int:
    """How many k >= 0 have k / fps < end; times that are equal up to rounding count as equal."""
    return max(math.ceil(end * fps - 1e-6), 0)


def _timed(frames: Iterator[Any], step: float) -> Iterator[_Timed]:
    """(seconds, frame, seconds it is shown); without a time, or an earlier one, it comes a step later."""
    last: float | None = None
    for picture in frames:
        time = picture.time
        if time is None or (last is not None and time <= last):
            time = 0.0 if last is None else last + step
        length = picture.duration * picture.time_base if picture.duration and picture.time_base else step
        yield float(time), picture, float(length)
        last = float(time)


def _neighbours(first: _Timed, rest: Iterator[_Timed]) -> Iterator[tuple[_Timed, _Timed | None]]:
    now = first
    for after in rest:
        yield now, after
        now = after
    yield now, None


def _pixels(picture: Any) -> NDArray[np.uint8]:
    return np.ascontiguousarray(picture.to_ndarray(format="rgb24"))


def write_video(path: str | Path, frames: Iterable[ArrayLike], fps: float, *, crf: int = 18) -> WrittenVideo:
    """An MP4 (yuv420p) that browsers play, whole or not at all. O(pixels) time, memory of a few frames.

    Odd sides get their last row or column twice: the format has none. libx264 is under the GPL; it is PyAV's
    wheel that brings it.

    Args:
        path: ends in .mp4.
        frames: uint8 RGB (H, W, 3), all of one size; any iterator.
        fps: frames a second.
        crf: quality, 0 (nothing lost but colour resolution) .. 51; for H.264 only.

    Raises:
        ConfigError: another ending, a rate or quality out of range.
        ShapeError: a frame of another shape or type.
        DataError: no frames.
        MienError: the disk is full or the folder cannot be written; a former file is then unchanged.
        MissingPackageError: without PyAV (extra ``data``).
    """
    path = Path(path)
    if path.suffix.lower() != ".mp4":
        raise ConfigError(f"{path}: videos are written as .mp4; name it {path.stem}.mp4")
    if not (fps > 0 and math.isfinite(fps)) or not 0 <= crf <= 51:
        raise ConfigError(f"fps must be above 0 and crf 0 .. 51, got {fps}, {crf}")
    av = require("av", extra="data")
    codec = next(c for c in CODECS if c in av.codecs_available)
    source = iter(frames)
    first = next(source, None)
    if first is None:
        raise DataError(f"{path}: no frames to write; nothing was changed there")
    size = _checked(first, None, 0).shape
    count = 0
    with new_file(path) as part, av.open(str(part), "w", format="mp4") as container:
        stream = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1001))
        stream.width, stream.height, stream.pix_fmt = size[1] + size[1] % 2, size[0] + size[0] % 2, "yuv420p"
        stream.codec_context.thread_count = 1  # the same bytes on every machine
        if codec == "libx264":
            stream.options = {"crf": str(crf)}
        else:
            stream.codec_context.bit_rate = max(int(4 * fps * stream.width * stream.height), 10_000)
        for value in _chain(first, source):
            image = _checked(value, size, count)
            even = np.pad(image, ((0, size[0] % 2), (0, size[1] % 2), (0, 0)), mode="edge")
            container.mux(stream.encode(av.VideoFrame.from_ndarray(even, format="rgb24")))
            count += 1
        container.mux(stream.encode(None))
    return WrittenVideo(path, count, codec)


def _chain(first: ArrayLike, rest: Iterator[ArrayLike]) -> Iterator[ArrayLike]:
    yield first
    yield from rest


def _checked(frame: ArrayLike, size: tuple[int, ...] | None, number: int) -> NDArray[np.uint8]:
    image = np.asarray(frame)
    fits = image.ndim == 3 and image.shape[2] == 3 and min(image.shape) > 0 and image.dtype == np.uint8
    if not fits or (size is not None and image.shape != size):
        raise ShapeError(
            f"frame {number}: expected uint8 RGB {size or '(H, W, 3)'}, got {image.dtype} {image.shape}"
        )
    return image
