"""Labelled faces in folders of people or in WebDataset shards, made sets included."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.core.errors import DataError
from mien.core.images import SUFFIXES
from mien.core.io import read_json
from mien.core.seeds import keys_of
from mien.data.labelled import LabelledImages, Picture, natural
from mien.data.tar_samples import Place, chosen, samples_of, split_name


class FaceFolder(LabelledImages):
    """Pictures of people, decoded when asked for; each person is a class, numbered without gaps.

    Read are, told by what is there:

    * a set written by ``mien data make faces`` (``set.json``), in folders or shards; of its pictures the
      aligned ones (112.png) if it has them;
    * WebDataset shards ``*.tar``: samples ``KEY.jpg`` with ``KEY.cls``, or ``KEY.json`` that has "identity"
      or "label", else with a key ``PERSON/NAME``;
    * one folder per person.

    Folders and shards of the same made set give the same order, classes and keys, so the same training.
    Pictures in shards are read in place: nothing is unpacked, memory O(pictures), any process may read.

    Args:
        root: the folder.
        extension: which file of a made sample or shard to read ("112.png", "png", "jpg"); default as above.

    Attributes:
        targets: (N,) int64, 0 .. people - 1.
        classes: names of the people, in natural order.
        keys: (N,) uint64, from ``PERSON/NAME``.
        names: ``PERSON/NAME`` of each picture.
        note: what was left out, or nothing.

    Raises:
        DataError: nothing to read there, or a shard that is damaged or without labels (named).
    """

    def __init__(self, root: str | Path, *, extension: str | None = None) -> None:
        self.root = Path(root)
        if not self.root.is_dir():
            raise DataError(f"{self.root}: no such folder; check the path")
        self.note = ""
        found = sorted(self._found(extension), key=lambda f: (natural(f[0]), f[0], natural(f[1]), f[1]))
        if not found:
            wanted = f" with the ending .{extension}" if extension else ""
            raise DataError(f"{self.root}: no pictures{wanted} there; give the folder that holds the people")
        people = list(dict.fromkeys(who for who, _, _ in found))
        number = {who: i for i, who in enumerate(people)}
        targets = np.array([number[who] for who, _, _ in found], np.int64)
        names = [f"{who}/{name}" for who, name, _ in found]
        if len(set(names)) < len(names):
            twice = next(name for name, count in Counter(names).items() if count > 1)
            raise DataError(f"{self.root}: {twice} is there twice; rename one, or delete the second shard")
        self._set(names, [place for _, _, place in found], targets, tuple(people))

    def _set(
        self, names: Sequence[str], places: Sequence[Place], targets: NDArray[Any], classes: tuple[str, ...]
    ) -> None:
        self.names = tuple(names)
        self._places = tuple(places)
        self.targets = np.asarray(targets, np.int64)
        self.classes = classes
        self.keys = keys_of(list(names))

    def _found(self, extension: str | None) -> Iterator[tuple[str, str, Place]]:
        """Person, name and place of every picture."""
        people = made_people(self.root)
        if people is not None and people.is_dir():
            yield from self._in_folders(people, extension, is_made=True)
        elif people is not None:
            yield from self._in_shards(
                sorted(self.root.glob(f"{people.name}-*.tar")), extension, is_made=True
            )
        elif shards := sorted(self.root.glob("*.tar")):
            yield from self._in_shards(shards, extension, is_made=False)
        else:
            yield from self._in_folders(self.root, extension, is_made=False)

    def _in_folders(
        self, folder: Path, extension: str | None, *, is_made: bool
    ) -> Iterator[tuple[str, str, Place]]:
        left_out = 0
        for person in _folders(folder):
            if is_made and not person.name.isdigit():
                continue
            files = sorted(f for f in person.rglob("*") if not f.name.startswith(".") and f.is_file())
            samples: dict[str, dict[str, Path]] = {}
            for file in files:
                if not file.name.lower().endswith(SUFFIXES):
                    left_out += not is_made
                    continue
                below = file.relative_to(person).as_posix()
                stem, ending = split_name(below) if is_made else (below, file.suffix[1:].lower())
                samples.setdefault(stem, {})[ending] = file
            for stem, of in samples.items():
                if (picked := chosen(of, extension)) is not None:
                    yield person.name, stem, Place(str(of[picked]))
        if left_out:
            self.note = f"{left_out} files are no pictures and were left out"

    def _in_shards(
        self, shards: list[Path], extension: str | None, *, is_made: bool
    ) -> Iterator[tuple[str, str, Place]]:
        left_out = 0
        for shard in shards:
            for sample in samples_of(shard, () if is_made else ("cls", "json")):
                if (ending := sample.picture(extension)) is None:
                    left_out += 1
                    continue
                yield *sample.owner(), sample.places[ending]
        if left_out:
            self.note = f"{left_out} samples have no such picture and were left out"

    def pictures(self, indices: Sequence[int] | NDArray[Any]) -> list[Picture]:
        """The pictures at these places, uint8 HWC; damaged ones raise, naming file and picture."""
        return [self._places[int(i)].read(self.where(int(i))) for i in indices]

    def where(self, index: int) -> str:
        """File of picture ``index``, and its name in there if it is a shard."""
        place = self._places[index]
        return place.file if place.size < 0 else f"{place.file}: {self.names[index]}"

    def subset(self, indices: NDArray[Any]) -> FaceFolder:
        """The same set with only these places, in this order."""
        chosen = object.__new__(FaceFolder)
        chosen.root, chosen.note = self.root, self.note
        at = [int(i) for i in indices]
        targets = self.targets[indices]
        chosen._set([self.names[i] for i in at], [self._places[i] for i in at], targets, self.classes)
        return chosen

    @property
    def fingerprint(self) -> str:
        """Hash of labels and names; the same for folders and shards of one set."""
        return self._label_hash().hexdigest()[:16]


def made_people(root: Path) -> Path | None:
    """Where a set of ``mien data make faces`` or ``heads`` keeps its people's folders; None: no made set.

    Of a set in shards there is no such folder, and shards of its name lie beside it.

    Raises:
        DataError: a made set of something else.
    """
    made = root / "set.json"
    record = read_json(made) if made.is_file() else None
    if not isinstance(record, dict) or "kind" not in record:
        return None
    kind = str(record["kind"])
    if kind not in ("faces", "heads"):
        raise DataError(f"{root}: a made set of {kind}, expected faces or heads")
    return root / kind


def _folders(root: Path) -> list[Path]:
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; the set is incomplete")
    return sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
