"""Metrics of classification that neither torchmetrics nor scikit-learn has, and thin calls where they do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mien.core.errors import ShapeError

Ints = Tensor | NDArray[Any] | Sequence[int]


def shot_groups(train_counts: Ints, many: int = 100, few: int = 20) -> dict[str, NDArray[np.bool_]]:
    """Masks (C,) of classes with > ``many``, ``few``..``many`` inclusive, < ``few`` training images."""
    counts = np.asarray(train_counts)
    return {"many": counts > many, "medium": (counts <= many) & (counts >= few), "few": counts < few}


def shot_accuracy(
    pred: Ints, target: Ints, train_counts: Ints, many: int = 100, few: int = 20
) -> dict[str, float]:
    """Top-1 accuracy over all samples and over the samples of each shot group (Liu et al. 2019).

    Args:
        pred: (N,) predicted classes.
        target: (N,) true classes.
        train_counts: (C,) training images of each class.
        many: classes with more than this are "many".
        few: classes with fewer than this are "few".

    Returns:
        ``all, many, medium, few`` in [0, 1]; a group without samples is NaN.

    >>> shot_accuracy([0, 1, 2], [0, 1, 1], [500, 50, 5])
    {'all': 0.6666666666666666, 'many': 1.0, 'medium': 0.5, 'few': nan}
    """
    p, t = np.asarray(pred), np.asarray(target)
    if p.shape != t.shape or p.ndim != 1:
        raise ShapeError(f"pred and target must be (N,) alike, got {p.shape} and {t.shape}")
    return grouped_mean(p == t, t, train_counts, many, few)


def grouped_mean(
    values: NDArray[Any], target: NDArray[Any], train_counts: Ints, many: int = 100, few: int = 20
) -> dict[str, float]:
    """Mean of per-sample ``values`` (N,) over all samples and over each shot group. O(N + C)."""
    out = {"all": float(np.mean(values)) if len(values) else float("nan")}
    for name, group in shot_groups(train_counts, many, few).items():
        chosen = values[group[target]]
        out[name] = float(np.mean(chosen)) if len(chosen) else float("nan")
    return out


def calibration_error(logits: Tensor, target: Tensor, bins: int = 15) -> float:
    """Expected calibration error (Guo et al. 2017) of softmax(logits), from torchmetrics."""
    from torchmetrics.functional.classification import multiclass_calibration_error

    probs = logits.float().softmax(-1)
    return float(
        multiclass_calibration_error(probs, target, num_classes=logits.shape[-1], n_bins=bins, norm="l1")
    )


def fit_temperature(logits: Tensor, target: Tensor) -> float:
    """The T in [0.05, 20] with the least cross-entropy of logits / T (Guo et al. 2017); 1 without samples."""
    if not len(target):
        return 1.0
    from scipy.optimize import minimize_scalar

    z = logits.double()

    def nll(log_t: float) -> float:
        return float(F.cross_entropy(z / float(np.exp(log_t)), target))

    found = minimize_scalar(nll, bounds=(np.log(0.05), np.log(20.0)), method="bounded")
    return float(np.exp(found.x))


def symmetric_kl(first: Tensor, second: Tensor) -> Tensor:
    """0.5 (KL(p||q) + KL(q||p)) of two sets of logits ``(..., C)``, per row: ``(...)``."""
    a, b = first.double().log_softmax(-1), second.double().log_softmax(-1)
    return 0.5 * ((a.exp() - b.exp()) * (a - b)).sum(-1)


def mean_class_recall(pred: Tensor, target: Tensor, num_classes: int) -> float:
    """Mean over classes of the recall (balanced accuracy); classes without samples are left out."""
    hit = torch.zeros(num_classes).index_add(0, target.cpu(), (pred == target).float().cpu())
    count = torch.bincount(target.cpu(), minlength=num_classes)
    return float((hit[count > 0] / count[count > 0]).mean())
