"""Multiface: 13 people, each expression seen by 40 to 160 calibrated cameras at once.

``ROOT/m--20180227--0000--6795937--GHS/``: ``KRT`` (cameras), ``frame_list.txt`` (expression, frame), and
``images/EXPRESSION/CAMERA/FRAME.png``. A user's copy usually holds some expressions and cameras only.

Source: Wuu et al., Multiface: a dataset for neural face rendering (arXiv 2207.11243).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mien.core.errors import DataError
from mien.core.io import read_text

Floats = NDArray[np.floating[Any]]
_ENTITY = re.compile(r"m--(\d{8})--(\d{4})--(\d+)--GHS", re.ASCII)
_FRAME = re.compile(r"\d{6}", re.ASCII)


class MultifaceCamera(NamedTuple):
    """One calibrated camera; OpenCV's axes (x right, y down, z forward), millimetres.

    Attributes:
        name: as its folder.
        intrinsics: (3, 3) pixels.
        distortion: (5,) as the file has it.
        rotation: (3, 3) world to camera.
        translation: (3,) millimetres; x_cam = R X + t.
    """

    name: str
    intrinsics: Floats
    distortion: Floats
    rotation: Floats
    translation: Floats


class MultifaceFrame(NamedTuple):
    """One picture: the person's number, expression, camera, number of the frame, and its file."""

    person: str
    expression: str
    camera: str
    frame: str
    path: Path


class MultifaceRun(NamedTuple):
    """One run of the multi-view test: ``source`` is inverted, ``targets`` are made from it and compared."""

    source: MultifaceFrame
    targets: tuple[MultifaceFrame, ...]


def multiface_entities(root: str | Path) -> tuple[Path, ...]:
    """The people's folders at a path, or the path itself if it is one.

    Raises:
        DataError: there is none.
    """
    root = Path(root).expanduser()
    found = [root] if _is_entity(root) else sorted(p for p in root.glob("m--*--GHS") if _is_entity(p))
    if not found:
        raise DataError(f"{root}: no folder m--DATE--0000--NUMBER--GHS with a KRT file here; check the path")
    return tuple(found)


def _is_entity(path: Path) -> bool:
    return _ENTITY.fullmatch(path.name) is not None and (path / "KRT").is_file()


def read_krt(path: str | Path) -> dict[str, MultifaceCamera]:
    """The cameras of a KRT file: name, 3 rows of K, one of distortion, 3 rows of [R | t]. O(cameras).

    Raises:
        DataError: missing, or not of this form.
    """
    lines = [line.split() for line in read_text(path).splitlines() if line.strip()]
    if not lines or len(lines) % 8:
        raise DataError(f"{path}: {len(lines)} lines with text, not eight for each camera; fetch it again")
    cameras = {}
    for start in range(0, len(lines), 8):
        name = lines[start][0]
        try:
            k, d, rt = (
                np.array(rows, np.float64)
                for rows in (lines[start + 1 : start + 4], lines[start + 4], lines[start + 5 : start + 8])
            )
            fits = k.shape == (3, 3) and d.ndim == 1 and rt.shape == (3, 4)
        except ValueError:  # no numbers, or rows of different lengths
            fits = False
        if not fits or not all(np.isfinite(v).all() for v in (k, d, rt)):
            raise DataError(f"{path}: camera {name} is not 3 x 3, distortion, 3 x 4 numbers; fetch it again")
        if np.abs(rt[:, :3] @ rt[:, :3].T - np.eye(3)).max() > 1e-3:
            raise DataError(f"{path}: the rotation of camera {name} is none; fetch it again")
        cameras[name] = MultifaceCamera(name, k, d, rt[:, :3], rt[:, 3])
    return cameras


