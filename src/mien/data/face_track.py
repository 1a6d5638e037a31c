"""The motion of a face in a video: landmarks by MediaPipe, explained by the shipped human's actions."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.core.errors import ConfigError, DataError
from mien.core.io import new_file
from mien.data.face_detector import find_landmarks
from mien.data.video import read_video
from mien.synth.fit_actions import FittedClip, fit_clip

CHUNK = 256  # frames that one start of MediaPipe looks at


def track_video(
    video: str | Path,
    fps: float = 25.0,
    neutral: int = 10,
    python: str | None = None,
    most: int | None = None,
) -> FittedClip:
    """What moves the face of a clip. Memory O(`CHUNK` frames).

    Args:
        video: of one face, at rest and turned to the camera in the first frames.
        fps: frames a second that are looked at.
        neutral: first frames, in which the face rests.
        python: interpreter that has MediaPipe; default ``$MIEN_TRACKER``.
        most: frames that are looked at; None: all.

    Raises:
        ConfigError: no neutral frame.
        DataError: the video cannot be read, or shows no face.
        MissingPackageError: there is no MediaPipe.
    """
    if neutral < 1:
        raise ConfigError(f"--neutral {neutral} must be at least 1 frame")
    frames = itertools.islice((frame.image for frame in read_video(video, fps)), most)
    parts = [find_landmarks(chunk, python) for chunk in _chunks(frames)]
    if not parts:
        raise DataError(f"{video}: no frames in it")
    return fit_clip(np.concatenate(parts), neutral)


def _chunks(frames: Iterator[NDArray[np.uint8]]) -> Iterator[list[NDArray[np.uint8]]]:
    """`CHUNK` frames at a time."""
    while chunk := list(itertools.islice(frames, CHUNK)):
        yield chunk


def write_track(path: str | Path, clip: FittedClip, fps: float) -> Path:
    """Writes a track (.npz): rows of the frames with a face, their times, ``found`` of all frames.

    Args:
        path: file to write, whole or not at all.
        clip: of `track_video`.
        fps: frames a second of it.
    """
    kept = clip.found
    arrays = {k: getattr(clip, k)[kept] for k in ("expression", "angles", "translation", "focal", "error")}
    times = np.flatnonzero(kept) / fps
    with new_file(path) as part, part.open("wb") as stream:
        np.savez(
            stream, **arrays, times=times, fps=np.float64(fps), found=kept, names=np.array(clip.names)
        )  # fmt: skip
    return Path(path)
