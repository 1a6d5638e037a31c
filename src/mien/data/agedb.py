"""AgeDB: people at different ages, told by the names of the pictures."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.core.errors import ConfigError, DataError
from mien.core.images import SUFFIXES
from mien.core.io import read_text
from mien.core.seeds import derive
from mien.data.lists import safe_name
from mien.data.pairs import PairSet, existing, paired
from mien.data.verification import blocks


@dataclass(frozen=True, eq=False)
class AgeDbNames:
    """Pictures of AgeDB, from their names ``id_name_age_gender.jpg``.

    Attributes:
        images: paths.
        people: (N,) int64, 0-based, in the order of the names.
        names: of the people.
        ages: (N,) int64.
    """

    images: tuple[Path, ...]
    people: NDArray[np.int64]
    names: tuple[str, ...]
    ages: NDArray[np.int64]


_AGE_NAME = re.compile(r"[0-9]+_(.+)_([0-9]{1,3})_[mMfF]")


def read_agedb_names(root: str | Path) -> AgeDbNames:
    """Who is on which picture of AgeDB, and how old.

    Args:
        root: folder of the pictures; folders in it are looked into.

    Raises:
        DataError: no picture there, or one whose name is not of this form.
    """
    root = Path(root)
    found = []
    for path in sorted(root.rglob("*")):
        if path.name.startswith(".") or path.suffix.lower() not in SUFFIXES:
            continue
        match = _AGE_NAME.fullmatch(path.stem)
        if match is None:
            raise DataError(f"{path}: expected a name like 123_MariaCallas_35_f.jpg; is it of AgeDB?")
        found.append((path, match[1], int(match[2])))
    if not found:
        raise DataError(f"{root}: no pictures there; give the folder that holds 0_MariaCallas_35_f.jpg, ...")
    names = tuple(sorted({name for _, name, _ in found}))
    number = {name: i for i, name in enumerate(names)}
    return AgeDbNames(
        tuple(path for path, _, _ in found),
        np.array([number[name] for _, name, _ in found], dtype=np.int64),
        names,
        np.array([age for _, _, age in found], dtype=np.int64),
    )


def read_agedb(
    root: str | Path,
    pairs: str | Path | None = None,
    *,
    gap: int = 30,
    per_fold: int = 300,
    folds: int = 10,
    seed: int = 0,
) -> PairSet:
    """AgeDB: pairs of a list, or pairs drawn from the names with a given difference of ages.

    A list has lines ``picture picture flag`` (1 same; 0 or -1 different), fold by fold. Without one, folds of
    different people are drawn: ``per_fold`` pairs of one person and as many of two, each ``gap`` or more
    years apart. These are not the published pairs, and the note says so.

    Args:
        root: folder of the pictures.
        pairs: the list.
        gap: years between the two pictures of a drawn pair, at least.
        per_fold: drawn pairs of each kind in a fold.
        folds: how many (a list is cut into as many equal blocks).
        seed: of the drawing.

    Raises:
        ConfigError: too few pictures for such pairs.
        DataError: a list that is damaged, or pictures that are missing.
    """
    root = Path(root)
    if pairs is None:
        return _drawn(read_agedb_names(root), gap, per_fold, folds, seed)
    listed = existing([Path(pairs)])
    found: list[tuple[str, str, bool]] = []
    for number, line in enumerate(read_text(listed).splitlines(), 1):
        words = line.split()
        if not words:
            continue
        if len(words) != 3 or words[2] not in ("1", "0", "-1"):
            raise DataError(f"{listed}:{number}: expected 'picture picture flag', got {line[:80]!r}")
        a, b = (safe_name(word, f"{listed}:{number}") for word in words[:2])
        found.append((a, b, words[2] == "1"))
    cut = blocks(len(found), folds).tolist()
    return paired(listed, [(*p, f) for p, f in zip(found, cut, strict=True)], [root])


def _drawn(known: AgeDbNames, gap: int, per_fold: int, folds: int, seed: int) -> PairSet:
    rng = np.random.default_rng(derive(seed, "agedb", gap, per_fold, folds))
    fold_of = rng.permutation(len(known.names)) % folds
    taken: list[tuple[int, int, bool, int]] = []
    for fold in range(folds):
        here = np.flatnonzero(fold_of[known.people] == fold)
        a, b = np.triu_indices(len(here), 1)
        a, b = here[a], here[b]
        far = np.abs(known.ages[a] - known.ages[b]) >= gap
        one = known.people[a] == known.people[b]
        for same in (True, False):
            options = np.flatnonzero(far & (one == same))
            if len(options) < per_fold:
                kind = "one person" if same else "two people"
                raise ConfigError(
                    f"AgeDB: fold {fold} has {len(options)} pairs of {kind} {gap} years apart,"
                    f" {per_fold} asked for; lower per_fold, folds or gap"
                )
            for k in rng.choice(options, per_fold, replace=False).tolist():
                taken.append((int(a[k]), int(b[k]), same, fold))
    note = f"pairs drawn from the names, {gap} or more years apart, seed {seed}: not the published list"
    columns = np.array(taken, dtype=np.int64)
    return PairSet(known.images, columns[:, :2], columns[:, 2] > 0, columns[:, 3], note)
