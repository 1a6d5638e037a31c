"""From a recipe to what is trained."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mien.core.config import Recipe, hash_dict, to_dict
from mien.core.errors import ConfigError
from mien.core.seeds import derive
from mien.data.config import PhysicalData
from mien.data.physical import FrameLoader, physical_sets
from mien.engine.task import Experiment
from mien.methods.phycine.config import PhycineConfig
from mien.methods.phycine.net import PhycineNet
from mien.methods.phycine.stages import PerceptionTask


def configs(recipe: Recipe) -> tuple[PhycineConfig, PhysicalData]:
    """The two halves of a recipe of this method."""
    if not isinstance(recipe.method, PhycineConfig) or not isinstance(recipe.data, PhysicalData):
        raise ConfigError(f"recipe {recipe.name!r} is not one of phycine's")
    return recipe.method, recipe.data


def build(recipe: Recipe, uses: Mapping[str, Path]) -> Experiment:
    """The experiment of a recipe; slot ``before``: a model whose earlier parts are taken over."""
    method, data = configs(recipe)
    torch.manual_seed(derive(recipe.seed, "init"))
    net = PhycineNet(method, data.size)
    sets = physical_sets(data, "train")
    facts = partial(model_facts, {"note": note(data)})
    loader = FrameLoader(sets, recipe.schedule.batch, recipe.seed)
    return Experiment(PerceptionTask(net), loader, hash_dict(to_dict(data)), facts=facts)


def note(data: PhysicalData) -> str:
    """What a model has seen, in words."""
    what = "sets of ComPhy" if data.kind == "comphy" else "made sets"
    return f"{data.sets:,} {what}, a target and {data.refs} references each"


def model_facts(data: dict[str, Any], *_: object) -> dict[str, Any]:
    """What a model needs beside its weights."""
    return {"data": data}
