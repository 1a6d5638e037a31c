"""How large the groups of a teacher are, before any student is trained: what to choose T_group by."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mien.methods.gkd.loss import EVERY, GroupSelector

_LOW, _HIGH = 0.05, 20.0


@dataclass(frozen=True, eq=False)
class Groups:
    """Groups of N pictures under one selector.

    Attributes:
        t_group: temperature at which the mass was counted.
        sizes: (N,) K of each picture.
        inside: (N,) P, the mass of the group at the temperature of the loss.
        outside: share of pictures whose label is not among the K best.
    """

    t_group: float
    sizes: NDArray[np.int64]
    inside: NDArray[np.float32]
    outside: float


@torch.no_grad()
def inspect_groups(logits: Tensor, y: Tensor, selector: GroupSelector, T: float, batch: int = 256) -> Groups:
    """Groups that a selector finds in logits (N, C) of labels (N,). O(N C), memory O(batch C).

    Args:
        logits: of the net that the selector listens to.
        y: labels.
        selector: how groups are chosen.
        T: temperature of the loss, for P.
        batch: rows at once; with ``reduce="batch"`` also the batch that shares a K.
    """
    sizes, inside, outside = [], [], 0
    for z, labels in zip(logits.split(batch), y.split(batch), strict=True):
        mask = selector(z, z, labels)
        log_p = (z / T).log_softmax(-1).gather(1, mask.index.clamp(min=0))
        inside.append(log_p.masked_fill(mask.index < 0, -torch.inf).logsumexp(1).exp())
        sizes.append(mask.lengths)
        outside += int(mask.outside.sum())
    return Groups(selector.t_group, torch.cat(sizes).numpy(), torch.cat(inside).numpy(), outside / len(y))


def temperature_for(logits: Tensor, y: Tensor, selector: GroupSelector, mean_size: float) -> float:
    """T_group at which the groups of a selector hold ``mean_size`` classes on average, by bisection.

    K grows with T_group. The selector's k_min and k_max stay out of the count, so that they cannot hide it.

    Args:
        logits: (N, C).
        y: labels (N,).
        selector: source, rate and rule.
        mean_size: wanted mean K, above 1.
    """
    free = replace(selector, k_min=1, k_max=EVERY, k_step=1)
    low, high = _LOW, _HIGH
    for _ in range(24):
        middle = (low * high) ** 0.5
        found = inspect_groups(logits, y, replace(free, t_group=middle), 1.0).sizes.mean()
        low, high = (middle, high) if found < mean_size else (low, middle)
    return float((low * high) ** 0.5)
