"""Verification sets of every published form behind one interface: faces, and which of them are compared."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mien.core.errors import ConfigError, DataError
from mien.core.images import SUFFIXES, read_image
from mien.data.agedb import read_agedb
from mien.data.labelled import Picture
from mien.data.pairs import PairSet, read_calfw, read_cfp, read_cplfw, read_lfw_pairs
from mien.data.verification import VerificationBin, to_size

RAW: dict[str, tuple[str, ...]] = {
    "lfw": ("pairs.txt", "lfw/pairs.txt"),
    "cfp": ("Protocol/Pair_list_F.txt",),
    "calfw": ("pairs_CALFW.txt", "CALFW_pairs.txt"),
    "cplfw": ("pairs_CPLFW.txt", "CPLFW_pairs.txt"),
}
"""Sets in their published layout, and a file that tells each."""
_READERS: dict[str, Callable[[Path], PairSet]] = {
    "lfw": read_lfw_pairs,
    "cfp": read_cfp,
    "calfw": read_calfw,
    "cplfw": read_cplfw,
    "agedb": read_agedb,
}
_NAMED = re.compile(r"([A-Za-z0-9_.-]+)=(.+)")
_AGEDB = re.compile(r"[0-9]+_.+_[0-9]{1,3}_[mMfF]")


class Faces(Protocol):
    """Pictures by place."""

    def __len__(self) -> int:
        """How many."""
        ...

    def pictures(self, indices: Sequence[int] | NDArray[Any]) -> list[Picture]:
        """The pictures at these places, uint8 HWC."""
        ...


@dataclass(frozen=True, eq=False)
class VerificationSet:
    """Faces and pairs of them, fold by fold.

    Attributes:
        name: of the set.
        faces: F pictures, decoded when asked for.
        pairs: (N, 2) int64, places of faces.
        same: (N,) bool, whether a pair is one person.
        kind: "bin", "array folder", or the name of a published layout.
        note: what a reader should know, or nothing.
    """

    name: str
    faces: Faces
    pairs: NDArray[np.int64]
    same: NDArray[np.bool_]
    kind: str
    note: str = ""

    def __len__(self) -> int:
        return len(self.pairs)

    def cut(self, places: Iterable[int], size: int) -> Iterator[tuple[Picture, Picture, bool]]:
        """Pairs at these places, cut to (size, size, 3), one after the other."""
        for k in places:
            a, b = (to_size(p, size) for p in self.faces.pictures(self.pairs[k]))
            yield a, b, bool(self.same[k])


@dataclass(frozen=True)
class _Bin:
    """Faces of a `VerificationBin`."""

    whole: VerificationBin

    def __len__(self) -> int:
        return 2 * len(self.whole)

    def pictures(self, indices: Sequence[int] | NDArray[Any]) -> list[Picture]:
        """See `Faces`."""
        return [self.whole.face(int(i)) for i in indices]


@dataclass(frozen=True)
class _Files:
    """Faces of a `PairSet`."""

    paths: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def pictures(self, indices: Sequence[int] | NDArray[Any]) -> list[Picture]:
        """See `Faces`."""
        return [read_image(self.paths[int(i)]) for i in indices]


def split_name(word: str) -> tuple[str, Path]:
    """Name and path of ``PATH`` or ``NAME=PATH``; without a name the path's, lower case, without its ending.

    >>> split_name("/sets/lfw.bin")[0], split_name("mine=/sets/lfw.bin")[0]
    ('lfw', 'mine')
    """
    match = None if Path(word).expanduser().exists() else _NAMED.fullmatch(word)
    if match:
        return match[1], Path(match[2]).expanduser()
    path = Path(word).expanduser()
    return re.sub(r"[^a-z0-9_.-]+", "_", path.name.removesuffix(".bin").lower()), path


def verification_names(words: Sequence[str]) -> list[str]:
    """Names of configured sets.

    Raises:
        ConfigError: two have the same name, or one that a split already has.
    """
    names = [split_name(word)[0] for word in words]
    for name in names:
        if names.count(name) > 1 or name in ("val", "test", "train", "orl"):
            raise ConfigError(f"data.verification: the name {name!r} is taken; give another, as NAME=PATH")
    return names


def guess_verification(path: Path) -> str | None:
    """What kind of verification set lies at a path: bin, array folder, a published layout, or None."""
    if path.is_file():
        return "bin" if path.suffix.lower() == ".bin" else None
    if (path / "memfile" / "mem_file.dat").is_file():
        return "array folder"
    for kind, signs in RAW.items():
        if any((path / sign).is_file() for sign in signs):
            return kind
    return "agedb" if _is_agedb(path) else None


def _is_agedb(path: Path) -> bool:
    """Whether the first picture in a folder has a name of AgeDB's form."""
    if not path.is_dir():
        return False
    first = next((p for p in sorted(path.iterdir()) if p.suffix.lower() in SUFFIXES), None)
    return first is not None and _AGEDB.fullmatch(first.stem) is not None


def open_verification(word: str, kind: str | None = None) -> VerificationSet:
    """A verification set of any form. Lists are read and pictures looked for; none is decoded.

    Args:
        word: ``PATH`` or ``NAME=PATH``.
        kind: what it is; default told by what is there.

    Raises:
        DataError: nothing known is there, or it is damaged, hostile or incomplete.
    """
    name, path = split_name(word)
    if not path.exists():
        raise DataError(f"{path}: no such file or folder; check the path of the verification set")
    kind = kind or guess_verification(path)
    if kind is None:
        looked = "; ".join(f"{k}: {signs[0]}" for k, signs in RAW.items())
        raise DataError(
            f"{path}: no verification set there; looked for a .bin, memfile/mem_file.dat, {looked}"
        )
    if kind in ("bin", "array folder"):
        whole = VerificationBin(path)
        pairs = np.arange(2 * len(whole)).reshape(-1, 2)
        return VerificationSet(name, _Bin(whole), pairs, whole.same, kind, whole.note)
    found = _READERS[kind](path)
    order = np.argsort(found.folds, kind="stable")
    note = "; ".join(filter(None, (found.note, "pictures of another size are cut to their middle square")))
    return VerificationSet(name, _Files(found.images), found.pairs[order], found.same[order], kind, note)
