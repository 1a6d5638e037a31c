"""``mien bench cqil``: the deployed liveness detector, picture to P(live), as a graph beside torch.

The weights are the shipped ones, else those of the small recipe before training, which cost the same. One
thread. Every picture costs the same: the super-resolution part runs on all and is kept for small ones.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mien.bench.speed import entry, interleave, one_thread, ratio
from mien.core.config import Recipe
from mien.core.shipped import shipped
from mien.data.surveil_loader import as_floats
from mien.data.surveil_sets import demo_pictures
from mien.engine.export import export_graph, open_session, quantize, run_session
from mien.engine.zoo import load_folder
from mien.methods.cqil.config import RECIPES
from mien.methods.cqil.evaluate import restore
from mien.methods.cqil.export import LiveGraph
from mien.methods.cqil.model import CQIL
from mien.methods.cqil.nets import build_net
from mien.methods.cqil.task import configs

SHIPPED = "cqil/small"
Seconds = Mapping[str, NDArray[np.float64]]


class Subject(NamedTuple):
    """What is timed.

    Attributes:
        net: pictures -> `mien.methods.cqil.loss.CqilOut`.
        size: pixels a side.
        calibration: (a, b) of P(live) = sigmoid(a s + b).
        pictures: (N >= 2, 3, S, S) on which int8 ranges and differences are measured.
        source: whose weights these are.
    """

    net: nn.Module
    size: int
    calibration: tuple[float, float]
    pictures: Tensor
    source: str


class Plan(NamedTuple):
    """How long everything is measured.

    Attributes:
        repeats: interleaved runs.
        batches: pictures at a time; the ratios are those of the first.
        recipe: of a net that is built instead of the shipped one.
        tracks: of made faces and of attacks, whose frames are the pictures (50 ms each).
    """

    repeats: int = 40
    batches: tuple[int, ...] = (1, 32)
    recipe: Recipe | None = None
    tracks: int = 5


def subject(plan: Plan) -> Subject:
    """The shipped model, or one of ``plan.recipe`` (default small) before training."""
    if plan.recipe is None and SHIPPED in shipped():
        folder = load_folder(SHIPPED)
        _, data = configs(folder.recipe)
        a, b = folder.facts["thresholds"]["image"]["calibration"]
        net, source = restore(folder), SHIPPED
    else:
        method, data = configs(plan.recipe or RECIPES["small"]())
        net, source, (a, b) = (
            build_net(method, data.size, 0, load=False).eval(),
            "before training",
            (1.0, 0.0),
        )
    pictures = as_floats(demo_pictures(data, plan.tracks).pictures)
    return Subject(net, data.size, (float(a), float(b)), pictures, source)


def variants(net: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The net as it is; and, where it has a super-resolution part, the same weights without."""
    if not isinstance(net, CQIL) or net.resolver is None:
        yield "plain", net
        return
    bare = copy.deepcopy(net)
    bare.resolver = None
    yield from (("sr", net), ("plain", bare))


def bench(plan: Plan | None = None) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Latency of torch, of the fp32 graph and of the int8 graph.

    ``onnx_speedup``, ``int8_speedup``: torch over the graph, one picture at a time, the net as it is
    deployed; with ``_plain`` the same weights without super-resolution.
    ``fps_NET_KIND_B``: pictures a second; NET sr or plain, KIND torch, onnx or int8, B at a time.
    ``sr_cost``: time with super-resolution over time without, fp32 graph, one at a time (where it has one).

    Entries of graphs also hold ``megabytes`` and ``max_difference``, the largest change of P(live) against
    torch on made faces; ``model`` says whose weights.

    Args:
        plan: how long; default `Plan`.
    """
    plan = plan or Plan()
    entries: list[dict[str, Any]] = []
    ratios: dict[str, float] = {}
    first: dict[str, Seconds] = {}
    with one_thread(), tempfile.TemporaryDirectory() as folder:
        own = subject(plan)
        for name, net in variants(own.net):
            graph = LiveGraph(net, own.calibration).eval()
            calls, facts = _calls(graph, own.pictures, Path(folder) / f"{name}.onnx")
            for batch in plan.batches:
                x = _tiled(own.pictures, batch)
                seconds = interleave({k: partial(call, x) for k, call in calls.items()}, plan.repeats)
                first.setdefault(name, seconds)
                for kind, taken in seconds.items():
                    told = {"model": own.source, **facts[kind]}
                    entries.append(entry(f"{name}_{kind}_{batch}", taken) | told)
                    ratios[f"fps_{name}_{kind}_{batch}"] = batch / float(np.median(taken))
    return entries, {**_speedups(first), **ratios}


def _calls(
    graph: nn.Module, pictures: Tensor, path: Path
) -> tuple[dict[str, Callable[[Tensor], object]], dict[str, dict[str, float]]]:
    """Kind -> pictures to answers; kind -> facts of its file."""
    file = export_graph(graph, pictures[:2], path)
    files = {"onnx": file, "int8": quantize(file, pictures.numpy(), dynamic=False)}
    calls: dict[str, Callable[[Tensor], object]] = {"torch": partial(_torch, graph)}
    facts: dict[str, dict[str, float]] = {"torch": {}}
    wanted = _torch(graph, pictures).numpy()
    for kind, one in files.items():
        session = open_session(one)
        calls[kind] = partial(_graph, session)
        change = float(np.abs(run_session(session, pictures.numpy()) - wanted).max())
        facts[kind] = {"megabytes": one.stat().st_size / 1e6, "max_difference": change}
    return calls, facts


def _torch(graph: nn.Module, x: Tensor) -> Tensor:
    with torch.inference_mode():
        out: Tensor = graph(x)
        return out


def _graph(session: Any, x: Tensor) -> object:
    return session.run(None, {"image": x.numpy()})


def _tiled(pictures: Tensor, batch: int) -> Tensor:
    """``batch`` of the pictures, repeated if need be."""
    return pictures[torch.arange(batch) % len(pictures)].contiguous()


def _speedups(first: Mapping[str, Seconds]) -> dict[str, float]:
    deployed = next(iter(first))
    out = {}
    for name, seconds in first.items():
        mark = "" if name == deployed else f"_{name}"
        for kind in ("onnx", "int8"):
            out[f"{kind}_speedup{mark}"] = ratio(seconds["torch"], seconds[kind])
    if len(first) == 2:
        out["sr_cost"] = ratio(first["sr"]["onnx"], first["plain"]["onnx"])
    return out
