"""RecordIO pairs of labelled faces (``train.rec``, ``train.idx``, ``property``), memory-mapped."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.core.errors import DataError
from mien.core.images import read_image
from mien.core.io import read_text
from mien.data import record_format
from mien.data.int_table import int_table
from mien.data.labelled import LabelledImages, Picture
from mien.data.record_format import DamagedError, Record, payload_at, unpack_payload

EXACT = 1 << 24  # float32 holds every whole number below; this one may also be the next, rounded
_HEAD = np.dtype([
    ("magic", "<u4"), ("frame", "<u4"), ("flag", "<u4"), ("label", "<f4"), ("id", "<u8"), ("id2", "<u8"),
    ("vector", "<f4", (2,)),
])  # fmt: skip
_CHUNK = 1 << 16


class RecordFile:
    """Pictures and classes of a RecordIO pair; no mxnet.

    Two styles are told apart by the record with the first key. If that is a header without a picture (label
    n1, n2), pictures have the keys 1 .. n1 - 1 and identity records, whose label (a, b) says that one person
    owns the pictures a .. b - 1, the keys n1 .. n2 - 1 (insightface). Else every key is a picture (im2rec).

    Opening reads the index and the identity records, not the pictures. Each process maps the file for itself,
    so an object may be used across fork and sent to other processes (which read the index again).

    Args:
        path: the ``.rec`` file, or the folder that holds one (``train.rec`` if there are several).
        decode: ``[i]`` gives pixels; otherwise the encoded bytes.

    Attributes:
        path: of the ``.rec`` file.
        keys: (N,) int64, key of each picture.
        identity_ranges: (M, 2) int64, first and last + 1 place of each person's pictures, in the order of the
            identity records (or of the runs of equal labels where there are none).

    Raises:
        DataError: a file is missing or damaged, or the index does not belong to the records.

    >>> faces = RecordFile("faces_emore")                                    # doctest: +SKIP
    >>> image, label = faces[0]; image.shape                                 # doctest: +SKIP
    (112, 112, 3)
    """

    def __init__(self, path: str | Path, *, decode: bool = True) -> None:
        self.path = find_record(Path(path))
        self.decode = decode
        self._process = -1
        self._data: mmap.mmap | None = None
        self._index, self._offsets = self._read_index()
        self.keys, identity_keys = self._split_keys()
        self._places = self._offsets_of(self.keys)
        self.has_identity_records = len(identity_keys) > 0
        self._identity_keys = identity_keys
        self.num_records = len(self._index)

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        """Picture (uint8 HWC RGB, or bytes if not ``decode``) and class.

        Raises:
            DataError: the record or the picture is damaged; names key and offset.
        """
        data, label = self.encoded(index)
        if not self.decode:
            return data, label
        return read_image(data, name=f"{self.path}: picture of record {self.keys[index]}"), label

    def __iter__(self) -> Iterator[tuple[Any, int]]:
        return (self[i] for i in range(len(self)))

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.path, self.decode)

    def encoded(self, index: int) -> tuple[bytes, int]:
        """Picture ``index`` as it is stored (JPEG or PNG bytes), and its class."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"picture {index} of {len(self)}")
        key, offset = int(self.keys[index]), int(self._places[index])
        record = self._read(key, offset)
        try:
            return record.data, record.class_id
        except DamagedError as error:
            raise DataError(f"{self.path}: record {key}: {error}; the set is damaged") from None

    def record(self, key: int) -> Record:
        """The whole record of a key of the index, also of one that is no picture.

        Raises:
            DataError: no such key, or damaged.
        """
        place = int(np.searchsorted(self._index, key))
        if place == len(self._index) or self._index[place] != key:
            raise DataError(f"{self.path}: no key {key} in its index")
        return self._read(key, int(self._offsets[place]))

    @cached_property
    def identity_ranges(self) -> NDArray[np.int64]:
        """(M, 2) places [first, last + 1) of each person's pictures."""
        if not self.has_identity_records:
            return runs(self.labels_of(slice(None)))
        head = self._heads(self._offsets_of(self._identity_keys))
        if (head["flag"] != 2).any():
            key = self._identity_keys[int(np.flatnonzero(head["flag"] != 2)[0])]
            raise DataError(f"{self.path}: identity record {key} has no range; the set is damaged")
        edges = head["vector"].astype(np.float64)
        top = int(self.keys[-1]) + 1 if len(self) else 1
        is_sound = (edges[:, 0] >= 1) & (edges[:, 1] >= edges[:, 0]) & (edges[:, 1] <= top + rounding(top))
        if not is_sound.all():  # also where an edge is no number
            bad = int(np.argmin(is_sound))
            key, span = self._identity_keys[bad], [float(v) for v in edges[bad]]
            raise DataError(f"{self.path}: identity record {key} has the range {span}; the set is damaged")
        exact = edges[edges[:, 1] < EXACT].astype(np.int64)
        places = np.searchsorted(self.keys, exact)
        if len(exact) < len(edges):
            # The ranges themselves are rounded to float32: take them from the labels.
            first = int(places[:, 1].max(initial=0))
            places = np.concatenate([places, first + runs(self.labels_of(slice(first, None)))])
        return places.astype(np.int64)

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """(N,) class of each picture.

        With identity records only the first picture of each person is asked (`check_record` asks all), so
        that a large file is not read as a whole.
        """
        if self.has_identity_records:
            ranges = self.identity_ranges
            sizes = ranges[:, 1] - ranges[:, 0]
            order = np.argsort(ranges[:, 0], kind="stable")
            ordered = ranges[order][sizes[order] > 0]
            is_whole = len(ordered) and ordered[0, 0] == 0 and ordered[-1, 1] == len(self)
            if is_whole and (ordered[1:, 0] == ordered[:-1, 1]).all():
                return np.repeat(self.labels_of(ordered[:, 0]), ordered[:, 1] - ordered[:, 0])
        return self.labels_of(slice(None))

    @cached_property
    def stated(self) -> tuple[int, int, int] | None:
        """Classes, height and width of the file ``property``; None without that file."""
        path = self.path.parent / "property"
        if not path.is_file():
            return None
        words = read_text(path).strip().split(",")
        if len(words) != 3 or not all(w.strip().isascii() and w.strip().isdigit() for w in words):
            raise DataError(f"{path}: expected 'classes,height,width', got {','.join(words)[:80]!r}")
        classes, height, width = (int(w) for w in words)
        return classes, height, width

    @property
    def num_classes(self) -> int:
        """As the file ``property`` says, else the largest label + 1."""
        return self.stated[0] if self.stated else int(self.labels.max(initial=-1)) + 1

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) as the file ``property`` says, else of the first picture."""
        if self.stated:
            return self.stated[1:]
        height, width = read_image(self.encoded(0)[0], name=f"{self.path}: first picture").shape[:2]
        return height, width

    def as_images(self) -> RecordImages:
        """The same pictures behind the interface of the training loaders."""
        return RecordImages(self, np.arange(len(self)))

    def close(self) -> None:
        """Lets go of the file; the next access maps it again."""
        if self._data is not None and self._process == os.getpid():
            self._data.close()
        self._data = None

    def labels_of(self, places: Any) -> NDArray[np.int64]:
        """Classes from the records themselves.

        Args:
            places: indices or a slice of the pictures.

        Raises:
            DataError: a label is no class, or a record is damaged.
        """
        offsets, keys = self._places[places], self.keys[places]
        head = self._heads(offsets)
        values = np.where(head["flag"] > 0, head["vector"][:, 0], head["label"]).astype(np.float64)
        bad = ~((values >= 0) & (values <= EXACT) & (values == np.floor(values)))
        if bad.any():
            at = int(np.flatnonzero(bad)[0])
            raise DataError(f"{self.path}: record {keys[at]}: its label {values[at]:g} is no class")
        return values.astype(np.int64)

    def _map(self) -> mmap.mmap:
        if self._data is None or self._process != os.getpid():
            try:
                with self.path.open("rb") as stream:
                    self._data = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
            except FileNotFoundError:
                raise DataError(f"{self.path}: no such file; check the path") from None
            except ValueError:
                raise DataError(f"{self.path}: empty file; fetch it again") from None
            except OSError as error:
                raise DataError(f"{self.path}: cannot read ({error.strerror or error})") from None
            self._process = os.getpid()
        return self._data

    def _read(self, key: int, offset: int) -> Record:
        try:
            return unpack_payload(payload_at(self._map(), offset)[0])
        except DamagedError as error:
            raise DataError(
                f"{self.path}: record {key} at byte {offset}: {error}; fetch the file again, or rebuild its"
                " index if only that is wrong"
            ) from None

    def _read_index(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        path = self.path.with_suffix(".idx")
        if not path.is_file():
            raise DataError(f"{path}: no such file; mien.data.rebuild_index({str(self.path)!r}) makes it")
        table = int_table(path, 2)
        if not len(table):
            raise DataError(f"{path}: the index is empty; delete it and rebuild it")
        table = table[np.argsort(table[:, 0], kind="stable")]
        keys, offsets = np.ascontiguousarray(table[:, 0]), np.ascontiguousarray(table[:, 1])
        if (twice := np.flatnonzero(keys[1:] == keys[:-1])).size:
            raise DataError(f"{path}: key {keys[twice[0]]} is there twice; delete it and rebuild it")
        size, last = len(self._map()), int(np.argmax(offsets))
        if offsets[last] >= size:
            raise DataError(
                f"{path}: key {keys[last]} lies at byte {offsets[last]}, but {self.path.name} ends at {size}:"
                " truncated, or not its index"
            )
        return keys, offsets

    def _split_keys(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Keys of pictures and of identity records."""
        first = self.record(int(self._index[0]))
        if first.data or not first.is_vector:
            return self._index, np.empty(0, np.int64)
        if len(first.label) < 2 or not all(np.isfinite(first.label)):
            raise DataError(f"{self.path}: its header record has the label {first.label}, expected (n1, n2)")
        pictures, total = int(first.label[0]), int(first.label[1])
        if slack := rounding(total):
            total = int(self._index[-1]) + 1
            pictures = self._boundary(pictures - slack, min(pictures + slack, total), total)
        if not 1 <= pictures <= total:
            raise DataError(f"{self.path}: its header record has the label {first.label}; the set is damaged")
        inside = self._index[(self._index >= 1) & (self._index < total)]
        if len(inside) < total - 1:
            gap = np.flatnonzero(inside != np.arange(1, len(inside) + 1))
            missing = int(gap[0]) + 1 if gap.size else len(inside) + 1
            raise DataError(
                f"{self.path.with_suffix('.idx')}: no key {missing}; the header record promises the keys"
                f" 1..{total - 1}, {len(inside)} of them are there"
            )
        return inside[: pictures - 1], inside[pictures - 1 :]

    def _boundary(self, low: int, high: int, total: int) -> int:
        """The first key in [low, high] that is no picture; the header's count is rounded."""
        for key in range(max(1, low), high + 1):
            if key >= total or not self.record(key).data:
                return key
        raise DataError(f"{self.path}: no identity record near key {low}; the set is damaged")

    def _offsets_of(self, keys: NDArray[np.int64]) -> NDArray[np.int64]:
        return self._offsets[np.searchsorted(self._index, keys)]

    def _heads(self, offsets: NDArray[np.int64]) -> NDArray[Any]:
        """Headers of many records at once, O(records); split ones are read one by one."""
        out = np.empty(len(offsets), _HEAD)
        data = np.frombuffer(self._map(), np.uint8)
        for start in range(0, len(offsets), _CHUNK):
            part = offsets[start : start + _CHUNK]
            where = np.minimum(part[:, None] + np.arange(_HEAD.itemsize), len(data) - 1)
            out[start : start + _CHUNK] = data[where].view(_HEAD)[:, 0]
        del data  # or the map could not be closed
        length = out["frame"] & np.uint32(record_format.LONGEST - 1)
        need = 24 + 4 * np.minimum(out["flag"], 2)
        easy = (out["magic"] == record_format.MAGIC) & (out["frame"] >> 29 == 0) & (length >= need)
        easy &= offsets + 8 + length <= len(self._map())
        for at in np.flatnonzero(~easy):
            key = int(self._index[np.flatnonzero(self._offsets == offsets[at])[0]])
            record = self._read(key, int(offsets[at]))
            vector = (*record.label, 0.0)[:2] if record.is_vector else (0.0, 0.0)
            flag = len(record.label) if record.is_vector else 0
            out[at] = (record_format.MAGIC, 0, flag, record.label[0], record.id, record.id2, vector)
        return out


