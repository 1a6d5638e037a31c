"""Losses of signed distance fields without labels inside or outside, and their sums in the three stages.

Source: CAR (arXiv 2304.03903); terms from implicit geometric regularization (arXiv 2002.10099).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mien.core.errors import ShapeError

Terms = dict[str, Tensor]


class FieldSamples(NamedTuple):
    """A field at some points.

    Attributes:
        s: (..., N, 1) values, metres or box units.
        gradient: (..., N, 3).
    """

    s: Tensor
    gradient: Tensor


def _mean(x: Tensor, weight: Tensor | None) -> Tensor:
    if weight is None:
        return x.mean()
    if weight.shape != x.shape:
        raise ShapeError(f"weights {tuple(weight.shape)} of points must be {tuple(x.shape)}")
    return (x * weight).sum() / weight.sum().clamp_min(torch.finfo(x.dtype).tiny)


def surface_loss(s: Tensor, weight: Tensor | None = None) -> Tensor:
    """L_surf = mean |s| over points of the surface. O(N).

    Args:
        s: (..., N, 1).
        weight: (..., N) of the points; None = all alike.

    >>> round(float(surface_loss(torch.tensor([[0.5], [-0.25]]))), 3)
    0.375
    """
    return _mean(s[..., 0].abs(), weight)


def normal_loss(
    gradient: Tensor, normals: Tensor, weight: Tensor | None = None, *, normalize: bool = True
) -> Tensor:
    """L_normal = mean |g - n|_2 over points of the surface, g the gradient or its direction. O(N).

    Args:
        gradient: (..., N, 3).
        normals: (..., N, 3), unit.
        weight: (..., N) of the points; None = all alike.
        normalize: compare the direction alone.

    Raises:
        ShapeError: shapes that differ.

    >>> float(normal_loss(torch.tensor([[0.0, 0.0, 4.0]]), torch.tensor([[0.0, 0.0, -1.0]])))
    2.0
    """
    if gradient.shape != normals.shape:
        raise ShapeError(f"gradient {tuple(gradient.shape)} and normals {tuple(normals.shape)} must be alike")
    g = F.normalize(gradient, dim=-1) if normalize else gradient
    return _mean((g - normals).norm(dim=-1), weight)


def eikonal_loss(gradient: Tensor) -> Tensor:
    """L_eik = mean (|grad s|_2 - 1)^2: (..., N, 3) -> a scalar. O(N)."""
    length: Tensor = gradient.norm(dim=-1)
    return (length - 1).square().mean()


def off_surface_loss(s: Tensor, sharpness: float) -> Tensor:
    """L_off = mean exp(-a |s|): no second surface away from the first one. O(N).

    Args:
        s: (..., N, 1).
        sharpness: a, 1 / metre.

    >>> round(float(off_surface_loss(torch.tensor([[0.1], [-0.2]]), 10.0)), 6)
    0.251607
    """
    return torch.exp(-sharpness * s.abs()).mean()


def sign_loss(outside: Tensor, inside: Tensor, margin: float = 0.01) -> Tensor:
    """L_sign = mean relu(m - s) over points outside + mean relu(s + m) over points inside. O(N).

    Surely outside: 25 cm or more away from the body. Surely inside: on the bones of the body. Without any
    label a field may flip, or grow shells where it has no samples.

    Args:
        outside: (..., N, 1) s of points outside.
        inside: (..., M, 1) s of points inside.
        margin: m, metres; a mean over no points counts 0.
    """
    terms = (F.relu(margin - outside), F.relu(inside + margin))
    return sum((t.mean() for t in terms if t.numel()), outside.new_zeros(()))


def occupancy(s: Tensor) -> Tensor:
    """Occupancy o = sigmoid(-s) in (0, 1), above 1/2 where s < 0.

    >>> float(occupancy(torch.tensor(0.0)))
    0.5
    """
    return torch.sigmoid(-s)


def occupancy_loss(s: Tensor, inside: Tensor) -> Tensor:
    """L_occ = mean (sigmoid(-s) - label)^2. O(N).

    Args:
        s: (..., N, 1).
        inside: (..., N) 1 inside, 0 outside; numbers or booleans.

    Raises:
        ShapeError: shapes that differ.
    """
    if s.shape[:-1] != inside.shape:
        raise ShapeError(f"labels {tuple(inside.shape)} of points must be {tuple(s.shape[:-1])}")
    return F.mse_loss(occupancy(s[..., 0]), inside.to(s.dtype))


@dataclass(frozen=True)
class SdfLossPlan:
    """Weights of the sum L = surface L_surf + normal L_normal + eikonal L_eik + off L_off.

    Attributes:
        surface: weight.
        normal: weight.
        eikonal: weight; over near and box points.
        off: weight.
        sharpness: a of L_off.
        normalize: L_normal looks at the gradient's direction alone.
        off_near: L_off counts near points as well, not only those of the box.
    """

    surface: float = 1.0
    normal: float = 1.0
    eikonal: float = 0.1
    off: float = 0.1
    sharpness: float = 10.0
    normalize: bool = True
    off_near: bool = True


CANONICAL = SdfLossPlan()
"""Stage 1: the canonical model."""
POSED = SdfLossPlan(off=1.0, sharpness=100.0, normalize=False, off_near=False)
"""Stage 2, the refinement in posed space, and the hyper-network."""


def sdf_loss(
    surface: FieldSamples,
    normals: Tensor,
    near: FieldSamples,
    box: FieldSamples,
    plan: SdfLossPlan = CANONICAL,
    weight: Tensor | None = None,
) -> tuple[Tensor, Terms]:
    """The sum of a stage, and its terms without weights. O(points).

    Args:
        surface: at points of the surface.
        normals: (..., N, 3) what the gradient there should be.
        near: at points beside the surface.
        box: at points anywhere in the box.
        plan: `CANONICAL` or `POSED`.
        weight: (..., N) of surface points (how far their normals are trusted); None = all alike.

    Returns:
        L, and {"surface", "normal", "eikonal", "off"}.

    Raises:
        ShapeError: shapes that do not fit together.
    """
    away = torch.cat([near.gradient, box.gradient], -2)
    far = torch.cat([near.s, box.s], -2) if plan.off_near else box.s
    terms = {
        "surface": surface_loss(surface.s, weight),
        "normal": normal_loss(surface.gradient, normals, weight, normalize=plan.normalize),
        "eikonal": eikonal_loss(away),
        "off": off_surface_loss(far, plan.sharpness),
    }
    total = sum((getattr(plan, name) * term for name, term in terms.items()), surface.s.new_zeros(()))
    return total, terms
