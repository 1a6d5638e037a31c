"""Unsup3D's faces of the Basel model: pictures and depth, ``train|val|test/image``, ``.../depth``.

Wu et al., Unsupervised Learning of Probably Symmetric Deformable 3D Objects (arXiv 1911.11130).
"""

from __future__ import annotations

from pathlib import Path

from mien.core.errors import DataError
from mien.data.capsule_files import FaceFile, Part, pictures_in

BFM_SIDE = 170
"""The square that is cut from the middle, pixels."""


def bfm_files(root: Path, part: Part) -> list[FaceFile]:
    """Pictures of a part with their depth: "image" in a name becomes "depth". O(files).

    Raises:
        DataError: no such folder, or a picture without depth.
    """
    pictures = [p for p in pictures_in(root / part / "image") if "image" in p.name]
    if not pictures:
        raise DataError(f"{root / part / 'image'}: no *image*.png; give the folder with train, val and test")
    files = [FaceFile(p, depth=root / part / "depth" / p.name.replace("image", "depth")) for p in pictures]
    for file in files:
        if file.depth is not None and not file.depth.is_file():
            raise DataError(f"{file.depth}: no such file, the depth of {file.path.name}; fetch it again")
    return files
