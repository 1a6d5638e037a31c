"""``mien demo phycine``: a made set that no training saw: what is found, what comes next, what would if."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mien.core import figures, io
from mien.core.seeds import derive
from mien.data.config import PhysicalData
from mien.data.physical import PhysicalSet, made_clip, made_set, rows_to_tensor
from mien.data.video import WrittenVideo, write_video
from mien.engine.show import DemoResult
from mien.engine.zoo import load_folder
from mien.methods.phycine.asking import physical_questions
from mien.methods.phycine.concepts import Latents
from mien.methods.phycine.config import PredictOptions
from mien.methods.phycine.forecast import FITTED, Start, changed_latents, explained_start, forecast
from mien.methods.phycine.model import Normal, Phycine, PhysLatents
from mien.methods.phycine.objects import FoundObject, objects_of, thresholds_at_hand
from mien.methods.phycine.pictures import Picture, beside, enlarged, frames_of, slot_frames
from mien.methods.phycine.predict import ClipResult, Predictor
from mien.methods.phycine.slots import SlotVideo
from mien.methods.phycine.symbolic import Thresholds, labelled
from mien.methods.phycine.task import configs
from mien.methods.phycine.tracks import match_objects
from mien.methods.phycine.watch import WatchedClip, watch, with_references
from mien.synth.comphy_program import Executor
from mien.synth.comphy_scene import Change, Thing
from mien.synth.comphy_set import VIEW, draw_set
from mien.synth.phys_render import PALETTE
from mien.synth.sheet import contact_sheet

OURS = "phycine/small"
HORIZON = 12
"""Frames that are predicted."""
MOVED = 0.5
"""World units that an object of the example ends elsewhere under the change, at least."""
_FILMS = (
    "the clip, what the slots draw of it, whose each pixel is",
    "above: what happens, and as predicted from the first 0.7 s; below: the same without one charge",
)
Array = NDArray[np.float64]
_WIDE = 420  # CSS pixels of a card


@dataclass(frozen=True, eq=False)
class Told:
    """True objects and what was found of those that a slot shows.

    Attributes:
        things: n objects.
        items: their numbers in the set.
        objects: what was found.
        columns: places of them among the seen.
    """

    things: tuple[Thing, ...]
    items: tuple[int, ...]
    objects: tuple[FoundObject, ...]
    columns: tuple[int, ...]


def demo(output: Path, inputs: list[Path]) -> DemoResult:
    """Explains a made set, or the user's videos."""
    folder = output / "phycine"
    predictor = Predictor.from_folder(load_folder(OURS))
    if inputs:
        return _explain(folder, predictor, inputs)
    net, (_, data) = predictor.net, configs(predictor.folder.recipe)
    one = example(data)
    clips = [watch(net, rows_to_tensor(c.video())[None].to(predictor.device)) for c in one.clips]
    clip = with_references(net, clips[0], clips[1:])
    known = predictor.thresholds or thresholds_at_hand(clips)
    told = matched(clip, one, known)
    change, begin = uncharged(one), Beginning.of(net, clip)
    paths = Paths.of(net, begin, one, told, change)
    shown = (frames_of(clip.video[0]), frames_of(clip.percepts.recon[0]))
    video = write_video(
        folder / "slots.mp4",
        beside(*map(enlarged, (*shown, slot_frames(clip.percepts.masks[0], clip.slots)))),
        1 / net.dt,
    )
    pictures = {"concepts": plot_concepts(told), "paths": plot_paths(paths, told)}
    films = [video]
    if isinstance(net.perception, SlotVideo):
        frames = four_films(net, data, clip, begin, one, told, change)
        films.append(write_video(folder / "what_if.mp4", frames, 1 / net.dt))
    files = [*(f.path for f in films), *(io.write_bytes(folder / f"{n}.png", p) for n, p in pictures.items())]
    answers = questions(one, told, known)
    right = sum(row["answer"] == row["true"] for row in answers)
    headline = {
        "objects": len(one.target.things),
        "found": len(told.objects),
        "error": round(paths.error, 3),
        "answers_right": f"{right} of {len(answers)}",
    }
    text = (
        "<p>A video of a set that no training saw, with four short ones of some of its objects. Nothing is"
        " labelled: masses and charges are what explains the paths best.</p>"
        + figures.cards("".join(map(_film, films, _FILMS)), _WIDE)
        + "<h3>Found masses and charges, and the true ones</h3>"
        + figures.img(pictures["concepts"], "found masses and charges")
        + f"<h3>What comes next, and what if {html.escape(paths.what)}</h3>"
        + figures.img(pictures["paths"], "true and predicted paths, as it is and changed")
        + "<h3>Questions</h3>"
        + figures.table(answers)
    )
    return DemoResult(headline, text, (predictor.folder.weights,), tuple(files))


