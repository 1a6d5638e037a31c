"""Scores of pictures and of tracks, and what a predictor keeps of them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mien.data.surveil_images import SurveilImages
from mien.data.surveil_loader import as_floats
from mien.data.surveil_sets import SurveilSplits
from mien.methods.cqil.model import live_odds
from mien.metrics import auc, calibrate, choose_pad_threshold, probability
from mien.metrics.pad_report import FLIPPED

THRESHOLD_RULE = "eer"
"""Chosen on development pictures, or tracks, and never on test ones."""
LEVELS = ("image", "track")
Scores = NDArray[np.float64]
log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Scored:
    """What a net says of N pictures.

    Attributes:
        odds: (N,) log odds of being live.
        quality: (N,) in [0, 1]: 1 - the severity read from the picture; 1 where the net reads none.
        features: (N, D) float32, what the decision is made of.
    """

    odds: Scores
    quality: Scores
    features: NDArray[np.float32]


@torch.no_grad()  # not inference mode: a net that is moved there could not be trained on
def scored(net: nn.Module, pictures: NDArray[np.uint8], device: torch.device, batch: int = 256) -> Scored:
    """The whole set in order. Memory O(batch + N D).

    Args:
        net: pictures in [0, 1] -> `mien.methods.cqil.loss.CqilOut`.
        pictures: (N, S, S, 3) uint8.
        device: where the net runs.
        batch: pictures at a time.
    """
    net = net.to(device).eval()
    odds, quality, features = [], [], []
    for first in range(0, len(pictures), batch):
        out = net(as_floats(pictures[first : first + batch]).to(device))
        odds.append(live_odds(out.logits.double()).cpu().numpy())
        severity = torch.zeros(len(out.logits)) if out.quality is None else out.quality
        quality.append(1 - severity.double().clamp(0, 1).cpu().numpy())
        features.append(out.features.float().cpu().numpy())
    return Scored(np.concatenate(odds), np.concatenate(quality), np.concatenate(features))


def track_places(images: SurveilImages) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which track each picture is of, (N,) 0 .. T - 1, and the first picture of each, (T,). O(N log N).

    Pictures of one track folder that show something else (another label or subject) are another track.
    """
    rows = np.stack([images.track, images.subject, images.label], 1)
    _, first, inverse = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    return inverse.ravel().astype(np.int64), first.astype(np.int64)


def track_scores(odds: Scores, quality: Scores, place: NDArray[np.int64]) -> Scores:
    """s_v = sum_i w_i s_i / sum_i w_i over the frames of each track, w = quality (at least .01). O(N).

    Args:
        odds: (N,).
        quality: (N,) in [0, 1].
        place: (N,) track of each, 0 .. T - 1.

    Returns:
        (T,).
    """
    weight = np.maximum(quality, 0.01)
    return np.asarray(np.bincount(place, weight * odds) / np.bincount(place, weight))


def level_scores(found: Scored, images: SurveilImages) -> dict[str, tuple[Scores, SurveilImages]]:
    """``image`` and ``track`` -> scores, and pictures that tell what each is of (a track's first)."""
    place, first = track_places(images)
    return {
        "image": (found.odds, images),
        "track": (track_scores(found.odds, found.quality, place), images.subset(first)),
    }


def dev_scores(net: nn.Module, device: torch.device, *, splits: SurveilSplits) -> dict[str, float]:
    """AUC on development pictures and tracks."""
    levels = level_scores(scored(net, splits.dev.pictures, device), splits.dev)
    return {f"auc_{name}": float(auc(s, x.live)) for name, (s, x) in levels.items()}


def fit_facts(
    net: nn.Module, device: torch.device, *, splits: SurveilSplits, protocol: str
) -> dict[str, Any]:
    """What a predictor needs beside the weights: calibration and thresholds, both from development data.

    An AUC below 0.4 is warned about: labels may be upside down.
    """
    found = scored(net, splits.dev.pictures, device)
    thresholds: dict[str, Any] = {}
    for level, (s, images) in level_scores(found, splits.dev).items():
        chosen = choose_pad_threshold(s, images.live, THRESHOLD_RULE)
        if (area := float(auc(s, images.live))) < FLIPPED:
            log.warning(
                f"{level}s: AUC {area:.2f} on development data: attacks score higher than live faces; are the"
                " labels of one split upside down?"
            )
        a, b = calibrate(s, images.live)
        thresholds[level] = {
            "calibration": [a, b],
            "logit": chosen.value,
            "value": float(probability(np.array([chosen.value]), (a, b))[0]),
            "rule": f"{chosen.text}, {len(s)} {level}s",
            "apcer": chosen.apcer_pooled,
            "bpcer": chosen.bpcer,
        }
    return {
        "thresholds": thresholds,
        "threshold": thresholds["image"],
        "protocol": protocol,
        "dev_quality": [float(v) for v in np.quantile(found.quality, [0.01, 0.5, 0.99])],
        "data": {"fingerprint": splits.fingerprint, "note": splits.note, "real": splits.real},
    }
