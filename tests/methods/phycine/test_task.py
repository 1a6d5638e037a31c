"""From recipes to training: both stages, parts of an earlier model, the same bits again."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mien.core.errors import ConfigError, DataError
from mien.core.protocol import Evaluation
from mien.engine.folder import open_folder
from mien.engine.task import Clock, Rng
from mien.methods.car.config import RECIPES as OTHERS
from mien.methods.phycine.evaluate import evaluate, restore, restore_reasoner
from mien.methods.phycine.model import Phycine
from mien.methods.phycine.stages import LawsTask, PerceptionTask
from mien.methods.phycine.task import Batches, build, configs, laws_facts, note, take_over
from tests.methods.phycine.debug import recipe, train


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Folders of the trained perception and laws."""
    root = tmp_path_factory.mktemp("phycine")
    first = train(root / "perception", recipe("debug-perception"))
    return first, train(root / "laws", recipe(), first)


@pytest.fixture(scope="module")
def answering(tmp_path_factory, run):
    """Folder of a net that answers, on top of both."""
    return train(tmp_path_factory.mktemp("answers") / "run", recipe("debug-answers"), run[1])


def oracle(**changes):
    """Laws of true paths: the untrained perception finds hardly anything."""
    return recipe(method__sight="true", **changes)


def weights(folder):
    return load_file(folder / "weights.safetensors")


def test_both_stages_are_trained_and_keep_the_other_part(run):
    first, last = (weights(f) for f in run)
    assert [json.loads((f / "run.json").read_text())["steps"] for f in run] == [3, 3]
    assert {k.split(".")[0] for k in last} == {"perception", "laws"} == {k.split(".")[0] for k in first}
    assert all(torch.equal(v, last[k]) for k, v in first.items() if k.startswith("perception"))
    facts = open_folder(run[1]).facts
    assert facts["data"]["note"] == "3 made sets, a target and 4 references each"


def test_answers_come_last_and_leave_perception_and_laws(run, answering):
    before, own = weights(run[1]), weights(answering)
    assert {k.split(".")[0] for k in own} == {"phycine", "net", "scale"}
    assert all(torch.equal(v, own[f"phycine.{k}"]) for k, v in before.items())
    facts = open_folder(answering).facts
    reasoner, vocabulary = restore_reasoner(open_folder(answering))
    assert vocabulary.to_dict() == facts["vocabulary"]
    assert all(torch.equal(v, own[k]) for k, v in reasoner.state_dict().items())
    phycine = restore(open_folder(answering))
    assert all(torch.equal(v, before[k]) for k, v in phycine.state_dict().items())
    with pytest.raises(ConfigError, match="trained up to 'laws'; 'answers' is needed for questions"):
        restore_reasoner(open_folder(run[1]))


@pytest.mark.parametrize("sight", ["true", "threshold"])
def test_answers_are_learnt_from_every_sight(sight):
    built = build(recipe("debug-answers", method__sight=sight), {})
    (batch,) = next(built.source.stream(0, 0, 1))
    loss = built.task.loss(batch, Clock(0, 3, 1), Rng(0)).loss
    assert loss.isfinite()


def test_questions_are_answered_and_scored(answering):
    first, again = (evaluate(open_folder(answering), Evaluation("test")) for _ in range(2))
    assert {"right", "right_factual"} <= first.units.keys()
    for name, values in first.units.items():
        assert values.shape == (2,)
        assert first.metrics[name] == pytest.approx(values.mean())
        assert np.array_equal(values, again.units[name])
        assert 0 <= values.mean() <= 1
    assert first.metrics["factual"] == pytest.approx(first.metrics["right_factual"])


def test_rows_of_a_step_depend_on_its_number_alone():
    batches = Batches(count=50, batch=8, seed=1)
    stream = batches.stream(0, 0, 1)
    rows = [next(stream)[0].rows for _ in range(3)]
    assert torch.equal(rows[2], next(batches.stream(2, 0, 1))[0].rows)
    assert not torch.equal(rows[0], rows[1])
    assert len(next(batches.stream(0, 1, 2))[0]) == 4
    assert (batches.steps_per_epoch(1), Batches(3, 8, 1).steps_per_epoch(1)) == (6, 1)


