"""NCL++ x face recognition: people of whom some have many training pictures and some a handful.

Each expert names the people it was trained on, from other pictures of them, and its pooled feature is an
embedding that tells people apart whom it has never seen.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mien.data.longtail_people import unseen_people
from mien.engine.faces import measure_people
from mien.engine.folder import ModelFolder
from mien.engine.predictor import default_device
from mien.engine.task import Measured
from mien.methods.ncl.evaluate import expert_kl, read_own_splits, restore
from mien.methods.ncl.model import MultiExpertNet
from mien.methods.ncl.task import collect_logits, configs
from mien.metrics import by_cluster

UNSEEN, EACH = 120, 6
"""People who are no class, and pictures of each."""


class Features(nn.Module):
    """An expert without its classifier: (B, 3, S, S) in [0, 1] -> (B, D)."""

    def __init__(self, net: MultiExpertNet, expert: int) -> None:
        super().__init__()
        self.before = nn.Sequential(net.normalize, net.stem)
        self.backbone = cast(nn.Module, net.experts[expert].backbone)

    def forward(self, image: Tensor) -> Tensor:
        """Pooled features."""
        return cast(Tensor, self.backbone(self.before(image)))


def longtail(folder: ModelFolder) -> Measured:
    """Balanced accuracy on held-out pictures of the training people, and verification of unseen ones.

    ``known``: mean over experts of the share of pictures that are named rightly, which is balanced since all
    people have as many; ``known_many``, ``_medium`` and ``_few``: of the thirds of people with most and least
    training pictures; ``known_ensemble``: by the mean of logits. ``unseen_rank_1`` and ``unseen_tar_0.01``:
    mean over experts, by cosine of features. ``expert_kl``: disagreement of experts. Units are people.
    """
    data = configs(folder.recipe)[1]
    splits, net = read_own_splits(folder), restore(folder)
    logits, target = collect_logits(net, splits.test, data, default_device())
    known = known_people(logits, target.numpy(), splits.train.counts())
    strangers = unseen_people(data, UNSEEN, EACH)
    each = [measure_people(Features(net, k), strangers, data.size) for k in range(len(net.experts))]
    names = ("rank_1", "tar_0.01")
    metrics = {f"unseen_{n}": float(np.mean([m.metrics[n] for m in each])) for n in names}
    units = {f"unseen_{n}": np.mean([m.units[n] for m in each], axis=0) for n in names}
    return Measured({**known.metrics, **metrics}, {**known.units, **units})


def known_people(logits: Tensor, target: NDArray[np.int64], counts: NDArray[np.int64]) -> Measured:
    """The metrics of `longtail` that begin with ``known``, and ``expert_kl``. O(K N C).

    Args:
        logits: (K, N, C) raw.
        target: (N,) as many pictures of each person.
        counts: (C,) training pictures of each.
    """
    right = (logits.argmax(-1) == torch.from_numpy(target)).double().mean(0).numpy()
    together = (logits.mean(0).argmax(-1).numpy() == target).astype(np.float64)
    people = len(counts)
    units = {"known": by_cluster(right, target, people)}
    order = np.argsort(-counts, kind="stable")
    for name, own in zip(("many", "medium", "few"), np.array_split(order, 3), strict=True):
        units[f"known_{name}"] = units["known"][np.sort(own)]
    units["known_ensemble"] = by_cluster(together, target, people)
    if len(logits) > 1:
        units["expert_kl"] = by_cluster(expert_kl(logits).numpy(), target, people)
    return Measured({k: float(v.mean()) for k, v in units.items()}, units)
