"""``mien inspect cqil``: what a worse camera costs, and what the splits give away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mien.core import figures, io
from mien.core.seeds import keys_of
from mien.data.surveil_images import SurveilImages
from mien.data.surveil_sets import SurveilSplits, read_surveil
from mien.engine.degradation import degradation_sweep, pad_measure, severities_of
from mien.engine.folder import ModelFolder
from mien.engine.pad_groups import (
    GroupError,
    acer_by,
    balanced_error,
    error_by,
    group_rows,
    plot_groups,
    tenths,
)
from mien.engine.predictor import default_device
from mien.engine.show import Inspection
from mien.methods.cqil.config import InspectOptions
from mien.methods.cqil.evaluate import movement, per_cent, restore
from mien.methods.cqil.score import Scores, scored
from mien.methods.cqil.task import configs
from mien.metrics import auc


@dataclass(frozen=True)
class SweepPoint:
    """A net on pictures of one severity.

    Attributes:
        severity: q.
        acer: at a threshold that does not move.
        auc: area under the ROC.
        read: mean severity that the net reads, 1 - quality.
        moved: mean of 1 - cos against the features of q = 0.
    """

    severity: float
    acer: float
    auc: float
    read: float
    moved: float


def sweep(
    net: nn.Module,
    images: SurveilImages,
    severities: Sequence[float],
    threshold: float,
    device: torch.device,
    profile: str = "C3",
) -> list[SweepPoint]:
    """The same pictures, worse and worse; seeds stay, so that each gets more of the same. O(severities N).

    Args:
        net: the net.
        images: the best there are.
        severities: of the degradation; 0 leaves out the steps altogether.
        threshold: on log odds.
        device: where the net runs.
        profile: the camera.
    """
    base = scored(net, images.pictures, device)

    def measure(pictures: NDArray[np.uint8]) -> dict[str, float]:
        found = scored(net, pictures, device)
        rates = pad_measure(lambda _: found.odds, images.live, threshold)(pictures)
        moved = float(movement(base.features, found.features)[0].mean())
        return {**rates, "read": float(1 - found.quality.mean()), "moved": moved}

    keys = keys_of(images.paths.tolist())
    return [SweepPoint(**p) for p in degradation_sweep(measure, images.pictures, keys, severities, profile)]


def best_pictures(images: SurveilImages, count: int) -> SurveilImages:
    """The ``count`` pictures of best quality of each class, at most half each. O(N log N)."""
    order = np.argsort(-images.quality, kind="stable")
    halves = [order[images.live[order] == k][: max(1, count // 2)] for k in (True, False)]
    return images.subset(np.sort(np.concatenate(halves)))


def leaks(splits: SurveilSplits) -> list[dict[str, str]]:
    """What two splits share: tracks, people (without 0, nobody), pictures; O(N log N)."""
    rows = []
    for a, b in (("train", "dev"), ("train", "test"), ("dev", "test")):
        x, y = splits.get(a), splits.get(b)
        people = np.intersect1d(x.subject, y.subject)
        rows.append(
            {
                "splits": f"{a}, {b}",
                "tracks": str(len(np.intersect1d(x.track, y.track))),
                "subjects": str(int((people > 0).sum())),
                "pictures": str(len(np.intersect1d(x.paths, y.paths))),
            }
        )
    return rows


def memoriser(train: SurveilImages, test: SurveilImages) -> float:
    """AUC on the test of who only remembers which tracks of the training were live (1/2 for new ones)."""
    score = {int(t): 0.0 for t in train.track[~train.live]} | {int(t): 1.0 for t in train.track[train.live]}
    return float(auc(np.array([score.get(int(t), 0.5) for t in test.track]), test.live))


def shortcuts(images: SurveilImages) -> dict[str, float]:
    """max(AUC, 1 - AUC) of trivial numbers: stored quality, mean and spread of the grey levels."""
    grey = images.pictures.mean(-1, dtype=np.float64).reshape(len(images), -1)
    values: Mapping[str, Scores] = {"quality": images.quality, "mean": grey.mean(1), "spread": grey.std(1)}
    found = {k: float(auc(v, images.live)) for k, v in values.items()}
    return {k: round(max(v, 1 - v), 4) for k, v in found.items()}


def plot_sweep(points: Sequence[SweepPoint]) -> bytes:
    """Error, AUC, severity as it is read and movement of features against severity, as a PNG."""
    q = [p.severity for p in points]
    figure, axes = figures.new_figure(columns=3, width=3.4, height=2.8)
    panels = (
        ("ACER and AUC, %", "acer", "auc"),
        ("severity, as read", "read", ""),
        ("moved, 1 - cos", "moved", ""),
    )
    for ax, (title, first, second) in zip(axes, panels, strict=True):
        scale = 100 if first == "acer" else 1
        for name, colour in ((first, figures.COLOURS[1]), (second, figures.COLOURS[0])):
            if name:
                ax.plot(q, [scale * getattr(p, name) for p in points], "o-", color=colour, label=name.upper())
        ax.set(title=title, xlabel="severity q", xlim=(-0.03, 1.03), ylim=(0, None))
    axes[0].legend(frameon=False)
    axes[1].plot([0, 1], [0, 1], color="0.6", lw=1, ls="--")
    return figures.png(figure)


def inspect(folder: ModelFolder, options: InspectOptions) -> Inspection:
    """Degradation sweep on the best pictures of a split, errors by group; leaks of the splits; shortcuts.

    With a plot, ``NAME-groups.png`` beside it shows the groups.

    Raises:
        DataError: the data is not readable.
    """
    _, data = configs(folder.recipe)
    splits, net, device = read_surveil(data), restore(folder), default_device()
    whole = splits.get(options.split)
    images = best_pictures(whole, options.samples)
    threshold = float(folder.facts["thresholds"]["image"]["logit"])
    points = sweep(net, images, severities_of(options.levels), threshold, device, data.profile)
    wrong = (scored(net, whole.pictures, device).odds >= threshold) != whole.live
    groups = error_groups(wrong, whole)
    facts: dict[str, Any] = {
        "pictures": len(images),
        "memoriser_auc": round(memoriser(splits.train, splits.test), 4),
        "shortcut_auc": shortcuts(splits.test),
    }
    tables: dict[str, list[dict[str, Any]]] = {
        "degradation": [sweep_row(p) for p in points],
        "shared by splits": leaks(splits),
    }
    for name, rows in groups.items():
        tables[f"by {name}"] = [*group_rows(name, rows, "error, %" if name == "label" else "ACER, %")]
    return Inspection(facts, tables, _plots(options.plot, points, groups, balanced_error(wrong, whole.live)))


def error_groups(wrong: NDArray[np.bool_], images: SurveilImages) -> dict[str, list[GroupError]]:
    """Errors by tenth of quality (1 the worst), camera, scene and label, at one threshold.

    Args:
        wrong: (N,) live faces refused, attacks accepted.
        images: what they are.
    """
    columns = {"tenth of quality": tenths(images.quality), "camera": images.camera, "scene": images.scene}
    found = {name: acer_by(wrong, images.live, column) for name, column in columns.items()}
    return {**found, "label": error_by(wrong, images.label)}


def _plots(
    plot: str | None,
    points: Sequence[SweepPoint],
    groups: Mapping[str, Sequence[GroupError]],
    overall: float | None,
) -> tuple[Path, ...]:
    if plot is None:
        return ()
    path = Path(plot)
    beside = path.with_name(f"{path.stem}-groups{path.suffix}")
    panels = {f"{'error' if n == 'label' else 'ACER'} by {n}": rows for n, rows in groups.items()}
    return (
        io.write_bytes(path, plot_sweep(points)),
        io.write_bytes(beside, plot_groups(panels, overall or 0.0)),
    )


def sweep_row(p: SweepPoint) -> dict[str, Any]:
    """One severity as a line of a table."""
    return {
        "severity": f"{p.severity:.2f}", "ACER, %": per_cent(p.acer), "AUC, %": per_cent(p.auc),
        "severity read": f"{p.read:.2f}", "moved": f"{p.moved:.3f}",
    }  # fmt: skip
