"""Losses of IGC-Net: pure functions of pictures and of layers' visibilities in the input view.

Those of the picture are Unsup3D's, semantic basis and concentration are those of SCOPS (Hung et al., arXiv
1905.01298), both from released code; the others are part of the reconstruction.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien.methods.igc_net.features import pyramid_features
from mien.render.canonical import resample

_TINY = 1e-7
TURN_SCALE = 0.25  # radians
LEAST_TURNED = 0.25
_FLOOR = 1e-3  # of a part's density


def masked_mean(values: Tensor, mask: Tensor | None) -> Tensor:
    """Mean of (B, C, H, W) where a mask (B, H, W) is set; the mask gets no gradient, and may be empty."""
    if mask is None:
        return values.mean()
    weight = mask.detach()[:, None].to(values.dtype).expand_as(values)
    return (values * weight).sum() / weight.sum().clamp_min(1.0)


def photometric_loss(
    pred: Tensor, target: Tensor, sigma: Tensor | None = None, mask: Tensor | None = None
) -> Tensor:
    """Mean of sqrt(2) |pred - target| / sigma + ln sigma: a Laplace density, its constant dropped. O(B H W).

    Args:
        pred: (B, 3, H, W).
        target: (B, 3, H, W).
        sigma: (B, 1, H, W) deviations; None: the mean of |pred - target|.
        mask: (B, H, W) where pixels count.
    """
    error = (pred - target).abs()
    if sigma is not None:
        error = math.sqrt(2) * error / (sigma + _TINY) + (sigma + _TINY).log()
    return masked_mean(error, mask)


def perceptual_loss(
    pred: Tensor,
    target: Tensor,
    features: Callable[[Tensor], Sequence[Tensor]] = pyramid_features,
    sigma: Tensor | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Difference of features, mean over their maps.

    With sigma e / (2 sigma^2) + ln sigma, e the squared difference; without it the absolute difference.

    Args:
        pred: (B, 3, H, W).
        target: (B, 3, H, W).
        features: from pictures to maps (B, C, h, w), of a trained network or those of `pyramid_features`.
        sigma: (B, 1, h', w'), resampled to each map.
        mask: (B, H, W) where pixels count, averaged for each map.
    """
    terms = []
    for f, g in zip(features(pred), features(target), strict=True):
        size = (f.shape[-2], f.shape[-1])
        if sigma is None:
            error = (f - g).abs()
        else:
            s = F.adaptive_avg_pool2d(sigma, size)
            error = (f - g).square() / (2 * s.square() + _TINY) + (s + _TINY).log()
        weight = None if mask is None else F.adaptive_avg_pool2d(mask.to(f.dtype)[:, None], size)[:, 0]
        terms.append(masked_mean(error, weight))
    return torch.stack(terms).mean()


def semantic_consistency_loss(parts: Tensor, features: Tensor, basis: Tensor, mask: Tensor) -> Tensor:
    """Mean of (sum_m V_m w_m - Phi)^2 over foreground and channels. O(B M C H W).

    Args:
        parts: (B, M, H, W) V of the parts, without the background.
        features: (B, C, H, W) Phi, fixed.
        basis: (M, C) w, non-negative; a row is what its part looks like.
        mask: (B, H, W) foreground.
    """
    explained = torch.einsum("bmhw,mc->bchw", parts, basis)
    return masked_mean((explained - features.detach()).square(), mask)


class SemanticBasis(nn.Module):
    """What each of M parts looks like in C features: |w|, learned.

    >>> SemanticBasis(6, 24)().shape
    torch.Size([6, 24])
    """

    def __init__(self, parts: int, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(parts, channels) / 2)

    def forward(self) -> Tensor:
        """(M, C), non-negative."""
        return self.weight.abs()


def orthogonality(basis: Tensor) -> Tensor:
    """||W W^T - I||_F^2 of the rows (M, C), normalised."""
    w = F.normalize(basis, dim=1)
    return (w @ w.mT - torch.eye(len(w), dtype=w.dtype, device=w.device)).square().sum()


def concentration_loss(parts: Tensor) -> Tensor:
    """sum_m Var_x + Var_y of each part's density, in half sides squared; mean over B. O(B M H W).

    Density: V + 1e-3 over its sum. The released code divides by the batch twice; here once.

    Args:
        parts: (B, M, H, W).
    """
    density = parts + _FLOOR
    density = density / density.sum((2, 3), keepdim=True)
    total = parts.new_zeros(len(parts))
    for axis, along in ((2, density.sum(3)), (3, density.sum(2))):
        at = torch.linspace(-1, 1, parts.shape[axis], dtype=parts.dtype, device=parts.device)
        mean = (along * at).sum(-1, keepdim=True)
        total = total + (along * (at - mean).square()).sum((1, 2))
    return total.mean()


