"""Checks on weight files that somebody else made, before a library opens them."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.core.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor

_BYTES = {"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2}
_HEADER_LIMIT = 100 * 2**20


def check_safetensors(path: Path) -> None:
    """Verifies a safetensors file's header against its size, and says plainly when the file is a pickle.

    Raises:
        WeightsError: missing, a pickle, truncated, or a header that lies about sizes or overlaps.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            head = stream.read(9)
            # A header's length may begin with the bytes of a pickle (0x80, "PK"): then "{" follows its end.
            length = struct.unpack("<Q", head[:8])[0] if len(head) == 9 else size
            is_json = length <= size - 8 and head[8:] == b"{"
            if not is_json and (head[:2] == b"PK" or head[:1] == b"\x80"):
                raise WeightsError(
                    f"{path}: a pickle, which can run code when opened; convert it: mien convert torch {path}"
                )
            if len(head) < 9:
                raise WeightsError(f"{path}: not a safetensors file ({size} bytes)")
            if length > min(size - 8, _HEADER_LIMIT):
                raise WeightsError(
                    f"{path}: safetensors header says {length} bytes, the file has {size}; damaged"
                )
            header = json.loads(head[8:] + stream.read(max(0, length - 1)))
        _check_header(header, size - 8 - length, path)
    except FileNotFoundError:
        raise WeightsError(f"{path}: no such file") from None
    except OSError as error:
        raise WeightsError(f"{path}: cannot read ({error.strerror or error})") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise WeightsError(f"{path}: damaged safetensors header ({error})") from None


def read_tensors(path: Path, entry: str) -> tuple[str, dict[str, Tensor]]:
    """What stands under ``entry`` in a safetensors file's metadata ("" = nothing), and its tensors. O(size).

    Raises:
        WeightsError: see `check_safetensors`.
    """
    from safetensors import safe_open
    from safetensors.torch import load_file

    check_safetensors(path)
    with safe_open(path, "pt") as file:
        text = (file.metadata() or {}).get(entry, "")
    return text, load_file(path)


def _check_header(header: dict[str, dict[str, object]], data: int, path: Path) -> None:
    spans = []
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        offsets: Any = entry["data_offsets"]
        begin, end = offsets
        count = 1
        for n in entry["shape"]:  # type: ignore[attr-defined]
            if int(n) < 0:
                raise WeightsError(f"{path}: tensor {name!r} has a negative size")
            count *= int(n)
        if end - begin != count * _BYTES.get(str(entry["dtype"]), 1) or begin < 0 or end > data:
            raise WeightsError(
                f"{path}: header lies about tensor {name!r} (shape {entry['shape']}, bytes {begin}..{end})"
            )
        spans.append((begin, end))
    position = 0
    for begin, end in sorted(spans):
        if begin != position:
            raise WeightsError(f"{path}: header has gaps or overlaps at byte {position}")
        position = end
    if position != data:
        raise WeightsError(
            f"{path}: {data} bytes of tensors, header describes {position}; truncated or padded"
        )
