"""Classifier heads."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien.core.errors import ConfigError


class CosineHead(nn.Module):
    """z_c = s <x / ||x||, w_c / ||w_c||> + b_c.

    Args:
        num_features: D.
        num_classes: C.
        scale: s.
        bias: with a trainable b, started at 0.
    """

    def __init__(self, num_features: int, num_classes: int, scale: float = 16.0, bias: bool = True) -> None:
        super().__init__()
        bound = 1.0 / math.sqrt(num_features)
        self.weight = nn.Parameter(torch.empty(num_classes, num_features).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(num_classes)) if bias else None
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        """(B, D) -> (B, C)."""
        z = self.scale * F.linear(F.normalize(x, dim=-1), F.normalize(self.weight, dim=-1))
        return z if self.bias is None else z + self.bias


class Normalize(nn.Module):
    """(x - mean) / std per channel, inside the model, so that the exported graph takes plain pictures."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(std)[:, None, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) in [0, 1] -> normalised."""
        return (x - self.mean) / self.std


def check_heads(dim: int, heads: int) -> None:
    """Refuses heads that do not divide the width.

    Raises:
        ConfigError: they do not.
    """
    if heads < 1 or dim < 1 or dim % heads:
        raise ConfigError(f"heads={heads} must divide dim={dim}")
