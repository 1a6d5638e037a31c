"""The body that a reconstruction starts from: shape, skin, pose, and how the picture sees it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from mien.core.errors import DataError, ShapeError
from mien.methods.car.skinning import blended_matrices, transform_points
from mien.methods.car.view import to_view
from mien.render.normal_maps import depth_pair, normal_maps, vertex_normals

_SHAPES: dict[str, tuple[int | str, ...]] = {
    "vertices": ("V", 3), "faces": ("T", 3), "weights": ("V", "J"), "joints": ("J", 3),
    "transforms": ("J", 4, 4), "calib": (4, 4),
}  # fmt: skip
_CLOSE = 0.03  # metres
LIMIT = 1e-3
"""How far the matrices of a pose may be from rotations, and sums of weights from 1."""


@dataclass(frozen=True, eq=False)
class BodyParams:
    """A naked body in the star pose and in the picture. Checked when made.

    Attributes:
        vertices: (V, 3) metres, star pose.
        faces: (T, 3) int32.
        weights: (V, J) skinning weights, rows sum to 1.
        joints: (J, 3) metres, heads of the bones in the star pose.
        transforms: (J, 4, 4) star pose -> posed space (metres, x right, y up, z to the viewer).
        calib: (4, 4) posed space -> box [-1, 1]^3 of the picture, y down.
        parents: of the J bones, -1 = root.
        names: of the J bones.

    Raises:
        ShapeError: tensors that do not fit together.
        DataError: numbers that are none, faces or weights out of range, a pose whose matrices are no
            rotations.
    """

    vertices: Tensor
    faces: Tensor
    weights: Tensor
    joints: Tensor
    transforms: Tensor
    calib: Tensor
    parents: tuple[int, ...]
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        sizes: dict[str, int] = {"J": len(self.names)}
        for name, shape in _SHAPES.items():
            value = getattr(self, name)
            if value.ndim == len(shape):
                for letter, size in zip(shape, value.shape, strict=True):
                    if isinstance(letter, str):
                        sizes.setdefault(letter, size)
            want = tuple(sizes.get(s, s) if isinstance(s, str) else s for s in shape)
            if tuple(value.shape) != want:
                raise ShapeError(f"the body's {name} are {tuple(value.shape)}, not {want}")
            if value.is_floating_point() and not bool(value.isfinite().all()):
                raise DataError(f"the body's {name} hold values that are no numbers; fit it again")
        if len(self.parents) != sizes["J"]:
            raise ShapeError(f"the body has {len(self.parents)} parents of {sizes['J']} joints")
        faces, sums = self.faces, self.weights.sum(1)
        if len(faces) and not 0 <= int(faces.min()) <= int(faces.max()) < sizes["V"]:
            raise DataError(f"the body's faces point at vertices outside 0 .. {sizes['V'] - 1}")
        if float((sums - 1).abs().max()) > LIMIT or float(self.weights.min()) < 0:
            raise DataError("the body's skinning weights must not be negative, and each row must sum to 1")
        turn = self.transforms[:, :3, :3].double()
        off = float((turn @ turn.mT - torch.eye(3).to(turn)).abs().max())
        mirrors = bool((torch.linalg.det(turn) < 0).any())
        if off > LIMIT or mirrors:
            what = "mirrors" if mirrors else f"is no rotation, it is {off:.2g} off one"
            raise DataError(
                f"the pose of the body: a joint's matrix {what}; give rotations and translations only"
            )

    def posed(self) -> Tensor:
        """(V, 3) metres, as the picture shows it. O(V J)."""
        blended = blended_matrices(self.weights[None], self.transforms[None])[0]
        return transform_points(blended, self.vertices)

    def in_view(self) -> Tensor:
        """(V, 3) in the view box."""
        return to_view(self.posed(), self.calib)

    def maps(self, size: int) -> tuple[Tensor, Tensor, Tensor]:
        """Normals (3, S, S) of front and back, and depth (2, S, S), NaN beside the body. O(T + S^2)."""
        points = self.in_view()[None]
        drawn = normal_maps(points, self.faces, size, size)
        depth = torch.cat(depth_pair(points, self.faces, size, size))
        return drawn.front[0].permute(2, 0, 1), drawn.back[0].permute(2, 0, 1), depth

    def to(self, device: torch.device | str) -> BodyParams:
        """The body on another device."""
        return replace(self, **{name: getattr(self, name).to(device) for name in _SHAPES})

    def save(self, path: str | Path) -> Path:
        """Writes an npz that `load_body` reads, whole or not at all."""
        from mien.core.io import new_file

        arrays = {name: getattr(self, name).detach().cpu().numpy() for name in _SHAPES}
        with new_file(path) as part, part.open("wb") as file:
            np.savez(file, parents=np.array(self.parents), names=np.array(self.names), **arrays)
        return Path(path)


class BodyDistance:
    """Signed distance to a body, some millimetres wrong, and its gradient. O(log V) a point.

        d = n (x - v) within 3 cm of the nearest vertex v, else +- |x - v| with the sign of that

    Args:
        vertices: (V, 3) metres.
        normals: (V, 3) unit, outward.
    """

    def __init__(self, vertices: Tensor, normals: Tensor) -> None:
        self.vertices, self.normals = vertices, normals
        self.tree = cKDTree(vertices.detach().cpu().double().numpy())

    def __call__(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """D (N, 1) and its gradient (N, 3) at points (N, 3)."""
        nearest = self.nearest(points)
        normal, away = self.normals[nearest], points - self.vertices[nearest]
        length = away.norm(dim=1, keepdim=True)
        plane = (normal * away).sum(1, keepdim=True)
        side = torch.where(plane < 0, -1.0, 1.0)
        close = length < _CLOSE
        radial = side * away / length.clamp(min=1e-9)
        return torch.where(close, plane, side * length), torch.where(close, normal, radial)

    def nearest(self, points: Tensor) -> Tensor:
        """(N,) nearest vertices."""
        found = self.tree.query(points.detach().cpu().double().numpy())[1]
        return torch.from_numpy(found).to(points.device)


def distance_to(points: Tensor, faces: Tensor) -> BodyDistance:
    """Of a mesh (V, 3), (T, 3)."""
    return BodyDistance(points, vertex_normals(points[None], faces)[0])


def body_of(
    *,
    vertices: Any,
    faces: Any,
    weights: Any,
    joints: Any,
    transforms: Any,
    calib: Any,
    parents: Sequence[int],
    names: Sequence[str],
) -> BodyParams:
    """A body of arrays or tensors of any float type; arguments and errors of `BodyParams`."""
    given = (vertices, weights, joints, transforms, calib)
    v, w, j, t, c = (torch.as_tensor(x, dtype=torch.float32) for x in given)
    return BodyParams(v, torch.as_tensor(faces).int(), w, j, t, c, tuple(parents), tuple(names))


def load_body(path: str | Path) -> BodyParams:
    """Reads an npz with the arrays of `BodyParams`: a fit of SMPL, anny or any rigged body.

    Raises:
        DataError: missing, damaged, a pickle, or an array that is not there.
        ShapeError: arrays that do not fit together.
    """
    wanted = (*_SHAPES, "parents", "names")
    table = read_arrays(path, "fitted body")
    missing = [name for name in wanted if name not in table]
    if missing:
        raise DataError(f"{path}: no {', '.join(missing)} in it; a body has {', '.join(wanted)}")
    words = [name for name in (*_SHAPES, "parents") if table[name].dtype.kind not in "fiu"]
    if words:
        raise DataError(f"{path}: {words[0]} holds {table[words[0]].dtype}, not numbers")
    parents = tuple(int(p) for p in table["parents"].reshape(-1))
    names = tuple(str(n) for n in table["names"].reshape(-1))
    own = {name: table[name] for name in _SHAPES}
    return body_of(**own, parents=parents, names=names)


def read_arrays(path: str | Path, what: str) -> dict[str, NDArray[Any]]:
    """The arrays of an npz. O(size).

    Args:
        path: of the file.
        what: it should hold, in words.

    Raises:
        DataError: missing, damaged, or it holds objects.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; give the npz of a {what}") from None
    except Exception as error:  # numpy and zipfile raise whatever they meet
        said = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise DataError(f"{path}: not an npz of a {what} ({said})") from None
