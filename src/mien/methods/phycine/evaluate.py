"""The protocol: sets that no training saw, from their pictures alone.

Latents are scored against mass and charge where motion can tell (`mien.metrics.concepts`), rollouts against
the simulator's future, interventions against the simulator run again with the property changed. All values
are given for each set, so that an interval over sets is an interval over independent videos.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mien.core.errors import ConfigError, DataError
from mien.core.protocol import Evaluation
from mien.data.comphy import answer_file
from mien.data.physical import PhysicalClip, PhysicalSet, lone_clips, physical_sets, rows_to_tensor
from mien.engine.checkpoint import load_weights
from mien.engine.folder import ModelFolder
from mien.engine.task import Measured
from mien.methods.phycine.answers import answers, submission
from mien.methods.phycine.concepts import Latents
from mien.methods.phycine.config import PhycineConfig
from mien.methods.phycine.forecast import (
    FITTED,
    Start,
    Still,
    changed_latents,
    explained_start,
    forecast,
    straight_start,
)
from mien.methods.phycine.found import (
    clip_latents,
    kept_concepts,
    matched_parts,
    set_latents,
    shared_latents,
)
from mien.methods.phycine.found_scenes import NOTHING_FOUND, FoundObjects, found_scenes
from mien.methods.phycine.model import Phycine, fit_settings
from mien.methods.phycine.reason import Reasoner
from mien.methods.phycine.sight import Seen, SeenSets, kept_sight, linked, see_clips, sight_key
from mien.methods.phycine.symbolic import symbolic_answers, thresholds_of
from mien.methods.phycine.task import configs, tokens_of
from mien.methods.phycine.tracks import match_objects
from mien.methods.phycine.words import Vocabulary
from mien.metrics.comphy import KINDS, comphy_marks, comphy_scores
from mien.metrics.concepts import auc_units, concept_report, correlation_units
from mien.metrics.intervals import by_cluster
from mien.metrics.segmentation import adjusted_rand_index
from mien.synth.comphy_scene import FPS
from mien.synth.comphy_set import executor_agreement, question_file
from mien.synth.phys_world import COLOURS

Array = NDArray[Any]
Values = NDArray[np.float64]
HORIZON = 10
"""Frames ahead at which predictions and interventions are scored; predictions also at twice as many. Where
a video ends before, its last frame."""
ASKED = 10_000
"""Answers that programs and the generator are compared on."""
OPTIONS = {
    "refs": "a number",
    "together": "product",
    "laws": "constant",
    "answers": "symbolic",
    "concepts": "none",
}
"""Options of an evaluation, and the value that changes something."""
TOLD = (
    "mass_auc_in_group",
    "like_opposite_auc",
    "charged_auc",
    "mass_from_charge_auc",
    "charged_from_mass_auc",
    "mass_from_colour",
    "charge_from_colour",
    "interacted",
    "alone",
)
"""What of a `ConceptReport` is kept beside the units: it has no interval."""


def restore(folder: ModelFolder) -> Phycine:
    """The trained net of a folder."""
    method, data = configs(folder.recipe)
    if method.stage == "answers":
        return restore_reasoner(folder)[0].phycine
    net = Phycine(method, data.size, data.stride / FPS)
    load_weights(net, folder.weights)
    return net.eval()


def restore_reasoner(folder: ModelFolder) -> tuple[Reasoner, Vocabulary]:
    """The answering net of a folder, and its words.

    Raises:
        ConfigError: a model that was not taught to answer.
    """
    method, data = configs(folder.recipe)
    if method.stage != "answers":
        raise ConfigError(f"{folder.path}: trained up to {method.stage!r}; 'answers' is needed for questions")
    vocabulary = Vocabulary.from_dict(folder.facts["vocabulary"])
    phycine = Phycine(method, data.size, data.stride / FPS)
    reasoner = Reasoner(phycine, len(vocabulary), len(vocabulary.answers))
    load_weights(reasoner, folder.weights)
    return reasoner.eval(), vocabulary


def evaluate(folder: ModelFolder | None, evaluation: Evaluation) -> Measured:
    """One row of the protocol, on the split ``test`` or ``val``.

    Options: ``refs``: references that are used; ``together``: "product" leaves a set's latents at the
    product of its clips' Gaussians; ``laws``: "constant" for constant velocity; ``answers``: "symbolic" for
    `programs_on_found`, with ``concepts``: "none" for objects that are all light and uncharged.

    Raises:
        ConfigError: an option, or a value of one, that there is not.
        DataError: a split that there is not, or a set without truth.
    """
    if folder is None:
        return programs()
    options = dict(evaluation.options)
    check_options(options)
    method, data = configs(folder.recipe)
    if evaluation.split not in ("val", "test"):
        raise DataError(f"no evaluation {evaluation.split!r}; there are test and val")
    sets = physical_sets(data, evaluation.split)
    if method.stage == "answers":
        return answered(folder, evaluation.split, sets)
    if any(s.drawn is None for s in sets):
        raise DataError(
            f"data.kind={data.kind!r}: this protocol needs made sets, whose truth can be run again"
        )
    net = restore(folder)
    seen = kept_sight(net.perception, method, data, evaluation.split, sets)
    case = Case(net, sets, seen, options, lone_clips(data, evaluation.split, len(sets)))
    if "answers" in options:
        return programs_on_found(case, sight_key(net.perception, method, data, evaluation.split))
    units: dict[str, Values] = {}
    if method.stage == "perception" or options.get("laws") == "constant":
        units |= perceived(net, method, sets) if method.sight != "true" else {}
        units |= predicted(case, None, Still())
    else:
        clips, found = concepts(case)
        units |= clips
        units |= predicted(case, found, net.laws) | intervened(case, found)
    extra = case.extra
    metrics = {k: float(np.mean(v)) for k, v in units.items()} | extra
    return Measured(metrics, units | {"half": np.full(len(sets), 0.5)})


def check_options(options: Mapping[str, Any]) -> None:
    """One clear line for an option that would be ignored.

    Raises:
        ConfigError: an unknown name, or a value that means nothing.
    """
    for name, value in options.items():
        if name not in OPTIONS:
            raise ConfigError(f"no option {name!r} of an evaluation; there are {', '.join(OPTIONS)}")
        if name != "refs" and value != OPTIONS[name]:
            raise ConfigError(f"option {name}={value!r}: {OPTIONS[name]!r}, or leave it out")


@dataclass
class Case:
    """What is measured on: a net, its test sets, what it sees of them; ``extra`` collects plain numbers.

    ``lone``: a clip for each set in which nothing meets.
    """

    net: Phycine
    sets: Sequence[PhysicalSet]
    seen: SeenSets
    options: Mapping[str, Any]
    lone: Sequence[PhysicalClip] = ()

    def __post_init__(self) -> None:
        self.extra: dict[str, float] = {}
        clips = [s.target for s in self.sets]
        self.slot = slots_of(self.seen.targets, clips)
        self.shown, self.dt = clips[0].shown, clips[0].dt


def programs() -> Measured:
    """Programs against what the simulation says, on `ASKED` answers."""
    found = executor_agreement(ASKED, seed=3)
    agree = np.zeros(found.answers)
    agree[: found.agree] = 1.0
    return Measured({"agree": float(agree.mean())}, {"agree": agree, "one": np.ones(found.answers)})


def slots_of(seen: Seen, clips: Sequence[PhysicalClip]) -> Array:
    """(B, N) slot of each true object, -1 for one that was not found or does not exist."""
    place, visible = padded(clips, seen.frames)
    return match_objects(
        seen.place, seen.present, torch.from_numpy(place), torch.from_numpy(visible)
    ).slot.numpy()


def padded(clips: Sequence[PhysicalClip], frames: int) -> tuple[Array, Array]:
    """Places (B, T, N, 2) and visibility (B, T, N) of clips of up to N objects."""
    count = max(len(c.things) for c in clips)
    place = np.zeros((len(clips), frames, count, 2), np.float32)
    visible = np.zeros(place.shape[:3], bool)
    for b, clip in enumerate(clips):
        own = len(clip.things)
        place[b, :, :own], visible[b, :, :own] = clip.place[:frames], clip.visible[:frames]
    return place, visible


def chosen(values: Tensor, slot: Array, missing: float = 0.0) -> Array:
    """(B, N) values (B, K) of the objects' slots; ``missing`` where there is none."""
    picked = np.take_along_axis(values.cpu().numpy(), np.maximum(slot, 0), 1)
    return np.where(slot >= 0, picked, missing)


