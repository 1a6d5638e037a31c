"""Learned inference of masses and charges: a net that updates them from what the laws leave unexplained.

Level 3 of the paper's inference, learned; the layers are reconstructed. A round sees, under its z_m and z_c,
the unexplained bends r of `mien.methods.phycine.concepts` and the gradient g of the misfit, never appearance:

  e_ij(s) = MLP(n_ij . r_i, n_ji . r_j, distance, closing, z_m_i, z_m_j, z_c_i z_c_j, |z_c_i|, |z_c_j|)
  h_i = GRU_s(sum_j e_ij(s), |r_i|),  (d, a, b) = LSTM(h_i, z_i, g_i)
  z_m_i += d,  z_c_i += a z_c_i + b g_c_i + sum_j w_ij z_c_j,  w_ij the mean over s of one number of e_ij.

d, a, b and w are blind to the common sign of all charges, so the update of z_c is odd in it, as are the laws.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from mien.methods.phycine.concepts import (
    FitSettings,
    Latents,
    check_paths,
    first_latents,
    misfit,
    slopes,
    unexplained,
    velocities,
)
from mien.methods.phycine.laws import mlp, pairs_of

_TINY = 1e-12
_NEAR = 0.2  # softening of 1 / distance, world units


class Evidence(NamedTuple):
    """What a round sees of B clips of N objects, S windows; none of it has a gradient.

    Attributes:
        bend: (B, S, N, 2, W) r in units of the noise, squashed by asinh.
        whole: (B, S, N) bool: present in all of a window.
        slope: g_m and g_c, (B, N) each, with root mean square 1 over the objects of a clip.
        steep: (B, N, 2) logarithms of what g was divided by.
    """

    bend: Tensor
    whole: Tensor
    slope: Latents
    steep: Tensor


def evidence(
    laws: nn.Module, path: Tensor, present: Tensor, latents: Latents, settings: FitSettings, dt: float
) -> Evidence:
    """What latents leave unexplained, and the way downhill. O(B T (N^2 + N W^2))."""
    z = Latents(*(x.detach().requires_grad_() for x in latents))
    with torch.enable_grad():
        lost = misfit(laws, path, present, z, settings, dt).sum() * path.shape[2]
    there = present.any(1)
    rows = torch.stack(slopes(lost, z), -1) * there[..., None]
    count = there.sum(1).clamp_min(1)[:, None, None]
    size = (rows.square().sum(1, keepdim=True) / count + _TINY).sqrt()
    with torch.no_grad():
        r, whole = unexplained(laws, path, present, z, settings.window, dt)
        bend = torch.where(whole[..., None, None], (r / settings.noise).asinh(), 0.0)
    return Evidence(bend, whole, Latents(*(rows / size).unbind(-1)), size.log().expand_as(rows))


def pair_inputs(path: Tensor, latents: Latents, found: Evidence, dt: float) -> tuple[Tensor, Tensor, Tensor]:
    """Objects i and j (P,) of the P = N (N - 1) ordered pairs, and what e_ij is made of (B, S, P, 2 W + 8).

    Places and velocities are those of a window's middle; turning all charges changes nothing. O(B S N^2 W).
    """
    window, (b, s, n) = found.bend.shape[-1], found.whole.shape
    first = window // 2
    pairs = pairs_of(path[:, first + 1 : first + 1 + s], velocities(path, dt)[:, first : first + s])
    to, of = torch.cat([pairs.first, pairs.second]), torch.cat([pairs.second, pairs.first])
    normal = torch.cat([pairs.normal, -pairs.normal], 2)[..., None]
    z_m, z_c = (z.detach()[:, None].expand(b, s, n) for z in latents)
    c_i, c_j = z_c[..., to], z_c[..., of]
    geometry = torch.stack([pairs.distance, 1 / (pairs.distance + _NEAR), pairs.closing], -1)
    seen = [
        (found.bend[:, :, to] * normal).sum(-2),
        -(found.bend[:, :, of] * normal).sum(-2),
        geometry.repeat(1, 1, 2, 1),
        torch.stack([z_m[..., to], z_m[..., of], c_i * c_j, c_i.abs(), c_j.abs()], -1),
    ]
    return to, of, torch.cat(seen, -1)


class Refiner(nn.Module):
    """Latents of clips in a few rounds, from z_m = 0 and z_c ~ N(0, spread^2).

    Permuting objects permutes what is found; turning all first charges turns the found ones. Deviations are
    those of `mien.methods.phycine.concepts.spreads`, as for latents found by gradient.

    Args:
        window: W of the residuals.
        width: of all layers.
        rounds: R.
    """

    def __init__(self, window: int, width: int = 32, rounds: int = 3) -> None:
        super().__init__()
        self.rounds = rounds
        self.pair = mlp(2 * window + 8, width, width + 1)
        self.time = nn.GRU(width + 2, width, batch_first=True)
        self.cell = nn.LSTMCell(width + 7, width)
        self.update = nn.Linear(width, 3)
        nn.init.zeros_(self.update.weight)  # no change at first, nearly
        nn.init.zeros_(self.update.bias)

    def messages(self, path: Tensor, latents: Latents, found: Evidence, dt: float) -> tuple[Tensor, Tensor]:
        """Of each object: h (B, N, H) and sum_j w_ij z_c_j (B, N). O(B S N^2)."""
        to, of, seen = pair_inputs(path, latents, found, dt)
        both = found.whole[:, :, to] & found.whole[:, :, of]
        told = self.pair(seen[both])
        e = told.new_zeros(*both.shape, told.shape[-1]).index_put((both,), told)
        heard = e.new_zeros(*found.whole.shape, e.shape[-1] - 1).index_add(2, to, e[..., 1:])
        own = torch.stack([found.bend.square().sum((-1, -2)).sqrt(), found.whole.float()], -1)
        series = torch.cat([heard, own], -1).transpose(1, 2)
        h = self.time(series.flatten(0, 1))[1].view(*series.shape[:2], -1)
        weight = e[..., 0].sum(1) / both.sum(1).clamp_min(1)
        pulled = torch.zeros_like(latents.charge).index_add(1, to, weight * latents.charge[:, of])
        return h, pulled

    def forward(
        self,
        laws: nn.Module,
        path: Tensor,
        present: Tensor,
        start: Latents,
        settings: FitSettings,
        dt: float,
    ) -> list[Latents]:
        """The start and what each round makes of it, R + 1 times (B, N). O(R B T N^2).

        Absent objects change nothing, and stay at 0.

        Args:
            laws: at rest.
            path: (B, T, N, 2).
            present: (B, T, N) bool.
            start: (B, N) each.
            settings: window, noise and pulls of the misfit.
            dt: seconds of a frame.
        """
        there = present.any(1)
        z, state = Latents(*(torch.where(there, x, 0.0) for x in start)), None
        out = [z]
        for _ in range(self.rounds):
            found = evidence(laws, path, present, z, settings, dt)
            h, pulled = self.messages(path, z, found, dt)
            g_m, g_c = found.slope
            z_m, z_c = (x.detach() for x in z)
            own = torch.stack([z_m, z_c.abs(), g_m, g_c.abs(), z_c * g_c, *found.steep.unbind(-1)], -1)
            state = self.cell(torch.cat([h, own], -1).flatten(0, 1), state)
            d, a, b = self.update(state[0]).view(*there.shape, 3).unbind(-1)
            charge = z.charge + a * z.charge + b * g_c + pulled
            z = Latents(*(torch.where(there, x, 0.0) for x in (z.mass + d, charge)))
            out.append(z)
        return out

    @torch.no_grad()
    def infer(
        self,
        laws: nn.Module,
        path: Tensor,
        present: Tensor,
        settings: FitSettings,
        *,
        dt: float = 0.1,
        seed: int = 0,
    ) -> Latents:
        """In place of `mien.methods.phycine.concepts.infer`, and with its arguments. O(R B T N^2).

        Raises:
            DataError: paths that are too short, or not finite.
        """
        check_paths(path, present, settings.window)
        start = first_latents(path, settings.spread, torch.Generator().manual_seed(seed))
        return self.forward(laws, path, present, start, settings, dt)[-1]


def distance_up_to_sign(found: Latents, known: Latents, there: Tensor) -> Tensor:
    """(B,) smooth L1 of masses, and of charges up to the sign of a clip, over the objects that are there."""
    weight = there / there.sum(1, keepdim=True).clamp_min(1)

    def far(x: Tensor, y: Tensor) -> Tensor:
        return (weight * nn.functional.smooth_l1_loss(x, y, reduction="none")).sum(1)

    charge = torch.minimum(far(found.charge, known.charge), far(found.charge, -known.charge))
    return far(found.mass, known.mass) + charge
