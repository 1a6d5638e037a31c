"""Tensors out of the network pickles of NVIDIA's generators (StyleGAN2-ADA to EG3D); nothing is executed.

Such a file holds whole objects: modules with the source text of their classes, which the original reader
executes, and every storage as bytes of torch's old file format. Here each class becomes an inert stand-in,
the source text is not looked at, storages are read by hand, and any other global is refused by its name.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mien.core.errors import DataError, LimitError, WeightsError
from mien.core.limits import max_array_bytes
from mien.data.pickles import bounded_bytes, check_opcodes

_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_MAX_MODULES, _MAX_DEPTH, _MAX_DIMENSIONS, _MAX_NAME = 10_000, 32, 8, 200

_DTYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


class _Inert:
    """Stands for an object of any class: takes arguments, items and state, and does nothing with them."""

    arguments: tuple[Any, ...] = ()
    state: Any = None

    def __init__(self, *arguments: Any, **_: Any) -> None:
        self.arguments = arguments

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, item: Any) -> None:
        pass

    def extend(self, items: Any) -> None:
        pass

    def add(self, item: Any) -> None:
        pass


class _Module(_Inert):
    """A module that came with its source text: its class's name and its state."""

    class_name = ""

    def __init__(self, meta: Any, *_: Any) -> None:
        if not isinstance(meta, dict) or not isinstance(meta.get("class_name"), str):
            raise ValueError("an object without a description")
        super().__init__()
        self.class_name, self.state = meta["class_name"], meta.get("state")


class _Storage(_Inert):
    """The bytes of a storage, read when a tensor that is wanted needs them."""

    data = b""
    values: Tensor | None = None

    def __init__(self, data: Any) -> None:
        if not isinstance(data, (bytes, bytearray)):
            raise ValueError(f"a storage made of a {type(data).__name__}")
        super().__init__()
        self.data = bytes(data)

    def real(self) -> Tensor:
        if self.values is None:
            self.values, self.data = _read_storage(self.data), b""
        return self.values


class _Tensor(_Inert):
    """Storage, offset, size, stride, and more that does not matter."""

    def real(self) -> Tensor:
        storage, offset, size, stride = self.arguments[:4]
        if not isinstance(storage, _Storage):
            raise ValueError("a tensor without a storage")
        numbers = [offset, *size, *stride]  # never shown: a hostile value can have a text without end
        if not len(size) == len(stride) <= _MAX_DIMENSIONS or not all(_is_count(n) for n in numbers):
            raise ValueError("a tensor of no size and stride")
        values = storage.real()
        last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
        count = math.prod(size)
        if count and (last >= len(values) or count > len(values)):
            raise ValueError(f"a tensor that reaches beyond its storage of {len(values)} numbers")
        return values.as_strided(tuple(size), tuple(stride), offset if count else 0).clone()


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and 0 <= value < 2**63


class _Parameter(_Inert):
    """A tensor, and whether it learns."""


