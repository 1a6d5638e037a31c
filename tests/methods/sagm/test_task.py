from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from mien.core import io
from mien.core.catalogue import method
from mien.core.config import evolve_all
from mien.core.errors import ConfigError, DataError, WeightsError
from mien.core.protocol import Evaluation
from mien.engine.folder import open_folder
from mien.engine.stages import train_recipe
from mien.engine.task import Clock, Rng
from mien.methods.sagm.config import RECIPES, SagmConfig
from mien.methods.sagm.evaluate import MATCHED, evaluate, evaluate_many, looks, matched_gap, restore
from mien.methods.sagm.task import build

ADAM = {"optim.kind": "adam", "optim.base": None, "optim.rho": None, "optim.alpha": None}


def recipe(**changes):
    return evolve_all(RECIPES["debug"](), {k.replace("__", "."): v for k, v in changes.items()})


def trained(folder, **changes):
    scores = train_recipe(method("sagm"), recipe(**changes), folder)
    return open_folder(folder), scores


@pytest.mark.parametrize("algorithm", ["erm", "coral", "irm", "groupdro", "mixup"])
def test_every_algorithm_trains(tmp_path, algorithm):
    _, scores = trained(tmp_path, method__algorithm=algorithm)
    assert all(np.isfinite(v) for v in scores.values())
    assert next(iter(scores)) == "source_out"


def test_no_radius_and_no_alpha_is_the_base_to_the_bit(tmp_path):
    zero, _ = trained(tmp_path / "a", optim__rho=0.0, optim__alpha=0.0, schedule__steps=8)
    train_recipe(method("sagm"), evolve_all(recipe(schedule__steps=8), ADAM), tmp_path / "b")
    assert io.sha256(zero.weights) == io.sha256(tmp_path / "b/weights.safetensors")


def test_groupdro_weights_move_once_a_step_and_are_repeatable_within_it():
    experiment = build(recipe(method__algorithm="groupdro"), {})
    task, batch = experiment.task.train(), next(experiment.source.stream(0, 0, 1))[0]
    first = task.loss(batch, Clock(0, 3, 3), Rng(1)).loss
    share = task.share.clone()
    assert not torch.equal(share, torch.full((2,), 0.5))
    assert torch.equal(task.loss(batch, Clock(0, 3, 3), Rng(1)).loss, first)
    assert torch.equal(task.share, share)
    task.loss(batch, Clock(1, 3, 3), Rng(1))
    assert not torch.equal(task.share, share)


def test_frozen_batch_normalisation_trains_its_affine_weights_only(tmp_path):
    made = build(recipe(method__backbone="smallconv-4", method__frozen_bn=True), {}).task.net
    frozen, _ = trained(tmp_path, method__backbone="smallconv-4", method__frozen_bn=True)
    after = restore(frozen)
    norms = [
        (a, b) for a, b in zip(made.modules(), after.modules(), strict=True) if isinstance(a, nn.BatchNorm2d)
    ]
    assert norms
    for a, b in norms:
        assert torch.equal(a.running_mean, b.running_mean)
        assert not torch.equal(a.weight, b.weight)
    assert not any(m.training for m in made.train().modules() if isinstance(m, nn.BatchNorm2d))


def test_settings_that_do_not_apply():
    with pytest.raises(ConfigError, match="does not apply to kind='erm'"):
        SagmConfig(coral_weight=1.0)
    with pytest.raises(DataError, match="is not a multiple of 2 source domains"):
        build(recipe(schedule__batch=7), {}).source.steps_per_epoch(1)


def test_weights_that_were_not_kept_are_named(tmp_path):
    folder, _ = trained(tmp_path, schedule__swad=None)
    with pytest.raises(WeightsError, match=r"no swad\.safetensors"):
        evaluate(folder, Evaluation("swad", select="swad"))
    assert evaluate(folder, Evaluation("iid", select="iid")).metrics["acc"] >= 0


def test_several_models_are_one_line_and_rules_read_the_looks(tmp_path):
    folders = [
        trained(tmp_path / "-".join(names), data__held_out=names)[0]
        for names in (("blue",), ("red",), ("green",), ("blue", "red"), ("blue", "green"), ("green", "red"))
    ]
    each = [evaluate(f, Evaluation("last")) for f in folders[:3]]
    joined = evaluate_many(folders[:3], Evaluation("last"))
    assert joined.metrics["acc"] == pytest.approx(np.mean([m.metrics["acc"] for m in each]))
    assert np.array_equal(joined.units["acc"], np.concatenate([m.units["acc"] for m in each]))
    assert joined.metrics["acc_red"] == each[1].metrics["acc_red"]
    assert [r["step"] for r in looks(folders[0])] == [1, 2, 3]
    for rule in ("iid", "oracle", "loo", "last"):
        found = evaluate_many(folders, Evaluation(rule, select=rule, options={"rule": rule}))
        assert set(found.metrics) == {"acc", "acc_blue", "acc_green", "acc_red"}
    last = evaluate_many(folders[:3], Evaluation("last", options={"rule": "last"}))
    assert last.metrics["acc"] == pytest.approx(joined.metrics["acc"])
    with pytest.raises(ConfigError, match="rule 'loo' needs"):
        evaluate_many(folders[:3], Evaluation("loo", options={"rule": "loo"}))


def test_matched_gap_by_hand():
    curve = [(2.0, 0.0), (1.0, 1.0), (0.5, 3.0)]
    assert matched_gap(curve, (1.5,)) == pytest.approx(0.5)
    assert matched_gap(curve, (1.5, 0.75)) == pytest.approx((0.5 + 2.0) / 2)
    assert np.isnan(matched_gap(curve, (0.4,)))
    assert np.isnan(matched_gap([(0.5, 1.0)], MATCHED))
