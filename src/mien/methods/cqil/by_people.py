"""Whom the model errs on: live people refused and attacks accepted, by group of made people."""

from __future__ import annotations

import numpy as np

from mien.data.surveil_images import SurveilImages
from mien.data.surveil_pictures import faces_of_tracks
from mien.data.surveil_sets import made_set, read_surveil
from mien.engine.folder import ModelFolder
from mien.engine.pad_groups import GroupRates, only_made, rates_of_people
from mien.engine.predictor import default_device
from mien.methods.cqil.evaluate import restore
from mien.methods.cqil.score import level_scores, scored
from mien.methods.cqil.task import configs


def errors_by_people(folder: ModelFolder, images: SurveilImages | None = None) -> dict[str, list[GroupRates]]:
    """Pictures and tracks -> errors by group on the test pictures, each at its own threshold.

    Args:
        folder: a model of made people.
        images: pictures of its set; default those of the test, drawn if need be (40 ms each).

    Raises:
        ConfigError: the model was not trained on made people, of whom alone groups are known.
    """
    only_made(folder)
    data = configs(folder.recipe)[1]
    images = images or read_surveil(data).test
    seeds = faces_of_tracks(made_set(data))
    found = {}
    for level, (scores, shown) in level_scores(
        scored(restore(folder), images.pictures, default_device()), images
    ).items():
        passed = scores >= folder.facts["thresholds"][level]["logit"]
        whose = np.array([seeds[t] for t in shown.track.tolist()], np.int64)
        found[f"{level}s"] = rates_of_people(passed, shown.live, whose)
    return found
