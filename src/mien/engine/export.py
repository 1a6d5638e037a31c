"""ONNX graphs of a model, with proof: parity on real inputs, task metric, size and speed."""

from __future__ import annotations

import contextlib
import io as stdio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mien.core import io
from mien.core.errors import MienError, require

OPSET = 18
Metric = Callable[[NDArray[np.float32]], float]
"""Outputs of all images -> task metric."""
T = TypeVar("T")


@dataclass(frozen=True)
class ExportPlan:
    """What ``export_plan(predictor, count)`` of a method returns: graphs, and inputs to prove them on.

    Images, metric and calibration are the same for all graphs, or a mapping by the graphs' names.
    """

    graphs: Mapping[str, nn.Module]
    images: Tensor | Mapping[str, Tensor]
    metric: Metric | Mapping[str, Metric] | None
    metric_name: str
    calibration: Tensor | Mapping[str, Tensor] | None = None
    real: bool = True

    @property
    def count(self) -> int:
        """Real inputs that each graph is measured on."""
        return len(_own(self.images, next(iter(self.graphs))))


def _own(given: T | Mapping[str, T], name: str) -> T:
    """What one graph gets."""
    return given[name] if isinstance(given, Mapping) else given


@dataclass(frozen=True)
class GraphReport:
    """One exported file beside the torch model it came from."""

    name: str
    file: str
    precision: str
    megabytes: float
    max_difference: float
    """Largest absolute difference of outputs on the real inputs."""
    metric: float | None
    """Task metric of this file on the real inputs."""
    metric_change: float | None
    """The same minus torch's."""
    torch_ms: float
    onnx_ms: float
    """Milliseconds for one picture, one thread, median."""


def export_graph(net: nn.Module, example: Tensor, path: Path) -> Path:
    """Writes a net image -> output as ONNX with a dynamic batch.

    Args:
        net: module of one input.
        example: (B >= 2, C, H, W); B is not baked in.
        path: file to write, whole or not at all.

    Raises:
        MienError: the exporter refuses an operation; its last line is given.
    """
    require("onnxscript", extra="export")
    batch = torch.export.Dim("batch", min=1, max=1024)
    noise = stdio.StringIO()
    try:
        with contextlib.redirect_stdout(noise), contextlib.redirect_stderr(noise):
            program = torch.onnx.export(
                net.eval(),
                (example,),
                dynamo=True,
                dynamic_shapes=({0: batch},),
                input_names=["image"],
                output_names=["output"],
                opset_version=OPSET,
                verbose=False,
            )
            if program is None:
                raise MienError(f"{path}: the exporter returned nothing")
            with io.new_file(path) as part:
                program.save(str(part), external_data=False)
    except MienError:
        raise
    except Exception as error:
        raise MienError(f"{path}: cannot export ({str(error).strip().splitlines()[-1][:200]})") from error
    return path


def quantize(path: Path, calibration: NDArray[np.float32], *, dynamic: bool) -> Path:
    """Writes an int8 version beside a graph: static for convolutional nets, dynamic for transformers.

    Args:
        path: the fp32 graph.
        calibration: (N, C, H, W) real inputs.
        dynamic: weights only, activations at run time.
    """
    require("onnxruntime", extra="export")
    from onnxruntime import quantization as q
    from onnxruntime.quantization.shape_inference import quant_pre_process

    target = path.with_name(path.stem + ".int8.onnx")
    ready, part = path.with_name(f".{path.name}.ready"), path.with_name(f".{target.name}.part")
    try:
        with contextlib.redirect_stdout(stdio.StringIO()), contextlib.redirect_stderr(stdio.StringIO()):
            quant_pre_process(str(path), str(ready), skip_symbolic_shape=True)
            if dynamic:
                q.quantize_dynamic(str(ready), str(part), weight_type=q.QuantType.QInt8)
            else:
                q.quantize_static(
                    str(ready),
                    str(part),
                    _calibrator(calibration),
                    per_channel=True,
                    op_types_to_quantize=["Conv", "MatMul", "Gemm"],
                )
        part.replace(target)
    finally:
        ready.unlink(missing_ok=True)
        part.unlink(missing_ok=True)
    return target


