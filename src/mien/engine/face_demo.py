"""What the demos of the recognisers of faces show: who is told apart, and where they fail."""

from __future__ import annotations

import io as streams
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mien.core import figures, io
from mien.core.errors import MissingPackageError
from mien.core.images import encode_png, read_image
from mien.data.config import FaceData
from mien.data.labelled import ArrayImages, LabelledImages
from mien.data.rendered_faces import masked, orl_faces
from mien.engine.face_embedding import embed
from mien.engine.face_predictor import FacePredictor
from mien.engine.predictor import default_device
from mien.engine.show import DemoResult
from mien.metrics import det_plot, open_set_report, roc_points, score_histogram
from mien.synth.made_sets import AlignedSet

PEOPLE, EACH = 16, 8


def demo_people(data: FaceData, people: int = PEOPLE, each: int = EACH) -> ArrayImages:
    """The first test people of a rendered set, drawn now; O(people each) renders, 0.02 s a picture."""
    first = data.people + data.val_people
    made = AlignedSet(people, each, data.size, data.set_seed, first)
    rows = []
    for number in range(people):
        (sample,) = made.samples(number)
        with np.load(streams.BytesIO(sample.files["npz"]), allow_pickle=False) as file:
            rows.append(file["images"])
    images = np.concatenate(rows)
    labels = np.repeat(np.arange(people), each)
    names = [f"person {n}" for n in range(people)]
    return ArrayImages(masked(images) if data.look == "masked" else images, labels, names)


def demo_sets(data: FaceData) -> tuple[dict[str, LabelledImages], str]:
    """Test pictures by name, the real ones where they are installed; and a line if they are not."""
    sets: dict[str, LabelledImages] = {"rendered": demo_people(data)}
    try:
        sets["ORL"] = orl_faces(data.size)
    except MissingPackageError as error:
        return sets, str(error)
    return sets, ""


@dataclass(frozen=True, eq=False)
class Pairs:
    """All pairs of a set under one model: scores, same person or not, and which pictures."""

    scores: NDArray[np.float32]
    same: NDArray[np.bool_]
    first: NDArray[np.int64]
    second: NDArray[np.int64]

    def hardest(self, same: bool, count: int) -> list[int]:
        """Places of the pairs of one person that look least alike, or of two that look most alike."""
        own = np.flatnonzero(self.same == same)
        order = np.argsort(self.scores[own] if same else -self.scores[own], kind="stable")
        return [int(i) for i in own[order[:count]]]


def all_pairs(net: nn.Module, images: LabelledImages, size: int) -> Pairs:
    """Cosine similarity of all pairs of pictures. O(n^2 D)."""
    e = torch.nn.functional.normalize(embed(net, images, size, default_device())).numpy()
    first, second = np.triu_indices(len(e), 1)
    same = images.targets[first] == images.targets[second]
    return Pairs((e @ e.T)[first, second], same, first.astype(np.int64), second.astype(np.int64))


def compare(
    output: Path, models: Mapping[str, nn.Module], shown: str, data: FaceData, threshold: float
) -> tuple[dict[str, float], str, list[Path]]:
    """DET curves, tables and hardest pairs of several models on unseen people.

    Args:
        output: folder for the pictures.
        models: label -> recogniser.
        shown: label of the one whose hardest pairs are drawn.
        data: the set that all were trained on.
        threshold: of that model, for the score histogram.

    Returns:
        Headline numbers of the shown model, HTML, and the files written.
    """
    sets, left_out = demo_sets(data)
    headline: dict[str, float] = {}
    html, files = [f"<p class=muted>{left_out}</p>"] if left_out else [], []
    for name, images in sets.items():
        pairs = {label: all_pairs(net, images, data.size) for label, net in models.items()}
        curves = {label: roc_points(p.scores, p.same) for label, p in pairs.items()}
        rows, key = [], name.lower()
        for label, net in models.items():
            e = embed(net, images, data.size, default_device()).numpy()
            report = open_set_report(e, images.targets, fars=(1e-2,), gallery="first", draws=100)
            line = {"rank-1": report.rank_1.value, "EER": report.eer.value, "TAR@FAR 1 %": report.tar[0].tar}
            rows.append({"model": label, **{k: f"{100 * v:.1f} %" for k, v in line.items()}})
            if label == shown:
                headline |= {f"{key}_rank_1": report.rank_1.value, f"{key}_eer": report.eer.value}
        own = pairs[shown]
        pictures = {
            f"det_{key}.png": det_plot(curves, f"{name}: {len(images.classes)} unseen people"),
            f"scores_{key}.png": score_histogram(own.scores, own.same, threshold, f"{name}, {shown}"),
        }
        files += [io.write_bytes(output / file, png) for file, png in pictures.items()]
        html += [f"<h3>{name}: {len(images)} pictures of {len(images.classes)} unseen people</h3>"]
        html += [figures.table(rows), *(figures.img(png, file) for file, png in pictures.items())]
        html += ["<h4>Different people that look most alike to it</h4>", pair_cards(images, own, False)]
        html += ["<h4>Same people that look least alike to it</h4>", pair_cards(images, own, True)]
    return {k: round(v, 4) for k, v in headline.items()}, "".join(html), files


def pair_cards(images: LabelledImages, pairs: Pairs, same: bool, count: int = 4) -> str:
    """The hardest pairs as cards: two pictures and their similarity."""
    cards = []
    for place in pairs.hardest(same, count):
        a, b = images.pictures([int(pairs.first[place]), int(pairs.second[place])])
        names = [images.classes[images.targets[int(i)]] for i in (pairs.first[place], pairs.second[place])]
        picture = encode_png(np.concatenate([a, np.full_like(a[:, :2], 255), b], 1))
        title = names[0] if same else " / ".join(names)
        cards.append(
            f"<div class=card>{figures.img(picture, title)}<div>{title}</div>"
            f"<div>similarity {pairs.scores[place]:.2f}</div></div>"
        )
    return f"<div class=cards>{''.join(cards)}</div>"


def verify(output: Path, inputs: list[Path], predictor: FacePredictor) -> DemoResult:
    """Each of the user's pictures against the first."""
    results = predictor.predict(*inputs)
    cards = []
    for path, result in zip(inputs, results, strict=True):
        answer = "reference"
        if result.same is not None:
            answer = (
                f"{'same person' if result.same else 'different people'}, similarity {result.similarity:.3f}"
            )
        cards.append(
            f"<div class=card>{figures.img(encode_png(read_image(path)), path.name)}"
            f"<div>{path.name}: {result.status}</div><div><b>{answer}</b></div></div>"
        )
    rows = [{"input": str(p), "status": r.status, "similarity": r.similarity, "same": r.same}
            for p, r in zip(inputs, results, strict=True)]  # fmt: skip
    file = io.write_json(output / "input.json", rows)
    last = results[-1]
    headline = {"pictures": len(results), "similarity": last.similarity, "same": last.same}
    return DemoResult(headline, f"<div class=cards>{''.join(cards)}</div>", tuple(inputs), (file,))
