"""The protocol's measures: worked numbers, perfect and empty answers, splits and sets that do not fit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from mien.core.errors import ConfigError, DataError
from mien.core.protocol import Evaluation
from mien.data.physical import physical_sets
from mien.engine.folder import ModelFolder
from mien.methods.phycine import evaluate as measures
from mien.methods.phycine.concepts import Latents
from mien.methods.phycine.config import PhycineConfig
from mien.methods.phycine.evaluate import (
    Case,
    chosen,
    concept_units,
    evaluate,
    intervened,
    met_in_set,
    padded,
    perceived,
    predicted,
    slots_of,
)
from mien.methods.phycine.forecast import FITTED, Still, straight_start
from mien.methods.phycine.model import Phycine
from mien.methods.phycine.sight import Seen, see_sets
from mien.synth.comphy_set import WORLD
from tests.methods.phycine.debug import recipe

ORACLE = recipe(method__sight="true")
DATA = replace(ORACLE.data, stride=5, sets=1, test_sets=4, refs=2)


@pytest.fixture(scope="module")
def sets():
    return physical_sets(DATA, "test")


def case(sets, laws=None, **options):
    net = Phycine(ORACLE.method, DATA.size, sets[0].target.dt)
    if laws is not None:
        net.laws = laws
    return Case(net, sets, see_sets(net.perception, ORACLE.method, sets, torch.device("cpu")), options)


def truth(sets, seen):
    """True latents of the targets: the oracle's slot k is object k."""
    z = torch.zeros(2, *seen.place.shape[::2][:2])
    for s, one in enumerate(sets):
        own = len(one.target.things)
        z[0, s, :own] = torch.tensor([t.mass for t in one.target.things], dtype=torch.float32).log()
        z[1, s, :own] = torch.tensor([t.charge for t in one.target.things], dtype=torch.float32)
    return Latents(*z)


class Coulomb(nn.Module):
    """The world's force between charges, without collisions; velocity changes of a frame of DATA."""

    def forward(self, p, v, z_m, z_c, present=None):
        apart = p[..., :, None, :] - p[..., None, :, :]
        far = apart.square().sum(-1, keepdim=True) + WORLD.softening**2
        product = (z_c[..., :, None] * z_c[..., None, :])[..., None]
        force = WORLD.strength * (product * apart / far**1.5).sum(-2)
        return DATA.stride * WORLD.dt * force / z_m.exp()[..., None]


# -- pieces -------------------------------------------------------------------------------------------------


def test_slots_of_objects_that_are_found_and_one_that_is_lost(sets):
    """Slots in another order; what shows object 0 of the first clip is gone."""
    clips = [s.target for s in sets]
    place, visible = padded(clips, 6)
    count = place.shape[2]
    order = np.roll(np.arange(count), 1)
    present = torch.from_numpy(visible[:, :, order]).clone()
    present[0, :, order.tolist().index(0)] = False
    path = torch.from_numpy(place[:, :, order])
    found = slots_of(Seen(path, present, path[:, 0], path), clips)
    for b, clip in enumerate(clips):
        own = len(clip.things)
        want = [order.tolist().index(k) if visible[b, :, k].any() else -1 for k in range(own)]
        want[0] = -1 if b == 0 else want[0]
        assert found[b].tolist() == want + [-1] * (count - own)


def test_values_of_objects_from_their_slots():
    values = torch.tensor([[5.0, 6.0, 7.0], [1.0, 2.0, 3.0]])
    slot = np.array([[2, -1], [0, 1]])
    assert chosen(values, slot).tolist() == [[7, 0], [1, 2]]
    assert chosen(values, slot, missing=-1.0).tolist() == [[7, -1], [1, 2]]


