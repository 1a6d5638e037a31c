"""Fields on three feature planes, and the two-pass rendering of them.

A point reads three planes, a small decoder turns the mean into raw density and features, and the mid-point
marcher adds them up along the ray. `mien.render.triplane_fast` renders the same without gradients.

Source: Chan et al., Efficient geometry-aware 3D generative adversarial networks, 2022; where article and
released code differ the settings name both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from mien.core.errors import ConfigError
from mien.render.eg3d import box_limits, eg3d_rays
from mien.render.plane_settings import AXES, PlaneAxes, PlaneSettings
from mien.render.ray_samples import importance_depths, stratified_depths
from mien.render.volume import march

DEFAULTS = PlaneSettings()


class Decoder(Protocol):
    """What turns plane features into a field: a `PlaneDecoder`, or any module of this call."""

    def __call__(self, x: Tensor, /) -> tuple[Tensor, Tensor]:
        """Raw density (B, M, 1) and features (B, M, F) of plane features (B, M, C)."""


class PlaneDecoder(NamedTuple):
    """The decoder by its weights: y = W2 softplus(W1 x + b1) + b2, sigma = y_0, features 1.002 s(y) - 0.001.

    Calling it is differentiable; the fast path reads the weights. Gains of equalised learning rates are
    multiplied in already.

    Attributes:
        w1: (H, C).
        b1: (H,).
        w2: (1 + F, H).
        b2: (1 + F,).
    """

    w1: Tensor
    b1: Tensor
    w2: Tensor
    b2: Tensor

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Raw density (.., 1) and features (.., F) within (-0.001, 1.001) of plane features (.., C)."""
        return self.head(F.linear(x, self.w1))

    def head(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The rest of the decoder, of W1 x (.., H)."""
        y = F.linear(F.softplus(x + self.b1), self.w2, self.b2)
        return y[..., :1], torch.sigmoid(y[..., 1:]) * 1.002 - 0.001


class RayRender(NamedTuple):
    """What M rays of B fields see.

    Attributes:
        features: (B, M, F) 2 C - 1; the first three are RGB in [-1, 1].
        depth: (B, M) mean distance along the ray; the largest of all samples where nothing is seen.
        opacity: (B, M) W, 0 .. 1.
    """

    features: Tensor
    depth: Tensor
    opacity: Tensor


class PlaneRender(NamedTuple):
    """Pictures of B fields.

    Attributes:
        rgb: (B, 3, H, W) in [-1, 1]: the first three features.
        features: (B, F, H, W), all of them.
        depth: (B, 1, H, W) distance along the ray.
        opacity: (B, 1, H, W) 0 .. 1.
    """

    rgb: Tensor
    features: Tensor
    depth: Tensor
    opacity: Tensor


def project_to_planes(points: Tensor, axes: PlaneAxes = "corrected", box: float = 1.0) -> Tensor:
    """(u, v) of points (B, M, 3) on each plane, (B, 3, M, 2): two of the coordinates of 2 p / box.

    Example:
        >>> project_to_planes(torch.tensor([[[0.1, -0.2, 0.3]]]), "eg3d", 2.0)[0, 2, 0].tolist()
        [0.30000001192092896, 0.10000000149011612]
    """
    scaled = points * (2 / box)
    return torch.stack([torch.stack([scaled[..., k] for k in pair], -1) for pair in AXES[axes]], 1)


def sample_planes(planes: Tensor, uv: Tensor) -> Tensor:
    """Bilinear reads (B, 3, M, C) of planes (B, 3, C, P, P) at uv (B, 3, M, 2); O(B M C).

    u runs along the width, v along the height; texel j of P lies at (2 j + 1) / P - 1. Outside [-1, 1] the
    feature fades to 0 within half a texel.
    """
    b, k, c, height, width = planes.shape
    grid = uv.reshape(b * k, 1, -1, 2)
    read = F.grid_sample(
        planes.reshape(b * k, c, height, width), grid, padding_mode="zeros", align_corners=False
    )
    return read[:, :, 0].reshape(b, k, c, -1).transpose(2, 3)


def plane_features(planes: Tensor, points: Tensor, settings: PlaneSettings = DEFAULTS) -> Tensor:
    """The planes' features (B, M, C) at points (B, M, 3); O(B M C).

    Raises:
        ConfigError: planes that are not (B, 3, C, P, P), or points that do not fit them.
    """
    _check_planes(planes)
    if points.ndim != 3 or points.shape[-1] != 3 or points.shape[0] != planes.shape[0]:
        raise ConfigError(f"points must be ({len(planes)}, M, 3), got {tuple(points.shape)}")
    read = sample_planes(planes, project_to_planes(points, settings.axes, settings.box))
    return read.mean(1) if settings.aggregate == "mean" else read.sum(1)


def query_planes(
    planes: Tensor, decoder: Decoder, points: Tensor, settings: PlaneSettings = DEFAULTS
) -> tuple[Tensor, Tensor]:
    """Raw density (B, M, 1) and features (B, M, F) of the field at points (B, M, 3); O(B M (C + decoder)).

    Raises:
        ConfigError: shapes that do not fit.
    """
    return decoder(plane_features(planes, points, settings))


def density(sigma: Tensor, scale: float = 1.0) -> Tensor:
    """Optical density of raw density: scale softplus(sigma - 1), 1 / metre."""
    return scale * F.softplus(sigma - 1)


def render_planes(
    planes: Tensor,
    decoder: Decoder,
    camera: Tensor,
    resolution: int | tuple[int, int] = 64,
    settings: PlaneSettings = DEFAULTS,
    *,
    deterministic: bool = True,
    generator: torch.Generator | None = None,
) -> PlaneRender:
    """Pictures of tri-plane fields, one camera each; as `render_rays` of all pixels.

    Args:
        planes: (B, 3, C, P, P).
        decoder: of plane features.
        camera: (B, 25), `pack_camera`.
        resolution: pixels of a side, or height and width.
        settings: conventions and numbers of samples.
        deterministic: the same places on every call (no flicker between frames).
        generator: draws the places otherwise.

    Raises:
        ConfigError: shapes that do not fit.
    """
    rays = eg3d_rays(camera, resolution)
    height, width = rays.directions.shape[1:3]
    out = render_rays(
        planes,
        decoder,
        rays.origins.flatten(1, 2),
        rays.directions.flatten(1, 2),
        settings,
        deterministic=deterministic,
        generator=generator,
    )
    return as_pictures(out, height, width)


def as_pictures(out: RayRender, height: int, width: int) -> PlaneRender:
    """Rays, row by row, as pictures."""
    features = out.features.transpose(1, 2).unflatten(2, (height, width))
    depth, opacity = (x.unflatten(1, (height, width))[:, None] for x in (out.depth, out.opacity))
    return PlaneRender(features[:, :3], features, depth, opacity)


def render_rays(
    planes: Tensor,
    decoder: Decoder,
    origins: Tensor,
    directions: Tensor,
    settings: PlaneSettings = DEFAULTS,
    *,
    deterministic: bool = True,
    generator: torch.Generator | None = None,
) -> RayRender:
    """Two-pass rendering of rays: even samples, then more where those saw something, all marched together.

    Differentiable in planes, decoder and rays, not in where the second pass samples. Time O(B M S (C +
    decoder)), S = coarse + fine; without gradients the memory is O(B chunk S (C + F)) beside the result. What
    is drawn does not depend on the chunk.

    Source: EG3D as released; the depth of empty rays is the largest of the call's, as there.

    Args:
        planes: (B, 3, C, P, P).
        decoder: of plane features.
        origins: (B, M, 3) metres.
        directions: (B, M, 3) of length 1.
        settings: conventions and numbers of samples.
        deterministic: coarse samples at ``settings.jitter`` of their intervals, fine ones at even quantiles.
        generator: draws both otherwise.

    Raises:
        ConfigError: shapes that do not fit.
    """
    _check_planes(planes)
    if origins.shape != directions.shape or origins.ndim != 3 or origins.shape[0] != planes.shape[0]:
        raise ConfigError(
            f"rays must be ({len(planes)}, M, 3) twice, got {tuple(origins.shape)}, {tuple(directions.shape)}"
        )
    near, far = ray_limits(origins, directions, settings)
    if deterministic:
        jitter = near.new_full((1, 1, 1), settings.jitter).expand(*near.shape, settings.coarse)
        u = torch.linspace(0, 1, settings.fine, dtype=near.dtype, device=near.device)
        u = u.expand(*near.shape, settings.fine)
    else:
        jitter, u = (_uniform(near, count, generator) for count in (settings.coarse, settings.fine))
    parts, deepest = [], []
    for first in range(0, origins.shape[1], settings.chunk):
        at = slice(first, first + settings.chunk)
        t = stratified_depths(near[:, at], far[:, at], jitter[:, at], disparity=settings.disparity)
        part, last = _two_passes(planes, decoder, origins[:, at], directions[:, at], t, u[:, at], settings)
        parts.append(part)
        deepest.append(last)
    out = RayRender(*(torch.cat(x, 1) for x in zip(*parts, strict=True)))
    empty = out.opacity < torch.finfo(out.opacity.dtype).eps / 2
    return out._replace(depth=torch.where(empty, torch.stack(deepest).max(), out.depth))


def ray_limits(origins: Tensor, directions: Tensor, settings: PlaneSettings) -> tuple[Tensor, Tensor]:
    """First and last distance (B, M) of each ray, after ``settings.limits``.

    With "auto" rays that miss the box get the nearest and the farthest entry of those that hit (as released).
    """
    shape = directions.shape[:-1]
    if settings.limits != "auto":
        first, last = settings.limits
        return directions.new_full(shape, first), directions.new_full(shape, last)
    near, far = box_limits(origins, directions, settings.box)
    hit = far > near
    if not bool(hit.any()):  # Paper is silent: no ray of the call meets the box
        return directions.new_zeros(shape), directions.new_ones(shape)
    return torch.where(hit, near, near[hit].min()), torch.where(hit, far, near[hit].max())


def _uniform(like: Tensor, count: int, generator: torch.Generator | None) -> Tensor:
    device = like.device if generator is None else generator.device
    return torch.rand(*like.shape, count, generator=generator, dtype=like.dtype, device=device).to(
        like.device
    )


def _two_passes(
    planes: Tensor,
    decoder: Decoder,
    origins: Tensor,
    directions: Tensor,
    t: Tensor,
    u: Tensor,
    settings: PlaneSettings,
) -> tuple[RayRender, Tensor]:
    """One chunk: the rays, and the farthest sample."""

    def field(at: Tensor) -> tuple[Tensor, Tensor]:
        return _along(planes, decoder, origins, directions, at, settings)

    sigma, features = field(t)
    if settings.fine:
        with torch.no_grad():
            weights = march(sigma, sigma[..., None], t, density=_density(settings)).weights
        more = importance_depths(t.detach(), weights, u, pdf=settings.pdf)
        sigma_more, features_more = field(more)
        t, order = torch.cat([t, more], -1).sort(-1)
        sigma = torch.cat([sigma, sigma_more], -1).gather(-1, order)
        features = torch.cat([features, features_more], -2)
        features = features.gather(-2, order[..., None].expand(features.shape))
    return _marched(sigma, features, t, settings), t.detach().max()


def _along(
    planes: Tensor, decoder: Decoder, origins: Tensor, directions: Tensor, t: Tensor, settings: PlaneSettings
) -> tuple[Tensor, Tensor]:
    """Raw density (B, M, S) and features (B, M, S, F) at distances along rays."""
    points = origins[:, :, None] + t[..., None] * directions[:, :, None]
    sigma, features = query_planes(planes, decoder, points.flatten(1, 2), settings)
    return sigma[..., 0].reshape(t.shape), features.reshape(*t.shape, -1)


def _marched(sigma: Tensor, features: Tensor, t: Tensor, settings: PlaneSettings) -> RayRender:
    white = 1.0 if settings.white_back else None
    out = march(sigma, features, t, density=_density(settings), background=white)
    return RayRender(2 * out.rgb - 1, out.depth, out.weights.sum(-1))


def _density(settings: PlaneSettings) -> Callable[[Tensor], Tensor]:
    return lambda sigma: density(sigma, settings.density_scale)


def _check_planes(planes: Tensor) -> None:
    if planes.ndim != 5 or planes.shape[1] != 3:
        raise ConfigError(f"planes must be (B, 3, C, P, P), got {tuple(planes.shape)}")
