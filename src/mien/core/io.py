"""Reading and writing files safely: whole or not at all, bounded, and never executing anything."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import shutil
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mien.core.errors import DataError, LimitError, MienError
from mien.core.limits import max_text_bytes


def home() -> Path:
    """Folder for made data, shared stages and caches: ``$MIEN_HOME``, else the user cache directory."""
    if chosen := os.environ.get("MIEN_HOME"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "mien"


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise MienError(
                f"{path}: the disk is full; nothing was changed there, free some space"
            ) from error
        raise MienError(f"{path}: cannot write ({error.strerror or error}); check the folder") from error


def sync_tree(folder: Path) -> None:
    """Flushes every file below a folder to the disk, so that a rename of the folder means whole files."""
    for file in folder.rglob("*"):
        if file.is_file():
            descriptor = os.open(file, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def public(path: Path) -> None:
    """Gives a file the permissions that a new one would have (temporary ones are private)."""
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(0o666 & ~mask)


@contextlib.contextmanager
def new_file(path: str | Path) -> Iterator[Path]:
    """Yields a temporary file beside ``path`` that replaces it, synced, if the block ends well.

    Raises:
        MienError: the disk is full or the folder cannot be written; the former file is then unchanged.
    """
    path = Path(path)
    with _explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name[:40]}.", suffix=".part", dir=path.parent)
        os.close(descriptor)
        part = Path(name)
        try:
            yield part
            with part.open("rb") as stream:
                os.fsync(stream.fileno())
            public(part)
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)


def write_bytes(path: str | Path, data: bytes) -> Path:
    """Writes a file whole or not at all (`new_file`)."""
    with new_file(path) as part:
        part.write_bytes(data)
    return Path(path)


def write_text(path: str | Path, text: str) -> Path:
    """`write_bytes` of UTF-8 text."""
    return write_bytes(path, text.encode("utf-8", "surrogateescape"))


def strict(value: Any) -> Any:
    """Plain values that any JSON reader takes: numbers that are not finite become null."""
    if isinstance(value, dict):
        return {k: strict(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [strict(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_json(path: str | Path, value: object) -> Path:
    """`write_text` of indented JSON; escaped where a name in it is no valid text, so it can be read back."""
    value = strict(value)
    text = json.dumps(value, indent=1, ensure_ascii=False)
    if any("\ud800" <= c <= "\udfff" for c in text):
        text = json.dumps(value, indent=1)
    return write_text(path, text + "\n")


@contextlib.contextmanager
def new_folder(path: str | Path) -> Iterator[Path]:
    """Yields a temporary folder that replaces ``path`` if the block ends well, and vanishes if not.

    A kill at any moment leaves either the old folder or the new one under a readable name: the old folder is
    moved to ``.NAME.old`` just before the rename, and `settled_folder` finds it there.
    """
    path = Path(path)
    with _explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
    try:
        with _explained(path):
            yield temporary
            sync_tree(temporary)
            old = path.parent / f".{path.name}.old"
            if path.exists():
                shutil.rmtree(old, ignore_errors=True)
                os.replace(path, old)
            os.replace(temporary, path)
            shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def settled_folder(path: str | Path) -> Path | None:
    """The folder that `new_folder` last completed at ``path`` (also after a kill in mid-rename), or None."""
    path = Path(path)
    old = path.parent / f".{path.name}.old"
    return path if path.is_dir() else old if old.is_dir() else None


def append_line(path: str | Path, record: dict[str, Any]) -> None:
    """Appends one JSON line with a single write, so that a kill leaves at most one torn last line.

    The line is ASCII: torn anywhere, the file is still text.
    """
    path = Path(path)
    with _explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        data = (json.dumps(strict(record)) + "\n").encode("ascii")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            size = os.fstat(descriptor).st_size
            torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            line = b"\n" + data if torn else data
            if os.write(descriptor, line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(descriptor)


def read_lines(path: str | Path) -> list[dict[str, Any]]:
    """The records of a JSON-lines file; lines torn by a killed writer are skipped, others are errors."""
    path = Path(path)
    if not path.exists():
        return []
    records = []
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            if line.startswith('{"') or line == "{":
                continue
            record = None
        except RecursionError:
            record = None
        if not isinstance(record, dict):
            raise DataError(f"{path}:{number}: not a JSON line; restore the file or delete the line")
        records.append(record)
    return records


def read_text(path: str | Path) -> str:
    """A text file (UTF-8, a byte-order mark is dropped), refused above the limit.

    Raises:
        DataError: missing, a folder, or not UTF-8.
        LimitError: larger than `max_text_bytes`.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > max_text_bytes():
            raise LimitError(
                f"{path}: {size} bytes, more than the {max_text_bytes()} allowed (MIEN_MAX_TEXT_BYTES)"
            )
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; check the path") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except OSError as error:
        raise DataError(f"{path}: cannot read ({error.strerror or error})") from None


def read_json(path: str | Path) -> Any:
    """A JSON file, bounded; the error names line and column."""
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}:{error.colno}: not valid JSON ({error.msg})") from None
    except RecursionError:
        raise DataError(f"{path}: JSON nested too deeply to be one of ours") from None


def read_toml(path: str | Path) -> dict[str, Any]:
    """A TOML file, bounded; the error names the place."""
    try:
        return tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"{path}: not valid TOML ({error})") from None


def sha256(path: str | Path) -> str:
    """Hex SHA-256 of a file, streamed. O(size) time, O(1) memory."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
