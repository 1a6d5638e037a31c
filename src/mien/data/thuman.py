"""THuman2.0 in ICON's layout: rendered pictures and normals for the normal nets.

``ROOT/thuman2/all.txt`` (or ``train.txt``, ``val.txt``, ``test.txt``) names the scans; pictures lie in
``ROOT/thuman2_36views/<scan>/{render,normal_F,normal_B,T_normal_F,T_normal_B}/<degrees:03d>.png``, cameras in
``calib/<degrees:03d>.txt`` (8 rows of 4 numbers: extrinsic, then intrinsic). T_ maps show the body's fit.

Source: ICON (arXiv 2112.09127).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.core.errors import DataError
from mien.core.images import read_image
from mien.core.io import read_text

Array = NDArray[Any]
PARTS = ("train", "val", "test")
TRAIN, TEST = 500, 5
"""ICON's split of ``all.txt``: 500 to train, then 5 to test, the rest to validate."""
NAME = "thuman2"
MAPS = ("normal_F", "normal_B", "T_normal_F", "T_normal_B")


class ThumanView(NamedTuple):
    """One picture: scan and angle."""

    scan: str
    degrees: str


def read_calib(path: Path) -> Array:
    """(4, 4) = intrinsic x extrinsic from a calib file.

    Raises:
        DataError: missing, or not 8 rows of 4 numbers.
    """
    try:
        rows = np.array(
            [[float(x) for x in line.split()] for line in read_text(path).splitlines() if line.strip()]
        )
    except ValueError:
        raise DataError(f"{path}: not rows of numbers") from None
    if rows.shape != (8, 4):
        raise DataError(f"{path}: {rows.shape} numbers, not 8 rows of 4 (extrinsic, then intrinsic)")
    return np.asarray(rows[4:] @ rows[:4], np.float32)


@dataclass(frozen=True)
class Thuman:
    """Pictures of some scans, read when asked for: a `mien.data.clothed_loader.ClothedSource` for normals.

    Attributes:
        root: folder with ``thuman2`` and ``thuman2_36views``.
        views: pictures.
        folder: of the pictures.
    """

    root: Path
    views: tuple[ThumanView, ...]
    folder: str = f"{NAME}_36views"

    def __len__(self) -> int:
        return len(self.views)

    def file(self, view: ThumanView, kind: str) -> Path:
        """A file of a picture; kind: render, a name of `MAPS`, or calib."""
        ending = "txt" if kind == "calib" else "png"
        return self.root / self.folder / view.scan / kind / f"{view.degrees}.{ending}"

    def maps(self, place: int) -> dict[str, Array]:
        """Picture, mask (its alpha), normals, body normals and calib of a place.

        Raises:
            DataError: a file is missing or damaged, or pictures of one view differ in size.
        """
        view = self.views[place]
        image, mask = _with_alpha(self.file(view, "render"))
        found = [_with_alpha(self.file(view, kind)) for kind in MAPS]
        for kind, (normal, _) in zip(MAPS, found, strict=True):
            if normal.shape != image.shape:
                raise DataError(
                    f"{self.file(view, kind)}: {normal.shape[:2]} pixels, the picture has {image.shape[:2]}"
                )
        own = [np.where(alpha[..., None] > 0, normal, np.uint8(128)) for normal, alpha in found]
        return {
            "image": image,
            "mask": mask,
            "normals": np.stack(own[:2]),
            "body_normals": np.stack(own[2:]),
            "calib": read_calib(self.file(view, "calib")),
        }

    def points(self, place: int, counts: tuple[int, int, int], rng: np.random.Generator) -> dict[str, Array]:
        """Not in this layout.

        Raises:
            DataError: always; signed distances are learned from RenderPeople, MVP or made people.
        """
        raise DataError(
            f"{self.root}: this layout holds no points in the star pose; train the stage sdf on kind"
            " 'renderpeople', 'mvp' or 'clothed'"
        )

    def star_body(self, place: int) -> tuple[Array, Array]:
        """Not in this layout.

        Raises:
            DataError: always; a field on the body's distance learns from made people.
        """
        raise DataError(
            f"{self.root}: this layout holds no bodies in the star pose; set method.residual=False and"
            " two_sided=False, or train on kind 'clothed'"
        )

    def body_points(self, place: int) -> tuple[Array, Array, Array]:
        """Posed vertices and faces of the fitted body (``thuman2/bodies/<scan>.npz``), and calib.

        ICON keeps fits as pickles, which mien does not open: export vertices (V, 3) and faces (T, 3) once.

        Raises:
            DataError: no such file, or another content.
        """
        view = self.views[place]
        path = self.root / NAME / "bodies" / f"{view.scan}.npz"
        try:
            with np.load(path, allow_pickle=False) as file:
                vertices, faces = file["vertices"], file["faces"]
        except FileNotFoundError:
            raise DataError(
                f"{path}: no such file; export vertices and faces of the fitted body to it (fits are pickles)"
            ) from None
        except Exception as error:  # numpy and zipfile raise whatever they meet
            raise DataError(f"{path}: no npz with vertices and faces ({error})") from None
        return vertices.astype(np.float32), faces.astype(np.int32), read_calib(self.file(view, "calib"))


def read_thuman(root: str | Path) -> tuple[Thuman, Thuman, Thuman]:
    """Training, validation and test scans, by the lists of the copy or ICON's rule.

    Raises:
        DataError: no list, an empty one, or a scan without pictures.
    """
    root = Path(root)
    lists = root / NAME
    if all((lists / f"{part}.txt").is_file() for part in PARTS):
        names = [_names(lists / f"{part}.txt") for part in PARTS]
    else:
        every = _names(lists / "all.txt")
        names = [every[:TRAIN], every[TRAIN + TEST :], every[TRAIN : TRAIN + TEST]]
    train, val, test = (Thuman(root, tuple(v for n in part for v in _views(root, n))) for part in names)
    return train, val, test


def _names(path: Path) -> list[str]:
    names = [line.strip().rpartition("/")[2] for line in read_text(path).splitlines() if line.strip()]
    if not names:
        raise DataError(f"{path}: names no scan")
    return names


def _views(root: Path, scan: str) -> list[ThumanView]:
    folder = root / f"{NAME}_36views" / scan
    found = [ThumanView(scan, path.stem) for path in sorted(folder.glob("render/*.png"))]
    if not found:
        raise DataError(f"{folder}: no pictures (render/<degrees>.png)")
    return found


def _with_alpha(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """RGB and alpha (H, W) of a picture; alpha is 255 where it has none."""
    read_image(path)  # bounded, and its errors say what is wrong
    with Image.open(path) as image:
        whole = np.asarray(image.convert("RGBA"))
    return whole[..., :3].copy(), whole[..., 3].copy()
