"""``mien inspect gkd --degrade true`` of recognisers: known faces before worse and worse cameras."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.core import io
from mien.data.augment import prepare
from mien.data.labelled import ArrayImages, spread
from mien.data.surveil_loader import as_bytes
from mien.engine.degradation import (
    Pictures,
    degradation_sweep,
    pair_measure,
    plot_sweep,
    severities_of,
    sweep_rows,
)
from mien.engine.face_embedding import embed
from mien.engine.faces import face_configs, restore, test_people
from mien.engine.folder import ModelFolder
from mien.engine.predictor import default_device
from mien.engine.show import Inspection

PICTURES = 400
"""Of unseen people, at most."""


def inspect_degraded(
    folder: ModelFolder, split: str = "test", levels: int = 5, plot: str | None = None
) -> Inspection:
    """AUC, EER and TAR of all pairs of unseen people, the probe degraded, against severity.

    Args:
        folder: of a recogniser.
        split: val, test or orl.
        levels: severities from 0 to 1.
        plot: PNG file for the curves.

    Raises:
        ConfigError: no such people.
    """
    _, data = face_configs(folder.recipe)
    whole = test_people(data, split)
    images = whole.subset(spread(len(whole), PICTURES))
    net, device = restore(folder), default_device()

    def vectors(pictures: Pictures) -> NDArray[Any]:
        own = ArrayImages(pictures, images.targets, images.classes, images.keys)
        return embed(net, own, data.size, device).numpy()

    clean = as_bytes(prepare(images.pictures(range(len(images))), data.size, 3))
    measure = pair_measure(vectors, clean, images.targets)
    points = degradation_sweep(measure, clean, images.keys, severities_of(levels))
    facts = {"split": split, "pictures": len(images), "people": len(np.unique(images.targets))}
    files = () if plot is None else (io.write_bytes(Path(plot), plot_sweep(points, folder.recipe.name)),)
    return Inspection(facts, {"degradation": sweep_rows(points)}, files)
