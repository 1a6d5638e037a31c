"""What is read off paths; the oracle's paths and true latents give nearly all answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mien.core.errors import DataError
from mien.data.physical import physical_sets
from mien.methods.phycine.concepts import Latents
from mien.methods.phycine.forecast import Still
from mien.methods.phycine.found_scenes import (
    NOTHING_FOUND,
    FoundObjects,
    found_scenes,
    shown_scene,
    touch_of,
    whole_path,
)
from mien.methods.phycine.symbolic import Split, Thresholds
from mien.synth.comphy_scene import Thing, pairs_of
from mien.synth.comphy_set import WORLD
from tests.methods.phycine.debug import recipe

DATA = recipe(data__stride=3, data__sets=1, data__test_sets=8, data__refs=1).data
NOISE = 0.02
TRUE = Thresholds(Split(0.0, float(np.log(5))), Split(0.0, 1.0))


@pytest.fixture(scope="module")
def sets():
    return physical_sets(DATA, "test")


def found(sets, lost=None):
    """The truth of what is shown, but for object ``lost`` of the first set."""
    shown, count = sets[0].target.shown, max(len(s.target.things) for s in sets)
    place = torch.zeros(len(sets), shown, count, 2)
    present, z = torch.zeros(place.shape[:3], dtype=torch.bool), torch.zeros(2, len(sets), count)
    for s, one in enumerate(sets):
        own = len(one.target.things)
        place[s, :, :own] = torch.from_numpy(one.target.place[:shown])
        present[s, :, :own] = torch.from_numpy(one.target.visible[:shown])
        z[0, s, :own] = torch.tensor([float(t.mass) for t in one.target.things]).log()
        z[1, s, :own] = torch.tensor([float(t.charge) for t in one.target.things])
    if lost is not None:
        present[0, :, lost] = False
    return FoundObjects(place, present, Latents(*z))


def test_a_path_is_straight_where_it_is_not_seen():
    line = np.stack([np.arange(12.0), 3 - 0.5 * np.arange(12)], -1)
    place, present = np.zeros((12, 3, 2)), np.zeros((12, 3), bool)
    for k, rows in enumerate(([3, 4, 7, 8], [5])):
        place[rows, k], present[rows, k] = line[rows], True
    path = whole_path(place, present)
    assert np.allclose(path[:, 0], line)
    assert np.array_equal(path[:, 1], np.tile(line[5], (12, 1))), "one row tells no velocity"
    assert np.isnan(path[:, 2]).all()


def test_what_touches_is_learnt_from_the_nearest_approaches(sets):
    paths = found(physical_sets(recipe(data__stride=3, data__test_sets=40, data__refs=1).data, "test"))
    assert touch_of(paths.place.numpy(), paths.present.numpy()) == pytest.approx(2 * WORLD.radius, abs=0.04)


def test_clips_in_which_nothing_approaches_tell_no_touch():
    with pytest.raises(DataError, match="what a collision is cannot be told"):
        touch_of(np.zeros((1, 5, 2, 2)), np.ones((1, 5, 2), bool))


def test_leaving_is_read_off_the_path():
    """2.7 + 0.1 t passes the border at 2.85 in row 2, frame 6."""
    path = np.stack([2.7 + 0.1 * np.arange(5), np.zeros(5)], -1)[:, None]
    scene = shown_scene([Thing("red", "metal", "cube")], path, 0.8, 3)
    assert [(e.kind, e.frame) for e in scene.in_out] == [("out", 6)]


def test_what_is_shown_is_found_and_labels_come_from_latents(sets):
    scenes = found_scenes(Still(), sets, found(sets), TRUE, NOISE)
    right = wrong = 0
    for one, scene in zip(sets, scenes, strict=True):
        true, own = (pairs_of([e for e in x.collisions if e.frame < 120]) for x in (one.scene, scene))
        right, wrong = right + len(true & own), wrong + len(true ^ own)
        assert [t.mass for t in scene.things] == [t.mass for t in one.target.things]
        assert scene.centres.shape == (50, len(scene.things), 2)
        assert scene.counterfactuals.keys() >= {c for c in one.scene.counterfactuals if c.what == "mass"}
    assert right > 2 * wrong


def test_without_latents_all_is_light_and_neutral_and_no_change_matters(sets):
    """Laws without forces foresee no effect: under every change the same pairs collide."""
    none = found(sets)
    none = none._replace(latents=Latents(*(0 * z for z in none.latents)))
    for scene in found_scenes(Still(), sets, none, NOTHING_FOUND, NOISE):
        assert {(t.mass, t.charge) for t in scene.things} == {(1, 0)}
        assert len({frozenset(pairs_of(e)) for e in scene.counterfactuals.values()}) == 1


def test_a_lost_object_is_nowhere_and_meets_none(sets):
    scene = found_scenes(Still(), sets, found(sets, lost=1), TRUE, NOISE)[0]
    events = [*scene.collisions, *scene.in_out, *(e for v in scene.counterfactuals.values() for e in v)]
    assert all(1 not in e.objects for e in events)
    assert not scene.visible[:, 1].any()
    assert scene.things[1][:3] == sets[0].target.things[1][:3]
