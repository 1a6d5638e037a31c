"""``mien inspect ncl``: group sizes, accuracy and disagreement by class, the pairs in the hard sets."""

from __future__ import annotations

import torch
from torch import Tensor

from mien.engine.folder import ModelFolder
from mien.engine.predictor import default_device
from mien.engine.show import Inspection
from mien.methods.ncl.config import InspectOptions
from mien.methods.ncl.evaluate import expert_kl, per_class, read_own_splits, restore
from mien.methods.ncl.loss import hard_category_mask
from mien.methods.ncl.task import collect_logits, configs
from mien.metrics.classification import shot_groups


def inspect(folder: ModelFolder, options: InspectOptions) -> Inspection:
    """Diagnostics of one model on one split."""
    method, data = configs(folder.recipe)
    splits = read_own_splits(folder)
    logits, target = collect_logits(restore(folder), splits.get(options.split), data, default_device())
    counts, classes = splits.train.counts(), splits.train.classes
    groups = shot_groups(counts, options.many, options.few)
    accuracy = per_class(logits, target)
    gap = expert_kl(logits) if len(logits) > 1 else torch.zeros(len(target))
    by_class = [
        {
            "class": classes[c],
            "training": int(counts[c]),
            "group": next(name for name, mask in groups.items() if mask[c]),
            "single": round(accuracy["single"][c], 4),
            "ensemble": round(accuracy["ensemble"][c], 4),
            "disagreement": round(float(gap[target == c].mean()), 4),
        }
        for c in range(len(classes))
    ]
    default = max(2, int(method.hard_ratio * len(classes)))
    n_hard = default if method.n_hard is None else method.n_hard
    facts = {
        "training_images": int(counts.sum()),
        "imbalance_factor": float(counts.max() / max(1, counts.min())),
        "groups": {name: int(mask.sum()) for name, mask in groups.items()},
        "hard_set_size": n_hard,
        "experts": len(logits),
        "data": splits.note,
    }
    pairs = hard_pairs(logits[0], target, n_hard or default, list(classes))[: options.top]
    return Inspection(facts, {"classes": by_class, "hard pairs": pairs})


def hard_pairs(logits: Tensor, target: Tensor, n_hard: int, classes: list[str]) -> list[dict[str, object]]:
    """How often class b is in the hard set of pictures of class a, and taken for it; most often first."""
    index = hard_category_mask(logits, target, n_hard)[:, 1:]
    pred = logits.argmax(-1)
    size = len(classes)
    listed, taken = torch.zeros(size, size), torch.zeros(size, size)
    for column in index.T:
        listed.index_put_((target, column), torch.ones(len(target)), accumulate=True)
    taken.index_put_((target, pred), torch.ones(len(target)), accumulate=True)
    total = torch.bincount(target, minlength=size).clamp(min=1)[:, None]
    listed, taken = listed / total, (taken / total).fill_diagonal_(0)
    order = (taken * 1000 + listed).fill_diagonal_(-1).flatten().argsort(descending=True)
    return [
        {
            "picture of": classes[i // size],
            "taken for": classes[i % size],
            "rate": round(float(taken.flatten()[i]), 4),
            "in hard set": round(float(listed.flatten()[i]), 4),
        }
        for i in order.tolist()
    ]