def _calibrator(images: NDArray[np.float32]) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        """Feeds real pictures in chunks."""

        def __init__(self) -> None:
            self.chunks = iter(np.array_split(images, max(1, len(images) // 32)))

        def get_next(self) -> dict[str, Any] | None:
            """The next chunk."""
            chunk = next(self.chunks, None)
            return None if chunk is None else {"image": chunk}

    return Reader()


def open_session(path: Path, threads: int = 1) -> Any:
    """An onnxruntime session on the CPU with a fixed number of threads."""
    ort = require("onnxruntime", extra="export")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run_session(session: Any, images: NDArray[np.float32], batch: int = 100) -> NDArray[np.float32]:
    """Outputs for all images. Memory O(batch)."""
    chunks = [images[i : i + batch] for i in range(0, len(images), batch)]
    return np.concatenate([session.run(None, {"image": c})[0] for c in chunks])


def export_all(
    graphs: Mapping[str, nn.Module],
    images: Tensor | Mapping[str, Tensor],
    folder: Path,
    *,
    int8: bool,
    metric: Metric | Mapping[str, Metric] | None = None,
    calibration: Tensor | Mapping[str, Tensor] | None = None,
) -> list[GraphReport]:
    """Exports every graph, and measures each file against torch on real inputs.

    Args:
        graphs: name -> module image -> output.
        images: (N, C, H, W) real inputs, in [0, 1].
        folder: where the files go.
        int8: also write quantised ones.
        metric: outputs of all images -> task metric.
        calibration: real inputs for int8 that are not among ``images``.

    ``images``, ``metric`` and ``calibration`` may be mappings by the graphs' names.
    """
    reports: list[GraphReport] = []
    for name, net in graphs.items():
        net = net.cpu().eval()
        inputs, score = _own(images, name), _own(metric, name)
        path = export_graph(net, inputs[:2], folder / f"{name}.onnx")
        with torch.inference_mode():
            expected = np.concatenate([net(c).numpy() for c in inputs.split(100)])
        base = score(expected) if score else None
        files = [("fp32", path)]
        if int8:
            held = _own(calibration, name)
            chosen = (held if held is not None else inputs[:64]).numpy()
            files.append(("int8", quantize(path, chosen, dynamic=_is_transformer(net))))
        for precision, file in files:
            reports.append(_measure(name, precision, file, net, inputs.numpy(), expected, score, base))
    return reports


def _is_transformer(net: nn.Module) -> bool:
    return any(isinstance(m, nn.LayerNorm) for m in net.modules())


def _measure(
    name: str,
    precision: str,
    path: Path,
    net: nn.Module,
    pixels: NDArray[np.float32],
    expected: NDArray[np.float32],
    metric: Metric | None,
    base: float | None,
) -> GraphReport:
    session = open_session(path)
    got = run_session(session, pixels)
    value = metric(got) if metric else None
    one = pixels[:1]
    torch_ms, onnx_ms = _latency(
        [lambda: net(torch.from_numpy(one)), lambda: session.run(None, {"image": one})]
    )
    return GraphReport(
        name,
        path.name,
        precision,
        path.stat().st_size / 1e6,
        float(np.abs(got - expected).max()),
        value,
        None if value is None or base is None else value - base,
        torch_ms,
        onnx_ms,
    )


def _latency(runs: Sequence[Callable[[], object]], repeats: int = 40) -> list[float]:
    """Median milliseconds of each, interleaved, on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    taken: list[list[float]] = [[] for _ in runs]
    try:
        with torch.inference_mode():
            for _ in range(repeats):
                for i, call in enumerate(runs):
                    began = time.perf_counter()
                    call()
                    taken[i].append(time.perf_counter() - began)
    finally:
        torch.set_num_threads(threads)
    return [1000 * float(np.median(t)) for t in taken]
