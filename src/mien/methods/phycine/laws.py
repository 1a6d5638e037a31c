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
_SLOW = 0.01  # world units a frame: of what hardly moves, nothing is late


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


class PairForces(NamedTuple):
    """What the first of each pair feels in a frame; the second feels the opposite.

    Attributes:
        push: (..., M, 2) of collisions.
        pull: (..., M, 2) of charges; None: there is no such force.
        late: (..., M) the share of the frame that is over when they collide.
    """

    push: Tensor
    pull: Tensor | None
    late: Tensor


class Kicks(NamedTuple):
    """What a frame does to objects.

    Attributes:
        change: (..., N, 2) of the velocity.
        lag: (..., N, 2) what of the change came too late to move the object, as a share of the frame.
    """

    change: Tensor
    lag: Tensor


class Laws(nn.Module):
    """Velocity change of a frame from places, velocities, masses and charges.

    m = exp(z_m), mu_ij = m_i m_j / (m_i + m_j), c_ij = (v_i - v_j) . n_ij.
    Collision: mu_ij g_ij (softplus(a) n_ij + b t_ij), (a, b) = MLP(distance, closing, sliding). They touch
    within the frame, g_ij = sigmoid((R - d - c_ij dt) / w), and after the share (d - R) / (|c_ij| dt) of it.
    Charge: z_c_i z_c_j softplus(MLP(d, 1 / (d + .2), 1 / (d + .3)^2)) n_ij.

    R and w are learnt (the sum of the radii, a softness). The product gives the rules of signs and no force
    on neutral objects; the reduced mass makes collisions blind to a common factor of all masses. Source:
    names of the forces from the paper, forms reconstructed.

    Args:
        width: of the networks.
        charge: "none" leaves the charge force out.
        mass: False: all objects weigh the same.
        dt: seconds of a frame.
    """

    def __init__(
        self, width: int = 48, charge: Charge = "product", mass: bool = True, dt: float = 0.12
    ) -> None:
        super().__init__()
        if charge not in ("product", "none"):
            raise ConfigError(f"charge must be 'product' or 'none', got {charge!r}")
        self.charge, self.mass, self.dt = charge, mass, dt
        self.collision = mlp(4, width, 2)
        self.attraction = mlp(3, width, 1)
        self.reach, self.log_blur = nn.Parameter(torch.tensor(1.0)), nn.Parameter(torch.tensor(0.1).log())

    def pair_forces(self, pairs: Pairs, z_m: Tensor, z_c: Tensor, both: Tensor | None = None) -> PairForces:
        """Of M pairs. O(M). Where ``both`` (..., M) is False the result means nothing, and costs nothing."""
        d, closing = pairs.distance, pairs.closing
        seen = torch.stack([d, closing, pairs.sliding, F.relu(-closing) / (d + _NEAR)], -1)
        a, b = _where(self.collision, seen, both).unbind(-1)
        m = self.masses(z_m)
        m_i, m_j = m[..., pairs.first], m[..., pairs.second]
        gate = ((self.reach - d - self.dt * closing) / self.log_blur.exp()).sigmoid()
        push: Tensor = (gate * m_i * m_j / (m_i + m_j))[..., None] * (
            F.softplus(a)[..., None] * pairs.normal + b[..., None] * pairs.tangent
        )
        late = ((d - self.reach) / (self.dt * F.relu(-closing) + _SLOW)).clamp(0, 1)
        if self.charge == "none":
            return PairForces(push, None, late)
        near = torch.stack([d, 1 / (d + 0.2), 1 / (d + 0.3).square()], -1)
        strength = F.softplus(_where(self.attraction, near, both)[..., 0])
        product = z_c[..., pairs.first] * z_c[..., pairs.second]
        return PairForces(push, (product * strength)[..., None] * pairs.normal, late)

    def masses(self, z_m: Tensor) -> Tensor:
        """exp(z_m), or 1."""
        return z_m.exp() if self.mass else torch.ones_like(z_m)

    def forward(
        self, p: Tensor, v: Tensor, z_m: Tensor, z_c: Tensor, present: Tensor | None = None
    ) -> Tensor:
        """`Kicks.change` of `kicks`."""
        return self.kicks(p, v, z_m, z_c, present).change

    def kicks(self, p: Tensor, v: Tensor, z_m: Tensor, z_c: Tensor, present: Tensor | None = None) -> Kicks:
        """What the frame does that begins at p, reached with v. O(N^2).

        Args:
            p: (..., N, 2).
            v: (..., N, 2) velocities of the frame before.
            z_m: (..., N) logarithms of masses.
            z_c: (..., N) charges.
            present: (..., N) bool; an absent object neither feels nor acts.
        """
        pairs = pairs_of(p, v)
        both = None
        if present is not None:
            both = (present[..., pairs.first] & present[..., pairs.second]).expand(pairs.distance.shape)
        push, pull, late = self.pair_forces(pairs, z_m, z_c, both)
        mass = self.masses(z_m)[..., None]

        def felt(force: Tensor) -> Tensor:
            if both is not None:
                force = torch.where(both[..., None], force, 0.0)
            total = torch.zeros_like(p).index_add(-2, pairs.first, force).index_add(-2, pairs.second, -force)
            return total / mass

        return Kicks(felt(push if pull is None else push + pull), felt(late[..., None] * push))


def kicks_of(
    laws: nn.Module, p: Tensor, v: Tensor, z_m: Tensor, z_c: Tensor, present: Tensor | None = None
) -> Kicks:
    """`Laws.kicks`; of laws that know velocity changes alone, without lag."""
    if isinstance(laws, Laws):
        return laws.kicks(p, v, z_m, z_c, present)
    change: Tensor = laws(p, v, z_m, z_c, present)
    return Kicks(change, torch.zeros_like(change))


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

    v += change, p += (v - lag) dt (`Kicks`): leapfrog, v is that of the frame before. Objects that are not
    ``present`` (B, N) neither feel nor act.
    """
    places, speeds = [p], [v]
    for _ in range(steps):
        kicks = kicks_of(laws, p, v, z_m, z_c, present)
        v = v + kicks.change
        p = p + (v - kicks.lag) * dt
        places.append(p)
        speeds.append(v)
    return torch.stack(places, 1), torch.stack(speeds, 1)
