"""``mien export fm_vit``: one graph for each subset of the modalities, from pictures to P(live)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mien.data.labelled import spread
from mien.data.pad_images import PadImages
from mien.data.pad_loader import seen_by
from mien.data.pads import read_pad
from mien.engine.export import ExportPlan, Metric
from mien.methods.fm_vit.flexible import LIVE, FlexibleNet, Output, SubsetNet
from mien.methods.fm_vit.score import subset_name
from mien.metrics import acer

if TYPE_CHECKING:
    from mien.methods.fm_vit.predict import Predictor

CALIBRATION = 128
"""Development presentations that int8 graphs with static ranges are calibrated on."""
T = TypeVar("T")


class Calibrated(FlexibleNet):
    """A net whose fused logits are Platt's: softmax(fused)[live] = 1 / (1 + exp(-(a s + b))).

    s = z[live] - z[attack] of the net's own fused logits; everything else of its output stays as it is.

    Args:
        net: any `FlexibleNet`.
        calibration: (a, b), see `mien.metrics.calibrate`.
    """

    def __init__(self, net: FlexibleNet, calibration: Sequence[float]) -> None:
        super().__init__(net.modalities, net.img_size, net.required_modalities)
        self.net = net
        self.a, self.b = calibration

    def forward(self, images: Mapping[str, Tensor]) -> Output:
        """Images (B, 3 or 1, S, S) in [0, 1] of the modalities present -> the net's output, calibrated."""
        out = cast("Output", self.net(images))
        z = out["fused"]
        odds = self.a * (z[:, LIVE] - z[:, 1 - LIVE]) + self.b
        return {**out, "fused": torch.stack([odds, torch.zeros_like(odds)], 1)}


class _Each(Mapping[str, T], Generic[T]):
    """Name of a graph -> something made of its subset when it is asked for, so that one is held at a time."""

    def __init__(self, subsets: Mapping[str, tuple[str, ...]], make: Callable[[tuple[str, ...]], T]) -> None:
        self.subsets, self.make = subsets, make

    def __getitem__(self, name: str) -> T:
        return self.make(self.subsets[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self.subsets)

    def __len__(self) -> int:
        return len(self.subsets)


def graph_name(subset: Sequence[str]) -> str:
    """``rgb``, ``rgb_depth`` and so on: names of files."""
    return "_".join(subset)


def side_by_side(images: PadImages, index: NDArray[np.int64], subset: Sequence[str], size: int) -> Tensor:
    """(N, 3 |subset|, size, size) in [0, 1], as `SubsetNet` takes pictures. O(N |subset| size^2)."""
    seen = seen_by(images, subset, index, size)
    return torch.cat([seen[m].expand(-1, 3, -1, -1) for m in subset], 1)


def export_plan(predictor: Predictor, count: int) -> ExportPlan:
    """What ``mien export`` writes: a graph for each subset, (B, 3 |subset|, S, S) in [0, 1] -> (B,) P(live).

    Normalisation and the subset's calibration are inside. Each graph is measured by 1 - ACER (APCER over all
    attacks) at its subset's stored threshold, on ``count`` test pictures evenly spread, each on its own
    (frames of a clip are not averaged); there is no metric where these are all live or all attacks.

    Args:
        predictor: the model; its ``net``, ``data`` and ``folder`` are looked at.
        count: test pictures, at most.
    """
    size, known = predictor.data.size, predictor.folder.facts["thresholds"]
    net = cast("FlexibleNet", copy.deepcopy(predictor.net).cpu())
    splits = read_pad(predictor.data)
    chosen, held = spread(len(splits.test), max(2, count)), spread(len(splits.dev), CALIBRATION)
    live = splits.test.labels.live[chosen]

    def graph(subset: tuple[str, ...]) -> nn.Module:
        return SubsetNet(Calibrated(net, known[subset_name(subset)]["calibration"]), subset)

    def metric(subset: tuple[str, ...]) -> Metric:
        threshold = float(known[subset_name(subset)]["value"])
        return lambda p: 1 - acer(p.astype(np.float64), live, threshold, apcer="pooled")

    subsets = {graph_name(own := tuple(name.split("+"))): own for name in known}
    has_both = bool(live.any() and not live.all())
    return ExportPlan(
        _Each(subsets, graph),
        _Each(subsets, lambda s: side_by_side(splits.test, chosen, s, size)),
        _Each(subsets, metric) if has_both else None,
        "1 - ACER" if has_both else "none",
        _Each(subsets, lambda s: side_by_side(splits.dev, held, s, size)),
        splits.real,
    )
