"""``mien demo fm_vit``: live people and attacks as one, two or three cameras see them, and who is fooled."""

from __future__ import annotations

import html
import io as streams
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from mien.core import figures, io
from mien.core.images import encode_png
from mien.data.config import PadData
from mien.data.pad_images import MODALITIES, PadArrays, PadLabels
from mien.data.pad_loader import seen_by
from mien.data.rendered_pad import crop_face
from mien.engine import pad_cards
from mien.engine.predictor import default_device
from mien.engine.show import DemoResult
from mien.engine.zoo import load_folder
from mien.methods.fm_vit.config import PredictOptions
from mien.methods.fm_vit.evaluate import restore
from mien.methods.fm_vit.maps import overlay
from mien.methods.fm_vit.predict import PadResult, Predictor
from mien.methods.fm_vit.score import Scores, live_logits, subset_name
from mien.methods.fm_vit.task import configs
from mien.metrics import acer, apcer_pooled, bpcer, probability
from mien.synth.attacks import SPECIES
from mien.synth.made_sets import PadSet
from mien.synth.sheet import contact_sheet

OURS = "fm_vit/small"
PERSON, DEVICE, DEVICES = 100_000, 900, 3
"""The first person and device of the demo, far behind those of any training, and how many devices."""
LIVE, EACH = 6, 2
"""Live presentations, and those of each species of attack."""
SHOWN = 3
"""Live presentations with a card of their own; each species of attack has one."""
SCALE = 2  # of the pictures on a card
_FILES = dict(zip(MODALITIES, ("png", "depth.png", "ir.png"), strict=True))


@dataclass(frozen=True, eq=False)
class Judged:
    """What a net says of n presentations that it sees with some cameras.

    Attributes:
        p: (n,) probability of being live.
        threshold: of these cameras, accepted from there on.
        live: (n,) what is true.
    """

    p: Scores
    threshold: float
    live: NDArray[np.bool_]

    @property
    def right(self) -> NDArray[np.bool_]:
        """(n,) live ones accepted, attacks refused."""
        return np.asarray((self.p >= self.threshold) == self.live)

    @property
    def acer(self) -> float:
        """(APCER of all attacks + BPCER) / 2."""
        return acer(self.p, self.live, self.threshold, apcer="pooled")


def demo(output: Path, inputs: list[Path]) -> DemoResult:
    """Judges presentations that are drawn now, or the user's pictures."""
    folder = output / "fm_vit"
    if inputs:
        return _judge(folder, inputs)
    model = load_folder(OURS)
    method, data = configs(model.recipe)
    own = method.modalities
    net, drawn = restore(model), draw(data)
    found = judge(net, drawn, data.size, model.facts["thresholds"])
    asked = list(dict.fromkeys([*own, subset_name(own)]))
    shown = [*range(SHOWN), *range(LIVE, len(drawn), EACH)]
    pictures = looks(net, drawn.subset(np.array(shown)), own, data.size)
    scores = plot_scores({_title(s): found[s] for s in asked}, drawn.labels.species)
    files = [
        io.write_bytes(folder / "scores.png", scores),
        io.write_bytes(
            folder / "presentations.png",
            plot_looks(pictures, drawn.labels.species[shown], found[subset_name(own)], shown),
        ),
    ]
    cards = [
        _card(str(drawn.labels.species[i]), picture, [_verdict(s, found[s], i) for s in asked])
        for i, picture in zip(shown, pictures, strict=True)
    ]
    text = (
        f"<p>{len(drawn)} rendered presentations of people and by devices that no training saw: {LIVE} live,"
        f" and {EACH} of each of {len(SPECIES)} kinds of attack. One net judges what it is given, with the"
        " threshold that was chosen for these cameras on development data.</p>"
        "<h3>Which cameras are fooled?</h3>"
        + figures.img(scores, "probability of being live of each presentation, by kind and by cameras")
        + figures.table(rates(found))
        + "<h3>What the cameras see, and below it where the net looked</h3>"
        + f"{figures.cards(''.join(cards))}"
    )
    headline = {"presentations": len(drawn), **{f"acer_{s}": round(found[s].acer, 4) for s in asked}}
    return DemoResult(headline, text, (model.weights,), tuple(files))


