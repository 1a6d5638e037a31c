"""Writes RecordIO pairs, whole or not at all, and rebuilds a lost index."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Literal, Self

import numpy as np
from numpy.typing import NDArray

from mien.core import io
from mien.core.errors import ConfigError, DataError
from mien.core.images import encode_png
from mien.data.labelled import LabelledImages
from mien.data.record import EXACT, find_record
from mien.data.record_format import DamagedError, Record, frames, pack_header, payload_at, unpack_payload

Label = int | Sequence[float]


class RecordWriter:
    """Writes ``NAME.rec``, ``NAME.idx`` and ``property``; a context manager.

    The files appear under their names only when the block ends well. The index comes last: a kill in between
    leaves records without an index, which `rebuild_index` mends, and never an index of other records.

    Args:
        path: of the ``.rec`` file.
        image_size: (height, width) for ``property``; pictures given as arrays must have it.
        style: "insightface" (header record, then pictures of one person after another, then identity records)
            or "im2rec" (pictures only, in any order, keys from 0).
        num_classes: for ``property``; default the largest label + 1.
        encoding: of pictures given as arrays.

    Raises:
        ConfigError: a label that is no class, or a person's pictures that do not lie together.
        DataError: a picture of another size, or none at all.

    >>> with RecordWriter("train.rec") as out:                               # doctest: +SKIP
    ...     out.add(open("a.jpg", "rb").read(), 0)
    """

    def __init__(
        self,
        path: str | Path,
        *,
        image_size: tuple[int, int] = (112, 112),
        style: Literal["insightface", "im2rec"] = "insightface",
        num_classes: int | None = None,
        encoding: Literal["jpeg", "png"] = "jpeg",
    ) -> None:
        self.path = Path(path)
        self.image_size = image_size
        self.style = style
        self.num_classes = num_classes
        self.encoding = encoding
        self._stack = ExitStack()
        self._stream: BinaryIO | None = None
        self._offsets: list[int] = []
        self._ranges: dict[int, list[int]] = {}
        self._last = -1
        self._top = -1

    def __enter__(self) -> Self:
        if self.path.suffix != ".rec":
            raise ConfigError(f"{self.path}: the name of a record file ends in .rec")
        # Left in the opposite order: records, then property, then index.
        self._index = self._stack.enter_context(io.new_file(self.path.with_suffix(".idx")))
        self._property = self._stack.enter_context(io.new_file(self.path.parent / "property"))
        records = self._stack.enter_context(io.new_file(self.path))
        self._stream = self._stack.enter_context(records.open("w+b"))
        if self.style == "insightface":
            self._write(pack_header((0.0, 0.0)))  # its place; the numbers are known at the end
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._finish()
        except BaseException as error:
            self._stack.__exit__(type(error), error, error.__traceback__)
            raise
        self._stack.__exit__(kind, value, trace)

    def add(self, image: bytes | NDArray[np.uint8], label: Label) -> int:
        """Appends a picture.

        Args:
            image: encoded bytes, stored as they are, or pixels (height, width, 3) uint8 RGB.
            label: the class, or a vector whose first value is the class.

        Returns:
            Its key.
        """
        who = self._class(label)
        data = image if isinstance(image, bytes) else self._encode(image)
        if not data:
            raise DataError(f"{self.path}: picture {self._count()} is empty")
        key = len(self._offsets)
        if self.style == "insightface":
            if who != self._last and who in self._ranges:
                raise ConfigError(
                    f"{self.path}: class {who} comes back after class {self._last}; give all pictures of one"
                    " person together, or style='im2rec'"
                )
            self._ranges.setdefault(who, [key, key])[1] = key + 1
        self._last, self._top = who, max(self._top, who)
        values = int(label) if isinstance(label, (int, np.integer)) else [float(v) for v in label]
        self._write(pack_header(values, key) + data)
        return key

    def _class(self, label: Label) -> int:
        value = label if isinstance(label, (int, np.integer)) else label[0] if len(label) else -1
        if not (value >= 0 and value == int(value) and value < EXACT):
            raise ConfigError(f"{self.path}: label {label} is no class from 0 to {EXACT - 1}")
        if self.num_classes is not None and value >= self.num_classes:
            raise ConfigError(f"{self.path}: label {int(value)}, but there are {self.num_classes} classes")
        return int(value)

    def _count(self) -> int:
        return len(self._offsets) - (self.style == "insightface")

    def _encode(self, image: NDArray[np.uint8]) -> bytes:
        if image.shape != (*self.image_size, 3) or image.dtype != np.uint8:
            want = (*self.image_size, 3)
            raise DataError(
                f"{self.path}: picture {self._count()}: {image.dtype} {image.shape}, expected uint8 {want}"
            )
        if self.encoding == "png":
            return encode_png(image)
        from PIL import Image

        out = BytesIO()
        Image.fromarray(image).save(out, "JPEG", quality=95)
        return out.getvalue()

    def _write(self, payload: bytes) -> None:
        if self._stream is None:
            raise ConfigError(f"{self.path}: the writer is not open; use it in a with block")
        self._offsets.append(self._stream.tell())
        self._stream.write(frames(payload))

    def _finish(self) -> None:
        if not self._count():
            raise DataError(f"{self.path}: no pictures were added; nothing was written")
        pictures = len(self._offsets)
        for first, last in self._ranges.values():
            self._write(pack_header((first, last), len(self._offsets)))
        assert self._stream is not None
        if self.style == "insightface":
            self._stream.seek(0)
            self._stream.write(frames(pack_header((pictures, len(self._offsets)))))
        self._stream.flush()
        lines = (f"{key}\t{offset}\n" for key, offset in enumerate(self._offsets))
        with self._index.open("w", encoding="ascii", newline="\n") as stream:
            stream.writelines(lines)
        classes = self._top + 1 if self.num_classes is None else self.num_classes
        self._property.write_text(f"{classes},{self.image_size[0]},{self.image_size[1]}\n", encoding="ascii")
        self.path.with_suffix(".idx").unlink(missing_ok=True)  # never beside records that it does not name


def write_records(
    path: str | Path, images: LabelledImages, *, encoding: Literal["jpeg", "png"] = "jpeg"
) -> Path:
    """Writes labelled faces of one size as an insightface set, person by person.

    Args:
        path: of the ``.rec`` file.
        images: a `FaceFolder` or any other labelled pictures.
        encoding: "jpeg" (quality 95) or "png" (exact, several times the bytes).

    Returns:
        The ``.rec`` file.

    Raises:
        DataError: no pictures, or pictures of several sizes (the first other one is named by its number).
    """
    path = Path(path)
    order = np.argsort(images.targets, kind="stable")
    if not len(order):
        raise DataError(f"{path}: no pictures to write")
    height, width = images.pictures([order[0]])[0].shape[:2]
    count = len(images.classes)
    with RecordWriter(path, image_size=(height, width), num_classes=count, encoding=encoding) as out:
        for place in order:
            image = images.pictures([place])[0]
            out.add(np.repeat(image, 3, 2) if image.shape[2] == 1 else image, int(images.targets[place]))
    return path


def scan_records(path: Path) -> Iterator[tuple[int, Record]]:
    """Offset and content of every record, from the first byte to the last. O(bytes) time, O(record) memory.

    Raises:
        DataError: at the first place that is damaged (number and byte are named).
    """
    import mmap

    try:
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            offset, number = 0, 0
            while offset < len(data):
                try:
                    payload, after = payload_at(data, offset)
                    record = unpack_payload(payload)
                except DamagedError as error:
                    raise DataError(
                        f"{path}: the record number {number} at byte {offset}: {error}; fetch the file again"
                    ) from None
                yield offset, record
                offset, number = after, number + 1
    except ValueError:
        raise DataError(f"{path}: empty file; fetch it again") from None
    except OSError as error:
        raise DataError(f"{path}: cannot read ({error.strerror or error}); check the path") from None


def rebuild_index(path: str | Path) -> Path:
    """Writes the ``.idx`` of a ``.rec`` file by reading the file from end to end.

    Keys are the ids in the records if all differ; else the places in the file, where an insightface header
    record has the key 0 wherever it lies.

    Args:
        path: the ``.rec`` file or its folder.

    Returns:
        The index file.

    Raises:
        DataError: the file is damaged; nothing is written.
    """
    records = find_record(Path(path))
    offsets: list[int] = []
    ids: list[int] = []
    headers: list[tuple[int, float]] = []
    for offset, record in scan_records(records):
        if record.is_vector and not record.data and len(record.label) >= 2:
            headers.append((len(offsets), record.label[1]))
        offsets.append(offset)
        ids.append(record.id)
    count = len(offsets)
    header = next((place for place, total in headers if total == np.float32(count)), None)
    is_told = len(set(ids)) == count  # by the ids; below an insightface header they are 0 .. count - 1
    if header is not None:
        is_told = is_told and ids[header] == 0 and max(ids) == count - 1
    at = header or 0
    keys = ids if is_told else [*range(1, at + 1), 0, *range(at + 1, count)]
    lines = sorted(zip(keys, offsets, strict=True))
    return io.write_text(records.with_suffix(".idx"), "".join(f"{k}\t{o}\n" for k, o in lines))
