"""From a recipe to what is trained."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mien.core.config import Recipe, hash_dict, to_dict
from mien.core.errors import ConfigError
from mien.core.seeds import derive
from mien.data.config import PhysicalData
from mien.data.physical import PARTS, FrameLoader, PhysicalSet, physical_sets
from mien.engine.checkpoint import load_weights
from mien.engine.folder import open_folder
from mien.engine.task import Experiment
from mien.methods.phycine.concepts import infer
from mien.methods.phycine.config import PhycineConfig
from mien.methods.phycine.found import kept_concepts
from mien.methods.phycine.model import ORDER, Phycine, fit_settings
from mien.methods.phycine.reason import Reasoner, Told, told_of
from mien.methods.phycine.sight import Seen, kept_sight, sight_key
from mien.methods.phycine.stages import AnswersTask, Chosen, LawsTask, PerceptionTask, RefinerTask
from mien.methods.phycine.symbolic import thresholds_of
from mien.methods.phycine.words import Vocabulary, texts
from mien.synth.comphy_scene import FPS


def configs(recipe: Recipe) -> tuple[PhycineConfig, PhysicalData]:
    """The two halves of a recipe of this method."""
    if not isinstance(recipe.method, PhycineConfig) or not isinstance(recipe.data, PhysicalData):
        raise ConfigError(f"recipe {recipe.name!r} is not one of phycine's")
    return recipe.method, recipe.data


def build(recipe: Recipe, uses: Mapping[str, Path]) -> Experiment:
    """The experiment of a recipe; slot ``before``: a model whose earlier parts are taken over."""
    method, data = configs(recipe)
    torch.manual_seed(derive(recipe.seed, "init"))
    net = Phycine(method, data.size, data.stride / FPS)
    if "before" in uses:
        take_over(net, uses["before"])
    sets = physical_sets(data, "train")
    told = {"note": note(data)}
    fingerprint = hash_dict(to_dict(data, hashed=True))
    if method.stage == "perception":
        frames = FrameLoader(sets, recipe.schedule.batch, recipe.seed)
        return Experiment(PerceptionTask(net), frames, fingerprint, facts=partial(model_facts, told))
    seen = kept_sight(net.perception, method, data, "train", sets)
    if method.stage == "laws":
        clips, seed = seen.references, derive(recipe.seed, "latents")
        laws = LawsTask(net, clips.place, clips.present, sets[0].target.dt, seed)
        facts = partial(laws_facts, told, laws)
        return Experiment(laws, Batches(1, 1, recipe.seed), fingerprint, facts=facts)
    if method.stage == "refiner":
        refiner = refiner_task(net, seen.references, sets[0].target.dt, derive(recipe.seed, "latents"))
        batches = Batches(len(seen.references.place), recipe.schedule.batch, recipe.seed)
        return Experiment(refiner, batches, fingerprint, facts=partial(laws_facts, told, refiner))
    vocabulary = vocabulary_of(data, sets)
    asked = vocabulary.encode(sets)
    reasoner = Reasoner(net, len(vocabulary), len(vocabulary.answers))
    tokens = tokens_of(net, data, "train", sets)
    reasoner.learn_scale(tokens)
    facts = partial(model_facts, told, vocabulary=vocabulary.to_dict())
    batches = Batches(len(asked), recipe.schedule.batch, recipe.seed)
    return Experiment(AnswersTask(reasoner, asked, tokens), batches, fingerprint, facts=facts)


def refiner_task(net: Phycine, clips: Seen, dt: float, seed: int) -> RefinerTask:
    """The refiner's, on clips whose latents are found by gradient first."""
    found = infer(net.laws, clips.place, clips.present, fit_settings(net.config), dt=dt, seed=seed)
    return RefinerTask(net, clips.place, clips.present, dt, found)


def vocabulary_of(data: PhysicalData, sets: Sequence[PhysicalSet]) -> Vocabulary:
    """Answers of the training sets; words of theirs, and of all that the generator asks of made ones."""
    others = () if data.kind == "comphy" else PARTS[1:]
    asked = (q for part in others for one in physical_sets(data, part) for q in one.questions)
    return Vocabulary.of(sets, texts(asked))


def tokens_of(net: Phycine, data: PhysicalData, part: str, sets: Sequence[PhysicalSet]) -> Told:
    """What the answering net is told of sets; masses and charges are found once and kept."""
    config, target = net.config, sets[0].target
    seen = kept_sight(net.perception, config, data, part, sets)
    key = sight_key(net.perception, config, data, part)
    found = kept_concepts(net.laws, fit_settings(config), seen, target.dt, target.shown, key)
    return told_of(config, seen.targets.until(target.shown), found, target.dt)


def take_over(net: Phycine, path: Path) -> None:
    """Fills the parts of a net that an earlier model has trained.

    Raises:
        ConfigError: parts of other sizes, or trained to look at other pictures.
    """
    folder = open_folder(path)
    theirs, data = configs(folder.recipe)
    if data.size != net.size or theirs.sight != net.config.sight:
        raise ConfigError(
            f"{path}: looks at {data.size} pixels by {theirs.sight!r}, not {net.size} by {net.config.sight!r}"
        )
    before = Phycine(theirs, data.size)
    load_weights(before, folder.weights)
    for name in ("perception", "laws")[: ORDER.index(net.config.stage)]:
        part, given = getattr(net, name), getattr(before, name)
        own, found = ({k: v.shape for k, v in m.state_dict().items()} for m in (part, given))
        if own != found:
            odd = next(k for k in {**own, **found} if own.get(k) != found.get(k))
            raise ConfigError(
                f"{path}: its {name} has another size of {odd}; train it with the same settings"
            )
        part.load_state_dict(given.state_dict())


@dataclass(frozen=True)
class Batches:
    """Random numbers of rows; those of a step depend on seed and step alone.

    Attributes:
        count: rows there are.
        batch: rows of a step.
        seed: of the choice.
    """

    count: int
    batch: int
    seed: int

    def steps_per_epoch(self, world: int) -> int:
        """As many steps as show as many rows as there are."""
        return max(1, self.count // self.batch)

    def stream(self, start: int, rank: int, world: int) -> Iterator[list[Chosen]]:
        """One micro-batch a step."""
        for step in itertools.count(start):
            rng = np.random.default_rng(derive(self.seed, "rows", step, rank))
            rows = rng.integers(self.count, size=max(1, self.batch // world))
            yield [Chosen(torch.from_numpy(rows))]


def note(data: PhysicalData) -> str:
    """What a model has seen, in words."""
    what = "sets of ComPhy" if data.kind == "comphy" else "made sets"
    return f"{data.sets:,} {what}, a target and {data.refs} references each"


def laws_facts(data: dict[str, Any], task: LawsTask | RefinerTask, *_: object) -> dict[str, Any]:
    """`model_facts`, and where the training clips' masses and charges part, if they do (`thresholds_of`)."""
    there = task.present.any(1).cpu()
    found = thresholds_of(*(z.detach().cpu()[there].numpy() for z in (task.mass, task.charge)))
    parted = all(np.isfinite(split.high) for split in found)
    more = {"thresholds": {name: list(split) for name, split in found._asdict().items()}} if parted else {}
    return model_facts(data, **more)


def model_facts(data: dict[str, Any], *_: object, **more: Any) -> dict[str, Any]:
    """What a model needs beside its weights."""
    return {"data": data, **more}
