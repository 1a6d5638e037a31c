"""Any image folder: one folder per class, already split or not."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mien.core.errors import DataError
from mien.core.images import SUFFIXES
from mien.data.config import ClassificationData
from mien.data.labelled import FileImages, LabelledImages, Splits
from mien.data.longtail import configured, split_off

TRAIN_NAMES = ("train", "training")
VAL_NAMES = ("val", "valid", "validation")
TEST_NAMES = ("test", "testing")
VAL_SHARE, TEST_SHARE = 0.1, 0.2


def folder_splits(config: ClassificationData) -> Splits:
    """Splits of ``root/{train,val,test}/CLASS/*`` or of ``root/CLASS/*``; classes are sorted by folder name.

    An unsplit folder is split by a hash of each file's name, 70/10/20 within each class, so the same files
    give the same splits anywhere. Hidden files are ignored, other files that are no pictures are counted in
    the note, links to folders are followed once. ``imbalance`` then thins out the training images.

    Raises:
        DataError: no class folders, or one without pictures (named).
    """
    root = config.require_root()
    scan = _Scan(root)
    split = _split_folders(root)
    sets = _given_splits(scan, split, config) if split else _hashed_splits(scan, _subfolders(root), config)
    train = sets["train"]
    train = train.subset(configured(train.targets, len(train.classes), config))
    return Splits(train, sets["val"], sets["test"], note="; ".join(scan.notes()))


def class_folders(root: Path) -> tuple[list[str], dict[str, list[list[str]]]]:
    """Classes of a folder, and for each split its pictures by class; without splits they are those of "".

    Args:
        root: see `folder_splits`; one class alone will do.

    Returns:
        Names of the classes, and split -> class -> paths relative to ``root``.

    Raises:
        DataError: a class without pictures, or one that training does not have.
    """
    scan, split = _Scan(root), _split_folders(root)
    classes = _subfolders(root / split["train"]) if split else _subfolders(root)
    if not classes:
        raise DataError(f"{root}: no folders of classes or people there; give the folder that holds them")
    if not split:
        return classes, {"": [scan.pictures(c) for c in classes]}
    parts = {part: _pictures_of(scan, split["train"], folder, classes) for part, folder in split.items()}
    return classes, parts


def _pictures_of(scan: _Scan, first: str, folder: str, classes: list[str]) -> list[list[str]]:
    """Pictures of one split by class; none of a class that it lacks."""
    here = _subfolders(scan.root / folder)
    if unknown := sorted(set(here) - set(classes)):
        raise DataError(f"{scan.root / folder / unknown[0]}: no such class in {first}; rename or move it")
    return [scan.pictures(f"{folder}/{c}") if c in here else [] for c in classes]


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What lies in a folder, sorted by name, without hidden files."""
    try:
        with os.scandir(folder) as found:
            return sorted((e for e in found if not e.name.startswith(".")), key=lambda e: e.name)
    except OSError as error:
        raise DataError(
            f"{folder}: cannot list the folder ({error.strerror}); check its permissions"
        ) from None


def _subfolders(folder: Path) -> list[str]:
    return [entry.name for entry in _entries(folder) if entry.is_dir()]


def _split_folders(root: Path) -> dict[str, str]:
    """Split -> its folder's name; empty if ``root`` holds classes.

    A folder "train" is a split only if it holds folders itself: it may be a class of vehicles.
    """
    present = {name.lower(): name for name in reversed(_subfolders(root))}
    found = {
        part: next((present[name] for name in names if name in present), "")
        for part, names in (("train", TRAIN_NAMES), ("val", VAL_NAMES), ("test", TEST_NAMES))
    }
    if not found["train"] or not _subfolders(root / found["train"]):
        return {}
    if not found["val"] and not found["test"]:
        raise DataError(f"{root}: has {found['train']}, but neither val nor test beside it; add one")
    return {part: name for part, name in found.items() if name}


class _Scan:
    """Lists the pictures of class folders, and remembers what it left out."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.remarks: list[str] = []
        self.strangers: Counter[str] = Counter()

    def pictures(self, folder: str) -> list[str]:
        """Names relative to the root of the pictures below a folder, sorted.

        Raises:
            DataError: there is none.
        """
        names: list[str] = []
        self._walk(folder, names, set())
        if not names:
            raise DataError(f"{self.root / folder}: no pictures in this class; add some or delete the folder")
        return sorted(names)

    def _walk(self, folder: str, names: list[str], seen: set[tuple[int, int]]) -> None:
        status = os.stat(self.root / folder)
        if (status.st_dev, status.st_ino) in seen:  # a link back up, or a second link to the same folder
            return
        seen.add((status.st_dev, status.st_ino))
        for entry in _entries(self.root / folder):
            name = f"{folder}/{entry.name}"
            if entry.is_dir():
                self._walk(name, names, seen)
            elif entry.name.lower().endswith(SUFFIXES):
                names.append(name)
            else:
                self.strangers[Path(entry.name).suffix.lower() or "no ending"] += 1

    def notes(self) -> list[str]:
        """What a reader should know."""
        if self.strangers:
            kinds = ", ".join(f"{count} {kind}" for kind, count in self.strangers.most_common(5))
            self.remarks.append(f"{self.strangers.total()} files are no pictures and were left out ({kinds})")
        return self.remarks


def _given_splits(
    scan: _Scan, split: dict[str, str], config: ClassificationData
) -> dict[str, LabelledImages]:
    classes = _subfolders(scan.root / split["train"])
    _check_classes(scan.root / split["train"], classes)
    sets: dict[str, LabelledImages] = {}
    for part, folder in split.items():
        names = _pictures_of(scan, split["train"], folder, classes)
        if missing := names.count([]):
            scan.remarks.append(f"{folder} lacks {missing} of {len(classes)} classes")
        sets[part] = _images(scan.root, classes, names)
    if len(sets) < 3:
        if "test" not in sets:
            sets["test"] = sets["val"]
            scan.remarks.append(f"no test folder: {split['val']} is the test set")
        sets["train"], sets["val"] = split_off(sets["train"], config.val_per_class, config.subset_seed)
        scan.remarks.append(f"validation: {len(sets['val'])} images held out of training")
    return sets


def _hashed_splits(scan: _Scan, classes: list[str], config: ClassificationData) -> dict[str, LabelledImages]:
    _check_classes(scan.root, classes)
    parts: dict[str, list[list[str]]] = {"train": [], "val": [], "test": []}
    single = []
    for name in classes:
        # By name inside the class, so that renaming or moving the folder changes nothing.
        names = scan.pictures(name)
        for part, places in hashed_parts([n.partition("/")[2] for n in names]).items():
            parts[part].append([names[i] for i in places])
        single += [name] if len(names) == 1 else []
    scan.remarks += single_note(single)
    sets: dict[str, LabelledImages] = {p: _images(scan.root, classes, names) for p, names in parts.items()}
    scan.remarks.append("split 70/10/20 within each class by a hash of the file names")
    return sets


def hashed_parts(names: Sequence[str]) -> dict[str, list[int]]:
    """Places of one class's pictures in train, val and test, 70/10/20 by a hash of their names.

    A lone picture is for training; of two, one is. Places are in the order of the names. O(N log N).
    """
    ranked = sorted(range(len(names)), key=lambda i: _rank(names[i]))
    total = len(names)
    test = max(round(TEST_SHARE * total), 1) if total > 1 else 0
    val = min(round(VAL_SHARE * total), total - test - 1) if total > 1 else 0
    parts = {"test": ranked[:test], "val": ranked[test : test + val], "train": ranked[test + val :]}
    return {part: sorted(places, key=lambda i: names[i]) for part, places in parts.items()}


def single_note(classes: Sequence[str]) -> list[str]:
    """What to say of classes that have one picture, or nothing."""
    shown = ", ".join(repr(n) for n in classes[:5]) + (" ..." if len(classes) > 5 else "")
    return [f"{len(classes)} classes have one image, used for training only: {shown}"] if classes else []


def _rank(name: str) -> bytes:
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()


def _check_classes(folder: Path, classes: list[str]) -> None:
    if len(classes) < 2:
        raise DataError(
            f"{folder}: {len(classes)} class folders, needs two or more; give the folder that holds them"
        )


def _images(root: Path, classes: list[str], names: list[list[str]]) -> FileImages:
    labels = np.repeat(np.arange(len(classes)), [len(n) for n in names])
    return FileImages(root, [name for group in names for name in group], labels, classes)
