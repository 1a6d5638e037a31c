"""``report.html`` of a run: curves, validation, settings, in one self-contained page."""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.core import figures, io

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NOT_TERMS = {"event", "step", "epoch", "lr", "images_per_second", "waiting"}


def write_report(
    folder: Path, name: str, config: dict[str, Any], log: list[dict[str, Any]], run: dict[str, Any]
) -> Path:
    """Draws the log of a run and writes ``report.html``."""
    train = [r for r in log if r.get("event") == "train"]
    scores = [r for r in log if r.get("event") == "validation"]
    figure, axes = figures.new_figure(columns=2 if scores else 1)
    terms = [k for k in train[0] if k not in _NOT_TERMS] if train else []
    for i, term in enumerate(terms):
        points = [r[term] for r in train]
        if any(points):
            colour = figures.COLOURS[i % len(figures.COLOURS)]
            axes[0].plot(
                [r["step"] for r in train], points, label=term, color=colour, lw=2 if term == "loss" else 1
            )
    axes[0].set(xlabel="step", ylabel="loss terms", yscale="log")
    _legend_above(axes[0])
    if scores:
        for i, key in enumerate(k for k in scores[0] if k not in _NOT_TERMS):
            axes[1].plot(
                [r["step"] for r in scores],
                [r[key] for r in scores],
                "o-",
                label=key,
                color=figures.COLOURS[i % 7],
            )
        axes[1].set(xlabel="step", ylabel="validation")
        _legend_above(axes[1])
    speed = sum(r["images_per_second"] for r in train) / max(1, len(train))
    waiting = sum(r["waiting"] for r in train) / max(1, len(train))
    facts = [
        {"": "steps", "value": run["steps"]},
        {"": "seconds", "value": run["seconds"]},
        {"": "inputs per second", "value": f"{speed:.0f}"},
        {"": "waiting for data", "value": f"{100 * waiting:.1f} %"},
        *({"": f"validation {k}", "value": f"{v:.4f}"} for k, v in run["validation"].items()),
        *({"": k, "value": v} for k, v in run["machine"].items()),
    ]
    settings = f"<pre>{html.escape(json.dumps(config, indent=1))}</pre>"
    body = (
        figures.img(figures.png(figure), "training curves")
        + figures.table(facts)
        + "<h2>Settings</h2>"
        + settings
    )
    return io.write_text(folder / "report.html", figures.page(f"Training of {name}", body))


def _legend_above(ax: Axes) -> None:
    """Outside the curves."""
    if ax.get_legend_handles_labels()[0]:
        ax.legend(fontsize=7, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)