def concept_units(
    z_m: Array, z_c: Array, clips: Sequence[PhysicalClip], sets: Array, hits: Sequence[Array], count: int
) -> tuple[dict[str, Values], dict[str, float]]:
    """Numbers of each set that average to AUC of mass and correlation of charge products, and a report.

    An object that perception has lost has z_m = z_c = 0.
    """
    width = z_m.shape[1]
    mass, charge, colour = (np.zeros((len(clips), width)) for _ in range(3))
    exists, met = np.zeros((len(clips), width), bool), np.zeros((len(clips), width, width), bool)
    for b, clip in enumerate(clips):
        own = len(clip.things)
        exists[b, :own], met[b, :own, :own] = True, hits[b]
        mass[b, :own], charge[b, :own] = [t.mass for t in clip.things], [t.charge for t in clip.things]
        colour[b, :own] = [COLOURS.index(t.color) for t in clip.things]
    report = concept_report(z_m, z_c, mass, charge, met, colour, exists=exists)
    on = exists & (met | ((charge[:, :, None] * charge[:, None] != 0) & ~np.eye(width, dtype=bool))).any(2)
    heavy, clip_set = mass > 1, np.repeat(sets[:, None], width, 1)
    i, j = np.triu_indices(width, 1)
    both = on[:, i] & on[:, j]
    products = correlation_units((z_c[:, i] * z_c[:, j])[both], (charge[:, i] * charge[:, j])[both])
    units = {
        "mass": by_cluster(auc_units(z_m[on], heavy[on]), clip_set[on], count),
        "charge": by_cluster(products, np.repeat(sets[:, None], len(i), 1)[both], count),
    }
    units["concepts"] = (units["mass"] + units["charge"]) / 2
    off = exists & ~on
    if heavy[off].any() and not heavy[off].all():
        units["mass_control"] = by_cluster(auc_units(z_m[off], heavy[off]), clip_set[off], count)
    return units, {k: float(v) for k, v in vars(report).items()}


