"""Equal-budget search: both backends give the same trials, and a search that was cut short goes on."""

from __future__ import annotations

import json
import math
import os
import signal
from dataclasses import replace

import pytest
import torch

from mien.bench import sweep as sweeps
from mien.bench.sweep import Cluster, Sweep, Trial, best, run_sweep
from mien.cli.main import main
from mien.core.catalogue import method
from mien.core.config import evolve
from mien.core.errors import ConfigError, MienError
from mien.core.io import read_lines, sha256
from mien.core.search import Choice, LogUniform, Uniform
from mien.engine.stages import is_finished, train_recipe
from mien.methods.ncl.config import RECIPES

SPACE = {"optim.lr": LogUniform(-3, -1), "method.lam": Choice((0.2, 0.4))}


def search(folder, trials=2, space=SPACE, recipe=None):
    recipe = recipe or replace(RECIPES["debug"](), seed=100)
    return Sweep("ncl", recipe, space, trials, folder)


def weights(sweep):
    return [sha256(sweep.folder_of(i) / "weights.safetensors") for i in range(sweep.trials)]


def lines(folder):
    return [(r["trial"], r["values"], r["scores"]) for r in read_lines(folder / "trials.jsonl")]


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    sweep = search(tmp_path_factory.mktemp("sweep") / "local")
    return sweep, run_sweep(sweep)


def test_trials_on_this_machine(local):
    sweep, trials = local
    assert [t.trial for t in trials] == [0, 1]
    assert trials[0].values == {"optim.lr": 0.1, "method.lam": 0.6}
    assert trials[1].values == sweep.values(1) != trials[0].values
    assert all(set(t.scores) == {"single", "ensemble", "few"} and t.seconds > 0 for t in trials)
    assert lines(sweep.folder) == [(t.trial, t.values, t.scores) for t in trials]
    assert len(set(weights(sweep))) == 2


def test_the_first_trial_is_the_plain_recipe(local, tmp_path):
    train_recipe(method("ncl"), local[0].recipe, tmp_path / "plain")
    assert sha256(tmp_path / "plain" / "weights.safetensors") == weights(local[0])[0]


def test_a_finished_search_trains_nothing_and_a_longer_one_the_rest(local, monkeypatch):
    sweep, trials = local
    trained = []
    monkeypatch.setattr(sweeps, "run_trial", lambda s, i, w: trained.append(i))
    assert run_sweep(sweep) == trials
    assert trained == []
    assert len(lines(sweep.folder)) == 2
    with pytest.raises(MienError, match="vanished"):
        run_sweep(replace(sweep, trials=3))
    assert trained == [2]


def test_a_trial_that_was_killed_goes_on_from_its_checkpoint(local, tmp_path):
    recipe = evolve(local[0].recipe, "schedule.checkpoint_every", 1)
    sweep = search(tmp_path / "s", recipe=recipe)
    train_recipe(method("ncl"), sweep.recipe_of(1), sweep.folder_of(1), max_steps=2)
    assert not is_finished(sweep.folder_of(1))
    steps = []
    trials = run_sweep(sweep, watch=lambda clock, logs: steps.append(clock.step))
    assert steps == [1, 2, 3, 3]
    assert [t.scores for t in trials] == [t.scores for t in local[1]]
    assert weights(sweep) == weights(local[0])


def test_lines_that_were_lost_come_back(local):
    sweep, trials = local
    (sweep.folder / "trials.jsonl").unlink()
    run_sweep(sweep)
    assert lines(sweep.folder) == [(t.trial, t.values, t.scores) for t in trials]


@pytest.mark.parametrize(
    "other", [{"space": {"optim.lr": Uniform(0, 1)}}, {"recipe": evolve(RECIPES["debug"](), "seed", 101)}]
)
def test_a_folder_of_another_search_is_refused(local, other):
    with pytest.raises(ConfigError, match="other settings; choose another --output"):
        run_sweep(search(local[0].folder, **other))


def test_ray_gives_the_same_trials_to_the_bit(local, tmp_path, capsys):
    pytest.importorskip("ray")
    sweep = search(tmp_path / "ray")
    before = dict(os.environ), signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    said = []
    trials = run_sweep(sweep, Cluster(parallel=2), cores=torch.get_num_threads(), say=said.append)
    assert capsys.readouterr().out == ""
    assert said[0] == f"2 of 2 trials on Ray, in {sweep.folder}"
    assert sorted(said[1:]) == [f"trial {i} of 2 ended: {sweep.values(i)}" for i in (0, 1)]
    assert before == (dict(os.environ), signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT))
    assert [(t.trial, t.values, t.scores) for t in trials] == [
        (t.trial, t.values, t.scores) for t in local[1]
    ]
    assert lines(sweep.folder) == lines(local[0].folder)
    assert weights(sweep) == weights(local[0])


def diverging(monkeypatch, trial):
    plain = sweeps.train_recipe

    def train(entry, recipe, folder, *args, **options):
        if folder.name.endswith(str(trial)):
            raise MienError(f"{folder}: the loss is not finite at step 1; lower --optim.lr or clip")
        return plain(entry, recipe, folder, *args, **options)

    monkeypatch.setattr(sweeps, "train_recipe", train)


def test_a_diverging_trial_is_a_result_and_is_not_run_again(tmp_path, monkeypatch):
    diverging(monkeypatch, 1)
    sweep = search(tmp_path / "s")
    trials = run_sweep(sweep)
    assert trials[1].error
    assert trials[1].score == -math.inf
    assert best(trials).trial == 0
    monkeypatch.setattr(sweeps, "train_recipe", None)
    assert run_sweep(sweep) == trials
    with pytest.raises(ConfigError, match="other settings"):
        run_sweep(search(sweep.folder, space={"optim.lr": Uniform(0, 1)}, trials=2))