def draw(data: PadData) -> PadArrays:
    """Live people, then each species of attack, rendered now as the training set was, on new devices.

    O(presentations size^2), 0.2 s each.

    Args:
        data: the set whose look is taken, with ``size`` and ``set_seed``.
    """
    wanted = ["live"] * LIVE + [s for s in SPECIES for _ in range(EACH)]
    images: dict[str, list[NDArray[np.uint8]]] = {m: [] for m in MODALITIES}
    devices = []
    for k, species in enumerate(wanted):
        is_live = species == "live"
        settings = PadSet(1, 1, round(1.5 * data.size), data.set_seed, float(is_live), DEVICES,
                          SPECIES if is_live else (species,), PERSON + k, DEVICE)  # fmt: skip
        (sample,) = settings.samples(0)
        label = json.loads(sample.files["json"])
        for m, file in _FILES.items():
            picture = np.asarray(Image.open(streams.BytesIO(sample.files[file])))
            images[m].append(crop_face(picture, tuple(label["box"]), data.size))
        devices.append(f"d{label['device']}")
    keys = PERSON + np.arange(len(wanted), dtype=np.uint64)
    who = np.array([f"s{k}" for k in keys])
    return PadArrays(
        {m: np.stack(v) for m, v in images.items()}, PadLabels(np.array(wanted), who, np.array(devices), keys)
    )


def judge(net: nn.Module, images: PadArrays, size: int, known: Mapping[str, Any]) -> dict[str, Judged]:
    """Every subset of cameras that the model knows, at its threshold.

    Args:
        net: the trained net.
        images: presentations.
        size: of its input.
        known: ``thresholds`` of the model's facts.
    """
    out = {}
    for name, facts in known.items():
        logits = live_logits(net, images, name.split("+"), size, default_device())
        p = probability(logits, facts["calibration"])
        out[name] = Judged(p, float(facts["value"]), images.labels.live)
    return out


def rates(found: Mapping[str, Judged]) -> list[dict[str, str]]:
    """A line of error rates for each subset of cameras."""
    return [
        {
            "cameras": name.replace("+", " + "),
            "live refused (BPCER)": f"{100 * bpcer(j.p, j.live, j.threshold):.0f} %",
            "attacks accepted (APCER, pooled)": f"{100 * apcer_pooled(j.p, j.live, j.threshold):.0f} %",
            "ACER": f"{100 * j.acer:.0f} %",
            "threshold": f"{j.threshold:.2f}",
        }
        for name, j in found.items()
    ]


@torch.no_grad()
def looks(net: nn.Module, images: PadArrays, modalities: Sequence[str], size: int) -> list[NDArray[np.uint8]]:
    """One picture for each presentation: what each camera sees, and below it where the net looked.

    The second row is the relevance of patches with all cameras at once; nets without it have none.
    """
    seen = seen_by(images, modalities, np.arange(len(images)), size)
    relevance = net.to(default_device())({m: x.to(default_device()) for m, x in seen.items()})["relevance"]
    out = []
    for i in range(len(images)):
        tiles = []
        for m in modalities:
            grey = images.pictures(m, [i])[0]
            wide = np.broadcast_to(grey, (*grey.shape[:2], 3)).repeat(SCALE, 0).repeat(SCALE, 1)
            tiles.append(np.ascontiguousarray(wide))
        if relevance:
            tiles += [overlay(seen[m][i], relevance[m][i].cpu(), SCALE) for m in modalities]
        out.append(contact_sheet(tiles, len(modalities)))
    return out


