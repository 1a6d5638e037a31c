"""``mien export METHOD``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mien.cli import console


@dataclass(frozen=True)
class Options:
    """ONNX graphs of a model, measured on real inputs. Switches: --int8, --json."""

    weights: str | None = None
    """Shipped name, run folder or hub id; default METHOD/small."""
    output: Path = Path("out/export")
    """Folder for the files."""
    images: int = 500
    """Real inputs that parity and metric are measured on."""


def run(argv: Sequence[str]) -> int:
    """Exports and prints what was measured."""
    from mien.core.catalogue import method as entry_of
    from mien.core.config import check_range

    method, rest = console.take_method(argv, "export")
    int8, rest = console.take_switch(rest, "--int8")
    as_json, rest = console.take_switch(rest, "--json")
    options = console.parse(Options, rest, f"export {method}")
    check_range("export", "images", options.images, 1)
    entry = entry_of(method)
    module = entry.load("predict")
    from mien.core import io
    from mien.engine.export import export_all
    from mien.engine.zoo import load_folder_of

    predictor = module.Predictor.from_folder(load_folder_of(method, options.weights or method))
    plan = module.export_plan(predictor, options.images)
    reports = export_all(
        plan.graphs, plan.images, options.output, int8=int8, metric=plan.metric, calibration=plan.calibration
    )
    answer = {
        "method": method,
        "weights": options.weights or method,
        "images": plan.count,
        "real": plan.real,
        "metric": plan.metric_name,
        "graphs": [console.plain(r) for r in reports],
    }
    io.write_json(options.output / "export.json", answer)
    if as_json:
        console.out_json(answer)
        return 0
    rows = [
        {k: f"{v:.3g}" if isinstance(v, float) else v for k, v in console.plain(r).items()} for r in reports
    ]
    console.show_table(
        f"{options.output}: {plan.count} {'real' if plan.real else 'made'} images, {plan.metric_name}",
        rows,
    )
    return 0
