from __future__ import annotations

import json
import os
import signal

import pytest
import torch
from torch import nn

from mien.core.config import OptimConfig
from mien.core.errors import ConfigError, MienError, WeightsError
from mien.engine import checkpoint
from mien.engine.task import Experiment, total_parameters
from mien.engine.trainer import Trainer, _deterministic
from mien.optim.build import lr_factor
from mien.optim.sam import SAM
from tests.engine.toys import Fit, FitByHand, Source, experiment, make_net, recipe, same, state_of


def train(folder, rec, task=None, source=None, max_steps=None, **more):
    task = task or Fit()
    trainer = Trainer(experiment(task, source, **more), rec, folder)
    trainer.run(max_steps)
    return trainer, state_of(trainer.keeper.net())


def test_twenty_steps_equal_a_plain_loop_bit_for_bit(tmp_path):
    rec = recipe(lr_rule="cosine", warmup_epochs=1.0)
    _, ours = train(tmp_path, rec)
    net = make_net()
    optimizer = torch.optim.SGD(net.parameters(), 0.05, momentum=0.9, nesterov=True, weight_decay=1e-3)
    for step, (batch,) in zip(range(20), Source().stream(0, 0, 1), strict=False):
        for group in optimizer.param_groups:
            group["lr"] = 0.05 * lr_factor(rec.schedule, step, 20, 5)
        optimizer.zero_grad()
        (net(batch.x) - batch.y).pow(2).mean().backward()
        optimizer.step()
    assert same(ours, state_of(net))


@pytest.mark.parametrize("stop", [3, 7, 10])
@pytest.mark.parametrize("kind", ["sgd", "adamw", "sam"])
def test_resume_in_mid_epoch_equals_uninterrupted(tmp_path, stop, kind):
    rec = recipe(OptimConfig(kind=kind, lr=0.05), ema=0.9, checkpoint_every=4, lr_rule="cosine")
    _, whole = train(tmp_path / "a", rec, Fit(dropout=0.3, norm=True))
    train(tmp_path / "b", rec, Fit(dropout=0.3, norm=True), max_steps=stop)
    assert checkpoint.latest(tmp_path / "b").name == f"step-{stop:08d}"
    _, resumed = train(tmp_path / "b", rec, Fit(dropout=0.3, norm=True))
    assert same(whole, resumed)
    logs = [[r for r in map(json.loads, (tmp_path / d / "log.jsonl").read_text().splitlines())] for d in "ab"]
    kept = [
        [(r["step"], r["loss"]) for r in log if r["event"] == "train" and r["step"] % 5 == 0] for log in logs
    ]
    assert kept[0][-1] == kept[1][-1]


def test_a_finished_run_drops_its_checkpoints_and_reports(tmp_path):
    trainer, _ = train(tmp_path, recipe(checkpoint_every=6))
    assert checkpoint.latest(tmp_path) is None
    assert {p.name for p in tmp_path.iterdir()} >= {
        "weights.safetensors",
        "run.json",
        "report.html",
        "facts.json",
    }
    assert "data:image/png" in (tmp_path / "report.html").read_text()
    assert json.loads((tmp_path / "log.jsonl").read_text().splitlines()[0])["processes"] == 1
    assert total_parameters(trainer.task.parameters()) == 3 * 8 + 8 + 8 + 1


@pytest.mark.parametrize("parts", [2, 4])
def test_accumulation_is_the_same_step(tmp_path, parts):
    _, whole = train(tmp_path / "a", recipe())
    _, split = train(tmp_path / "b", recipe(accumulate=parts), source=Source(parts))
    for key in whole:
        torch.testing.assert_close(whole[key], split[key], rtol=1e-5, atol=1e-6)


def test_two_pass_optimiser_equals_a_hand_loop(tmp_path):
    task = Fit()
    _, ours = train(tmp_path, recipe(OptimConfig(kind="sam", lr=0.05, rho=0.1)), task)
    net = make_net()
    base = torch.optim.SGD(net.parameters(), 0.05, momentum=0.9, nesterov=True)
    optimizer = SAM(None, base, rho=0.1)
    for _, (batch,) in zip(range(20), Source().stream(0, 0, 1), strict=False):

        def closure(batch=batch):
            optimizer.zero_grad()
            loss = (net(batch.x) - batch.y).pow(2).mean()
            loss.backward()
            return loss

        optimizer.step(closure)
    assert task.calls == 40
    assert same(ours, state_of(net))


def test_second_pass_leaves_batch_statistics_alone(tmp_path):
    sgd, sam = Fit(norm=True), Fit(norm=True)
    train(tmp_path / "a", recipe(OptimConfig(kind="sgd", lr=0.0), steps=3), sgd)
    train(tmp_path / "b", recipe(OptimConfig(kind="sam", lr=0.0, rho=5.0), steps=3), sam)
    assert torch.equal(sgd.net[1].running_mean, sam.net[1].running_mean)
    assert sam.net[1].num_batches_tracked == 3


def test_manual_task_owns_its_optimisers_and_resumes(tmp_path):
    rec = recipe(checkpoint_every=4)
    _, whole = train(tmp_path / "a", rec, FitByHand())
    train(tmp_path / "b", rec, FitByHand(), max_steps=7)
    _, resumed = train(tmp_path / "b", rec, FitByHand())
    assert same(whole, resumed)
    assert not same(whole, state_of(make_net()))


def test_manual_task_refuses_two_pass_optimisers(tmp_path):
    with pytest.raises(ConfigError, match="owns its optimisers"):
        Trainer(experiment(FitByHand()), recipe(OptimConfig(kind="sam")), tmp_path)


