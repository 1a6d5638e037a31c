"""Verification sets as they are published: pictures in folders and lists of pairs.

LFW, CFP, CALFW and CPLFW (and AgeDB, see `mien.data.agedb`) all become a `PairSet`. Nothing is decoded here;
every listed picture is looked for at once, so that a partial copy is noticed before an evaluation.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mien.core.errors import DataError
from mien.core.images import SUFFIXES, read_image
from mien.core.io import read_text
from mien.data.lists import safe_name
from mien.data.verification import blocks

Pair = tuple[str, str, bool, int]  # two names, same person, fold
_NUMBER = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, eq=False)
class PairSet:
    """Pictures and which of them are compared.

    Attributes:
        images: path of each picture, once.
        pairs: (N, 2) int64, places in ``images``.
        same: (N,) bool, whether a pair is one person.
        folds: (N,) int64, 0-based.
        note: what a reader should know, or nothing.
    """

    images: tuple[Path, ...]
    pairs: NDArray[np.int64]
    same: NDArray[np.bool_]
    folds: NDArray[np.int64]
    note: str = ""

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8], bool]:
        """Both pictures of a pair, decoded (uint8 HWC RGB), and whether they are one person."""
        first, second = (read_image(self.images[i]) for i in self.pairs[index])
        return first, second, bool(self.same[index])


def read_lfw_pairs(root: str | Path, pairs: str | Path | None = None) -> PairSet:
    """Labeled Faces in the Wild: ``NAME/NAME_0001.jpg`` (below ``root`` or ``root/lfw``) and ``pairs.txt``.

    The first line has folds and pairs of one kind in a fold (``10 300``), or only the latter; each fold then
    has lines ``name i j`` (same) and ``name i other j`` (different). Aligned copies with other endings are
    found as well.

    Args:
        root: folder of the set.
        pairs: the list; default ``pairs.txt`` in or beside the folder of pictures.

    Raises:
        DataError: a list that is damaged (line), or pictures that are missing (first and count).
    """
    root = Path(root)
    listed = existing([Path(pairs)] if pairs else [root / "pairs.txt", root / "lfw" / "pairs.txt"])
    lines = [line.split() for line in read_text(listed).splitlines()]
    head = lines[0] if lines else []
    if len(head) not in (1, 2) or not all(map(_NUMBER.fullmatch, head)):
        raise DataError(f"{listed}:1: expected '10 300' (folds, pairs), got {' '.join(head)[:80]!r}")
    folds, each = (int(head[0]), int(head[1])) if len(head) == 2 else (1, int(head[0]))
    body = [(number, words) for number, words in enumerate(lines[1:], 2) if words]
    if len(body) != 2 * folds * each or not body:
        raise DataError(f"{listed}: {len(body)} pairs, its first line promises {2 * folds * each}")
    found = []
    for place, (number, words) in enumerate(body):
        same = len(words) == 3
        at = (1, 2) if same else (1, 3)
        if len(words) not in (3, 4) or not all(_NUMBER.fullmatch(words[i]) for i in at):
            raise DataError(f"{listed}:{number}: expected 'name i j' or 'name i other j', got {words[:5]}")
        a, b = _lfw_name(words[0], words[1]), _lfw_name(words[0] if same else words[2], words[at[1]])
        for name in (a, b):
            safe_name(name, f"{listed}:{number}")
        found.append((a, b, same, place // (2 * each)))
    folders = [root / "lfw", root / "images", root]
    return paired(listed, found, folders, other_endings=True)


def _lfw_name(person: str, number: str) -> str:
    return f"{person}/{person}_{int(number):04d}.jpg"


def read_cfp(root: str | Path, kind: Literal["FP", "FF"] = "FP") -> PairSet:
    """Celebrities in frontal and profile: ten splits of 350 + 350 pairs.

    Layout: ``Data/Images/001/{frontal,profile}/01.jpg``; ``Protocol/Pair_list_F.txt`` and ``Pair_list_P.txt``
    (lines ``index path``); ``Protocol/Split/FP/01/{same,diff}.txt`` (lines ``index,index``: the first is in
    list F, the second in list P for FP, F for FF).

    Args:
        root: the folder that holds ``Data`` and ``Protocol``.
        kind: frontal - profile, or frontal - frontal.

    Raises:
        DataError: a list is missing or damaged, or pictures are missing (first and count).
    """
    root = Path(root)
    protocol = root / "Protocol"
    first = _cfp_names(protocol / "Pair_list_F.txt")
    second = _cfp_names(protocol / "Pair_list_P.txt") if kind == "FP" else first
    splits = protocol / "Split" / kind
    folders = sorted(f for f in splits.iterdir() if f.is_dir()) if splits.is_dir() else []
    if not folders:
        raise DataError(f"{splits}: no splits there; the set has 01 .. 10, fetch it again")
    found: list[Pair] = []
    for fold, folder in enumerate(folders):
        for same, name in ((True, "same.txt"), (False, "diff.txt")):
            for number, line in enumerate(read_text(folder / name).splitlines(), 1):
                words = line.replace(",", " ").split()
                if not words:
                    continue
                if len(words) != 2 or words[0] not in first or words[1] not in second:
                    raise DataError(f"{folder / name}:{number}: expected 'index,index', got {line[:80]!r}")
                found.append((first[words[0]], second[words[1]], same, fold))
    return paired(splits, found, [root])


def _cfp_names(path: Path) -> dict[str, str]:
    """Index -> path below the set's folder; the lists give it relative to their own."""
    names = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        words = line.split(maxsplit=1)
        if not words:
            continue
        if len(words) != 2 or not _NUMBER.fullmatch(words[0]):
            raise DataError(f"{path}:{number}: expected 'index path', got {line[:80]!r}")
        names[words[0]] = safe_name(words[1].strip().removeprefix("../"), f"{path}:{number}")
    if not names:
        raise DataError(f"{path}: the list is empty; fetch it again")
    return names