def read_frame_list(path: str | Path) -> tuple[tuple[str, str], ...]:
    """(expression, frame) of each line of ``frame_list.txt``.

    Raises:
        DataError: missing, or a line of another form.
    """
    out = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        words = line.split()
        if words and (len(words) != 2 or not _FRAME.fullmatch(words[1]) or "/" in words[0]):
            raise DataError(f"{path}:{number}: expected 'EXPRESSION 000102', got {line[:60]!r}")
        if words:
            out.append((words[0], words[1]))
    return tuple(out)


def read_multiface(
    root: str | Path,
    *,
    people: Iterable[str] | None = None,
    expressions: Iterable[str] | None = None,
    cameras: Iterable[str] | None = None,
) -> tuple[MultifaceFrame, ...]:
    """The pictures that are there, by person, expression, frame, camera; none is opened. O(files).

    Args:
        root: of the people's folders, or one of them.
        people: numbers to keep, such as "6795937"; None: all. People apart are how to split it.
        expressions: names to keep, such as "E001_Neutral_Eyes_Open"; None: all.
        cameras: names to keep, such as "400002"; None: all that KRT calibrates.

    Raises:
        DataError: nothing is there, a damaged KRT, or a picture of a camera that KRT does not have.
    """
    wanted = [None if v is None else set(v) for v in (people, expressions, cameras)]
    out: list[MultifaceFrame] = []
    for entity in multiface_entities(root):
        person = entity.name.split("--")[3]
        if wanted[0] is not None and person not in wanted[0]:
            continue
        known = read_krt(entity / "KRT")
        for path in entity.glob("images/*/*/*.png"):
            frame = MultifaceFrame(person, path.parts[-3], path.parts[-2], path.stem, path)
            if any(w is not None and v not in w for w, v in zip(wanted[1:], frame[1:3], strict=True)):
                continue
            if frame.camera not in known:
                raise DataError(f"{path}: camera {frame.camera} is not in {entity / 'KRT'}; fetch both again")
            out.append(frame)
    if not out:
        raise DataError(
            f"{root}: no pictures images/EXPRESSION/CAMERA/FRAME.png of these; fetch the raw images"
        )
    return tuple(sorted(out, key=lambda f: (f.person, f.expression, f.frame, f.camera)))


def multiface_runs(frames: Iterable[MultifaceFrame], source_camera: str) -> tuple[MultifaceRun, ...]:
    """The multi-view test: from the first frame of one camera, all other frames and views of a person's clip.

    Paper is silent: which camera is the source; name it beside the result (a frontal one).

    Args:
        frames: of `read_multiface`.
        source_camera: whose first frame is the source.

    Returns:
        One run for each person and expression.

    Raises:
        DataError: a clip that this camera did not see.
    """
    clips: dict[tuple[str, str], list[MultifaceFrame]] = {}
    for frame in frames:
        clips.setdefault((frame.person, frame.expression), []).append(frame)
    return tuple(_run(clip, source_camera) for clip in clips.values())


def _run(clip: list[MultifaceFrame], camera: str) -> MultifaceRun:
    seen = [f for f in clip if f.camera == camera]
    if not seen:
        where = f"{clip[0].person} {clip[0].expression}"
        raise DataError(f"{where}: no picture of camera {camera}; it has {clip[0].camera} and others")
    source = min(seen, key=lambda f: f.frame)
    return MultifaceRun(source, tuple(f for f in clip if f != source))


def multiface_missing(root: str | Path) -> Iterator[str]:
    """Listed frames of expressions that are there, but of which no camera has a picture; a line each."""
    for entity in multiface_entities(root):
        listed = read_frame_list(entity / "frame_list.txt")
        for expression in sorted(p.name for p in (entity / "images").glob("*") if p.is_dir()):
            have = {p.stem for p in (entity / "images" / expression).glob("*/*.png")}
            lacking = [f for e, f in listed if e == expression and f not in have]
            if lacking:
                yield (
                    f"{entity / 'images' / expression}: no picture of frame {lacking[0]}"
                    f" ({len(lacking)} listed frames are missing)"
                )
