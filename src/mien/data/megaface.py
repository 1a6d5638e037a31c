"""MegaFace challenge 1: lists of probes and distractors, lists of noise, and feature files."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.core.errors import DataError, ShapeError
from mien.core.io import read_text, write_bytes
from mien.data.lists import safe_name

_HEAD = struct.Struct("<4i")
_FLOAT = 5  # the header's code of float32
_LONGEST = 1 << 20


@dataclass(frozen=True, eq=False)
class MegaFaceSet:
    """The lists of MegaFace with FaceScrub probes.

    Attributes:
        root: folder of the lists.
        probes: FaceScrub pictures, ``person/file``.
        people: names of the probes' people, sorted.
        probe_people: (P,) int64, who is on each probe.
        distractors: MegaFace pictures, ``dir/dir/file``.
        noisy_probes: (P,) bool, listed as noise.
        noisy_distractors: (D,) bool, listed as noise.
        note: what a reader should know, or nothing.
    """

    root: Path
    probes: tuple[str, ...]
    people: tuple[str, ...]
    probe_people: NDArray[np.int64]
    distractors: tuple[str, ...]
    noisy_probes: NDArray[np.bool_]
    noisy_distractors: NDArray[np.bool_]
    note: str = ""


def read_megaface(root: str | Path) -> MegaFaceSet:
    """Probes, distractors and what is known to be wrong with them, from the lists of a folder.

    Read are ``facescrub_lst`` and ``megaface_lst`` and, if present, the two ``_noises.txt`` of these names.
    Lists have one path on a line. Noise lists have lines of text after ``#`` skipped, and the path (of
    FaceScrub: the file) in their last column.

    Args:
        root: folder of the lists.

    Raises:
        DataError: a list is missing, empty or damaged (line).
    """
    root = Path(root)
    probes = _paths(root / "facescrub_lst", 2)
    distractors = _paths(root / "megaface_lst", 1)
    owners = [name.split("/")[-2] for name in probes]
    people = tuple(sorted(set(owners)))
    number = {name: i for i, name in enumerate(people)}
    noisy, notes = {}, []
    for file in ("facescrub_noises.txt", "megaface_noises.txt"):
        path = root / file
        noisy[file] = _noises(path) if path.is_file() else set()
        notes += [] if path.is_file() else [f"no {file}: nothing is refined there"]
    scrub, mega = noisy["facescrub_noises.txt"], noisy["megaface_noises.txt"]
    return MegaFaceSet(
        root=root,
        probes=probes,
        people=people,
        probe_people=np.array([number[name] for name in owners], np.int64),
        distractors=distractors,
        noisy_probes=np.array([p in scrub or p.rsplit("/", 1)[-1] in scrub for p in probes], bool),
        noisy_distractors=np.array([d in mega for d in distractors], bool),
        note="; ".join(notes),
    )


def read_megaface_feature(path: str | Path) -> NDArray[np.float32]:
    """The vector of one feature file: four int32 (length, 1, 4, 5), then float32.

    Args:
        path: ``<picture>_<algorithm>.bin``.

    Raises:
        DataError: missing, or its bytes are not what its header says.
    """
    path = Path(path)
    try:
        with path.open("rb") as stream:
            data = stream.read(_HEAD.size + 4 * _LONGEST + 1)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; check the path") from None
    except OSError as error:
        raise DataError(f"{path}: cannot read ({error.strerror or error})") from None
    if len(data) < _HEAD.size:
        raise DataError(f"{path}: {len(data)} bytes, shorter than the header of a feature; write it again")
    length, columns, step, kind = _HEAD.unpack_from(data)
    if (columns, step, kind) != (1, 4, _FLOAT) or length <= 0:
        raise DataError(f"{path}: header {(length, columns, step, kind)}, expected (length, 1, 4, 5)")
    if len(data) != _HEAD.size + 4 * length:
        found = (len(data) - _HEAD.size) / 4
        raise DataError(f"{path}: header promises {length} numbers, {found:g} follow; write it again")
    return np.frombuffer(data, "<f4", offset=_HEAD.size).astype(np.float32)


def write_megaface_feature(path: str | Path, feature: NDArray[np.floating]) -> Path:
    """Writes a vector as the development kit reads it, whole or not at all.

    Args:
        path: ``<picture>_<algorithm>.bin``.
        feature: (D,) finite numbers.

    Raises:
        ShapeError: not one vector, or not finite.
    """
    values = np.asarray(feature, "<f4")
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise ShapeError(f"{path}: a feature is one vector of finite numbers, got shape {values.shape}")
    return write_bytes(path, _HEAD.pack(len(values), 1, 4, _FLOAT) + values.tobytes())


def _paths(path: Path, parts: int) -> tuple[str, ...]:
    names = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not (name := line.strip()):
            continue
        if len(safe_name(name, f"{path}:{number}").split("/")) < parts:
            raise DataError(f"{path}:{number}: expected 'person/file', got {name[:80]!r}")
        names.append(name)
    if not names:
        raise DataError(f"{path}: the list is empty; fetch it again")
    return tuple(names)


def _noises(path: Path) -> set[str]:
    lines = (line.strip() for line in read_text(path).splitlines())
    return {line.split("\t")[-1] for line in lines if line and not line.startswith("#")}
