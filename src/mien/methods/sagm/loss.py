"""The other algorithms' losses, as pure functions (DomainBed, Gulrajani & Lopez-Paz 2021).

Shapes: z logits (B, C); y targets (B,); f features (B, D); a list holds one tensor for each source domain.
"""

from __future__ import annotations

from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor


def coral_distance(features: list[Tensor]) -> Tensor:
    """Mean over pairs of domains of mse(mean) + mse(covariance) (Sun & Saenko 2016). O(pairs D^2)."""
    moments = [_moments(f) for f in features]
    pairs = list(combinations(moments, 2))
    if not pairs:
        return features[0].new_zeros(())
    total = torch.stack([((m - n) ** 2).mean() + ((c - d) ** 2).mean() for (m, c), (n, d) in pairs])
    return total.mean()


def _moments(f: Tensor) -> tuple[Tensor, Tensor]:
    mean = f.mean(0, keepdim=True)
    centred = f - mean
    return mean, centred.T @ centred / max(1, len(f) - 1)


def irm_penalty(z: Tensor, y: Tensor) -> Tensor:
    """Unbiased squared slope of the risk in a dummy scale of the logits (Arjovsky et al. 2019, IRMv1).

    d/ds CE(s z, y) at s = 1 is the mean of <softmax(z), z> - z_y; taken on the even and on the odd rows, and
    multiplied.
    """
    slope = (z.softmax(1) * z).sum(1) - z.gather(1, y[:, None])[:, 0]
    return slope[::2].mean() * slope[1::2].mean()


def groupdro_weights(q: Tensor, losses: Tensor, eta: float) -> Tensor:
    """The domains' next weights: q_d exp(eta L_d), normalised (Sagawa et al. 2020). (D,), (D,) -> (D,)."""
    return torch.softmax(q.log() + eta * losses.detach(), 0)


def mixup_pairs(domains: int, generator: torch.Generator) -> list[tuple[int, int]]:
    """Each domain with the next one in a random circle."""
    order = torch.randperm(domains, generator=generator).tolist()
    return [(a, order[(i + 1) % domains]) for i, a in enumerate(order)]


def mixed_cross_entropy(z: Tensor, y: Tensor, other: Tensor, lam: float) -> Tensor:
    """Lam CE(z, y) + (1 - lam) CE(z, other) for inputs mixed with lam (Zhang et al. 2018)."""
    return lam * F.cross_entropy(z, y) + (1 - lam) * F.cross_entropy(z, other)
