"""Baselines of the table: plain cross-entropy and LDAM with deferred re-weighting (Cao et al. 2019)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def ldam_margins(cls_num_list: Sequence[int], largest: float = 0.5) -> Tensor:
    """(C,) margins proportional to n_c^(-1/4), the largest of them ``largest`` (LDAM, eq. 13)."""
    counts = torch.as_tensor(cls_num_list, dtype=torch.float64).clamp(min=1)
    margins = counts**-0.25
    return (margins * (largest / margins.max())).float()


def effective_weights(cls_num_list: Sequence[int], beta: float = 0.9999) -> Tensor:
    """(C,) class weights (1 - beta) / (1 - beta^n), mean 1 (Cui et al. 2019)."""
    counts = torch.as_tensor(cls_num_list, dtype=torch.float64).clamp(min=1)
    weights = (1 - beta) / (1 - beta**counts)
    return (weights * len(counts) / weights.sum()).float()


class LDAMLoss(nn.Module):
    """Cross-entropy of s (cos - m_y at the target), the weights of rare classes raised late in training.

    Args:
        cls_num_list: training images of each class.
        margin: the largest margin.
        scale: s; the logits that come in are already s cos (a `CosineHead` of this scale).
        drw_start: part of training after which `effective_weights` apply.
    """

    margins: Tensor
    weights: Tensor

    def __init__(
        self, cls_num_list: Sequence[int], margin: float = 0.5, scale: float = 30.0, drw_start: float = 0.8
    ) -> None:
        super().__init__()
        self.register_buffer("margins", scale * ldam_margins(cls_num_list, margin), persistent=False)
        self.register_buffer("weights", effective_weights(cls_num_list), persistent=False)
        self.drw_start = drw_start

    def forward(self, logits: Tensor, target: Tensor, progress: float) -> Tensor:
        """Mean loss of ``(B, C)`` logits at ``progress`` in [0, 1] of the training."""
        shifted = logits.float() - F.one_hot(target, logits.shape[1]) * self.margins[target][:, None]
        return F.cross_entropy(shifted, target, self.weights if progress >= self.drw_start else None)
