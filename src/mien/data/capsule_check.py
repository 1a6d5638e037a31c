"""Checks of a user's copies of faces for graphics capsules: CelebA, BFM, BP4D, Multi-PIE."""

from __future__ import annotations

from pathlib import Path

from mien.core.errors import DataError, MienError
from mien.data.bfm import bfm_files
from mien.data.bp4d import BP4D_PEOPLE, bp4d_files, bp4d_people
from mien.data.capsule_files import CAPSULE_PARTS, FaceFile, Part, read_face
from mien.data.celeba import ALIGNED, WILD, celeba_files
from mien.data.check import CheckReport, Problems, one_line, published_notes
from mien.data.multipie import MULTIPIE_PEOPLE, multipie_files

CAPSULE_KINDS = ("celeba", "bfm", "bp4d", "multipie")
_PEOPLE = {"bp4d": BP4D_PEOPLE, "multipie": MULTIPIE_PEOPLE}


def guess_capsule_kind(path: Path) -> str | None:
    """Which of these sets lies at a path, or None."""
    if not path.is_dir():
        return None
    if (path / WILD).is_dir() or (path / ALIGNED).is_dir():
        return "celeba"
    if all((path / part / "image").is_dir() and (path / part / "depth").is_dir() for part in CAPSULE_PARTS):
        return "bfm"
    if next(path.glob("session0?/multiview"), None):
        return "multipie"
    try:
        return "bp4d" if bp4d_people(path) and any(path.glob("[FM]???/T?")) else None
    except DataError:
        return None


def check_capsules(kind: str, path: Path, decode: bool = True) -> CheckReport:
    """Reads a set with its reader and lists what is wrong. O(files), O(bytes) if ``decode``.

    Problems: broken lists, missing, damaged or tiny pictures, pictures without their depth. Noted: parts that
    are not there, fewer people than published.

    Args:
        kind: one of `CAPSULE_KINDS`.
        path: of the set.
        decode: also open every picture.
    """
    problems, notes = Problems(), list[str]()
    shown: dict[str, dict[str, int]] = {}
    people = set[int]()
    for part in CAPSULE_PARTS:
        try:
            files = _files(kind, path, part)
        except MienError as error:
            problems.add(str(error))
            continue
        own = {file.identity for file in files if file.identity is not None}
        people |= own
        shown[part] = {
            "images": len(files),
            "people": len(own),
            "landmarks": sum(f.landmarks is not None for f in files),
        }
        for place in (p for file in files for p in (file.path, file.depth) if p is not None):
            _look(place, decode, problems)
    if kind in _PEOPLE and people:
        notes += published_notes({"people": len(people)}, {"people": _PEOPLE[kind]})
    lines = dict.fromkeys(problems.lines())  # the same list is read for each part
    return CheckReport(kind, one_line(str(path)), shown, tuple(lines), tuple(notes))


def _files(kind: str, path: Path, part: Part) -> list[FaceFile]:
    readers = {"celeba": celeba_files, "bfm": bfm_files, "bp4d": bp4d_files, "multipie": multipie_files}
    return readers[kind](path, part)


def _look(place: Path, decode: bool, problems: Problems) -> None:
    try:
        if decode:
            read_face(place)
        elif not place.is_file():
            problems.add(f"{place}: no such file; fetch it again")
    except MienError as error:
        problems.add(str(error))