def concepts(case: Case) -> tuple[dict[str, Values], Latents]:
    """Scores of each clip alone, and of sets (``set_``); the targets' latents from all that is shown."""
    count, net = len(case.sets), case.net
    settings = fit_settings(net.config)
    targets = clip_latents(net.laws, settings, case.seen.targets.until(case.shown), case.dt, find=net.find)
    references = clip_latents(net.laws, settings, case.seen.references, case.dt, find=net.find)
    clips = [r for s in case.sets for r in s.references]
    slots = slots_of(case.seen.references, clips)
    numbers = np.repeat(np.arange(count), case.seen.refs)
    z_m, z_c = (chosen(v, slots) for v in references.mean)
    if case.lone:
        z_m, z_c, clips, numbers = with_lone(case, z_m, z_c, clips, numbers)
    units, report = concept_units(z_m, z_c, clips, numbers, [c.hits for c in clips], count)
    z_m, z_c = (chosen(v, case.slot) for v in targets.mean)
    shown = [s.target for s in case.sets]
    alone, _ = concept_units(z_m, z_c, shown, np.arange(count), [c.hits for c in shown], count)
    units |= {f"target_{k}": v for k, v in alone.items()}
    refs = int(case.options.get("refs", case.seen.refs))
    together = set_latents(targets, references, case.seen, refs).mean
    if case.options.get("together") != "product":
        shown_sets = replace(case.seen, targets=case.seen.targets.until(case.shown))
        parts = matched_parts(shown_sets, refs)
        together = shared_latents(net.laws, settings, together, parts, case.dt)
    z_m, z_c = (chosen(v, case.slot) for v in together)
    hits = [met_in_set(s, refs) for s in case.sets]
    whole, set_report = concept_units(z_m, z_c, shown, np.arange(count), hits, count)
    units |= {f"set_{k}": v for k, v in whole.items()}
    case.extra |= {k: report[k] for k in TOLD} | {f"set_{k}": set_report[k] for k in TOLD}
    lost = [(slot[: len(c.things)] < 0).mean() for slot, c in zip(case.slot, shown, strict=True)]
    case.extra["lost"] = float(np.mean(lost))
    return units, together


def with_lone(
    case: Case, z_m: Array, z_c: Array, clips: Sequence[PhysicalClip], sets: Array
) -> tuple[Array, Array, list[PhysicalClip], Array]:
    """Rows of clips and, after them, of those in which nothing meets: the control needs many objects."""
    net, lone = case.net, case.lone
    seen = see_clips(net.perception, net.config, lone, torch.device("cpu"))
    found = clip_latents(net.laws, fit_settings(net.config), seen, case.dt, find=net.find)
    slots = slots_of(seen, lone)
    width = max(z_m.shape[1], slots.shape[1])

    def wide(values: Array) -> Array:
        return np.pad(values, ((0, 0), (0, width - values.shape[1])))

    rows = [
        np.concatenate([wide(own), wide(chosen(more, slots))])
        for own, more in ((z_m, found.mean.mass), (z_c, found.mean.charge))
    ]
    return rows[0], rows[1], [*clips, *lone], np.concatenate([sets, np.arange(len(lone))])


