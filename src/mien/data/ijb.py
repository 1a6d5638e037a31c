"""IJB-B and IJB-C: templates of pictures and frames, 1:1 pairs and 1:N galleries, from their lists."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.core.errors import DataError
from mien.core.io import read_text
from mien.data.int_table import int_blocks
from mien.data.lists import safe_name

PUBLISHED = {
    "ijbb": {"faces": 227_630, "templates": 12_115, "pairs": 8_010_270},
    "ijbc": {"faces": 469_375, "templates": 23_124, "pairs": 15_658_489},
}
_GALLERIES = {"ijbb": ("S1", "S2"), "ijbc": ("G1", "G2")}


@dataclass(frozen=True, eq=False)
class TemplateList:
    """A gallery or the probes of 1:N search.

    Attributes:
        templates: (N,) int64.
        subjects: (N,) int64, who is in each.
    """

    templates: NDArray[np.int64]
    subjects: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.templates)


@dataclass(frozen=True, eq=False)
class IjbSet:
    """The lists of one IJB set.

    Attributes:
        kind: "ijbb" or "ijbc".
        root: folder that holds ``loose_crop`` and ``meta``.
        names: of the N pictures, below ``loose_crop``.
        templates: (N,) int64, which template a picture belongs to.
        media: (N,) int64, which picture or video it was taken from.
        points: (N, 5, 2) float32, eyes, nose, mouth corners in pixels of the loose crop.
        faceness: (N,) float32, score of the face detector.
        note: what a reader should know, or nothing.
    """

    kind: str
    root: Path
    names: tuple[str, ...]
    templates: NDArray[np.int64]
    media: NDArray[np.int64]
    points: NDArray[np.float32]
    faceness: NDArray[np.float32]
    note: str = ""

    def __len__(self) -> int:
        return len(self.names)

    def path(self, index: int) -> Path:
        """Where picture ``index`` lies."""
        return self.root / "loose_crop" / self.names[index]

    def aligned(self, index: int, size: int = 112) -> NDArray[np.uint8]:
        """Picture ``index``, aligned by its five points.

        Args:
            index: place in ``names``.
            size: a multiple of 112 or 128.
        """
        from mien.core.images import read_image
        from mien.render.alignment import align_face

        return align_face(read_image(self.path(index)), self.points[index], size)

    def missing(self) -> list[str]:
        """Names of pictures that are not there. One listing of the folder."""
        folder = self.root / "loose_crop"
        here = {p.name for p in folder.iterdir()} if folder.is_dir() else set()
        return [name for name in self.names if name not in here and not (folder / name).is_file()]

    def pairs(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]]:
        """The 1:1 comparisons block by block: first and second template, same person.

        15.7 million lines take a few seconds and the memory of one block.

        Raises:
            DataError: a damaged line, or a template without a picture.
        """
        path = self.root / "meta" / f"{self.kind}_template_pair_label.txt"
        known = np.zeros(int(self.templates.max(initial=0)) + 1, bool)
        known[self.templates] = True
        for block in int_blocks(path, 3):
            ids, label = block[:, :2], block[:, 2]
            bad = label > 1
            if bad.any():
                raise DataError(
                    f"{path}: label {label[int(np.argmax(bad))]}, expected 0 or 1; fetch it again"
                )
            inside = (ids < len(known)) & known[np.minimum(ids, len(known) - 1)]
            if not inside.all():
                unknown = ids[~inside][0]
                raise DataError(f"{path}: template {unknown} has no picture in {self.kind}_face_tid_mid.txt")
            yield block[:, 0], block[:, 1], label == 1

    def read_pairs(self) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """All 1:1 comparisons: templates (M, 2) int32 and same (M,) bool; 9 bytes a pair."""
        ids, same = [], []
        for first, second, label in self.pairs():
            ids.append(np.stack([first, second], 1).astype(np.int32))
            same.append(label)
        if not ids:
            return np.empty((0, 2), np.int32), np.empty(0, bool)
        return np.concatenate(ids), np.concatenate(same)

    def galleries(self) -> tuple[TemplateList, TemplateList]:
        """The two galleries of 1:N search."""
        first, second = (self._listed(f"gallery_{part}") for part in _GALLERIES[self.kind])
        return first, second

    def probes(self) -> TemplateList:
        """The mixed probes of 1:N search."""
        return self._listed("probe_mixed")

    def _listed(self, part: str) -> TemplateList:
        path = self.root / "meta" / f"{self.kind}_1N_{part}.csv"
        rows: dict[int, int] = {}
        for number, line in enumerate(read_text(path).splitlines()[1:], 2):
            words = line.split(",")
            if not line.strip():
                continue
            if len(words) < 2 or not all(_is_number(w.strip()) for w in words[:2]):
                raise DataError(f"{path}:{number}: expected 'template,subject', got {line[:80]!r}")
            template, subject = int(words[0]), int(words[1])
            if rows.setdefault(template, subject) != subject:
                raise DataError(
                    f"{path}:{number}: template {template} is of {subject} and of {rows[template]}"
                )
        if not rows:
            raise DataError(f"{path}: no templates in it; fetch it again")
        own = set(self.templates.tolist())
        if unknown := [t for t in rows if t not in own]:
            raise DataError(f"{path}: template {unknown[0]} has no picture ({len(unknown)} such templates)")
        return TemplateList(np.array([*rows], np.int64), np.array([*rows.values()], np.int64))


def read_ijb(root: str | Path) -> IjbSet:
    """IJB-B or IJB-C: ``loose_crop/*.jpg`` and ``meta/ijbX_*.txt``; which one is told by the lists.

    ``ijbX_face_tid_mid.txt`` has lines ``name template media``, ``ijbX_name_5pts_score.txt`` lines ``name x1
    y1 .. x5 y5 faceness``, for the same pictures in the same order.

    Args:
        root: the folder ``IJBB`` or ``IJBC``.

    Raises:
        DataError: a list is missing or damaged (line), or the two lists disagree.
    """
    root = Path(root)
    found = [kind for kind in PUBLISHED if (root / "meta" / f"{kind}_face_tid_mid.txt").is_file()]
    if len(found) != 1:
        what = "both sets" if found else "no ijbb_ or ijbc_face_tid_mid.txt"
        raise DataError(f"{root / 'meta'}: {what} there; give the folder IJBB or IJBC")
    kind = found[0]
    names, ids = _face_lines(root / "meta" / f"{kind}_face_tid_mid.txt")
    points, faceness = _point_lines(root / "meta" / f"{kind}_name_5pts_score.txt", names)
    counts = {"faces": len(names), "templates": len(np.unique(ids[:, 0]))}
    wrong = [
        f"{count:,} {what}, the published set has {PUBLISHED[kind][what]:,}"
        for what, count in counts.items()
        if count != PUBLISHED[kind][what]
    ]
    return IjbSet(kind, root, names, ids[:, 0], ids[:, 1], points, faceness, "; ".join(wrong))


def _face_lines(path: Path) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    names, ids = [], []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        words = line.split()
        if not words:
            continue
        if len(words) != 3 or not (_is_number(words[1]) and _is_number(words[2])):
            raise DataError(f"{path}:{number}: expected 'name template media', got {line[:80]!r}")
        names.append(safe_name(words[0], f"{path}:{number}"))
        ids.append((int(words[1]), int(words[2])))
    if not names:
        raise DataError(f"{path}: the list is empty; fetch it again")
    return tuple(names), np.array(ids, np.int64)


def _point_lines(path: Path, names: tuple[str, ...]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    values = np.empty((len(names), 11), np.float32)
    lines = [(n, line) for n, line in enumerate(read_text(path).splitlines(), 1) if line.strip()]
    if len(lines) != len(names):
        raise DataError(f"{path}: {len(lines)} pictures, the list of templates has {len(names)}")
    for row, (number, line) in enumerate(lines):
        words = line.split()
        try:
            values[row] = [float(w) for w in words[1:]]
        except ValueError:
            raise DataError(
                f"{path}:{number}: expected 'name', ten coordinates and a score, got {line[:80]!r}"
            ) from None
        if words[0] != names[row]:
            raise DataError(f"{path}:{number}: {words[0]!r}, but {names[row]!r} in the list of templates")
    if not np.isfinite(values).all():
        row = int(np.argmax(~np.isfinite(values).all(1)))
        raise DataError(f"{path}:{lines[row][0]}: a number that is not finite; fetch it again")
    return values[:, :10].reshape(-1, 5, 2), values[:, 10]


def _is_number(word: str) -> bool:
    return word.isascii() and word.isdigit() and len(word) < 10
