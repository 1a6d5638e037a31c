"""Finds the face of a user's picture and brings it to the standard place.

The detector is MediaPipe, which needs older packages than mien: `mien.data.track_script` runs in an
environment of its own, named by ``$MIEN_TRACKER``, and exchanges arrays by file.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.core.errors import DataError, MissingPackageError
from mien.data.labelled import Picture

VARIABLE = "MIEN_TRACKER"
SCRIPT = Path(__file__).with_name("track_script.py")
MESH_68 = (
    127, 234, 132, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 361, 454, 356,
    70, 63, 105, 66, 107, 336, 296, 334, 293, 300,
    168, 197, 5, 1, 98, 97, 2, 326, 327,
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181,
    78, 81, 13, 311, 308, 402, 14, 178,
)  # fmt: skip
"""Vertex of MediaPipe's mesh near each of iBUG's 68 landmarks: jaw, brows, nose, eyes, lips, inner lips."""
_INNER, _MARGIN = 512, 64  # pixels of the square in which a picture is looked at, and of the border around it
_SECONDS = 600


@dataclass(frozen=True, eq=False)
class FoundFace:
    """What the detector says of one picture.

    Attributes:
        count: faces in it that have landmarks.
        box: (4,) left, top, right, bottom of the largest, pixels; NaN if there is none.
        points: (5, 2) its landmarks in the order of `mien.render.alignment.TEMPLATE`, pixels with the origin
            at the corner of the first; NaN if there are none.
    """

    count: int
    box: NDArray[np.float64]
    points: NDArray[np.float64]

    @property
    def is_found(self) -> bool:
        """Whether there is a face."""
        return self.count > 0

    @property
    def side(self) -> float:
        """Shorter side of the largest face's box, pixels; 0 if there is none."""
        return float(np.nan_to_num(np.minimum(*(self.box[2:] - self.box[:2]))))


NOBODY = FoundFace(0, np.full(4, np.nan), np.full((5, 2), np.nan))


def tracker_python() -> str:
    """The interpreter that has MediaPipe.

    Raises:
        MissingPackageError: ``$MIEN_TRACKER`` is not set, and this environment has none.
    """
    if named := os.environ.get(VARIABLE):
        return named
    if importlib.util.find_spec("mediapipe") is not None:
        return sys.executable
    raise MissingPackageError(
        f"--detector mediapipe needs MediaPipe in an environment of its own: make it as {SCRIPT} says in its"
        f" first lines, then set {VARIABLE} to its python"
    )


def find_faces(pictures: Sequence[Picture]) -> list[FoundFace]:
    """The largest face of each picture. One start of the detector (two where a picture has several faces).

    Args:
        pictures: (H, W, 3) uint8 of any sizes.

    Raises:
        MissingPackageError: there is no MediaPipe.
        DataError: it fails.
    """
    if not pictures:
        return []
    tracks = _tracked(pictures)
    crowds = [(i, box) for i, t in enumerate(tracks) if t.count > 1 for box in t.boxes]
    parts = [_part(pictures[i], box) for i, box in crowds]
    # Landmarks of a crowd may be anybody's, and a box without any is no face: each is looked at alone.
    alone = _tracked([part for part, _ in parts])
    people: dict[int, list[FoundFace]] = {}
    for (i, box), (_, corner), face in zip(crowds, parts, alone, strict=True):
        points = face.points + corner
        if _is_inside(points, box):
            people.setdefault(i, []).append(FoundFace(1, box, points))
    out = []
    for i, t in enumerate(tracks):
        if t.count == 1 and np.isfinite(t.points).all():
            out.append(FoundFace(1, t.boxes[0], t.points))
        elif i in people:
            out.append(replace(people[i][0], count=len(people[i])))
        else:
            out.append(NOBODY)
    return out


def find_landmarks(pictures: Sequence[Picture], python: str | None = None) -> NDArray[np.float64]:
    """(N, 68, 2) landmarks of one face in each picture; see `find_landmarks_3d`."""
    return find_landmarks_3d(pictures, python)[..., :2]


def find_landmarks_3d(pictures: Sequence[Picture], python: str | None = None) -> NDArray[np.float64]:
    """(N, 68, 3) landmarks of one face in each picture, iBUG's order, pixels; NaN where there is none.

    The third number is a guess of the mesh's model: away from the camera, from the middle of the head.

    Args:
        pictures: (H, W, 3) uint8 of any sizes.
        python: the interpreter that has MediaPipe; default `tracker_python`.

    Raises:
        MissingPackageError: there is no MediaPipe.
        DataError: it fails.
    """
    if not pictures:
        return np.zeros((0, 68, 3))
    squares, scales, corners = zip(*map(_square, pictures), strict=True)
    mesh = track(np.stack(squares), ("mesh",), python)["mesh"][:, list(MESH_68)].astype(np.float64)
    mesh[..., :2] -= np.stack(corners)[:, None]
    return np.asarray(mesh / np.array(scales)[:, None, None])


