"""The interaction model: pair forces of collision and charge, learnt; masses and charges are its latents.

Both forces are equal and opposite by construction: what an object feels is a number that both share times a
direction that changes its sign with the order of the two. Lengths in world units, frames of ``dt`` seconds.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien.core.errors import ConfigError, ShapeError

Charge = Literal["product", "none"]
_TINY = 1e-9
_NEAR = 0.1  # softening of closing speed over distance, world units


class Pairs(NamedTuple):
    """Geometry of the M = N (N - 1) / 2 pairs i < j of objects, seen from j to i.

    Attributes:
        first: (M,) i.
        second: (M,) j.
        normal: (..., M, 2) (p_i - p_j) / |p_i - p_j|: a positive force along it repels.
        tangent: (..., M, 2) direction of the relative velocity across the normal.
        distance: (..., M).
        closing: (..., M) (v_i - v_j) . normal; negative: they approach.
        sliding: (..., M) relative speed along the tangent.
    """

    first: Tensor
    second: Tensor
    normal: Tensor
    tangent: Tensor
    distance: Tensor
    closing: Tensor
    sliding: Tensor


def pairs_of(p: Tensor, v: Tensor) -> Pairs:
    """Of places and velocities (..., N, 2). O(N^2)."""
    if p.shape != v.shape or p.shape[-1] != 2:
        raise ShapeError(f"places and velocities must be (..., N, 2), got {tuple(p.shape)}, {tuple(v.shape)}")
    first, second = torch.triu_indices(p.shape[-2], p.shape[-2], 1, device=p.device)
    apart, moving = p[..., first, :] - p[..., second, :], v[..., first, :] - v[..., second, :]
    distance = (apart.square().sum(-1) + _TINY).sqrt()
    normal = apart / distance[..., None]
    closing = (moving * normal).sum(-1)
    across = moving - closing[..., None] * normal
    sliding = (across.square().sum(-1) + _TINY).sqrt()
    return Pairs(first, second, normal, across / sliding[..., None], distance, closing, sliding)


def mlp(inputs: int, width: int, outputs: int) -> nn.Sequential:
    """Two hidden layers of a width; CELU with 1 is ELU, and three times as fast on CPUs."""
    return nn.Sequential(
        nn.Linear(inputs, width), nn.CELU(), nn.Linear(width, width), nn.CELU(), nn.Linear(width, outputs)
    )


def _where(net: nn.Sequential, inputs: Tensor, which: Tensor | None) -> Tensor:
    """Outputs of a net for inputs (..., F); zeros, at no cost, where ``which`` (...) is False."""
    if which is None:
        return cast("Tensor", net(inputs))
    found: Tensor = net(inputs[which])
    return found.new_zeros(*which.shape, found.shape[-1]).index_put((which,), found)


class Laws(nn.Module):
    """Velocity change of a frame from places, velocities, masses and charges.

    m = exp(z_m), mu_ij = m_i m_j / (m_i + m_j).
    Collision: mu_ij (softplus(a) n_ij + b t_ij), (a, b) = MLP(distance, closing, sliding).
    Charge: z_c_i z_c_j softplus(MLP(d, 1 / (d + .2), 1 / (d + .3)^2)) n_ij.

    The product gives the rules of signs and no force on neutral objects; the reduced mass makes collisions
    blind to a common factor of all masses. Source: names of the forces from the paper, forms reconstructed.

    Args:
        width: of the networks.
        charge: "none" leaves the charge force out.
        mass: False: all objects weigh the same.
    """

    def __init__(self, width: int = 48, charge: Charge = "product", mass: bool = True) -> None:
        super().__init__()
        if charge not in ("product", "none"):
            raise ConfigError(f"charge must be 'product' or 'none', got {charge!r}")
        self.charge, self.mass = charge, mass
        self.collision = mlp(4, width, 2)
        self.attraction = mlp(3, width, 1)
        last = self.collision[-1]
        assert isinstance(last, nn.Linear)
        nn.init.constant_(last.bias, -2.0)  # a world without forces, nearly

    def pair_forces(self, pairs: Pairs, z_m: Tensor, z_c: Tensor, both: Tensor | None = None) -> Tensor:
        """(..., M, 2) on the first of each pair; the second feels the opposite. O(M).

        Where ``both`` (..., M) is False the result means nothing, and costs nothing.
        """
        d, closing = pairs.distance, pairs.closing
        seen = torch.stack([d, closing, pairs.sliding, F.relu(-closing) / (d + _NEAR)], -1)
        a, b = _where(self.collision, seen, both).unbind(-1)
        m = self.masses(z_m)
        m_i, m_j = m[..., pairs.first], m[..., pairs.second]
        push: Tensor = (m_i * m_j / (m_i + m_j))[..., None] * (
            F.softplus(a)[..., None] * pairs.normal + (a.sigmoid() * b)[..., None] * pairs.tangent
        )
        if self.charge == "none":
            return push
        near = torch.stack([d, 1 / (d + 0.2), 1 / (d + 0.3).square()], -1)
        strength = F.softplus(_where(self.attraction, near, both)[..., 0])
        product = z_c[..., pairs.first] * z_c[..., pairs.second]
        pull: Tensor = (product * strength)[..., None] * pairs.normal
        return push + pull

    def masses(self, z_m: Tensor) -> Tensor:
        """exp(z_m), or 1."""
        return z_m.exp() if self.mass else torch.ones_like(z_m)

    def forward(
        self, p: Tensor, v: Tensor, z_m: Tensor, z_c: Tensor, present: Tensor | None = None
    ) -> Tensor:
        """Velocity change (..., N, 2) of the frame that begins at (p, v). O(N^2).

        Args:
            p: (..., N, 2).
            v: (..., N, 2).
            z_m: (..., N) logarithms of masses.
            z_c: (..., N) charges.
            present: (..., N) bool; an absent object neither feels nor acts.
        """
        pairs = pairs_of(p, v)
        both = None
        if present is not None:
            both = (present[..., pairs.first] & present[..., pairs.second]).expand(pairs.distance.shape)
        force = self.pair_forces(pairs, z_m, z_c, both)
        if both is not None:
            force = torch.where(both[..., None], force, 0.0)
        total = torch.zeros_like(p).index_add(-2, pairs.first, force).index_add(-2, pairs.second, -force)
        change: Tensor = total / self.masses(z_m)[..., None]
        return change


def rollout(
    laws: nn.Module,
    p: Tensor,
    v: Tensor,
    z_m: Tensor,
    z_c: Tensor,
    steps: int,
    dt: float,
    present: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Places and velocities (B, 1 + steps, N, 2) from a start (B, N, 2). O(steps N^2).

    v += laws, p += v dt. Objects that are not ``present`` (B, N) neither feel nor act.
    """
    places, speeds = [p], [v]
    for _ in range(steps):
        v = v + laws(p, v, z_m, z_c, present)
        p = p + v * dt
        places.append(p)
        speeds.append(v)
    return torch.stack(places, 1), torch.stack(speeds, 1)
