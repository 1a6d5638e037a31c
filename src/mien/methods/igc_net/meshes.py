"""Capsules as triangle meshes: the whole face, a part, or all parts pulled apart.

Axes of `mien.render`: x right, y up, z towards the viewer, the pivot of the head at 0. A unit of the scene is
`UNIT` metres, the distance of a made person from the camera.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mien.core.errors import ConfigError, DataError
from mien.methods.igc_net.capsules import ObjectCapsule
from mien.render.canonical import Renderer
from mien.render.mesh_io import Mesh, linear_rgb, save_mesh

Array = NDArray[Any]
UNIT = 1.54
"""Metres of a scene unit."""
STEP = 0.02
"""Scene units between neighbouring points beyond which the surface is torn."""
REACH = 0.035
"""How far parts are pulled apart, scene units."""


def grid_faces(size: int) -> NDArray[np.int32]:
    """(2 (S - 1)^2, 3) triangles of a grid of S x S points, row by row; counter-clockwise with y up. O(S^2).

    >>> grid_faces(2).tolist()
    [[0, 2, 3], [0, 3, 1]]
    """
    at = np.arange(size * size, dtype=np.int32).reshape(size, size)
    a, b, c, d = at[:-1, :-1], at[:-1, 1:], at[1:, :-1], at[1:, 1:]
    cells = np.stack([np.stack([a, c, d], -1), np.stack([a, d, b], -1)], 2)
    return cells.reshape(-1, 3)


def to_mesh(obj: ObjectCapsule, index: int = 0, part: int | None = None) -> Mesh:
    """The canonical surface of an object, or of one of its parts, with its albedo. O(S^2).

    Whole: where the background is not what is seen. A part: where it is the nearest layer; triangles with two
    corners in it belong to it, so that neighbouring parts meet. Vertices that no triangle uses are left out.

    Args:
        obj: of B pictures.
        index: which of them.
        part: number of the part, from 0; None: the whole.

    Raises:
        ConfigError: no such picture or part.
        DataError: nothing of it is seen.
    """
    if not 0 <= index < len(obj.depth):
        raise ConfigError(f"no object {index}; there are 0 .. {len(obj.depth) - 1}")
    if part is not None and not 0 <= part < len(obj.parts):
        raise ConfigError(f"no part {part}; there are 0 .. {len(obj.parts) - 1}")
    seen = obj.visibility[index].argmax(0).cpu().numpy()
    source = obj if part is None else obj.parts[part]
    inside = seen > 0 if part is None else seen == part + 1
    return _surface(source.depth[index], source.albedo[index], inside, 3 if part is None else 2)


def _surface(depth: torch.Tensor, albedo: torch.Tensor, inside: Array, corners: int) -> Mesh:
    """Triangles with at least so many corners inside, and no step between them."""
    size = len(inside)
    points = Renderer(size).depth_to_3d_grid(depth[None].detach().cpu())[0].reshape(-1, 3).numpy()
    faces = grid_faces(size)
    near = points[:, 2][faces]
    kept = (inside.reshape(-1)[faces].sum(1) >= corners) & (np.ptp(near, axis=1) < STEP)
    used, own = np.unique(faces[kept], return_inverse=True)
    if not len(used):
        raise DataError("nothing of this part is seen, so it has no surface")
    vertices = (points[used] - [0, 0, 1]) * [UNIT, -UNIT, -UNIT]
    colours = albedo.detach().cpu().reshape(3, -1).T.numpy()[used]
    return Mesh(
        vertices.astype(np.float32), own.reshape(-1, 3).astype(np.int32), linear_rgb(colours.clip(0, 1))
    )


def part_meshes(obj: ObjectCapsule, index: int = 0) -> dict[int, Mesh]:
    """The surfaces of all parts that are seen, by number."""
    out = {}
    for part in range(len(obj.parts)):
        try:
            out[part] = to_mesh(obj, index, part)
        except DataError:
            continue
    return out


def exploded(obj: ObjectCapsule, index: int = 0, reach: float = REACH) -> dict[int, Mesh]:
    """All parts pulled apart, each away from the middle of the face, by ``reach`` scene units. O(M S^2).

    Raises:
        DataError: no part is seen.
    """
    parts = part_meshes(obj, index)
    if not parts:
        raise DataError("no part of this object is seen; its foreground has collapsed")
    middles = {part: mesh.vertices.mean(0) for part, mesh in parts.items()}
    centre = np.mean(list(middles.values()), axis=0)
    out = {}
    for order, part in enumerate(sorted(parts, key=lambda m: float(middles[m][2]))):
        away = middles[part] - centre
        away[2] = 0.0
        length = float(np.linalg.norm(away))
        moved = away / length if length > 1e-6 else np.zeros(3)
        moved[2] = order / max(1, len(parts) - 1) - 0.5  # the nearest part comes nearer
        out[part] = parts[part]._replace(
            vertices=(parts[part].vertices + UNIT * reach * moved).astype(np.float32)
        )
    return dict(sorted(out.items()))


def merged(meshes: list[Mesh]) -> Mesh:
    """One mesh of several, all with colours."""
    firsts = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes[:-1])])
    colours = [mesh.colors for mesh in meshes if mesh.colors is not None]
    faces = [mesh.faces + first for mesh, first in zip(meshes, firsts, strict=True)]
    return Mesh(
        np.concatenate([mesh.vertices for mesh in meshes]),
        np.concatenate(faces).astype(np.int32),
        np.concatenate(colours),
    )


def save(path: str | Path, mesh: Mesh) -> Path:
    """Writes a mesh as .obj, .ply or .glb (`mien.render.save_mesh`)."""
    return save_mesh(path, mesh.vertices, mesh.faces, colors=mesh.colors)
