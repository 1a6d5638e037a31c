"""Frames out of files that hold many: videos (PyAV) and the HDF5 clips of WMCA (h5py), decoded on demand."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.core.errors import DataError, LimitError, require
from mien.core.limits import max_image_pixels
from mien.data.pad_sample import MODALITIES
from mien.data.video import decoded_frames, opened_video

VIDEO_SUFFIXES = (".avi", ".mov", ".mp4", ".mkv", ".m4v")
HDF5_SUFFIXES = (".hdf5", ".h5")
_PLACE = re.compile(r"@(0|1|0?\.[0-9]+|[01]\.[0-9]+)|[0-9]{1,9}|")
_FRAME = re.compile(r"Frame_([0-9]+)")


def frame_number(frame: str, count: int, name: str = "clip") -> int:
    """Which of ``count`` frames is meant: "" 0, "7" number 7, "@p" number min(floor(p count), count - 1).

    Raises:
        DataError: not of this form, or there is no such frame.
    """
    if count < 1:
        raise DataError(f"{name}: no frames in it; fetch it again")
    if _PLACE.fullmatch(frame) is None or (frame.startswith("@") and float(frame[1:]) > 1):
        raise DataError(f"{name}: frame {frame!r} is neither a number nor a place '@0.5' in [0, 1]")
    if frame.startswith("@"):
        return min(int(float(frame[1:]) * count), count - 1)
    number = int(frame or 0)
    if number >= count:
        raise DataError(f"{name}: no frame {number}, it has {count} (0 .. {count - 1})")
    return number


def video_length(path: str | Path) -> int:
    """Frames of a video: what its header says, else counted. O(1) or O(frames).

    Raises:
        DataError: missing, damaged, or no video in it.
        MissingPackageError: without PyAV (extra ``data``).
    """
    with opened_video(Path(path)) as (container, stream):
        return int(stream.frames) or sum(1 for _ in decoded_frames(container, stream, Path(path)))


def read_video_frame(path: str | Path, frame: str = "") -> NDArray[np.uint8]:
    """One frame of a video, uint8 RGB (H, W, 3); decodes from the start up to it: O(frames before it).

    Where a header promises more frames than there are, the last one is taken for those at the end.

    Args:
        path: the file.
        frame: see `frame_number`.

    Raises:
        DataError: missing, damaged, or without such a frame.
        LimitError: larger pictures than allowed.
        MissingPackageError: without PyAV (extra ``data``).
    """
    path = Path(path)
    number = frame_number(frame, video_length(path), str(path)) if frame else 0
    with opened_video(path) as (container, stream):
        last = None
        for picture in islice(decoded_frames(container, stream, path), number + 1):
            last = picture
        if last is None:
            raise DataError(f"{path}: no frame can be decoded; fetch it again")
        return np.ascontiguousarray(last.to_ndarray(format="rgb24"))


def read_video_frames(path: str | Path, count: int) -> list[NDArray[np.uint8]]:
    """Frames from the first to the last, evenly spread, uint8 RGB (H, W, 3) each.

    Decoded in one pass: O(frames of the video), memory O(count).

    Args:
        path: the file.
        count: at most so many; all of a video that has fewer.

    Raises:
        DataError: missing, damaged, or without frames.
        LimitError: larger pictures than allowed.
        MissingPackageError: without PyAV (extra ``data``).
    """
    path = Path(path)
    wanted = set(np.linspace(0, max(video_length(path) - 1, 0), count).round().astype(int).tolist())
    with opened_video(path) as (container, stream):
        found = [
            np.ascontiguousarray(picture.to_ndarray(format="rgb24"))
            for i, picture in enumerate(decoded_frames(container, stream, path))
            if i in wanted
        ]
    if not found:
        raise DataError(f"{path}: no frame can be decoded; fetch it again")
    return found


def read_hdf5_channel(path: str | Path, modality: str, frame: str = "") -> NDArray[Any]:
    """One camera's picture in one frame of a WMCA clip.

    Layout: groups ``Frame_0``, ``Frame_1`` .. with a data set ``array`` of (C, H, W) or (H, W, C); C = 4:
    grey, depth, infrared, thermal; C = 6: red, green, blue, then those three; C = 3: colour.

    Args:
        path: the file.
        modality: one of `mien.data.pad_sample.MODALITIES`.
        frame: see `frame_number`; frames are counted in the order of their numbers.

    Returns:
        (H, W, 3) for "rgb" (grey repeated), else (H, W), of the type stored.

    Raises:
        DataError: missing, damaged, another layout, or without this camera or frame.
        LimitError: larger pictures than allowed.
        MissingPackageError: without h5py (extra ``data``).
    """
    h5py = require("h5py", extra="data")
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file; check the path")
    try:
        with h5py.File(path, "r") as file:
            names = sorted((int(m[1]), n) for n in file if (m := _FRAME.fullmatch(n)))
            name = names[frame_number(frame, len(names), str(path))][1]
            kept = file.get(f"{name}/array", getlink=True)
            data = file[name].get("array") if isinstance(kept, h5py.HardLink) else None
            if not isinstance(data, h5py.Dataset) or data.ndim != 3:
                raise DataError(f"{path}: {name} has no data set 'array' (C, H, W); is it a WMCA clip?")
            if data.size > 8 * max_image_pixels():
                raise LimitError(f"{path}: {name} has shape {data.shape}, larger than allowed")
            array = np.asarray(data[()])
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        raise DataError(f"{path}: not an HDF5 clip that can be read ({error})") from None
    return _channel(array, modality, f"{path}: {name}")


def _channel(array: NDArray[Any], modality: str, where: str) -> NDArray[Any]:
    """One camera out of (C, H, W) or (H, W, C)."""
    planes = array if array.shape[0] in (3, 4, 6) else np.moveaxis(array, -1, 0)
    layouts: dict[int, Sequence[str]] = {3: ("rgb",), 4: MODALITIES, 6: MODALITIES}
    cameras = layouts.get(planes.shape[0], ())
    if modality not in cameras:
        held = ", ".join(cameras) or "an unknown layout"
        raise DataError(f"{where}: shape {array.shape} holds {held}, no {modality}; use the CDIT variant")
    if modality == "rgb":
        color = planes[:3] if len(planes) != 4 else np.repeat(planes[:1], 3, axis=0)
        return np.ascontiguousarray(np.moveaxis(color, 0, -1))
    return np.ascontiguousarray(planes[MODALITIES.index(modality) - len(MODALITIES)])


def is_hdf5(path: Path) -> bool:
    """By its ending."""
    return path.suffix.lower() in HDF5_SUFFIXES


def is_video(path: Path) -> bool:
    """By its ending."""
    return path.suffix.lower() in VIDEO_SUFFIXES