def test_laws_same_seed_same_bits_and_another_seed_others(tmp_path):
    own, again = (weights(train(tmp_path / name, oracle())) for name in ("a", "b"))
    other = weights(train(tmp_path / "other", oracle(seed=1)))
    fresh = build(oracle(), {}).task.exported().state_dict()
    assert all(torch.equal(v, again[k]) for k, v in own.items())
    for rest in (other, fresh):
        assert not any(torch.equal(v, rest[k]) for k, v in own.items() if "weight" in k)


@pytest.mark.parametrize("own", [oracle(), recipe("debug-perception")], ids=["laws", "perception"])
def test_a_run_that_is_cut_goes_on_as_if_it_were_not(tmp_path, own):
    cut = train(tmp_path / "cut", own, max_steps=2)
    assert json.loads((cut / "run.json").read_text())["steps"] == 2
    early, whole = weights(cut), weights(train(tmp_path / "whole", own))
    late = weights(train(cut, own))
    assert all(torch.equal(v, late[k]) for k, v in whole.items())
    assert not all(torch.equal(v, early[k]) for k, v in whole.items())


def test_a_stage_builds_its_task(run):
    before = {"before": run[0]}
    built = build(recipe("debug-perception"), {})
    assert type(built.task) is PerceptionTask
    laws = build(recipe(), before)
    assert type(laws.task) is LawsTask
    assert laws.task.place.shape[:2] == (12, 5)  # references of three sets, every tenth of 50 frames
    assert built.data_fingerprint == laws.data_fingerprint
    assert build(recipe(data__set_seed=1), before).data_fingerprint != laws.data_fingerprint


def test_the_oracle_needs_no_perception():
    built = build(oracle(), {})
    assert not list(built.task.net.perception.parameters())
    assert built.task.present.any()


def net_of(**changes):
    method, data = configs(recipe(**changes))
    torch.manual_seed(5)
    return Phycine(method, data.size)


def test_earlier_parts_are_taken_over_and_no_others(run):
    net = net_of()
    own = {k: v.clone() for k, v in net.state_dict().items()}
    take_over(net, run[1])  # of the same stage: its laws are not taken
    theirs = weights(run[1])
    for name, value in net.state_dict().items():
        assert torch.equal(value, (own if name.startswith("laws") else theirs)[name])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method__width": 12}, "its perception has another size of .*; train it with the same settings"),
        ({"data__height": 32}, r"looks at \(16, 24\) pixels by 'slots', not \(32, 48\) by 'slots'"),
        ({"method__sight": "threshold"}, "by 'slots', not .* by 'threshold'"),
    ],
)
def test_another_perception_is_refused(run, changes, message):
    with pytest.raises(ConfigError, match=message) as error:
        take_over(net_of(**changes), run[0])
    assert "\n" not in str(error.value)


def test_clips_shorter_than_the_window_are_refused():
    with pytest.raises(DataError, match="clips of 5 frames are too short for a window of 6"):
        build(oracle(method__window=6), {})


def test_recipes_of_others_are_refused():
    with pytest.raises(ConfigError, match="'car-debug' is not one of phycine's"):
        configs(OTHERS["debug"]())


def test_what_was_seen_in_words():
    data = recipe().data
    assert note(replace(data, kind="comphy", sets=4000)) == (
        "4,000 sets of ComPhy, a target and 4 references each"
    )


def test_laws_tell_where_masses_and_charges_part():
    present = torch.ones(2, 4, 3, dtype=torch.bool)
    present[1, :, 2] = False  # its latents do not count
    mass = torch.tensor([[0.0, 0.1, 2.0], [0.1, 2.1, 50.0]])
    charge = torch.tensor([[0.0, 1.0, -1.1], [0.1, 0.0, 9.0]])
    told = laws_facts({"note": ""}, SimpleNamespace(mass=mass, charge=charge, present=present))
    assert told["thresholds"]["mass"] == pytest.approx([0.2 / 3, 2.05])
    assert told["thresholds"]["charge"] == pytest.approx([0.1 / 3, 1.05])
    alike = SimpleNamespace(mass=torch.zeros(2, 3), charge=charge, present=present)
    assert laws_facts({"note": ""}, alike) == {"data": {"note": ""}}