def _film(video: WrittenVideo, said: str) -> str:
    return f"<div class=card>{figures.video(video.path.read_bytes(), said)}<div>{said}</div></div>"


def example(data: PhysicalData) -> PhysicalSet:
    """The first of the demo's sets that shows something, by its truth (`_shows`).

    Args:
        data: size and stride of the pictures.
    """
    number = 0
    while not _shows(one := _demo_set(data, number)):
        number += 1
    return one


def _demo_set(data: PhysicalData, number: int) -> PhysicalSet:
    drawn = draw_set(derive(data.set_seed, "physical", "demo", number), data.refs)
    return made_set(data, number, drawn, ())


def _shows(one: PhysicalSet) -> bool:
    """Two charges, colours of their own, all in the picture, and much changes without the first charge."""
    target, frames = one.target, FITTED + HORIZON
    assert one.drawn is not None
    colours = {t.color for t in target.things}
    if len(colours) < len(target.things) or not any(t.charge for t in target.things):
        return False
    changed = one.drawn.counterfactuals[uncharged(one)].x[0, frames * target.stride]
    moved = np.linalg.norm(changed - target.place[frames], axis=-1).max()
    return bool(target.visible[: frames + 1].all()) and bool(moved > MOVED)


def uncharged(one: PhysicalSet) -> Change:
    """The first charged object's charge is gone; the set's first change where none is charged."""
    assert one.drawn is not None
    changes = one.drawn.counterfactuals
    charged = (i for i, t in enumerate(one.target.things) if t.charge)
    wanted = Change(next(charged, -1), "charge", 0)
    return next((c for c in changes if c == wanted), next(iter(changes)))


def matched(clip: WatchedClip, one: PhysicalSet, known: Thresholds) -> Told:
    """Each true object beside the seen one nearest to it all along (`match_objects`)."""
    target = one.target
    place, visible = (torch.from_numpy(x[None, : target.shown]) for x in (target.place, target.visible))
    seen = clip.seen
    slot = match_objects(seen.place.cpu(), seen.present.cpu(), place.float(), visible).slot[0].tolist()
    objects = objects_of(clip, known)
    items = tuple(i for i, k in enumerate(slot) if 0 <= k < len(objects))
    columns = tuple(slot[i] for i in items)
    return Told(tuple(target.things[i] for i in items), items, tuple(objects[k] for k in columns), columns)


class Beginning(NamedTuple):
    """What is known of a clip's N objects in its first frame.

    Attributes:
        latents: masses and charges, (1, N) each.
        start: places and velocities.
        there: (1, N) bool: seen in the first `FITTED` frames.
    """

    latents: Latents
    start: Start
    there: Tensor

    @classmethod
    def of(cls, net: Phycine, clip: WatchedClip) -> Beginning:
        """Fitted to the first frames."""
        assert clip.latents is not None
        at = list(clip.slots)
        z = Latents(*(x.mean[:, at] for x in (clip.latents.mass, clip.latents.charge)))
        present = clip.seen.present[:, :FITTED]
        place, noise = clip.seen.place[:, :FITTED], net.config.noise
        start = explained_start(net.laws, place, present, z, net.dt, noise, "first")
        return cls(z, start, present.any(1))


