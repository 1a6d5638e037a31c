"""From a recipe to what is trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from mien.core.config import Recipe, hash_dict, to_dict
from mien.core.errors import ConfigError
from mien.core.seeds import derive
from mien.data.config import PhysicalData
from mien.data.physical import FrameLoader, physical_sets
from mien.engine.checkpoint import load_weights
from mien.engine.folder import open_folder
from mien.engine.task import Experiment
from mien.methods.phycine.config import PhycineConfig
from mien.methods.phycine.model import ORDER, Phycine
from mien.methods.phycine.sight import kept_sight
from mien.methods.phycine.stages import LawsTask, PerceptionTask


def configs(recipe: Recipe) -> tuple[PhycineConfig, PhysicalData]:
    """The two halves of a recipe of this method."""
    if not isinstance(recipe.method, PhycineConfig) or not isinstance(recipe.data, PhysicalData):
        raise ConfigError(f"recipe {recipe.name!r} is not one of phycine's")
    return recipe.method, recipe.data


def build(recipe: Recipe, uses: Mapping[str, Path]) -> Experiment:
    """The experiment of a recipe; slot ``before``: a model whose earlier parts are taken over."""
    method, data = configs(recipe)
    torch.manual_seed(derive(recipe.seed, "init"))
    net = Phycine(method, data.size)
    if "before" in uses:
        take_over(net, uses["before"])
    sets = physical_sets(data, "train")
    facts = partial(model_facts, {"note": note(data)})
    fingerprint = hash_dict(to_dict(data, hashed=True))
    if method.stage == "perception":
        loader = FrameLoader(sets, recipe.schedule.batch, recipe.seed)
        return Experiment(PerceptionTask(net), loader, fingerprint, facts=facts)
    seen = kept_sight(net.perception, method, data, "train", sets).references
    seed = derive(recipe.seed, "latents")
    task = LawsTask(net, seen.place, seen.present, sets[0].target.dt, seed)
    return Experiment(task, Everything(), fingerprint, facts=facts)


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


class Nothing:
    """A step's batch where the task holds its data itself."""

    def __len__(self) -> int:
        return 1

    def to(self, device: torch.device, *, channels_last: bool = False) -> Nothing:
        """Itself."""
        return self


class Everything:
    """The stream of a task that sees all its data in every step."""

    def steps_per_epoch(self, world: int) -> int:
        """One."""
        return 1

    def stream(self, start: int, rank: int, world: int) -> Iterator[list[Nothing]]:
        """Endless."""
        while True:
            yield [Nothing()]


def note(data: PhysicalData) -> str:
    """What a model has seen, in words."""
    what = "sets of ComPhy" if data.kind == "comphy" else "made sets"
    return f"{data.sets:,} {what}, a target and {data.refs} references each"


def model_facts(data: dict[str, Any], *_: object) -> dict[str, Any]:
    """What a model needs beside its weights."""
    return {"data": data}
