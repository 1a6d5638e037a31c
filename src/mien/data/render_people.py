"""RenderPeople and MVP-Human in the layout of CAR's official code (arXiv 2304.03903).

``SYN/<subject>/<action:03d>/{RENDER,MASK,NORMAL}/<rotation:03d>.png`` and ``PARAM/<rotation:03d>.npz``;
``SAMPLES/<subject>.pt`` (or ``.npz``) with points in the star pose; ``SMPL/<subject>/param.npz`` and
``da_pose.obj``. Nothing pickled is opened: ``.pt`` files may hold tensors only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mien.core.errors import DataError
from mien.core.images import read_image
from mien.data.clothed import draw_points
from mien.data.domains import subfolders
from mien.render.mesh_io import Mesh, load_mesh

Array = NDArray[Any]
TRAIN_SUBJECTS = {"renderpeople": 50, "mvp": 100}
"""The first so many names, sorted, are for training; RenderPeople has 61, MVP-Human 150."""
RENDER_SIDE = 512  # pixels, as rendered by the authors
_PARAM = {"ortho_ratio": (), "scale": (), "center": (3,), "R": (3, 3), "jointT": (-1, 4, 4)}
_POINTS = ("surface_points", "surface_weight", "surface_normal", "perturb_points", "perturb_weight",
           "perturb_sdf", "bbox_points", "bbox_weight", "bbox_sdf")  # fmt: skip
_OURS = {"perturb": "near", "bbox": "box", "surface": "surface"}


class Param(NamedTuple):
    """Camera and pose of one picture: calib (4, 4) to the box, joint transforms (J, 4, 4) star -> posed."""

    calib: Array
    transforms: Array


class RenderView(NamedTuple):
    """One picture: subject, action, rotation."""

    subject: str
    action: str
    rotation: str


def calibration(ortho_ratio: float, scale: float, center: Array, R: Array) -> Array:
    """The calib U S E with E = [R | -R c], S = diag(s/o, -s/o, s/o, 1), U = diag(2, 2, 2, 512) / 512.

    >>> calibration(0.5, 128.0, np.zeros(3), np.eye(3)).diagonal().tolist()
    [1.0, -1.0, 1.0, 1.0]
    """
    extrinsic = np.eye(4)
    extrinsic[:3, :3], extrinsic[:3, 3] = R, -np.asarray(R) @ np.asarray(center)
    ratio = float(scale) / float(ortho_ratio)
    to_pixels = np.diag([ratio, -ratio, ratio, 1.0])
    to_box = np.diag([2 / RENDER_SIDE] * 3 + [1.0])
    return np.asarray(to_box @ to_pixels @ extrinsic, np.float32)


def read_param(path: Path) -> Param:
    """Camera and pose from a PARAM file.

    Raises:
        DataError: missing, damaged, or an entry of another shape.
    """
    table = _npz(path, tuple(_PARAM))
    for name, shape in _PARAM.items():
        got = table[name].shape
        if np.prod(got, dtype=int) == 1 and shape == ():
            continue
        if len(got) != len(shape) or any(s not in (-1, g) for s, g in zip(shape, got, strict=True)):
            raise DataError(f"{path}: {name} is {got}, not {shape}")
    ratio, scale = (float(table[k].reshape(())) for k in ("ortho_ratio", "scale"))
    if not ratio > 0:
        raise DataError(f"{path}: ortho_ratio={ratio} must be above 0")
    calib = calibration(ratio, scale, table["center"], table["R"])
    return Param(calib, table["jointT"].astype(np.float32))


def read_points(folder: Path, subject: str) -> dict[str, Array]:
    """Training points of a subject by our names (`mien.data.clothed.POOLS`), from ``.npz`` or ``.pt``.

    Raises:
        DataError: neither file, damaged, a file that would run code, or an entry missing.
    """
    path = folder / f"{subject}.npz"
    table = _npz(path, _POINTS) if path.is_file() else _pt(folder / f"{subject}.pt", _POINTS)
    out: dict[str, Array] = {}
    for name in _POINTS:
        kind, what = name.split("_")
        out[_OURS[kind] + ("" if what == "points" else f"_{what}")] = table[name].astype(np.float32)
    for kind in _OURS.values():
        for name, value in out.items():
            if name.startswith(kind) and len(value) != len(out[kind]):
                raise DataError(
                    f"{folder / subject}: {len(value)} rows of {name} for {len(out[kind])} points"
                )
        if out[kind].ndim != 2 or out[kind].shape[1] != 3:
            raise DataError(f"{folder / subject}: {kind} points are {out[kind].shape}, not (N, 3)")
    return {k: v.reshape(-1) if k.endswith("_sdf") else v for k, v in out.items()}


@dataclass(frozen=True)
class RenderPeople:
    """Pictures of some subjects, read when asked for: a `mien.data.clothed_loader.ClothedSource`.

    The layout has no normals of the body and of the back: those maps are empty (128).

    Attributes:
        root: folder with ``SYN``, ``SAMPLES`` and ``SMPL``.
        views: pictures, sorted.
        syn, samples, smpl: names of its folders.
    """

    root: Path
    views: tuple[RenderView, ...]
    syn: str = "SYN"
    samples: str = "SAMPLES"
    smpl: str = "SMPL"
    _points: dict[str, dict[str, Array]] = field(default_factory=dict, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.views)

    @property
    def subjects(self) -> tuple[str, ...]:
        """Their names, sorted."""
        return tuple(sorted({v.subject for v in self.views}))

    def file(self, view: RenderView, kind: str) -> Path:
        """A file of a picture; kind: RENDER, MASK, NORMAL or PARAM."""
        ending = "npz" if kind == "PARAM" else "png"
        return self.root / self.syn / view.subject / view.action / kind / f"{view.rotation}.{ending}"

    def maps(self, place: int) -> dict[str, Array]:
        """Picture, mask, normals and calib of a place.

        Raises:
            DataError: a file is missing or damaged, or pictures of one view differ in size.
        """
        view = self.views[place]
        image, mask, normal = (read_image(self.file(view, k)) for k in ("RENDER", "MASK", "NORMAL"))
        for kind, other in (("MASK", mask), ("NORMAL", normal)):
            if other.shape != image.shape:
                raise DataError(
                    f"{self.file(view, kind)}: {other.shape[:2]} pixels, the picture has {image.shape[:2]}"
                )
        empty = np.full_like(normal, 128)
        return {
            "image": image,
            "mask": mask[..., 0],
            "normals": np.stack([normal, empty]),
            "body_normals": np.stack([empty, empty]),
            "calib": read_param(self.file(view, "PARAM")).calib,
        }

    def points(self, place: int, counts: tuple[int, int, int], rng: np.random.Generator) -> dict[str, Array]:
        """Drawn training points of a place, and its transforms. A subject's file is read once."""
        view = self.views[place]
        if view.subject not in self._points:
            self._points[view.subject] = read_points(self.root / self.samples, view.subject)
        moves = read_param(self.file(view, "PARAM")).transforms
        return {**draw_points(self._points[view.subject], counts, rng), "transforms": moves}

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
        """Not in this layout.

        Raises:
            DataError: always; the hyper-network learns from THuman2.0 or made people.
        """
        raise DataError(
            f"{self.root}: this layout holds no posed bodies; train the stage hyper on kind 'thuman' or"
            " 'clothed'"
        )

    def scan(self, subject: str) -> Mesh:
        """The clothed scan in the star pose (``da_pose.obj``)."""
        return load_mesh(self.root / self.smpl / subject / "da_pose.obj")

    def betas(self, subject: str) -> Array:
        """(10,) shape of the subject's SMPL body."""
        path = self.root / self.smpl / subject / "param.npz"
        return _npz(path, ("beta",))["beta"].reshape(-1).astype(np.float32)


