"""From a recipe to what is trained."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mien.core.config import Recipe, hash_dict, to_dict
from mien.core.errors import ConfigError
from mien.core.seeds import derive
from mien.data.capsule_files import CapsuleSet
from mien.data.capsule_loader import CapsuleLoader, capsule_batch
from mien.data.capsule_sets import capsule_set, head_settings, is_drawn, kept_at
from mien.data.config import CAPSULE_MADE, CapsuleData
from mien.engine.task import Experiment
from mien.methods.igc_net.baselines import Autoencoder2d, KMeansParts
from mien.methods.igc_net.config import IgcNetConfig
from mien.methods.igc_net.features import PrincipalFeatures, offline_features
from mien.methods.igc_net.foreground import foreground_guess
from mien.methods.igc_net.model import IGCNet
from mien.methods.igc_net.objective import CapsuleTask, FlatTask

FITTED_ON = 256
"""Training pictures, evenly spread, that descriptors are standardised by."""
CLUSTERED = 20_000
"""Pixels of theirs, at most, whose clusters the basis of semantics starts from."""


def configs(recipe: Recipe) -> tuple[IgcNetConfig, CapsuleData]:
    """The two halves of a recipe of this method."""
    if not isinstance(recipe.method, IgcNetConfig) or not isinstance(recipe.data, CapsuleData):
        raise ConfigError(f"recipe {recipe.name!r} is not one of igc_net's")
    return recipe.method, recipe.data


def at_hand(recipe: Recipe) -> bool:
    """Whether the recipe's pictures are there, or would first be drawn."""
    return is_drawn(configs(recipe)[1])


def build(recipe: Recipe, uses: Mapping[str, Path]) -> Experiment:
    """The experiment of a recipe.

    Raises:
        ConfigError: a size that the networks do not take.
        DataError: pictures that cannot be read.
    """
    _, data = configs(recipe)
    faces = capsule_set(data, "train")
    torch.manual_seed(derive(recipe.seed, "init"))
    task = _task(recipe, faces)
    loader = CapsuleLoader(faces, recipe.schedule.batch, recipe.seed)
    told = {"note": note(data, faces), "real": data.kind not in CAPSULE_MADE}
    return Experiment(task, loader, fingerprint(data), facts=partial(model_facts, told))


def _task(recipe: Recipe, faces: CapsuleSet) -> FlatTask | CapsuleTask:
    method, data = configs(recipe)
    if method.model == "autoencoder2d":
        return FlatTask(flat_net(method, data.size), method.perceptual)
    net = IGCNet(method, data.size)
    features, centres = fitted_features(faces, method.parts, recipe.seed)
    return CapsuleTask(net, features, centres, recipe.optim.lr)


def flat_net(method: IgcNetConfig, size: int) -> Autoencoder2d:
    """The 2-D autoencoder of a config; its code is as long as both embeddings of a picture."""
    return Autoencoder2d(size, 2 * method.features, method.width)


def fingerprint(data: CapsuleData) -> str:
    """Names the made set; of a user's copy what the config says."""
    return (
        kept_at(head_settings(data)).name
        if data.kind in CAPSULE_MADE
        else hash_dict(to_dict(data, hashed=True))
    )


@torch.no_grad()
def fitted_features(faces: CapsuleSet, parts: int, seed: int) -> tuple[PrincipalFeatures, Tensor | None]:
    """Features of pixels and M clusters of theirs in guessed faces, (M, C); no clusters for one part.

    Source: reconstruction. A basis that starts from clusters loses no part in the first steps.
    """
    chosen = np.unique(np.linspace(0, len(faces) - 1, FITTED_ON).astype(np.int64))
    image = capsule_batch(faces, chosen).image
    descriptors = offline_features(image)
    features = PrincipalFeatures(descriptors.shape[1]).fit(descriptors)
    if parts == 1:
        return features, None
    rows = features(descriptors).movedim(1, -1)[foreground_guess(image) > 0.5]
    rows = rows[:: len(rows) // CLUSTERED + 1]
    if len(rows) < parts:
        return features, None
    centres = KMeansParts(rows.numpy(), parts, derive(seed, "basis")).centres
    return features, torch.from_numpy(centres).float()


def note(data: CapsuleData, faces: CapsuleSet) -> str:
    """What a model has seen, in words."""
    if data.kind not in CAPSULE_MADE:
        return f"{len(faces):,} pictures in the layout of {data.kind}, {data.size} px"
    heads = "rendered people" if data.kind == "heads3d" else "heads that are formulas"
    return f"{data.people:,} {heads}, {data.per_identity} pictures of each, {data.size} px"


def model_facts(data: dict[str, Any], *_: object) -> dict[str, Any]:
    """What a model needs beside its weights."""
    return {"data": data}
