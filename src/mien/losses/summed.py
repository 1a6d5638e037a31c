"""Several distillation losses at once."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mien.core.config import suggest
from mien.core.errors import ConfigError

Logs = dict[str, Tensor]


class SummedLoss(nn.Module):
    """sum_i weight_i loss_i, each given the logits or the embeddings as its ``takes`` says.

    Only one of the logit losses should carry the cross-entropy (``ce``); give the others ``ce=0``.

    Args:
        losses: name -> loss; the logs of each come back as ``name/log``.
        weights: name -> factor; 1 where it is missing.

    Raises:
        ConfigError: no loss, a weight without its loss, or a loss that takes neither.
    """

    def __init__(self, losses: Mapping[str, nn.Module], weights: Mapping[str, float] | None = None) -> None:
        super().__init__()
        weights = weights or {}
        if not losses:
            raise ConfigError("a sum of losses needs at least one")
        for name in weights:
            if name not in losses:
                raise ConfigError(
                    f"weight of {name!r}, which is no loss of the sum{suggest(name, list(losses))}"
                )
        for name, loss in losses.items():
            if getattr(loss, "takes", "") not in ("logits", "embeddings"):
                raise ConfigError(f"{name} ({type(loss).__name__}) takes neither logits nor embeddings")
        self.losses = nn.ModuleDict(losses)
        self.weights = {name: float(weights.get(name, 1.0)) for name in losses}

    def forward(
        self,
        logits: tuple[Tensor, Tensor] | None,
        embeddings: tuple[Tensor, Tensor] | None,
        y: Tensor,
        epoch: float = 0,
    ) -> tuple[Tensor, Logs]:
        """The weighted sum, a scalar, and every part's logs.

        Args:
            logits: student's and teacher's, (B, C) each; None if no loss takes them.
            embeddings: student's (B, D) and teacher's (B, E); None if no loss takes them.
            y: (B,) labels.
            epoch: counted from 0.

        Raises:
            ConfigError: a loss misses what it takes.
        """
        parts: list[Tensor] = []
        logs: Logs = {}
        for name, loss in self.losses.items():
            given = logits if loss.takes == "logits" else embeddings
            if given is None:
                raise ConfigError(f"{name} takes {loss.takes}, which were not given")
            value, found = loss(*given, y, epoch)
            parts.append(self.weights[name] * value)
            logs |= {f"{name}/{key}": v for key, v in found.items()}
        return torch.stack(parts).sum(), logs
