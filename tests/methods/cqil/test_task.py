"""Training: switched-off parts leave no trace, S warms up alone, the slow net follows, it learns."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from mien.core.catalogue import method
from mien.core.config import Recipe, evolve_all
from mien.core.errors import ConfigError
from mien.core.seeds import derive
from mien.data.surveil_loader import SurveilBatch
from mien.engine.checkpoint import load_weights
from mien.engine.stages import train_recipe
from mien.engine.task import Clock, Rng
from mien.methods.cqil.config import OFF, RECIPES, SOLUTIONS, solution_recipe
from mien.methods.cqil.model import MEAN, STD, seeded
from mien.methods.cqil.task import CqilTask, SolutionTask, build, live_spread
from mien.nn import build_backbone


def recipe(**changes: object) -> Recipe:
    return evolve_all(RECIPES["debug"](), {k.replace("__", "."): v for k, v in changes.items()})


def off() -> Recipe:
    return evolve_all(RECIPES["debug"](), OFF)


def task_of(made: Recipe) -> CqilTask:
    task = build(made, {}).task
    assert isinstance(task, CqilTask)
    return task


def batch_of(made: Recipe) -> SurveilBatch:
    return next(build(made, {}).source.stream(0, 0, 1))[0]


def clock(step: int, steps: int = 10) -> Clock:
    return Clock(step, steps, 5)


def test_with_all_parts_off_it_is_cross_entropy_of_both_views_bit_for_bit(tmp_path: Path) -> None:
    """Against a loop that knows nothing of CQIL: the degradation row."""
    made = off()
    train_recipe(method("cqil"), made, tmp_path / "run")
    seed = derive(0, "init")
    with seeded(seed, "backbone"):
        backbone = build_backbone("small-resnet-8-16")
    with seeded(seed, "classifier"):
        head = torch.nn.Linear(16, 2)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (MEAN, STD))
    parameters = [*backbone.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, 2e-3, weight_decay=0.05)
    stream = build(made, {}).source.stream(0, 0, 1)
    for step in range(3):
        (batch,) = next(stream)
        optimizer.param_groups[0]["lr"] = 2e-3 * 0.5 * (1 + math.cos(math.pi * step / 3))
        optimizer.zero_grad()
        logits = head(backbone((batch.image - mean) / std))
        (2 * F.cross_entropy(logits, batch.target.repeat(2))).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
    model = task_of(made).model
    load_weights(model, tmp_path / "run/weights.safetensors")
    for mine, theirs in zip(
        [*model.backbone.net.state_dict().values(), model.classifier.weight, model.classifier.bias],
        [*backbone.state_dict().values(), head.weight, head.bias],
        strict=True,
    ):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize("made", [off(), recipe(), recipe(method__contrast="byol")])
def test_a_loss_draws_nothing_from_the_global_generator(made: Recipe) -> None:
    task, batch = task_of(made), batch_of(made)
    before = torch.get_rng_state()
    task.loss(batch, clock(5), Rng(1))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_contrast_of_weight_zero_teaches_what_no_contrast_teaches(tmp_path: Path) -> None:
    weights = {}
    for name, changes in (
        ("none", OFF),
        ("zero", {**OFF, "method.contrast": "ntxent", "method.contrast_weight": 0.0}),
    ):
        made = evolve_all(RECIPES["debug"](), changes)
        train_recipe(method("cqil"), made, tmp_path / name)
        model = task_of(made).model
        load_weights(model, tmp_path / name / "weights.safetensors")
        weights[name] = [*model.backbone.parameters(), *model.classifier.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(weights["none"], weights["zero"], strict=True))


def test_s_learns_alone_in_the_first_tenth() -> None:
    task = task_of(recipe())
    batch = batch_of(recipe())
    assert set(task.loss(batch, clock(0), Rng(0)).logs) == {"resolution"}
    task.loss(batch, clock(0), Rng(0)).loss.backward()
    touched = {n.split(".")[0] for n, p in task.model.named_parameters() if p.grad is not None}
    assert touched == {"resolver"}
    parts = {"cls", "contrast", "quality", "leak", "resolution"}
    assert set(task.loss(batch, clock(1), Rng(0)).logs) == parts, "the rest of a map is orthogonal to it"
    by_maps = task_of(recipe(method__split="maps"))
    assert set(by_maps.loss(batch, clock(1), Rng(0)).logs) == {*parts, "orthogonal"}


def test_small_faces_go_through_s_at_the_asked_rate_and_alike_again() -> None:
    task = task_of(recipe(method__sharpen=0.25))
    x = torch.zeros(4000, 3, 4, 4)
    first = task._sharpen(x, Rng(3))
    assert first is not None
    assert first.float().mean().item() == pytest.approx(0.25, abs=0.03)
    again = task._sharpen(x, Rng(3))
    assert again is not None
    assert torch.equal(first, again)


def test_the_slow_net_moves_once_a_step() -> None:
    made = recipe(method__contrast="byol", method__momentum=0.9)
    task = task_of(made).train()
    batch = batch_of(made)
    assert task.slow is not None
    with torch.no_grad():
        task.model.classifier.weight.add_(1.0)
    start = task.slow.net.classifier.weight.clone()
    task.loss(batch, clock(1), Rng(0))
    moved = task.slow.net.classifier.weight.clone()
    torch.testing.assert_close(moved, start + 0.1)
    task.loss(batch, clock(1), Rng(0))
    assert torch.equal(task.slow.net.classifier.weight, moved)
    assert not any(p.requires_grad for p in task.slow.parameters())
    assert "contrast" in task.loss(batch, clock(2), Rng(0)).logs


@pytest.mark.parametrize("name", list(SOLUTIONS))
def test_every_solution_trains_and_scores(name: str) -> None:
    made = solution_recipe(name, RECIPES["debug"]())
    experiment = build(made, {})
    batch = next(experiment.source.stream(0, 0, 1))[0]
    assert len(batch.image) == len(batch.target) == 8
    assert isinstance(experiment.task, (CqilTask, SolutionTask))
    out = experiment.task.loss(batch, clock(0), Rng(0))
    out.loss.backward()
    assert torch.isfinite(out.loss.detach())
    assert experiment.validate is not None
    scores = experiment.validate(experiment.task.exported().eval(), torch.device("cpu"))
    assert set(scores) == {"auc_image", "auc_track"}


def test_the_centre_pulls_live_faces_together() -> None:
    d = torch.tensor([[1.0, 0.0], [3.0, 0.0], [9.0, 9.0]])
    assert float(live_spread(d, torch.tensor([0, 0, 1]))) == pytest.approx(0.5)
    assert float(live_spread(d, torch.tensor([1, 1, 1]))) == 0


def test_it_learns_the_debug_set(tmp_path: Path) -> None:
    made = recipe(
        schedule__steps=40, data__counts=(96, 48, 48), data__severity=(0.0, 0.3), schedule__batch=16
    )
    scores = train_recipe(method("cqil"), made, tmp_path)
    assert scores["auc_track"] > 0.8


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"compare two views; set data\.degrade"):
        build(recipe(data__degrade=False), {})
    with pytest.raises(ConfigError, match=r"needs data\.folds"):
        build(recipe(data__folds=3), {})
    with pytest.raises(ConfigError, match=r"is not one of cqil's"):
        build(replace(recipe(), data=method("fm_vit").load("config").RECIPES["debug"]().data), {})
    with pytest.raises(ConfigError, match="no solution 'best'"):
        solution_recipe("best")
