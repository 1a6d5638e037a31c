"""Errors by group of people, on a few presentations of the shipped model's set."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mien.core.config import evolve
from mien.core.errors import ConfigError
from mien.core.seeds import derive
from mien.data.pads import plan_of
from mien.data.rendered_pad import presentations, seeds_of
from mien.engine.predictor import default_device
from mien.engine.zoo import load_folder
from mien.methods.fm_vit.by_people import errors_by_people
from mien.methods.fm_vit.evaluate import restore
from mien.methods.fm_vit.score import live_logits
from mien.methods.fm_vit.task import configs


@pytest.fixture(scope="module")
def folder():
    return load_folder("fm_vit/small")


def test_every_camera_has_its_threshold_and_everybody_is_counted_once(folder):
    made = plan_of(configs(folder.recipe)[1]).sets()["test"]
    few = presentations(replace(made, identities=3, per_identity=4), 64, workers=1)
    assert set(seeds_of(made, few.labels).tolist()) == {derive(0, "identity", 200 + n) for n in range(3)}
    found = errors_by_people(folder, few)
    assert list(found) == ["rgb", "depth", "ir", "rgb+depth+ir"]
    live = few.labels.live
    for name, rates in found.items():
        assert rates[0].attribute == "all"
        for attribute in ("all", "sex", "skin", "age"):
            own = [r for r in rates if r.attribute == attribute]
            assert (sum(r.live for r in own), sum(r.attacks for r in own)) == (live.sum(), (~live).sum())
        odds = live_logits(restore(folder), few, tuple(name.split("+")), 64, default_device())
        refused = odds[live] < folder.facts["thresholds"][name]["logit"]
        assert rates[0].refused == pytest.approx(np.mean(refused))


def test_groups_are_known_of_made_people_only(folder):
    with pytest.raises(ConfigError, match=r"groups are known of made people only, not of kind='debug'"):
        errors_by_people(replace(folder, recipe=evolve(folder.recipe, "data.kind", "debug")))
