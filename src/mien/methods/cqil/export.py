"""``mien export cqil``: one graph from a picture to P(live), and one to its quality."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from mien.data.labelled import spread
from mien.data.surveil_loader import as_floats
from mien.data.surveil_sets import read_surveil
from mien.engine.export import ExportPlan, Metric
from mien.methods.cqil.loss import CqilOut
from mien.methods.cqil.model import CQIL, live_odds
from mien.metrics import acer

if TYPE_CHECKING:
    from mien.methods.cqil.predict import Predictor

CALIBRATION = 128
"""Development pictures that int8 graphs with static ranges are calibrated on."""


class LiveGraph(nn.Module):
    """Pictures (B, 3, S, S) in [0, 1] -> (B,) P(live) = sigmoid(a s + b), Platt's; normalisation is inside.

    Args:
        net: pictures -> `mien.methods.cqil.loss.CqilOut`.
        calibration: (a, b), see `mien.metrics.calibrate`.
    """

    def __init__(self, net: nn.Module, calibration: Sequence[float]) -> None:
        super().__init__()
        self.net = _fixed(net)
        self.a, self.b = calibration

    def forward(self, image: Tensor) -> Tensor:
        """P(live)."""
        out: CqilOut = self.net(image)
        return (self.a * live_odds(out.logits) + self.b).sigmoid()


class QualityGraph(nn.Module):
    """Pictures (B, 3, S, S) in [0, 1] -> (B,) quality, 1 - r(u), in [0, 1].

    Args:
        net: a net that reads quality.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = _fixed(net)

    def forward(self, image: Tensor) -> Tensor:
        """Quality."""
        severity: Tensor = self.net(image).quality
        return (1 - severity).clamp(0, 1)


def _fixed(net: nn.Module) -> nn.Module:
    """A graph holds no solver (ONNX has none), but what it gives for these weights."""
    return copy.deepcopy(net).fixed() if isinstance(net, CQIL) else net


def export_plan(predictor: Predictor, count: int) -> ExportPlan:
    """What ``mien export`` writes: ``live``, and ``quality`` where the net has quality features.

    ``live`` is measured by 1 - ACER (APCER over all attacks) at the stored threshold of pictures, on
    ``count`` test pictures evenly spread; ``quality`` by its mean.

    Args:
        predictor: the model; its ``net``, ``data`` and ``folder`` are looked at.
        count: test pictures, at most.
    """
    known = predictor.folder.facts["thresholds"]["image"]
    net = copy.deepcopy(predictor.net).cpu().eval()
    splits = read_surveil(predictor.data)
    chosen, held = spread(len(splits.test), max(2, count)), spread(len(splits.dev), CALIBRATION)
    live, threshold = splits.test.live[chosen], float(known["value"])
    graphs: dict[str, nn.Module] = {"live": LiveGraph(net, known["calibration"])}
    metrics: dict[str, Metric] = {
        "live": lambda p: 1 - acer(p.astype(np.float64), live, threshold, apcer="pooled")
    }
    with torch.inference_mode():
        if net(as_floats(splits.test.pictures[:1])).quality is not None:
            graphs["quality"], metrics["quality"] = QualityGraph(net), lambda q: float(q.mean())
    has_both = bool(live.any() and not live.all())
    return ExportPlan(
        graphs,
        as_floats(splits.test.pictures[chosen]),
        metrics if has_both else None,
        "1 - ACER; of quality its mean" if has_both else "none",
        as_floats(splits.dev.pictures[held]),
        splits.real,
    )
