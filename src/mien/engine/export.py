"""ONNX graphs of a model, with proof: parity on real inputs, task metric, size and speed."""

from __future__ import annotations

import contextlib
import io as stdio
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mien.core import io
from mien.core.errors import MienError, require

OPSET = 18
Metric = Callable[[NDArray[np.float32]], float]
"""Outputs of all images -> task metric."""
Inputs: TypeAlias = "Tensor | tuple[Tensor, ...]"
"""What a graph takes: pictures, or several tensors of one batch."""
Arrays: TypeAlias = "NDArray[np.float32] | tuple[NDArray[np.float32], ...]"
T = TypeVar("T")


@dataclass(frozen=True)
class Signature:
    """Names of a graph's inputs and output; a module that takes no picture has one as ``signature``.

    Attributes:
        inputs: in order; the first axis of each is the batch.
        output: the one output.
        free: input -> axes, beside the batch, whose length is not baked in.
    """

    inputs: tuple[str, ...] = ("image",)
    output: str = "output"
    free: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class ExportPlan:
    """What ``export_plan(predictor, count)`` of a method returns: graphs, and inputs to prove them on.

    Images, metric and calibration are the same for all graphs, or a mapping by the graphs' names.
    """

    graphs: Mapping[str, nn.Module]
    images: Inputs | Mapping[str, Inputs]
    metric: Metric | Mapping[str, Metric] | None
    metric_name: str
    calibration: Inputs | Mapping[str, Inputs] | None = None
    real: bool = True

    @property
    def count(self) -> int:
        """Real inputs that each graph is measured on."""
        return len(_inputs(self.images, next(iter(self.graphs)))[0])


def _own(given: T | Mapping[str, T], name: str) -> T:
    """What one graph gets."""
    return given[name] if isinstance(given, Mapping) else given


def _inputs(given: Inputs | Mapping[str, Inputs], name: str) -> tuple[Tensor, ...]:
    """What one graph gets, one or several inputs."""
    own = given[name] if isinstance(given, Mapping) else given
    return own if isinstance(own, tuple) else (own,)


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
    """Milliseconds for one sample, one thread, median."""


