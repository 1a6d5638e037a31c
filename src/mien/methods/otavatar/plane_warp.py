"""Planes that are moved to where a face's parts are, so that before it they lie at the same places for all.

    l_j(w) = m_j + d_j(w),   planes(p) = canonical(p + u(p)),
    u(p) = sum_j k(p - l_j) c_j,   (K + r I) c = m - l,   K_ij = k(l_i - l_j),
    k(x, y) = f(x) f(y),   f(x) = (1 + a) exp(-a),   a = sqrt(3) |x| / s

with m_j the mean place of landmark j and d linear. A generator of convolutions places an eye anew for each
w, and what it is not sure of it blurs; here landmarks teach the place directly. u is the smoothest field that
takes the landmarks back (kriging with Matern's kernel of order 3/2 along either axis): it tears lips and lids
apart, which a mean of what the landmarks around ask for does not, and fades to 0 away from all. Where lids or
lips meet it must jump, from what is above the one to what is below the other, or a closed eye shows an iris:
so r is small, and those that meet or cross are first moved apart by `GAP`, or the field would fold. Each
plane has a u of its own, so that what is drawn is still three planes, marched as fast as others.

Source: ours; canonical spaces with a learnt way there are usual for moving heads, two-dimensional ones for
each plane are not.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien.nn.modulated import EqualizedLinear
from mien.render.plane_settings import PlaneAxes
from mien.render.triplane import project_to_planes

SPREAD = 0.15
"""s, half sides of the cube."""
RIDGE = 0.01
"""r: a landmark is missed by a little, for a field that does not fold."""
UPPER = (37, 38, 43, 44, 61, 62, 63)
"""Upper lids and the inner upper lip, from the subject's right to the left."""
LOWER = (41, 40, 47, 46, 67, 66, 65)
"""What each of `UPPER` meets."""
GAP = 0.004
"""Least height of an upper one above what it meets, sides of the cube."""
REACH = 0.1
"""d of a unit output, half sides of the cube."""


class PlaneWarp(nn.Module):
    """Style code -> landmarks; moves planes from the mean landmarks there.

    Args:
        w_dim: width of w.
        axes: of the planes.
        box: side of the cube.

    >>> warp = PlaneWarp(8)
    >>> planes = torch.randn(2, 3, 5, 16, 16)
    >>> torch.allclose(warp(planes, torch.randn(2, 8)), planes, atol=1e-5)       # nothing moves at first
    True
    """

    mean: Tensor

    def __init__(self, w_dim: int, axes: PlaneAxes = "corrected", box: float = 1.0) -> None:
        super().__init__()
        self.axes, self.box = axes, box
        self.places = EqualizedLinear(w_dim, 68 * 3)
        nn.init.zeros_(self.places.weight)
        self.register_buffer("mean", torch.zeros(68, 3))

    def landmarks(self, w: Tensor) -> Tensor:
        """Codes (B, W) -> landmarks (B, 68, 3) in the units of the cube. O(B W)."""
        offset: Tensor = self.places(w).view(w.shape[0], 68, 3)
        return self.mean + REACH * self.box / 2 * offset

    @torch.no_grad()
    def fit(self, w: Tensor, points: Tensor) -> None:
        """Least squares (with a ridge of 1e-4) for landmarks (N, 68, 3) of codes (N, W). O(N W^2)."""
        self.mean.copy_(points.mean(0))
        x = F.pad(w, (0, 1), value=1.0).double()
        y = (points - self.mean).flatten(1).double() * (2 / self.box / REACH)
        ridge = 1e-4 * len(x) * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
        found = torch.linalg.solve(x.T @ x + ridge, x.T @ y).to(w)
        gain = math.sqrt(w.shape[1])
        self.places.weight.copy_(found[:-1].T * gain)
        self.places.bias.copy_(found[-1])

    def misses(self, w: Tensor, points: Tensor) -> Tensor:
        """Mean distance of landmarks (B, 68, 3) from those of w (B, W), half sides of the cube: (B,)."""
        off: Tensor = (self.landmarks(w) - points).norm(dim=-1).mean(1)
        return off * (2 / self.box)

    def field(self, w: Tensor, size: int) -> Tensor:
        """U (B, 3, size, size, 2) of w (B, W), along width and height, half sides. O(B size^2)."""
        there, rest = (
            project_to_planes(kept_apart(points, GAP * self.box), self.axes, self.box)
            for points in (self.landmarks(w), self.mean[None])
        )
        near = _matern(there[..., :, None, :] - there[..., None, :, :]).prod(-1)
        near = near + RIDGE * torch.eye(near.shape[-1], dtype=near.dtype, device=near.device)
        solve = solved_by_products if torch.compiler.is_exporting() else torch.linalg.solve
        pull = solve(near, rest - there)
        at = _centres(size, there)
        across, down = (_matern(at[:, None] - there[..., None, :, k]) for k in (0, 1))  # (B, 3, size, 68)
        rows = pull.mT[:, :, :, None] * down[:, :, None]  # (B, 3, 2, size, 68)
        field: Tensor = (rows @ across.mT[:, :, None]).movedim(2, 4)
        return field

    def forward(self, planes: Tensor, w: Tensor) -> Tensor:
        """Planes (B, 3, C, P, P) moved by the u of w (B, W). O(B C P^2)."""
        b, _, channels, size, _ = planes.shape
        at = _centres(size, planes)
        still = torch.stack(torch.meshgrid(at, at, indexing="xy"), -1)
        grid = (still + self.field(w, size)).flatten(0, 1)
        flat = planes.reshape(3 * b, channels, size, size)
        moved: Tensor = F.grid_sample(flat, grid, padding_mode="border", align_corners=False)
        return moved.view_as(planes)


def kept_apart(points: Tensor, gap: float) -> Tensor:
    """Landmarks (B, 68, 3) of which no lid and no lip is less than ``gap`` above what it meets. O(B).

    Both are moved by the same, up and down.
    """
    missing = gap - (points[:, UPPER, 1] - points[:, LOWER, 1])
    push = torch.zeros_like(points[..., 1])
    push[:, UPPER] = missing.clamp(min=0) / 2
    push[:, LOWER] = -missing.clamp(min=0) / 2
    return points + F.pad(push[..., None], (1, 1))


def _centres(count: int, like: Tensor) -> Tensor:
    """Centres of ``count`` cells along [-1, 1]."""
    return (torch.arange(count, device=like.device, dtype=like.dtype) * 2 + 1) / count - 1


def _matern(x: Tensor) -> Tensor:
    """Values f of distances along one axis."""
    a = x.abs() * (math.sqrt(3) / SPREAD)
    return (1 + a) * (-a).exp()


def solved_by_products(a: Tensor, b: Tensor) -> Tensor:
    """Solves a x = b, a (.., N, N) symmetric and positive definite, b (.., N, M), for ONNX: it has no solver.

    Newton's iteration y <- y (2 - a y) for the inverse, from a / (|a|_1 |a|_inf): quadratic; 32 steps do for
    condition numbers up to ten thousand, and those here are at most 1 + 68 / `RIDGE`. O(N^3).
    """
    y = a / a.abs().sum(-1).amax(-1).square()[..., None, None]
    for _ in range(32):
        y = 2 * y - y @ a @ y
    x = y @ b
    for _ in range(2):
        x = x + y @ (b - a @ x)
    return x
