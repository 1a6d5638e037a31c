"""ImageNet-LT and Places-LT: text lists of image files, one ``path label`` a line."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import numpy as np

from mien.core.errors import DataError
from mien.core.io import read_text
from mien.data.config import ClassificationData
from mien.data.labelled import FileImages, LabelledImages, Splits
from mien.data.longtail import split_off

IMAGENET_CLASSES = 1000
PLACES_CLASSES = 365


def safe_name(name: str, where: str) -> str:
    """A listed file name, if it stays below the folder of its list.

    Raises:
        DataError: empty, absolute, with ``..``, or with a null byte.
    """
    path = PurePosixPath(name)
    if not name or "\0" in name or path.is_absolute() or ".." in path.parts:
        raise DataError(
            f"{where}: {name!r} leads outside the data folder; list files relative to it, without '..'"
        )
    return name


def empty_classes_note(images: LabelledImages) -> str:
    """A sentence on classes without a training image, or nothing."""
    empty = int((images.counts() == 0).sum())
    return f"{empty} of {len(images.classes)} classes have no training image" if empty else ""


def read_list(path: Path, num_classes: int) -> tuple[list[str], list[int]]:
    """Names and labels of a list of ``path label`` lines; file names may hold spaces. Opens no picture.

    Raises:
        DataError: with file and line: no label, a label out of range, or a path that leaves the folder.
    """
    names: list[str] = []
    labels: list[int] = []
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        parts = line.rsplit(maxsplit=1)
        # Not int() alone: it takes signs, underscores and other scripts' digits.
        if len(parts) != 2 or not (parts[1].isascii() and parts[1].isdigit()) or len(parts[1]) > 9:
            raise DataError(
                f"{where}: expected 'path label', got {line.strip()[:120]!r}; mend or delete the line"
            )
        label = int(parts[1])
        if label >= num_classes:
            raise DataError(f"{where}: label {label} out of range; the set has classes 0..{num_classes - 1}")
        names.append(safe_name(parts[0], where))
        labels.append(label)
    if not names:
        raise DataError(f"{path}: the list is empty; fetch it again")
    return names, labels


def imagenet_splits(config: ClassificationData) -> Splits:
    """ImageNet-LT: ``ImageNet_LT_{train,val,test}.txt`` in ``root``, pictures below it."""
    root = config.require_root()
    train, val, test = (
        _listed(root, f"ImageNet_LT_{part}.txt", IMAGENET_CLASSES) for part in ("train", "val", "test")
    )
    classes = _named(train, IMAGENET_CLASSES)
    note = f"test: ImageNet_LT_test.txt, {len(test[0])} images"
    return _splits([_images(root, listed, classes) for listed in (train, val, test)], note)


def places_splits(config: ClassificationData) -> Splits:
    """Places-LT: ``Places_LT_{train,val,test}.txt`` in ``root``, pictures below it.

    Without the test list (the released JSON had none), the val list is the test set, and validation images
    are held out of training, so that nothing is chosen on the test set; the note says which.
    """
    root = config.require_root()
    parts = ["train", "val", "test"] if (root / "Places_LT_test.txt").is_file() else ["train", "val"]
    lists = [_listed(root, f"Places_LT_{part}.txt", PLACES_CLASSES) for part in parts]
    classes = _named(lists[0], PLACES_CLASSES)
    sets = [_images(root, listed, classes) for listed in lists]
    if len(sets) == 2:
        train, val = split_off(sets[0], config.val_per_class, config.subset_seed)
        sets = [train, val, sets[1]]
        note = f"test: Places_LT_val.txt (no test list); validation: {len(val)} images held out of training"
    else:
        note = "test: Places_LT_test.txt"
    note += f"; {len(sets[2])} test images, {len(sets[2]) / PLACES_CLASSES:.4g} per class"
    return _splits(sets, note)


def _images(root: Path, listed: tuple[list[str], list[int]], classes: tuple[str, ...]) -> LabelledImages:
    return FileImages(root, listed[0], np.array(listed[1], dtype=np.int64), classes)


def _splits(sets: list[LabelledImages], note: str) -> Splits:
    train, val, test = sets
    return Splits(train, val, test, note="; ".join(filter(None, (note, empty_classes_note(train)))))


def _listed(root: Path, name: str, num_classes: int) -> tuple[list[str], list[int]]:
    if not (root / name).is_file():
        raise DataError(f"{root}: no {name}; put the published list into this folder, beside the pictures")
    return read_list(root / name, num_classes)


def _named(listed: tuple[list[str], list[int]], num_classes: int) -> tuple[str, ...]:
    """Class names from the folders of the training list (below its first), else numbers."""
    folders: dict[int, str] = {}
    for name, label in zip(*listed, strict=True):
        folders.setdefault(label, "/".join(PurePosixPath(name).parts[1:-1]))
    names = [folders.get(i) or str(i) for i in range(num_classes)]
    return tuple(names) if len(set(names)) == num_classes else tuple(str(i) for i in range(num_classes))
