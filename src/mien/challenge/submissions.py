"""Reads a submission: one zip, one text file, one line "path score" a picture, in the order of the list.

Everything a stranger can put into a zip ends here in one line that says what is wrong and where. Sizes are
looked at before anything is unpacked, lines are counted before they are split.
"""

from __future__ import annotations

import io as streams
import stat
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mien.core.config import suggest
from mien.core.errors import ConfigError, DataError

Floats = NDArray[np.float64]
Texts = dict[str, bytes]
FILES = ("one", "two")
"""One text file of any name; or ``phase1.txt`` with the dev lines and ``phase2.txt`` with the test lines."""
_TWO = ("phase1.txt", "phase2.txt")
_DIRECTORY_BYTES = 1 << 16
_MIB = 2**20
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError, struct.error)
_END, _ZIP64 = b"PK\x05\x06", b"PK\x06\x07"


class SubmissionError(DataError):
    """A submission that cannot be scored, or may not be made now; the command line leaves with 2."""

    exit_code = 2


@dataclass(frozen=True)
class Bounds:
    """How much of a stranger's file is looked at.

    Attributes:
        zip_mb: largest zip, MiB.
        text_mb: largest text file in it, unpacked, MiB.
    """

    zip_mb: int = 16
    text_mb: int = 64

    def __post_init__(self) -> None:
        if min(self.zip_mb, self.text_mb) < 1:
            raise ConfigError(f"limits zip_mb={self.zip_mb}, text_mb={self.text_mb} must be 1 MiB or more")


class Scores(NamedTuple):
    """What a submission says: (n,) of the dev lines and (m,) of the test lines, None in phase 1."""

    dev: Floats
    test: Floats | None


def check_files(files: str) -> str:
    """``one`` or ``two``.

    Raises:
        ConfigError: neither.
    """
    if files not in FILES:
        raise ConfigError(f"no form of submission {files!r}{suggest(files, list(FILES))}; one or two files")
    return files


def _plain(error: BaseException) -> str:
    """One line of an error of another library, whatever bytes it quotes."""
    return ascii(str(error))[1:-1][:80] or type(error).__name__


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")


def _check_directory(data: bytes, name: str) -> None:
    """Refuses a zip whose table of contents is large, before `zipfile` builds an object for every entry."""
    tail = data[-(1 << 16) - 22 :]
    at = len(tail) - 22 if tail[-22:-18] == _END else tail.rfind(_END)
    if at < 0 or at + 22 > len(tail):
        raise SubmissionError(f"{name}: not a zip; pack one text file with zip")
    (directory,) = struct.unpack("<L", tail[at + 12 : at + 16])
    if directory > _DIRECTORY_BYTES or tail[max(0, at - 20) : at].startswith(_ZIP64):
        raise SubmissionError(f"{name}: too many files for a submission; put one text file in it")


def _check_member(info: zipfile.ZipInfo, bounds: Bounds) -> None:
    name = info.filename
    if name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/") or name[1:2] == ":":
        raise SubmissionError(f"the zip holds a path that leaves it, {_shown(name)}; name the file only")
    if stat.S_ISLNK(info.external_attr >> 16):
        raise SubmissionError(f"{_shown(name)} in the zip is a symbolic link; put the file itself in it")
    if info.is_dir() or "/" in name or "\\" in name:
        raise SubmissionError(f"the zip holds a folder ({_shown(name)}); zip the text file alone")
    if info.flag_bits & 1:
        raise SubmissionError(f"{_shown(name)} in the zip is encrypted; leave out the password")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise SubmissionError(f"{_shown(name)} is packed in a way other than deflate; use plain zip")
    if info.file_size > bounds.text_mb * _MIB:
        mb = info.file_size / _MIB
        raise SubmissionError(f"{_shown(name)} unpacks to {mb:.0f} MiB; at most {bounds.text_mb} are read")


