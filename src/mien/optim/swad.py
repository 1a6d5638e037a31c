"""Stochastic weight averaging, densely, between two points that the validation loss chooses.

SWAD (Cha et al., NeurIPS 2021): average *all* iterates from the moment the validation loss stops falling
until it rises again; works on top of any optimiser.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mien.core.errors import ConfigError


@dataclass
class _Segment:
    """Iterates between two evaluations: their mean, how many, and the loss at the end."""

    mean: list[Tensor]
    count: int = 0
    loss: float = float("inf")


class SWAD:
    """Keeps the average; call `update` after every optimiser step and `evaluate` at every look at validation.

    Averaging starts with the oldest of the last ``converge`` segments once its loss is the smallest of them;
    the threshold is then ``1 + tolerance`` times their mean loss. It ends when the smallest loss of the last
    ``patience`` segments exceeds the threshold; later segments are not averaged.

    Args:
        parameters: what is averaged (also buffers, if wanted).
        converge: N_s.
        patience: N_e, at least N_s.
        tolerance: r; 0.3 in the paper, 0.2 on VLCS.

    Memory: at most ``patience`` + 2 copies of the parameters.
    """

    def __init__(
        self, parameters: Iterable[Tensor], converge: int = 3, patience: int = 6, tolerance: float = 0.3
    ) -> None:
        if not 1 <= converge <= patience:
            raise ConfigError(f"SWAD needs 1 <= converge={converge} <= patience={patience}")
        if not tolerance >= 0:
            raise ConfigError(f"SWAD tolerance={tolerance} must be >= 0")
        self.parameters = list(parameters)
        self.converge, self.patience, self.tolerance = converge, patience, tolerance
        self.threshold: float | None = None
        self.is_over = False
        self._open = _Segment([])
        self._recent: list[_Segment] = []
        self._sum: list[Tensor] = []
        self._count = 0

    @torch.no_grad()
    def update(self) -> None:
        """Takes in the iterate of this step."""
        segment = self._open
        segment.count += 1
        if segment.count == 1:
            segment.mean = [p.detach().double() for p in self.parameters]
        else:
            for m, p in zip(segment.mean, self.parameters, strict=True):
                m.add_(p.detach().double() - m, alpha=1.0 / segment.count)

    def evaluate(self, loss: float) -> None:
        """Closes the segment with the validation loss at its end."""
        segment, self._open = self._open, _Segment([])
        if not segment.count or self.is_over:
            return
        segment.loss = loss
        self._recent = [*self._recent, segment]
        if self.threshold is None:
            self._recent = self._recent[-self.converge :]
            if (
                len(self._recent) == self.converge
                and min(s.loss for s in self._recent) == self._recent[0].loss
            ):
                self.threshold = (1 + self.tolerance) * sum(s.loss for s in self._recent) / self.converge
            return
        if len(self._recent) > self.patience:
            self._take(self._recent.pop(0))
        last = self._recent[-self.patience :]
        if len(last) == self.patience and min(s.loss for s in last) > self.threshold:
            self.is_over = True
            self._recent = []

    def _take(self, segment: _Segment) -> None:
        if not self._sum:
            self._sum = [torch.zeros_like(m) for m in segment.mean]
        for total, m in zip(self._sum, segment.mean, strict=True):
            total.add_(m, alpha=float(segment.count))
        self._count += segment.count

    def average(self) -> list[Tensor] | None:
        """The mean of all iterates between start and end, or None if the loss has not converged."""
        if self.threshold is None:
            return None
        limit = self.threshold
        # The tail that is above the threshold is left out, as if the end had been found there.
        tail = list(self._recent)
        while tail and tail[-1].loss > limit:
            tail.pop()
        count = self._count + sum(s.count for s in tail)
        if not count:
            return None
        out = []
        for i, p in enumerate(self.parameters):
            total = self._sum[i].clone() if self._sum else torch.zeros_like(p, dtype=torch.float64)
            for s in tail:
                total.add_(s.mean[i], alpha=float(s.count))
            out.append((total / count).to(p.dtype))
        return out

    def load_average(self) -> bool:
        """Writes the average into the parameters; False (and nothing written) if there is none."""
        return self._write(self.average())

    def load_last_segment(self) -> bool:
        """Writes the mean of the last closed segment: what the released code falls back to."""
        return self._write(self._recent[-1].mean if self._recent else None)

    @torch.no_grad()
    def _write(self, values: list[Tensor] | None) -> bool:
        for p, value in zip(self.parameters, values or (), strict=values is not None):
            p.copy_(value)
        return values is not None

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resume needs, as plain values and tensors."""
        return {
            "threshold": self.threshold,
            "is_over": self.is_over,
            "open": vars(self._open),
            "recent": [vars(s) for s in self._recent],
            "sum": self._sum,
            "count": self._count,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Loads what `state_dict` gave."""
        self.threshold, self.is_over = state["threshold"], state["is_over"]
        self._open = _Segment(**state["open"])
        self._recent = [_Segment(**s) for s in state["recent"]]
        self._sum, self._count = list(state["sum"]), state["count"]
