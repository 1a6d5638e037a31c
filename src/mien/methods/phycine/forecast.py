"""What comes next, and what would if: rollouts of the laws from a start that explains the last frames."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from mien.core.errors import ConfigError
from mien.methods.phycine.concepts import Latents
from mien.methods.phycine.laws import rollout

FITTED = 6
"""Frames that a start is fitted to."""


class Start(NamedTuple):
    """Where objects are and how fast: (B, N, 2) each, world units and seconds [z_dyn]."""

    place: Tensor
    velocity: Tensor


def straight_start(place: Tensor, present: Tensor, dt: float) -> Start:
    """The line that fits frames (B, T, N, 2) best, at frame 0; absent frames do not count. O(B T N)."""
    weight = present.to(place)[..., None]
    t = torch.arange(place.shape[1], device=place.device, dtype=place.dtype)[:, None, None] * dt
    total = weight.sum(1, keepdim=True).clamp_min(1)
    mid, mean = ((weight * v).sum(1, keepdim=True) / total for v in (t, place))
    spread = (weight * (t - mid).square()).sum(1)
    slope = (weight * (t - mid) * (place - mean)).sum(1) / spread.clamp_min(1e-9)
    slope = torch.where(weight.sum(1) >= 2, slope, 0.0)
    return Start((mean - mid * slope[:, None])[:, 0], slope)


def fitted_start(
    laws: nn.Module,
    place: Tensor,
    present: Tensor,
    latents: Latents,
    dt: float,
    steps: int = 60,
    lr: float = 0.03,
) -> Start:
    """The start at frame 0 whose rollout fits frames (B, T, N, 2) best: level 2, by gradient.

    Objects that are in none of the frames neither feel nor act. O(steps B T N^2).
    """
    there = present.any(1)
    first = straight_start(place, present, dt)
    p, v = (x.clone().requires_grad_() for x in first)
    optimizer = torch.optim.Adam([p, v], lr=lr)
    weight = present.to(place)[..., None]
    with torch.enable_grad():
        for _ in range(steps):
            path, _ = rollout(laws, p, v, *latents, place.shape[1] - 1, dt, there)
            loss = (weight * (path - place).square()).sum()
            p.grad, v.grad = torch.autograd.grad(loss, (p, v))
            optimizer.step()
    return Start(p.detach(), v.detach())


@torch.no_grad()
def forecast(
    laws: nn.Module, start: Start, latents: Latents, steps: int, dt: float, there: Tensor | None = None
) -> Tensor:
    """Places (B, 1 + steps, N, 2); objects that are not ``there`` (B, N) neither feel nor act."""
    return rollout(laws, *start, *latents, steps, dt, there)[0]


def changed_latents(latents: Latents, what: str, items: Tensor, value: Tensor) -> Latents:
    """Latents (B, N) with one object's mass multiplied, or charge multiplied, in each clip.

    Args:
        latents: of B clips.
        what: "mass" or "charge".
        items: (B,) which object.
        value: (B,) factor: a charge times 0 is gone, times -1 turned; a mass times 5 is five times heavier.

    Raises:
        ConfigError: neither mass nor charge.
    """
    if what not in ("mass", "charge"):
        raise ConfigError(f"what={what!r}: 'mass' or 'charge'")
    rows = torch.arange(len(items), device=items.device)
    mass, charge = (z.clone() for z in latents)
    if what == "mass":
        mass[rows, items] += value.log()
    else:
        charge[rows, items] *= value
    return Latents(mass, charge)


class Still(nn.Module):
    """Laws without forces: objects keep their velocity. The baseline of constant velocity."""

    def forward(self, p: Tensor, *_: Tensor) -> Tensor:
        """No change."""
        return torch.zeros_like(p)