def met_in_set(one: PhysicalSet, refs: int) -> Array:
    """(N, N) pairs of the target's objects that collide in it or in one of its references."""
    hits = one.target.hits.copy()
    for reference in one.references[:refs]:
        items = np.array(reference.items)
        hits[np.ix_(items, items)] |= reference.hits
    return hits


def _slots(case: Case, values: Tensor) -> Tensor:
    """Objects (S, N, ...) of slots (S, K, ...), zeros where none was found."""
    slot = torch.from_numpy(np.maximum(case.slot, 0))
    shape = (*slot.shape, *[1] * (values.ndim - 2))
    picked = values.gather(1, slot.view(shape).expand(*slot.shape, *values.shape[2:]))
    return torch.where(torch.from_numpy(case.slot >= 0).view(shape), picked, 0.0)


def predicted(case: Case, latents: Latents | None, laws: nn.Module) -> dict[str, Values]:
    """Mean distance (world units) to the true places `HORIZON` frames on, from the middle of what is shown.

    Objects that are in the picture at the last seen frame are predicted; the truth is the simulation's.
    Constant velocity (no latents) is that of the line through all `FITTED` frames: it predicts better than
    the line through those after the last bend.
    """
    now, last = case.shown // 2, case.seen.targets.frames - 1
    window = slice(now - FITTED + 1, now + 1)
    place, present = case.seen.targets.place[:, window], case.seen.targets.present[:, window]
    if latents is None:
        z = Latents(*(torch.zeros(case.slot.shape[0], place.shape[2]),) * 2)
        start = straight_start(place, present, case.dt, "last")
    else:
        z, start = latents, explained_start(laws, place, present, latents, case.dt, case.net.config.noise)
    path = _slots(case, forecast(laws, start, z, 2 * HORIZON, case.dt, present.any(1)).transpose(1, 2))
    true, visible = padded([s.target for s in case.sets], case.seen.targets.frames)
    there = (
        visible[:, now]
        & (case.slot >= 0)
        & _slots(case, case.seen.targets.present[:, now]).numpy().astype(bool)
    )
    out: dict[str, Values] = {}
    for name, ahead in (("error", HORIZON), ("error_far", 2 * HORIZON)):
        steps = min(ahead, last - now)
        far = np.linalg.norm(path[:, :, steps].numpy() - true[:, now + steps], axis=-1)
        sets = np.repeat(np.arange(len(far))[:, None], far.shape[1], 1)
        out[name] = by_cluster(far[there], sets[there], len(far))
    return out | {f"less_{k}": -v for k, v in out.items()}


def intervened(case: Case, latents: Latents) -> dict[str, Values]:
    """Correlation of how far places move when one property is changed: predicted against simulated.

    From the start of each target, `HORIZON` frames on; charges taken away or turned, masses times or over
    five. Values of each set.
    """
    laws, steps = case.net.laws, min(HORIZON, case.seen.targets.frames - 1)
    place, present = case.seen.targets.place[:, :FITTED], case.seen.targets.present[:, :FITTED]
    start = explained_start(laws, place, present, latents, case.dt, case.net.config.noise, "first")
    there = present.any(1)
    base = _slots(case, forecast(laws, start, latents, steps, case.dt, there)[:, -1])
    found: dict[str, list[tuple[Array, Array, Array]]] = {"mass": [], "charge": []}
    for b, one in enumerate(case.sets):
        drawn = one.drawn
        assert drawn is not None
        for change, clip in drawn.counterfactuals.items():
            slot = int(case.slot[b, change.item])
            was = getattr(one.target.things[change.item], change.what)
            if slot < 0 or not was:
                continue
            value = torch.tensor([change.value / was])
            row = Latents(*(z[b : b + 1] for z in latents))
            other = changed_latents(row, change.what, torch.tensor([slot]), value)
            begin = Start(*(x[b : b + 1] for x in start))
            after = forecast(laws, begin, other, steps, case.dt, there[b : b + 1])[0, -1]
            own = len(one.target.things)
            slots = np.maximum(case.slot[b, :own], 0)
            moved = after.numpy()[slots] - base[b, :own].numpy()
            frame = steps * one.target.stride
            truly = clip.x[0, frame] - drawn.target.x[0, frame]
            known = case.slot[b, :own] >= 0
            found[change.what].append(
                (moved[known].ravel(), truly[known].ravel(), np.full(2 * known.sum(), b))
            )
    out = {f"intervene_{what}": _moved(rows, len(case.sets)) for what, rows in found.items()}
    return out | {"intervene": _moved(found["mass"] + found["charge"], len(case.sets))}