def test_other_errors_end_the_search(tmp_path, monkeypatch):
    def full(*args, **options):
        raise MienError("the disk is full")

    monkeypatch.setattr(sweeps, "train_recipe", full)
    with pytest.raises(MienError, match="disk is full"):
        run_sweep(search(tmp_path / "s"))


def test_the_best_is_the_first_of_the_highest():
    def made(*scores):
        return [Trial(i, {}, {} if s is None else {"val": s, "loss": 9.0}, 1.0) for i, s in enumerate(scores)]

    assert best(made(0.1, 0.5, 0.5, float("nan"))).trial == 1
    assert best(made(None, -3.0)).trial == 1
    with pytest.raises(MienError, match="finite validation"):
        best(made(None, float("nan")))


def test_data_without_validation_cannot_be_searched(tmp_path, monkeypatch):
    plain = method("ncl").load("task").build
    monkeypatch.setattr("mien.methods.ncl.task.build", lambda r, u: replace(plain(r, u), validate=None))
    with pytest.raises(ConfigError, match="no validation split"):
        run_sweep(search(tmp_path / "s"))


@pytest.mark.parametrize(
    ("space", "text"),
    [
        ({"optim.lr": LogUniform(5, 6)}, r"trial 1 .*optim.lr=.* is outside"),
        ({"schedule.batch": Uniform(3.1, 3.9)}, r"trial 1 .*expected int"),
        ({"schedule.steps": Uniform(1, 2)}, "same budget"),
    ],
)
def test_bad_draws_are_found_before_anything_is_trained(tmp_path, space, text):
    with pytest.raises(ConfigError, match=text):
        search(tmp_path / "s", space=space)
    assert not (tmp_path / "s").exists()


def test_threads_come_back():
    before = torch.get_num_threads()
    with sweeps.threads(before + 1):
        assert torch.get_num_threads() == before + 1
    with sweeps.threads(None):
        assert torch.get_num_threads() == before
    assert torch.get_num_threads() == before


@pytest.fixture
def space_file(tmp_path):
    path = tmp_path / "space.toml"
    path.write_text('[space]\n"optim.lr" = {kind = "log_uniform", low = -3, high = -1}\n')
    return str(path)


def test_the_verb(tmp_path, capsys, space_file):
    words = ["sweep", "ncl", "--preset", "debug", "--trials", "2", "--space", space_file, "--lam", "0.5"]
    words += ["--output", str(tmp_path / "s")]
    assert main([*words, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert set(answer) == {"method", "backend", "seed", "rule", "best", "trials"}
    assert (answer["backend"], answer["seed"]) == ("local", 100)
    assert answer["rule"] == "validation single, highest"
    assert [t["trial"] for t in answer["trials"]] == [0, 1]
    assert answer["best"] in answer["trials"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "best by validation single, highest: trial" in said
    assert "again with: mien train ncl --preset debug --lam 0.5" in said
    assert "lam = 0.5" in (tmp_path / "s" / "trial-001" / "config.toml").read_text()


def test_the_command_that_trains_the_best_again(tmp_path, capsys, monkeypatch):
    from mien.cli import sweep as verb
    from mien.cli.train import parse_recipe

    space = {
        "optim.lr": LogUniform(-3, -1),
        "method.lam_intra": Uniform(0, 1),
        "schedule.batch": Choice((16,)),
    }
    sweep = search(tmp_path, space=space, recipe=RECIPES["debug"]())
    made = Trial(1, sweep.values(1), {"single": 0.9}, 1.0)
    verb._show(sweep, [Trial(0, sweep.values(0), {}, 0.0, "not finite"), made], ["--preset", "debug"])
    said = capsys.readouterr().out
    assert "trial 0 diverged: not finite" in said
    command = said.split("again with: mien train ncl ")[1].split()
    assert parse_recipe("ncl", command)[0] == sweep.recipe_of(1)


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        ([], 2, "declares no search space"),
        (["--space", "/nowhere.toml"], 1, "no such file"),
        (["--trials", "0"], 2, "sweep.trials=0"),
        (["--cores", "0"], 2, "sweep.cores=0"),
        (["--address", "auto"], 2, "add --backend ray"),
        (["--backend", "slurm"], 2, "--backend"),
        (["--optim.lrr", "1"], 2, "--optim.lr"),
        (["--max-steps", "3"], 2, "--max-steps"),
        (["--from", "teacher=ncl/small", "--space", "SPACE"], 2, "ncl has: none"),
    ],
)
def test_wrong_use_is_one_line(capsys, space_file, words, code, text):
    words = [space_file if w == "SPACE" else w for w in words]
    assert main(["sweep", "ncl", "--preset", "debug", *words]) == code
    error = capsys.readouterr().err
    assert text in error
    assert error.count("\n") == 1


def test_one_process_only(capsys, space_file, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["sweep", "ncl", "--preset", "debug", "--space", space_file]) == 2
    assert "one process" in capsys.readouterr().err


def test_ray_that_is_not_installed(tmp_path, monkeypatch):
    def missing(package, *, extra):
        raise ConfigError(f"{package} is not installed; it is needed here: pip install 'mien[{extra}]'")

    monkeypatch.setattr(sweeps, "require", missing)
    with pytest.raises(ConfigError, match=r"mien\[sweep\]"):
        run_sweep(search(tmp_path / "s"), Cluster())
