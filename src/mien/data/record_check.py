"""Does a RecordIO set hold what it should? Reads all of it and lists what is wrong."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.core.errors import DataError, MienError
from mien.core.images import read_image
from mien.data.check import CheckReport, Problems, one_line
from mien.data.int_table import int_table
from mien.data.record import RecordFile, find_record, runs
from mien.data.record_writer import scan_records

_SHOWN = 5


def check_record(path: str | Path, decode: bool = True) -> CheckReport:
    """Reads a RecordIO set from end to end.

    Looked for: truncation and bad frames, an index that names other places than those where records begin,
    labels that are no class or beyond ``property``, identity records that disagree with the labels, pictures
    that do not decode, of another size than stated, or with the same bytes under two labels. Classes without
    a picture, people with one picture and grey pictures are noted.

    Args:
        path: the ``.rec`` file or its folder.
        decode: also decode every picture; otherwise only walk the records.
    """
    problems, notes = Problems(), list[str]()
    root = one_line(str(path))
    try:
        records = find_record(Path(path))
        _check_places(records, problems)
        faces = RecordFile(records)
        labels = faces.labels_of(slice(None))
        classes = faces.num_classes if faces.stated else int(labels.max(initial=-1)) + 1
    except DataError as error:
        problems.add(str(error))
        return CheckReport("record", root, {}, problems.lines(), ())
    _check_labels(faces, labels, classes, problems, notes)
    if faces.has_identity_records:
        _check_ranges(faces, labels, problems)
    _check_pictures(faces, labels, decode, problems, notes)
    counts = np.bincount(labels, minlength=classes)
    filled = counts[counts > 0]
    numbers = {
        "images": len(faces),
        "classes": classes,
        "largest": int(filled.max(initial=0)),
        "smallest": int(filled.min()) if filled.size else 0,
        "empty_classes": int((counts == 0).sum()),
    }
    style = "insightface" if faces.num_records > len(faces) else "im2rec"
    notes.insert(0, f"{style} style, {faces.num_records:,} records")
    return CheckReport("record", root, {"train": numbers}, problems.lines(), tuple(map(one_line, notes)))


def _check_places(records: Path, problems: Problems) -> None:
    """Walks all frames and compares their places with the index."""
    index = records.with_suffix(".idx")
    listed = set(int_table(index, 2)[:, 1].tolist()) if index.is_file() else None
    unlisted = count = 0
    try:
        for offset, _ in scan_records(records):
            count += 1
            if listed is not None:
                unlisted += offset not in listed
                listed.discard(offset)
    except DataError as error:
        problems.add(str(error))
        return
    if unlisted:
        problems.add(f"{index}: {unlisted} of {count} records are not in the index; delete it and rebuild it")
    if listed:
        problems.add(
            f"{index}: byte {min(listed)} is not where a record begins ({len(listed)} such places); delete it"
            " and rebuild it"
        )


def _check_labels(
    faces: RecordFile, labels: NDArray[np.int64], classes: int, problems: Problems, notes: list[str]
) -> None:
    if not len(labels):
        problems.add(f"{faces.path}: no pictures in it; fetch it again")
        return
    if faces.stated is None:
        notes.append("no file property: the number of classes is the largest label + 1")
    elif (top := int(labels.max())) >= classes:
        key = faces.keys[int(np.argmax(labels))]
        problems.add(
            f"{faces.path}: record {key} has the label {top}, but property says {classes} classes (0-based)"
        )
    notes += label_notes(labels, classes)


def label_notes(labels: NDArray[np.int64], classes: int) -> list[str]:
    """Remarks on classes without a picture, people with one picture, and people that do not lie together.

    Args:
        labels: (N,) classes.
        classes: how many there should be.
    """
    counts = np.bincount(labels, minlength=classes)
    notes = []
    if (empty := np.flatnonzero(counts == 0)).size:
        notes.append(
            f"labels have gaps: {empty.size} of {len(counts)} classes have no picture {_some(empty)}"
        )
    if (single := np.flatnonzero(counts == 1)).size:
        notes.append(f"people with one picture only: {single.size} {_some(single)}; they have no pair")
    if (extra := len(runs(labels)) - int((counts > 0).sum())) > 0:
        notes.append(f"the pictures of a person do not lie together ({extra} more runs than people)")
    return notes


def _some(values: NDArray[np.int64]) -> str:
    return f"({', '.join(map(str, values[:_SHOWN].tolist()))}{', ...' if len(values) > _SHOWN else ''})"


def _check_ranges(faces: RecordFile, labels: NDArray[np.int64], problems: Problems) -> None:
    """Every picture belongs to one identity record, and one record holds one label."""
    try:
        ranges = faces.identity_ranges
    except DataError as error:
        problems.add(str(error))
        return
    change = np.zeros(len(labels) + 1, np.int64)
    np.add.at(change, ranges[:, 0], 1)
    np.add.at(change, ranges[:, 1], -1)
    owners = np.cumsum(change)[:-1]
    for wrong, what in ((owners == 0, "no identity record"), (owners > 1, "several identity records")):
        if wrong.any():
            first = faces.keys[int(np.argmax(wrong))]
            problems.add(f"{faces.path}: {int(wrong.sum())} pictures belong to {what}, the first is {first}")
    steps = np.concatenate([[0], np.cumsum(labels[1:] != labels[:-1])])
    filled = ranges[ranges[:, 1] > ranges[:, 0]]
    mixed = steps[filled[:, 0]] != steps[filled[:, 1] - 1]
    if mixed.any():
        first, last = faces.keys[filled[int(np.argmax(mixed))] - [0, 1]]
        problems.add(
            f"{faces.path}: {int(mixed.sum())} identity records hold more than one label, the first the"
            f" pictures {first}..{last}"
        )


def _check_pictures(
    faces: RecordFile, labels: NDArray[np.int64], decode: bool, problems: Problems, notes: list[str]
) -> None:
    hashes = np.zeros(len(faces), np.uint64)
    grey = 0
    size = faces.image_size if faces.stated else None
    for place in range(len(faces)):
        try:
            data = faces.encoded(place)[0]
            hashes[place] = int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")
            if not decode:
                continue
            image = read_image(data, name=f"{faces.path}: picture of record {faces.keys[place]}")
        except MienError as error:
            problems.add(str(error))
            continue
        size = size or image.shape[:2]
        if image.shape[:2] != size:
            height, width = image.shape[:2]
            problems.add(
                f"{faces.path}: record {faces.keys[place]} is {height} x {width} (H x W), expected"
                f" {size[0]} x {size[1]}"
            )
        grey += bool((image[..., :1] == image).all())
    if grey:
        notes.append(f"{grey} of {len(faces)} pictures are grey")
    _check_twice(faces, labels, hashes, problems, notes)


def _check_twice(
    faces: RecordFile,
    labels: NDArray[np.int64],
    hashes: NDArray[np.uint64],
    problems: Problems,
    notes: list[str],
) -> None:
    order = np.lexsort((labels, hashes))
    again = hashes[order][1:] == hashes[order][:-1]
    conflict = again & (labels[order][1:] != labels[order][:-1])
    if conflict.any():
        at = int(np.argmax(conflict))
        a, b = faces.keys[order[at]], faces.keys[order[at + 1]]
        problems.add(
            f"{faces.path}: records {a} and {b} hold the same bytes under the labels {labels[order[at]]} and"
            f" {labels[order[at + 1]]} ({int(conflict.sum())} such conflicts)"
        )
    if same := int((again & ~conflict).sum()):
        notes.append(f"{same} pictures are there twice under the same label")
