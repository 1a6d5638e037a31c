"""``mien demo cqil``: tracks of far faces with scores and quality, and what a worse camera costs."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.core import figures, io
from mien.core.images import encode_png
from mien.data.surveil_images import SurveilImages
from mien.engine import pad_cards
from mien.engine.show import DemoResult
from mien.engine.zoo import load_folder
from mien.methods.cqil.config import PredictOptions
from mien.methods.cqil.inspection import plot_sweep, sweep, sweep_row
from mien.methods.cqil.predict import Predictor, SurveilResult, read_track
from mien.methods.cqil.score import scored, track_places, track_scores
from mien.metrics import probability
from mien.synth.sheet import contact_sheet

OURS = "cqil/small"
TRACKS, FRAMES = 10, 5
"""Tracks that are shown, half of them live, and frames of each."""
SEVERITIES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
SCALE = 2  # of the pictures on a card
_WIDE = 300  # CSS pixels of a card


@dataclass(frozen=True, eq=False)
class JudgedTrack:
    """One track of the demo.

    Attributes:
        pictures: (F, S, S, 3) uint8.
        label: 0 live, 1 to 9 the kind of attack.
        odds: (F,) calibrated P(live) of each frame alone.
        quality: (F,) as the model sees it.
        probability: of the track.
        live: what is said of it.
    """

    pictures: NDArray[np.uint8]
    label: int
    odds: NDArray[np.float64]
    quality: NDArray[np.float64]
    probability: float
    live: bool

    @property
    def is_right(self) -> bool:
        """Whether what is said is true."""
        return self.live == (self.label == 0)


def demo(output: Path, inputs: list[Path]) -> DemoResult:
    """Judges tracks that no training saw, or the user's pictures and videos."""
    predictor = Predictor.from_folder(load_folder(OURS))
    folder = output / "cqil"
    if inputs:
        return judge_files(predictor, folder, inputs)
    from mien.data.surveil_sets import demo_pictures

    return show(predictor, folder, demo_pictures(predictor.data))


def show(predictor: Predictor, folder: Path, images: SurveilImages) -> DemoResult:
    """Tracks, and the sweep over all pictures.

    Args:
        predictor: the model.
        folder: for files.
        images: live faces and attacks, some pictures of each track.
    """
    found = judged_tracks(predictor, images)
    known = predictor.folder.facts["thresholds"]
    points = sweep(predictor.net, images, SEVERITIES, float(known["image"]["logit"]), predictor.device)
    curve = plot_sweep(points)
    sheet = contact_sheet([strip(t) for t in found], 2)
    files = (
        io.write_bytes(folder / "tracks.png", encode_png(sheet)),
        io.write_bytes(folder / "sweep.png", curve),
    )
    cards = "".join(_card(t) for t in found)
    text = (
        f"<p>{len(found)} tracks of rendered people before rendered surveillance cameras; a track's score"
        " is the mean of its frames' log odds, weighted by the quality that the model sees in each. Accepted"
        f" from {100 * float(known['track']['value']):.0f} % on (chosen on development tracks).</p>"
        f"{figures.cards(cards, _WIDE)}<h3>The same pictures, worse and worse</h3>"
        + figures.img(curve, "ACER, AUC, severity as read and movement of features against severity")
        + figures.table([sweep_row(p) for p in points])
    )
    headline = {
        "tracks": len(found),
        "right": sum(t.is_right for t in found),
        "auc_as_it_is": round(points[0].auc, 4),
        "auc_at_severity_1": round(points[-1].auc, 4),
    }
    return DemoResult(headline, text, (predictor.folder.weights,), files)


def judged_tracks(predictor: Predictor, images: SurveilImages) -> list[JudgedTrack]:
    """The first tracks of live faces and of attacks, at most `FRAMES` frames of each."""
    place, first = track_places(images)
    known = predictor.folder.facts["thresholds"]
    live = [t for t in range(len(first)) if images.live[first[t]]][: TRACKS // 2]
    attacks = [t for t in range(len(first)) if not images.live[first[t]]][: TRACKS - len(live)]
    out = []
    for t in [*live, *attacks]:
        rows = np.flatnonzero(place == t)[:FRAMES]
        said = scored(predictor.net, images.pictures[rows], predictor.device)
        own = track_scores(said.odds, said.quality, np.zeros(len(rows), np.int64))
        p = float(probability(own, known["track"]["calibration"])[0])
        each = probability(said.odds, known["image"]["calibration"])
        is_live = p >= float(known["track"]["value"])
        out.append(
            JudgedTrack(images.pictures[rows], int(images.label[rows[0]]), each, said.quality, p, is_live)
        )
    return out


def strip(track: JudgedTrack) -> NDArray[np.uint8]:
    """The frames of a track side by side, `FRAMES` of them; below each a bar as long as its quality."""
    size = SCALE * track.pictures.shape[1]
    tiles = []
    for picture, quality in zip(track.pictures, track.quality, strict=True):
        tile = np.full((size + 6, size, 3), 255, np.uint8)
        tile[:size] = picture.repeat(SCALE, 0).repeat(SCALE, 1)
        tile[size + 1 :, : max(1, round(float(quality) * size))] = (0, 114, 178)
        tiles.append(tile)
    tiles += [np.full_like(tiles[0], 255)] * (FRAMES - len(tiles))
    return contact_sheet(tiles, FRAMES)


def _card(track: JudgedTrack) -> str:
    what = "live" if track.label == 0 else f"attack, kind {track.label}"
    said = "live" if track.live else "attack"
    each = ", ".join(f"{100 * p:.0f} %" for p in track.odds)
    kind = "good" if track.is_right else "bad"
    return (
        f"<div class=card>{figures.img(encode_png(strip(track)), what)}<div><b>{what}</b></div>"
        f"<div class={kind}>said {said}, P(live) {100 * track.probability:.0f} %</div>"
        f"<div class=muted>frames alone: {each}; blue: quality as the model sees it</div></div>"
    )


def judge_files(predictor: Predictor, folder: Path, inputs: Sequence[Path]) -> DemoResult:
    """The user's pictures and videos, one card each."""
    results = predictor.predict(*inputs, options=PredictOptions(frames=FRAMES))
    rows = [{"input": str(p), **asdict(r)} for p, r in zip(inputs, results, strict=True)]
    file = io.write_json(folder / "input.json", rows)
    cards = "".join(_answer(p, r) for p, r in zip(inputs, results, strict=True))
    headline = {"inputs": len(results), **pad_cards.headline(results[-1])}
    return DemoResult(headline, figures.cards(cards, _WIDE), tuple(inputs), (file,))


def _answer(path: Path, result: SurveilResult) -> str:
    moments, _ = read_track(path, FRAMES)
    picture = figures.img(encode_png(moments[0].pictures["rgb"]), path.name)
    verdict, note = pad_cards.verdict(result), pad_cards.note(result)
    quality = "" if result.quality is None else f"<div>quality {100 * result.quality:.0f} %</div>"
    name = f"<div>{html.escape(path.name)}</div>"
    return f"<div class=card>{picture}{name}<div>{verdict}</div>{quality}{note}</div>"
