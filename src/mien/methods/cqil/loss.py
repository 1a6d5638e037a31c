"""Losses of CQIL (section 2.5 of the method's page), pure functions first.

x is a picture, x_q = D(x; q) its degraded copy, d the discriminative feature, u the quality feature. Of the
paper the abstract gives the three parts in words; every equation here is a reconstruction.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien.core.errors import ConfigError, ShapeError
from mien.losses.numerics import full_precision

Contrast = Literal["none", "ntxent", "supcon", "byol"]


class CqilOut(NamedTuple):
    """What a net says of B pictures; parts that are switched off are None.

    Attributes:
        logits: (B, 2), index 0 = live.
        features: (B, D) discriminative features d.
        quality: (B,) predicted severity r(u).
        leaked: (B,) severity as an adversary reads it from d, a(GRL(d)).
        projection: (B, P) for the contrast.
        prediction: (B, P) of the other view's projection (BYOL).
    """

    logits: Tensor
    features: Tensor
    quality: Tensor | None = None
    leaked: Tensor | None = None
    projection: Tensor | None = None
    prediction: Tensor | None = None


def _embeddings(*given: Tensor) -> list[Tensor]:
    if any(z.ndim != 2 for z in given) or len({z.shape for z in given}) > 1:
        raise ShapeError(f"expected embeddings (B, D) of one shape, got {[tuple(z.shape) for z in given]}")
    return [F.normalize(full_precision(z)) for z in given]


def _check_temperature(t: float) -> None:
    if not t > 0:
        raise ConfigError(f"temperature t={t} must be above 0")


def nt_xent(z1: Tensor, z2: Tensor, t: float = 0.2) -> Tensor:
    """Of 2B views, each looks for its partner: NT-Xent. O(B^2 D).

        L = -(1 / 2B) sum_i log [exp(s_ii' / t) / sum_{j != i} exp(s_ij / t)],  s = cosine.

    At least log(1 + (2B - 2) exp(-2 / t)); log(2B - 1) where all embeddings are equal.

    Args:
        z1: (B, D) of the first views.
        z2: (B, D) of the second, in the same order.
        t: temperature, above 0.

    Raises:
        ShapeError: shapes that differ or are not (B, D).
        ConfigError: t not above 0.

    >>> round(float(nt_xent(torch.eye(4), torch.eye(4))), 6)
    0.039641
    """
    _check_temperature(t)
    z = torch.cat(_embeddings(z1, z2))
    s = (z @ z.T / t).fill_diagonal_(-torch.inf)
    return F.cross_entropy(s, torch.arange(len(z), device=z.device).roll(len(z1)))


def sup_con(z: Tensor, labels: Tensor, t: float = 0.2) -> Tensor:
    """Each embedding looks for all others of its label: SupCon (Khosla et al. 2020, L_out). O(N^2 D).

        L = mean_i -(1 / |P_i|) sum_{p in P_i} log [exp(s_ip / t) / sum_{j != i} exp(s_ij / t)].

    Those alone with their label are no anchors; the loss of a batch without any anchor is 0.

    Args:
        z: (N, D).
        labels: (N,).
        t: temperature, above 0.

    Raises:
        ShapeError: shapes that do not fit.
        ConfigError: t not above 0.
    """
    _check_temperature(t)
    if labels.shape != z.shape[:1]:
        raise ShapeError(f"expected labels ({len(z)},), got {tuple(labels.shape)}")
    (z,) = _embeddings(z)
    same = (labels[:, None] == labels[None]).fill_diagonal_(False)
    s = z @ z.T / t
    log_p = s - s.masked_fill(torch.eye(len(z), dtype=torch.bool, device=z.device), -torch.inf).logsumexp(
        1, keepdim=True
    )
    count = same.sum(1)
    per_anchor = -(log_p * same).sum(1) / count.clamp(min=1)
    return per_anchor.sum() / (count > 0).sum().clamp(min=1)


def byol(prediction: Tensor, target: Tensor) -> Tensor:
    """2 - 2 cos(prediction, stopgrad(target)), mean over rows (Grill et al. 2020, eq. 2). O(B D).

    Args:
        prediction: (B, D) of one view.
        target: (B, D) of the other, by the slow net.

    Raises:
        ShapeError: shapes that differ or are not (B, D).
    """
    p, z = _embeddings(prediction, target.detach())
    return (2 - 2 * (p * z).sum(1)).mean()


def quality_loss(predicted: Tensor, q: Tensor) -> Tensor:
    """Mean |r(u)|^2 + mean |r(u_q) - q|^2: the clean view has severity 0, the degraded one q.

    Args:
        predicted: (2B,) severities, clean views first.
        q: (B,) in [0, 1].

    Raises:
        ShapeError: not twice as many predictions as severities.
    """
    if predicted.shape != (2 * len(q),):
        raise ShapeError(
            f"expected ({2 * len(q)},) predictions for {len(q)} pairs, got {tuple(predicted.shape)}"
        )
    clean, degraded = full_precision(predicted).chunk(2)
    return clean.square().mean() + (degraded - q).square().mean()


def orthogonality_loss(wd: Tensor, wu: Tensor) -> Tensor:
    """Mean over all pairs (row of W_d, row of W_u) of their squared cosine. O(D U C).

    Args:
        wd: (D, C) map to discriminative features.
        wu: (U, C) map to quality features.

    Raises:
        ShapeError: maps of different features.
    """
    if wd.ndim != 2 or wu.ndim != 2 or wd.shape[1] != wu.shape[1]:
        raise ShapeError(f"expected maps (D, C) and (U, C), got {tuple(wd.shape)} and {tuple(wu.shape)}")
    return (F.normalize(wd) @ F.normalize(wu).T).square().mean()


class GradientReversal(torch.autograd.Function):
    """The identity, whose gradient comes back times -beta (Ganin and Lempitsky 2015).

    >>> x = torch.ones(1, requires_grad=True)
    >>> GradientReversal.apply(3 * x, 0.5).backward()
    >>> x.grad
    tensor([-1.5000])
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, beta: float) -> Tensor:
        """X as it is."""
        ctx.beta = beta
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        """-beta times the gradient; none for beta."""
        return -ctx.beta * grads[0], None


def reverse_gradient(x: Tensor, beta: float) -> Tensor:
    """`GradientReversal` as a function."""
    return GradientReversal.apply(x, beta)  # type: ignore[no-any-return, no-untyped-call]


class CQILLoss(nn.Module):
    """L_cls + w_con L_con + w_q L_q + w_adv L_adv + w_orth L_orth of pairs of views.

        L_cls = CE(c(d), y) + CE(c(d_q), y);  L_q and L_adv see r(u) and a(GRL(d)), `quality_loss`.

    A part is left out, and draws no random numbers, where its weight is 0 or the net gives nothing for it.

    Args:
        contrast: ntxent, supcon (positives: all views of the same label), byol, or none.
        t: temperature of the first two.
        contrast_weight: w_con.
        quality: w_q.
        adversarial: w_adv.
        orthogonal: w_orth.
    """

    def __init__(
        self,
        contrast: Contrast = "ntxent",
        t: float = 0.2,
        *,
        contrast_weight: float = 0.2,
        quality: float = 0.1,
        adversarial: float = 0.05,
        orthogonal: float = 0.01,
    ) -> None:
        super().__init__()
        self.contrast, self.t, self.contrast_weight = contrast, t, contrast_weight
        self.quality, self.adversarial, self.orthogonal = quality, adversarial, orthogonal

    def forward(
        self,
        out: CqilOut,
        y: Tensor,
        q: Tensor,
        *,
        target: Tensor | None = None,
        maps: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss and its parts.

        Args:
            out: of 2B pictures: B clean ones, then their degraded copies.
            y: (B,) 0 = live, 1 = attack.
            q: (B,) severities of the copies.
            target: (2B, P) projections of the slow net (byol).
            maps: W_d and W_u.

        Raises:
            ShapeError: not two views of each label.
        """
        if out.logits.shape != (2 * len(y), 2):
            raise ShapeError(f"expected logits {(2 * len(y), 2)}, got {tuple(out.logits.shape)}")
        parts = {"cls": (1.0, pair_cross_entropy(out.logits, y))}
        if self.contrast != "none" and self.contrast_weight:
            parts["contrast"] = (self.contrast_weight, self._contrast(out, y, target))
        if out.quality is not None and self.quality:
            parts["quality"] = (self.quality, quality_loss(out.quality, q))
        if out.leaked is not None and self.adversarial:
            parts["leak"] = (self.adversarial, quality_loss(out.leaked, q))
        if maps is not None and self.orthogonal:
            parts["orthogonal"] = (self.orthogonal, orthogonality_loss(*maps))
        (_, loss), *others = parts.values()
        for weight, value in others:
            loss = loss + weight * value
        return loss, {name: value.detach() for name, (_, value) in parts.items()}

    def _contrast(self, out: CqilOut, y: Tensor, target: Tensor | None) -> Tensor:
        if out.projection is None:
            raise ConfigError(f"contrast={self.contrast!r} needs a net with a projection head")
        if self.contrast == "supcon":
            return sup_con(out.projection, y.repeat(2), self.t)
        if self.contrast == "ntxent":
            first, second = out.projection.chunk(2)
            return nt_xent(first, second, self.t)
        if out.prediction is None or target is None:
            raise ConfigError("contrast='byol' needs a predictor and the slow net's projections")
        return byol(out.prediction, target.roll(len(y), 0))


def pair_cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """CE(z, y) + CE(z_q, y) of (2B, 2) logits, clean views first; of (B, 2) logits the first term alone."""
    views = len(logits) // len(y)
    return views * F.cross_entropy(logits, y.repeat(views))


__all__ = [
    "CQILLoss",
    "CqilOut",
    "GradientReversal",
    "byol",
    "nt_xent",
    "orthogonality_loss",
    "pair_cross_entropy",
    "quality_loss",
    "reverse_gradient",
    "sup_con",
]
