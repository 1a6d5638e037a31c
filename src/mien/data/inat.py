"""iNaturalist 2018: COCO-like JSON beside ``train_val2018/``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mien.core.errors import DataError
from mien.core.io import read_json
from mien.data.config import ClassificationData
from mien.data.labelled import FileImages, Splits
from mien.data.lists import empty_classes_note, safe_name
from mien.data.longtail import split_off


def inat_splits(config: ClassificationData) -> Splits:
    """Splits of iNaturalist 2018: training and validation out of ``train2018.json``, test = ``val2018.json``.

    Classes are the categories of the training file in the order of their ids, which need not be contiguous.

    Raises:
        DataError: a file is missing or not of this form; the message names the entry.
    """
    root = config.require_root()
    train_path, test_path = root / "train2018.json", root / "val2018.json"
    for path in (train_path, test_path):
        if not path.is_file():
            raise DataError(f"{root}: no {path.name}; unpack the published file beside train_val2018/")
    listed = read_json(train_path)
    index, classes = _categories(listed, train_path)
    names, labels, unlabelled = _pairs(listed, train_path, index)
    everything = FileImages(root, names, np.array(labels, dtype=np.int64), classes)
    train, val = split_off(everything, config.val_per_class, config.subset_seed)
    test_names, test_labels, test_unlabelled = _pairs(read_json(test_path), test_path, index)
    notes = [
        f"validation: {len(val)} images held out of {len(everything)} training images; test: val2018.json"
    ]
    if left_out := unlabelled + test_unlabelled:
        notes.append(f"{left_out} images without an annotation are left out")
    return Splits(
        train=train,
        val=val,
        test=FileImages(root, test_names, np.array(test_labels, dtype=np.int64), classes),
        note="; ".join(filter(None, (*notes, empty_classes_note(train)))),
    )


def entries(listed: Any, key: str, path: Path, fields: dict[str, type]) -> list[dict[str, Any]]:
    """The list under ``key``, each entry a dict that has these fields with these types.

    Raises:
        DataError: with file, list and place of the first entry that is not so.
    """
    values = listed.get(key) if isinstance(listed, dict) else None
    if not isinstance(values, list) or not values:
        raise DataError(f"{path}: no list {key!r} with entries in it; is this the right file?")
    for place, value in enumerate(values):
        for field, kind in fields.items():
            # type(), because True is an int to isinstance
            if not isinstance(value, dict) or type(value.get(field)) is not kind:
                raise DataError(
                    f"{path}: {key}[{place}] has no {field!r} ({kind.__name__}); mend or remove the entry"
                )
    return values


def _categories(listed: Any, path: Path) -> tuple[dict[int, int], tuple[str, ...]]:
    found = entries(listed, "categories", path, {"id": int})
    names = {c["id"]: str(c.get("name", c["id"])) for c in found}
    if len(names) != len(found):
        raise DataError(f"{path}: {len(found)} categories share {len(names)} ids; ids must differ")
    ids = sorted(names)
    return {category: place for place, category in enumerate(ids)}, tuple(names[i] for i in ids)


def _pairs(listed: Any, path: Path, index: dict[int, int]) -> tuple[list[str], list[int], int]:
    """File names, class indices, and how many images have no annotation."""
    images = entries(listed, "images", path, {"id": int, "file_name": str})
    annotations = entries(listed, "annotations", path, {"image_id": int, "category_id": int})
    labels: dict[int, int] = {}
    for place, entry in enumerate(annotations):
        image, category = entry["image_id"], entry["category_id"]
        if category not in index:
            raise DataError(
                f"{path}: annotations[{place}] has category_id {category}, which train2018.json lacks"
            )
        if labels.setdefault(image, index[category]) != index[category]:
            raise DataError(f"{path}: annotations[{place}] gives image {image} a second class; keep one")
    names, targets = [], []
    for place, entry in enumerate(images):
        if (label := labels.pop(entry["id"], None)) is not None:
            names.append(safe_name(entry["file_name"], f"{path}: images[{place}]"))
            targets.append(label)
    if labels:
        raise DataError(f"{path}: annotation of image {next(iter(labels))}, which is not in 'images'")
    return names, targets, len(images) - len(names)
