"""Capsules drawn: parts in colours, depth and normals as pictures, rows of what a face is made of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mien.methods.igc_net.capsules import ObjectCapsule
from mien.methods.igc_net.edits import facing, light_from, relight
from mien.methods.igc_net.meshes import exploded, merged
from mien.methods.igc_net.model import IGCNet
from mien.render.camera import Camera
from mien.render.mesh_io import Mesh
from mien.render.raster import interpolate, rasterize

Picture = NDArray[np.uint8]
COLOURS = np.array(
    [[238, 238, 238], [230, 159, 0], [86, 180, 233], [0, 158, 115], [240, 228, 66], [0, 114, 178],
     [213, 94, 0], [204, 121, 167], [120, 120, 120], [170, 68, 153]], np.uint8,
)  # fmt: skip
"""Of background and parts: Okabe and Ito's, which colour-blind people tell apart; from part 10 on again."""
SIDES = (-40.0, -20.0, 0.0, 20.0, 40.0)
"""Yaw of a turned row, degrees."""
COLUMNS = ("picture", "drawn", "parts", "depth", "normals", "albedo", "relit", *(f"{a:+.0f}°" for a in SIDES))
"""Of `face_row`."""


def to_picture(image: Tensor) -> Picture:
    """(3, S, S) in [0, 1] -> (S, S, 3) bytes."""
    return np.asarray((255 * image.detach().cpu().clamp(0, 1)).round().byte().permute(1, 2, 0).numpy())


def parts_picture(labels: NDArray[Any]) -> Picture:
    """(S, S) labels, 0 = background, in colours."""
    own = np.asarray(labels, np.int64)
    return COLOURS[np.where(own > 0, 1 + (own - 1) % (len(COLOURS) - 1), 0)]


def depth_picture(depth: Tensor, there: Tensor) -> Picture:
    """(S, S) depth, near = bright, over the range in (S, S) ``there``; white elsewhere."""
    d, own = depth.detach().cpu().numpy(), there.detach().cpu().numpy().astype(np.bool_)
    if not own.any():
        return np.full((*d.shape, 3), 255, np.uint8)
    low, high = np.percentile(d[own], [1, 99])
    grey = np.clip((high - d) / max(high - low, 1e-6), 0, 1)
    return np.where(own[..., None], np.repeat((255 * grey)[..., None], 3, 2), 255).astype(np.uint8)


def normal_picture(normal: Tensor, there: Tensor) -> Picture:
    """(S, S, 3) normals away from the camera as colours: red to the right, green up; white elsewhere."""
    n = normal.detach().cpu().numpy() * [-1, 1, 1]
    own = there.detach().cpu().numpy().astype(np.bool_)
    return np.where(own[..., None], 127.5 * (n + 1), 255).clip(0, 255).astype(np.uint8)


@torch.no_grad()
def turned(net: IGCNet, obj: ObjectCapsule, degrees: Sequence[float]) -> list[Picture]:
    """The first object of a batch from its front, turned by each angle, before white."""
    out = []
    for angle in degrees:
        shown = net.render(facing(obj, math.radians(angle)))
        there = (shown.visibility[:, 1:].sum(1, keepdim=True) * shown.mask[:, None]).clamp(0, 1)
        out.append(to_picture((there * shown.face + 1 - there)[0]))
    return out


@torch.no_grad()
def face_row(net: IGCNet, picture: Picture, obj: ObjectCapsule) -> list[Picture]:
    """What the net makes of one picture, one picture for each of `COLUMNS`."""
    shown = net.render(obj)
    labels = shown.visibility[0].argmax(0)
    there = (labels > 0) & shown.mask[0]
    lit = relight(obj, light_from(obj, math.radians(60), math.radians(20)))
    own = (obj.visibility[:, :1] < 0.5).float()
    return [
        picture,
        to_picture(shown.image[0]),
        parts_picture(labels.cpu().numpy()),
        depth_picture(shown.depth[0], there),
        normal_picture(shown.normal[0], there),
        to_picture((own * obj.albedo + 1 - own)[0]),
        *turned(net, lit, (0.0,)),
        *turned(net, obj, SIDES),
    ]


def mesh_picture(mesh: Mesh, size: int = 192, yaw: float = 0.5, pitch: float = 0.2) -> Picture:
    """A mesh from the side, shaded by its normals, before white. O(T + S^2).

    Args:
        mesh: with linear colours, about 0.
        size: S.
        yaw: of the camera, radians.
        pitch: of the camera, radians.
    """
    points = torch.from_numpy(mesh.vertices)[None]
    eye = np.array([math.sin(yaw) * math.cos(pitch), math.sin(pitch), math.cos(yaw) * math.cos(pitch)])
    reach = float(np.abs(mesh.vertices).max()) * 1.15
    where = torch.from_numpy(8 * reach * eye).float()
    camera = Camera.look_at(where, torch.zeros(3), focal=4 * float(size), height=size, width=size)
    ndc, w = camera.project(points)
    faces = torch.from_numpy(mesh.faces)
    drawn = rasterize(ndc, faces, size, size)
    corners = mesh.vertices[mesh.faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    shade = 0.35 + 0.65 * np.abs(normal @ np.array([0.3, 0.4, 0.87]))
    colours = np.ones_like(mesh.vertices) if mesh.colors is None else mesh.colors
    seen = interpolate(ndc, faces, torch.from_numpy(colours), drawn.face_id, w)[0].numpy() ** (1 / 2.2)
    which = drawn.face_id[0].numpy()
    lit = seen * shade[np.maximum(which, 0)][..., None]
    return np.where(which[..., None] >= 0, 255 * lit, 255).clip(0, 255).astype(np.uint8)


def exploded_mesh(obj: ObjectCapsule, index: int = 0) -> Mesh:
    """All parts pulled apart, as one mesh."""
    return merged(list(exploded(obj, index).values()))
