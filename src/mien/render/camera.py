"""Cameras: world metres to NDC and back, rays, and other people's conventions.

Ours: right-handed, y up; the camera looks along -z of its own frame, x to the right; pixel centres at + 0.5;
depth is the distance along the optical axis, positive in front.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from mien.core.errors import ConfigError
from mien.render.backends import check_size

Projection = Literal["perspective", "orthographic"]
OPENCV_AXES = (1.0, -1.0, -1.0)  # OpenCV's camera axes (x right, y down, z forward) seen from ours


class Rays(NamedTuple):
    """Origins and unit directions of the pixel centres, world axes, each (B, H, W, 3)."""

    origins: Tensor
    directions: Tensor


@dataclass(frozen=True, eq=False)
class Camera:
    """A batch of B cameras over pictures of one size; every method is differentiable.

    Attributes:
        rotation: (B, 3, 3) camera to world; its columns are the camera's right, up and backward axes.
        position: (B, 3) metres.
        focal: (B, 2) pixels, along x and y; for orthographic views pixels a metre.
        centre: (B, 2) principal point in pixels, (W / 2, H / 2) is the middle.
        height: pixels.
        width: pixels.
        projection: "perspective" or "orthographic".
        near: metres; what is nearer is not projected (perspective only).
    """

    rotation: Tensor
    position: Tensor
    focal: Tensor
    centre: Tensor
    height: int
    width: int
    projection: Projection = "perspective"
    near: float = 1e-3

    def __post_init__(self) -> None:
        check_size(self.height, self.width)
        if self.projection not in get_args(Projection):
            raise ConfigError(f"projection {self.projection!r} is none of {', '.join(get_args(Projection))}")
        batch = self.rotation.shape[0] if self.rotation.ndim == 3 else -1
        for name, shape in (
            ("rotation", (batch, 3, 3)),
            ("position", (batch, 3)),
            ("focal", (batch, 2)),
            ("centre", (batch, 2)),
        ):
            got = tuple(getattr(self, name).shape)
            if batch < 1 or got != shape:
                raise ConfigError(f"camera {name} must be (B, {', '.join(map(str, shape[1:]))}), got {got}")
        if not self.near > 0:
            raise ConfigError(f"near must be above 0, got {self.near}")

    @classmethod
    def look_at(
        cls,
        eye: Tensor,
        target: Tensor,
        *,
        focal: float | Tensor,
        height: int,
        width: int,
        up: tuple[float, float, float] = (0.0, 1.0, 0.0),
        projection: Projection = "perspective",
        near: float = 1e-3,
    ) -> Camera:
        """A camera at ``eye`` with ``target`` in the middle of the picture, no roll.

        Args:
            eye: (B, 3) or (3,) metres.
            target: (B, 3) or (3,) metres.
            focal: pixels (orthographic: pixels a metre), one for all, or (B, 2).
            height: pixels.
            width: pixels.
            up: what the picture shows upwards.
            projection: "perspective" or "orthographic".
            near: metres.

        Raises:
            ConfigError: eye and target coincide, or the view is along ``up``.
        """
        eye, target = torch.broadcast_tensors(torch.atleast_2d(eye), torch.atleast_2d(target))
        back = eye - target
        right = torch.linalg.cross(back.new_tensor(up).expand_as(back), back)
        if bool((right.norm(dim=-1) < 1e-6 * (1 + back.norm(dim=-1))).any()):
            raise ConfigError("look_at: eye and target coincide, or the view is along the up axis")
        z, x = torch.nn.functional.normalize(back, dim=-1), torch.nn.functional.normalize(right, dim=-1)
        rotation = torch.stack([x, torch.linalg.cross(z, x), z], -1)
        f = torch.as_tensor(focal, dtype=eye.dtype, device=eye.device).expand(len(eye), 2)
        return cls(rotation, eye, f, _middle(f, height, width), height, width, projection, near)

    @classmethod
    def from_opencv(
        cls, rotation: Tensor, translation: Tensor, intrinsics: Tensor, height: int, width: int
    ) -> Camera:
        """OpenCV's extrinsics and intrinsics: x_cam = R X + t with x right, y down, z forward.

        OpenCV counts pixels from the centre of the first one, so the principal point moves by + 0.5. World
        axes stay what they are. Lens distortion is not modelled: undistort first.

        Args:
            rotation: (B, 3, 3) world to camera.
            translation: (B, 3).
            intrinsics: (B, 3, 3) pixels.
            height: pixels.
            width: pixels.

        Raises:
            ConfigError: wrong shapes, or skew.
        """
        if (
            rotation.ndim != 3
            or translation.shape != rotation.shape[:2]
            or intrinsics.shape != rotation.shape
        ):
            raise ConfigError(
                "from_opencv takes rotation (B, 3, 3), translation (B, 3), intrinsics (B, 3, 3)"
            )
        _no_skew(intrinsics)
        world = rotation.transpose(-1, -2)
        position = -(world @ translation[..., None])[..., 0]
        focal = torch.stack([intrinsics[:, 0, 0], intrinsics[:, 1, 1]], -1)
        return cls(
            world * world.new_tensor(OPENCV_AXES), position, focal, intrinsics[:, :2, 2] + 0.5, height, width
        )

    @classmethod
    def from_eg3d(cls, c: Tensor, height: int, width: int) -> Camera:
        """EG3D's 25 numbers: row-major camera-to-world 4 x 4 (OpenCV axes), intrinsics over the picture size.

        Its world is ours: y up, a face looks along +z. Its pixel centres are at + 0.5, too.

        Args:
            c: (B, 25).
            height: pixels.
            width: pixels.

        Raises:
            ConfigError: another shape, or skew.
        """
        if c.ndim != 2 or c.shape[1] != 25:
            raise ConfigError(f"EG3D's camera is (B, 25), got {tuple(c.shape)}")
        pose, k = c[:, :16].reshape(-1, 4, 4), c[:, 16:].reshape(-1, 3, 3)
        _no_skew(k)
        size = c.new_tensor([width, height])
        focal = torch.stack([k[:, 0, 0], k[:, 1, 1]], -1) * size
        rotation = pose[:, :3, :3] * c.new_tensor(OPENCV_AXES)
        return cls(rotation, pose[:, :3, 3], focal, k[:, :2, 2] * size, height, width)

    @classmethod
    def from_unsup3d(
        cls, height: int, width: int, view: Tensor | None = None, fov: float = math.radians(10)
    ) -> Camera:
        """Unsup3D's pin-hole at the origin: f = (W - 1) / 2 / tan(fov / 2), c = ((W - 1) / 2, (H - 1) / 2).

        Its pixel (u, v) is a centre, hence + 0.5; its axes are x right, y down, z away from the camera, and
        the world of this camera keeps them: the canonical object is near (0, 0, 1). With a view the object
        moves: X -> R (X - c0) + c0 + T, c0 = (0, 0, 1), R = Rz Ry Rx.

        Args:
            height: pixels.
            width: pixels.
            view: (B, 6) rotations about x, y, z in radians, then translation x, y, z; None: canonical.
            fov: horizontal, radians.

        Raises:
            ConfigError: a view of another shape, or a field of view outside (0, pi).
        """
        if not 0 < fov < math.pi:
            raise ConfigError(f"fov must be within 0 and pi, got {fov}")
        view = torch.zeros(1, 6) if view is None else view
        if view.ndim != 2 or view.shape[1] != 6:
            raise ConfigError(f"a view is (B, 6), got {tuple(view.shape)}")
        f = (width - 1) / 2 / math.tan(fov / 2)
        k = view.new_tensor([[f, 0, (width - 1) / 2], [0, f, (height - 1) / 2], [0, 0, 1]])
        x, y, z = view[:, :3].unbind(-1)
        rotation = axis_rotation(z, 2) @ axis_rotation(y, 1) @ axis_rotation(x, 0)
        middle = view.new_tensor([0.0, 0.0, 1.0])
        translation = middle - rotation @ middle + view[:, 3:]
        return cls.from_opencv(rotation, translation, k.expand(len(view), 3, 3), height, width)

    def project(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """World points to NDC.

        Args:
            points: (B, N, 3) metres, or (N, 3) for all cameras.

        Returns:
            (B, N, 3) NDC, z affine on the screen: -1 / depth (perspective) or depth (orthographic); inf
            nearer than ``near``. (B, N) w for `interpolate`: depth, or 1 for orthographic views.

        Raises:
            ConfigError: another shape.
        """
        if points.ndim not in (2, 3) or points.shape[-1] != 3:
            raise ConfigError(f"points must be (B, N, 3) or (N, 3), got {tuple(points.shape)}")
        local = (points - self.position[:, None]) @ self.rotation
        x, y, depth = local[..., 0], local[..., 1], -local[..., 2]
        if self.projection == "perspective":
            ahead = depth > self.near
            w = torch.where(ahead, depth, torch.full_like(depth, self.near))
            z = torch.where(ahead, -1 / w, torch.full_like(w, torch.inf))
        else:
            w, z = torch.ones_like(depth), depth
        u = self.centre[:, None, 0] + self.focal[:, None, 0] * x / w
        v = self.centre[:, None, 1] - self.focal[:, None, 1] * y / w
        return torch.stack([u / self.width * 2 - 1, 1 - v / self.height * 2, z], -1), w

    def metric_depth(self, z: Tensor) -> Tensor:
        """Metres of a z map of `rasterize`: -1 / z, or z itself for orthographic views; inf stays inf."""
        if self.projection == "orthographic":
            return z
        empty = ~torch.isfinite(z)
        return torch.where(
            empty, torch.full_like(z, torch.inf), -1 / torch.where(empty, -torch.ones_like(z), z)
        )

    def unproject(self, depth: Tensor) -> Tensor:
        """World points (B, H, W, 3) of a metric depth map (B, H, W) of any resolution; nan where not finite.

        Raises:
            ConfigError: another shape.
        """
        if depth.ndim != 3:
            raise ConfigError(f"depth must be (B, H, W), got {tuple(depth.shape)}")
        x, y = self._plane(depth.shape[1], depth.shape[2])
        seen = torch.isfinite(depth)
        d = torch.where(seen, depth, torch.ones_like(depth))
        if self.projection == "perspective":
            x, y = x * d, y * d
        local = torch.stack([x.expand_as(d), y.expand_as(d), -d], -1)
        world = self._turn(local) + self.position[:, None, None]
        return torch.where(seen[..., None], world, torch.full_like(world, torch.nan))

    def rays(self, height: int | None = None, width: int | None = None) -> Rays:
        """Rays through the pixel centres, at the camera's resolution or another one of the same view.

        Distances along them are no depths: depth = distance x cosine to the optical axis. Orthographic rays
        start on the camera's plane.

        Raises:
            ConfigError: a size out of range.
        """
        height, width = height or self.height, width or self.width
        check_size(height, width)
        x, y = self._plane(height, width)
        zero, one = torch.zeros_like(x), torch.ones_like(x)
        if self.projection == "perspective":
            local = torch.nn.functional.normalize(torch.stack([x, y, -one], -1), dim=-1)
            directions = self._turn(local)
            return Rays(self.position[:, None, None].expand_as(directions), directions)
        origins = self._turn(torch.stack([x, y, zero], -1)) + self.position[:, None, None]
        return Rays(origins, self._turn(torch.stack([zero, zero, -one], -1)))

    def _turn(self, local: Tensor) -> Tensor:
        return torch.einsum("bij,bhwj->bhwi", self.rotation, local)

    def _plane(self, height: int, width: int) -> tuple[Tensor, Tensor]:
        """Camera x, y (B, H, W) of pixel centres: at depth 1, or in metres for orthographic views."""
        like = self.position
        u = (torch.arange(width, dtype=like.dtype, device=like.device) + 0.5) * (self.width / width)
        v = (torch.arange(height, dtype=like.dtype, device=like.device) + 0.5) * (self.height / height)
        x = (u - self.centre[:, :1]) / self.focal[:, :1]
        y = (self.centre[:, 1:] - v) / self.focal[:, 1:]
        shape = (len(x), height, width)
        return x[:, None, :].expand(shape), y[:, :, None].expand(shape)


def _middle(like: Tensor, height: int, width: int) -> Tensor:
    return like.new_tensor([width / 2, height / 2]).expand(len(like), 2)


def _no_skew(k: Tensor) -> None:
    if bool((k[:, 0, 1].abs() > 1e-6 * k[:, 0, 0].abs()).any()):
        raise ConfigError("intrinsics with skew (K[0, 1] != 0) are not supported; rectify the picture first")


def axis_rotation(angle: Tensor, axis: int) -> Tensor:
    """(B, 3, 3) right-handed rotations about x, y or z."""
    i, j = [(1, 2), (2, 0), (0, 1)][axis]
    c, s = torch.cos(angle), torch.sin(angle)
    rows = [[torch.zeros_like(c) for _ in range(3)] for _ in range(3)]
    rows[axis][axis] = torch.ones_like(c)
    rows[i][i], rows[j][j], rows[i][j], rows[j][i] = c, c, -s, s
    return torch.stack([torch.stack(r, -1) for r in rows], -2)