def plot_scores(found: Mapping[str, Judged], species: NDArray[np.str_]) -> bytes:
    """Probability of being live of each presentation, one panel for each set of cameras, as a PNG.

    Args:
        found: title -> what was said.
        species: (n,).
    """
    kinds = list(dict.fromkeys(species.tolist()))
    row = np.array([kinds.index(s) for s in species])
    # Presentations of one kind lie side by side, not on each other.
    beside = np.array([np.count_nonzero(row[:i] == row[i]) for i in range(len(row))])
    y = row + 0.6 * (beside / np.bincount(row)[row] - 0.5 + 0.5 / np.bincount(row)[row])
    figure, axes = figures.new_figure(columns=len(found), width=2.7, height=3.8)
    for n, (ax, (title, judged)) in enumerate(zip(axes, found.items(), strict=True)):
        ax.axvspan(judged.threshold, 1.04, color="0.93", zorder=0)
        ax.axvline(judged.threshold, color="0.4", lw=1, ls="--")
        for label, chosen, colour, mark in (
            ("right", judged.right, figures.COLOURS[2], "o"),
            ("wrong", ~judged.right, figures.COLOURS[1], "X"),
        ):
            ax.scatter(judged.p[chosen], y[chosen], s=34, c=colour, marker=mark, label=label, zorder=3, lw=0)
        ax.set(title=title, xlim=(-0.04, 1.04), ylim=(len(kinds) - 0.4, -0.6), xlabel="P(live)")
        ax.set_yticks(range(len(kinds)), [_kind(k) for k in kinds] if n == 0 else [""] * len(kinds))
    figure.legend(*axes[-1].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    return figures.png(figure)


def plot_looks(
    pictures: Sequence[NDArray[np.uint8]], species: NDArray[np.str_], judged: Judged, places: Sequence[int]
) -> bytes:
    """The pictures of `looks` with what they are and what was said of them, three in a row, as a PNG.

    Args:
        pictures: n, of one size.
        species: (n,).
        judged: of these and others.
        places: n, where these are among the others.
    """
    height, width = pictures[0].shape[:2]
    rows = -(-len(pictures) // 3)
    figure, axes = figures.new_figure(3, rows, 3.4, 3.4 * height / width + 0.35)
    for ax in axes:
        ax.set_axis_off()
    for ax, picture, kind, i in zip(axes, pictures, species, places, strict=False):
        ax.imshow(picture, interpolation="nearest")
        colour = figures.COLOURS[2] if judged.right[i] else figures.COLOURS[1]
        ax.set_title(f"{_kind(kind)}: said {_said(judged, i)}", color=colour, fontsize=10)
    return figures.png(figure)


def _kind(species: str) -> str:
    return species.replace("_", ", ")


def _title(subset: str) -> str:
    return "all together" if "+" in subset else f"{subset} alone"


def _said(judged: Judged, i: int) -> str:
    said = "live" if judged.p[i] >= judged.threshold else "attack"
    return f"{said}, P(live) {100 * judged.p[i]:.0f} %"


def _verdict(subset: str, judged: Judged, i: int) -> str:
    line = f"{_title(subset)}: {_said(judged, i)}"
    text = f"<b>{line}</b>" if "+" in subset else line
    return f"<div class={'good' if judged.right[i] else 'bad'}>{text}</div>"


def _card(title: str, picture: NDArray[np.uint8], lines: Iterable[str]) -> str:
    head = f"<div><b>{_kind(title)}</b></div>"
    return f"<div class=card>{figures.img(encode_png(picture), title)}{head}{''.join(lines)}</div>"


def moments(inputs: Sequence[Path]) -> list[dict[str, Path]]:
    """The user's files as presentations: NAME_depth and NAME_ir go with NAME_rgb or NAME, in any order.

    >>> moments([Path("a.png"), Path("b_ir.png"), Path("a_depth.png")])
    [{'rgb': PosixPath('a.png'), 'depth': PosixPath('a_depth.png')}, {'ir': PosixPath('b_ir.png')}]
    """
    groups: dict[Path, dict[str, Path]] = {}
    for path in inputs:
        stem, _, end = path.stem.rpartition("_")
        name, modality = (stem, end) if stem and end in MODALITIES else (path.stem, "rgb")
        group = groups.setdefault(path.parent / name, {})
        if modality in group:  # the same name with two endings, or one file twice
            group = groups.setdefault(path, {})
        group[modality] = path
    return list(groups.values())


def _judge(folder: Path, inputs: list[Path]) -> DemoResult:
    """The user's pictures, each with the cameras that it has."""
    predictor = Predictor.from_pretrained(OURS)
    given = moments(inputs)
    results = predictor.predict(*given, options=PredictOptions(maps=str(folder)))
    maps = [Path(m) for r in results for m in r.maps]
    rows = [
        {"input": {m: str(p) for m, p in g.items()}, **asdict(r)} for g, r in zip(given, results, strict=True)
    ]
    file = io.write_json(folder / "input.json", rows)
    cards = "".join(_answer(g, r) for g, r in zip(given, results, strict=True))
    headline = {"presentations": len(results), **pad_cards.headline(results[-1])}
    text = "<p>Below each presentation: where the net looked.</p>" if maps else ""
    return DemoResult(headline, f"{text}{figures.cards(cards)}", tuple(inputs), (*maps, file))


def _answer(given: Mapping[str, Path], result: PadResult) -> str:
    """One of the user's presentations as a card."""
    names = html.escape(", ".join(p.name for p in given.values()))
    pictures = "".join(figures.img(Path(m).read_bytes(), f"where it looked: {names}") for m in result.maps)
    verdict, note = pad_cards.verdict(result), pad_cards.note(result)
    if result.probability is not None and result.threshold is not None:
        verdict += f" (accepted from {100 * result.threshold:.0f} %)"
    branches = "".join(f"<div>{m} branch: {100 * p:.0f} %</div>" for m, p in result.branches)
    row = f'<div style="display:flex;gap:2px">{pictures}</div>' if pictures else ""
    return f"<div class=card>{row}<div>{names}</div><div>{verdict}</div>{branches}{note}</div>"
