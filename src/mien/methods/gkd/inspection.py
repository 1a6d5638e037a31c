"""``mien inspect gkd``: group sizes over temperatures, and what a teacher would teach about the labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mien.core import figures, io
from mien.data.faces import read_faces
from mien.data.labelled import spread
from mien.engine.face_degradation import inspect_degraded
from mien.engine.faces import face_configs, restore
from mien.engine.folder import ModelFolder
from mien.engine.show import Inspection
from mien.methods.gkd.config import InspectOptions
from mien.methods.gkd.evaluate import class_logits
from mien.methods.gkd.groups import Groups, inspect_groups, temperature_for
from mien.methods.gkd.loss import PRESETS

WARN_BELOW = 0.5


def inspect(folder: ModelFolder, options: InspectOptions) -> Inspection:
    """Groups of one model, seen as a teacher, on training pictures."""
    if options.degrade:
        return inspect_degraded(folder, plot=options.plot)
    data = face_configs(folder.recipe)[1]
    whole = read_faces(data).train
    images = whole.subset(spread(len(whole), options.pictures))
    y = torch.from_numpy(images.targets)
    model = restore(folder)
    plain, margin = (class_logits(model, images, data.size, m) for m in (False, True))
    targets = {
        name: float(z.softmax(-1).gather(1, y[:, None]).mean())
        for name, z in (("plain", plain), ("margin", margin))
    }
    z = margin if options.kd_logits == "margin" else plain
    selector = replace(PRESETS[options.group], source="teacher")
    if options.rate is not None:
        selector = replace(selector, rate=options.rate)
    at = [inspect_groups(z, y, replace(selector, t_group=t), options.temperature) for t in options.t_group]
    facts: dict[str, Any] = {
        "people": len(whole.classes),
        "pictures": len(images),
        "label_right": round(float((plain.argmax(1) == y).double().mean()), 4),
        "teacher_target_plain": round(targets["plain"], 4),
        "teacher_target_margin": round(targets["margin"], 4),
        "rate": selector.rate,
        "reduce": selector.reduce,
    }
    if options.aim is not None:
        facts["t_group_for_aim"] = round(temperature_for(z, y, selector, options.aim), 4)
    if targets[options.kd_logits] < WARN_BELOW:
        facts["warning"] = (
            f"the {options.kd_logits} logits give the label {targets[options.kd_logits]:.2f} on average:"
            " distilled at a low temperature they teach 'not this person'"
        )
    files: tuple[Path, ...] = ()
    if options.plot:
        files = (io.write_bytes(Path(options.plot), plot_sizes(at)),)
    return Inspection(facts, {"by t_group": [_row(g) for g in at]}, files)


def _row(g: Groups) -> dict[str, float]:
    low, middle, high = np.quantile(g.sizes, [0.1, 0.5, 0.9])
    return {
        "t_group": g.t_group,
        "mean K": round(float(g.sizes.mean()), 2),
        "10 %": round(float(low), 1),
        "median": float(middle),
        "90 %": round(float(high), 1),
        "P of the group": round(float(g.inside.mean()), 4),
        "label outside": round(g.outside, 4),
    }


def plot_sizes(groups: list[Groups]) -> bytes:
    """Distribution of K at each temperature, as a PNG."""
    figure, (ax,) = figures.new_figure(width=8, height=3.5)
    largest = max(int(g.sizes.max()) for g in groups)
    bins = np.unique(np.geomspace(1, largest + 1, 40).astype(int))
    for colour, g in zip(figures.COLOURS, groups, strict=False):
        if len(bins) > 1:
            ax.hist(g.sizes, bins.tolist(), histtype="step", color=colour, label=f"T_group {g.t_group:g}")
    ax.set(xscale="log", xlabel="classes in the group, K", ylabel="pictures")
    ax.legend(frameon=False)
    return figures.png(figure)