@dataclass(frozen=True, eq=False)
class _Track:
    """What was found in one picture: boxes (M, 4), larger first, and one face's landmarks (5, 2)."""

    count: int
    boxes: NDArray[np.float64]
    points: NDArray[np.float64]


def _is_inside(points: NDArray[np.float64], box: NDArray[np.float64]) -> bool:
    """Whether there are landmarks, and their middle lies in a box: not those of a neighbour."""
    middle = points.mean(0)
    return bool((middle > box[:2]).all() and (middle < box[2:]).all())  # False for NaN


def _part(picture: Picture, box: NDArray[np.float64]) -> tuple[Picture, NDArray[np.float64]]:
    """A face with half its width around it, and where its corner lies."""
    grown = np.concatenate([box[:2] - 0.5 * (box[2:] - box[:2]), box[2:] + 0.5 * (box[2:] - box[:2])])
    height, width = picture.shape[:2]
    left, right = np.clip(grown[[0, 2]], 0, width).astype(int)
    top, bottom = np.clip(grown[[1, 3]], 0, height).astype(int)
    return picture[top : max(bottom, top + 1), left : max(right, left + 1)], np.array([left, top], float)


def _tracked(pictures: Sequence[Picture]) -> list[_Track]:
    if not pictures:
        return []
    squares, scales, corners = zip(*map(_square, pictures), strict=True)
    arrays = track(np.stack(squares))
    out = []
    for k, (scale, corner) in enumerate(zip(scales, corners, strict=True)):
        boxes = (arrays["boxes"][k].astype(np.float64) - np.tile(corner, 2)) / scale
        points = (arrays["points"][k].astype(np.float64) - corner) / scale
        out.append(_Track(int(arrays["faces"][k]), boxes[np.isfinite(boxes).all(1)], points))
    return out


def _square(picture: Picture) -> tuple[Picture, float, NDArray[np.float64]]:
    """A picture in the middle of a square of fixed size, its border repeated; its scale and its corner."""
    from PIL import Image

    height, width = picture.shape[:2]
    scale = _INNER / max(height, width)
    shape = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = np.asarray(Image.fromarray(picture).resize(shape, Image.Resampling.BICUBIC))
    room = [_INNER - n for n in small.shape[:2]]
    rows, columns = ((_MARGIN + r // 2, _MARGIN + r - r // 2) for r in room)
    square = np.pad(small, (rows, columns, (0, 0)), mode="edge")
    return square, scale, np.array([columns[0], rows[0]], np.float64)


def track(
    images: NDArray[np.uint8],
    names: Sequence[str] = ("faces", "boxes", "points"),
    python: str | None = None,
    flags: Sequence[str] = (),
) -> dict[str, NDArray[Any]]:
    """What `mien.data.track_script` finds in pictures (N, H, W, 3) of one size.

    Args:
        images: the pictures.
        names: arrays wanted.
        python: the interpreter that has MediaPipe; default `tracker_python`.
        flags: of the script.

    Raises:
        MissingPackageError: there is no MediaPipe, or its interpreter does not start.
        DataError: it fails.
    """
    python = python or tracker_python()
    with tempfile.TemporaryDirectory() as folder:
        given, out = Path(folder) / "in.npz", Path(folder) / "out.npz"
        np.savez(given, images=images)
        try:
            done = subprocess.run(  # noqa: S603
                [python, str(SCRIPT), str(given), str(out), *flags],
                capture_output=True,
                text=True,
                timeout=_SECONDS,
            )
        except subprocess.TimeoutExpired:
            raise DataError(
                f"{python}: no answer from MediaPipe in {_SECONDS} s; give fewer pictures"
            ) from None
        except OSError as error:
            raise MissingPackageError(
                f"{VARIABLE}={python}: cannot start ({error.strerror}); name the python of MediaPipe's"
                " environment"
            ) from None
        if done.returncode:
            last = (done.stderr.strip() or "no message").splitlines()[-1]
            raise DataError(f"{python} {SCRIPT.name}: {last[:300]}")
        with np.load(out, allow_pickle=False) as archive:
            return {k: archive[k] for k in names}


def aligned_face(picture: Picture, points: NDArray[np.float64], size: int) -> Picture:
    """The face at the standard place, (size, size, 3), for any size; large ones are averaged, not sampled.

    Args:
        picture: (H, W, 3) uint8.
        points: (5, 2) landmarks, pixels with the origin at the corner of the first.
        size: pixels a side.
    """
    from PIL import Image

    from mien.render.alignment import TEMPLATE, similarity, warp

    def matrix(side: int) -> NDArray[np.float64]:
        return np.asarray(similarity(points - 0.5, (TEMPLATE + 0.5) * (side / 112) - 0.5))

    scale = float(np.linalg.norm(matrix(size)[:, 0]))
    side = size * max(1, min(16, int(np.floor(1 / scale)))) if scale < 1 else size
    face = warp(picture, matrix(side), side)
    if side == size:
        return face
    return np.asarray(Image.fromarray(face).resize((size, size), Image.Resampling.BOX))