def read_calfw(root: str | Path, pairs: str | Path | None = None) -> PairSet:
    """Cross-Age LFW: ``pairs_CALFW.txt`` and the folder ``aligned images`` or ``images``; see `read_cplfw`.

    Args:
        root: folder of the set.
        pairs: the list; default the published name in ``root``.
    """
    return _two_lines(Path(root), pairs, "CALFW")


def read_cplfw(root: str | Path, pairs: str | Path | None = None) -> PairSet:
    """Cross-Pose LFW: ``pairs_CPLFW.txt`` and the folder ``aligned images`` or ``images``.

    Lines ``picture flag``; two lines are a pair. Flag 0 is two people, else one person, and the number is the
    fold. Pairs of two people (and all, if no flag is above 1) are cut into ten folds in their order.

    Args:
        root: folder of the set.
        pairs: the list; default the published name in ``root``.

    Raises:
        DataError: a list that is damaged (line), or pictures that are missing (first and count).
    """
    return _two_lines(Path(root), pairs, "CPLFW")


def _two_lines(root: Path, pairs: str | Path | None, name: str) -> PairSet:
    listed = existing([Path(pairs)] if pairs else [root / f"pairs_{name}.txt", root / f"{name}_pairs.txt"])
    lines: list[tuple[int, str, int]] = []
    for number, line in enumerate(read_text(listed).splitlines(), 1):
        words = line.rsplit(maxsplit=1)
        if not words:
            continue
        if len(words) != 2 or not _NUMBER.fullmatch(words[1]):
            raise DataError(f"{listed}:{number}: expected 'picture flag', got {line[:80]!r}")
        lines.append((number, safe_name(words[0], f"{listed}:{number}"), int(words[1])))
    if len(lines) % 2 or not lines:
        raise DataError(f"{listed}: {len(lines)} pictures; two lines are a pair, so it is damaged or empty")
    found: list[tuple[str, str, int]] = []
    for (_, a, flag), (number, b, other) in zip(lines[::2], lines[1::2], strict=True):
        if flag != other:
            raise DataError(f"{listed}:{number}: flag {other}, but {flag} on the line before; two are a pair")
        found.append((a, b, flag))
    flags = np.array([flag for _, _, flag in found])
    folds = np.where(flags > 0, flags - 1, 0)
    for kind in (flags == 0, flags > 0) if flags.max() <= 1 else (flags == 0,):
        folds[kind] = blocks(int(kind.sum()), 10)
    cut = [(a, b, flag > 0, int(f)) for (a, b, flag), f in zip(found, folds, strict=True)]
    return paired(listed, cut, [root / "aligned images", root / "aligned_images", root / "images", root])


def existing(options: Sequence[Path]) -> Path:
    """The first of these files that is there."""
    for path in options:
        if path.is_file():
            return path
    raise DataError(f"{options[0]}: no such file; put the published list there")


def paired(
    listed: Path, found: Iterable[Pair], folders: Sequence[Path], other_endings: bool = False
) -> PairSet:
    """Names become places; all pictures must lie in one of the folders, the first that has any of them."""
    pairs = list(found)
    number: dict[str, int] = defaultdict(lambda: len(number))
    places = [(number[a], number[b]) for a, b, _, _ in pairs]
    if not places:
        raise DataError(f"{listed}: no pairs in it; fetch it again")
    paths: list[Path | None] = []
    for folder in folders:
        find = _finder(folder, other_endings)
        paths = [find(name) for name in number]
        if any(paths):
            break
    if missing := [name for name, path in zip(number, paths, strict=True) if path is None]:
        raise DataError(
            f"{listed}: names {missing[0]}, which is not in {folder if any(paths) else folders[0]}"
            f" ({len(missing)} of {len(number)} pictures are missing); complete the set"
        )
    columns = np.array(places, dtype=np.int64)
    same, folds = np.array([p[2] for p in pairs]), np.array([p[3] for p in pairs], dtype=np.int64)
    return PairSet(tuple(p for p in paths if p is not None), columns, same, folds)


def _finder(folder: Path, other_endings: bool) -> Callable[[str], Path | None]:
    """Looks names up in listings of their folders: one listing each, not one question each."""
    listings: dict[Path, dict[str, str]] = {}

    def find(name: str) -> Path | None:
        path = folder / PurePosixPath(name)
        if path.parent not in listings:
            here = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
            known = {n: n for n in here}
            if other_endings:
                stems = {Path(n).stem: n for n in sorted(here) if n.lower().endswith(SUFFIXES)}
                known = {f"{stem}.jpg": n for stem, n in stems.items()} | known
            listings[path.parent] = known
        actual = listings[path.parent].get(path.name)
        return path.with_name(actual) if actual else None

    return find
