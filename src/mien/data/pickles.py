"""Pickles of plain data from strangers: nothing in them is ever executed.

Only lists, tuples, dicts, sets, text, bytes, numbers, truth values and numpy arrays of numbers come through.
Arrays are rebuilt here from their bytes; numpy's own code never sees what the file says.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from pathlib import Path
from typing import Any

import numpy as np

from mien.core.errors import DataError, LimitError
from mien.core.limits import max_array_bytes

_KINDS = {
    *(f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)), "f2", "f4", "f8", "b1",
}  # fmt: skip


class _Stand:
    """Stands for a global; takes no state but where a subclass says so."""

    def __setstate__(self, state: Any) -> None:
        raise ValueError("state for an object that has none")


class _DType(_Stand):
    def __init__(self, name: Any, *_: Any) -> None:
        text = name.decode("ascii") if isinstance(name, bytes) else str(name)
        self.name, self.order = text.lstrip("<>=|"), ">" if text.startswith(">") else "<"
        if self.name not in _KINDS:
            raise ValueError(f"an array of {text[:40]!r}")

    def __setstate__(self, state: Any) -> None:
        order = state[1].decode("ascii") if isinstance(state[1], bytes) else state[1]
        self.order = ">" if order == ">" else "<"

    def real(self) -> np.dtype[Any]:
        return np.dtype(self.order + self.name)


class _Array(_Stand):
    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def real(self) -> np.ndarray[Any, Any]:
        if self.state is not None:  # _reconstruct(...), then (version, shape, dtype, fortran order, bytes)
            _, shape, dtype, fortran, data = self.state
        else:  # _frombuffer(bytes, dtype, shape, order)
            data, dtype, shape, order = self.arguments
            fortran = order == "F"
        if not isinstance(dtype, _DType):
            raise ValueError("an array without a type")
        flat = np.frombuffer(_bytes(data), dtype.real())
        return flat.reshape(shape, order="F" if fortran else "C")


class _Scalar(_Stand):
    def __init__(self, dtype: Any, data: Any) -> None:
        if not isinstance(dtype, _DType):
            raise ValueError("a number without a type")
        self.value = np.frombuffer(_bytes(data), dtype.real())[0].item()


class _Bytes(_Stand):
    """``_codecs.encode``, ``bytes`` and ``bytearray``: never of a number, which would claim memory."""

    def __init__(self, data: Any = b"", encoding: Any = "latin1", *_: Any) -> None:
        if not isinstance(data, (bytes, bytearray, str, _Bytes)):
            raise ValueError(f"bytes made of a {type(data).__name__}")
        self.data = _bytes(data)


class _Set(_Stand):
    def __init__(self, items: Any = ()) -> None:
        self.items = items


class _Type(_Stand):
    """``numpy.ndarray`` as an argument."""


_ALLOWED: dict[tuple[str, str], Any] = {
    ("multiarray", "_reconstruct"): _Array,
    ("numeric", "_frombuffer"): _Array,
    ("multiarray", "scalar"): _Scalar,
    ("numpy", "ndarray"): _Type,
    ("numpy", "dtype"): _DType,
    ("_codecs", "encode"): _Bytes,
    ("builtins", "bytes"): _Bytes,
    ("builtins", "bytearray"): _Bytes,
    ("builtins", "set"): _Set,
    ("builtins", "frozenset"): _Set,
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        short = module.removeprefix("numpy.core.").removeprefix("numpy._core.")
        short = "builtins" if short == "__builtin__" else short
        if (short, name) not in _ALLOWED:
            raise DataError(f"refused the global {module}.{name}: only plain data and arrays are read")
        return _ALLOWED[short, name]

    def persistent_load(self, pid: Any) -> Any:
        raise DataError("refused a reference to an object outside of the file")


def load_plain(path: Path) -> Any:
    """The value in a pickle file, of Python 2 or 3, with arrays rebuilt. Text of Python 2 comes as bytes.

    Raises:
        DataError: missing, damaged, or it asks for anything but plain data (named; nothing is run).
        LimitError: larger than `max_array_bytes`.
    """
    data = bounded_bytes(path, "check the path")
    try:
        check_opcodes(data)
        return _plain(_Reader(io.BytesIO(data), encoding="bytes").load(), {})
    except DataError as error:
        raise DataError(f"{path}: {error}; nothing was executed, fetch it from its source") from None
    except RecursionError:
        raise DataError(f"{path}: nested too deeply; nothing was executed") from None
    except Exception as error:  # a damaged pickle raises nearly anything
        text = " ".join(str(error).split())[:200]
        raise DataError(f"{path}: damaged, or no pickle of plain data ({text}); fetch it again") from None


def bounded_bytes(path: Path, hint: str) -> bytes:
    """A file that arrays are read from.

    Args:
        path: the file.
        hint: what to do where it is missing.

    Raises:
        DataError: missing or unreadable.
        LimitError: larger than `max_array_bytes`.
    """
    try:
        if not path.is_file():
            raise DataError(f"{path}: no such file; {hint}")
        if (size := path.stat().st_size) > max_array_bytes():
            limit = max_array_bytes()
            raise LimitError(f"{path}: {size} bytes, more than the {limit} allowed (MIEN_MAX_ARRAY_BYTES)")
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot read ({error.strerror or error})") from None


def check_opcodes(data: bytes) -> None:
    """Walks the pickle without building anything: a memo index beyond the file would claim memory."""
    for opcode, argument, _ in pickletools.genops(data):
        is_memo = opcode.name in ("PUT", "BINPUT", "LONG_BINPUT")
        if is_memo and argument is not None and int(argument) > len(data):
            raise ValueError(f"memo index {argument} in a file of {len(data)} bytes")


def _bytes(data: Any) -> bytes:
    if isinstance(data, _Bytes):
        return data.data
    if isinstance(data, str):
        return data.encode("latin-1")
    if isinstance(data, bytearray):
        return bytes(data)
    if not isinstance(data, bytes):
        raise ValueError(f"array bytes are a {type(data).__name__}")
    return data


def _plain(value: Any, done: dict[int, Any]) -> Any:
    """Stand-ins replaced by what they stand for; a value met twice is converted once."""
    if id(value) in done:
        return done[id(value)]
    new: Any = value
    if isinstance(value, (_Array, _DType)):
        new = value.real()
    elif isinstance(value, _Bytes):
        new = value.data
    elif isinstance(value, _Scalar):
        new = value.value
    elif isinstance(value, _Set):
        new = {_plain(v, done) for v in value.items}
    elif isinstance(value, (list, tuple, set, frozenset)):
        new = type(value)(_plain(v, done) for v in value)
    elif isinstance(value, dict):
        new = {_plain(k, done): _plain(v, done) for k, v in value.items()}
    elif not isinstance(value, (str, bytes, bytearray, int, float, type(None))):
        raise ValueError(f"a {type(value).__name__} in it")
    done[id(value)] = new
    return new
