"""EG3D's camera: look-at sampler, 25 numbers, rays and what a box leaves of them.

Its world is ours (y up, a face looks along +z); its camera axes are OpenCV's (x right, y down, z forward).
The intrinsics are divided by the picture's size, so they hold at any resolution. `Camera.from_eg3d` gives the
same view as a `Camera`; the rays here also take skew, which a learned correction of the intrinsics brings in.

Source: Chan et al., Efficient geometry-aware 3D generative adversarial networks, 2022 (as released).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mien.core.errors import ConfigError
from mien.render.backends import check_size
from mien.render.camera import OPENCV_AXES, Camera, Rays

FOV_DIAGONAL = 1.414  # as released: the angle spans the diagonal, and both constants are cut short
FOV_PI = 3.14159


def lookat_cam2world(
    yaw: float | Tensor,
    pitch: float | Tensor = 0.0,
    radius: float | Tensor = 2.7,
    pivot: tuple[float, float, float] | Tensor = (0.0, 0.0, 0.2),
) -> Tensor:
    """Poses on a sphere around the origin that look at the pivot, without roll.

    With azimuth h = pi/2 + yaw and polar v = pi/2 + pitch, phi = arccos(1 - 2 v / pi) (even over the sphere,
    equal to v at v = pi/2 only), the centre is r (sin phi cos(pi - h), cos phi, sin phi sin(pi - h)).

    Args:
        yaw: radians, one or (B,); above 0 the camera is at +x.
        pitch: radians within pi/2 of 0, one or (B,); above 0 the camera is below.
        radius: metres, one or (B,).
        pivot: (3,) or (B, 3) metres.

    Returns:
        (B, 4, 4) camera to world; the columns of its rotation are right, down and forward.

    Raises:
        ConfigError: a pitch out of range, or a view along the vertical.

    Example:
        >>> round(float(lookat_cam2world(0.0)[0, 2, 3]), 6)
        2.7
    """
    turn, tilt, r = torch.broadcast_tensors(
        *(torch.atleast_1d(torch.as_tensor(x)) for x in (yaw, pitch, radius))
    )
    if not bool((tilt.abs() < math.pi / 2).all()):
        raise ConfigError(f"pitch must be within pi/2 of 0, got {tilt.tolist()}")
    phi = torch.arccos(-2 * tilt / math.pi)
    unit = torch.stack([phi.sin() * turn.sin(), phi.cos(), phi.sin() * turn.cos()], -1)
    target = torch.as_tensor(pivot, dtype=unit.dtype, device=unit.device)
    view = Camera.look_at(r[:, None] * unit, target, focal=1.0, height=1, width=1)
    top = torch.cat([view.rotation * view.rotation.new_tensor(OPENCV_AXES), view.position[..., None]], -1)
    return torch.cat([top, top.new_tensor([0.0, 0, 0, 1]).expand(len(top), 1, 4)], 1)


def fov_to_intrinsics(degrees: float) -> Tensor:
    """(3, 3) intrinsics of a field of view: f = 1 / (1.414 tan(degrees 3.14159 / 360)), centre 0.5.

    18.837 gives 4.263391; the 4.2647 of the data sets needs 18.8313.

    Raises:
        ConfigError: an angle outside 0 .. 180 degrees.
    """
    if not 0 < degrees < 180:
        raise ConfigError(f"a field of view must be within 0 and 180 degrees, got {degrees}")
    f = 1 / (math.tan(degrees * FOV_PI / 360) * FOV_DIAGONAL)
    return torch.tensor([[f, 0.0, 0.5], [0.0, f, 0.5], [0.0, 0.0, 1.0]])


def pack_camera(cam2world: Tensor, intrinsics: Tensor) -> Tensor:
    """The 25 numbers: row-major (B, 4, 4) poses, then row-major (B, 3, 3) or (3, 3) intrinsics.

    Raises:
        ConfigError: another shape.
    """
    if cam2world.ndim != 3 or cam2world.shape[1:] != (4, 4) or intrinsics.shape[-2:] != (3, 3):
        got = f"{tuple(cam2world.shape)} and {tuple(intrinsics.shape)}"
        raise ConfigError(f"pack_camera takes (B, 4, 4) and (B, 3, 3), got {got}")
    k = intrinsics.to(cam2world).expand(len(cam2world), 3, 3)
    return torch.cat([cam2world.flatten(1), k.flatten(1)], 1)


def unpack_camera(c: Tensor) -> tuple[Tensor, Tensor]:
    """Poses (B, 4, 4) and intrinsics (B, 3, 3) of the 25 numbers (B, 25).

    Raises:
        ConfigError: another shape.
    """
    if c.ndim != 2 or c.shape[1] != 25:
        raise ConfigError(f"EG3D's camera is (B, 25), got {tuple(c.shape)}")
    return c[:, :16].reshape(-1, 4, 4), c[:, 16:].reshape(-1, 3, 3)


def correct_intrinsics(intrinsics: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """K' = K (1 + tanh(s)) + t, entry by entry: what inversion learns of a crop's error.

    Source: OTAvatar, section 2.4 of its method page (as released, all nine entries).

    Args:
        intrinsics: (.., 3, 3).
        scale: s, (.., 3, 3) or (.., 9).
        shift: t, the same.

    Raises:
        ConfigError: another shape.
    """
    if intrinsics.shape[-2:] != (3, 3):
        raise ConfigError(f"intrinsics must be (.., 3, 3), got {tuple(intrinsics.shape)}")
    s, t = (x.unflatten(-1, (3, 3)) if x.shape[-1] == 9 else x for x in (scale, shift))
    return intrinsics * (1 + torch.tanh(s)) + t


def eg3d_rays(c: Tensor, resolution: int | tuple[int, int]) -> Rays:
    """Rays through the pixel centres of a picture, rows first; O(B H W).

    u = (j + 0.5) / W, v = (i + 0.5) / H, then as `rays_through`.

    Args:
        c: (B, 25).
        resolution: pixels of a side, or height and width.

    Returns:
        Origins and unit directions, each (B, H, W, 3); ``flatten(1, 2)`` puts pixel (i, j) at i W + j.

    Raises:
        ConfigError: another shape, or a size out of range.
    """
    height, width = (resolution, resolution) if isinstance(resolution, int) else resolution
    check_size(height, width)
    u = (torch.arange(width, dtype=c.dtype, device=c.device) + 0.5) / width
    v = (torch.arange(height, dtype=c.dtype, device=c.device) + 0.5) / height
    uv = torch.stack(torch.broadcast_tensors(u, v[:, None]), -1).flatten(0, 1)
    return Rays(*(x.unflatten(1, (height, width)) for x in rays_through(c, uv.expand(len(c), -1, 2))))


def rays_through(c: Tensor, uv: Tensor) -> Rays:
    """Rays through places of a picture. O(B M).

    x = (u - cx + s (cy - v) / fy) / fx, y = (v - cy) / fy, z = 1, turned to the world and scaled to length 1:
    what is measured along them are distances, no depths. Differentiable in the camera.

    Args:
        c: (B, 25).
        uv: (B, M, 2) in picture sides, from the left and from the top.

    Returns:
        Origins and unit directions, each (B, M, 3).

    Raises:
        ConfigError: another shape.
    """
    pose, k = unpack_camera(c)
    fx, fy, cx, cy, skew = (k[:, i, j, None] for i, j in ((0, 0), (1, 1), (0, 2), (1, 2), (0, 1)))
    y = (uv[..., 1] - cy) / fy
    x = (uv[..., 0] - cx - skew * y) / fx
    local = torch.nn.functional.normalize(torch.stack([x, y, torch.ones_like(x)], -1), dim=-1)
    directions = torch.einsum("bij,bmj->bmi", pose[:, :3, :3], local)
    return Rays(pose[:, None, :3, 3].expand_as(directions), directions)


def box_limits(origins: Tensor, directions: Tensor, side: float = 1.0) -> tuple[Tensor, Tensor]:
    """Where rays enter and leave the box [-side/2, side/2]^3; (-1, -2) where they miss it. O(rays).

    Args:
        origins: (.., 3).
        directions: (.., 3).
        side: metres.

    Returns:
        Distances along the rays, each (..,).
    """
    with torch.no_grad():
        tiny = torch.finfo(directions.dtype).tiny ** 0.5
        safe = torch.where(directions.abs() < tiny, torch.full_like(directions, tiny), directions)
        first, second = (-side / 2 - origins) / safe, (side / 2 - origins) / safe
        enter = torch.minimum(first, second).amax(-1)
        leave = torch.maximum(first, second).amin(-1)
        missed = enter > leave
        return enter.masked_fill(missed, -1.0), leave.masked_fill(missed, -2.0)
