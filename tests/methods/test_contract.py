"""What every method must do, ours or a plug-in's: build, three steps, save, load, predict, evaluate."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mien.cli.train import stages_of
from mien.core import io
from mien.core.catalogue import method, ready
from mien.core.config import hash_recipe, recipe_from_dict, save_recipe, to_dict
from mien.core.protocol import Evaluation
from mien.engine.folder import open_folder, read_recipe
from mien.engine.stages import read_uses, train_recipe, train_stages
from mien.engine.task import Clock, Rng, Task


@pytest.fixture(scope="module", params=ready())
def trained(request, tmp_path_factory):
    entry = method(request.param)
    folder = tmp_path_factory.mktemp(request.param)
    recipe = entry.load("config").RECIPES["debug"]()
    train_stages(entry, stages_of(entry.name, recipe, recipe), folder, {})
    return entry, folder


def test_a_run_folder_is_a_model(trained):
    entry, folder = trained
    model = open_folder(folder)
    assert model.method == entry.name
    measured = entry.load("evaluate").evaluate(model, Evaluation("test"))
    assert all(np.isfinite(v) or np.isnan(v) for v in measured.metrics.values())
    lengths = {len(v) for v in measured.units.values()}
    assert len(lengths) == 1
    predictor = entry.load("predict").Predictor.from_folder(model)
    assert predictor.predict(np.zeros((20, 30, 3), np.uint8))


def test_the_same_seed_gives_the_same_bits_and_another_does_not(trained, tmp_path):
    entry, folder = trained
    recipe = entry.load("config").RECIPES["debug"]()
    train_recipe(entry, recipe, tmp_path / "again", read_uses(folder))
    assert io.sha256(tmp_path / "again/weights.safetensors") == io.sha256(folder / "weights.safetensors")
    from dataclasses import replace

    train_recipe(entry, replace(recipe, seed=1), tmp_path / "other", read_uses(folder))
    assert io.sha256(tmp_path / "other/weights.safetensors") != io.sha256(folder / "weights.safetensors")


def test_the_loss_is_repeatable_and_calls_no_backward(trained):
    entry, folder = trained
    experiment = entry.load("task").build(entry.load("config").RECIPES["debug"](), read_uses(folder))
    experiment.task.place_held(torch.device("cpu"))
    task = experiment.task
    if not isinstance(task, Task):
        pytest.skip("owns its optimisers")
    batch = next(experiment.source.stream(0, 0, 1))[0]
    task.eval()
    outs = [task.loss(batch, Clock(0, 3, 3), Rng(1)) for _ in range(2)]
    assert torch.equal(outs[0].loss, outs[1].loss)
    assert outs[0].loss.requires_grad
    assert all(p.grad is None for p in task.parameters())


def test_every_recipe_survives_a_file(trained, tmp_path):
    entry, _ = trained
    for name, make in entry.load("config").RECIPES.items():
        recipe = make()
        save_recipe(tmp_path / f"{name}.toml", entry.name, recipe)
        found, again = read_recipe(tmp_path / f"{name}.toml")
        assert found == entry.name
        assert again == recipe
        assert hash_recipe(again) == hash_recipe(recipe)
        assert recipe_from_dict(to_dict(recipe), recipe) == recipe


def test_the_protocol_hangs_together(trained):
    entry, _ = trained
    protocol = entry.load("protocol")
    rows = {r.id: r for r in protocol.ROWS}
    assert len(rows) == len(protocol.ROWS)
    assert protocol.MAIN in rows
    assert len({c.id for c in protocol.CLAIMS}) == len(protocol.CLAIMS)
    for claim in protocol.CLAIMS:
        assert set(claim.rows) <= set(rows)
        assert len(claim.metrics()) == len(claim.rows)
        assert all(rows[r].group == "claims" for r in claim.rows)
        assert all(claim.eval in {e.id for e in rows[r].evals} for r in claim.rows)
    trained_rows = {r.stages[-1].id for r in protocol.ROWS if r.group == "claims" and r.stages}
    assert len(trained_rows) <= 6
    schedules = [
        (len(r.stages), r.stages[-1].recipe.schedule)
        for r in protocol.ROWS
        if r.group == "claims" and r.stages
    ]
    budgets = {(length, s.epochs, s.steps, s.batch) for length, s in schedules}
    lengths = {length for length, _ in schedules}
    assert len(budgets) == len(lengths), "rows of a claim share steps and images seen"


def test_readme_exists_and_names_the_paper(trained):
    entry, _ = trained
    from pathlib import Path

    import mien

    text = (Path(mien.__file__).parent / "methods" / entry.name / "README.md").read_text()
    assert entry.paper in text
    assert "results:" in text
