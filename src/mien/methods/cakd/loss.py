"""The two distillation terms of CAKD, as pure functions, and the guard against their trivial minimum.

Both nets' local features h (B, L, d) pass one multi-head self-attention each, u = h + MSA(LN(h)) with maps
A; then

    L_feat = mean over (B, L) of ||u_t / |u_t| - u_s / |u_s| ||^2,
    L_attn = mean over (B, heads, query) of sum over keys (A_t - A_s)^2.

What reaches the teacher's side (prompts, its URFM, its MSA) is scaled by eta. As both sides are trained, a
constant u is a perfect minimum: the guard stops a training that runs into it. Reconstruction of CAKD (arXiv
2306.14662), which gives the two terms as plain MSE; norm, residual, unit length, eta and guard are ours.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien.core.errors import ConfigError, MienError, ShapeError
from mien.losses.numerics import full_precision
from mien.methods.cakd.attention import AttentionBlock


def scale_gradient(x: Tensor, eta: float) -> Tensor:
    """The same values to the last bit, with the gradient times eta; 0 stops it.

    >>> x = torch.ones(2, requires_grad=True)
    >>> scale_gradient(x, 0.1).sum().backward()
    >>> x.grad
    tensor([0.1000, 0.1000])
    """
    fixed = x.detach()
    return fixed + eta * (x - fixed) if eta else fixed


def feature_term(u_t: Tensor, u_s: Tensor) -> Tensor:
    """Mean over (B, L) of ||u_t - u_s||^2; (B, L, d) twice -> scalar in [0, 4] for unit vectors."""
    return (u_t - u_s).square().sum(-1).mean()


def attention_term(a_t: Tensor, a_s: Tensor) -> Tensor:
    """Mean over (B, heads, query) of the squared differences summed over keys; (B, H, L, L) twice -> scalar.

    >>> float(attention_term(torch.eye(2)[None, None], torch.full((1, 1, 2, 2), 0.5)))
    0.5
    """
    return (a_t - a_s).square().sum(-1).mean()


def auxiliary_input(h: Tensor) -> Tensor:
    """What the auxiliary margin heads see, the mean local feature: (B, L, d) -> (B, d)."""
    return h.mean(1)


def spreads(u: Tensor) -> tuple[Tensor, Tensor]:
    """Variance of u (B, L, d) over the batch, and over its L tokens, each summed over d; scalars."""
    over_batch = (u - u.mean(0)).square().sum(-1).mean()
    return over_batch, (u - u.mean(1, keepdim=True)).square().sum(-1).mean()


class CollapseGuard(nn.Module):
    """Remembers the first spread of u of both nets, and stops the training when one falls far below it.

    Args:
        floor: least spread, as a share of the first.

    Attributes:
        spread: what the last call found: ``teacher_batch, teacher_token, student_batch, student_token``.

    Raises:
        ConfigError: a floor outside [0, 1).
    """

    NAMES = ("teacher_batch", "teacher_token", "student_batch", "student_token")
    start: Tensor

    def __init__(self, floor: float = 1e-4) -> None:
        super().__init__()
        if not 0 <= floor < 1:
            raise ConfigError(f"floor={floor} is outside [0, 1)")
        self.floor = floor
        self.spread: dict[str, Tensor] = {}
        self.register_buffer("start", torch.full((len(self.NAMES),), torch.nan))

    @torch.no_grad()
    def forward(self, u_t: Tensor, u_s: Tensor) -> None:
        """Checks u (B, L, d) of both; one picture says nothing about the spread over a batch.

        Raises:
            MienError: u has collapsed; names where.
        """
        found = torch.stack([*spreads(u_t), *spreads(u_s)]).to(self.start)
        self.spread = dict(zip(self.NAMES, found, strict=True))
        unknown = [len(u_t) < 2, u_t.shape[1] < 2, len(u_s) < 2, u_s.shape[1] < 2]
        found = found.masked_fill(torch.tensor(unknown, device=found.device), torch.nan)
        self.start.copy_(torch.where(self.start.isnan(), found, self.start))
        if (found < self.floor * self.start).any():
            worst = int((found / self.start).nan_to_num(torch.inf).argmin())
            net, axis = self.NAMES[worst].split("_")
            raise MienError(
                f"CAKD has collapsed: the {net}'s local features vary over the {axis} by {found[worst]:.2e},"
                f" less than {self.floor:g} of the {self.start[worst]:.2e} at the start; lower eta (0 stops"
                " the teacher's gradient), or raise the weight of the auxiliary heads"
            )


class CAKDLoss(nn.Module):
    """The unweighted terms of local features of teacher and student; owns an MSA for each.

    Args:
        dim: d.
        heads: of both MSAs; they divide ``dim``.
        eta: share of the gradient that reaches the teacher's side; 0 = none.
        floor: of the `CollapseGuard`, which watches in training mode.

    Attributes:
        guard: holds the spreads of the last batch, for logs.

    Raises:
        ConfigError: eta below 0, a floor outside [0, 1), or heads that do not divide the width.

    >>> loss = CAKDLoss(16, heads=4)
    >>> sorted(loss(torch.randn(2, 9, 16), torch.randn(2, 9, 16)))
    ['attn', 'feat']
    """

    def __init__(self, dim: int, heads: int = 8, eta: float = 0.1, floor: float = 1e-4) -> None:
        super().__init__()
        if eta < 0:
            raise ConfigError(f"eta={eta} must be at least 0")
        self.eta = eta
        self.attention_t, self.attention_s = AttentionBlock(dim, heads), AttentionBlock(dim, heads)
        self.guard = CollapseGuard(floor)

    def forward(self, h_t: Tensor, h_s: Tensor) -> dict[str, Tensor]:
        """Local features (B, L, d) of both nets -> scalars ``feat`` and ``attn``. O(B L d (L + d)).

        Raises:
            ShapeError: shapes that do not fit.
            MienError: in training mode, a collapse.
        """
        if h_t.ndim != 3 or h_t.shape != h_s.shape:
            raise ShapeError(
                f"expected local features (B, L, d) twice, got {tuple(h_t.shape)}, {tuple(h_s.shape)}"
            )
        (u_t, a_t), (u_s, a_s) = self.attention_t(h_t), self.attention_s(h_s)
        u_t, u_s = F.normalize(full_precision(u_t), dim=2), F.normalize(full_precision(u_s), dim=2)
        if self.training:
            self.guard(u_t, u_s)
        a_t, a_s = scale_gradient(full_precision(a_t), self.eta), full_precision(a_s)
        return {
            "feat": feature_term(scale_gradient(u_t, self.eta), u_s),
            "attn": attention_term(a_t, a_s),
        }
