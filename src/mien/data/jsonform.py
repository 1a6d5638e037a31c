"""The JSON form of the released long-tail code: annotations with path, size and class.

``{"annotations": [{"image_id", "fpath", "im_height", "im_width", "category_id"}], "num_classes": N}``
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mien.core.errors import DataError
from mien.core.io import read_json
from mien.data.config import ClassificationData
from mien.data.inat import entries
from mien.data.labelled import FileImages, LabelledImages, Splits
from mien.data.lists import empty_classes_note, safe_name
from mien.data.longtail import split_off

PARTS = ("train", "val", "test")


def json_files(config: ClassificationData) -> dict[str, Path]:
    """The split files that exist, by split.

    ``root`` is a folder with ``train.json`` and so on, or the training file itself; then its siblings are
    named like it, with "val" or "test" for the last "train" (``Places_LT_train.json``).
    """
    given = Path(config.root or "").expanduser()
    if not given.is_file():
        folder = config.require_root()
        files = {part: folder / f"{part}.json" for part in PARTS}
    else:
        head, found, tail = given.name.rpartition("train")
        if not found:
            raise DataError(
                f"{given}: the training file has no 'train' in its name; give the folder of train.json"
            )
        files = {part: given.with_name(head + part + tail) for part in PARTS}
    present = {part: path for part, path in files.items() if path.is_file()}
    if "train" not in present or len(present) < 2:
        expected = ", ".join(path.name for path in files.values())
        raise DataError(f"{files['train'].parent}: needs {expected} (val or test may be missing, not both)")
    return present


def read_annotations(path: Path) -> tuple[list[dict[str, Any]], int]:
    """Checked annotations of one file, and its number of classes.

    Raises:
        DataError: not of this form, a class out of range, or a path that leaves the folder.
    """
    listed = read_json(path)
    fields = {"fpath": str, "category_id": int}
    annotations = entries(listed, "annotations", path, fields)
    count = listed.get("num_classes")
    if type(count) is not int or count < 1:
        raise DataError(f"{path}: no 'num_classes' (a whole number of at least 1)")
    for place, entry in enumerate(annotations):
        if not 0 <= entry["category_id"] < count:
            raise DataError(
                f"{path}: annotations[{place}] has category_id {entry['category_id']}, not in 0..{count - 1}"
            )
        safe_name(entry["fpath"], f"{path}: annotations[{place}]")
    return annotations, count


def json_splits(config: ClassificationData) -> Splits:
    """Splits from ``train.json``, ``val.json``, ``test.json``; ``fpath`` is relative to their folder.

    Without ``test.json``, ``val.json`` is the test set; then, and without ``val.json``, validation images are
    held out of training, so that nothing is chosen on the test set.
    """
    files = json_files(config)
    sets: dict[str, LabelledImages] = {}
    sizes: dict[str, int] = {}
    for part, path in files.items():
        annotations, sizes[path.name] = read_annotations(path)
        names = [entry["fpath"] for entry in annotations]
        labels = np.array([entry["category_id"] for entry in annotations], dtype=np.int64)
        sets[part] = FileImages(path.parent, names, labels, [str(i) for i in range(sizes[path.name])])
    if len(set(sizes.values())) != 1:
        raise DataError(f"{files['train'].parent}: num_classes differ: {sizes}; they must agree")
    note = ""
    if len(sets) < len(PARTS):
        absent = "val" if "test" in sets else "test"
        sets.setdefault("test", sets.get("val", sets["train"]))
        sets["train"], sets["val"] = split_off(sets["train"], config.val_per_class, config.subset_seed)
        used = "" if absent == "val" else f" {files['val'].name} is the test set;"
        note = f"no {absent} file:{used} validation: {len(sets['val'])} images held out of training"
    note = "; ".join(filter(None, (note, empty_classes_note(sets["train"]))))
    return Splits(sets["train"], sets["val"], sets["test"], note=note)


def declared_sizes(config: ClassificationData) -> dict[Path, tuple[int, int]]:
    """Height and width that the files declare for each picture, where they do."""
    sizes: dict[Path, tuple[int, int]] = {}
    for path in json_files(config).values():
        for entry in read_annotations(path)[0]:
            if type(entry.get("im_height")) is int and type(entry.get("im_width")) is int:
                sizes[path.parent / entry["fpath"]] = (entry["im_height"], entry["im_width"])
    return sizes
