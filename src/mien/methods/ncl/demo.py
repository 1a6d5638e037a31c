"""``mien demo ncl``: shipped NCL++ beside shipped cross-entropy on real test pictures, or on the user's."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mien.core import figures, io
from mien.core.images import encode_png, read_image
from mien.data.labelled import Splits
from mien.data.readers import read_splits
from mien.engine.predictor import default_device
from mien.engine.show import DemoResult
from mien.engine.zoo import load_folder
from mien.methods.ncl.evaluate import accuracy_report, expert_kl, per_class
from mien.methods.ncl.predict import Predictor
from mien.methods.ncl.task import collect_logits, configs

OURS, BASELINE = "ncl/small", "ncl/ce-small"
_GROUPS = ("all", "many", "medium", "few")


def demo(output: Path, inputs: list[Path]) -> DemoResult:
    """Measures both shipped models on the 2,000 bundled test pictures, or classifies ``inputs``."""
    if inputs:
        return _classify(output, inputs)
    ours, baseline = (Predictor.from_folder(load_folder(name)) for name in (OURS, BASELINE))
    splits = read_splits(configs(ours.folder.recipe)[1])
    logits, target = _logits(ours, splits)
    base_logits, _ = _logits(baseline, splits)
    counts = splits.train.counts()
    reports = {
        name: accuracy_report(z, target, counts).metrics
        for name, z in (("NCL++", logits), ("cross-entropy", base_logits))
    }
    table = [
        {
            "model": name,
            "expert, %": f"{100 * m['single_all']:.1f}",
            **{g: f"{100 * m[f'ensemble_{g}']:.1f}" for g in _GROUPS},
        }
        for name, m in reports.items()
    ]
    pictures = {
        "accuracy.png": _plot_classes(
            ours.classes, counts, per_class(logits, target), per_class(base_logits, target)
        ),
        "disagreement.png": _plot_disagreement(logits, target),
    }
    files = [io.write_bytes(output / "ncl" / name, data) for name, data in pictures.items()]
    html = (
        "<p>Long-tailed training set: 2,478 real Fashion-MNIST photographs, 1,000 of the most frequent class"
        " and 10 of the rarest. Accuracy on a balanced test set of 2,000 others, in per cent"
        " (ensemble of two experts):</p>"
        + figures.table(table)
        + "<h3>Accuracy by class, most frequent first</h3>"
        + figures.img(pictures["accuracy.png"], "accuracy of each class for both models")
        + "<h3>Do the experts disagree where they are wrong?</h3>"
        + figures.img(pictures["disagreement.png"], "disagreement of the experts, right and wrong pictures")
        + "<h3>Test pictures of the rarest classes</h3>"
        + _examples(ours, splits, logits, base_logits, target)
    )
    headline = {
        "ncl_all": reports["NCL++"]["ensemble_all"],
        "ce_all": reports["cross-entropy"]["ensemble_all"],
        **{f"ncl_{g}": reports["NCL++"][f"ensemble_{g}"] for g in _GROUPS[1:]},
        **{f"ce_{g}": reports["cross-entropy"][f"ensemble_{g}"] for g in _GROUPS[1:]},
    }
    return DemoResult({k: round(v, 4) for k, v in headline.items()}, html, (_asset(),), tuple(files))


def _asset() -> Path:
    return Path(str(resources.files("mien.data") / "assets" / "fashion_lt.npz"))


def _logits(predictor: Predictor, splits: Splits) -> tuple[Tensor, Tensor]:
    return collect_logits(predictor.net, splits.test, configs(predictor.folder.recipe)[1], default_device())


def _plot_classes(
    classes: list[str], counts: NDArray[np.int64], ours: dict[str, list[float]], base: dict[str, list[float]]
) -> bytes:
    figure, (ax,) = figures.new_figure(width=9, height=4)
    order = np.argsort(-counts, kind="stable")
    at = np.arange(len(classes))
    for offset, (name, values, colour) in enumerate(
        (
            ("NCL++ ensemble", ours["ensemble"], figures.COLOURS[0]),
            ("cross-entropy", base["ensemble"], figures.COLOURS[1]),
        )
    ):
        ax.bar(at + 0.4 * offset - 0.2, [100 * values[c] for c in order], 0.4, label=name, color=colour)
    ax.set_xticks(at, [f"{classes[c]}\n{counts[c]}" for c in order], fontsize=8)
    ax.set(ylabel="accuracy, %", xlabel="class, with its number of training pictures", ylim=(0, 100))
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False)
    return figures.png(figure)


def _plot_disagreement(logits: Tensor, target: Tensor) -> bytes:
    """How far the experts disagree where the ensemble is right, and where it is wrong."""
    gap = expert_kl(logits).numpy()
    right = (logits.mean(0).argmax(-1) == target).numpy()
    figure, (ax,) = figures.new_figure(width=9, height=3)
    bins = np.geomspace(max(1e-6, gap.min()), gap.max(), 40).tolist()
    for name, mask, colour in (("right", right, figures.COLOURS[2]), ("wrong", ~right, figures.COLOURS[1])):
        ax.hist(
            gap[mask],
            bins,
            weights=np.full(mask.sum(), 1 / max(1, mask.sum())),
            alpha=0.6,
            label=name,
            color=colour,
        )
    ax.set(
        xscale="log", xlabel="disagreement of the two experts (symmetrised KL)", ylabel="share of pictures"
    )
    ax.legend(title="ensemble is", frameon=False)
    return figures.png(figure)


def _examples(predictor: Predictor, splits: Splits, logits: Tensor, base: Tensor, target: Tensor) -> str:
    """Cards: three test pictures of each of the four rarest classes, what each model says."""
    rare = np.argsort(splits.train.counts(), kind="stable")[:4]
    probs, base_pred = (logits.mean(0)).softmax(-1), base.mean(0).argmax(-1)
    cards = []
    for c in rare:
        for i in np.flatnonzero(target.numpy() == c)[:3]:
            best = int(probs[i].argmax())
            cards.append(
                "<div class=card>"
                + figures.img(encode_png(splits.test.pictures([int(i)])[0][..., 0]), predictor.classes[c])
                + f"<div><b>{predictor.classes[c]}</b></div>"
                + _verdict("NCL++", predictor.classes[best], best == c, float(probs[i, best]))
                + _verdict("cross-entropy", predictor.classes[int(base_pred[i])], int(base_pred[i]) == c)
                + "</div>"
            )
    return f"<div class=cards>{''.join(cards)}</div>"


def _verdict(model: str, label: str, is_right: bool, probability: float | None = None) -> str:
    sure = "" if probability is None else f" ({100 * probability:.0f} %)"
    return f"<div class={'good' if is_right else 'bad'}>{model}: {label}{sure}</div>"


def _classify(output: Path, inputs: list[Path]) -> DemoResult:
    """The user's pictures instead of the test set."""
    predictor = Predictor.from_pretrained(OURS)
    with torch.inference_mode():
        results = predictor.predict(*inputs)
    cards = []
    for path, result in zip(inputs, results, strict=True):
        seen = predictor.seen(path)
        rows = [{"class": name, "probability": f"{100 * p:.1f} %"} for name, p in result.top]
        cards.append(
            f"<div class=card>{figures.img(encode_png(read_image(path)), path.name)}"
            f"{figures.img(encode_png(seen), 'what the net sees')}"
            f"<div><b>{result.label}</b></div>{figures.table(rows)}"
            f"<div>disagreement {result.disagreement:.3f}{' (inverted)' * result.inverted}</div></div>"
        )
    file = io.write_json(
        output / "ncl" / "input.json",
        [{"input": str(p), "label": r.label, "top": r.top} for p, r in zip(inputs, results, strict=True)],
    )
    headline = {
        "label": results[0].label,
        "probability": round(results[0].probability, 4),
        "pictures": len(results),
    }
    return DemoResult(headline, f"<div class=cards>{''.join(cards)}</div>", tuple(inputs), (file,))
