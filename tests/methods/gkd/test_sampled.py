"""Classes spread over two real processes and sampled: equal to one process, and resumed to the same bits.

Batch normalisation keeps its starting statistics here: each process normalises with its own pictures, so that
with it training on two processes is another training by design, spread classes or not.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from mien.core import catalogue
from mien.core.catalogue import Entry
from mien.core.config import evolve_all
from mien.core.errors import ConfigError, MienError
from mien.data.config import FaceData
from mien.data.faces import read_faces
from mien.engine import checkpoint
from mien.engine.faces import restore
from mien.engine.folder import open_folder
from mien.engine.stages import train_recipe
from mien.engine.task import Clock, Rng
from mien.engine.trainer import Trainer, make_accelerator
from mien.losses import cross_entropy
from mien.methods.gkd.config import RECIPES
from mien.methods.gkd.task import build
from mien.nn import PartialFC

ROOT = Path(__file__).parents[3]
ENTRY = Entry("gkd", "face recognition", "2304.04462", "GKD", "mien.methods.gkd")
TABLE = tuple(ENTRY if e.name == "gkd" else e for e in catalogue._TABLE)
PEOPLE = 7  # four rows on one process and three on the other
CHANGES = {
    "data.kind": "debug",
    "data.people": PEOPLE,
    "data.val_people": 2,
    "data.test_people": 2,
    "data.per_identity": 2,
    "data.size": 16,
    "method.embedding": 8,
    "schedule.batch": 4,
    "schedule.steps": 3,
    "schedule.log_every": 1,
    "schedule.warmup_epochs": 0.0,
    "schedule.checkpoint_every": 0,
    "schedule.channels_last": False,
}
DISTILLED = {"method.distill": "gkd", "method.keep_teacher": False}
ROWS = {
    "plain-gkd": DISTILLED,
    "all": {"method.sample": 1.0, "schedule.grad_clip": 0.3, "schedule.accumulate": 2},
    "all-gkd": {"method.sample": 1.0, **DISTILLED},
    "all-kd-margin": {
        "method.sample": 1.0,
        **DISTILLED,
        "method.distill": "kd",
        "method.kd_logits": "margin",
    },
    "adaface": {"method.sample": 1.0, "method.head": "adaface"},
}
SAMPLED = {"method.sample": 0.7, "schedule.steps": 6, **DISTILLED}


def recipe(**changes):
    return evolve_all(RECIPES["student"](), {**CHANGES, **changes})


def faces():
    return read_faces(FaceData("debug", 16, people=PEOPLE, val_people=2, test_people=2, per_identity=2))


def trainer(folder, teacher, *, frozen=True, **changes):
    one = recipe(**changes)
    make_accelerator("fp32")
    experiment = build(one, {"teacher": teacher}, faces())
    if frozen:
        for m in experiment.task.modules():
            if isinstance(m, nn.modules.batchnorm._BatchNorm):
                m.eval().train = lambda mode=True, m=m: m
    made = Trainer(experiment, one, folder)
    if made.accelerator.is_main_process:
        folder.mkdir(exist_ok=True)
    made.accelerator.wait_for_everyone()
    return made


def losses(folder):
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


def worker(folder, teacher):
    """What each process of the launcher runs."""
    catalogue._TABLE = TABLE
    for name, changes in ROWS.items():
        made = trainer(folder / name, teacher, **changes)
        assert made.accelerator.num_processes == 2
        made.run()
    # Uninterrupted, and stopped after three of six steps; the second time left for one process.
    trainer(folder / "whole", teacher, frozen=False, **SAMPLED).run()
    trainer(folder / "cut", teacher, frozen=False, **SAMPLED, **{"schedule.checkpoint_every": 3}).run(3)
    trainer(folder / "cut", teacher, frozen=False, **SAMPLED, **{"schedule.checkpoint_every": 3}).run()
    made = trainer(folder / "left", teacher, **SAMPLED, **{"schedule.checkpoint_every": 3})
    made.run(3)
    (layer,) = made.shards.layers.values()
    momentum = layer.all_rows(made.shards.optimizer.state[layer.weight]["momentum_buffer"])
    rank = made.accelerator.process_index
    torch.save({"rows": len(layer.weight), "v": momentum}, folder / f"left-{rank}.pt")


@pytest.fixture(scope="module")
def listed():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalogue, "_TABLE", TABLE)
        yield


@pytest.fixture(scope="module")
def teacher(tmp_path_factory, listed):
    folder = tmp_path_factory.mktemp("teacher")
    one = evolve_all(RECIPES["teacher"](), {**CHANGES, "schedule.steps": 4})
    train_recipe(ENTRY, one, folder, experiment=build(one, {}, faces()))
    return folder


@pytest.fixture(scope="module")
def two(tmp_path_factory, teacher):
    folder = tmp_path_factory.mktemp("two")
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    words = [sys.executable, *launch, "-m", "tests.methods.gkd.test_sampled", str(folder), str(teacher)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, cwd=ROOT, env=os.environ)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.mark.ddp
@pytest.mark.parametrize("name", ROWS)
def test_two_processes_equal_one(two, teacher, tmp_path, name):
    trainer(tmp_path / name, teacher, **ROWS[name]).run()
    if name != "plain-gkd":  # where each process logs the loss of its own pictures
        assert losses(two / name) == pytest.approx(losses(tmp_path / name), abs=1e-6, rel=1e-6)
    found, wanted = (load_file(f / name / "weights.safetensors") for f in (two, tmp_path))
    assert found["head.weight"].shape == (PEOPLE, 8)
    assert set(found) == set(wanted)
    for key, value in wanted.items():
        torch.testing.assert_close(found[key], value, rtol=0, atol=1e-6)


@pytest.mark.ddp
def test_sampled_training_on_two_processes_resumes_to_the_same_bits(two):
    found, wanted = (load_file(two / name / "weights.safetensors") for name in ("cut", "whole"))
    for key, value in wanted.items():
        assert torch.equal(found[key], value), key


@pytest.mark.ddp
def test_a_checkpoint_of_two_processes_goes_on_with_one(two, teacher):
    made = trainer(two / "left", teacher, **SAMPLED, **{"schedule.checkpoint_every": 3})
    (layer,) = made.shards.layers.values()
    found = checkpoint.latest(two / "left")
    state = json.loads((found / "state.json").read_text())
    assert (state["step"], state["processes"]) == (3, 2)
    saved = load_file(found / "model.safetensors")["model.head.weight"]
    assert saved.shape == (PEOPLE, 8)
    checkpoint.load(made.accelerator, found, state["key"], None, any_world=True)
    assert torch.equal(layer.weight.detach(), saved)
    ranks = [torch.load(two / f"left-{rank}.pt", weights_only=True) for rank in (0, 1)]
    assert [r["rows"] for r in ranks] == [4, 3]
    for r in ranks:
        assert torch.equal(r["v"], made.shards.optimizer.state[layer.weight]["momentum_buffer"])
    made.run()
    assert made.step == 6
    assert len(losses(two / "left")) == 6


def test_sampled_training_resumes_to_the_same_bits(teacher, tmp_path):
    trainer(tmp_path / "whole", teacher, frozen=False, **SAMPLED).run()
    options = {**SAMPLED, "schedule.checkpoint_every": 3}
    trainer(tmp_path / "cut", teacher, frozen=False, **options).run(4)
    trainer(tmp_path / "cut", teacher, frozen=False, **options).run()
    found, wanted = (load_file(tmp_path / name / "weights.safetensors") for name in ("cut", "whole"))
    assert all(torch.equal(found[key], value) for key, value in wanted.items())


def test_all_classes_of_a_spread_layer_are_the_plain_loss(teacher):
    plain, spread = (
        build(recipe(**DISTILLED, **{"method.sample": q}), {"teacher": teacher}, faces()).task
        for q in (None, 1.0)
    )
    plain.model.net.load_state_dict(spread.model.net.state_dict())
    plain.model.head.weight.data.copy_(spread.model.head.weight)
    batch = next(build(recipe(), {}, faces()).source.stream(0, 0, 1))[0]
    outs = []
    for task in (plain, spread):
        task.place_held(torch.device("cpu"))
        outs.append(task.loss(batch, Clock(0, 2, 2), Rng(0)))
    torch.testing.assert_close(outs[0].loss, outs[1].loss)
    for name, value in outs[0].logs.items():
        torch.testing.assert_close(outs[1].logs[name], value)


def test_both_nets_see_the_same_sampled_classes(teacher):
    task = build(recipe(**SAMPLED), {"teacher": teacher}, faces()).task
    task.place_held(torch.device("cpu"))
    batch = next(build(recipe(), {}, faces()).source.stream(0, 0, 1))[0]
    net, head, rng = task.held("teacher"), task.model.head, Rng(3)
    out = task.loss(batch, Clock(0, 2, 2), rng)
    kept = head.logits(task.model(batch.image), batch.target, generator=rng.generator("classes")).kept
    assert len(kept) == 4
    y = torch.searchsorted(kept, batch.target)
    weights = nn.functional.normalize(net.head.weight[kept])
    zt = net.head.margin.scale * nn.functional.normalize(net(batch.image)) @ weights.T
    zs = head.margin.scale * nn.functional.normalize(task.model(batch.image))
    zs = zs @ nn.functional.normalize(head.weight[kept]).T
    kd, _ = task.distill(zs, zt, y, 0.0)
    ce = cross_entropy(head.logits(task.model(batch.image), batch.target, kept=kept).logits, y)
    torch.testing.assert_close(out.loss, ce + kd)


def test_a_sampled_model_is_restored_with_a_plain_head(teacher, tmp_path):
    one = recipe(**{"method.sample": 0.7})
    experiment = build(one, {}, faces())
    assert isinstance(experiment.task.model.head, PartialFC)
    train_recipe(ENTRY, one, tmp_path, experiment=experiment)
    model = restore(open_folder(tmp_path))
    assert torch.equal(model.head.weight, experiment.task.model.head.weight)
    z = model.head(torch.ones(1, 8), torch.tensor([0]))
    assert z.shape == (1, PEOPLE)


def test_what_does_not_go_with_sampled_classes(teacher, tmp_path):
    with pytest.raises(ConfigError, match=r"method.sample=0.0 is outside"):
        recipe(**{"method.sample": 0.0})
    for name, value in (("schedule.ema", 0.9), ("optim.kind", "adamw")):
        with pytest.raises(ConfigError, match=r"sampled classes .* train with optim.kind='sgd'"):
            trainer(tmp_path, teacher, **{"method.sample": 0.5, name: value})
    model = build(recipe(**{"method.sample": 0.5}), {}, faces()).task.model
    with pytest.raises(ConfigError, match=r"unset method\.sample"):
        model.logits(torch.zeros(1, 3, 16, 16), torch.tensor([0]))
    made = trainer(tmp_path, teacher, **{"method.sample": 0.5})
    made.task.model.head.world = 2
    with pytest.raises(MienError, match="before the processes met"):
        type(made.shards)(made.task, made.recipe, made.accelerator)


if __name__ == "__main__":
    worker(Path(sys.argv[1]), Path(sys.argv[2]))