def background_loss(foreground: Tensor, guess: Tensor) -> Tensor:
    """Cross-entropy of a foreground share in [0, 1] and a guess, both (B, H, W)."""
    return F.binary_cross_entropy(foreground.clamp(1e-4, 1 - 1e-4), guess)


def silhouette_loss(foreground: Tensor, guess: Tensor, view: Tensor) -> Tensor:
    """`background_loss` in which a turned face counts less where it is guessed. O(B H W).

    A front map cannot show the side of a head. Were its silhouette to count as much there, every face would
    be seen from the front. Weight exp(-(yaw^2 + pitch^2) / (2 s^2)), s = `TURN_SCALE`, at least
    `LEAST_TURNED`.

    Source: reconstruction.

    Args:
        foreground: (B, H, W) in [0, 1].
        guess: (B, H, W) in {0, 1}.
        view: (B, 6), gets no gradient.
    """
    turn = view[:, :2].detach().square().sum(1)[:, None, None]
    weight = (-turn / (2 * TURN_SCALE**2)).exp().clamp_min(LEAST_TURNED)
    error = F.binary_cross_entropy(foreground.clamp(1e-4, 1 - 1e-4), guess, reduction="none")
    return (torch.where(guess > 0.5, weight, 1.0) * error).mean()


def view_prior(view: Tensor, spread: float) -> Tensor:
    """What is known of views in a crowd: yaw spreads, and pitch is about 0 on average. O(B).

    (max(0, spread - rms yaw) / spread)^2 + (mean pitch / spread)^2. Without it turns are found too small: a
    front map explains the side of a head badly, so less of it is asked for.

    Source: reconstruction.

    Args:
        view: (B, 6).
        spread: least root mean square of yaw, radians, above 0.
    """
    rms = (view[:, 1].square().mean() + _TINY).sqrt()
    return ((spread - rms).clamp_min(0) / spread).square() + (view[:, 0].mean() / spread).square()


def dome_prior(beside: Tensor, near: float, like: float) -> Tensor:
    """Near mean e^2 + like mean |grad e|^2 of the distance e = D - D0 (B, H, W) from a dome. O(B H W)."""
    slopes = beside.diff(dim=1).square().mean() + beside.diff(dim=2).square().mean()
    return near * beside.square().mean() + like * slopes


def area_prior(foreground: Tensor, low: float = 0.2, high: float = 0.8) -> Tensor:
    """By how much the mean foreground (B, H, W) leaves [low, high], mean over B."""
    area = foreground.mean((1, 2))
    return ((low - area).clamp_min(0) + (area - high).clamp_min(0)).mean()


def presence_entropy(visibility: Tensor) -> Tensor:
    """Mean over pixels of -sum_l V_l ln V_l, V (B, L, H, W)."""
    entropy: Tensor = torch.special.entr(visibility.clamp_min(0)).sum(1).mean()
    return entropy


def depth_smoothness(depth: Tensor, depth_range: float) -> Tensor:
    """Mean of |D[v, u + 1] - D[v, u]| and |D[v + 1, u] - D[v, u]| over d_max - d_min. D is (B, H, W)."""
    return (depth.diff(dim=1).abs().mean() + depth.diff(dim=2).abs().mean()) / (2 * depth_range)


def random_warp(
    batch: int, size: int, rng: torch.Generator, *, turn: float = 0.2, shift: float = 0.1, bend: float = 0.05
) -> Tensor:
    """Grids (B, S, S, 2) of small random affine maps with a smooth bending, for `resample`.

    Rotation within ``turn`` radians, scale within ``turn`` of 1, shift in half sides; bending: displacements
    N(0, bend^2) of 4 x 4 points, between them bicubic.
    """
    device = rng.device
    angle, grow = (turn * (2 * torch.rand(2, batch, generator=rng, device=device) - 1)).unbind(0)
    moved = shift * (2 * torch.rand(batch, 2, generator=rng, device=device) - 1)
    c, s = angle.cos() * (1 + grow), angle.sin() * (1 + grow)
    theta = torch.stack([torch.stack([c, -s, moved[:, 0]], 1), torch.stack([s, c, moved[:, 1]], 1)], 1)
    grid = F.affine_grid(theta, [batch, 1, size, size], align_corners=True)
    bent = bend * torch.randn(batch, 2, 4, 4, generator=rng, device=device)
    smooth: Tensor = F.interpolate(bent, (size, size), mode="bicubic", align_corners=True)
    return grid + smooth.movedim(1, -1)


def equivariance_loss(of_warped: Tensor, visibility: Tensor, grid: Tensor) -> Tensor:
    """Mean of (V(T I) - T V(I))^2 where T I shows the picture. O(B L H W).

    Args:
        of_warped: (B, L, H, W) visibilities of the warped pictures.
        visibility: (B, L, H, W) of the pictures.
        grid: (B, H, W, 2) of T.
    """
    inside = (grid.abs() <= 1).all(-1)
    return masked_mean((of_warped - resample(visibility, grid)).square(), inside)
