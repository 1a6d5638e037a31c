"""Training on rays: which pixels of which views, and what they show."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mien.render.camera import Rays
from mien.render.eg3d import rays_through
from mien.render.plane_settings import PlaneSettings
from mien.render.triplane import Decoder, RayRender, render_rays

MOUTH = slice(48, 68)
"""The mouth in the 68 points of iBUG."""
PARTS: tuple[slice | list[int], ...] = (
    MOUTH,
    [*range(17, 22), *range(36, 42)],
    [*range(22, 27), *range(42, 48)],
)
"""What expressions move: the mouth, and either eye with its brow."""


class TargetRays(NamedTuple):
    """K places in each of V views of B moments, and what is seen there; M = V K.

    Attributes:
        cameras: (B, V, 25).
        uv: (B, V, K, 2) in picture sides.
        rgb: (B, M, 3) in [-1, 1], on white.
        opacity: (B, M) 0 .. 1.
        depth: (B, M) distance along the ray, inf = background; NaN = not known.
    """

    cameras: Tensor
    uv: Tensor
    rgb: Tensor
    opacity: Tensor
    depth: Tensor

    def rays(self) -> Rays:
        """Origins and directions, (B, M, 3) each; differentiable in the cameras."""
        b = len(self.uv)
        rays = rays_through(self.cameras.flatten(0, 1), self.uv.flatten(0, 1))
        return Rays(*(x.reshape(b, -1, 3) for x in rays))


def project(points: Tensor, cameras: Tensor) -> Tensor:
    """Points (B, N, 3) seen by cameras (B, V, 25): x and y in picture sides, (B, V, N, 2). O(B V N).

    The inverse of `mien.render.eg3d.eg3d_rays`, without skew.
    """
    pose = cameras[..., :16].unflatten(-1, (4, 4))
    k = cameras[..., 16:].unflatten(-1, (3, 3))
    local = torch.einsum("bvni,bvij->bvnj", points[:, None] - pose[..., None, :3, 3], pose[..., :3, :3])
    xy = local[..., :2] / local[..., 2:]
    focal = torch.stack([k[..., 0, 0], k[..., 1, 1]], -1)
    seen: Tensor = xy * focal[..., None, :] + k[..., None, :2, 2]
    return seen


def box_mask(points: Tensor, size: int, margin: float = 0.03) -> Tensor:
    """Pixels in the box around points (.., N, 2) in picture sides: (.., S, S) bool. O(N + S^2).

    Args:
        points: x and y.
        size: S.
        margin: added on every side, picture sides.
    """
    at = (torch.arange(size, device=points.device) + 0.5) / size
    low, high = points.amin(-2) - margin, points.amax(-2) + margin
    x, y = ((at >= low[..., k, None]) & (at <= high[..., k, None]) for k in (0, 1))
    return y[..., :, None] & x[..., None, :]


def part_mask(points: Tensor, cameras: Tensor, size: int) -> Tensor:
    """(B, V, S, S) bool: in the boxes around mouth, and eyes with brows. O(B V S^2).

    Args:
        points: (B, 68, 3) landmarks.
        cameras: (B, V, 25).
        size: S.
    """
    seen = project(points, cameras)
    return torch.stack([box_mask(seen[:, :, part], size) for part in PARTS]).any(0)


def contrast(images: Tensor) -> Tensor:
    """|grey - mean grey around| of pictures (.., 3, S, S), the mean over a square of S / 14: (.., S, S).

    High on pupils, lids, lips and brows, low on skin. O(pixels).
    """
    grey = images.mean(-3)
    reach = max(1, grey.shape[-1] // 28)
    flat = grey.reshape(-1, 1, *grey.shape[-2:])
    mean = F.avg_pool2d(flat, 2 * reach + 1, 1, reach, count_include_pad=False)
    return (flat - mean).abs().reshape(grey.shape)


def pick_rays(
    images: Tensor,
    depth: Tensor,
    cameras: Tensor,
    points: Tensor,
    count: int,
    *,
    face: float,
    parts: float,
    detail: float = 0.0,
    where: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> TargetRays:
    """Random pixels of every view: shares on what is no background, and near mouth and eyes. O(B V S^2).

    A share of rays does what a weight of the loss would, with less noise.

    Args:
        images: (B, V, 4, S, S) in [0, 1], RGB on white and opacity.
        depth: (B, V, S, S) distance along the ray.
        cameras: (B, V, 25).
        points: (B, 68, 3) landmarks.
        count: rays of a view.
        face: share of them that fall where opacity > 0.
        parts: share that fall in the boxes of `part_mask`; the rest falls anywhere.
        detail: share that fall there in proportion to `contrast`.
        where: (B, V, S, S) bool instead of those boxes.
        generator: of random numbers.

    Returns:
        M = V count rays of each of the B moments.
    """
    b, v, _, size, _ = images.shape
    device = generator.device if generator is not None else images.device
    solid = images[:, :, 3].flatten(2)
    if where is None:
        asked = parts or detail
        where = part_mask(points, cameras, size) if asked else torch.zeros_like(depth, dtype=torch.bool)
    near = where.flatten(2)
    chance = torch.full_like(solid, max(0.0, 1 - face - parts - detail) / size**2)
    for share, own in ((face, solid > 0), (parts, near)):
        chance = chance + share * own / own.sum(-1, keepdim=True).clamp(min=1)
    if detail:
        strong = contrast(images[:, :, :3]).flatten(2) * near
        chance = chance + detail * strong / strong.sum(-1, keepdim=True).clamp(min=1e-6)
    chance = chance + torch.finfo(chance.dtype).tiny  # a view may show none of them
    pick = torch.multinomial(chance.flatten(0, 1).to(device), count, generator=generator)
    pick = pick.view(b, v, count).to(images.device)

    def chosen(x: Tensor) -> Tensor:
        return x.gather(2, pick).flatten(1)

    uv = (torch.stack([pick % size, pick // size], -1) + 0.5) / size
    rgb = images[:, :, :3].flatten(3).transpose(2, 3).gather(2, pick[..., None].expand(-1, -1, -1, 3))
    return TargetRays(cameras, uv, 2 * rgb.flatten(1, 2) - 1, chosen(solid), chosen(depth.flatten(2)))


def look(
    planes: Tensor,
    decoder: Decoder,
    target: TargetRays,
    settings: PlaneSettings,
    samples: int,
    generator: torch.Generator | None = None,
) -> RayRender:
    """What the field shows along the target's rays, half of the samples even, half where those saw something.

    The true surface must not say where to look: places along a ray would then tell the field what to show.
    O(B M samples (C + decoder)).

    Args:
        planes: (B, 3, C, P, P).
        decoder: of plane features.
        target: the rays.
        settings: conventions.
        samples: of a ray.
        generator: of random places; None = fixed ones.
    """
    few = replace(settings, coarse=samples - samples // 2, fine=samples // 2, chunk=1 << 20)
    fixed = generator is None
    return render_rays(planes, decoder, *target.rays(), few, deterministic=fixed, generator=generator)


def ray_loss(out: RayRender, target: TargetRays, squared: float = 0.0) -> Tensor:
    """(B,) mean over rays of |d| + q d^2, d = rgb - target, |d| as sqrt(d^2 + 0.02^2).

    |d| alone asks for the median: of what is small and moves about, as an eye, nothing may be left.

    Args:
        out: what is drawn.
        target: what is seen.
        squared: q.
    """
    d2 = (out.features[..., :3] - target.rgb).square()
    return ((d2 + 4e-4).sqrt() + squared * d2).mean((1, 2))


def shape_loss(out: RayRender, target: TargetRays) -> tuple[Tensor, Tensor]:
    """Opacity: mean (W - alpha)^2; distance: mean |d - target| where the target is solid."""
    opacity = F.mse_loss(out.opacity, target.opacity)
    solid = target.depth.isfinite() & (target.opacity > 0.99)
    off = (out.depth - target.depth.nan_to_num(posinf=0.0)).abs()
    return opacity, (off * solid).sum() / solid.sum().clamp(min=1)
