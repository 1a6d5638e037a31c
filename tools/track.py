"""The motion of a video's face as a track that drives an avatar, or the keypoints of a photographed person.

    python tools/track.py VIDEO --tracker tracker -o track.npz [--fps 25] [--neutral 10]
    python tools/track.py PHOTO --body --tracker tracker -o person.npz

MediaPipe finds the landmarks in an environment of its own (src/mien/data/track_script.py says how to make it;
default $MIEN_TRACKER); `mien.synth.fit_actions` explains them by the shipped human. The face should rest in
the first frames, turned to the camera: the motion is relative to them. Actions that landmarks do not show
(tongue, gaze) stay 0.

track.npz holds, of the T frames with a face: expression (T, 52), angles (T, 3) pitch, yaw, roll in radians,
translation (T, 3), focal (T,), error (T,), times (T,) in seconds; and fps, names (52,), found (all frames).

person.npz, for ``mien predict car PHOTO --keypoints person.npz``, is of the most prominent person: keypoints
(1, 33, 3) x, y in pixels with the origin at the corner of the first, visibility; names (33,), left is the
subject's; size (2,) width, height; mask (H, W) uint8, 255 = person.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from mien.core.errors import DataError, MienError
from mien.core.images import read_image
from mien.core.io import new_file
from mien.data.face_detector import track
from mien.data.face_track import track_video, write_track


def interpreter(tracker: Path | None) -> str | None:
    """The python of an environment, given itself or the environment's folder."""
    return None if tracker is None else str(tracker / "bin" / "python" if tracker.is_dir() else tracker)


def body(photo: Path, tracker: str | None) -> dict[str, np.ndarray]:
    """The arrays of person.npz.

    Raises:
        DataError: no picture, or nobody in it.
    """
    picture = read_image(photo)
    found = track(picture[None], ("pose_found", "pose", "names", "person"), tracker, ("--body",))
    if not found["pose_found"][0]:
        raise DataError(f"{photo}: nobody is found in it; cut the photograph around the person")
    size = np.array(picture.shape[1::-1])
    return {"keypoints": found["pose"], "names": found["names"], "size": size, "mask": found["person"][0]}


def write(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """A file, whole or not at all; nothing in it needs to be executed."""
    with new_file(path) as part, part.open("wb") as stream:
        np.savez(stream, **arrays)


def main(arguments: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("input", type=Path, metavar="VIDEO", help="a photograph with --body")
    parser.add_argument(
        "--body", action="store_true", help="keypoints and mask of the person in a photograph"
    )
    parser.add_argument("--tracker", type=Path, help="environment with mediapipe; default $MIEN_TRACKER")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.npz")
    parser.add_argument("--fps", type=float, default=25.0, help="frames a second of the track")
    parser.add_argument("--neutral", type=int, default=10, help="first frames, in which the face rests")
    given = parser.parse_args(arguments)
    try:
        if given.body:
            arrays = body(given.input, interpreter(given.tracker))
            write(given.output, arrays)
            seen = int((arrays["keypoints"][0, :, 2] >= 0.5).sum())
            print(f"{given.output}: {seen} of {len(arrays['names'])} keypoints surely seen")
            return 0
        clip = track_video(given.input, given.fps, given.neutral, interpreter(given.tracker))
        write_track(given.output, clip, given.fps)
    except MienError as error:
        print(f"track: {error}", file=sys.stderr)
        return error.exit_code
    print(f"{given.output}: {int(clip.found.sum())} of {len(clip.found)} frames with a face,"
          f" landmarks off by {np.nanmedian(clip.error):.4f} picture sides")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
