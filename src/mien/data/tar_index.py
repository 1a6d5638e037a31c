"""Where the files of a tar lie, from its headers alone."""

from __future__ import annotations

import mmap
import tarfile
from pathlib import Path
from typing import NamedTuple

from mien.core.errors import DataError

_BLOCK = 512
_PLAIN, _FOLDER, _NOTES = (b"0", b"\0"), b"5", b"x"
_TELLING = (b"path=", b"size=", b"sparse", b"charset")
"""Of the notes before a file, those that say where it is; webdataset only notes fractions of seconds."""


class Member(NamedTuple):
    """One file of a tar: its name, where its bytes begin, and how many there are."""

    name: str
    start: int
    size: int


def tar_members(path: Path) -> list[Member]:
    """The files of an uncompressed tar, in order. O(files); five times as fast as `tarfile` on plain ones.

    Tars whose headers are extended by more than times (very long or foreign names, huge files) are left to
    `tarfile`.

    Raises:
        DataError: damaged, cut short, or compressed; names the file.
    """
    try:
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            found = _plain_members(data)
            size = len(data)
        found = _any_members(path) if found is None else found
        if found and found[-1].start + found[-1].size > size:
            raise tarfile.ReadError("unexpected end of data")
        return found
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise DataError(f"{path}: damaged, or no uncompressed tar ({error}); fetch it again") from None


def _plain_members(data: mmap.mmap) -> list[Member] | None:
    """The members if all headers are plain; None if one is extended."""
    found, at, empty = list[Member](), 0, bytes(_BLOCK)
    while True:
        head = data[at : at + _BLOCK]
        if head == empty:
            return found
        if len(head) < _BLOCK:
            raise tarfile.ReadError("unexpected end of data")
        kind = head[156:157]
        if head[124] & 0x80 or kind not in (*_PLAIN, _FOLDER, _NOTES):
            return None
        if int(head[148:156].split(b"\0")[0] or b"0", 8) != 256 + sum(head[:148]) + sum(head[156:]):
            raise tarfile.ReadError("bad checksum")
        size, at = int(head[124:136].strip(b" \0") or b"0", 8), at + _BLOCK
        if kind in _PLAIN:
            found.append(Member(_name(head), at, size))
        elif kind == _NOTES and any(word in data[at : at + size] for word in _TELLING):
            return None
        at += -(-size // _BLOCK) * _BLOCK


def _name(head: bytes) -> str:
    """Name of a header, with what POSIX puts in front of a long one."""
    name = head[:100].split(b"\0", 1)[0]
    first = head[345:500].split(b"\0", 1)[0] if head[257:263] == b"ustar\0" else b""
    return (first + b"/" + name if first else name).decode("utf-8", "surrogateescape")


def _any_members(path: Path) -> list[Member]:
    with tarfile.open(path, "r:") as tar:
        return [Member(m.name, m.offset_data, m.size) for m in tar if m.isfile()]
