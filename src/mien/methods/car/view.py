"""The view box, where pictures and surfaces meet: x right, y up, z to the viewer, each in [-1, 1].

It is the range of a ``calib`` with y turned up, so that a stored normal map holds the normals of a surface
in it. Pixel (i, j) of H x W has its centre at x = (j + 0.5) / W * 2 - 1, y = 1 - (i + 0.5) / H * 2.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from mien.core.errors import ShapeError
from mien.methods.car.skinning import inverse_transform_points, transform_points
from mien.render.normal_maps import vertex_normals
from mien.render.raster import rasterize

UP = (1.0, -1.0, 1.0)
"""Turns y of a box: y down <-> y up."""


def to_view(points: Tensor, calib: Tensor) -> Tensor:
    """Points of the world (..., V, 3) in the view box of a calib (..., 4, 4). O(V)."""
    return transform_points(calib[..., None, :, :], points) * points.new_tensor(UP)


def from_view(points: Tensor, calib: Tensor) -> Tensor:
    """The inverse of `to_view`."""
    return inverse_transform_points(calib[..., None, :, :], points * points.new_tensor(UP))


def sample_map(image: Tensor, points: Tensor) -> Tensor:
    """Bilinear values (V, C) of a map (C, H, W) at points (V, 3) of the view box. O(V C).

    Outside the picture it is its rim's value.

    Raises:
        ShapeError: other shapes.
    """
    if image.ndim != 3 or points.ndim != 2 or points.shape[1] < 2:
        raise ShapeError(
            f"a map (C, H, W) and points (V, 3) are needed, got {tuple(image.shape)}, {tuple(points.shape)}"
        )
    grid = points[None, None, :, :2] * points.new_tensor([1.0, -1.0])
    read = functional.grid_sample(
        image[None], grid.to(image.dtype), padding_mode="border", align_corners=False
    )
    return read[0, :, 0].T


def eroded(mask: Tensor, pixels: int) -> Tensor:
    """A mask (H, W) of booleans, less ``pixels`` at its rim; the picture's own rim stays. O(H W)."""
    outside = (~mask).float()[None, None]
    return functional.max_pool2d(outside, 2 * pixels + 1, 1, pixels)[0, 0] == 0


def to_screen(points: Tensor, sign: float = 1.0) -> Tensor:
    """Points (..., 3) of the view box as `rasterize` takes them.

    Sign -1 is the view from behind, with x not mirrored.
    """
    return points * points.new_tensor([1.0, 1.0, -sign])


def seen_faces(points: Tensor, F: Tensor, height: int, width: int, sign: float = 1.0) -> Tensor:
    """(H, W) int32 triangle that each pixel sees of a mesh (V, 3), -1 where none; ``sign`` as `to_screen`."""
    return rasterize(to_screen(points.detach(), sign)[None].float(), F, height, width).face_id[0]


def seen_vertices(points: Tensor, F: Tensor, size: int = 512, sign: float = 1.0) -> Tensor:
    """Vertices (V,) of triangles that some pixel sees. O(T + size^2).

    Triangles smaller than a pixel may be missed: ``size`` should make them larger.
    """
    seen = torch.zeros(len(points), dtype=torch.bool, device=points.device)
    face = seen_faces(points, F, size, size, sign)
    seen[F[face[face >= 0].long()].long().reshape(-1)] = True
    return seen


def facing(
    points: Tensor, F: Tensor, mask: Tensor, *, erode: int = 2, size: int = 512, sign: float = 1.0
) -> Tensor:
    """How well the picture shows each vertex: (V,) max(sign n_z, 0) where seen, else 0. O(T + size^2).

    Args:
        points: (V, 3) in the view box.
        F: (T, 3) counter-clockwise.
        mask: (H, W) booleans: the person.
        erode: pixels at the mask's rim that are not trusted.
        size: of the picture that decides what is seen.
        sign: -1: seen from behind.
    """
    cosine = (sign * vertex_normals(points, F)[:, 2]).clamp(min=0)
    inside = sample_map(eroded(mask, erode).to(points)[None], points)[:, 0] > 0.5
    return cosine * (seen_vertices(points, F, size, sign) & inside)
