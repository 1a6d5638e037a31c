"""Text files of whole numbers in columns, tens of millions of lines long, in time and memory O(block)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.core.errors import DataError

_BLOCK = 1 << 22
_LARGEST = np.iinfo(np.int64).max  # where a number that does not fit ends up


def int_blocks(path: Path, columns: int, *, block: int = _BLOCK) -> Iterator[NDArray[np.int64]]:
    """Blocks (n, columns) of the lines of a file, in order; empty lines are skipped.

    Every line is looked at: one with a word that is no number, or with another number of columns, is an error
    that names it. O(bytes) time, O(block) memory.

    Args:
        path: text file; columns are separated by blanks or tabs.
        columns: numbers on each line.
        block: bytes read at once.

    Raises:
        DataError: missing, or a line that is not so many whole numbers (named).
    """
    line, rest = 1, b""
    try:
        with path.open("rb") as stream:
            while data := stream.read(block):
                data = rest + data
                cut = data.rfind(b"\n") + 1
                if not cut and len(data) > block:
                    raise DataError(f"{path}:{line}: a line of more than {block} bytes; not such a list")
                if cut:
                    yield _parse(data[:cut], columns, path, line)
                    line += data.count(b"\n", 0, cut)
                rest = data[cut:]
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; check the path") from None
    except OSError as error:
        raise DataError(f"{path}: cannot read ({error.strerror or error})") from None
    if rest.strip():
        yield _parse(rest + b"\n", columns, path, line)


def int_table(path: Path, columns: int) -> NDArray[np.int64]:
    """All of `int_blocks` as one (n, columns) array."""
    blocks = list(int_blocks(path, columns))
    return np.concatenate(blocks) if blocks else np.empty((0, columns), np.int64)


def _parse(data: bytes, columns: int, path: Path, line: int) -> NDArray[np.int64]:
    if data.translate(None, b"0123456789 \t\r\n"):
        raise _offender(data, columns, path, line)
    text = np.frombuffer(data, np.uint8)
    is_digit = text >= 48
    starts = np.flatnonzero(is_digit[1:] & ~is_digit[:-1]) + 1
    if is_digit[0]:
        starts = np.concatenate([[0], starts])
    counts = np.diff(np.searchsorted(starts, np.flatnonzero(text == 10)), prepend=0)
    if not ((counts == columns) | (counts == 0)).all():
        raise _offender(data, columns, path, line)
    if not len(starts):
        return np.empty((0, columns), np.int64)
    values = np.fromstring(data, np.int64, sep=" ").reshape(-1, columns)
    if values.max() == _LARGEST:
        where = int(np.flatnonzero((values == _LARGEST).any(1))[0])
        raise DataError(f"{path}: a number beyond 63 bits (about line {line + where}); fetch it again")
    return values


def _offender(data: bytes, columns: int, path: Path, line: int) -> DataError:
    """The error that names the first bad line."""
    for number, text in enumerate(data.split(b"\n"), line):
        words = text.split()
        if words and (len(words) != columns or not all(w.isdigit() for w in words)):
            shown = text.strip()[:80].decode("utf-8", "backslashreplace")
            return DataError(f"{path}:{number}: expected {columns} whole numbers, got {shown!r}")
    return DataError(f"{path}:{line}: not columns of whole numbers; fetch it again")