def _check_names(names: Sequence[str], files: str) -> None:
    if files == "two":
        if sorted(names) != list(_TWO):
            raise SubmissionError(
                f"want {_TWO[0]} and {_TWO[1]}, got {_shown(', '.join(names) or 'nothing')}"
            )
    elif not names:
        raise SubmissionError("nothing in the submission; put one text file in it")
    elif len(names) > 1:
        raise SubmissionError(f"several files ({_shown(', '.join(names))}); put one text file in it")
    elif not names[0].lower().endswith(".txt"):
        raise SubmissionError(f"{_shown(names[0])} is no .txt file; name it results.txt")


def read_zip(path: str | Path, bounds: Bounds | None = None) -> bytes:
    """The bytes of a zip, which are all that is looked at from then on: the file may change, they do not.

    Args:
        path: of the zip.
        bounds: default `Bounds`.

    Raises:
        SubmissionError: no such file, or too large.
    """
    path, most = Path(path), (bounds or Bounds()).zip_mb
    try:
        if not path.is_file():
            raise SubmissionError(f"{path}: no such file; give a zip")
        with path.open("rb") as stream:
            data = stream.read(most * _MIB + 1)
    except OSError as error:
        raise SubmissionError(f"{path}: cannot read ({error.strerror or error})") from None
    if len(data) > most * _MIB:
        raise SubmissionError(f"{path.name}: a submission has at most {most} MiB; this has more")
    return data


def unpack(
    data: bytes, files: str = "one", bounds: Bounds | None = None, name: str = "the submission"
) -> Texts:
    """The text files of a zip by name. O(text_mb) memory, whatever the zip says.

    Args:
        data: of `read_zip`.
        files: of `FILES`.
        bounds: default `Bounds`.
        name: begins the message.

    Raises:
        SubmissionError: no zip, a folder or link in it, several files, too large, damaged.
    """
    bounds = bounds or Bounds()
    check_files(files)
    _check_directory(data, name)
    try:
        with zipfile.ZipFile(streams.BytesIO(data)) as archive:
            for info in archive.infolist():
                _check_member(info, bounds)
            _check_names([info.filename for info in archive.infolist()], files)
            return {info.filename: _member(archive, info, bounds) for info in archive.infolist()}
    except _BROKEN as error:
        raise SubmissionError(f"{name}: not a whole zip ({_plain(error)}); pack it again") from None


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, bounds: Bounds) -> bytes:
    with archive.open(info) as stream:
        data = stream.read(bounds.text_mb * _MIB + 1)
    if len(data) > bounds.text_mb * _MIB:
        raise SubmissionError(f"{_shown(info.filename)} unpacks to more than {bounds.text_mb} MiB")
    return data


def from_folder(folder: str | Path, files: str = "one", bounds: Bounds | None = None) -> Texts:
    """`unpack` of a submission that a platform has unpacked already.

    Args:
        folder: holds the text files; ``metadata`` of the platform is left aside.
        files: of `FILES`.
        bounds: default `Bounds`.

    Raises:
        SubmissionError: as there.
    """
    bounds = bounds or Bounds()
    found = sorted(p for p in Path(folder).iterdir() if p.name != "metadata")
    for path in found:
        if path.is_symlink() or not path.is_file():
            raise SubmissionError(f"the submission holds a folder or link ({_shown(path.name)})")
        if path.stat().st_size > bounds.text_mb * _MIB:
            raise SubmissionError(f"{_shown(path.name)} has more than {bounds.text_mb} MiB")
    _check_names([p.name for p in found], check_files(files))
    return {p.name: p.read_bytes() for p in found}


def _lines(data: bytes, count: int, where: str) -> list[str]:
    """The lines of a text of as many lines as counted before."""
    try:
        return data.decode("utf-8-sig").split("\n")[:count]
    except UnicodeDecodeError as error:
        raise SubmissionError(f"{where}: not UTF-8 text (byte {error.start}); save it as UTF-8") from None


def _misplaced(paths: Sequence[str], names: Sequence[str], where: str) -> SubmissionError:
    """What is wrong at the first line whose path is not the list's."""
    k = next(i for i, (got, want) in enumerate(zip(paths, names, strict=True)) if got != want)
    got, want = paths[k], names[k]
    if got in names[:k]:
        first = paths.index(got) + 1
        return SubmissionError(
            f"{where}, line {k + 1}: {_shown(got)} again, as in line {first}; each path once"
        )
    if got in names:
        return SubmissionError(f"{where}, line {k + 1}: out of order, got {_shown(got)}, want {want!r}")
    return SubmissionError(f"{where}, line {k + 1}: {_shown(got)} is not in the list, want {want!r}")


