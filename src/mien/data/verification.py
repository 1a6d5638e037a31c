"""Verification sets: pairs of aligned faces, same person or not (``lfw.bin`` and its kin)."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mien.core.errors import DataError
from mien.core.images import read_image
from mien.core.io import read_json, write_bytes
from mien.data.pickles import load_plain

SIZE = 112
PUBLISHED = {
    "lfw": 6000, "cfp_fp": 7000, "cfp_ff": 7000, "agedb_30": 6000, "calfw": 6000, "cplfw": 6000,
    "vgg2_fp": 5000,
}  # fmt: skip
"""Pairs of the published sets."""


class VerificationBin:
    """Pairs of faces from a ``.bin`` pickle, or from a memory-mapped array folder.

    Pair k is (face 2 k, face 2 k + 1). Pairs lie fold by fold: keep their order.
    A ``.bin`` holds encoded pictures or uint8 arrays, and is read without running anything in it. A folder
    ``NAME`` beside ``NAME_list.npy`` holds ``memfile/mem_file.dat``: (2 N, 3, H, W) floats in [-1, 1] or
    uint8, whose channels are blue, green, red (AdaFace) unless ``channels`` says "rgb".

    A picture whose width is not 112 has its short side resized to 112, then its middle square taken.

    Args:
        path: ``.bin`` file or folder.
        channels: order in an array folder; a ``.bin`` is always RGB.

    Attributes:
        same: (N,) bool.

    Raises:
        DataError: missing, damaged, hostile, or pictures and pairs disagree.
    """

    def __init__(self, path: str | Path, *, channels: Literal["bgr", "rgb"] = "bgr") -> None:
        self.path = Path(path)
        self.channels = channels
        self._faces: Sequence[Any] | NDArray[Any]
        self._faces, self.same = self._read_folder() if self.path.is_dir() else self._read_bin()
        if len(self._faces) != 2 * len(self.same):
            raise DataError(
                f"{self.path}: {len(self._faces)} pictures for {len(self.same)} pairs; fetch it again"
            )
        if not len(self.same):
            raise DataError(f"{self.path}: no pairs in it; fetch it again")

    def __len__(self) -> int:
        return len(self.same)

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8], bool]:
        """Both faces of a pair, (112, 112, 3) uint8 RGB, and whether they are one person."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"pair {index} of {len(self)}")
        index %= len(self)
        return self.face(2 * index), self.face(2 * index + 1), bool(self.same[index])

    def __iter__(self) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8], bool]]:
        return (self[i] for i in range(len(self)))

    @property
    def folds(self) -> NDArray[np.int64]:
        """(N,) the ten contiguous blocks of the protocol."""
        return blocks(len(self))

    @property
    def note(self) -> str:
        """A remark if the name is that of a published set of another size."""
        expected = PUBLISHED.get(self.path.stem)
        if expected in (None, len(self)):
            return ""
        return f"{self.path.name}: {len(self):,} pairs, the published set has {expected:,}"

    def face(self, index: int) -> NDArray[np.uint8]:
        """Face ``index`` of 0 .. 2 N - 1, (112, 112, 3) uint8 RGB."""
        name = f"{self.path}: picture {index}"
        face = self._faces[index]
        if self.path.is_dir():
            return to_size(_channels_last(face, self.channels))
        if isinstance(face, np.ndarray) and face.ndim == 1:  # encoded bytes as an array
            face = face.tobytes()
        elif isinstance(face, np.ndarray) and face.ndim == 3 and face.shape[0] == 3 != face.shape[2]:
            face = face.transpose(1, 2, 0)
        return to_size(read_image(bytes(face) if isinstance(face, bytearray) else face, name=name))

    def _read_bin(self) -> tuple[Sequence[Any] | NDArray[Any], NDArray[np.bool_]]:
        value = load_plain(self.path)
        if not isinstance(value, (tuple, list)) or len(value) != 2:
            raise DataError(f"{self.path}: not a pair (pictures, same); is it a verification set?")
        faces, same = value
        if not isinstance(faces, (list, tuple, np.ndarray)):
            raise DataError(f"{self.path}: its pictures are a {type(faces).__name__}, expected a list")
        for number, face in enumerate(faces):
            if not isinstance(face, (bytes, bytearray)) and not _is_pixels(face):
                raise DataError(
                    f"{self.path}: picture {number} is a {type(face).__name__}, not bytes or uint8"
                )
        return faces, _truths(same, self.path)

    def _read_folder(self) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        listed = self.path.parent / f"{self.path.name}_list.npy"
        data = self.path / "memfile" / "mem_file.dat"
        told = data.with_name(data.name + ".conf")
        for file in (listed, data, told):
            if not file.is_file():
                raise DataError(f"{file}: no such file; an array set is NAME/memfile and NAME_list.npy")
        facts = read_json(told)
        if not isinstance(facts, dict) or facts.get("dtype") not in ("float32", "float64", "uint8"):
            raise DataError(f"{told}: expected the shape and dtype of {data.name}")
        shape = facts.get("shape")
        if not isinstance(shape, list) or len(shape) != 4 or not all(type(n) is int and n > 0 for n in shape):
            raise DataError(f"{told}: shape {str(shape)[:80]}, expected [pictures, 3, height, width]")
        dtype = np.dtype(facts["dtype"])
        if shape[1] != 3 or data.stat().st_size != int(np.prod(shape)) * dtype.itemsize:
            size = data.stat().st_size
            raise DataError(
                f"{data}: {size} bytes, not {shape} of {dtype} as {told.name} says; fetch it again"
            )
        try:
            same = np.load(listed, allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise DataError(f"{listed}: damaged, or not a plain array ({error})") from None
        return np.memmap(data, dtype, "r", shape=tuple(shape)), _truths(same, listed)


def write_verification(
    path: str | Path, faces: Sequence[bytes | NDArray[np.uint8]], same: Sequence[bool] | NDArray[np.bool_]
) -> Path:
    """Writes a ``.bin`` that every reader of such files takes (pickle protocol 2), whole or not at all.

    Args:
        path: the file.
        faces: 2 N pictures, encoded bytes (stored as they are) or uint8 pixels (stored as PNG).
        same: (N,) whether pictures 2 k and 2 k + 1 are one person.

    Raises:
        DataError: the counts disagree.
    """
    from mien.core.images import encode_png

    if len(faces) != 2 * len(same) or not len(same):
        raise DataError(f"{path}: {len(faces)} pictures for {len(same)} pairs; give two for each pair")
    encoded = [f if isinstance(f, bytes) else encode_png(f) for f in faces]
    return write_bytes(path, pickle.dumps((encoded, [bool(s) for s in same]), protocol=2))


def write_verification_folder(
    path: str | Path, faces: Sequence[NDArray[np.uint8]], same: Sequence[bool] | NDArray[np.bool_]
) -> Path:
    """Writes the memory-mapped form: floats in [-1, 1], blue-green-red, and ``NAME_list.npy`` beside it.

    Args:
        path: the folder ``NAME``.
        faces: 2 N pictures of one size, uint8 RGB.
        same: (N,) truth.

    Raises:
        DataError: the counts disagree.
    """
    path = Path(path)
    if len(faces) != 2 * len(same) or not len(same):
        raise DataError(f"{path}: {len(faces)} pictures for {len(same)} pairs; give two for each pair")
    pixels = np.stack(faces)[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1
    data = path / "memfile" / "mem_file.dat"
    write_bytes(data, np.ascontiguousarray(pixels).tobytes())
    conf = json.dumps({"shape": list(pixels.shape), "dtype": "float32"})
    write_bytes(data.with_name(data.name + ".conf"), conf.encode())
    from mien.core.io import new_file

    with new_file(path.parent / f"{path.name}_list.npy") as part, part.open("wb") as stream:
        np.save(stream, np.asarray(same, bool))
    return path


def blocks(count: int, folds: int = 10) -> NDArray[np.int64]:
    """(count,) contiguous folds whose sizes differ by one at most; the first are the larger.

    >>> blocks(5, 2).tolist()
    [0, 0, 0, 1, 1]
    """
    each, more = divmod(count, folds)
    return np.repeat(np.arange(folds), [each + (f < more) for f in range(folds)])


def to_size(image: NDArray[np.uint8], size: int = SIZE) -> NDArray[np.uint8]:
    """A picture of this width as it is; else its short side resized (bicubic), then the middle square.

    Args:
        image: (H, W, 3) uint8.
        size: pixels a side.
    """
    height, width = image.shape[:2]
    if (height, width) == (size, size):
        return image
    from PIL import Image

    if width != size or height < size:
        scale = size / min(height, width)
        shape = (max(size, round(width * scale)), max(size, round(height * scale)))
        image = np.asarray(Image.fromarray(image).resize(shape, Image.Resampling.BICUBIC))
        height, width = image.shape[:2]
    top, left = (height - size) // 2, (width - size) // 2
    return np.ascontiguousarray(image[top : top + size, left : left + size])


def _channels_last(face: NDArray[Any], channels: str) -> NDArray[np.uint8]:
    pixels = face.transpose(1, 2, 0)
    if pixels.dtype != np.uint8:
        pixels = np.clip(np.rint((pixels.astype(np.float32) + 1) * 127.5), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(pixels[..., ::-1] if channels == "bgr" else pixels)


def _is_pixels(face: Any) -> bool:
    return isinstance(face, np.ndarray) and face.dtype == np.uint8 and face.ndim in (1, 2, 3)


def _truths(same: Any, path: Path) -> NDArray[np.bool_]:
    values = same.tolist() if isinstance(same, np.ndarray) else same
    if not isinstance(values, (list, tuple)) or not all(
        v in (0, 1) for v in values if not isinstance(v, list)
    ):
        raise DataError(f"{path}: its truth is not a list of true and false; fetch it again")
    if any(isinstance(v, list) for v in values):
        raise DataError(f"{path}: its truth is not one-dimensional; fetch it again")
    return np.array(values, dtype=bool)
