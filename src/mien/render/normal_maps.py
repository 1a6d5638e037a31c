"""Normals of meshes as pictures: seen from the front, and the farthest surface seen through the body.

A point (x right, y up, z towards the viewer) of the box [-half, half]^3 is drawn orthographically.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

from mien.core.errors import ConfigError
from mien.render.raster import front_back, interpolate


class NormalMaps(NamedTuple):
    """Unit normals at the same pixels, 0 in the background.

    Attributes:
        front: (B, H, W, 3) of the nearest surface, turned to the viewer (z >= 0).
        back: (B, H, W, 3) of the farthest surface, turned away (z <= 0).
        mask: (B, H, W) bool, where the mesh is.
    """

    front: Tensor
    back: Tensor
    mask: Tensor


def vertex_normals(points: Tensor, faces: Tensor) -> Tensor:
    """Area-weighted unit normals (..., V, 3) of counter-clockwise triangles, differentiable. O(B (V + T)).

    Args:
        points: (..., V, 3).
        faces: (T, 3) integers, shared.

    Example:
        >>> corners = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]])
        >>> vertex_normals(corners, torch.tensor([[0, 1, 2]]))[0, 0]
        tensor([0., 0., 1.])
    """
    f = faces.to(points.device).long()
    a, b, c = (points[..., f[:, k], :] for k in range(3))
    normal = torch.linalg.cross(b - a, c - a)
    out = torch.zeros_like(points)
    for k in range(3):
        out = out.index_add(-2, f[:, k], normal)
    return normalize(out, dim=-1, eps=1e-20)


def normal_maps(
    points: Tensor,
    faces: Tensor,
    height: int,
    width: int,
    *,
    half: float = 1.0,
    normals: Tensor | None = None,
) -> NormalMaps:
    """Front and back normals, differentiable in points and normals. Costs `front_back` and two `interpolate`.

    Args:
        points: (B, V, 3).
        faces: (T, 3) integers, shared.
        height: pixels.
        width: pixels.
        half: the picture shows x and y in [-half, half].
        normals: (B, V, 3) unit; default `vertex_normals`.

    Raises:
        ConfigError: ``half`` is not positive; see also `rasterize`.
    """
    if not half > 0:
        raise ConfigError(f"normal_maps: half={half} must be above 0")
    drawn = points / half * points.new_tensor([1.0, 1.0, -1.0])  # smaller z is nearer
    own = vertex_normals(points, faces) if normals is None else normals
    seen = front_back(drawn, faces, height, width)
    front, back = (interpolate(drawn, faces, own, r.face_id, unit=True) for r in seen)
    front = torch.where(front[..., 2:] < 0, -front, front)
    return NormalMaps(front, torch.where(back[..., 2:] > 0, -back, back), seen[0].face_id >= 0)


@torch.no_grad()
def depth_pair(points: Tensor, faces: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Z (B, H, W) of the nearest and of the farthest surface of points in [-1, 1]^3; NaN in the background.

    Costs `front_back`. Arguments and errors are those of `normal_maps`.
    """
    drawn = points * points.new_tensor([1.0, 1.0, -1.0])
    seen = front_back(drawn, faces, height, width)
    z = points[..., 2:]
    near, far = (interpolate(drawn, faces, z, r.face_id)[..., 0] for r in seen)
    there = seen[0].face_id >= 0
    return (torch.where(there, near, torch.nan), torch.where(there, far, torch.nan))


def draw_normals(vertices: Any, faces: Any, size: int = 512, half: float = 1.0) -> Any:
    """Front normals (H, W, 3) of one mesh as an array: the ``draw`` of `reprojected_normal_error`."""
    points = torch.as_tensor(vertices, dtype=torch.float32)[None]
    return normal_maps(points, torch.as_tensor(faces), size, size, half=half).front[0].numpy()
