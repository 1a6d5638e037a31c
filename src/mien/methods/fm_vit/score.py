"""Scores of a net for subsets of its modalities, and what a predictor keeps of them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mien.data.config import PadData
from mien.data.pad_images import LIVE, PadImages, PadSplits
from mien.data.pad_inputs import sharpness
from mien.data.pad_loader import pad_batches, seen_by
from mien.data.pad_sample import video_scores
from mien.methods.fm_vit.config import FmVitConfig
from mien.metrics import auc, calibrate, choose_pad_threshold, probability
from mien.metrics.pad_report import FLIPPED

THRESHOLD_RULE = "eer"
"""Chosen on development presentations with the same modalities, and never on test ones."""
Scores = NDArray[np.float64]
LEAST_SHARP = 0.01
"""Share of the development pictures that are less sharp than what a predictor compares with."""
_MEASURED = 500  # development pictures whose sharpness is measured
log = logging.getLogger(__name__)


def subsets_of(modalities: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """All non-empty subsets: one modality, then two, then more."""
    return tuple(s for n in range(1, len(modalities) + 1) for s in combinations(modalities, n))


def subset_name(subset: Sequence[str]) -> str:
    """``rgb``, ``rgb+depth`` and so on."""
    return "+".join(subset)


@torch.no_grad()  # not inference mode: a net that is moved there could not be trained on
def live_logits(
    net: nn.Module, images: PadImages, subset: Sequence[str], size: int, device: torch.device
) -> Scores:
    """(N,) log odds of being live, z[live] - z[attack], of the fused logits with these modalities only."""
    net, rows = net.to(device).eval(), []
    for batch, _ in pad_batches(images, subset, size):
        fused = net({m: x.to(device) for m, x in batch.items()})["fused"].double()
        rows.append((fused[:, LIVE] - fused[:, 1 - LIVE]).cpu().numpy())
    return np.concatenate(rows)


def clip_scores(scores: Scores, videos: NDArray[np.str_]) -> tuple[Scores, NDArray[np.int64]]:
    """Mean score of the frames of each clip, and the place of each clip's first frame. O(n log n)."""
    _, means = video_scores(scores, videos.tolist())
    return means, np.sort(np.unique(videos, return_index=True)[1]).astype(np.int64)


def dev_scores(
    net: nn.Module, device: torch.device, *, method: FmVitConfig, data: PadData, splits: PadSplits
) -> dict[str, float]:
    """AUC on development presentations: of all modalities, and of each alone."""
    labels = splits.dev.labels
    whole = method.modalities
    found = {}
    for subset in [whole] + ([(m,) for m in whole] if len(whole) > 1 else []):
        logits = live_logits(net, splits.dev, subset, data.size, device)
        scores, first = clip_scores(logits, labels.videos)
        found[f"auc_{subset_name(subset)}"] = float(auc(scores, labels.live[first]))
    return found


def least_sharpness(images: PadImages, modality: str, size: int) -> float:
    """What all but `LEAST_SHARP` of (some of) the pictures exceed, see `mien.data.pad_inputs.sharpness`.

    O(pixels of at most 500 pictures).
    """
    index = np.unique(np.linspace(0, len(images) - 1, min(_MEASURED, len(images))).round().astype(np.int64))
    found = sharpness(seen_by(images, (modality,), index, size)[modality])
    return float(np.quantile(found.numpy(), LEAST_SHARP))


def fit_facts(
    net: nn.Module, device: torch.device, *, method: FmVitConfig, data: PadData, splits: PadSplits
) -> dict[str, Any]:
    """What a predictor needs beside the weights: for each subset calibration and threshold, both from dev.

    Also how sharp pictures are. An AUC below 0.4 is warned about: labels may be upside down.

    Raises:
        DataError: the development presentations are all live or all attacks.
    """
    live = splits.dev.labels.live
    found: dict[str, Any] = {}
    areas: dict[str, float] = {}
    for subset in subsets_of(method.modalities):
        scores, first = clip_scores(
            live_logits(net, splits.dev, subset, data.size, device), splits.dev.labels.videos
        )
        own = live[first]
        chosen = choose_pad_threshold(scores, own, THRESHOLD_RULE)
        areas[subset_name(subset)] = float(auc(scores, own))
        a, b = calibrate(scores, own)
        found[subset_name(subset)] = {
            "calibration": [a, b],
            "logit": chosen.value,
            "value": float(probability(np.array([chosen.value]), (a, b))[0]),
            "rule": f"{chosen.text}, {len(own)} presentations",
            "apcer": chosen.apcer_pooled,
            "bpcer": chosen.bpcer,
        }
    worst = min(areas, key=lambda name: areas[name])
    if areas[worst] < FLIPPED:
        log.warning(
            f"{worst}: AUC {areas[worst]:.2f} on development presentations: attacks score higher than live"
            " faces; are the labels of one split upside down?"
        )
    return {
        "modalities": list(method.modalities),
        "required_modalities": list(getattr(net, "required_modalities", ())),
        "thresholds": found,
        "threshold": found[subset_name(method.modalities)],
        "sharpness": {
            m: least_sharpness(splits.dev, m, data.size) for m in method.modalities if m != "depth"
        },
        "species": sorted({str(s) for s in splits.train.labels.species}),
        "data": {"fingerprint": splits.fingerprint, "note": splits.note, "real": splits.real},
    }
