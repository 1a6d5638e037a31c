"""``mien demo sagm``: shipped SAGM beside shipped ERM on a style new to both, or on the user's pictures."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mien.core import figures, io
from mien.core.images import encode_png, read_image
from mien.data.domains import DomainSplit
from mien.data.labelled import LabelledImages, spread
from mien.engine.show import DemoResult
from mien.engine.zoo import load_folder
from mien.methods.sagm.evaluate import own_splits
from mien.methods.sagm.figures import plot_slices
from mien.methods.sagm.predict import Predictor
from mien.methods.sagm.sharpness import loss_slice, sharpness_report
from mien.methods.sagm.task import collect_logits, configs, training_batches

OURS, BASELINE = "sagm/small", "sagm/erm-small"
RADIUS = 0.8
"""Half side of the drawn square of the loss surface, in weight space."""


def demo(output: Path, inputs: list[Path]) -> DemoResult:
    """Measures both models on the unseen style and draws their loss surfaces, or classifies ``inputs``."""
    if inputs:
        return _classify(output, inputs)
    models = {"SAGM": _load(OURS), "ERM": _load(BASELINE)}
    ours = models["SAGM"]
    data = configs(ours.folder.recipe)[1]
    sources, (target,) = own_splits(ours.folder)
    logits, rows, surfaces = {}, [], {}
    for name, model in models.items():
        logits[name], truth = collect_logits(model.net, target.inner, data, model.device)
        surfaces[name] = surface_of(model, sources)
        rows.append(
            {
                "model": name,
                f"accuracy on {target.name}, %": f"{100 * _accuracy(logits[name], truth):.1f}",
                "training loss": f"{surfaces[name].report['loss']:.3f}",
                "gap at rho .05": f"{surfaces[name].report['gap']:.3f}",
            }
        )
    picture = plot_surfaces(surfaces)
    files = [io.write_bytes(output / "sagm" / "surface.png", picture)]
    html = (
        f"<p>Both were trained on emoji drawn in the styles {' and '.join(s.name for s in sources)}, and have"
        f" never seen a picture in the style {target.name}, on which they are tested ({len(truth)} pictures,"
        " ten classes):</p>"
        + figures.table(rows)
        + "<h3>The training loss around the weights</h3>"
        + figures.img(
            picture, "loss surfaces of SAGM and ERM side by side, and their cuts along the gradient"
        )
        + f"<h3>Pictures in the style {target.name}</h3>"
        + _examples(ours, target.inner, logits)
    )
    headline: dict[str, object] = {"unseen_style": target.name}
    for name in models:
        headline[f"{name.lower()}_accuracy"] = round(_accuracy(logits[name], truth), 4)
    for row in rows:
        headline[f"{row['model'].lower()}_gap"] = float(row["gap at rho .05"])
    return DemoResult(headline, html, (_asset(),), tuple(files))


class Surface(NamedTuple):
    """The training loss around the weights of a model.

    Attributes:
        at: (points,) offsets.
        losses: (points, points), first index along the gradient (`loss_slice`).
        report: of `sharpness_report` at radius 0.05.
    """

    at: NDArray[np.float64]
    losses: NDArray[np.float64]
    report: dict[str, float]


def surface_of(model: Predictor, sources: list[DomainSplit], radius: float = RADIUS) -> Surface:
    """A model's loss on 128 training pictures over a square, and its sharpness on 512. Some 3 s."""
    data = configs(model.folder.recipe)[1]
    few, more = (training_batches(sources, data, count, model.device) for count in (128, 512))
    report = sharpness_report(model.net, F.cross_entropy, more, 0.05, directions=0)
    return Surface(*loss_slice(model.net, F.cross_entropy, few, radius, 11), report)


def plot_surfaces(surfaces: Mapping[str, Surface]) -> bytes:
    """Surfaces of one radius by name, as a PNG."""
    at = next(iter(surfaces.values())).at
    return plot_slices(at, {name: s.losses for name, s in surfaces.items()})


def _load(name: str) -> Predictor:
    return Predictor.from_folder(load_folder(name))


def _accuracy(logits: Tensor, truth: Tensor) -> float:
    return float((logits.argmax(1) == truth).double().mean())


def _asset() -> Path:
    return Path(str(resources.files("mien.data") / "assets" / "emoji_dg.npz"))


def _examples(predictor: Predictor, images: LabelledImages, logits: dict[str, Tensor]) -> str:
    """Cards: two pictures of every class, what each model says."""
    cards = []
    for c, name in enumerate(predictor.classes):
        places = np.flatnonzero(images.targets == c)
        for i in places[spread(len(places), 2)]:
            verdicts = ""
            for model, z in logits.items():
                p = z[int(i)].softmax(0)
                best = int(p.argmax())
                verdicts += (
                    f"<div class={'good' if best == c else 'bad'}>{model}: {predictor.classes[best]}"
                    f" ({100 * float(p[best]):.0f} %)</div>"
                )
            picture = figures.img(encode_png(images.pictures([int(i)])[0]), name)
            cards.append(f"<div class=card>{picture}<div><b>{name}</b></div>{verdicts}</div>")
    return f"<div class=cards>{''.join(cards)}</div>"


def _classify(output: Path, inputs: list[Path]) -> DemoResult:
    """The user's pictures instead of the unseen style."""
    predictor = _load(OURS)
    results = predictor.predict(*inputs)
    cards = []
    for path, result in zip(inputs, results, strict=True):
        rows = [{"class": name, "probability": f"{100 * p:.1f} %"} for name, p in result.top]
        cards.append(
            f"<div class=card>{figures.img(encode_png(read_image(path)), path.name)}"
            f"<div><b>{result.label}</b></div>{figures.table(rows)}</div>"
        )
    answers = [
        {"input": str(p), "label": r.label, "top": r.top} for p, r in zip(inputs, results, strict=True)
    ]
    file = io.write_json(output / "sagm" / "input.json", answers)
    headline = {
        "label": results[0].label,
        "probability": round(results[0].probability, 4),
        "pictures": len(results),
    }
    return DemoResult(headline, f"<div class=cards>{''.join(cards)}</div>", tuple(inputs), (file,))