def at_the_start(clip: WatchedClip, begin: Beginning) -> PhysLatents:
    """The clip's latents with what is known of its first frame; codes are those of the first sight."""
    assert clip.latents is not None
    at, latents = list(clip.slots), clip.latents
    place = torch.zeros_like(latents.ctx.mean[..., :2])
    first = clip.tracks.present.float().argmax(1)  # (1, K)
    codes = clip.percepts.slots[..., 2:]
    code = codes.gather(1, first[:, None, :, None].expand(-1, 1, -1, codes.shape[3]))[:, 0]
    speed, there = torch.zeros_like(latents.dyn.mean), torch.zeros_like(latents.present)
    place[:, at], speed[:, at], there[:, at] = begin.start.place, begin.start.velocity, begin.there
    return latents._replace(
        ctx=Normal(torch.cat([place, code], 2), latents.ctx.std),
        dyn=Normal(speed, latents.dyn.std),
        present=there,
    )


def four_films(
    net: Phycine,
    data: PhysicalData,
    clip: WatchedClip,
    begin: Beginning,
    one: PhysicalSet,
    told: Told,
    change: Change,
) -> Iterator[Picture]:
    """Above what happens and what was predicted from the start; below both under a change."""
    drawn = one.drawn
    assert drawn is not None
    steps, latents = FITTED + HORIZON, at_the_start(clip, begin)
    z = _changed(begin.latents, change, one, told)
    at = torch.tensor(clip.slots)
    other = latents._replace(
        mass=Normal(latents.mass.mean.index_copy(1, at, z.mass), latents.mass.std),
        charge=Normal(latents.charge.mean.index_copy(1, at, z.charge), latents.charge.std),
    )
    ground = derive(drawn.seed, "ground")
    changed = made_clip(data, drawn.counterfactuals[change], one.target.items, ground)
    films = []
    for clip_of, told_of in ((one.target, latents), (changed, other)):
        films += [clip_of.video(steps + 1), frames_of(net.rollout(told_of, steps).frames[0])]
    for pictures in zip(*map(enlarged, films), strict=True):
        yield contact_sheet(pictures, 2)


@dataclass(frozen=True, eq=False)
class Paths:
    """Paths of n objects over the first `FITTED` + `HORIZON` frames, (frames, n, 2).

    Attributes:
        true: what happens.
        predicted: from the first frames; NaN for an object that is not seen in them.
        true_changed: what would happen under the change.
        changed: as predicted.
        what: the change, in words.
    """

    true: Array
    predicted: Array
    true_changed: Array
    changed: Array
    what: str

    @property
    def error(self) -> float:
        """Mean distance at the last frame, world units; NaN without objects."""
        far = np.linalg.norm(self.predicted[-1] - self.true[-1], axis=-1)
        return float(np.nanmean(far)) if np.isfinite(far).any() else float("nan")

    @classmethod
    def of(cls, net: Phycine, begin: Beginning, one: PhysicalSet, told: Told, change: Change) -> Paths:
        """Predicted from the first frames, as it is and changed.

        The change is made at the start of the true clip, so its path is that of the changed world.
        """
        drawn, stride = one.drawn, one.target.stride
        assert drawn is not None
        what = f"the {one.target.things[change.item].color} one had {change.what} {change.value:g}"
        other = _changed(begin.latents, change, one, told)
        steps = FITTED + HORIZON
        rows = [
            forecast(net.laws, begin.start, z, steps, net.dt, begin.there)[0] for z in (begin.latents, other)
        ]
        own, items = list(told.columns), list(told.items)
        frames = slice(0, stride * steps + 1, stride)
        true, true_changed = (t.x[0, frames][:, items] for t in (drawn.target, drawn.counterfactuals[change]))
        hidden = ~begin.there[0, own].cpu().numpy()
        predicted, changed = (r[:, own].double().cpu().numpy() for r in rows)
        predicted[:, hidden] = changed[:, hidden] = np.nan
        return cls(true, predicted, true_changed, changed, what)


def _changed(z: Latents, change: Change, one: PhysicalSet, told: Told) -> Latents:
    """Latents under a change of one object; as they are if it was not found."""
    if change.item not in told.items:
        return z
    was = getattr(one.target.things[change.item], change.what)
    column = torch.tensor([told.columns[told.items.index(change.item)]], device=z.mass.device)
    factor = torch.tensor([change.value / was if was else 0.0], device=z.mass.device)
    return changed_latents(z, change.what, column, factor)


