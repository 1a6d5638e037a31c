"""From recipes to training: every row, the paper's sizes on its data's layout, the same bits again."""

import json

import pytest
import torch
from safetensors.torch import load_file

from mien.core import catalogue
from mien.core.errors import ConfigError
from mien.data.capsule_sets import capsule_set
from mien.data.config import CapsuleData
from mien.engine.task import Clock, Rng
from mien.methods.igc_net.config import _ROWS, RECIPES
from mien.methods.igc_net.task import at_hand, build, configs, fingerprint, fitted_features
from mien.methods.phycine.config import RECIPES as OTHERS
from tests.data.capsule_fixtures import write_celeba
from tests.methods.igc_net.debug import ENTRY, recipe, train


def weights(folder):
    return load_file(folder / "weights.safetensors")


@pytest.mark.parametrize("changes", [{}, *_ROWS.values()], ids=["debug", *_ROWS])
def test_every_row_takes_its_last_step(changes):
    own = recipe(**{k.replace(".", "__"): 8 if k == "method.width" else v for k, v in changes.items()})
    experiment = build(own, {})
    (batch,) = next(experiment.source.stream(2, 0, 1))
    loss = experiment.task.loss(batch, Clock(2, 3, 3), Rng(0)).loss
    loss.backward()
    assert loss.isfinite()
    grads = [p.grad for p in experiment.task.exported().parameters() if p.grad is not None]
    assert all(bool(g.isfinite().all()) for g in grads)
    assert grads


def test_a_run_goes_on_as_if_it_had_not_been_cut(tmp_path, monkeypatch):
    table = tuple(ENTRY if entry.name == "igc_net" else entry for entry in catalogue._TABLE)
    monkeypatch.setattr(catalogue, "_TABLE", table)
    own = recipe()
    cut = train(tmp_path / "cut", own, max_steps=2)
    assert json.loads((cut / "run.json").read_text())["steps"] == 2
    early, whole = weights(cut), weights(train(tmp_path / "whole", own))
    late = weights(train(cut, own))
    assert all(torch.equal(v, late[k]) for k, v in whole.items())
    assert not all(torch.equal(v, early[k]) for k, v in whole.items())
    other = weights(train(tmp_path / "other", recipe(seed=1)))
    assert not torch.equal(whole["queries"], other["queries"])
    facts = json.loads((cut / "facts.json").read_text())
    assert facts["data"] == {"note": "6 heads that are formulas, 4 pictures of each, 32 px", "real": False}


def test_the_papers_sizes_run_on_the_layout_of_celeba(tmp_path):
    write_celeba(tmp_path / "celeba", 8)
    own = recipe("paper", data__root=str(tmp_path / "celeba"), schedule__batch=2)
    folder = train(tmp_path / "run", own, max_steps=2)
    assert json.loads((folder / "run.json").read_text())["steps"] == 2
    assert sum(v.numel() for v in weights(folder).values()) > 20_000_000
    facts = json.loads((folder / "facts.json").read_text())
    assert facts["data"]["real"]
    assert facts["data"]["note"].endswith("in the layout of celeba, 64 px")


def test_semantics_start_from_clusters_of_the_faces():
    faces = capsule_set(configs(recipe())[1], "train")
    features, centres = fitted_features(faces, 3, 0)
    assert centres.shape == (3, 2 * len(features.axes))
    assert bool((centres >= 0).all())
    apart = torch.cdist(centres, centres)
    assert bool((apart[~torch.eye(3, dtype=torch.bool)] > 0.1).all())
    assert torch.equal(centres, fitted_features(faces, 3, 0)[1])
    assert fitted_features(faces, 1, 0)[1] is None


def test_made_and_users_data_have_names():
    data = configs(recipe())[1]
    assert at_hand(recipe())
    assert fingerprint(data) == fingerprint(CapsuleData(**{**vars(data), "workers": 2}))
    assert fingerprint(data) != fingerprint(CapsuleData(**{**vars(data), "set_seed": 1}))
    celeba = CapsuleData(kind="celeba", root="/nowhere")
    assert fingerprint(celeba) == fingerprint(CapsuleData(kind="celeba"))


def test_recipes_of_other_methods_are_refused():
    with pytest.raises(ConfigError, match="not one of igc_net's"):
        configs(OTHERS["debug"]())
    assert at_hand(RECIPES["debug"]())