class RecordImages(LabelledImages):
    """Pictures of a `RecordFile` for the training loaders; decoded when asked for.

    Args:
        file: the records.
        places: which pictures, in this order.
    """

    def __init__(self, file: RecordFile, places: NDArray[Any]) -> None:
        self.file = file
        self.places = np.asarray(places, dtype=np.int64)
        self.targets = file.labels[self.places]
        self.classes = tuple(map(str, range(max(file.num_classes, int(file.labels.max(initial=-1)) + 1))))
        self.keys = file.keys[self.places].astype(np.uint64)

    def pictures(self, indices: Sequence[int] | NDArray[Any]) -> list[Picture]:
        """The pictures at these places, uint8 HWC; damaged ones raise, naming the record."""
        found = []
        for index in indices:
            place = int(self.places[index])
            name = f"{self.file.path}: picture of record {self.file.keys[place]}"
            found.append(read_image(self.file.encoded(place)[0], name=name))
        return found

    def subset(self, indices: NDArray[Any]) -> RecordImages:
        """The same set with only these places, in this order."""
        return RecordImages(self.file, self.places[indices])

    @property
    def fingerprint(self) -> str:
        """Hash of labels, keys and the size of the file."""
        digest = self._label_hash()
        digest.update(str(self.file.path.stat().st_size).encode())
        return digest.hexdigest()[:16]


