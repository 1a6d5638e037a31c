"""Training on rays: which pixels of which views, what they show, and where along them to look."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mien.render.camera import Rays
from mien.render.eg3d import rays_through
from mien.render.plane_settings import PlaneSettings
from mien.render.ray_samples import importance_depths
from mien.render.triplane import Decoder, RayRender, density, query_planes, render_at
from mien.render.volume import march

MOUTH, RIGHT_EYE, LEFT_EYE = slice(48, 68), slice(36, 42), slice(42, 48)
"""The parts in the 68 points of iBUG."""


class TargetRays(NamedTuple):
    """K places in each of V views of B moments, and what is seen there; M = V K.

    Attributes:
        cameras: (B, V, 25).
        uv: (B, V, K, 2) in picture sides.
        rgb: (B, M, 3) in [-1, 1], on white.
        opacity: (B, M) 0 .. 1.
        depth: (B, M) distance along the ray, inf = background; NaN = not known.
        weight: (B, M): more near mouth and eyes; mean about 1.
    """

    cameras: Tensor
    uv: Tensor
    rgb: Tensor
    opacity: Tensor
    depth: Tensor
    weight: Tensor

    def rays(self) -> Rays:
        """Origins and directions, (B, M, 3) each; differentiable in the cameras."""
        b, v = self.uv.shape[:2]
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
    return xy * k[..., None, (0, 1), (0, 1)] + k[..., None, :2, 2]


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


def part_weights(points: Tensor, cameras: Tensor, size: int, local: float, margin: float = 0.03) -> Tensor:
    """(B, V, S, S): 1 + local inside the boxes around mouth and eyes, else 1, over the mean. O(B V S^2).

    Args:
        points: (B, 68, 3) landmarks.
        cameras: (B, V, 25).
        size: S.
        local: weight of the parts over that of the rest.
        margin: around the points of a part, picture sides.
    """
    seen = project(points, cameras)
    boxes = [box_mask(seen[:, :, part], size, margin) for part in (MOUTH, RIGHT_EYE, LEFT_EYE)]
    inside = torch.stack(boxes).any(0)
    weight = 1 + local * inside.float()
    return weight / weight.mean((2, 3), keepdim=True)


def pick_rays(
    images: Tensor,
    depth: Tensor,
    cameras: Tensor,
    points: Tensor,
    count: int,
    *,
    face: float,
    local: float,
    generator: torch.Generator | None = None,
) -> TargetRays:
    """Random pixels of every view, a share of them on what is no background. O(B V S^2).

    Args:
        images: (B, V, 4, S, S) in [0, 1], RGB on white and opacity.
        depth: (B, V, S, S) distance along the ray.
        cameras: (B, V, 25).
        points: (B, 68, 3) landmarks.
        count: rays of a view.
        face: share of them that fall where opacity > 0.
        local: as `part_weights`.
        generator: of random numbers.

    Returns:
        M = V count rays of each of the B moments.
    """
    b, v, _, size, _ = images.shape
    device = generator.device if generator is not None else images.device
    solid = images[:, :, 3].flatten(2)
    chance = (1 - face) / size**2 + face * (solid > 0) / (solid > 0).sum(-1, keepdim=True).clamp(min=1)
    pick = torch.multinomial(chance.flatten(0, 1).to(device), count, generator=generator)
    pick = pick.view(b, v, count).to(images.device)
    weight = part_weights(points, cameras, size, local).flatten(2)

    def chosen(x: Tensor) -> Tensor:
        return x.gather(2, pick).flatten(1)

    uv = (torch.stack([pick % size, pick // size], -1) + 0.5) / size
    rgb = images[:, :, :3].flatten(3).transpose(2, 3).gather(2, pick[..., None].expand(-1, -1, -1, 3))
    return TargetRays(
        cameras,
        uv,
        2 * rgb.flatten(1, 2) - 1,
        chosen(solid),
        chosen(depth.flatten(2)),
        chosen(weight),
    )


def guided_distances(
    target: TargetRays,
    near: float,
    far: float,
    count: int,
    spread: float = 0.03,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Distances (B, M, count) to look at: half evenly, half around the known surface; even on background.

    It takes the place of a first pass while training: the truth says where the second one should look.
    O(B M count log count).

    Args:
        target: with depth.
        near: first distance.
        far: last distance.
        count: of a ray.
        spread: standard deviation around the surface.
        generator: of random numbers.
    """
    shape = target.depth.shape
    device = generator.device if generator is not None else target.depth.device
    u = torch.rand(*shape, count, generator=generator, device=device).to(target.depth)
    even = count // 2

    def stratified(v: Tensor) -> Tensor:
        n = v.shape[-1]
        return near + (far - near) * (torch.arange(n, device=v.device) + v) / n

    known = target.depth[..., None].isfinite()
    around = (
        target.depth[..., None].nan_to_num(posinf=0.0)
        + spread * torch.erfinv((2 * u[..., even:] - 1).clamp(-0.999, 0.999)) * 2**0.5
    )
    more = torch.where(known, around.clamp(near, far), stratified(u[..., even:]))
    return torch.cat([stratified(u[..., :even]), more], -1).sort(-1).values


@torch.no_grad()
def searched_distances(
    planes: Tensor,
    decoder: Decoder,
    target: TargetRays,
    settings: PlaneSettings,
    count: int,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Distances (B, M, count) to look at, where nothing is known of the surface: half evenly, half where those
    saw something. O(B M count (C + decoder)).

    Args:
        planes: (B, 3, C, P, P).
        decoder: of plane features.
        target: the rays.
        settings: with ``limits`` as two numbers.
        count: of a ray, at least 8.
        generator: of random numbers.
    """
    near, far = settings.limits
    origins, directions = target.rays()
    device = generator.device if generator is not None else planes.device
    u = torch.rand(*origins.shape[:2], count, generator=generator, device=device).to(planes)
    even = count // 2
    t = near + (far - near) * (torch.arange(even, device=planes.device) + u[..., :even]) / even
    points = origins[:, :, None] + t[..., None] * directions[:, :, None]
    sigma = query_planes(planes, decoder, points.flatten(1, 2), settings)[0][..., 0].view(t.shape)
    weights = march(sigma, sigma[..., None], t, density=lambda s: density(s, settings.density_scale)).weights
    return torch.cat([t, importance_depths(t, weights, u[..., even:], pdf="exact")], -1).sort(-1).values


def look(
    planes: Tensor, decoder: Decoder, target: TargetRays, distances: Tensor, settings: PlaneSettings
) -> RayRender:
    """What the field shows along the target's rays."""
    return render_at(planes, decoder, *target.rays(), distances, settings)


def ray_loss(out: RayRender, target: TargetRays) -> Tensor:
    """Mean over samples (B,) of weight |rgb - target|, Charbonnier with 0.02."""
    error = ((out.features[..., :3] - target.rgb).square() + 4e-4).sqrt().mean(-1)
    return (error * target.weight).mean(1)


def shape_loss(out: RayRender, target: TargetRays) -> tuple[Tensor, Tensor]:
    """Opacity: mean (W - alpha)^2; distance: mean |d - target| where the target is solid."""
    opacity = F.mse_loss(out.opacity, target.opacity)
    solid = target.depth.isfinite() & (target.opacity > 0.99)
    off = (out.depth - target.depth.nan_to_num(posinf=0.0)).abs()
    return opacity, (off * solid).sum() / solid.sum().clamp(min=1)