def read_render_people(root: str | Path, kind: str = "renderpeople") -> tuple[RenderPeople, RenderPeople]:
    """Training and test subjects: the first 50 (MVP: 100) sorted names, and the rest.

    Args:
        root: folder that holds ``SYN``, ``SAMPLES``, ``SMPL``.
        kind: renderpeople or mvp.

    Raises:
        DataError: no such folder, no subjects, or a subject without pictures.
    """
    root = Path(root)
    syn = root / "SYN"
    if not syn.is_dir():
        raise DataError(f"{root}: no folder SYN in it; give the folder that holds SYN, SAMPLES and SMPL")
    names = sorted(subfolders(syn))
    if not names:
        raise DataError(f"{syn}: no subjects")
    views = {name: _views(syn / name) for name in names}
    first = TRAIN_SUBJECTS[kind]
    train, test = (tuple(v for n in part for v in views[n]) for part in (names[:first], names[first:]))
    return RenderPeople(root, train), RenderPeople(root, test)


def _views(folder: Path) -> list[RenderView]:
    found = [
        RenderView(folder.name, path.parent.parent.name, path.stem)
        for path in sorted(folder.glob("*/RENDER/*.png"))
    ]
    if not found:
        raise DataError(f"{folder}: no pictures (<action>/RENDER/<rotation>.png)")
    return found


def _npz(path: Path, names: tuple[str, ...]) -> dict[str, Array]:
    """Entries of an npz without pickles."""
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = [n for n in names if n not in file.files]
            if missing:
                raise DataError(f"{path}: no {missing[0]} in it")
            return {n: file[n] for n in names}
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except DataError:
        raise
    except Exception as error:  # numpy and zipfile raise whatever they meet
        raise DataError(f"{path}: not an npz that can be read ({_line(error)})") from None


def _pt(path: Path, names: tuple[str, ...]) -> dict[str, Array]:
    """Tensors of a ``.pt`` dictionary; anything else in it is refused."""
    import torch

    try:
        table = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file, and no .npz beside it") from None
    except Exception as error:  # unpickling raises whatever it meets
        raise DataError(f"{path}: not a .pt of plain tensors ({_line(error)})") from None
    for name in names:
        if not isinstance(table, dict) or not isinstance(table.get(name), torch.Tensor):
            raise DataError(f"{path}: no tensor {name} in it")
    return {n: table[n].detach().numpy() for n in names}


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