def _numbers(texts: Sequence[str], where: str) -> Floats:
    """(n,) scores in [0, 1]. Digits of other scripts and underscores, which Python takes, are refused."""
    try:
        joined = "".join(texts)
        if "_" in joined or not joined.isascii():
            raise ValueError
        values = np.fromiter(map(float, texts), np.float64, len(texts))
    except ValueError:
        k = next(i for i, text in enumerate(texts) if not _is_number(text))
        raise SubmissionError(f"{where}, line {k + 1}: {_shown(texts[k])} is no number") from None
    bad = ~((values >= 0) & (values <= 1))
    if bad.any():
        k = int(bad.argmax())
        kind = "outside [0, 1]" if np.isfinite(values[k]) else "not a finite number"
        raise SubmissionError(f"{where}, line {k + 1}: score {_shown(texts[k])} is {kind}")
    return values + 0.0  # no negative zero


def _is_number(text: str) -> bool:
    try:
        return text.isascii() and "_" not in text and float(text) is not None
    except ValueError:
        return False


def read_scores(data: bytes, names: Sequence[str], where: str = "the submission") -> Floats:
    r"""(n,) scores of a text with one line "path score" for each name, in their order. O(size).

    Args:
        data: UTF-8 (a byte-order mark is dropped); lines end in LF or CRLF; empty lines at the end do not
            count.
        names: wanted.
        where: begins the message.

    Raises:
        SubmissionError: wrong count, order or score; a path twice; not UTF-8.

    >>> read_scores(b"dev/000001.jpg 0.25\n", ["dev/000001.jpg"])
    array([0.25])
    """
    data = data.rstrip(b"\r\n")
    count = data.count(b"\n") + 1 if data else 0
    if count != len(names):
        if b"\0" in data[:4096] or data[:2] in (b"\xff\xfe", b"\xfe\xff"):
            raise SubmissionError(f"{where}: not UTF-8 text (binary or UTF-16); save it as UTF-8")
        raise SubmissionError(
            f"{where}: wrong line count, got {count}, want {len(names)}{_hint(data, names)}"
        )
    fields = [line.split() for line in _lines(data, count, where)]
    for k, words in enumerate(fields):
        if len(words) != 2:
            raise SubmissionError(f"{where}, line {k + 1}: want 'path score', got {_shown(' '.join(words))}")
    paths = [words[0] for words in fields]
    if paths != list(names):
        raise _misplaced(paths, names, where)
    return _numbers([words[1] for words in fields], where)


def _hint(data: bytes, names: Sequence[str]) -> str:
    """Which part of a phase 2 submission is absent, if its first and last line tell."""
    if not data:
        return " (an empty file)"
    first, last = (data[i:][:300] for i in (0, data.rfind(b"\n") + 1))
    dev, test = (name.rpartition("/")[0].encode() for name in (names[0], names[-1]))
    if dev == test:
        return ""
    if first.startswith(test + b"/"):
        return ": the dev part is missing; write all dev lines, then all test lines"
    if first.startswith(dev + b"/") and last.startswith(dev + b"/"):
        return ": the test part is missing; write all dev lines, then all test lines"
    return ""


def parse(texts: Mapping[str, bytes], dev: Sequence[str], test: Sequence[str] | None) -> Scores:
    """Scores of the files of `unpack`.

    Args:
        texts: one text, or `phase1.txt` and `phase2.txt`.
        dev: paths of the dev list.
        test: paths of the test list; None in phase 1.

    Raises:
        SubmissionError: in one line, what is wrong.
    """
    if len(texts) == 2:
        scores = read_scores(texts[_TWO[0]], dev, _TWO[0])
        return Scores(scores, None if test is None else read_scores(texts[_TWO[1]], test, _TWO[1]))
    ((name, data),) = texts.items()
    values = read_scores(data, [*dev, *(test or ())], _shown(name).strip("'\""))
    return Scores(values[: len(dev)], None if test is None else values[len(dev) :])
