"""Checks of a user's face sets: records, people in folders, verification pairs, IJB, MegaFace."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from mien.core.errors import DataError, MienError
from mien.data.check import CheckReport, Problems, one_line, summary
from mien.data.face_check import face_checks, is_grey
from mien.data.face_folder import FaceFolder
from mien.data.ijb import IjbSet, read_ijb
from mien.data.megaface import read_megaface
from mien.data.record_check import check_record, label_notes
from mien.data.verification import PUBLISHED
from mien.data.verification_sets import RAW, VerificationSet, guess_verification, open_verification

PAIR_KINDS = ("verification", *RAW, "agedb")
FACE_KINDS = ("record", "faces", *PAIR_KINDS, "ijb", "megaface")


def guess_face_kind(path: Path) -> str | None:
    """What kind of face set lies at a path, or None. A tree of folders may be of any classes."""
    if path.is_file() and path.suffix.lower() == ".rec":
        return "record"
    if path.is_dir():
        if any(path.glob("*.rec")):
            return "record"
        if any((path / "meta").glob("ijb?_face_tid_mid.txt")):
            return "ijb"
        if (path / "facescrub_lst").is_file() or (path / "megaface_lst").is_file():
            return "megaface"
    kind = guess_verification(path)
    if kind is not None:
        return "verification" if kind in ("bin", "array folder") else kind
    if path.is_dir() and ((path / "set.json").is_file() or any(path.glob("*.tar"))):
        return "faces"
    return None


def check_face_set(kind: str, path: Path, decode: bool = True) -> CheckReport:
    """Reads a face set with its reader and looks at its pictures.

    Args:
        kind: one of `FACE_KINDS`.
        path: file or folder.
        decode: also decode every picture; otherwise only read the lists and see that the files exist.
    """
    if kind == "record":
        return _record(path, decode)
    checks: dict[str, Callable[[Path, bool], CheckReport]] = {
        "faces": _folder,
        "ijb": _ijb,
        "megaface": _megaface,
    }
    try:
        if kind in checks:
            return checks[kind](path, decode)
        told = guess_verification(path) if kind == "verification" else kind
        return _pairs(kind, open_verification(str(path), told), path, decode)
    except DataError as error:
        return CheckReport(kind, one_line(str(path)), {}, (one_line(str(error)),), ())


def _record(path: Path, decode: bool) -> CheckReport:
    """A record, and the verification sets that lie beside it."""
    report = check_record(path, decode)
    problems, notes = Problems([*report.problems]), [*report.notes]
    for beside in sorted(path.glob("*.bin")) if path.is_dir() else ():
        found = check_face_set("verification", beside, decode)
        for problem in found.problems:
            problems.add(problem)
        pairs = found.splits.get("pairs", {}).get("pairs", 0)
        notes += [f"{beside.name}: {pairs:,} pairs", *found.notes] if pairs else []
    return CheckReport(report.kind, report.root, report.splits, problems.lines(), tuple(notes))


def _folder(path: Path, decode: bool) -> CheckReport:
    images = FaceFolder(path)
    if decode:
        report = face_checks(images, None)
        problems, notes = report.problems, report.notes
    else:
        problems, notes = (), tuple(label_notes(images.targets, len(images.classes)))
    notes = (*notes, images.note) if images.note else notes
    return CheckReport("faces", one_line(str(path)), {"train": summary(images)}, problems, notes)


def _pairs(kind: str, pairs: VerificationSet, path: Path, decode: bool) -> CheckReport:
    """Every picture decodes, and none is compared with itself."""
    problems, notes = Problems(), [pairs.note] if pairs.note else []
    itself = np.flatnonzero(pairs.pairs[:, 0] == pairs.pairs[:, 1])
    if len(itself):
        problems.add(f"{path}: pair {itself[0]} compares a picture with itself ({len(itself)} such pairs)")
    if pairs.same.all() or not pairs.same.any():
        problems.add(f"{path}: all pairs are of {'one person' if pairs.same.all() else 'two people'}")
    grey = 0
    for place in range(len(pairs.faces)) if decode else ():
        try:
            grey += is_grey(pairs.faces.pictures([place])[0])
        except MienError as error:
            problems.add(str(error))
    if grey:
        notes.append(f"{grey} of {len(pairs.faces)} pictures are grey")
    expected = PUBLISHED.get(kind)
    if expected not in (None, len(pairs)):
        notes.append(f"{len(pairs):,} pairs, the published set has {expected:,}")
    same = int(pairs.same.sum())
    numbers = {
        "pictures": len(pairs.faces),
        "pairs": len(pairs),
        "same": same,
        "different": len(pairs) - same,
    }
    lines = tuple(map(one_line, notes))
    return CheckReport(kind, one_line(str(path)), {"pairs": numbers}, problems.lines(), lines)


def _ijb(path: Path, decode: bool) -> CheckReport:
    found = read_ijb(path)
    problems, notes = Problems(), list(filter(None, [found.note]))
    if missing := found.missing():
        problems.add(f"{path / 'loose_crop'}: no {missing[0]} ({len(missing)} of {len(found)} are missing)")
    pairs = searched = (0, 0)
    try:
        pairs, searched = _count_pairs(found), _count_searched(found)
    except DataError as error:
        problems.add(str(error))
    for place in range(len(found)) if decode and not missing else ():
        try:
            found.aligned(place)
        except MienError as error:
            problems.add(str(error))
    numbers = {
        "pictures": len(found),
        "templates": len(np.unique(found.templates)),
        "pairs": pairs[0],
        "same": pairs[1],
        "gallery": searched[0],
        "probes": searched[1],
    }
    lines = tuple(map(one_line, notes))
    return CheckReport(found.kind, one_line(str(path)), {"test": numbers}, problems.lines(), lines)


def _count_pairs(found: IjbSet) -> tuple[int, int]:
    """All 1:1 pairs and the genuine ones; reads the whole list block by block."""
    counts = np.zeros(2, np.int64)
    for first, _, same in found.pairs():
        counts += (len(first), int(same.sum()))
    return int(counts[0]), int(counts[1])


def _count_searched(found: IjbSet) -> tuple[int, int]:
    """Templates of the galleries and of the probes."""
    return sum(map(len, found.galleries())), len(found.probes())


def _megaface(path: Path, decode: bool) -> CheckReport:
    """The lists; pictures are only looked at where they lie below the lists' folder."""
    found = read_megaface(path)
    notes = list(filter(None, [found.note]))
    counts = np.bincount(found.probe_people)
    if single := int((counts == 1).sum()):
        notes.append(f"{single} people with one probe only; they have no pair")
    numbers = {
        "probes": len(found.probes),
        "people": len(found.people),
        "distractors": len(found.distractors),
        "noisy_probes": int(found.noisy_probes.sum()),
        "noisy_distractors": int(found.noisy_distractors.sum()),
    }
    lines = tuple(map(one_line, notes))
    return CheckReport("megaface", one_line(str(path)), {"test": numbers}, (), lines)
