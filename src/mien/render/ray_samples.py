"""Where rays are sampled: evenly with jitter, then where the first pass saw something."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mien.core.errors import ConfigError
from mien.render.plane_settings import Pdf


def stratified_depths(
    near: float | Tensor, far: float | Tensor, jitter: Tensor, *, disparity: bool = False
) -> Tensor:
    """N distances, one an interval: t_i = t0 + (t1 - t0) (i + U_i) / (N - 1), i = 0 .. N - 1. O(rays N).

    As released, the last lies up to one interval past t1. With ``disparity`` the same s of [0, 1] gives
    t = 1 / ((1 - s) / t0 + s / t1).

    Source: EG3D as released (`sample_stratified`).

    Args:
        near: t0, one or (..,).
        far: t1, one or (..,).
        jitter: (.., N) U of [0, 1).
        disparity: even in 1 / t; then t0 must be above 0.

    Raises:
        ConfigError: fewer than two samples.
    """
    count = jitter.shape[-1]
    if count < 2:
        raise ConfigError(f"stratified_depths needs two samples at least, got {count}")
    first, last = (
        torch.as_tensor(t, dtype=jitter.dtype, device=jitter.device)[..., None] for t in (near, far)
    )
    s = (torch.arange(count, dtype=jitter.dtype, device=jitter.device) + jitter) / (count - 1)
    return 1 / ((1 - s) / first + s / last) if disparity else first + (last - first) * s


def sample_pdf(edges: Tensor, weights: Tensor, u: Tensor) -> Tensor:
    """Inverse of the piecewise linear distribution function, at u. O(rays K log n).

    Weights get 1e-5 each; a bin whose share is below 1e-5 is divided by 1. No gradient passes.

    Source: NeRF's hierarchical sampling, as in EG3D's `sample_pdf`.

    Args:
        edges: (.., E) increasing, E > n; those after the first n + 1 are never reached.
        weights: (.., n), not negative.
        u: (.., K) of [0, 1].

    Returns:
        (.., K) positions.

    Raises:
        ConfigError: not more edges than weights.
    """
    if not 0 < weights.shape[-1] < edges.shape[-1]:
        raise ConfigError(f"{weights.shape[-1]} weights need more edges, got {edges.shape[-1]}")
    with torch.no_grad():
        mass = weights + 1e-5
        cdf = F.pad(torch.cumsum(mass / mass.sum(-1, keepdim=True), -1), (1, 0))
        u = u.to(cdf).expand(*cdf.shape[:-1], u.shape[-1]).contiguous()
        above = torch.searchsorted(cdf.contiguous(), u, right=True)
        below, above = (above - 1).clamp(min=0), above.clamp(max=weights.shape[-1])
        low, high = cdf.gather(-1, below), cdf.gather(-1, above)
        share = torch.where(high - low < 1e-5, torch.ones_like(low), high - low)
        first, last = edges.gather(-1, below), edges.gather(-1, above)
        return first + (u - low) / share * (last - first)


def smooth_weights(weights: Tensor) -> Tensor:
    """Each of the n weights becomes the mean of the two maxima with its neighbours, plus 0.01. O(n)."""
    flat = F.pad(weights.reshape(-1, 1, weights.shape[-1]), (1, 1))  # weights >= 0: zeros never win
    return F.avg_pool1d(F.max_pool1d(flat, 2, 1), 2, 1).reshape(weights.shape) + 0.01


def importance_depths(depths: Tensor, weights: Tensor, u: Tensor, *, pdf: Pdf = "exact") -> Tensor:
    """K distances drawn where the first pass has weight, after `smooth_weights`; no gradient. O(N + K) a ray.

    Departs from the paper: with "exact" the mass of each interval is drawn inside it (edges: the N samples).
    As released ("eg3d") the edges are the N - 1 midpoints and the weights the inner N - 3, so each interval's
    mass comes half an interval too near the camera.

    Args:
        depths: (.., N) increasing.
        weights: (.., N - 1) of the intervals.
        u: (.., K) of [0, 1].
        pdf: "exact" or "eg3d" (needs N >= 4).

    Raises:
        ConfigError: too few samples, or shapes that do not fit.
    """
    if weights.shape != (*depths.shape[:-1], depths.shape[-1] - 1):
        raise ConfigError(
            f"depths (.., N) need weights (.., N - 1), got {tuple(depths.shape)}, {tuple(weights.shape)}"
        )
    with torch.no_grad():
        smooth = smooth_weights(weights)
        if pdf == "exact":
            return sample_pdf(depths, smooth, u)
        return sample_pdf(0.5 * (depths[..., 1:] + depths[..., :-1]), smooth[..., 1:-1], u)
