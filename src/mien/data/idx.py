"""IDX files (MNIST, Fashion-MNIST and their kin), plain or gzipped."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from mien.core.errors import DataError, LimitError
from mien.core.limits import max_array_bytes
from mien.data.bundled import FASHION_CLASSES
from mien.data.config import ClassificationData
from mien.data.labelled import ArrayImages, Splits
from mien.data.lists import empty_classes_note
from mien.data.longtail import configured, hold_out

FILES = ("train-images", "train-labels", "t10k-images", "t10k-labels")
"""The usual four, each followed by ``-idx3-ubyte`` or ``-idx1-ubyte``."""
_TYPES = {0x09: "int8", 0x0B: "int16", 0x0C: "int32", 0x0D: "float32", 0x0E: "float64"}
_BLOCK = 1 << 20


def read_idx(path: str | Path) -> NDArray[np.uint8]:
    """The array of one IDX file of unsigned bytes, plain or gzipped (told by its first bytes, not its name).

    The header is checked before the payload is unpacked, and no more is unpacked than it promises.

    Raises:
        DataError: missing, not IDX, another element type, truncated, or longer than its header says.
        LimitError: the header promises more than `max_array_bytes`.
    """
    path = Path(path)
    try:
        with open(path, "rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            if not packed:
                return _parse(raw, path)
            with gzip.GzipFile(fileobj=raw) as unpacked:
                return _parse(unpacked, path)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; check the path") from None
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise DataError(f"{path}: damaged or truncated gzip file ({error}); fetch it again") from None
    except OSError as error:
        raise DataError(f"{path}: cannot read ({error.strerror or error})") from None


def _parse(stream: IO[bytes] | gzip.GzipFile, path: Path) -> NDArray[np.uint8]:
    head = stream.read(4)
    if len(head) < 4 or head[:2] != b"\0\0" or not 1 <= head[3] <= 4:
        raise DataError(
            f"{path}: not an IDX file (starts with {head.hex() or 'nothing'}); check which file it is"
        )
    if head[2] != 0x08:
        kind = _TYPES.get(head[2], f"type 0x{head[2]:02x}")
        raise DataError(f"{path}: IDX of {kind}; only unsigned bytes (0x08) are read here")
    sizes = stream.read(4 * head[3])
    if len(sizes) < 4 * head[3]:
        raise DataError(f"{path}: truncated in the header; fetch it again")
    shape = tuple(int(n) for n in np.frombuffer(sizes, dtype=">u4"))
    expected = math.prod(shape)
    if expected > max_array_bytes():
        limit = max_array_bytes()
        raise LimitError(
            f"{path}: {expected} bytes unpacked, more than {limit} allowed (MIEN_MAX_ARRAY_BYTES)"
        )
    payload = bytearray()
    # One byte more than promised: it must not exist, and asking for it makes gzip verify its checksum.
    while len(payload) <= expected and (block := stream.read(min(_BLOCK, expected + 1 - len(payload)))):
        payload += block
    if len(payload) != expected:
        found = f"{len(payload)} bytes" if len(payload) < expected else "more bytes"
        raise DataError(
            f"{path}: header promises {expected} bytes {shape} but {found} follow; fetch it again"
        )
    return np.frombuffer(payload, dtype=np.uint8).reshape(shape)


def find_file(folder: Path, stem: str) -> Path | None:
    """The IDX file of this stem in either spelling, plain or gzipped; None if there is none."""
    rank = 3 if stem.endswith("images") else 1
    for name in (f"{stem}-idx{rank}-ubyte", f"{stem}.idx{rank}-ubyte"):
        for suffix in ("", ".gz"):
            if (path := folder / (name + suffix)).is_file():
                return path
    return None


def idx_folder(root: Path) -> Path:
    """Where the four files lie: ``root``, or ``root/raw`` as torchvision leaves them."""
    return root if find_file(root, FILES[0]) or not (root / "raw").is_dir() else root / "raw"


def idx_splits(config: ClassificationData) -> Splits:
    """Training (long-tailed if ``imbalance`` is set), validation and test images of four IDX files.

    Validation images are held out before the subset is drawn. Classes are named as in Fashion-MNIST if the
    folder or its parent has "fashion" in its name, else "0", "1", ...

    Raises:
        DataError: a file is missing or damaged, or images and labels disagree.
    """
    folder = idx_folder(config.require_root())
    images, labels = _pair(folder, "train")
    test_images, test_labels = _pair(folder, "t10k")
    classes = _classes(folder, 1 + int(max(labels.max(), test_labels.max())))
    everything = ArrayImages(images, labels, classes)
    train, held = hold_out(everything.targets, config.val_per_class, len(classes), config.subset_seed)
    train = train[configured(everything.targets[train], len(classes), config)]
    chosen = everything.subset(train)
    note = f"validation: {len(held)} images held out of {len(everything)} training images"
    return Splits(
        train=chosen,
        val=everything.subset(held),
        test=ArrayImages(test_images, test_labels, classes),
        note="; ".join(filter(None, (note, empty_classes_note(chosen)))),
    )


def _pair(folder: Path, part: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    images, image_path = _checked(folder, f"{part}-images", 3)
    labels, label_path = _checked(folder, f"{part}-labels", 1)
    if len(images) != len(labels):
        where = f"in {label_path.name}; fetch both again"
        raise DataError(f"{image_path}: {len(images)} images but {len(labels)} labels {where}")
    return images, labels


def _checked(folder: Path, stem: str, rank: int) -> tuple[NDArray[np.uint8], Path]:
    path = find_file(folder, stem)
    if path is None:
        raise DataError(f"{folder}: no {stem}-idx{rank}-ubyte (or .gz); needed are {', '.join(FILES)}")
    array = read_idx(path)
    if array.ndim != rank or array.size == 0:
        raise DataError(f"{path}: shape {array.shape}, expected {rank} dimension(s) and at least one entry")
    return array, path


def _classes(folder: Path, count: int) -> tuple[str, ...]:
    absolute = folder.resolve()
    if count <= len(FASHION_CLASSES) and any(
        "fashion" in name.lower() for name in (absolute.name, absolute.parent.name)
    ):
        return FASHION_CLASSES
    return tuple(str(i) for i in range(count))
