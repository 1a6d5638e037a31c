from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch

from mien.core.config import OptimConfig, ScheduleConfig
from mien.core.errors import ConfigError
from mien.optim.build import build_optimizer, lr_factor, set_lr
from mien.optim.sam import SAM


def weights():
    return [torch.zeros(2, requires_grad=True)]


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        (OptimConfig("sgd"), torch.optim.SGD),
        (OptimConfig("adam", lr=1e-3), torch.optim.Adam),
        (OptimConfig("adamw", lr=1e-3, weight_decay=0.05), torch.optim.AdamW),
    ],
)
def test_plain_optimisers(config, kind):
    optimizer = build_optimizer(config, weights())
    assert type(optimizer) is kind
    assert optimizer.param_groups[0]["lr"] == config.lr
    assert optimizer.param_groups[0]["weight_decay"] == config.weight_decay


def test_sgd_is_nesterov_unless_without_momentum():
    group = build_optimizer(OptimConfig("sgd"), weights()).param_groups[0]
    assert (group["momentum"], group["nesterov"]) == (0.9, True)
    group = build_optimizer(OptimConfig("sgd", momentum=0.0), weights()).param_groups[0]
    assert (group["momentum"], group["nesterov"]) == (0.0, False)


@pytest.mark.parametrize("base", [None, "sgd", "adam", "adamw"])
def test_sam_wraps_its_base(base):
    optimizer = build_optimizer(OptimConfig("sam", lr=0.01, base=base, rho=0.2), weights())
    assert isinstance(optimizer, SAM)
    assert optimizer.rho == 0.2
    kinds = {
        None: torch.optim.SGD,
        "sgd": torch.optim.SGD,
        "adam": torch.optim.Adam,
        "adamw": torch.optim.AdamW,
    }
    assert type(optimizer.base) is kinds[base]
    assert optimizer.param_groups[0]["lr"] == 0.01


def test_sam_default_radius_and_none():
    assert build_optimizer(OptimConfig("sam"), weights()).rho == 0.05
    assert build_optimizer(OptimConfig("sam", rho=0.0), weights()).rho == 0.0


def test_groups_keep_their_own_decay():
    a, b = weights(), weights()
    groups = [{"params": a, "weight_decay": 0.0}, {"params": b}]
    optimizer = build_optimizer(OptimConfig("sgd", weight_decay=0.1), groups)
    assert [g["weight_decay"] for g in optimizer.param_groups] == [0.0, 0.1]


def test_cosine_runs_from_one_to_its_end():
    schedule = ScheduleConfig(lr_rule="cosine", lr_end=0.1)
    factors = [lr_factor(schedule, s, 100, 10) for s in range(101)]
    assert factors[0] == 1.0
    assert factors[50] == pytest.approx(0.55)
    assert factors[100] == pytest.approx(0.1)
    assert all(a >= b for a, b in pairwise(factors))
    assert lr_factor(schedule, 130, 100, 10) == pytest.approx(0.1)


def test_multistep_falls_at_its_epochs():
    schedule = ScheduleConfig(lr_rule="multistep", milestones=(3, 4.5), gamma=0.1)
    assert [lr_factor(schedule, s, 60, 10) for s in (0, 29, 30, 44, 45, 59)] == pytest.approx(
        [1, 1, 0.1, 0.1, 0.01, 0.01]
    )


def test_constant():
    assert lr_factor(ScheduleConfig(lr_rule="constant"), 7, 10, 5) == 1.0


@pytest.mark.parametrize("rule", ["cosine", "multistep", "constant"])
def test_warm_up_follows_the_released_formula(rule):
    """1/3 (1 - e/5) + e/5 in epoch e of 5."""
    schedule = ScheduleConfig(lr_rule=rule, warmup_epochs=5)
    for epoch in range(5):
        expected = (1 - epoch / 5) / 3 + epoch / 5
        assert lr_factor(schedule, 10 * epoch, 1000, 10) == pytest.approx(expected)
    after = 0.5 * (1 + math.cos(math.pi * 0.05)) if rule == "cosine" else 1.0
    assert lr_factor(schedule, 50, 1000, 10) == pytest.approx(after)


def test_set_lr_is_relative_to_the_peak_of_each_group():
    optimizer = torch.optim.SGD([{"params": weights(), "lr": 0.5}, {"params": weights()}], 0.1)
    for factor in (0.1, 0.5, 1.0):
        set_lr(optimizer, factor)
        assert [g["lr"] for g in optimizer.param_groups] == pytest.approx([0.5 * factor, 0.1 * factor])


def test_set_lr_survives_a_reload():
    optimizer = torch.optim.SGD(weights(), 0.1)
    set_lr(optimizer, 0.01)
    again = torch.optim.SGD(weights(), 0.1)
    again.load_state_dict(optimizer.state_dict())
    set_lr(again, 1.0)
    assert again.param_groups[0]["lr"] == pytest.approx(0.1)


def test_poly_falls_after_the_warm_up():
    """The page's example: base .1, no warm-up, 100 steps, power 2."""
    schedule = ScheduleConfig(lr_rule="poly", power=2.0)
    found = [0.1 * lr_factor(schedule, k, 100, 10) for k in (0, 1, 50, 99)]
    assert found == pytest.approx([0.1, 0.09801, 0.025, 1e-5])
    warm = ScheduleConfig(lr_rule="poly", warmup_epochs=2, warmup_start=0.0)
    assert [lr_factor(warm, k, 100, 10) for k in (0, 10, 20, 60)] == pytest.approx([0, 0.5, 1, 0.5])
    with pytest.raises(ConfigError, match=r"power does not apply to kind='cosine'"):
        ScheduleConfig(power=2.0)
