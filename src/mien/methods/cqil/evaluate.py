"""The method's protocol: one threshold from development data; error rates by quality, label and camera."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mien.core.protocol import Evaluation
from mien.core.seeds import derive, keys_of, uniform
from mien.data.surveil_images import SurveilImages
from mien.data.surveil_loader import as_bytes, as_floats, degraded
from mien.data.surveil_sets import SurveilSplits, read_surveil
from mien.engine.checkpoint import load_weights
from mien.engine.folder import ModelFolder
from mien.engine.pad_groups import acer_by, group_rows, tenths
from mien.engine.predictor import default_device
from mien.engine.task import Measured
from mien.methods.cqil.nets import build_net
from mien.methods.cqil.score import THRESHOLD_RULE, Scored, Scores, level_scores, scored, track_places
from mien.methods.cqil.task import configs
from mien.metrics import PadReport, class_balanced, pad_report, placements

QUALITIES = ("low", "mid", "high")
"""Thirds of the test pictures by quality."""
MOVED = 500
"""Test pictures, at most, whose features are followed through a degradation."""


def quality_levels(quality: Scores) -> NDArray[np.int64]:
    """(N,) 0 low, 1 mid, 2 high: thirds by rank, ties in order of place. O(N log N)."""
    rank = np.empty(len(quality), np.int64)
    rank[np.argsort(quality, kind="stable")] = np.arange(len(quality))
    return rank * 3 // max(1, len(quality))


def movement(clean: NDArray[np.float32], moved: NDArray[np.float32]) -> tuple[Scores, float]:
    """How far features move: 1 - cos(d(x), d(x_q)) of each picture, (N,), and what that means. O(N D).

    The second number is the mean of 1 - cos(d(x_i), d(x_j)) over different pictures i != j.
    """
    a, b = (v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-12) for v in (clean, moved))
    own = 1 - (a.astype(np.float64) * b).sum(1)
    n, total = len(a), a.astype(np.float64).sum(0)
    return own, float(1 - (total @ total - n) / max(1, n * (n - 1)))


def movement_of(
    net: nn.Module, images: SurveilImages, found: Scored, device: torch.device
) -> tuple[Scores, Scores, NDArray[np.int64]]:
    """Movement of test pictures under a degradation that every row shares, and by the spread of features.

    Returns:
        1 - cos of at most `MOVED` pictures; the same over the mean between different pictures; their places.
    """
    at = np.unique(np.linspace(0, len(images) - 1, min(MOVED, len(images))).round().astype(np.int64))
    keys = keys_of(images.paths[at].tolist())
    q = uniform(derive(0, "movement"), keys, 1)[:, 0].astype(np.float64)
    worse = as_bytes(degraded(as_floats(images.pictures[at]), q, keys, derive(0, "movement")))
    own, between = movement(found.features[at], scored(net, worse, device).features)
    return own, own / max(between, 1e-12), at


def _units(
    found: Scored, report: PadReport, images: SurveilImages, place: NDArray[np.int64]
) -> dict[str, NDArray[np.float64]]:
    """By track: ``right`` (1 - ACER) and ``auc`` of all pictures and of each third by quality."""
    level, tracks = quality_levels(images.quality), int(place.max()) + 1
    right = ((found.odds >= report.threshold.value) == images.live).astype(float)
    out = {}
    for name, rows in [
        ("", np.ones(len(place), bool)),
        *((f"_{n}", level == k) for k, n in enumerate(QUALITIES)),
    ]:
        live = images.live[rows]
        if not 0 < live.sum() < len(live):
            continue
        for what, values in (("right", right[rows]), ("auc", placements(found.odds[rows], live))):
            # A track without a picture of this quality has share 0: means over tracks stay the metric.
            shares = np.bincount(place[rows], class_balanced(values, live), tracks)
            out[f"{what}{name}"] = shares * tracks / len(live)
    if "right_low" in out and "right_high" in out:
        out["even"] = out["right_low"] - out["right_high"]
    return out


def measured(net: nn.Module, splits: SurveilSplits, test: SurveilImages, device: torch.device) -> Measured:
    """Metrics of a net on test pictures at the thresholds of its development pictures and tracks.

    ``acer``, ``apcer``, ``bpcer`` (pooled), ``auc``, ``eer`` of pictures; the same with ``track_``;
    ``acer_low`` .. ``auc_high`` by thirds of quality; ``even``: what the worst third loses against the best
    (0 = nothing); ``moved`` and ``moved_share`` of `movement`. O(N log N) and N forward passes.
    """
    found = scored(net, test.pictures, device)
    dev = level_scores(scored(net, splits.dev.pictures, device), splits.dev)
    reports = {
        level: pad_report(s, x.live, x.label.astype(str), threshold=THRESHOLD_RULE, draws=0,
                          dev=(dev[level][0], dev[level][1].live))
        for level, (s, x) in level_scores(found, test).items()
    }  # fmt: skip
    report, (place, _) = reports["image"], track_places(test)
    units = _units(found, report, test, place)
    metrics: dict[str, float] = {}
    for level, r in reports.items():
        mark = "" if level == "image" else f"{level}_"
        metrics |= {
            f"{mark}acer": r.acer_pooled.value, f"{mark}apcer": r.apcer_pooled.value,
            f"{mark}apcer_max": r.apcer_max.value, f"{mark}bpcer": r.bpcer.value, f"{mark}auc": r.auc.value,
            f"{mark}eer": r.eer.value,
        }  # fmt: skip
    for name in QUALITIES:
        if f"right_{name}" in units:
            metrics |= {f"acer_{name}": 1 - float(units[f"right_{name}"].mean()),
                        f"auc_{name}": float(units[f"auc_{name}"].mean())}  # fmt: skip
    moved, share, at = movement_of(net, test, found, device)
    for name, values in (("moved", moved), ("moved_share", share)):
        metrics[name] = float(values.mean())
        tracks = int(place.max()) + 1
        units[f"{name}"] = np.bincount(place[at], values, tracks) * tracks / len(values)
    units["still"], units["still_share"] = -units["moved"], -units["moved_share"]
    metrics |= {k: float(v.mean()) for k, v in units.items() if k not in metrics}
    return Measured(metrics, units, _extra(found, reports, test, metrics))


def _extra(
    found: Scored, reports: Mapping[str, PadReport], test: SurveilImages, metrics: Mapping[str, float]
) -> dict[str, Any]:
    report = reports["image"]
    wrong = (found.odds >= report.threshold.value) != test.live
    tables = {
        "error rates, %": [_line(level, r) for level, r in reports.items()],
        "by quality, %": [
            {"quality": n, "ACER": per_cent(metrics[f"acer_{n}"]), "AUC": per_cent(metrics[f"auc_{n}"])}
            for n in QUALITIES
            if f"acer_{n}" in metrics
        ],
        "by camera, %": group_rows("camera", acer_by(wrong, test.live, test.camera), "ACER"),
        "by scene, %": group_rows("scene", acer_by(wrong, test.live, test.scene), "ACER"),
        "APCER of each label, %": [{"label": k, "APCER": per_cent(v.value)} for k, v in report.apcer.items()],
    }
    return {
        "reports": {level: r.to_dict() for level, r in reports.items()},
        "species": {k: round(v.value, 4) for k, v in report.apcer.items()},
        "cameras": {row["camera"]: row["ACER"] for row in tables["by camera, %"]},
        "deciles": deciles(wrong, test),
        "tables": {k: rows for k, rows in tables.items() if rows and k != "by scene, %"},
        "threshold_rule": report.threshold.text,
        "remarks": [
            f"threshold: {report.threshold.text}, chosen on development pictures (tracks: on tracks, frames"
            " weighted by quality); APCER max: of the worst label (ISO/IEC 30107-3), pooled: of all attacks",
            *(w for w in report.warnings if "cannot be resolved" not in w),
        ],
    }


def deciles(wrong: NDArray[np.bool_], images: SurveilImages) -> list[dict[str, float | None]]:
    """ACER in tenths of the pictures by quality, worst first; None where one class is absent."""
    tenth = tenths(images.quality)
    return [
        {
            "quality": round(float(images.quality[tenth == int(g.group)].mean()), 4),
            "acer": None if g.error is None else round(g.error, 4),
        }
        for g in acer_by(wrong, images.live, tenth)
    ]


def _line(level: str, r: PadReport) -> dict[str, str]:
    values = {
        "APCER max": r.apcer_max.value, "APCER pooled": r.apcer_pooled.value, "BPCER": r.bpcer.value,
        "ACER pooled": r.acer_pooled.value, "AUC": r.auc.value, "EER on test": r.eer.value,
    }  # fmt: skip
    return {"level": level, **{k: per_cent(v) for k, v in values.items()}}


def per_cent(rate: float) -> str:
    """Two digits."""
    return f"{100 * rate:.2f}"


def restore(folder: ModelFolder) -> nn.Module:
    """The trained net of a model folder, in eval mode."""
    method, data = configs(folder.recipe)
    net = build_net(method, data.size, 0, load=False)
    load_weights(net, folder.weights)
    return net.eval()


def evaluate(folder: ModelFolder, evaluation: Evaluation) -> Measured:
    """A split of the model's own protocol: train, dev or test.

    Raises:
        DataError: no such split.
    """
    _, data = configs(folder.recipe)
    splits = read_surveil(data)
    return measured(restore(folder), splits, splits.get(evaluation.split), default_device())
