"""From recipes to training: the debug chain, and parts of an earlier model."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from mien.core.config import evolve_all
from mien.core.errors import ConfigError
from mien.data.clothed_sets import ClothedSources
from mien.data.config import ClothedData
from mien.engine.folder import open_folder
from mien.methods.car import task
from mien.methods.car.config import RECIPES
from mien.methods.car.evaluate import restore
from mien.methods.car.net import CarNet
from mien.methods.car.stages import HyperTask, NormalTask, SdfTask
from mien.methods.car.task import at_hand, build, configs, joint_count, take_over
from mien.methods.otavatar.config import RECIPES as OTHERS
from tests.methods.car.capsules import JOINTS, capsules, tiny_config, tiny_net, train_debug


@pytest.fixture(scope="module", autouse=True)
def drawn_once():
    """The few people are drawn once, not by each `build`."""
    splits = capsules()
    people = ClothedSources(splits.train, splits.val, splits.test)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(task, "clothed_sources", lambda data: people)
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory, drawn_once):
    return train_debug(tmp_path_factory.mktemp("car") / "debug")


def weights(folder):
    return load_file(folder / "weights.safetensors")


def test_the_debug_chain_ends_with_all_parts(run):
    folders = [run / "stages" / "normal", run / "stages" / "sdf", run]
    assert [json.loads((f / "run.json").read_text())["steps"] for f in folders] == [3, 3, 3]
    parts = [{name.split(".")[0] for name in weights(f)} for f in folders]
    assert parts == [{"normal"}, {"normal", "field"}, {"normal", "field", "hyper"}]
    maker = restore(open_folder(run))
    assert maker.size == 32
    assert not any(p.requires_grad for p in maker.net.parameters())
    facts = open_folder(run).facts
    assert facts["joints"] == JOINTS
    assert facts["data"]["note"] == "3 people of capsules, 1 pictures of each, 32 px"
    assert facts["data"]["real"] is False


def test_later_stages_leave_earlier_parts_as_they_are(run):
    first, second, last = (weights(f) for f in (run / "stages" / "normal", run / "stages" / "sdf", run))
    assert all(torch.equal(v, last[k]) for k, v in first.items())
    assert all(torch.equal(v, last[k]) for k, v in second.items())
    fresh = build(RECIPES["debug"](), {}).task.exported().state_dict()
    assert any(not torch.equal(v, fresh[k]) for k, v in first.items())


def test_a_stage_builds_its_task(run):
    before = {"before": run / "stages" / "sdf"}
    kinds = {"debug-normal": NormalTask, "debug-sdf": SdfTask, "debug": HyperTask}
    for name, kind in kinds.items():
        built = build(RECIPES[name](), {} if name == "debug-normal" else before)
        assert type(built.task) is kind
        assert built.data_fingerprint == open_folder(run).facts["data"]["fingerprint"]
    assert built.facts(built.task)["joints"] == JOINTS


def test_earlier_parts_are_taken_over_and_no_others(run):
    net = tiny_net()
    own = {k: v.clone() for k, v in net.state_dict().items()}
    take_over(net, run)  # of the same stage: its hyper-network is not taken
    theirs = weights(run)
    for name, value in net.state_dict().items():
        source = own if name.startswith("hyper") else theirs
        assert torch.equal(value, source[name])


def test_parts_of_other_sizes_are_refused(run):
    net = CarNet(replace(tiny_config(), hidden=(16, 24)), JOINTS)
    with pytest.raises(ConfigError, match=r"its field has another size of field\.layers\.1") as error:
        take_over(net, run)
    assert "\n" not in str(error.value)


def test_a_model_of_a_stage_too_early_is_refused(run):
    with pytest.raises(ConfigError, match="up to stage 'normal', stage 'hyper' goes on from 'sdf'"):
        take_over(tiny_net(), run / "stages" / "normal")


def test_recipes_of_others_are_refused():
    with pytest.raises(ConfigError, match="'otavatar-debug' is not one of car's"):
        configs(OTHERS["debug"]())


def test_pictures_at_hand(tmp_path, monkeypatch):
    monkeypatch.setenv("MIEN_HOME", str(tmp_path))
    assert at_hand(RECIPES["debug"]())
    assert not at_hand(RECIPES["small"]())


def test_joints_of_a_set():
    assert joint_count(RECIPES["debug"]().data) == JOINTS
    assert joint_count(ClothedData()) == 19
    assert joint_count(ClothedData("mvp", root="x")) == 24


def test_only_fields_that_ask_get_depths():
    for two_sided, size in ((True, 32), (False, 0)):
        recipe = evolve_all(RECIPES["debug-sdf"](), {"method.two_sided": two_sided, "method.residual": False})
        (batch,) = next(build(recipe, {}).source.stream(0, 0, 1))
        assert batch.depth.shape == (2, 2, size, size)
    (batch,) = next(build(RECIPES["debug-sdf"](), {}).source.stream(0, 0, 1))
    assert batch.star.shape == batch.posed.shape == (2, len(capsules().test.given[0]), 6)