def test_pairs_that_met_in_a_target_or_its_references(sets):
    for one in sets:
        for refs in (0, 2):
            met = met_in_set(one, refs)
            assert np.array_equal(met, met.T)
            want = {(i, j) for i, j in zip(*np.nonzero(one.target.hits), strict=True)}
            for r in one.references[:refs]:
                want |= {(r.items[i], r.items[j]) for i, j in zip(*np.nonzero(r.hits), strict=True)}
            assert {(i, j) for i, j in zip(*np.nonzero(met), strict=True)} == want


# -- concepts -----------------------------------------------------------------------------------------------


def test_the_truth_is_scored_one_and_its_opposite_nought(sets):
    clips = [s.target for s in sets]
    z = truth(sets, case(sets).seen.targets)
    mass, charge = (x.numpy() for x in z)
    at, hits = np.arange(len(sets)), [c.hits for c in clips]
    right, report = concept_units(mass, -charge, clips, at, hits, len(sets))
    wrong, _ = concept_units(-mass, charge, clips, at, hits, len(sets))
    assert right["mass"].mean() == pytest.approx(1)
    assert wrong["mass"].mean() == pytest.approx(0)
    assert right["charge"].mean() == pytest.approx(1)
    assert report["mass_auc"] == pytest.approx(1)
    assert report["interacted"] + report["alone"] == sum(len(c.things) for c in clips)
    lost, _ = concept_units(0 * mass, 0 * charge, clips, at, hits, len(sets))
    assert (lost["mass"].mean(), lost["charge"].mean()) == (pytest.approx(0.5), 0)


# -- predictions and interventions --------------------------------------------------------------------------


def test_slow_twin_of_constant_velocity(sets):
    """Each object by itself: the line of its last six frames, ten and twenty frames on."""
    own = case(sets)
    found = predicted(own, None, Still())
    now, far = own.shown // 2, {"error": [], "error_far": []}
    for one in sets:
        clip = one.target
        for k in range(len(clip.things)):
            if not clip.visible[now, k]:
                continue
            window = torch.from_numpy(clip.place[now - FITTED + 1 : now + 1, k]).float()[None, :, None]
            seen = torch.from_numpy(clip.visible[now - FITTED + 1 : now + 1, k])[None, :, None]
            line = straight_start(window, seen, clip.dt)
            for name, ahead in (("error", 10), ("error_far", 20)):
                steps = min(ahead, len(clip.place) - 1 - now)
                at = line.place[0, 0] + (FITTED - 1 + steps) * clip.dt * line.velocity[0, 0]
                far[name].append(np.linalg.norm(at.numpy() - clip.place[now + steps, k]))
    for name, values in far.items():
        assert found[name].mean() == pytest.approx(np.mean(values), abs=0.01)
        assert np.array_equal(found[f"less_{name}"], -found[name])
    assert found["error"].shape == (len(sets),)


def test_the_worlds_own_force_foretells_what_charges_would_do(sets):
    own = case(sets, Coulomb())
    told = truth(sets, own.seen.targets)
    found = intervened(own, told)
    assert found["intervene_charge"].mean() > 0.6
    still = intervened(case(sets, Still()), told)
    assert all(not values.any() for values in still.values())
    assert {k: v.shape for k, v in found.items()} == {
        f"intervene{what}": (len(sets),) for what in ("_mass", "_charge", "")
    }


def test_objects_that_are_lost_foretell_nothing(sets):
    own = case(sets, Coulomb())
    own.slot[:] = -1
    found = intervened(own, truth(sets, own.seen.targets))
    assert all(not values.any() for values in found.values())


def test_perfect_and_no_perception(sets):
    """Masks of a threshold on pictures of 48 pixels; then a net that sees one slot everywhere."""
    fine = physical_sets(replace(DATA, height=48, test_sets=1, refs=1), "test")
    config = PhycineConfig(sight="threshold", slots=6)
    net = Phycine(config, (48, 72))
    found = perceived(net, config, fine)
    assert found["ari"].shape == (1,)
    assert found["ari"][0] > 0.8
    net.perception.threshold = 0.999
    assert perceived(net, config, fine)["ari"][0] == pytest.approx(0, abs=0.02)


