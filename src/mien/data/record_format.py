"""Bytes of RecordIO: frames, split payloads, the image header. Nothing here knows of files or indices.

A frame is magic, ``cflag << 29 | length``, so many bytes, zeros up to a multiple of four. A payload that
holds the magic word at a multiple of four from its start is cut there: parts 1 (first), 2 (middle), 3 (last)
instead of one frame 0, the word itself left out. So a reader that lost its place finds the next record.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from mien.core.errors import DataError

MAGIC = 0xCED7230A
WORD = struct.pack("<I", MAGIC)
FRAME = struct.Struct("<II")
HEADER = struct.Struct("<IfQQ")
"""Number of label values behind the header (0: the one label is in it), label, id, second id."""
LONGEST = 1 << 29
_MOST_LABELS = 1 << 20

Bytes = bytes | mmap.mmap | memoryview


class DamagedError(ValueError):
    """What is wrong with the bytes at an offset; the caller knows file and key."""


@dataclass(frozen=True)
class Record:
    """One record: label values, ids, and the encoded picture (empty in records that are none).

    Attributes:
        label: one value, or a vector.
        id: first id.
        id2: second id.
        data: what follows the labels.
        is_vector: the label lies behind the header (flag > 0).
    """

    label: tuple[float, ...]
    id: int
    id2: int
    data: bytes
    is_vector: bool

    @property
    def class_id(self) -> int:
        """The first label value as a class.

        Raises:
            DamagedError: it is none.
        """
        value = self.label[0]
        if not (0 <= value <= 1 << 24 and value == int(value)):  # refuses nan as well
            raise DamagedError(f"its label {value:g} is no class")
        return int(value)


def pack_header(label: int | float | Sequence[float], id: int = 0, id2: int = 0) -> bytes:
    """Header and label values of a payload: a number is a scalar label, a sequence a vector."""
    if isinstance(label, (int, float)):
        return HEADER.pack(0, label, id, id2)
    return HEADER.pack(len(label), 0.0, id, id2) + struct.pack(f"<{len(label)}f", *label)


def unpack_payload(payload: bytes) -> Record:
    """The record in a payload.

    Raises:
        DamagedError: shorter than its header says.
    """
    if len(payload) < HEADER.size:
        raise DamagedError(f"{len(payload)} bytes are too few for the header of {HEADER.size}")
    flag, label, first, second = HEADER.unpack_from(payload)
    start = HEADER.size
    if not flag:
        return Record((label,), first, second, payload[start:], False)
    if flag > _MOST_LABELS or start + 4 * flag > len(payload):
        raise DamagedError(f"{flag} label values do not fit into {len(payload)} bytes")
    values = struct.unpack_from(f"<{flag}f", payload, start)
    return Record(values, first, second, payload[start + 4 * flag :], True)


def frames(payload: bytes) -> bytes:
    """A payload as frames, cut at every magic word at a multiple of four.

    Raises:
        DataError: longer than 2^29 - 1 bytes.
    """
    if len(payload) >= LONGEST:
        raise DataError(f"record of {len(payload)} bytes; a record holds less than {LONGEST}")
    parts = []
    start, found = 0, payload.find(WORD)
    while found >= 0:
        if found % 4 == 0:
            parts.append(payload[start:found])
            start = found + 4
            found = payload.find(WORD, start)
        else:
            found = payload.find(WORD, found + 1)
    parts.append(payload[start:])
    last = len(parts) - 1
    out = []
    for number, part in enumerate(parts):
        flag = 0 if not last else 1 if number == 0 else 3 if number == last else 2
        out += [FRAME.pack(MAGIC, flag << 29 | len(part)), part, bytes(-len(part) % 4)]
    return b"".join(out)


def payload_at(data: Bytes, offset: int) -> tuple[bytes, int]:
    """The payload whose first frame is at an offset, and the offset behind its last.

    Raises:
        DamagedError: no magic word there, parts out of order, or the bytes end first.
    """
    flag, payload, offset = _frame(data, offset)
    if flag == 0:
        return payload, offset
    if flag != 1:
        raise DamagedError(f"starts with part {flag} of a split record")
    parts = [payload]
    while flag != 3:
        flag, payload, offset = _frame(data, offset)
        if flag not in (2, 3):
            raise DamagedError(f"a split record goes on with part {flag}")
        parts.append(payload)
    return WORD.join(parts), offset


def _frame(data: Bytes, offset: int) -> tuple[int, bytes, int]:
    size = len(data)
    if offset + FRAME.size > size:
        raise DamagedError(
            f"truncated in mid-record: its frame at byte {offset} is beyond the {size} there are"
        )
    magic, length = FRAME.unpack_from(data, offset)
    if magic != MAGIC:
        raise DamagedError(f"no magic word at byte {offset} (found {magic:#010x})")
    flag, length = length >> 29, length & (LONGEST - 1)
    start = offset + FRAME.size
    if start + length > size:
        raise DamagedError(f"truncated in mid-record: {length} bytes promised, {size - start} follow")
    return flag, bytes(data[start : start + length]), start + length + (-length % 4)
