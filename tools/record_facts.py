"""Turns measurements made by other commands into lines of results/ncl.facts.jsonl, which README tables show.

mien bench engine --json > out/engine.json
mien bench ncl --json > out/loss.json
mien export ncl --int8 --output out/export
mien train ncl --data.kind idx --data.root DIR --data.imbalance 100 --output runs/fashion
mien eval ncl --weights runs/fashion --json > out/fashion.json
python tools/record_facts.py out/engine.json out/loss.json out/export/export.json out/fashion.json
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mien.bench.store import commit, results_dir
from mien.core import io
from mien.core.catalogue import method
from mien.engine.folder import open_folder

Fact = tuple[str, str, str]


def engine_facts(answer: dict[str, Any]) -> Iterator[Fact]:
    """Step ratio and waiting shares."""
    ratios = answer["ratios"]
    cpu = f"{answer['machine']['cpu']}, {answer['machine']['threads']} threads"
    yield "step", f"engine step over a plain torch loop, ResNet-20, 32 px ({cpu})", f"{ratios['step']:.3f}"
    for key, text in (("small", "the small net"), ("resnet20", "ResNet-20")):
        yield (
            f"waiting_{key}",
            f"waiting for data, share of the step, {text}",
            f"{100 * ratios[f'waiting_{key}']:.1f} %",
        )


def loss_facts(answer: dict[str, Any]) -> Iterator[Fact]:
    """Time and memory of the loss."""
    entries = {e["name"]: e for e in answer["entries"]}
    for size in (100, 1000, 8142):
        ours = entries[f"ncl_loss_C{size}"]
        time, memory = (answer["ratios"][f"loss_{what}_C{size}"] for what in ("time", "memory"))
        yield (
            f"loss_C{size}",
            f"NCL++ loss over cross-entropy, C = {size:,} (K 3, M 2, B 64): time, peak memory",
            f"{time:.1f}x ({1000 * ours['median_s']:.1f} ms), {memory:.1f}x ({ours['peak_mb']:.1f} MB)",
        )


def export_facts(answer: dict[str, Any]) -> Iterator[Fact]:
    """Parity, accuracy, size, speed of every exported file."""
    for g in answer["graphs"]:
        if g["name"] in ("ensemble", "expert0"):
            yield (
                f"export_{g['name']}_{g['precision']}",
                f"ONNX {g['precision']}, {g['name']}, {answer['images']} real test pictures:"
                " largest difference, accuracy change, size, one picture on one thread (torch)",
                f"{g['max_difference']:.2g}, {100 * g['metric_change']:+.1f} points, {g['megabytes']:.2f} MB,"
                f" {g['onnx_ms']:.2f} ms ({g['torch_ms']:.2f} ms)",
            )


def fashion_facts(answer: dict[str, Any]) -> Iterator[Fact]:
    """The full Fashion-MNIST at imbalance factor 100."""
    m = answer["metrics"]
    run = io.read_json(Path(answer["weights"]) / "run.json")
    counts = open_folder(answer["weights"]).facts["train_counts"]
    groups = " / ".join(_percent(m[f"ensemble_{g}"]) for g in ("many", "medium", "few"))
    minutes = run["seconds"] / 60
    yield (
        "fashion_full",
        f"NCL++ on the full Fashion-MNIST at imbalance factor 100 ({sum(counts):,} training pictures,"
        f" {max(counts):,} to {min(counts)} a class; 10,000 test pictures; one seed):"
        " single, ensemble (many / medium / few)",
        f"{100 * m['single_all']:.1f} %, {100 * m['ensemble_all']:.1f} % ({groups}); {minutes:.1f} minutes",
    )


def _percent(value: float | None) -> str:
    return "no such class" if value is None or value != value else f"{100 * value:.1f}"


def training_facts() -> Iterator[Fact]:
    """Seconds of one small training."""
    lines = io.read_lines(results_dir() / "ncl.jsonl")
    main = method("ncl").load("protocol").MAIN
    seconds = [r["seconds"] for r in lines if r["row"] == main]
    if seconds:
        text = f"one small training of NCL++, median over {len(seconds)} seeds (other work on the machine)"
        yield "seconds", text, f"{statistics.median(seconds):.0f} s"


def main(files: list[str]) -> None:
    """Appends the facts of all files."""
    found = list(training_facts())
    for file in files:
        answer = json.loads(Path(file).read_text())
        if answer.get("bench") == "engine":
            found += engine_facts(answer)
        elif answer.get("bench") == "ncl":
            found += loss_facts(answer)
        elif "graphs" in answer:
            found += export_facts(answer)
        else:
            found += fashion_facts(answer)
    for name, text, value in found:
        io.append_line(
            results_dir() / "ncl.facts.jsonl",
            {"name": name, "text": text, "value": value, "commit": commit()},
        )
        print(f"{text}: {value}")


if __name__ == "__main__":
    main(sys.argv[1:])
