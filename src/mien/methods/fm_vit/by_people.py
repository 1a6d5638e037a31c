"""Whom the model errs on: live people refused and attacks accepted, by group of made people."""

from __future__ import annotations

from mien.data.pad_images import MODALITIES, PadArrays
from mien.data.pads import plan_of
from mien.data.rendered_pad import presentations, seeds_of
from mien.engine.folder import ModelFolder
from mien.engine.pad_groups import GroupRates, only_made, rates_of_people
from mien.engine.predictor import default_device
from mien.methods.fm_vit.evaluate import restore
from mien.methods.fm_vit.score import live_logits, subset_name
from mien.methods.fm_vit.task import configs

SUBSETS = (("rgb",), ("depth",), ("ir",), MODALITIES)
"""Each camera alone, and all."""


def errors_by_people(folder: ModelFolder, images: PadArrays | None = None) -> dict[str, list[GroupRates]]:
    """Modalities -> errors by group on the test people, each subset at its own threshold.

    Args:
        folder: a model of made people.
        images: presentations of its test set; default all of them, drawn if need be (0.1 s each).

    Raises:
        ConfigError: the model was not trained on made people, of whom alone groups are known.
    """
    only_made(folder)
    data = configs(folder.recipe)[1]
    made = plan_of(data).sets()["test"]
    images = images or presentations(made, data.size)
    seeds, live, net = seeds_of(made, images.labels), images.labels.live, restore(folder)
    found = {}
    for name, subset in ((subset_name(s), s) for s in SUBSETS):
        odds = live_logits(net, images, subset, data.size, default_device())
        found[name] = rates_of_people(odds >= folder.facts["thresholds"][name]["logit"], live, seeds)
    return found
