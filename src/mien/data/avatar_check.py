"""Checks of a user's sets of talking heads: packed HDTF, Multiface, RAVDESS."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mien.core.errors import DataError, MienError, MissingPackageError
from mien.core.images import read_image
from mien.data.check import CheckReport, Problems, one_line
from mien.data.hdtf import SPLITS as HDTF_SPLITS
from mien.data.hdtf import hdtf_problems, hdtf_resolutions, read_hdtf
from mien.data.multiface import multiface_entities, multiface_missing, read_multiface
from mien.data.ravdess import ACTORS, EMOTIONS, RavdessClip, parse_ravdess, ravdess_files
from mien.data.video import decoded_frames, opened_video

AVATAR_KINDS = ("hdtf", "multiface", "ravdess")
PEOPLE_OF_MULTIFACE = 13
_Parts = dict[str, dict[str, int]]


def guess_avatar_kind(path: Path) -> str | None:
    """Which set of talking heads lies at a path, or None."""
    if not path.is_dir():
        return None
    if hdtf_resolutions(path) and any((path / f"{split}_list.txt").is_file() for split in HDTF_SPLITS):
        return "hdtf"
    for kind, look in (("multiface", multiface_entities), ("ravdess", ravdess_files)):
        try:
            look(path)
        except DataError:
            continue
        return kind
    return None


def check_avatar(kind: str, path: Path, decode: bool = True) -> CheckReport:
    """Reads a set of talking heads with its reader and lists what is wrong. O(bytes); not decoding, O(files).

    Problems: missing or damaged lists, tracks and pictures; people in two splits of HDTF; wrong names; videos
    without a frame. Noted: people or actors that are not there.

    Args:
        kind: one of `AVATAR_KINDS`.
        path: of the set.
        decode: also decode every picture (of videos the first frame); otherwise only lists, tracks and names.
    """
    checks: dict[str, Callable[[Path, bool, Problems, list[str]], _Parts]] = {
        "hdtf": _hdtf,
        "multiface": _multiface,
        "ravdess": _ravdess,
    }
    problems, notes, shown = Problems(), list[str](), _Parts()
    try:
        shown = checks[kind](path, decode, problems, notes)
    except (DataError, MissingPackageError) as error:
        problems.add(str(error))
    lines = tuple(dict.fromkeys(map(one_line, notes)))
    return CheckReport(kind, one_line(str(path)), shown, problems.lines(), lines)


def _hdtf(path: Path, decode: bool, problems: Problems, notes: list[str]) -> _Parts:
    sizes = hdtf_resolutions(path)
    if len(sizes) > 1:
        notes.append(f"{len(sizes)} resolutions, {', '.join(map(str, sizes))}; looked at {sizes[-1]}")
    shown, people = _Parts(), dict[str, set[str]]()
    for split in HDTF_SPLITS:
        try:
            found = read_hdtf(path, split)
        except DataError as error:
            problems.add(str(error))
            continue
        people[split] = {clip.person for clip in found.clips}
        frames = sum(clip.frames for clip in found.clips)
        shown[split] = {"clips": len(found), "people": len(people[split]), "frames": frames}
        for text in hdtf_problems(found, decode):
            problems.add(text)
    if both := sorted(people.get("train", set()) & people.get("test", set())):
        problems.add(f"{path}: {len(both)} people are in train and in test: {', '.join(both[:5])}")
    return shown


def _multiface(path: Path, decode: bool, problems: Problems, notes: list[str]) -> _Parts:
    frames = read_multiface(path)
    for text in multiface_missing(path):
        problems.add(text)
    for frame in frames if decode else ():
        try:
            read_image(frame.path)
        except MienError as error:
            problems.add(str(error))
    shown = _Parts()
    for person in dict.fromkeys(frame.person for frame in frames):
        own = [frame for frame in frames if frame.person == person]
        shown[person] = {
            "pictures": len(own),
            "expressions": len({frame.expression for frame in own}),
            "cameras": len({frame.camera for frame in own}),
        }
    if len(shown) < PEOPLE_OF_MULTIFACE:
        notes.append(f"{len(shown)} people, the published set has {PEOPLE_OF_MULTIFACE}")
    return shown


def _ravdess(path: Path, decode: bool, problems: Problems, notes: list[str]) -> _Parts:
    clips = list[RavdessClip]()
    for file in ravdess_files(path):
        try:
            clips.append(parse_ravdess(file))
            if decode:
                _first_frame(file)
        except MissingPackageError as error:
            notes.append(f"videos were not opened: {error}")
        except MienError as error:
            problems.add(str(error))
    shown = {
        emotion: {"clips": len(own), "actors": len({clip.actor for clip in own})}
        for emotion in EMOTIONS
        if (own := [clip for clip in clips if clip.emotion == emotion])
    }
    if lacking := sorted(set(ACTORS) - {clip.actor for clip in clips}):
        notes.append(f"no clips of actors {', '.join(f'{a:02d}' for a in lacking)}")
    if not clips:
        problems.add(f"{path}: no clips (.mp4) of any actor; fetch the video archives")
    return shown


def _first_frame(path: Path) -> None:
    with opened_video(path) as (container, stream):
        if next(decoded_frames(container, stream, path), None) is None:
            raise DataError(f"{path}: no frame in it can be decoded; fetch it again")
