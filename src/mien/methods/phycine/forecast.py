"""What comes next, and what would if: rollouts of the laws from a start that explains what is seen."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from mien.core.errors import ConfigError
from mien.methods.phycine.concepts import Latents, kick_maps, seen_kicks
from mien.methods.phycine.laws import kicks_of, rollout

FITTED = 6
"""Frames that a start is fitted to, at most."""


class Start(NamedTuple):
    """Where objects are and how fast: (B, N, 2) each, world units and seconds [z_dyn].

    Attributes:
        place: in a frame.
        velocity: of the frame before, as `rollout` has it.
    """

    place: Tensor
    velocity: Tensor


At = Literal["first", "last"]


def straight_start(place: Tensor, present: Tensor, dt: float, at: At = "first") -> Start:
    """The line that fits frames (B, T, N, 2) best, at one of them; absent frames do not count. O(B T N)."""
    line, slope, _ = _line(place, present, dt)
    return Start(line[:, 0 if at == "first" else -1], slope)


def _line(place: Tensor, present: Tensor, dt: float) -> tuple[Tensor, Tensor, Tensor]:
    """The best line (B, T, N, 2) through frames, its slope (B, N, 2), mean square by which it misses (B, N).

    The last is for each of the 2 n - 4 numbers that n frames leave free; infinite below three frames.
    """
    weight = present.to(place)[..., None]
    t = torch.arange(place.shape[1], device=place.device, dtype=place.dtype)[:, None, None] * dt
    total = weight.sum(1, keepdim=True)
    mid, mean = ((weight * v).sum(1, keepdim=True) / total.clamp_min(1) for v in (t, place))
    spread = (weight * (t - mid).square()).sum(1)
    slope = (weight * (t - mid) * (place - mean)).sum(1) / spread.clamp_min(1e-9)
    slope = torch.where(total[:, 0] >= 2, slope, 0.0)
    line = mean + (t - mid) * slope[:, None]
    free = 2 * total[:, 0, :, 0] - 4
    missed = (weight * (place - line).square()).sum((1, 3)) / free.clamp_min(1)
    return line, slope, torch.where(free > 0, missed, torch.inf)


def bridged(place: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
    """Places (B, T, N, 2) with straight lines over gaps, and where there is something to see or to bridge.

    O(B T N).
    """
    frames = place.shape[1]
    t = torch.arange(frames, device=place.device)[:, None].expand(present.shape)
    last = torch.where(present, t, -1).cummax(1).values
    following = torch.where(present, t, frames).flip(1).cummin(1).values.flip(1)
    known = (last >= 0) & (following < frames)
    a, b = last.clamp_min(0), following.clamp_max(frames - 1)
    share = ((t - a) / (b - a).clamp_min(1))[..., None].to(place)
    start, end = (place.gather(1, i[..., None].expand_as(place)) for i in (a, b))
    return torch.where(known[..., None], start + share * (end - start), place), known


@torch.no_grad()
def explained_start(
    laws: nn.Module,
    place: Tensor,
    present: Tensor,
    latents: Latents,
    dt: float,
    noise: float,
    at: At = "last",
) -> Start:
    """Level 2: place and velocity at the first or last of frames (B, T, N, 2), given the laws.

    Less what the laws' kicks k and their lags l (`Kicks`) add up to, a path is a straight line:

        q = p - S k + L l.

    It is fitted to as many frames from that end on, at most T, as it explains within the noise: a hit that
    the laws have not foretold makes the frames beyond it worthless. O(B T (N^2 + T N)).

    Args:
        laws: velocity changes.
        place: (B, T, N, 2).
        present: (B, T, N) bool.
        latents: (B, N) each.
        dt: seconds of a frame.
        noise: of places, world units.
        at: the frame.
    """
    kicks, seen = seen_kicks(laws, *bridged(place, present), latents, dt)
    change, lag = (torch.where(seen[..., None], x, 0.0) for x in kicks)
    moved, late = (x[:, 1:].to(place) for x in kick_maps(place.shape[1], dt))
    explained = torch.einsum("ts,bsnd->btnd", moved, change) - torch.einsum("ts,bsnd->btnd", late, lag)
    frames, end = torch.arange(place.shape[1], device=place.device), 0 if at == "first" else -1
    p, v = straight_start(place - explained, present, dt, at)
    for count in range(2, len(frames) + 1):  # the two next to the end, if they are seen; then each that fits
        near = frames < count if at == "first" else frames >= len(frames) - count
        line, slope, missed = _line(place - explained, present & near[:, None], dt)
        takes = (present[:, near].all(1) if count == 2 else missed < noise**2)[..., None]
        p, v = torch.where(takes, line[:, end], p), torch.where(takes, slope, v)
    if at == "first":
        return Start(p, v - kicks_of(laws, p, v, *latents, present.any(1)).change)
    return Start(p + explained[:, -1], v + change[:, :-1].sum(1))


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
