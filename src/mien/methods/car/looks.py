"""Pictures of a mesh from any side: matt clay, its own colours, or its normals; orthographic, on white.

Space: metres, x right, y up, z to the viewer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mien.core import figures
from mien.core.errors import ShapeError
from mien.render.mesh_io import Mesh, linear_rgb
from mien.render.normal_maps import vertex_normals
from mien.render.raster import interpolate, rasterize
from mien.render.shading import irradiance
from mien.synth.clothed_set import normal_colors
from mien.synth.grading import srgb

Picture = NDArray[np.uint8]
CLAY = (0.62, 0.6, 0.58)
"""sRGB of a mesh without colours."""
_SAMPLES = 2  # of a pixel's side


@dataclass(frozen=True)
class Camera:
    """An orthographic look at a person.

    Attributes:
        middle: (3,) metres, in the middle of the picture.
        half: metres from there to the picture's side.
        yaw: radians that the person is turned to their left; pi: from behind.
    """

    middle: tuple[float, float, float]
    half: float
    yaw: float = 0.0

    def turn(self, points: Tensor) -> Tensor:
        """Points (V, 3) in the picture's box [-1, 1], x right, y up, z to the viewer."""
        return rotated(points - points.new_tensor(self.middle), self.yaw) / self.half


def rotated(vectors: Tensor, yaw: float) -> Tensor:
    """R_y(yaw) v of vectors (V, 3): (x cos + z sin, y, z cos - x sin)."""
    x, y, z = vectors.unbind(-1)
    c, s = float(np.cos(yaw)), float(np.sin(yaw))
    return torch.stack([c * x + s * z, y, c * z - s * x], -1)


def camera_for(*shapes: Any, margin: float = 1.05) -> Camera:
    """A camera that sees all of some shapes (V, 3) from any yaw."""
    points = np.concatenate([np.asarray(s, np.float64) for s in shapes])
    middle = 0.5 * (points.min(0) + points.max(0))
    away = points - middle
    reach = max(np.abs(away[:, 1]).max(), np.linalg.norm(away[:, [0, 2]], axis=1).max())
    x, y, z = (float(v) for v in middle)
    return Camera((x, y, z), margin * float(reach))


def soft_light() -> Tensor:
    """(9, 3) of a bright sky above and in front, a little to the left; a white matt wall facing it is white.

    Radiance a + b d . l has the irradiance pi a + 2 pi / 3 b n . l.
    """
    towards = np.array([-0.35, 0.55, 0.76])
    direct, even = 0.75, 0.5
    out = torch.zeros(9, 3)
    out[0] = even * 2 * np.sqrt(np.pi)
    first = torch.tensor([towards[1], towards[2], towards[0]]) * np.sqrt(4 * np.pi / 3)  # y, z, x
    out[1:4] = (direct * first.float())[:, None]
    return out


@torch.no_grad()
def draw(
    vertices: Any, faces: Any, camera: Camera, size: int = 192, *, colors: Any = None, even: bool = False
) -> Picture:
    """A mesh in `soft_light`, (size, size, 3) uint8 on white. O(T + size^2).

    Args:
        vertices: (V, 3) metres.
        faces: (T, 3) counter-clockwise.
        camera: where from.
        size: pixels a side.
        colors: (V, 3) sRGB in [0, 1]; None: clay.
        even: without light: the colours as they are.

    Raises:
        ShapeError: colours of another shape.
    """
    points, triangles = _tensors(vertices, faces)
    shown = np.broadcast_to(CLAY, points.shape) if colors is None else np.asarray(colors)
    if shown.shape != tuple(points.shape):
        raise ShapeError(f"colors must be {tuple(points.shape)} like the vertices, got {shown.shape}")
    albedo = torch.from_numpy(np.ascontiguousarray(linear_rgb(np.clip(shown, 0, 1)), np.float32))
    normals = rotated(vertex_normals(points, triangles), camera.yaw)
    light = torch.ones(len(points), 3) if even else irradiance(normals[None], soft_light())[0] / torch.pi
    seen = _seen(points, triangles, camera, size, albedo * light.clamp(min=0))
    return _on_white(srgb(seen[..., :3].clamp(0, 1).numpy()), seen[..., 3:].numpy(), size)


@torch.no_grad()
def draw_normals(vertices: Any, faces: Any, camera: Camera, size: int = 192) -> Picture:
    """Colours (n + 1) / 2 of the normals in the camera's axes, (size, size, 3) uint8 on white."""
    points, triangles = _tensors(vertices, faces)
    normals = rotated(vertex_normals(points, triangles), camera.yaw)
    seen = _seen(points, triangles, camera, size, normals).numpy()
    unit = seen[..., :3] / np.linalg.norm(seen[..., :3], axis=-1, keepdims=True).clip(1e-6)
    return _on_white(normal_colors(unit) / 255.0, seen[..., 3:], size)


def map_picture(normals: Any) -> Picture:
    """A normal map (3, H, W), 0 outside, as the colours of `draw_normals` on white."""
    n = np.moveaxis(np.asarray(normals, np.float32), 0, -1)
    there = (n**2).sum(-1, keepdims=True) > 0.25
    return np.where(there, normal_colors(n), np.uint8(255))


def rgb_of(colours: Sequence[str]) -> NDArray[np.float32]:
    """(N, 3) sRGB in [0, 1] of colours as #rrggbb.

    >>> rgb_of(["#ff0033"]).tolist()
    [[1.0, 0.0, 0.20000000298023224]]
    """
    bytes_of = [[int(c[k : k + 2], 16) for k in (1, 3, 5)] for c in colours]
    return np.asarray(np.array(bytes_of) / 255, np.float32)


def heat(values: Any) -> NDArray[np.float32]:
    """(N, 3) sRGB of values in [0, 1]: near white to vermilion."""
    v = np.clip(np.asarray(values, np.float32), 0, 1)[:, None]
    low, high = rgb_of(["#f7f7f7", figures.COLOURS[1]])
    return np.asarray((1 - v) * low + v * high, np.float32)


def front_and_back(mesh: Mesh, camera: Camera, size: int, **looks: Any) -> list[Picture]:
    """`draw` as the camera sees it, and from behind."""
    sides = (camera, replace(camera, yaw=camera.yaw + np.pi))
    return [draw(mesh.vertices, mesh.faces, c, size, **looks) for c in sides]


def _tensors(vertices: Any, faces: Any) -> tuple[Tensor, Tensor]:
    return torch.as_tensor(vertices, dtype=torch.float32).cpu(), torch.as_tensor(faces).cpu().int()


def _seen(points: Tensor, faces: Tensor, camera: Camera, size: int, values: Tensor) -> Tensor:
    """(k S, k S, C + 1) values of what each sample sees, and 1 where the mesh is."""
    side = _SAMPLES * size
    placed = (camera.turn(points) * points.new_tensor([1.0, 1.0, -1.0]))[None]  # smaller z is nearer
    found = rasterize(placed, faces, side, side)
    held = torch.cat([values, torch.ones(len(values), 1)], 1)
    return interpolate(placed, faces, held, found.face_id)[0]


def _on_white(colors: Any, cover: Any, size: int) -> Picture:
    """Means over each pixel's samples of colours where the mesh covers, else white."""
    mixed = np.where(cover > 0.5, colors, 1.0)
    mean = mixed.reshape(size, _SAMPLES, size, _SAMPLES, 3).mean((1, 3))
    return np.asarray(np.floor(255 * mean + 0.5), np.uint8)
