"""From recipe to training: the debug chain, and priors that fit or do not."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

import mien
from mien.cli.main import main
from mien.core.config import evolve_all
from mien.core.errors import ConfigError
from mien.data.config import TalkingData
from mien.data.talking_hdtf import hdtf_heads
from mien.data.talking_sets import read_talking
from mien.methods.otavatar.config import RECIPES
from mien.methods.otavatar.model import AvatarNet
from mien.methods.otavatar.task import at_hand, bank_start, build, configs, load_prior, said_motion
from tests.data.avatar_fixtures import write_hdtf
from tests.methods.otavatar.tiny import tiny_config, tiny_net


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "debug"
    assert main(["train", "otavatar", "--preset", "debug", "--output", str(folder)]) == 0
    return folder


def test_the_debug_chain_trains_both_stages(run) -> None:
    assert json.loads((run / "run.json").read_text())["steps"] == 3
    assert json.loads((run / "stages" / "prior" / "run.json").read_text())["steps"] == 3
    facts = json.loads((run / "facts.json").read_text())
    assert len(facts["actions"]) == 52
    assert facts["data"]["real"] is False
    assert facts["data"]["note"] == "6 rendered people, 2 moments of each from 2 sides, 32 px"
    assert mien.load(str(run)).net.controller.coefficients == 52


def test_a_controller_is_trained_on_the_prior_it_is_given(run) -> None:
    recipe = RECIPES["debug"]()
    prior = run / "stages" / "prior"
    task = build(recipe, {"prior": prior}).task
    kept = mien.load(str(prior)).net.generator.state_dict()
    assert all(torch.equal(v, kept[k]) for k, v in task.net.generator.state_dict().items())
    other = replace(recipe.method, plane_size=32)
    with pytest.raises(ConfigError, match=r"method\.plane_size=32 does not fit the prior's 16"):
        load_prior(AvatarNet(other, 32, 52), {"prior": prior})


def test_a_bank_starts_with_what_the_encoder_reads(run) -> None:
    prior = {"prior": run / "stages" / "prior"}
    for mode, codes in ((None, 6), ("naive", 12)):
        changes = {"method.bank": True, "method.mode": mode}
        task = build(evolve_all(RECIPES["debug"](), changes), prior).task
        assert task.bank.weight.shape == (codes, 160)
        assert float(task.bank.weight.detach().std()) > 0


def test_a_controller_may_follow_the_encoder(run) -> None:
    prior = {"prior": run / "stages" / "prior"}
    task = build(evolve_all(RECIPES["debug"](), {"method.follow": 1.0}), prior).task
    codes = bank_start(task.net, read_talking(configs(RECIPES["debug"]())[1]).train, each=True)
    assert torch.equal(task.said.codes.flatten(0, 1), codes)
    assert task.said.windows.shape == (6, 2, 52, 5)
    plain = build(RECIPES["debug"](), prior).task
    assert plain.said is None
    changes = {"method.follow_first": 5}
    taught = build(evolve_all(RECIPES["debug"](), changes), prior).task
    people = torch.arange(6)
    assert task.said.missed(taught.net, people) < task.said.missed(plain.net, people)
    with pytest.raises(ConfigError, match=r"method\.follow: there is no encoder"):
        said_motion(tiny_net(latent="free"), None)


def test_a_bank_of_filmed_people_starts_at_the_mean_code(tmp_path) -> None:
    """Pictures of clips are read when asked for; without an encoder there is nothing to read off them."""
    heads = hdtf_heads(write_hdtf(tmp_path / "set"), size=8, moments=2, val_people=1).test
    net = tiny_net(latent="free")
    net.w_avg.normal_()
    for each, count in ((False, 3), (True, 6)):
        assert torch.equal(bank_start(net, heads, each=each), net.w_avg.expand(count, -1))


def test_a_prior_is_built_on_filmed_people(tmp_path) -> None:
    """Tracks of clips are as long as the clips are; the first training on such a set failed once."""
    clips = [f"WDA_{name}_000" for name in ("Ann", "Bea", "Cid", "Dan")]
    root = write_hdtf(tmp_path / "set", clips, ["WDA_Eve_000"])
    data = TalkingData(kind="hdtf", root=str(root), val_people=2, size=32)
    recipe = evolve_all(replace(RECIPES["debug-prior"](), data=data), {"method.latent": "encoder"})
    task = build(recipe, {}).task
    assert float(task.net.generator.warp.mean.abs().max()) > 0


def test_a_released_generator_takes_the_place_of_a_prior(tmp_path) -> None:
    """A file as `convert_eg3d` writes it: tensors of the generator and its sizes."""
    config = tiny_config(stage="controller", latent="free", conditioned=True, sr_side=8, sr_channels=(4, 4))
    source, target = AvatarNet(config, 32, 3), AvatarNet(config, 32, 3)
    source.generator.mapping.w_avg.fill_(0.5)
    sizes = {k: getattr(config, k) for k in (
        "z_dim", "w_dim", "plane_size", "plane_channels", "channel_base", "channel_max", "mapping_layers",
        "decoder_width", "features", "sr_side", "sr_channels")}  # fmt: skip
    file = tmp_path / "eg3d.safetensors"
    save_file(source.generator.state_dict(), file, {"sizes": json.dumps({**sizes, "c_dim": 25})})
    controller = {k: v.clone() for k, v in target.controller.state_dict().items()}
    load_prior(target, {"prior": file})
    loaded = target.generator.state_dict()
    assert all(torch.equal(v, loaded[k]) for k, v in source.generator.state_dict().items())
    assert all(torch.equal(v, controller[k]) for k, v in target.controller.state_dict().items())
    assert torch.equal(target.w_avg, torch.full((16,), 0.5))
    assert torch.equal(target.w_std, torch.ones(16))
    with pytest.raises(ConfigError, match=r"another size of (synthesis|mapping)"):
        load_prior(AvatarNet(replace(config, channel_max=8), 32, 3), {"prior": file})
    with pytest.raises(ConfigError, match="another size of the encoder"):
        load_prior(AvatarNet(replace(config, latent="encoder", conditioned=False), 32, 3), {"prior": file})


def test_pictures_at_hand(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("MIEN_HOME", str(tmp_path))
    assert at_hand(RECIPES["debug"]())
    assert not at_hand(RECIPES["demo-prior"]())