def export_graph(net: nn.Module, example: Inputs, path: Path) -> Path:
    """Writes a net image -> output as ONNX with a dynamic batch.

    Args:
        net: module of one input, or of those that its `Signature` names.
        example: (B >= 2, C, H, W), or several; B is not baked in.
        path: file to write, whole or not at all.

    Raises:
        MienError: the exporter refuses an operation; its last line is given.
    """
    require("onnxscript", extra="export")
    batch = torch.export.Dim("batch", min=1, max=1024)
    names: Signature = getattr(net, "signature", Signature())
    shapes = tuple(
        {0: batch, **{axis: torch.export.Dim(f"{name}_{axis}") for axis in names.free.get(name, ())}}
        for name in names.inputs
    )
    noise = stdio.StringIO()
    try:
        with (
            contextlib.redirect_stdout(noise),
            contextlib.redirect_stderr(noise),
            warnings.catch_warnings(),
        ):
            warnings.filterwarnings("ignore", "# The axis name")  # several inputs share the batch
            program = torch.onnx.export(
                net.eval(),
                example if isinstance(example, tuple) else (example,),
                dynamo=True,
                dynamic_shapes=shapes,
                input_names=list(names.inputs),
                output_names=[names.output],
                opset_version=OPSET,
                custom_translation_table={torch.ops.aten.log_sigmoid.default: _log_sigmoid},
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


def _log_sigmoid(x: Any) -> Any:
    """Ln sig(x) = -softplus(-x). The exporter's own, ln(sig(x)), is -inf from x = -104 on."""
    from onnxscript import opset18 as op

    return op.Neg(op.Softplus(op.Neg(x)))


def quantize(path: Path, calibration: Arrays, *, dynamic: bool) -> Path:
    """Writes an int8 version beside a graph: static for convolutional nets, dynamic for transformers.

    Args:
        path: the fp32 graph.
        calibration: (N, C, H, W) real inputs, or several.
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
                    _calibrator(path, calibration),
                    per_channel=True,
                    op_types_to_quantize=["Conv", "MatMul", "Gemm"],
                    extra_options={"MatMulConstBOnly": True},  # others are solvers, attention, matches
                )
        part.replace(target)
    finally:
        ready.unlink(missing_ok=True)
        part.unlink(missing_ok=True)
    return target


def _feeds(session: Any, given: Arrays, batch: int) -> Iterator[dict[str, NDArray[np.float32]]]:
    """Inputs of a session by name, ``batch`` samples at a time."""
    several = given if isinstance(given, tuple) else (given,)
    arrays = dict(zip((i.name for i in session.get_inputs()), several, strict=True))
    for first in range(0, len(next(iter(arrays.values()))), batch):
        yield {name: array[first : first + batch] for name, array in arrays.items()}


def _calibrator(path: Path, images: Arrays) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        """Feeds real pictures in chunks."""

        def __init__(self) -> None:
            self.chunks = _feeds(open_session(path), images, 32)

        def get_next(self) -> dict[str, Any] | None:
            """The next chunk."""
            return next(self.chunks, None)

    return Reader()


def open_session(path: Path, threads: int = 1) -> Any:
    """An onnxruntime session on the CPU with a fixed number of threads."""
    ort = require("onnxruntime", extra="export")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run_session(session: Any, images: Arrays, batch: int = 100) -> NDArray[np.float32]:
    """Outputs for all images. Memory O(batch)."""
    return np.concatenate([session.run(None, feed)[0] for feed in _feeds(session, images, batch)])


def export_all(
    graphs: Mapping[str, nn.Module],
    images: Inputs | Mapping[str, Inputs],
    folder: Path,
    *,
    int8: bool,
    metric: Metric | Mapping[str, Metric] | None = None,
    calibration: Inputs | Mapping[str, Inputs] | None = None,
) -> list[GraphReport]:
    """Exports every graph, and measures each file against torch on real inputs.

    Args:
        graphs: name -> module image -> output.
        images: (N, C, H, W) real inputs, in [0, 1]; or several, where a graph's `Signature` names several.
        folder: where the files go.
        int8: also write quantised ones.
        metric: outputs of all images -> task metric.
        calibration: real inputs for int8 that are not among ``images``.

    ``images``, ``metric`` and ``calibration`` may be mappings by the graphs' names.
    """
    reports: list[GraphReport] = []
    for name, net in graphs.items():
        net = net.cpu().eval()
        inputs, score = _inputs(images, name), _own(metric, name)
        path = export_graph(net, tuple(x[:2] for x in inputs), folder / f"{name}.onnx")
        with torch.inference_mode():
            chunks = zip(*(x.split(100) for x in inputs), strict=True)
            expected = np.concatenate([net(*chunk).numpy() for chunk in chunks])
        base = score(expected) if score else None
        files = [("fp32", path)]
        if int8:
            held = tuple(x[:64] for x in inputs) if calibration is None else _inputs(calibration, name)
            chosen = tuple(x.numpy() for x in held)
            files.append(("int8", quantize(path, chosen, dynamic=_is_transformer(net))))
        for precision, file in files:
            arrays = tuple(x.numpy() for x in inputs)
            reports.append(_measure(name, precision, file, net, arrays, expected, score, base))
    return reports


def _is_transformer(net: nn.Module) -> bool:
    return any(isinstance(m, nn.LayerNorm) for m in net.modules())


def _measure(
    name: str,
    precision: str,
    path: Path,
    net: nn.Module,
    given: tuple[NDArray[np.float32], ...],
    expected: NDArray[np.float32],
    metric: Metric | None,
    base: float | None,
) -> GraphReport:
    session = open_session(path)
    got = run_session(session, given)
    if np.isfinite(expected).all() and not np.isfinite(got).all():
        raise MienError(f"{path}: the exported graph answers NaN or infinity where torch does not")
    value = metric(got) if metric else None
    one = next(_feeds(session, given, 1))
    tensors = [torch.from_numpy(x) for x in one.values()]
    torch_ms, onnx_ms = _latency([lambda: net(*tensors), lambda: session.run(None, one)])
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
