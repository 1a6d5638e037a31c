"""The protocol: people whom no training saw. Depth, parts, view, light, and who it is from another side.

Names of parts, the regression to landmarks and the mean of codes come from training pictures, all else from
the pictures that are tested. Metrics are means over pictures; units are people, whose pictures are alike.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.core.errors import ConfigError, DataError
from mien.core.protocol import Evaluation
from mien.data.capsule_files import CapsuleSet, Part
from mien.data.capsule_sets import capsule_set
from mien.engine.checkpoint import load_weights
from mien.engine.folder import ModelFolder
from mien.engine.predictor import default_device
from mien.engine.task import Measured
from mien.methods.igc_net.baselines import Autoencoder2d
from mien.methods.igc_net.measure import (
    by_person,
    depth_units,
    made,
    part_units,
    recognition_units,
    scene_metrics,
)
from mien.methods.igc_net.model import IGCNet
from mien.methods.igc_net.real import measured_on_orl
from mien.methods.igc_net.seen import BASELINES, Seen, baseline, see, see_flat
from mien.methods.igc_net.task import configs, flat_net
from mien.methods.igc_net.watchers import dome_correlation, part_shares

Values = NDArray[np.float64]
KNOWN = 1000
"""Training pictures, evenly spread, that names of parts, landmarks and means of codes are learnt from."""
OPTIONS: dict[str, tuple[str, ...]] = {"baseline": BASELINES, "data": ("orl",)}


def evaluate(folder: ModelFolder, evaluation: Evaluation) -> Measured:
    """One row of the protocol, on the split ``test`` or ``val``.

    Options: ``baseline``: one of `BASELINES` instead of the net, on the folder's data; ``data``: "orl" for
    real pictures, about which little is known.

    Raises:
        ConfigError: an option, or a value of one, that there is not.
        DataError: a split that there is not, or data without truth.
    """
    options = dict(evaluation.options)
    check_options(options)
    method, data = configs(folder.recipe)
    if "data" in options:
        return measured_on_orl(restore(folder), data.size)
    train, faces = some_of(capsule_set(data, "train")), capsule_set(data, split_of(evaluation))
    if "baseline" in options:
        name = str(options["baseline"])
        seen_train, seen = (
            baseline(name, train, own, method.parts, folder.recipe.seed) for own in (train, faces)
        )
        return measured(seen_train, train, seen, faces)
    if method.model == "autoencoder2d":
        flat = restore_flat(folder)
        return measured(see_flat(flat, train), train, see_flat(flat, faces), faces)
    net = restore(folder)
    return measured(see(net, train), train, see(net, faces), faces)


def split_of(evaluation: Evaluation) -> Part:
    """The part of a set that is looked at; raises DataError for one that there is not."""
    if evaluation.split == "val":
        return "val"
    if evaluation.split == "test":
        return "test"
    raise DataError(f"no evaluation {evaluation.split!r}; there are test and val")


def check_options(options: dict[str, Any]) -> None:
    """Raises ConfigError for an option, or a value of one, that there is not."""
    for name, value in options.items():
        if name not in OPTIONS:
            raise ConfigError(f"no option {name!r} of an evaluation; there are {', '.join(OPTIONS)}")
        if value not in OPTIONS[name]:
            raise ConfigError(f"evaluation {name}={value!r} is none of {', '.join(OPTIONS[name])}")


def restore(folder: ModelFolder) -> IGCNet:
    """The trained net of a model folder, in eval mode, without gradients.

    Raises:
        ConfigError: the folder holds a 2-D autoencoder.
    """
    method, data = configs(folder.recipe)
    if method.model != "capsules":
        raise ConfigError(f"{folder.path}: holds {method.model}, which has no capsules; evaluate it only")
    net = IGCNet(method, data.size)
    load_weights(net, folder.weights)
    return net.to(default_device()).eval().requires_grad_(False)


def restore_flat(folder: ModelFolder) -> Autoencoder2d:
    """The trained 2-D autoencoder of a model folder."""
    method, data = configs(folder.recipe)
    net = flat_net(method, data.size)
    load_weights(net, folder.weights)
    return net.to(default_device()).eval().requires_grad_(False)


def some_of(faces: CapsuleSet, most: int = KNOWN) -> CapsuleSet:
    """At most so many pictures, evenly spread."""
    if len(faces) <= most:
        return faces
    return faces.some(np.linspace(0, len(faces) - 1, most).astype(np.int64))


def measured(seen_train: Seen, train: CapsuleSet, seen: Seen, faces: CapsuleSet) -> Measured:
    """All measures of what is said; those of what is not said are left out."""
    units: dict[str, Values] = {}
    metrics: dict[str, float] = {}
    if seen.depth is not None:
        units |= depth_units(seen, faces)
    if seen.maps is not None:
        units |= part_units(seen_train, train, seen, faces)
    if seen.view is not None:
        metrics |= scene_metrics(seen, faces) | _state(seen)
    if seen.error is not None:
        units["error"] = seen.error.astype(np.float64)
    units |= recognition_units(seen.codes, seen_train.codes, faces)
    units = {k: v for k, v in units.items() if np.isfinite(v).any()}
    who = made(faces.identity, "who people are")
    return Measured(
        {k: float(np.nanmean(v)) for k, v in units.items()} | metrics,
        {k: by_person(v, who) for k, v in units.items()},
    )


def _state(seen: Seen) -> dict[str, float]:
    """Whether parts are alive, and the face is solid."""
    import torch

    assert seen.maps is not None
    assert seen.depth is not None
    maps = torch.from_numpy(seen.maps.astype(np.float32))
    shares = part_shares(maps)
    dome = dome_correlation(torch.from_numpy(seen.depth), maps[:, 0] < 0.5)
    return {"live_parts": float((shares >= 0.01).sum()), "dome": dome, "area": float(1 - maps[:, 0].mean())}
