from __future__ import annotations

import dataclasses

import pytest

from mien.core.config import evolve, evolve_all, hash_recipe, read_recipe_file, recipe_from_dict, save_recipe
from mien.core.errors import ConfigError
from mien.methods.ncl import protocol
from mien.methods.ncl.config import RECIPES, NclConfig, PredictOptions

SMALL = RECIPES["small"]()


@pytest.mark.parametrize("name", list(RECIPES))
def test_every_recipe_survives_a_file(name, tmp_path):
    recipe = RECIPES[name]()
    save_recipe(tmp_path / "config.toml", "ncl", recipe)
    method, values = read_recipe_file(tmp_path / "config.toml")
    again = recipe_from_dict(values, SMALL)
    assert method == "ncl"
    assert again == recipe
    assert type(again.method) is type(recipe.method)
    assert type(again.data) is type(recipe.data)
    assert hash_recipe(again) == hash_recipe(recipe)


@pytest.mark.parametrize("name", list(RECIPES))
def test_recipes_are_frozen_and_named(name):
    recipe = RECIPES[name]()
    assert recipe.name.startswith("ncl-")
    assert recipe.seed == 0
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.method.lam = 1.0


def test_recipes_hold_the_schedules_of_the_page():
    """Section 2.8 of the method."""
    cifar, imagenet, places, inat = (
        RECIPES[f"paper-{n}"]() for n in ("cifar100_lt", "imagenet_lt", "places_lt", "inat2018")
    )
    assert (cifar.method.experts, cifar.method.copies, cifar.method.n_hard) == (2, 4, 30)
    assert (cifar.schedule.epochs, cifar.schedule.batch, cifar.optim.lr) == (400, 64, 0.1)
    assert cifar.schedule.milestones == (320, 360)
    assert cifar.schedule.warmup_epochs == 5
    assert [r.method.n_hard for r in (imagenet, places, inat)] == [300, 122, 2442]
    assert [r.method.scale for r in (imagenet, places, inat)] == [16.0, 16.0, 32.0]
    assert [r.method.backbone for r in (imagenet, places, inat)] == ["resnet50", "resnet152", "resnet50"]
    assert [(r.schedule.epochs, r.schedule.batch) for r in (imagenet, places, inat)] == [
        (200, 256),
        (30, 256),
        (400, 512),
    ]
    assert [r.optim.lr for r in (imagenet, places, inat)] == [0.2, 0.02, 0.2]
    assert imagenet.optim.lr * imagenet.schedule.lr_end == pytest.approx(1e-4)
    assert places.schedule.milestones == (10, 20)
    for recipe in (cifar, imagenet, places, inat):
        assert recipe.optim.weight_decay == 2e-4
        assert recipe.method.lam == 0.6


def test_debug_is_tiny():
    debug = RECIPES["debug"]()
    assert debug.data.kind == "debug"
    assert debug.schedule.steps == 3


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("experts", 0),
        ("copies", 0),
        ("n_hard", -1),
        ("hard_ratio", 1.5),
        ("hard_ratio", float("nan")),
        ("lam", -0.1),
        ("lam", float("nan")),
        ("lam_intra", float("inf")),
        ("weight", -1.0),
        ("scale", float("nan")),
        ("shared_stages", -1),
        ("drw_start", 1.1),
    ],
)
def test_settings_out_of_range(path, value):
    with pytest.raises(ConfigError, match=rf"method\.{path}="):
        evolve(SMALL, f"method.{path}", value)


@pytest.mark.parametrize("loss", ["ce", "ldam"])
def test_baselines_have_no_collaboration(loss):
    with pytest.raises(ConfigError, match="baseline"):
        NclConfig(loss=loss)
    head = {"head": "cosine", "scale": 30.0} if loss == "ldam" else {}
    NclConfig(loss=loss, inter=False, intra=False, n_hard=0, **head)
    for kept in ({"inter": True}, {"intra": True}, {"n_hard": 3}, {"n_hard": None}):
        with pytest.raises(ConfigError, match="baseline"):
            NclConfig(loss=loss, **({"inter": False, "intra": False, "n_hard": 0} | kept))


@pytest.mark.parametrize("wrong", [{"head": "linear", "scale": 30.0}, {"head": "cosine", "scale": 16.0}])
def test_ldam_needs_cosines_of_its_own_scale(wrong):
    with pytest.raises(ConfigError, match="ldam_scale"):
        NclConfig(loss="ldam", inter=False, intra=False, n_hard=0, **wrong)


def test_several_changes_only_need_to_be_valid_together():
    found = evolve_all(
        SMALL, {"method.loss": "ce", "method.inter": False, "method.intra": False, "method.n_hard": 0}
    )
    assert found.method.loss == "ce"


def test_predict_options_default_to_the_balanced_ensemble():
    assert PredictOptions().mode == "ensemble"
    assert PredictOptions().test_prior == ()


# ---------------------------------------------------------------- protocol


def test_claims_speak_of_rows_that_exist():
    rows = {row.id: row for row in protocol.ROWS}
    assert len(rows) == len(protocol.ROWS)
    assert protocol.MAIN in rows
    for claim in protocol.CLAIMS:
        assert len(claim.metrics()) == len(claim.rows)
        assert set(claim.rows) <= set(rows)
        for row in claim.rows:
            assert rows[row].group == "claims"
            assert claim.eval in {e.id for e in rows[row].evals}


def test_the_minimum_of_claims_is_there():
    kinds = {c.id: c.kind for c in protocol.CLAIMS}
    for name in ("bsce_over_ce", "expert_kl", "copy_kl"):
        assert kinds[name] == "mechanism"
    for name in ("nclpp_single", "ensemble", "hcm"):
        assert kinds[name] == "paper"


def test_claimed_rows_share_budget_and_seeds():
    assert protocol.SEEDS == (0, 1, 2, 3, 4)
    trained = {row.stages[-1].id: row.stages[-1].recipe for row in protocol.ROWS if row.group == "claims"}
    assert len(trained) <= 6
    for recipe in trained.values():
        assert recipe.schedule == SMALL.schedule
        assert recipe.data == SMALL.data
        assert recipe.optim == SMALL.optim


def test_fair_baseline_has_the_loss_scale_and_copies_of_the_method():
    recipes = {row.id: row.stages[-1].recipe.method for row in protocol.ROWS}
    ours, fair, no_hcm = recipes["nclpp"], recipes["independent"], recipes["no_hcm"]
    assert (fair.experts, fair.copies) == (ours.experts, ours.copies)
    assert (fair.inter, fair.intra, fair.n_hard, fair.weight) == (False, False, 0, 2.0)
    assert (no_hcm.inter, no_hcm.intra, no_hcm.n_hard, no_hcm.weight) == (True, True, 0, 2.0)


def test_rows_train_different_things():
    hashes = {row.stages[-1].id: hash_recipe(row.stages[-1].recipe) for row in protocol.ROWS}
    assert len(set(hashes.values())) == len(hashes)
