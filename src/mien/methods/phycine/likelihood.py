"""How well layered pictures explain what is seen, and what a posterior costs: the terms of the ELBO."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mien.core.errors import ConfigError, ShapeError
from mien.nn.softplus import softplus


def pixel_log_likelihood(x: Tensor, means: Tensor, sigma: float) -> Tensor:
    """Log-density N(x; mean, sigma^2) of each layer, pixel and channel: (..., K, 3, H, W). O(K H W).

    Args:
        x: (..., 3, H, W) in [0, 1].
        means: (..., K, 3, H, W).
        sigma: standard deviation of the noise.

    Raises:
        ConfigError: sigma not above 0.
        ShapeError: shapes that do not fit.
    """
    if not sigma > 0:
        raise ConfigError(f"sigma must be above 0, got {sigma}")
    if means.ndim != x.ndim + 1 or means.shape[:-4] + means.shape[-3:] != x.shape:
        raise ShapeError(
            f"x (..., 3, H, W) and means (..., K, 3, H, W): {tuple(x.shape)}, {tuple(means.shape)}"
        )
    return -((x.unsqueeze(-4) - means) ** 2) / (2 * sigma**2) - math.log(sigma * math.sqrt(2 * math.pi))


def mixture_nll(x: Tensor, means: Tensor, logits: Tensor, sigma: float = 0.1, joint: bool = True) -> Tensor:
    """-log p(x), nats summed over pixels; p = sum_k pi_k N(x; mu_k, sigma^2), pi = softmax_k(logits).

    Args:
        x: (..., 3, H, W) in [0, 1].
        means: (..., K, 3, H, W) colours of the layers.
        logits: (..., K, 1, H, W).
        sigma: standard deviation of the noise.
        joint: one mixture of a pixel's three channels together; else one of each channel, as the IODINE
            re-implementation has it.

    Returns:
        (...,).

    Raises:
        ConfigError: sigma not above 0.
        ShapeError: shapes that do not fit.

    >>> x, mean = torch.zeros(3, 1, 1), torch.zeros(1, 3, 1, 1)
    >>> round(float(mixture_nll(x, mean, torch.zeros(1, 1, 1, 1), sigma=1.0)), 4)  # 1.5 log(2 pi)
    2.7568
    """
    log_n = pixel_log_likelihood(x, means, sigma)
    if logits.shape != (*log_n.shape[:-3], 1, *log_n.shape[-2:]):
        raise ShapeError(f"logits (..., K, 1, H, W) for means {tuple(means.shape)}: {tuple(logits.shape)}")
    log_pi = torch.log_softmax(logits, -4)
    if joint:
        log_n = log_n.sum(-3, keepdim=True)
    return -torch.logsumexp(log_pi + log_n, -4).sum((-3, -2, -1))


def gaussian_kl(mean: Tensor, std: Tensor) -> Tensor:
    """KL(N(mean, std^2) || N(0, 1)) = (mean^2 + std^2 - 1) / 2 - log std, elementwise, nats."""
    return (mean**2 + std**2 - 1) / 2 - std.log()


def op3_std(raw: Tensor) -> Tensor:
    """sqrt(softplus(raw) + 1e-5): the standard deviation of a free number."""
    return (softplus(raw) + 1e-5).sqrt()


def elbo(nll: Tensor, kl: Mapping[str, Tensor], beta: Mapping[str, float]) -> Tensor:
    """-(1/T) sum_t nll_t - sum_level beta_level KL_level: (B,), nats.

    Args:
        nll: (B, T).
        kl: (B,) of each level.
        beta: weight of each level.

    Raises:
        ConfigError: levels without a weight, or weights without a level.
    """
    if kl.keys() != beta.keys():
        raise ConfigError(f"kl has the levels {sorted(kl)}, beta {sorted(beta)}: they must be the same")
    return -nll.mean(1) - sum((beta[level] * kl[level] for level in kl), nll.new_zeros(len(nll)))


def over_rounds(losses: Sequence[Tensor]) -> Tensor:
    """sum_r ((r + 1) / R) loss_r: later rounds of refinement count more."""
    return torch.stack([(r + 1) / len(losses) * loss for r, loss in enumerate(losses)]).sum(0)
