"""Losses over branches and subsets of modalities."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor


def branch_loss(logits: Mapping[str, Tensor], fused: Tensor, y: Tensor, weight: float) -> Tensor:
    """L = (1 / |A|) sum_{m in A} CE(z^m, y) + lambda_f CE(z, y)  (section 2.4 of the method's page).

    A net without logits of its branches has CE(z, y) alone.

    Args:
        logits: modality -> (B, 2), index 0 = live.
        fused: (B, 2) logits of all together.
        y: (B,) 0 = live, 1 = attack.
        weight: lambda_f.
    """
    if not logits:
        return F.cross_entropy(fused, y)
    loss = torch.stack([F.cross_entropy(z, y) for z in logits.values()]).mean()
    return loss + weight * F.cross_entropy(fused, y) if weight else loss


def agreement(cls: Mapping[str, Tensor]) -> Tensor:
    """L_agn = mean_{m < n} [1 - cos(CLS^m, stopgrad(CLS^n))].

    Args:
        cls: modality -> (B, D) class tokens, at least two.
    """
    pairs = [1 - F.cosine_similarity(a, b.detach()).mean() for a, b in combinations(cls.values(), 2)]
    return torch.stack(pairs).mean()


def peer_distillation(pupil: Tensor, peer: Tensor, temperature: float) -> Tensor:
    """T^2 KL(softmax(stopgrad(z^peer) / T) || softmax(z^pupil / T)), mean over samples.

    Args:
        pupil: (B, 2) logits that learn.
        peer: (B, 2) logits that teach.
        temperature: T.
    """
    target = F.softmax(peer.detach() / temperature, 1)
    kl = F.kl_div(F.log_softmax(pupil / temperature, 1), target, reduction="batchmean")
    return temperature**2 * kl
