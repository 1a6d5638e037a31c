"""CelebA as capsules read it: pictures "in the wild", aligned, or cut into train, val and test folders.

Layout: ``img_celeba`` (or ``img_align_celeba``) beside ``list_landmarks_celeba.txt`` (aligned:
``list_landmarks_align_celeba.txt``), ``list_bbox_celeba.txt``, ``list_eval_partition.txt``, and MAFL's
``MAFL/training.txt``, ``MAFL/testing.txt``. Liu et al., Deep Learning Face Attributes in the Wild, 2015.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.core import io
from mien.core.errors import DataError
from mien.core.images import read_image
from mien.data.capsule_files import CAPSULE_PARTS, FaceFile, Part, pictures_in

WILD, ALIGNED = "img_celeba", "img_align_celeba"
SHARE = 0.3
"""SCOPS: the box of the face covers at least this share of the picture."""
ALIGNED_SIDE = 178
"""The square that is cut from the middle of an aligned picture, pixels."""
_CODES = {"train": 0, "val": 1, "test": 2}


def celeba_side(root: Path) -> int | None:
    """What `mien.data.capsule_files.square` cuts: pictures in the wild are squeezed whole, as SCOPS does."""
    return None if (root / WILD).is_dir() else ALIGNED_SIDE


def celeba_files(root: Path, part: Part) -> list[FaceFile]:
    """Pictures of a part, with landmarks where the list is there.

    Of pictures in the wild only those whose face is large are kept. MAFL's test pictures are the test part
    where its list is there, and are never trained on. O(files).

    Raises:
        DataError: nothing known is there, or a list is broken.
    """
    if all((root / name).is_dir() for name in CAPSULE_PARTS):
        return _checked([FaceFile(path) for path in pictures_in(root / part)], root / part)
    folder = next((root / name for name in (WILD, ALIGNED) if (root / name).is_dir()), None)
    if folder is None:
        raise DataError(f"{root}: no {WILD}, no {ALIGNED}, no folders train, val, test; give the folder that"
                        " holds them")  # fmt: skip
    names = _part_names(root, part)
    marks = _landmarks(root, aligned=folder.name == ALIGNED)
    boxes = read_numbers(root / "list_bbox_celeba.txt", 4, header=2) if folder.name == WILD else {}
    files = []
    for name in names:
        path = folder / name
        if name in boxes and not is_large(boxes[name], path):
            continue
        files.append(FaceFile(path, landmarks=_five(marks, name, root) if marks else None))
    return _checked(files, folder)


def is_large(box: NDArray[np.float64], path: Path, share: float = SHARE) -> bool:
    """Whether a box x, y, w, h covers that share of the picture.

    Raises:
        DataError: no such picture.
    """
    high, wide = read_image(path).shape[:2]
    return bool(box[2] * box[3] >= share * high * wide)


def read_numbers(path: Path, count: int, *, header: int) -> dict[str, NDArray[np.float64]]:
    """Lines "name n1 n2 ..." of a list by name.

    Args:
        path: of the list.
        count: numbers of a line.
        header: lines before the first; 2: how many follow, then names of the columns.

    Raises:
        DataError: no such list, another number of lines than it says, or a line that is broken.
    """
    lines = io.read_text(path).splitlines()
    if header and not (lines and lines[0].strip().isdigit()):
        raise DataError(f"{path}: line 1 must say how many pictures follow; fetch the list again")
    out = {}
    for number, line in enumerate(lines[header:], header + 1):
        if not line.strip():
            continue
        name, *words = line.split()
        try:
            values = np.array([float(w) for w in words])
        except ValueError:
            values = np.zeros(0)
        if len(values) != count or not np.isfinite(values).all():
            raise DataError(f"{path}: line {number} is not a name and {count} numbers; fetch the list again")
        out[name] = values
    if header and len(out) != int(lines[0]):
        raise DataError(f"{path}: says {int(lines[0])} pictures, lists {len(out)}; fetch the list again")
    return out


def _part_names(root: Path, part: Part) -> list[str]:
    codes = read_numbers(root / "list_eval_partition.txt", 1, header=0)
    mafl = _mafl(root, "testing.txt")
    if part == "test" and mafl:
        return mafl
    kept = set(mafl)
    return [name for name, code in codes.items() if int(code[0]) == _CODES[part] and name not in kept]


def _mafl(root: Path, name: str) -> list[str]:
    path = root / "MAFL" / name
    return io.read_text(path).split() if path.is_file() else []


def _landmarks(root: Path, *, aligned: bool) -> dict[str, NDArray[np.float64]]:
    path = root / f"list_landmarks_{'align_' if aligned else ''}celeba.txt"
    return read_numbers(path, 10, header=2) if path.is_file() else {}


def _five(marks: dict[str, NDArray[np.float64]], name: str, root: Path) -> tuple[tuple[float, float], ...]:
    if name not in marks:
        raise DataError(
            f"{root}: {name} is in the partition but not in the list of landmarks; fetch it again"
        )
    return tuple((float(x), float(y)) for x, y in marks[name].reshape(5, 2))


def _checked(files: list[FaceFile], folder: Path) -> list[FaceFile]:
    if not files:
        raise DataError(f"{folder}: no pictures of this part; check the lists and the folder")
    return files
