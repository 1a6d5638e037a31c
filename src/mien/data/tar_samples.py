"""Samples of WebDataset shards: found by their headers, read in place; nothing is unpacked."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mien.core.errors import ConfigError, DataError, LimitError
from mien.core.images import SUFFIXES, read_image
from mien.core.io import read_text
from mien.core.limits import max_image_bytes
from mien.data.folder import TEST_NAMES, TRAIN_NAMES, VAL_NAMES
from mien.data.labelled import Picture
from mien.data.tar_index import tar_members

CLASSES = "classes.txt"
"""Beside the shards: name of class k in line k, which ``KEY.cls`` counts from 0."""
LABELS = ("identity", "label", "class", "subject")
_SHORT = 1 << 16  # bytes of a label file
_SPLITS = {"train": TRAIN_NAMES, "val": (*VAL_NAMES, "dev", "devel"), "test": TEST_NAMES}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a picture lies: a whole file, or some bytes of a shard."""

    file: str
    start: int = 0
    size: int = -1

    def read(self, name: str) -> Picture:
        """The picture, uint8 (H, W, 3); ``name`` is what messages call it."""
        if self.size < 0:
            return read_image(self.file, name=name)
        return read_image(self.data(name), name=name)

    def data(self, name: str) -> bytes:
        """The bytes of a picture in a shard.

        Raises:
            DataError: the shard cannot be read.
            LimitError: more bytes than a picture may have.
        """
        if self.size > max_image_bytes():
            raise LimitError(f"{name}: {self.size} bytes, more than {max_image_bytes()} allowed")
        return self.start_of(self.size)

    def start_of(self, most: int) -> bytes:
        """The first ``most`` bytes of a file in a shard.

        Raises:
            DataError: the shard cannot be read.
        """
        try:
            with open(self.file, "rb", buffering=0) as stream:
                return os.pread(stream.fileno(), min(most, self.size), self.start)
        except OSError as error:
            raise DataError(f"{self.file}: cannot read ({error.strerror or error})") from None


@dataclass(frozen=True, slots=True)
class TarSample:
    """What belongs to one key of a shard.

    Attributes:
        shard: the tar file.
        key: path up to the first dot of its last part.
        places: ending (``jpg``, ``depth.png``) -> where the file lies.
        texts: ending (``cls``, ``json``) -> the first bytes of the file.
    """

    shard: Path
    key: str
    places: Mapping[str, Place]
    texts: Mapping[str, bytes]

    @property
    def where(self) -> str:
        """For messages."""
        return f"{self.shard}: {self.key}"

    def picture(self, extension: str | None = None) -> str | None:
        """Ending of the sample's picture, or None; of several the given, the aligned or the plain one."""
        return chosen({e: p for e, p in self.places.items() if f".{e}".endswith(SUFFIXES)}, extension)

    def facts(self) -> dict[str, Any]:
        """What ``KEY.json`` says; nothing if there is none, or one of more than 64 KiB.

        Raises:
            DataError: it is no JSON.
        """
        text = self.texts.get("json", b"{}")
        try:
            facts = json.loads(text) if len(text) <= _SHORT else None
        except (ValueError, RecursionError):
            raise DataError(f"{self.shard}: {self.key}.json is not valid JSON; fetch it again") from None
        return facts if isinstance(facts, dict) else {}

    def number(self) -> int | None:
        """The class in ``KEY.cls``, or None.

        Raises:
            DataError: it is no number.
        """
        text = self.texts.get("cls")
        if text is None:
            return None
        digits = text.decode("ascii", "replace").strip()
        if not re.fullmatch(r"[0-9]{1,18}", digits):
            raise DataError(f"{self.shard}: {self.key}.cls is {digits[:40]!r}, expected a class number")
        return int(digits)

    def told(self) -> str | None:
        """The class as text, of ``KEY.cls`` or else of ``KEY.json``, or None."""
        if (number := self.number()) is not None:
            return str(number)
        facts = self.facts()
        return next((str(facts[n]) for n in LABELS if isinstance(facts.get(n), (int, str))), None)

    def owner(self) -> tuple[str, str]:
        """Class and name of the sample; a key without a label must be ``CLASS/NAME``.

        Raises:
            DataError: it has no label.
        """
        if (told := self.told()) is not None:
            return told, f"{self.shard.stem}/{self.key}"  # keys may begin anew in each shard
        who, _, name = self.key.rpartition("/")
        if not who:
            raise DataError(
                f"{self.where} has no label: neither .cls, nor .json with identity or label, nor CLASS/NAME"
                " as its key"
            )
        return who, name


