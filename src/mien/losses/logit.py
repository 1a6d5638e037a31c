"""Distillation of logits: L = ce CE(zs, y) + w(epoch) T^2 mean(divergence).

Sources: KD, Hinton et al. (arXiv 1503.02531, section 2); DKD, Zhao et al. (arXiv 2203.08679, eq. 7).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

from mien.core.errors import ConfigError, ShapeError
from mien.losses.numerics import (
    binary_kl,
    cross_entropy,
    full_precision,
    group_logits,
    kl_divergence,
    ramp,
    secondary_kl,
)
from mien.losses.sharded import Shard

Logs = dict[str, Tensor]


def dkd_terms(
    zs: Tensor, zt: Tensor, y: Tensor, T: float, shard: Shard | None = None
) -> tuple[Tensor, Tensor]:
    """TCKD and NCKD of each row: the label against the rest, and the rest among itself. T^2 not applied.

    Args:
        zs: (B, C) student's logits.
        zt: (B, C) teacher's logits.
        y: (B,) labels.
        T: temperature.
        shard: which columns the logits hold; None = all. With one no gradient reaches ``zt``.

    >>> zs, zt = torch.tensor([[5.0, 4, 1, 0, 0]]), torch.tensor([[8.0, 4, 2, 0, -2]])
    >>> [round(16 * float(v), 4) for v in dkd_terms(zs, zt, torch.tensor([0]), 4.0)]
    [1.1302, 0.3686]
    """
    zt, index = zt.detach() if shard else zt, y[:, None]
    s, t = group_logits(zs, index, shard, T), group_logits(zt, index, shard, T)
    return binary_kl(t.odds, s.odds), secondary_kl(zt / T, zs / T, t, s, index, shard)


class LogitLoss(nn.Module):
    """What the losses on logits share: ``loss(zs, zt, y, epoch) -> (loss, logs)``.

    Half-precision logits are taken to float32, and no gradient reaches the teacher.

    Args:
        T: temperature.
        warmup_epochs: the distillation's weight grows from 0 in epoch 0 to 1 in this epoch; 0 = at once.
        ce: weight of the cross-entropy with the labels.

    Raises:
        ConfigError: T not above 0, or a negative warm-up.
    """

    takes = "logits"

    def __init__(self, T: float, warmup_epochs: float, ce: float) -> None:
        super().__init__()
        if T <= 0 or warmup_epochs < 0:
            raise ConfigError(f"T={T} must be above 0 and warmup_epochs={warmup_epochs} not negative")
        self.T, self.warmup_epochs, self.ce = T, warmup_epochs, ce

    @abstractmethod
    def distill(self, zs: Tensor, zt: Tensor, y: Tensor, shard: Shard | None) -> tuple[Tensor, Logs]:
        """(B, C) student, teacher, labels -> the distillation term (scalar, T^2 applied) and logs.

        A term that needs the same sums as the cross-entropy may compute it too, and hand it over in the logs
        as ``ce``, with its gradient.
        """

    def forward(
        self, zs: Tensor, zt: Tensor, y: Tensor, epoch: float = 0, shard: Shard | None = None
    ) -> tuple[Tensor, Logs]:
        """The loss, a scalar, and its detached parts.

        Args:
            zs: (B, C) student's logits.
            zt: (B, C) teacher's logits.
            y: (B,) labels.
            epoch: counted from 0; a fraction is allowed.
            shard: which columns the logits hold, where classes are spread over processes.

        Raises:
            ShapeError: shapes that do not fit.
        """
        if zs.ndim != 2 or zs.shape != zt.shape or y.shape != zs.shape[:1]:
            got = f"{tuple(zs.shape)}, {tuple(zt.shape)} and {tuple(y.shape)}"
            raise ShapeError(f"expected logits (B, C) twice and labels (B,), got {got}")
        teacher = full_precision(zt.detach())
        return self.total(zs, lambda z: self.distill(z, teacher, y, shard), y, epoch, shard)

    def total(
        self,
        zs: Tensor,
        term: Callable[[Tensor], tuple[Tensor, Logs]],
        y: Tensor,
        epoch: float,
        shard: Shard | None = None,
    ) -> tuple[Tensor, Logs]:
        """The cross-entropy and the ramped ``term`` of the student's logits in full precision.

        Args:
            zs: (B, C) student's logits.
            term: logits -> the distillation term and its logs.
            y: (B,) labels.
            epoch: counted from 0.
            shard: which columns the logits hold; None = all.
        """
        with torch.autocast(zs.device.type, enabled=False):
            zs = full_precision(zs)
            weight = ramp(epoch, self.warmup_epochs)
            kd, logs = term(zs)
            loss = weight * kd
            if self.ce:
                if "ce" not in logs:
                    logs["ce"] = cross_entropy(zs, y, shard)
                loss = loss + self.ce * logs["ce"]
        logs |= {"kd": kd, "kd_weight": loss.new_tensor(weight)}
        return loss, {name: value.detach() for name, value in logs.items()}


class KDLoss(LogitLoss):
    """L = ce CE + w T^2 alpha KL(p_t || p_s), softmax of z / T.

    Args:
        T: temperature.
        alpha: weight.
        warmup_epochs: see `LogitLoss`.
        ce: weight of the cross-entropy.

    >>> zs, zt = torch.tensor([[5.0, 4, 1, 0, 0]]), torch.tensor([[8.0, 4, 2, 0, -2]])
    >>> round(float(KDLoss(T=4, ce=0)(zs, zt, torch.tensor([0]))[0]), 4)
    1.2949
    """

    def __init__(self, T: float = 4.0, alpha: float = 1.0, warmup_epochs: float = 0, ce: float = 1.0) -> None:
        super().__init__(T, warmup_epochs, ce)
        self.alpha = alpha

    def distill(self, zs: Tensor, zt: Tensor, y: Tensor, shard: Shard | None) -> tuple[Tensor, Logs]:
        """T^2 alpha mean KL."""
        return self.alpha * self.T**2 * kl_divergence(zt / self.T, zs / self.T, shard).mean(), {}


class DKDLoss(LogitLoss):
    """L = ce CE + w T^2 (alpha TCKD + beta NCKD), see `dkd_terms`.

    Args:
        alpha: weight of the label against the rest.
        beta: weight of the rest among itself.
        T: temperature.
        warmup_epochs: see `LogitLoss`.
        ce: weight of the cross-entropy.
    """

    def __init__(
        self,
        alpha: float = 1.0,
        beta: float = 8.0,
        T: float = 4.0,
        warmup_epochs: float = 20,
        ce: float = 1.0,
    ) -> None:
        super().__init__(T, warmup_epochs, ce)
        self.alpha, self.beta = alpha, beta

    def distill(self, zs: Tensor, zt: Tensor, y: Tensor, shard: Shard | None) -> tuple[Tensor, Logs]:
        """T^2 mean(alpha TCKD + beta NCKD)."""
        target, others = (term.mean() for term in dkd_terms(zs, zt, y, self.T, shard))
        kd = self.T**2 * (self.alpha * target + self.beta * others)
        return kd, {"tckd": target, "nckd": others}
