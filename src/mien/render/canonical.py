"""A picture as a canonical depth map that is lit, turned and seen through a narrow pin-hole; for CPUs, too.

Frame: x right, y down, z away from the camera; the object is near (0, 0, 1). A point is
P = d K^-1 (u, v, 1), f = (S - 1) / 2 / tan(fov / 2), c = (S - 1) / 2. A view moves it to
W(P) = R (P - c0) + c0 + T, c0 = (0, 0, 1), R = Rz Ry Rx. Grids are those of `grid_sample` with
align_corners=True, because c is (S - 1) / 2: -1 and 1 are the centres of the outer pixels.

Source: Wu et al., Unsup3D (arXiv 1911.11130), from its released code. That code draws the warped depth as a
mesh on a GPU; here it is splatted, or found as a fixed point.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from mien.core.errors import ConfigError, ShapeError
from mien.render.camera import axis_rotation

Warp = Literal["fixed_point", "splat"]
ROUNDS = 6
SOFTNESS = 0.01  # of the splat: what lies this much behind the nearest point counts 1 / e
_TINY = 1e-7
_STEP, _FOLD = 1e-4, 0.8
_EDGE = 1e-4  # of a grid: rounding does not put a border pixel outside


def view_transform(view: Tensor) -> tuple[Tensor, Tensor]:
    """R = Rz Ry Rx (B, 3, 3) and T (B, 3) of views (B, 6): rotations x, y, z in radians, translation."""
    if view.ndim != 2 or view.shape[1] != 6:
        raise ShapeError(f"a view is (B, 6), got {tuple(view.shape)}")
    x, y, z = view[:, :3].unbind(-1)
    return axis_rotation(z, 2) @ axis_rotation(y, 1) @ axis_rotation(x, 0), view[:, 3:]


def pixel_rays(size: int, fov_deg: float, like: Tensor) -> Tensor:
    """K^-1 (u, v, 1) of all pixels, (S, S, 3)."""
    reach = math.tan(math.radians(fov_deg) / 2)
    at = torch.linspace(-reach, reach, size, dtype=like.dtype, device=like.device)
    y, x = torch.meshgrid(at, at, indexing="ij")
    return torch.stack([x, y, torch.ones_like(x)], -1)


def _middle(points: Tensor) -> Tensor:
    return points.new_tensor([0.0, 0.0, 1.0])


def moved(points: Tensor, rotation: Tensor, translation: Tensor) -> Tensor:
    """W(P) = R (P - c0) + c0 + T of points (B, .., 3)."""
    flat = (points - _middle(points)).flatten(1, -2) @ rotation.mT
    return (flat + translation[:, None] + _middle(points)).view_as(points)


def moved_back(points: Tensor, rotation: Tensor, translation: Tensor) -> Tensor:
    """W^-1(P) = R^T (P - c0 - T) + c0 of points (B, .., 3)."""
    flat = (points - _middle(points)).flatten(1, -2) - translation[:, None]
    return (flat @ rotation + _middle(points)).view_as(points)


def grid_normals(points: Tensor) -> Tensor:
    """Unit normals (B, H, W, 3) of a grid of points (B, H, W, 3). O(B H W).

    n = t_u x t_v / (|t_u x t_v| + 1e-7), t_u = P[v, u + 1] - P[v, u - 1], t_v = P[v + 1, u] - P[v - 1, u];
    (0, 0, 1), away from the camera, on the border.
    """
    t_u = points[:, 1:-1, 2:] - points[:, 1:-1, :-2]
    t_v = points[:, 2:, 1:-1] - points[:, :-2, 1:-1]
    n = torch.linalg.cross(t_u, t_v, dim=-1)
    n = n / (n.norm(dim=-1, keepdim=True) + _TINY)
    border = _middle(points).expand_as(points).clone()
    border[:, 1:-1, 1:-1] = n
    return border


def lambert(normals: Tensor, ambient: Tensor, diffuse: Tensor, direction: Tensor) -> Tensor:
    """k_s + k_d max(0, <n, l>), (B, H, W). O(B H W).

    Args:
        normals: (B, H, W, 3) unit, away from the camera like the light's direction.
        ambient: (B,) k_s.
        diffuse: (B,) k_d.
        direction: (B, 3) unit l.
    """
    facing = torch.einsum("bhwc,bc->bhw", normals, direction).clamp_min(0)
    return ambient[:, None, None] + diffuse[:, None, None] * facing


def _checked(depth: Tensor, size: int) -> Tensor:
    if depth.ndim != 3 or depth.shape[1:] != (size, size):
        raise ShapeError(f"depth must be (B, {size}, {size}), got {tuple(depth.shape)}")
    return depth


@dataclass(frozen=True)
class Renderer:
    """Camera, normals and views of canonical depth maps (B, S, S); differentiable, and holds no weights.

    Attributes:
        image_size: S, pixels.
        fov_deg: degrees.
        min_depth: of a canonical map, scene units.
        max_depth: of a canonical map.
        warp: how the depth of another view is found. "splat": a soft scatter of all points, for occlusions.
            "fixed_point": the iteration of `fixed_point_depth`, for smooth maps and small turns.

    Raises:
        ConfigError: a size below 3, a field of view or depths out of order, an unknown warp.

    >>> renderer = Renderer(16)
    >>> depth, view = torch.full((1, 16, 16), 1.0), torch.tensor([[0.0, 0.3, 0, 0, 0, 0]])
    >>> renderer.warp_canon_depth(depth, view).shape
    torch.Size([1, 16, 16])
    """

    image_size: int
    fov_deg: float = 10.0
    min_depth: float = 0.9
    max_depth: float = 1.1
    warp: Warp = "fixed_point"

    def __post_init__(self) -> None:
        if self.image_size < 3 or not 0 < self.fov_deg < 180 or not 0 < self.min_depth < self.max_depth:
            raise ConfigError(f"{self}: needs image_size >= 3, 0 < fov_deg < 180, 0 < min_depth < max_depth")
        if self.warp not in get_args(Warp):
            raise ConfigError(f"warp {self.warp!r} is none of {', '.join(get_args(Warp))}")

    @property
    def margin(self) -> float:
        """(d_max - d_min) / 2: a turned object may reach so far beyond both."""
        return (self.max_depth - self.min_depth) / 2

    @property
    def nothing(self) -> float:
        """Depth where no surface is seen, d_max + margin."""
        return self.max_depth + self.margin

    def depth_to_3d_grid(self, depth: Tensor) -> Tensor:
        """P = d K^-1 (u, v, 1), (B, S, S, 3)."""
        return _checked(depth, self.image_size)[..., None] * pixel_rays(self.image_size, self.fov_deg, depth)

    def grid_3d_to_2d(self, points: Tensor) -> Tensor:
        """Where points (.., 3) are seen, x right and y down in [-1, 1]: P_xy / P_z / tan(fov / 2)."""
        return points[..., :2] / (points[..., 2:] * math.tan(math.radians(self.fov_deg) / 2))

    def get_warped_3d_grid(self, depth: Tensor, view: Tensor) -> Tensor:
        """Points of a canonical map as a view (B, 6) moves them, (B, S, S, 3)."""
        return moved(self.depth_to_3d_grid(depth), *view_transform(view))

    def get_inv_warped_3d_grid(self, depth: Tensor, view: Tensor) -> Tensor:
        """Points of a map in the input view, moved back to the canonical frame, (B, S, S, 3)."""
        return moved_back(self.depth_to_3d_grid(depth), *view_transform(view))

    def get_inv_warped_2d_grid(self, depth: Tensor, view: Tensor) -> Tensor:
        """Where in the canonical picture each pixel of the input view comes from, (B, S, S, 2) in [-1, 1]."""
        return self.grid_3d_to_2d(self.get_inv_warped_3d_grid(depth, view))

    def get_normal_from_depth(self, depth: Tensor) -> Tensor:
        """Unit normals (B, S, S, 3), away from the camera."""
        return grid_normals(self.depth_to_3d_grid(depth))

    def warp_canon_depth(self, depth: Tensor, view: Tensor, presence: Tensor | None = None) -> Tensor:
        """Depth (B, S, S) in the input view of a canonical map; `nothing` where no surface is.

        Clamped to [d_min - margin, d_max + margin]. O(B S^2), times `ROUNDS` for the fixed point.

        Args:
            depth: (B, S, S) canonical.
            view: (B, 6).
            presence: (B, S, S) in [0, 1], how much of a surface there is at each canonical pixel; default 1.
                What is not there must not hide what is. The fixed point, which sees one layer, ignores it.
        """
        if self.warp == "splat":
            found = splat_depth(self, depth, view, presence)
        else:
            found = fixed_point_depth(self, depth, view)
        return found.clamp(self.min_depth - self.margin, self.nothing)

    def seen(self, depth: Tensor) -> Tensor:
        """(B, S, S) bool: where a warped map shows a surface."""
        return depth < self.nothing - _TINY

    def render_yaw(
        self, image: Tensor, depth: Tensor, angles: Sequence[float], view: Tensor | None = None
    ) -> Tensor:
        """A canonical picture turned about the vertical axis, (B, N, C, S, S), 0 beside it. O(N B C S^2).

        Args:
            image: (B, C, S, S).
            depth: (B, S, S) canonical.
            angles: N turns, radians, added to the rotation about y.
            view: (B, 6) to start from; default the canonical one.
        """
        start = depth.new_zeros(len(depth), 6) if view is None else view
        turns = []
        for angle in angles:
            turned = start + start.new_tensor([0, angle, 0, 0, 0, 0])
            there = self.warp_canon_depth(depth, turned)
            turns.append(
                resample(image, self.get_inv_warped_2d_grid(there, turned)) * self.seen(there)[:, None]
            )
        return torch.stack(turns, 1)


def resample(maps: Tensor, grid: Tensor) -> Tensor:
    """Maps (B, C, S, S) read bilinearly at a grid (B, S, S, 2) in [-1, 1]; 0 outside."""
    return F.grid_sample(maps, grid, padding_mode="zeros", align_corners=True)


def fixed_point_depth(renderer: Renderer, depth: Tensor, view: Tensor, rounds: int = ROUNDS) -> Tensor:
    """Depth in the input view, by repeating d' <- z(W(D[pi(W^-1(d' K^-1 p))])) from d' = 1.

    The canonical depth D is read where the pixel p would come from if its depth were d'; the point there is
    moved, and its z is the next d'. Implicit gradient: with F one round and k = dF/dd' by a difference, that
    of F over 1 - k, k held below `_FOLD`. Where a fold hides a part, any layer may come out.
    O(rounds B S^2).
    """
    rotation, translation = view_transform(view)
    rays = pixel_rays(renderer.image_size, renderer.fov_deg, depth)
    reach = math.tan(math.radians(renderer.fov_deg) / 2)

    def again(there: Tensor) -> tuple[Tensor, Tensor]:
        at = renderer.grid_3d_to_2d(moved_back(there[..., None] * rays, rotation, translation))
        d = F.grid_sample(depth[:, None], at, padding_mode="border", align_corners=True)[:, 0]
        points = torch.cat([at * reach, torch.ones_like(at[..., :1])], -1) * d[..., None]
        z = (points - _middle(points)) @ rotation[:, None, 2, :, None]
        return z[..., 0] + 1 + translation[:, 2, None, None], at

    with torch.no_grad():
        there = torch.ones_like(_checked(depth, renderer.image_size))
        for _ in range(rounds - 1):
            there, _ = again(there)
        slope = ((again(there + _STEP)[0] - again(there)[0]) / _STEP).clamp(-_FOLD, _FOLD)
    found, at = again(there)
    there = found.detach() + (found - found.detach()) / (1 - slope)
    outside = (at.detach().abs() > 1 + _EDGE).any(-1)
    return there.masked_fill(outside, renderer.nothing)


def splat_depth(renderer: Renderer, depth: Tensor, view: Tensor, presence: Tensor | None = None) -> Tensor:
    """Depth in the input view, by scattering the moved points. O(B S^2).

    A point with depth z adds z w to the four pixels around it, w = (bilinear share) exp(-(z - z_near) /
    SOFTNESS) and z_near the smallest of its picture; a pixel's depth is sum z w / sum w. A hole takes the
    mean of its 3 x 3 neighbours that are none; what then is still empty shows nothing.
    """
    size = renderer.image_size
    points = renderer.get_warped_3d_grid(depth, view).flatten(1, 2)
    z = points[..., 2]
    near = z.detach().amin(1, keepdim=True)
    closeness = (-(z - near) / SOFTNESS).exp()
    if presence is not None:
        closeness = closeness * presence.flatten(1)
    column, row = ((renderer.grid_3d_to_2d(points) + 1) / 2 * (size - 1)).unbind(-1)
    left, top = column.detach().floor(), row.detach().floor()
    sums = z.new_zeros(2, len(z), size * size)
    for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
        x, y = left + j, top + i
        inside = (x >= 0) & (x < size) & (y >= 0) & (y < size)
        share = (1 - (column - x).abs()) * (1 - (row - y).abs())
        w = torch.where(inside, share * closeness, 0.0)
        pixel = torch.where(inside, y * size + x, 0.0).long()
        sums = sums.scatter_add(2, pixel.expand(2, -1, -1), torch.stack([w * z, w]))
    weighted, weight = sums.view(2, -1, 1, size, size)
    there = weight.detach() > torch.finfo(z.dtype).tiny
    mean = torch.where(there, weighted / torch.where(there, weight, 1.0), 0.0)
    around, count = (F.avg_pool2d(x, 3, 1, 1) for x in (mean, there.to(z.dtype)))
    filled = torch.where(count > _TINY, around / count.clamp_min(_TINY), renderer.nothing)
    return torch.where(there, mean, filled)[:, 0]
