"""Files of tracks, read within bounds; nothing in them is executed."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.core.errors import DataError, LimitError
from mien.core.io import new_file
from mien.core.limits import max_array_bytes

Array = NDArray[Any]


def read_npz(path: Path) -> dict[str, Array]:
    """The arrays of an .npz file. O(size).

    Raises:
        DataError: missing, damaged, or it holds objects.
        LimitError: larger than `max_array_bytes`, also unpacked.
    """
    _check_size(path, _file_size(path))
    try:
        with zipfile.ZipFile(path) as archive:
            _check_size(path, sum(entry.file_size for entry in archive.infolist()))
        with np.load(path, allow_pickle=False) as file:
            return {k: file[k] for k in file.files}
    except (zipfile.BadZipFile, OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: not an .npz file that can be read ({error})") from None


def write_npz(path: Path, arrays: Mapping[str, Array]) -> Path:
    """Writes arrays, whole or not at all."""
    with new_file(path) as part, part.open("wb") as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]
    return path


def read_mat(path: Path, name: str, width: int) -> NDArray[np.float32]:
    """An array (T, width or more) of a .mat file. O(size).

    Raises:
        DataError: missing, damaged, or without it.
        LimitError: larger than `max_array_bytes`.
    """
    from scipy.io import loadmat

    _check_size(path, _file_size(path))
    try:
        rows = loadmat(str(path), variable_names=[name]).get(name)
    except Exception as error:  # scipy's parser raises nearly anything on damaged bytes
        raise DataError(f"{path}: not a .mat file that can be read ({error})") from None
    if not isinstance(rows, np.ndarray) or rows.ndim != 2 or rows.shape[1] < width or rows.dtype.kind != "f":
        raise DataError(f"{path}: holds no {name!r} of {width} numbers a frame; track the clip again")
    return rows.astype(np.float32)


def _file_size(path: Path) -> int:
    if not path.is_file():
        raise DataError(f"{path}: no such file; check the path")
    return path.stat().st_size


def _check_size(path: Path, size: int) -> None:
    if size > max_array_bytes():
        raise LimitError(
            f"{path}: {size} bytes, more than {max_array_bytes()} allowed (MIEN_MAX_ARRAY_BYTES)"
        )
