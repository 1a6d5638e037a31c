"""Verification of a recogniser on sets of pairs, by the published rules."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mien.core.errors import DataError
from mien.data.augment import prepare
from mien.data.channel_order import check_channel_order
from mien.data.config import FaceData
from mien.data.verification_sets import VerificationSet
from mien.engine.face_embedding import MaskedView, embed
from mien.engine.predictor import default_device
from mien.engine.task import Measured
from mien.metrics import auc, eer, flip_sum, kfold_accuracy, tar_at_far, val_at_far

FOLDS = 10
FARS = (1e-2, 1e-3)
PROBED = 300
"""Pairs on which the order of the channels is looked at."""


def pair_scores_of(
    net: nn.Module,
    pairs: VerificationSet,
    size: int,
    look: Literal["colour", "masked"],
    device: torch.device,
) -> NDArray[np.float64]:
    """(N,) cosines of the pairs' flip-sum embeddings. Pictures are held O(batch), embeddings O(F D).

    Raises:
        DataError: a picture is damaged, or its embedding has no direction.
    """
    faces = pairs.faces if look == "colour" else MaskedView(pairs.faces, size)
    e = flip_sum(embed(net, faces, size, device).numpy()).astype(np.float64)
    first, second = pairs.pairs.T
    return np.asarray((e[first] * e[second]).sum(1))


def measure_pairs(net: nn.Module, pairs: VerificationSet, data: FaceData) -> Measured:
    """Ten-fold accuracy, VAL at FAR 1e-3, EER, AUC, TAR at FAR 1e-2 and 1e-3 of a verification set.

    Units are pairs: whether each was told right with the threshold of its fold. Extra: intervals, the rules
    by name, thresholds of the folds, and whether red and blue look exchanged (warned about).

    Args:
        net: a recogniser.
        pairs: the set, fold by fold.
        data: what the net was trained on.

    Raises:
        DataError: fewer than ten pairs, or of one kind only.

    Warns:
        UserWarning: the pictures or the model are BGR.
    """
    if len(pairs) < FOLDS or pairs.same.all() or not pairs.same.any():
        raise DataError(
            f"{pairs.name}: {len(pairs)} pairs, {int(pairs.same.sum())} of one person; ten folds need ten"
            " pairs, and some of each kind"
        )
    device = default_device()
    scores = pair_scores_of(net, pairs, data.size, data.look, device)
    distances = np.maximum(0.0, 2 - 2 * scores)
    folds = kfold_accuracy(distances, pairs.same, FOLDS)
    tar = tar_at_far(scores, pairs.same, FARS)
    metrics = {"accuracy": folds.mean, "accuracy_std": folds.std}
    rules = {
        "embedding": "f(x) + f(mirrored x), length 1, cosine",
        "accuracy": f"{FOLDS} folds; {folds.rule}",
        "tar": "most genuine pairs accepted with FAR <= target",
    }
    extra: dict[str, Any] = {"pairs": len(pairs), "kind": pairs.kind, "rules": rules}
    extra["thresholds"] = list(folds.thresholds)
    extra["intervals"] = {"accuracy": list(folds.interval)}
    extra["intervals"] |= {f"tar_{t.target:g}": [round(float(v), 6) for v in t.interval] for t in tar}
    extra["resolved"] = {f"tar_{t.target:g}": t.resolved for t in tar}
    try:
        val = val_at_far(distances, pairs.same, 1e-3, FOLDS)
        metrics["val_0.001"] = val.val
        rules["val"] = val.rule
        extra["resolved"]["val_0.001"] = val.resolved
    except DataError as error:  # a fold with pairs of one kind only
        rules["val"] = f"left out: {error}"
    metrics |= {"eer": eer(scores, pairs.same).value, "auc": auc(scores, pairs.same)}
    metrics |= {f"tar_{t.target:g}": t.tar for t in tar}
    if data.look == "colour":
        extra["channels"] = _channels(net, pairs, data.size, device)
    if pairs.note:
        extra["note"] = pairs.note
    return Measured(metrics, {"accuracy": _right(distances, pairs.same, folds.thresholds)}, extra)


def _right(
    distances: NDArray[np.float64], same: NDArray[np.bool_], thresholds: tuple[float, ...]
) -> NDArray[np.float64]:
    """(N,) 1 where a pair is told right with its fold's threshold, else 0."""
    parts = np.array_split(np.arange(len(same)), len(thresholds))
    limit = np.concatenate([np.full(len(p), t) for p, t in zip(parts, thresholds, strict=True)])
    return np.asarray((distances < limit) == same, np.float64)


def _channels(net: nn.Module, pairs: VerificationSet, size: int, device: torch.device) -> dict[str, Any]:
    """What `check_channel_order` finds on some pairs."""

    @torch.inference_mode()
    def forward(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        out: NDArray[np.float32] = net(prepare(list(pictures), size, 3).to(device)).float().cpu().numpy()
        return out

    report = check_channel_order(forward, pairs.cut(_both_kinds(pairs).tolist(), size))
    return {"as_given": report.as_given, "reversed": report.reversed, "is_swapped": report.is_swapped}


def _both_kinds(pairs: VerificationSet) -> NDArray[np.int64]:
    """Places of as many pairs of each kind, evenly spread."""
    kinds = [np.flatnonzero(pairs.same == k) for k in (True, False)]
    count = min(PROBED // 2, *map(len, kinds))
    return np.concatenate([k[np.linspace(0, len(k) - 1, count).astype(np.int64)] for k in kinds])