def test_moving_average_is_what_is_kept(tmp_path):
    trainer, kept = train(tmp_path, recipe(ema=0.5, steps=4))
    raw = state_of(trainer.task.net)
    assert not same(kept, raw)
    net = make_net()
    checkpoint.load_weights(net, tmp_path / "weights.safetensors")
    assert same(state_of(net), kept)


def test_best_weights_are_kept(tmp_path):
    scores = iter([0.5, 0.9, 0.3, 0.2])
    seen = []

    def validate(net, device):
        seen.append(state_of(net))
        return {"score": next(scores)}

    train(tmp_path, recipe(select="best", eval_every=1.0), validate=validate)
    net = make_net()
    checkpoint.load_weights(net, tmp_path / "weights.safetensors")
    assert same(state_of(net), seen[1])


@pytest.mark.parametrize("stop", [5, 7])
def test_best_weights_survive_a_cut(tmp_path, stop):
    """The look at a cut must not count: the score there would be the best of all."""
    scores = {1.0: 0.1, 2.0: 0.5}

    def trained(folder, *cuts):
        def validate(net, device):
            return {"score": 0.9 if made[-1].step == 7 else scores.get(made[-1].step / 5, 0.2)}

        made = []
        for cut in (*cuts, None):
            rec = recipe(select="best", eval_every=1.0, checkpoint_every=50)
            made.append(Trainer(experiment(validate=validate), rec, folder))
            made[-1].run(cut)
        return (folder / "weights.safetensors").read_bytes()

    assert trained(tmp_path / "a") == trained(tmp_path / "b", stop)


def test_max_steps_must_be_positive(tmp_path):
    with pytest.raises(ConfigError, match="at least 1"):
        train(tmp_path, recipe(), max_steps=0)


def test_best_weights_need_a_validation_split(tmp_path):
    with pytest.raises(ConfigError, match="needs a validation split"):
        Trainer(experiment(), recipe(select="best", eval_every=1.0), tmp_path)


def test_bf16_runs_and_fp16_needs_a_gpu(tmp_path):
    _, half = train(tmp_path / "a", recipe(precision="bf16"))
    _, full = train(tmp_path / "b", recipe())
    assert not same(half, full)
    assert all(v.dtype == torch.float32 for v in half.values())
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="needs a GPU"):
            Trainer(experiment(), recipe(precision="fp16"), tmp_path / "c")


def test_a_loss_that_is_not_finite_stops_with_one_line(tmp_path):
    with pytest.raises(MienError, match=r"not finite at step 15.*lower --optim.lr"):
        train(tmp_path, recipe(), source=Source(poison=12))


def test_a_signal_writes_a_checkpoint_and_says_how_to_go_on(tmp_path):
    rec = recipe(checkpoint_every=100)

    def watch(clock, logs):
        if clock.step == 6:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(MienError, match=r"stopped at step [67].*--resume"):
        Trainer(experiment(), rec, tmp_path / "a", watch).run()
    _, resumed = train(tmp_path / "a", rec)
    _, whole = train(tmp_path / "b", rec)
    assert same(whole, resumed)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_gradient_clipping_and_cut_short_runs(tmp_path):
    trainer, _ = train(tmp_path, recipe(grad_clip=1e-6, checkpoint_every=3), max_steps=2)
    moved = max(
        (a - b).abs().max()
        for a, b in zip(trainer.task.net.parameters(), make_net().parameters(), strict=True)
    )
    assert 0 < moved < 1e-3
    assert json.loads((tmp_path / "run.json").read_text())["steps"] == 2


def test_checkpoint_of_another_configuration_is_refused(tmp_path):
    train(tmp_path, recipe(checkpoint_every=4), max_steps=5)
    with pytest.raises(WeightsError, match="another configuration"):
        train(tmp_path, recipe(OptimConfig(lr=0.3), checkpoint_every=4))


def test_held_nets_are_frozen_and_not_trained():
    task = Fit()
    teacher = make_net(dropout=0.5)
    task.hold("teacher", teacher)
    task.place_held(torch.device("cpu"))
    assert task.held("teacher") is teacher
    assert not teacher.training
    assert not any(p.requires_grad for p in teacher.parameters())
    assert len(list(task.parameters())) == 4
    assert not any("teacher" in k for k in task.state_dict())


def test_parts_beside_the_model_are_kept_in_files_of_their_own(tmp_path):
    from safetensors.torch import load_file

    part = nn.Linear(2, 1)
    experiment = Experiment(Fit(), Source(), "toy", also={"part": part})
    Trainer(experiment, recipe(steps=2), tmp_path).run()
    assert torch.equal(load_file(tmp_path / "part.safetensors")["weight"], part.weight)
    assert "weight" not in load_file(tmp_path / "weights.safetensors")


@pytest.mark.parametrize(("device", "lenient"), [("cpu", False), ("cuda", True)])
def test_operators_without_a_deterministic_kernel_are_refused_on_the_cpu_alone(device, lenient):
    """The gradient of grid_sample has none on a GPU, and half of the methods need it."""
    before = torch.are_deterministic_algorithms_enabled(), torch.utils.deterministic.fill_uninitialized_memory
    with _deterministic(torch.device(device)):
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.is_deterministic_algorithms_warn_only_enabled() == lenient
        assert torch.utils.deterministic.fill_uninitialized_memory != lenient
    after = torch.are_deterministic_algorithms_enabled(), torch.utils.deterministic.fill_uninitialized_memory
    assert before == after