# -- the whole ----------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A model with untrained laws; its weights are not read."""
    own, net = replace(ORACLE, data=DATA), case(physical_sets(DATA, "val")).net.eval()
    monkeypatch.setattr(measures, "restore", lambda folder: net)
    return ModelFolder(tmp_path, "phycine", own, {})


def test_all_measures_of_the_laws_are_by_set_and_repeatable(folder):
    first, again = (evaluate(folder, Evaluation("test", options={"refs": 1})) for _ in range(2))
    assert {v.shape for v in first.units.values()} == {(4,)}
    needed = {f"{p}{k}" for p in ("", "target_", "set_") for k in ("mass", "charge")}
    assert needed | {"error", "less_error", "error_far", "intervene"} <= first.units.keys()
    for name, values in first.units.items():
        assert np.array_equal(values, again.units[name])
        assert first.metrics.get(name, 0.5) == pytest.approx(values.mean())  # "half" is 0.5 for the claim
    assert first.metrics["lost"] == 0
    assert first.metrics["alone"] >= 4 * 3  # the clips in which nothing meets
    none = evaluate(folder, Evaluation("test", options={"refs": 0, "together": "product"}))
    assert none.metrics["set_charge"] == pytest.approx(none.metrics["target_charge"])


def test_a_long_stride_ends_at_the_last_frame(folder):
    short = ModelFolder(folder.path, "phycine", replace(ORACLE, data=replace(DATA, stride=10)), {})
    found = evaluate(short, Evaluation("test"))
    assert all(np.isfinite(v).all() for v in found.units.values())


def test_the_oracles_perception_is_not_scored(folder):
    first = replace(folder.recipe, method=replace(ORACLE.method, stage="perception"))
    found = evaluate(ModelFolder(folder.path, "phycine", first, {}), Evaluation("test"))
    assert set(found.units) == {"error", "error_far", "less_error", "less_error_far", "half"}


def test_programs_agree_with_the_simulation(monkeypatch):
    monkeypatch.setattr(measures, "ASKED", 300)
    found = evaluate(None, Evaluation("test"))
    assert found.metrics == {"agree": 1.0}
    assert found.units["agree"].shape == (300,)


def test_splits_and_sets_that_do_not_fit(folder, monkeypatch, sets):
    with pytest.raises(DataError, match="no evaluation 'train'; there are test and val"):
        evaluate(folder, Evaluation("test", split="train"))
    without = [replace(s, drawn=None) for s in sets]
    monkeypatch.setattr(measures, "physical_sets", lambda data, part: without)
    with pytest.raises(DataError, match=r"data\.kind='debug': this protocol needs made sets"):
        evaluate(folder, Evaluation("test"))


def test_programs_on_what_is_found_stand_beside_nets_that_answer(folder):
    """Untrained laws: what is seen is answered, the same whatever is called heavy."""
    asked = replace(DATA, asked=2)
    own = ModelFolder(folder.path, "phycine", replace(ORACLE, data=asked), {})
    all_, seen = (
        evaluate(own, Evaluation("test", options={"answers": "symbolic", **more}))
        for more in ({}, {"concepts": "none"})
    )
    for found in (all_, seen):
        assert {"right", "right_factual"} <= found.units.keys()
        assert found.metrics["factual"] == pytest.approx(found.units["right_factual"].mean())
        assert found.units["right"].shape == (4,)
        assert 0.2 < found.metrics["factual"] < 1


@pytest.mark.parametrize(
    ("options", "told"),
    [({"answer": "symbolic"}, "no option 'answer'"), ({"laws": "none"}, "option laws='none': 'constant'")],
)
def test_options_that_would_be_ignored_are_errors(folder, options, told):
    with pytest.raises(ConfigError, match=told):
        evaluate(folder, Evaluation("test", options=options))
