"""Lists of the SuHiFiMask challenge pack, whose labels are the other way round: live = 1.

A pack has ``phase1/{train,dev}/`` and ``phase2/test/``; ``train_label.txt`` and ``dev_label.txt`` hold "path
label" lines, ``dev.txt`` and ``test.txt`` paths alone. The released set has live = 0 and attacks 1 to 9.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from mien.core.errors import DataError
from mien.core.io import read_text
from mien.data.lists import safe_name

_LINE = re.compile(r"(\S+?)(?:(?:\s*,\s*|\s+)(\S+))?")


class PackLine(NamedTuple):
    """A picture of the pack; ``live`` is None in lists without labels."""

    path: str
    live: bool | None


def read_pack_list(path: str | Path, labelled: bool = True) -> list[PackLine]:
    """Reads ``train_label.txt``, ``dev_label.txt`` (labelled) or ``dev.txt``, ``test.txt`` (not). O(lines).

    Args:
        path: the list.
        labelled: whether its lines have labels: 1 live, 0 attack.

    Raises:
        DataError: missing, empty, a damaged line, a path twice, or a label that is neither 0 nor 1 (then it
            is a list of the released set).
    """
    path, lines = Path(path), list[PackLine]()
    seen: set[str] = set()
    for number, text in enumerate(read_text(path).splitlines(), 1):
        if not text.strip():
            continue
        where = f"{path}:{number}"
        found = _LINE.fullmatch(text.strip())
        if found is None or (found[2] is not None) != labelled:
            form = "path label" if labelled else "path"
            raise DataError(f"{where}: expected '{form}', got {text.strip()[:120]!r}")
        name = safe_name(found[1], where)
        if name in seen:
            raise DataError(f"{where}: {name} is listed twice; delete one of the lines")
        if labelled and found[2] not in ("0", "1"):
            raise DataError(
                f"{where}: label {found[2]!r} is neither 0 (attack) nor 1 (live); lists of the released set"
                " (live = 0, attacks 1 to 9) are read by SuHiFiMask"
            )
        seen.add(name)
        lines.append(PackLine(name, found[2] == "1" if labelled else None))
    if not lines:
        raise DataError(f"{path}: the list is empty; fetch it again")
    return lines


def pack_label(live: bool) -> int:
    """The pack's label: live 1, attack 0."""
    return int(live)


def release_label(live: bool, kind: int = 1) -> int:
    """The released set's label: live 0, an attack its kind (1 to 9; the pack does not tell it).

    Raises:
        DataError: a kind of attack that the set does not have.
    """
    if not 1 <= kind <= 9:
        raise DataError(f"kind of attack {kind} is none of 1 to 9")
    return 0 if live else kind


def pack_text(lines: Iterable[PackLine]) -> str:
    """The file of a list: "path label" with live = 1, or the path alone where ``live`` is None."""
    return "".join(
        f"{line.path}\n" if line.live is None else f"{line.path} {pack_label(line.live)}\n" for line in lines
    )