def _moved(rows: Sequence[tuple[Array, Array, Array]], count: int) -> Values:
    """`by_cluster` of the correlation of rows of (predicted, true, set); 0 where there are none."""
    if not rows:
        return np.zeros(count)
    predicted, true, sets = (np.concatenate(part) for part in zip(*rows, strict=True))
    return by_cluster(correlation_units(predicted, true), sets.astype(int), count)


def answered(folder: ModelFolder, part: str, sets: Sequence[PhysicalSet]) -> Measured:
    """`answers_scored` of a net that is taught to answer."""
    reasoner, vocabulary = restore_reasoner(folder)
    _, data = configs(folder.recipe)
    told = tokens_of(reasoner.phycine, data, part, sets)
    asked = vocabulary.encode(sets)
    found = answers(reasoner.net, asked, vocabulary, reasoner.tokens(told), told.present)
    given = answer_file(**submission(sets, asked, found))
    return answers_scored(sets, given)


def programs_on_found(case: Case, key: object) -> Measured:
    """What is measured of answers, by programs on `found_scenes`; no net is trained to answer.

    Light and heavy, neutral and charged are split over all objects found in these sets, without labels.

    Args:
        case: sets and what is seen of them.
        key: all that what is seen depends on.
    """
    net, targets = case.net, case.seen.targets.until(case.shown)
    z_m, z_c, thresholds = np.zeros(case.slot.shape), np.zeros(case.slot.shape), NOTHING_FOUND
    if case.options.get("concepts") != "none":
        found = kept_concepts(net.laws, fit_settings(net.config), case.seen, case.dt, case.shown, key).mean
        z_m, z_c = (chosen(z, case.slot) for z in found)
        thresholds = thresholds_of(z_m[case.slot >= 0], z_c[case.slot >= 0], apart=0.0)
    place, present = (
        _slots(case, v.transpose(1, 2)).transpose(1, 2) for v in (targets.place, targets.present)
    )
    latents = Latents(*(torch.from_numpy(z).float() for z in (z_m, z_c)))
    scenes = found_scenes(
        net.laws, case.sets, FoundObjects(place, present.bool(), latents), thresholds, net.config.noise
    )
    told = {
        (one.number, q["question_id"]): answer
        for one, scene in zip(case.sets, scenes, strict=True)
        for q, answer in zip(one.questions, symbolic_answers(scene, one.questions), strict=True)
    }
    questions = {one.number: one.questions for one in case.sets}
    return answers_scored(case.sets, answer_file(questions, lambda n, q: told[n, q["question_id"]]))


def answers_scored(sets: Sequence[PhysicalSet], given: Sequence[Mapping[str, Any]]) -> Measured:
    """Shares of right answers: of each kind that is asked per option and per question, and of all rows."""
    truth = question_file([s.number for s in sets], [s.questions for s in sets])
    marks = comphy_marks(given, truth)
    place = {s.number: k for k, s in enumerate(sets)}
    units = {}
    for kind in ("", *KINDS):
        own = [m for m in marks if m.kind.startswith(kind)]
        right = np.array([float(r) for m in own for r in m.right])
        scenes = np.array([place[m.scene] for m in own for _ in m.right])
        if own:
            units[f"right_{kind}" if kind else "right"] = by_cluster(right, scenes, len(sets))
    scores = {k: v for k, v in comphy_scores(given, truth).items() if np.isfinite(v)}
    return Measured({k: float(np.mean(v)) for k, v in units.items()} | scores, units)


def perceived(net: Phycine, method: PhycineConfig, sets: Sequence[PhysicalSet]) -> dict[str, Values]:
    """ARI over whole references, slots linked: means of each set, of all pixels and of those of objects."""
    rows = []
    for one in sets:
        own = []
        for clip in one.references:
            video = rows_to_tensor(clip.video())[None]
            percepts, _ = linked(net.perception, video)
            labels = percepts.masks.argmax(2).numpy()
            truth = clip.segments(np.arange(clip.shown))[None]  # type: ignore[misc]
            own.append([adjusted_rand_index(truth, labels, foreground=f)[0] for f in (False, True)])
        rows.append(np.mean(own, 0))
    table = np.array(rows)
    return {"ari": table[:, 0], "fg_ari": table[:, 1]}