def questions(one: PhysicalSet, told: Told, known: Thresholds) -> list[dict[str, str]]:
    """Three questions about masses and charges, answered by programs on what was found, and on the truth."""
    names = [t.color for t in told.things]
    z_m, z_c = (np.array([getattr(o, n) for o in told.objects], float) for n in ("z_m", "z_c"))
    labels = labelled(told.things, z_m, z_c, known)
    things = list(one.target.things)
    for item, label in zip(told.items, labels, strict=True):
        things[item] = label
    lost = [i for i in range(len(things)) if i not in told.items]
    for i in lost:
        things[i] = things[i]._replace(mass=1, charge=0)
    found = Executor(replace(one.scene, things=tuple(things)))
    true = Executor(one.scene)
    return [
        {"question": text, "answer": str(found.run(program)), "true": str(true.run(program))}
        for text, program, _ in physical_questions(names[:2])
    ]


def _rgb(name: str) -> tuple[float, ...]:
    return tuple(v / 255 for v in PALETTE[name])


def plot_concepts(told: Told) -> bytes:
    """z_m and z_c of each object with their deviations, and the true values below, as a PNG."""
    figure, axes = figures.new_figure(2, 1, 4.6, 3.2)
    names = ("z_m", "z_c")
    titles = ("mass: z_m, its logarithm up to a summand", "charge: z_c, up to sign and scale")
    for ax, name, title, what in zip(axes, names, titles, ("mass", "charge"), strict=True):
        for k, (thing, found) in enumerate(zip(told.things, told.objects, strict=True)):
            mean, deviation = getattr(found, name), getattr(found, f"{name}_std")
            ax.bar(k, mean, yerr=deviation, color=_rgb(thing.color), width=0.6, capsize=3)
        ticks = [f"{t.color}\ntrue {getattr(t, what):g}" for t in told.things]
        ax.set_xticks(range(len(ticks)), ticks)
        ax.axhline(0, color="0.4", lw=0.8)
        ax.set_title(title, fontsize=10)
    return figures.png(figure)


def plot_paths(paths: Paths, told: Told) -> bytes:
    """True (lines) and predicted (dots) paths, as it is and changed, as a PNG."""
    figure, axes = figures.new_figure(2, 1, 4.6, 3.4)
    rows = (("as it is", paths.true, paths.predicted), (paths.what, paths.true_changed, paths.changed))
    for ax, (title, true, predicted) in zip(axes, rows, strict=True):
        for k, thing in enumerate(told.things):
            ax.plot(*true[:, k].T, color=_rgb(thing.color), lw=2)
            ax.plot(*true[0, k], "o", color=_rgb(thing.color), ms=12)
            ax.plot(*predicted[:, k].T, ".", color=_rgb(thing.color), ms=7, mec="k", mew=0.4)
        ax.set(xlim=(-1.5 * VIEW, 1.5 * VIEW), ylim=(-VIEW, VIEW), xticks=[], yticks=[], aspect="equal")
        ax.set_title(f"{title} (line: true, dots: predicted)", fontsize=9)
    return figures.png(figure)


def _explain(folder: Path, predictor: Predictor, inputs: Sequence[Path]) -> DemoResult:
    """The user's clips."""
    results = predictor.predict(*inputs, options=PredictOptions(output=str(folder)))
    cards = "".join(_card(p, r) for p, r in zip(inputs, results, strict=True))
    last = results[-1]
    headline: dict[str, Any] = {
        "clips": len(results),
        "status": last.status,
        "objects": len(last.objects),
    }
    files = tuple(Path(f) for r in results for f in r.files)
    return DemoResult(headline, figures.cards(cards, _WIDE), tuple(inputs), files)


def _card(path: Path, result: ClipResult) -> str:
    videos = [Path(f) for f in result.files if f.endswith(".mp4")]
    shown = "".join(figures.video(v.read_bytes(), v.stem) for v in videos)
    rows = [{"slot": o.slot, "color": o.color, "mass": o.mass, "charge": o.charge} for o in result.objects]
    kind = "good" if result.status == "ok" else "bad"
    said = f"{html.escape(path.name)}: <b class={kind}>{result.status}</b> {html.escape(result.note)}"
    return f"<div class=card>{shown}<div>{said}</div>{figures.table(rows)}</div>"
