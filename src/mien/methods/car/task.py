"""From a recipe to what is trained."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from mien.core.config import Recipe
from mien.core.errors import ConfigError
from mien.core.seeds import derive
from mien.data.clothed import ClothedPeople, kept_at
from mien.data.clothed_sets import clothed_loader, clothed_settings, clothed_sources, is_drawn
from mien.data.config import USER_CLOTHED, ClothedData
from mien.engine.checkpoint import load_weights
from mien.engine.folder import open_folder
from mien.engine.task import AbstractTask, Experiment
from mien.methods.car.config import CarConfig
from mien.methods.car.net import ORDER, CarNet
from mien.methods.car.stages import HyperTask, NormalTask, SdfTask

SMPL_JOINTS = 24
_TASKS: dict[str, type[AbstractTask[Any]]] = {"normal": NormalTask, "sdf": SdfTask, "hyper": HyperTask}


def configs(recipe: Recipe) -> tuple[CarConfig, ClothedData]:
    """The two halves of a recipe of this method."""
    if not isinstance(recipe.method, CarConfig) or not isinstance(recipe.data, ClothedData):
        raise ConfigError(f"recipe {recipe.name!r} is not one of car's")
    return recipe.method, recipe.data


def at_hand(recipe: Recipe) -> bool:
    """Whether the recipe's pictures are there, or would first be drawn."""
    return is_drawn(configs(recipe)[1])


def build(recipe: Recipe, uses: Mapping[str, Path]) -> Experiment:
    """The experiment of a recipe; slot ``before``: a model whose earlier parts are taken over.

    Raises:
        ConfigError: parts of other sizes.
    """
    method, data = configs(recipe)
    source = clothed_sources(data).train
    fingerprint = _fingerprint(data)
    joints = joint_count(data)
    torch.manual_seed(derive(recipe.seed, "init"))
    net = CarNet(method, joints)
    if "before" in uses:
        take_over(net, uses["before"])
    task = _TASKS[method.stage](net)  # type: ignore[call-arg]
    told = {"fingerprint": fingerprint, "note": note(data, source), "real": data.kind in USER_CLOTHED}
    facts = partial(model_facts, joints, told)
    loader = clothed_loader(
        data,
        source,
        method.stage,
        recipe.schedule.batch,
        recipe.seed,
        body=method.two_sided or method.residual,
    )
    return Experiment(task, loader, fingerprint, facts=facts)


def joint_count(data: ClothedData) -> int:
    """Joints of the bodies of a set."""
    return SMPL_JOINTS if data.kind in USER_CLOTHED else len(clothed_settings(data).rig().names)


def _fingerprint(data: ClothedData) -> str:
    return "none" if data.kind in USER_CLOTHED else kept_at(clothed_settings(data)).name


def note(data: ClothedData, source: object) -> str:
    """What a model has seen, in words."""
    if not isinstance(source, ClothedPeople):
        return f"{len(source):,} pictures in the layout of {data.kind}"  # type: ignore[arg-type]
    what = "people of capsules" if data.kind == "debug" else "made people in clothes"
    return f"{data.people:,} {what}, {data.pictures} pictures of each, {data.size} px"


def model_facts(joints: int, data: dict[str, Any], *_: object) -> dict[str, Any]:
    """What a model needs beside its weights: how many joints its bodies have."""
    return {"joints": joints, "data": data}


def take_over(net: CarNet, path: Path) -> None:
    """Fills the parts of a net that an earlier model has; those of the net's own stage stay as they start.

    Raises:
        ConfigError: a part of other sizes, or one that the earlier model has not reached.
    """
    folder = open_folder(path)
    theirs, _ = configs(folder.recipe)
    needed = ORDER[: ORDER.index(net.config.stage)]
    if needed and theirs.stage not in ORDER[len(needed) - 1 :]:
        raise ConfigError(
            f"{path}: trained up to stage {theirs.stage!r}, stage {net.config.stage!r} goes on from"
            f" {needed[-1]!r}"
        )
    before = CarNet(theirs, int(folder.facts["joints"]))
    load_weights(before, folder.weights)
    for stage in needed:
        name = {"sdf": "field"}.get(stage, stage)
        part, given = getattr(net, name), getattr(before, name)
        own, found = ({k: v.shape for k, v in m.state_dict().items()} for m in (part, given))
        if own != found:
            odd = next(k for k in {**own, **found} if own.get(k) != found.get(k))
            raise ConfigError(
                f"{path}: its {name} has another size of {odd}; train it with the same settings"
            )
        part.load_state_dict(given.state_dict())
