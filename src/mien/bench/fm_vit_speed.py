"""``mien bench fm_vit``: FM-ViT on whatever cameras there are, beside a fixed fusion that needs all three.

The reference is late fusion of three plain ViTs, each as deep (cross-modal blocks counted) and as wide: what
a user would deploy who has no flexible net. It always sees all three modalities. One picture at a time, one
thread, weights as they are before training (they do not change the cost).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mien.bench.speed import entry, interleave, one_thread, peak_bytes, ratio
from mien.engine.export import export_graph, open_session
from mien.methods.fm_vit.config import MODALITIES, RECIPES, FmVitConfig
from mien.methods.fm_vit.cost import parameters
from mien.methods.fm_vit.flexible import FlexibleNet, SubsetNet
from mien.methods.fm_vit.fusion import cost, fusion_of
from mien.methods.fm_vit.nets import build_net
from mien.methods.fm_vit.score import subset_name, subsets_of
from mien.methods.fm_vit.task import configs

FUSION = "fusion"
Seconds = Mapping[str, NDArray[np.float64]]
Runs = dict[str, tuple[FlexibleNet, Sequence[str]]]
"""Name -> net, and the modalities that it sees."""


class Shape(NamedTuple):
    """One net that is timed.

    Attributes:
        config: of the net.
        size: pixels a side of its input.
        repeats: timed runs of each subset.
        subsets: modalities joined by "+".
        onnx: whether single modalities and the fusion are also timed as graphs.
    """

    config: FmVitConfig
    size: int
    repeats: int
    subsets: Sequence[str]
    onnx: bool


def shapes() -> dict[str, Shape]:
    """The shipped recipe with every subset, and ViT-B/16 at 224 pixels with each modality alone.

    Three ViT-B as one graph take a minute to write and 1.4 GB, so only the small nets are timed as graphs.
    """
    every = [subset_name(s) for s in subsets_of(MODALITIES)]
    return {"small": _shape("small", 30, every, True), "b16": _shape("paper", 3, MODALITIES, False)}


def _shape(preset: str, repeats: int, subsets: Sequence[str], onnx: bool) -> Shape:
    method, data = configs(RECIPES[preset]())
    return Shape(method, data.size, repeats, subsets, onnx)


def bench(given: Mapping[str, Shape] | None = None) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Operations, parameters, latency and peak memory of each subset over those of the fusion.

    Ratio keys, each also with ``_NET`` for one net; without it the worst of the nets, M = rgb, depth, ir:

    ``flops_over_fusion_M``, ``latency_over_fusion_M``: with one modality over the fusion of three, batch 1.
    ``latency_over_fusion_M_onnx``: the same of the exported graphs in onnxruntime, where they are written.
    ``params_over_fusion``: all weights of the net over all weights of the fusion.

    Entries also hold ``gflops`` (of one sample) and ``parameters`` (weights that the subset needs);
    ``peak_mb`` is what torch allocates beside weights and pictures.

    Args:
        given: nets by name; default `shapes`.
    """
    entries: list[dict[str, Any]] = []
    found: dict[str, dict[str, float]] = {}
    with one_thread():
        for name, shape in (shapes() if given is None else given).items():
            own, found[name] = _measure(name, shape)
            entries += own
    keys = list(dict.fromkeys(k for ratios in found.values() for k in ratios))
    worst = {key: max(r[key] for r in found.values() if key in r) for key in keys}
    each = {f"{key}_{name}": value for name, ratios in found.items() for key, value in ratios.items()}
    return entries, {**worst, **each}


def _measure(name: str, shape: Shape) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Entries of one net, and its ratios."""
    own, fusion = (build_net(c, shape.size, 0).eval() for c in (shape.config, fusion_of(shape.config)))
    runs: Runs = {s: (own, s.split("+")) for s in shape.subsets} | {FUSION: (fusion, MODALITIES)}
    costs = cost(shape.config, shape.size)
    facts = {
        s: {"gflops": costs[f"flops_{s}"] / 1e9, "parameters": parameters(net, subset)}
        for s, (net, subset) in runs.items()
    }
    seconds, peaks = _torch(runs, shape)
    entries = [entry(f"{name}_{s}", t, peaks[s]) | facts[s] for s, t in seconds.items()]
    ratios = {f"flops_over_fusion_{m}": costs[f"flops_{m}"] / costs["flops_fusion"] for m in MODALITIES}
    ratios |= _over(seconds, "")
    if shape.onnx:
        graphs = _onnx({s: runs[s] for s in (*MODALITIES, FUSION)}, shape)
        entries += [entry(f"{name}_{s}_onnx", t) | facts[s] for s, t in graphs.items()]
        ratios |= _over(graphs, "_onnx")
    return entries, {**ratios, "params_over_fusion": costs["params"] / costs["params_fusion"]}


def _over(seconds: Seconds, suffix: str) -> dict[str, float]:
    return {f"latency_over_fusion_{m}{suffix}": ratio(seconds[m], seconds[FUSION]) for m in MODALITIES}


@torch.inference_mode()
def _torch(runs: Runs, shape: Shape) -> tuple[Seconds, dict[str, int]]:
    """Seconds and peak bytes of each; the run that memory is read of is also the warm-up."""
    images = {m: _pictures(1, 1, shape.size) for m in MODALITIES}

    def call(net: FlexibleNet, subset: Sequence[str]) -> Callable[[], object]:
        own = {m: images[m] for m in subset}
        return lambda: net.predict_proba(own)

    calls = {s: call(*run) for s, run in runs.items()}
    peaks = {}
    for s, (net, _) in runs.items():
        peaks[s] = peak_bytes(calls[s], [*net.parameters(), *net.buffers(), *images.values()])
    return interleave(calls, shape.repeats, warmup=0), peaks


def _onnx(runs: Runs, shape: Shape) -> Seconds:
    """Seconds of each as a graph."""
    calls: dict[str, Callable[[], object]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for s, (net, subset) in runs.items():
            pictures = _pictures(2, len(subset), shape.size)
            file = export_graph(SubsetNet(net, subset), pictures, Path(folder) / f"{s}.onnx")
            calls[s] = partial(open_session(file).run, None, {"image": pictures[:1].numpy()})
        return interleave(calls, shape.repeats)


def _pictures(batch: int, modalities: int, size: int) -> Tensor:
    return torch.rand(batch, 3 * modalities, size, size, generator=torch.Generator().manual_seed(0))