def samples_of(shard: Path, texts: Sequence[str] = ("cls", "json")) -> Iterator[TarSample]:
    """The samples of one shard, in their order. O(files), memory O(files of the shard).

    Args:
        shard: an uncompressed tar file.
        texts: endings of files whose bytes are read at once.

    Raises:
        DataError: damaged, cut short, or compressed; names the shard.
    """
    key, places, read = "", dict[str, Place](), dict[str, bytes]()
    for member in tar_members(shard):
        name, ending = split_name(member.name)
        if name != key and (places or read):
            yield TarSample(shard, key, places, read)
            places, read = {}, {}
        key, place = name, Place(str(shard), member.start, member.size)
        if ending in texts:
            read[ending] = place.start_of(_SHORT + 1)
        else:
            places[ending] = place
    if places or read:
        yield TarSample(shard, key, places, read)


def split_name(name: str) -> tuple[str, str]:
    """A path up to the first dot of its last part, and what follows the dot in small letters."""
    folder, _, last = name.removeprefix("./").rpartition("/")
    stem, _, ending = last.partition(".")
    return f"{folder}/{stem}" if folder else stem, ending.lower()


def chosen(of: Mapping[str, Any], extension: str | None = None) -> str | None:
    """Which of a sample's files is the picture."""
    if extension is not None:
        return extension.lower() if extension.lower() in of else None
    for ending in ("112.png", "png", "jpg", "jpeg", "webp"):
        if ending in of:
            return ending
    return min(of, default=None)


def shard_paths(root: str | Path) -> list[Path]:
    """The shards that a name stands for.

    Args:
        root: a folder of shards (or of folders of them), one ``.tar`` file, or names with
            ``{000000..000003}``, ``{a,b}`` or ``*`` in them.

    Raises:
        ConfigError: braces that do not fit.
        DataError: one of them is not there, or nothing is.
    """
    given = Path(root).expanduser()
    if given.is_dir():
        found = sorted(given.glob("*.tar")) or sorted(given.glob("*/*.tar"))
        if not found:
            raise DataError(f"{given}: no shards (*.tar) there; give their folder, or 'DIR/{{000..003}}.tar'")
        return found
    from webdataset.shardlists import expand_urls

    try:
        names = expand_urls(str(given))
    except ValueError:
        raise ConfigError(f"{root}: braces that do not fit; write 'DIR/{{000000..000003}}.tar'") from None
    paths: list[Path] = []
    for name in map(Path, names):
        found = sorted(name.parent.glob(name.name)) if set(name.name) & set("*?") else [name]
        if not found or not found[0].is_file():
            raise DataError(f"{name}: no such shard; check data.root, or fetch it")
        paths += found
    return paths


def split_of(shard: Path) -> str:
    """Which split a shard belongs to by a word in its name or its folder's: train, val, test, or ''."""
    for name in (shard.stem, shard.parent.name):
        words = re.split(r"[^a-z]+", name.lower())
        for part, names in _SPLITS.items():
            if any(word in names for word in words):
                return part
    return ""


def class_names(shards: Sequence[Path]) -> tuple[str, ...]:
    """Names of the classes from `CLASSES` beside the first shard; nothing if it is not there."""
    path = shards[0].parent / CLASSES
    return tuple(read_text(path).splitlines()) if path.is_file() else ()
