"""Labelled pictures in WebDataset shards: classes, and the splits of a set for classification."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mien.core.errors import DataError
from mien.core.seeds import keys_of
from mien.data.config import ClassificationData
from mien.data.folder import hashed_parts, single_note
from mien.data.labelled import LabelledImages, Picture, Splits, natural
from mien.data.longtail import configured, split_off
from mien.data.tar_samples import CLASSES, Place, class_names, samples_of, shard_paths, split_of


class Found(NamedTuple):
    """One labelled picture of a shard."""

    label: str
    key: str
    place: Place

    @property
    def where(self) -> str:
        """For messages."""
        return f"{self.place.file}: {self.key}"


class ShardImages(LabelledImages):
    """Pictures of shards in the order in which they lie there; decoded when asked for, nothing is unpacked.

    Memory O(pictures). Any process may read any of them; training reads shard after shard.

    Attributes:
        names: ``KEY.ENDING`` of each picture, with its shard in front where keys begin anew in each.

    Args:
        found: what lies there.
        classes: names of the classes.

    Raises:
        DataError: a sample of another class, or one that is there twice.
    """

    def __init__(self, found: Sequence[Found], classes: Sequence[str]) -> None:
        self.classes, self.names = tuple(classes), unique_names(found)
        number = {name: k for k, name in enumerate(self.classes)}
        for one in found:
            if one.label not in number:
                raise DataError(f"{one.where}: unknown class {one.label!r}; training has no such class")
        files = {file: k for k, file in enumerate(dict.fromkeys(one.place.file for one in found))}
        self._files = tuple(files)
        rows = [(files[one.place.file], one.place.start, one.place.size) for one in found]
        self._rows = np.array(rows, np.int64).reshape(-1, 3)
        self._set(np.array([number[one.label] for one in found], np.int64), keys_of(list(self.names)))

    def _set(self, targets: NDArray[np.int64], keys: NDArray[np.uint64]) -> None:
        self.targets, self.keys, self.shards = targets, keys, self._rows[:, 0]

    def pictures(self, indices: Sequence[int] | NDArray[Any]) -> list[Picture]:
        """The pictures at these places, uint8 HWC; damaged ones raise, naming shard and sample."""
        return [self.place(int(i)).read(self.where(int(i))) for i in indices]

    def place(self, index: int) -> Place:
        """Where picture ``index`` lies."""
        file, start, size = self._rows[index].tolist()
        return Place(self._files[file], start, size)

    def where(self, index: int) -> str:
        """Shard and name of picture ``index``."""
        return f"{self._files[self._rows[index, 0]]}: {self.names[index]}"

    def subset(self, indices: NDArray[Any]) -> ShardImages:
        """The same set with only these places, in this order."""
        part = object.__new__(ShardImages)
        part.classes, part._files, part._rows = self.classes, self._files, self._rows[indices]
        part.names = tuple(self.names[int(i)] for i in indices)
        part._set(self.targets[indices], self.keys[indices])
        return part

    @property
    def fingerprint(self) -> str:
        """Hash of labels and names, not of pixels."""
        return self._label_hash().hexdigest()[:16]


def read_shards(root: str | Path) -> ShardImages:
    """All labelled pictures of some shards, whatever their splits.

    Args:
        root: see `mien.data.tar_samples.shard_paths`.

    Raises:
        DataError: a shard is missing or damaged, or a sample has no picture, no label, or an unknown class.
    """
    shards = shard_paths(root)
    found = [one for shard in shards for one in labelled(shard, class_names(shards))]
    return ShardImages(found, class_names(shards) or _classes_of(found))


def shard_splits(config: ClassificationData) -> Splits:
    """Splits of a set in shards: by a word in their names (``train-000000.tar``), or 70/10/20 by a hash.

    Without any such word each class is split by the names of its pictures, as in
    `mien.data.folder.folder_splits`. ``imbalance`` then thins out the training pictures.

    Raises:
        DataError: see `read_shards`; or there are training shards, but none to test on.
    """
    shards = shard_paths(config.require_root())
    parts = {part: [s for s in shards if split_of(s) == part] for part in ("train", "val", "test")}
    notes: list[str] = []
    sets = _named_splits(parts, config, notes) if parts["train"] else _hashed_splits(shards, notes)
    train = sets["train"]
    train = train.subset(np.sort(configured(train.targets, len(train.classes), config)))
    return Splits(train, sets["val"], sets["test"], note="; ".join(notes))


def _named_splits(
    parts: dict[str, list[Path]], config: ClassificationData, notes: list[str]
) -> dict[str, LabelledImages]:
    first = parts["train"]
    names = class_names(first)
    found = {part: [one for s in shards for one in labelled(s, names)] for part, shards in parts.items()}
    classes = names or _classes_of(found["train"])
    _check_classes(first[0], classes)
    sets: dict[str, LabelledImages] = {p: ShardImages(f, classes) for p, f in found.items() if f}
    if "val" not in sets and "test" not in sets:
        raise DataError(
            f"{first[0].parent}: shards for training, but neither val nor test beside them; add one"
        )
    if "test" not in sets:
        sets["test"] = sets["val"]
        notes.append("no test shards: those of val are the test set")
        del sets["val"]
    if "val" not in sets:
        sets["train"], sets["val"] = split_off(sets["train"], config.val_per_class, config.subset_seed)
        notes.append(f"validation: {len(sets['val'])} images held out of training")
    return sets


def _hashed_splits(shards: Sequence[Path], notes: list[str]) -> dict[str, LabelledImages]:
    found = [one for shard in shards for one in labelled(shard, class_names(shards))]
    whole = ShardImages(found, class_names(shards) or _classes_of(found))
    _check_classes(shards[0], whole.classes)
    places: dict[str, list[int]] = {"train": [], "val": [], "test": []}
    order = np.argsort(whole.targets, kind="stable")
    for own in np.split(order, np.cumsum(whole.counts())[:-1]):
        inner = [whole.names[i].partition("/")[2] or whole.names[i] for i in own]
        for part, chosen in hashed_parts(inner).items():
            places[part] += own[chosen].tolist()
    notes += single_note([c for c, n in zip(whole.classes, whole.counts(), strict=True) if n == 1])
    notes.append("split 70/10/20 within each class by a hash of the file names")
    return {part: whole.subset(np.sort(np.array(at, np.int64))) for part, at in places.items()}


def labelled(shard: Path, names: Sequence[str]) -> list[Found]:
    """The pictures of one shard with the names of their classes.

    Args:
        shard: the tar file.
        names: of the classes that ``.cls`` counts, where they are known.

    Raises:
        DataError: damaged, or a sample without picture or label, or with a class beyond ``names``.
    """
    found = []
    for sample in samples_of(shard):
        if (ending := sample.picture()) is None:
            held = ", ".join([*sample.places, *sample.texts])
            raise DataError(f"{sample.where} has no picture (it has {held}); complete it or take it out")
        label, number = sample.owner()[0], sample.number()
        if names and number is not None:
            if number >= len(names):
                raise DataError(f"{sample.where}.cls is {number}, but {CLASSES} names {len(names)} classes")
            label = names[number]
        found.append(Found(label, f"{sample.key}.{ending}", sample.places[ending]))
    return found


def unique_names(found: Sequence[Found]) -> tuple[str, ...]:
    """Names of pictures: their keys, or, where those begin anew in each shard, with the shard in front.

    Raises:
        DataError: a key is twice in a shard, or a shard of that name is twice in the set.
    """
    names = [one.key for one in found]
    if len(set(names)) < len(names):
        names = [f"{Path(one.place.file).stem}/{one.key}" for one in found]
    if len(set(names)) < len(names):
        twice = next(name for name, count in Counter(names).items() if count > 1)
        raise DataError(f"{twice} is there twice; rename one, or leave out one of the shards")
    return tuple(names)


def _classes_of(found: Sequence[Found]) -> tuple[str, ...]:
    return tuple(sorted({one.label for one in found}, key=lambda name: (natural(name), name)))


def _check_classes(shard: Path, classes: Sequence[str]) -> None:
    if len(classes) < 2:
        raise DataError(f"{shard.parent}: {len(classes)} class in these shards, needs two or more")
