"""The motion of a video's face as a track that drives an avatar: face actions and head pose of every frame.

    python tools/track.py VIDEO --tracker tracker -o track.npz [--fps 25] [--neutral 10]

MediaPipe finds the landmarks in an environment of its own (src/mien/data/track_script.py says how to make it;
default $MIEN_TRACKER); `mien.synth.fit_actions` explains them by the shipped human. The face should rest in
the first frames, turned to the camera: the motion is relative to them. Actions that landmarks do not show
(tongue, gaze) stay 0.

track.npz holds, of the T frames with a face: expression (T, 52), angles (T, 3) pitch, yaw, roll in radians,
translation (T, 3), focal (T,), error (T,), times (T,) in seconds; and fps, names (52,), found (all frames).
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mien.core.errors import ConfigError, MienError
from mien.core.io import new_file
from mien.data.face_detector import find_landmarks
from mien.data.video import read_video
from mien.synth.fit_actions import FittedClip, fit_clip

CHUNK = 256  # frames that one start of MediaPipe looks at


def landmarks(video: Path, fps: float, tracker: str | None) -> np.ndarray:
    """(T, 68, 2) pixels, NaN where no face is found. Memory O(`CHUNK` frames)."""
    frames = (frame.image for frame in read_video(video, fps))
    parts = [find_landmarks(chunk, tracker) for chunk in chunks(frames)]
    return np.concatenate(parts)


def interpreter(tracker: Path | None) -> str | None:
    """The python of an environment, given itself or the environment's folder."""
    return None if tracker is None else str(tracker / "bin" / "python" if tracker.is_dir() else tracker)


def chunks(frames: Iterator[np.ndarray]) -> Iterator[list[np.ndarray]]:
    """`CHUNK` frames at a time."""
    while chunk := list(itertools.islice(frames, CHUNK)):
        yield chunk


def write(path: Path, clip: FittedClip, fps: float) -> None:
    """The track, whole or not at all; nothing in it needs to be executed."""
    kept = clip.found
    arrays = {k: getattr(clip, k)[kept] for k in ("expression", "angles", "translation", "focal", "error")}
    arrays |= {"times": np.flatnonzero(kept) / fps, "fps": np.float64(fps), "found": kept}
    arrays["names"] = np.array(clip.names)
    with new_file(path) as part, part.open("wb") as stream:
        np.savez(stream, **arrays)


def main(arguments: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("video", type=Path)
    parser.add_argument("--tracker", type=Path, help="environment with mediapipe; default $MIEN_TRACKER")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="track.npz")
    parser.add_argument("--fps", type=float, default=25.0, help="frames a second of the track")
    parser.add_argument("--neutral", type=int, default=10, help="first frames, in which the face rests")
    given = parser.parse_args(arguments)
    try:
        if given.neutral < 1:
            raise ConfigError(f"--neutral {given.neutral} must be at least 1 frame")
        clip = fit_clip(landmarks(given.video, given.fps, interpreter(given.tracker)), given.neutral)
        write(given.output, clip, given.fps)
    except MienError as error:
        print(f"track: {error}", file=sys.stderr)
        return error.exit_code
    print(f"{given.output}: {int(clip.found.sum())} of {len(clip.found)} frames with a face,"
          f" landmarks off by {np.nanmedian(clip.error):.4f} picture sides")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