_KNOWN: dict[tuple[str, str], type] = {
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _Module,
    ("torch.storage", "_load_from_bytes"): _Storage,
    ("torch._utils", "_rebuild_tensor_v2"): _Tensor,
    ("torch._utils", "_rebuild_tensor"): _Tensor,
    ("torch._utils", "_rebuild_parameter"): _Parameter,
    ("collections", "OrderedDict"): dict,
    ("dnnlib.util", "EasyDict"): dict,
}
_INERT_PACKAGES = ("torch.nn.", "torch_utils.", "training.", "dnnlib.")
_INERT = {
    *(("builtins", name) for name in ("set", "frozenset", "slice", "complex", "object", "bytearray")),
    *(("numpy", name) for name in ("dtype", "ndarray")),
    *((f"numpy.{p}.multiarray", name) for p in ("core", "_core") for name in ("scalar", "_reconstruct")),
    *(("torch", name) for name in ("device", "Size", "float16", "float32", "float64", "int64", "uint8")),
    ("dnnlib", "EasyDict"),
    ("_codecs", "encode"),
    ("collections", "defaultdict"),
}  # fmt: skip


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _KNOWN:
            return _KNOWN[module, name]
        module = "builtins" if module == "__builtin__" else module
        if module.startswith(_INERT_PACKAGES) or (module, name) in _INERT:
            return _Inert
        raise DataError(f"refused the global {module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        raise DataError("refused a reference to an object outside of the file")


class _StorageReader(pickle.Unpickler):
    """The pickles inside a storage's bytes: names of storage types, and one reference to the storage."""

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in _DTYPES:
            return type(name, (_Inert,), {"dtype": _DTYPES[name]})
        raise DataError(f"refused the global {module}.{name} in a storage")

    def persistent_load(self, pid: Any) -> Any:
        if not isinstance(pid, tuple) or len(pid) not in (5, 6) or pid[0] != "storage":
            raise DataError("refused a reference to an object outside of a storage")
        return pid


def read_network(path: Path, name: str = "G_ema") -> tuple[dict[str, Tensor], dict[str, str]]:
    """One network of a pickle: its parameters and buffers, and the class of every module that tells it.

    Args:
        path: the file.
        name: the network's key in it.

    Returns:
        Tensors by their name in the state dict, and names of classes by module ("" is the network).

    Raises:
        WeightsError: missing or damaged, no such network in it, or it asks for anything but modules and
            tensors (named; nothing is run).
        LimitError: a file larger than `max_array_bytes`.
    """
    try:
        data = bounded_bytes(path, "check the path")
        check_opcodes(data)
        top = _Reader(io.BytesIO(data)).load()
        if not isinstance(top, dict) or name not in top:
            raise ValueError(f"no network {name!r} in it")
        return _collect(top[name])
    except LimitError:
        raise
    except DataError as error:
        text = str(error).removeprefix(f"{path}: ")
        raise WeightsError(f"{path}: {text}; nothing was executed, fetch it from its source") from None
    except Exception as error:  # a damaged pickle raises nearly anything
        text = " ".join(str(error).split())[:200]
        raise WeightsError(f"{path}: damaged, or no network pickle ({text}); fetch it again") from None


def _modules(network: Any) -> Iterator[tuple[str, _Inert, dict[Any, Any]]]:
    """Prefix, stand-in and state of the network and all below it; bounded, as names can run in circles."""
    waiting, count = [("", network)], 0
    while waiting:
        prefix, module = waiting.pop()
        count += 1
        if count > _MAX_MODULES or prefix.count(".") > _MAX_DEPTH:
            raise ValueError("modules without end")
        if not isinstance(module, _Inert) or not isinstance(module.state, dict):
            raise ValueError(f"{prefix[:80] or 'the network'} is no module")
        yield prefix, module, module.state
        for name, child in module.state.get("_modules", {}).items():
            if not isinstance(name, str) or len(name) > _MAX_NAME:
                raise ValueError("a module without a name")
            if child is not None:
                waiting.append((f"{prefix}{name}.", child))


def _collect(network: Any) -> tuple[dict[str, Tensor], dict[str, str]]:
    tensors: dict[str, Tensor] = {}
    classes: dict[str, str] = {}
    left = max_array_bytes()
    for prefix, module, state in _modules(network):
        if isinstance(module, _Module):
            classes[prefix.rstrip(".")] = module.class_name
        for name, value in {**state.get("_parameters", {}), **state.get("_buffers", {})}.items():
            found = value.arguments[0] if isinstance(value, _Parameter) else value
            if found is None:
                continue
            if not isinstance(name, str) or not isinstance(found, _Tensor) or len(name) > _MAX_NAME:
                raise ValueError(f"what {prefix or 'the network'} holds is no named tensor")
            tensor = found.real()
            left -= tensor.nbytes
            if left < 0:
                raise ValueError(f"tensors of more than {max_array_bytes()} bytes (MIEN_MAX_ARRAY_BYTES)")
            tensors[f"{prefix}{name}"] = tensor
    return tensors, classes


def _read_storage(data: bytes) -> Tensor:
    """Torch's old format: magic number, version, machine, a reference, keys; then count and bytes, as is."""
    pieces, start = [], 0
    stream = io.BytesIO(data)
    for _ in range(5):
        for _ in pickletools.genops(stream):
            pass
        piece = data[start : stream.tell()]
        check_opcodes(piece)
        pieces.append(_StorageReader(io.BytesIO(piece)).load())
        start = stream.tell()
    magic, version, machine, reference, keys = pieces
    if magic != _MAGIC or version != _PROTOCOL or not machine.get("little_endian"):
        raise ValueError("a storage of another format")
    _, kind, key, _, count = reference[:5]
    if not isinstance(key, str) or not _is_count(count):
        raise ValueError("a storage without a name or a size")
    if keys != [key] or (len(reference) == 6 and reference[5] is not None):
        raise ValueError("a storage that is a part of another")
    dtype: torch.dtype = kind.dtype
    body = data[start:]
    if len(body) != 8 + count * dtype.itemsize or struct.unpack("<q", body[:8])[0] != count:
        raise ValueError(f"a storage of {len(body) - 8} bytes for {count} numbers")
    return torch.frombuffer(bytearray(body[8:]), dtype=dtype) if count else torch.empty(0, dtype=dtype)