def find_record(path: Path) -> Path:
    """The ``.rec`` file at a path: itself, or the one in a folder.

    Raises:
        DataError: there is none, or several of which none is ``train.rec``.
    """
    if path.is_file():
        return path
    if not path.is_dir():
        raise DataError(f"{path}: no such file or folder; check the path")
    found = sorted(path.glob("*.rec"))
    if not found:
        raise DataError(f"{path}: no .rec file in this folder; check the path")
    if len(found) > 1 and path / "train.rec" not in found:
        raise DataError(f"{path}: {len(found)} .rec files, none of them train.rec; give one of them")
    return path / "train.rec" if len(found) > 1 else found[0]


def runs(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """(M, 2) first and last + 1 place of each run of equal labels.

    >>> runs(np.array([4, 4, 7])).tolist()
    [[0, 2], [2, 3]]
    """
    if not len(labels):
        return np.empty((0, 2), np.int64)
    edges = np.concatenate([[0], np.flatnonzero(labels[1:] != labels[:-1]) + 1, [len(labels)]])
    return np.stack([edges[:-1], edges[1:]], 1).astype(np.int64)


def rounding(value: int) -> int:
    """How far a whole number stored as float32 may be from what was meant; 0 below 2^24."""
    return int(np.spacing(np.float32(value))) if value >= EXACT else 0


def _reopen(path: Path, decode: bool) -> RecordFile:
    return RecordFile(path, decode=decode)
