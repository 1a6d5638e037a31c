"""Chains of recipes: each stage goes on from the one before, on the same data."""

from __future__ import annotations

import pytest

from mien.methods.car.net import ORDER
from mien.methods.car.protocol import CHAINS


@pytest.mark.parametrize("name", ["small", "debug", "paper"])
def test_a_chain_ends_in_its_recipe(name):
    stages = CHAINS[f"car-{name}"]
    assert [s.recipe.method.stage for s in stages] == list(ORDER)
    assert [s.recipe.name for s in stages] == [f"car-{name}-normal", f"car-{name}-sdf", f"car-{name}"]
    assert stages[-1].id == name
    assert [dict(s.uses) for s in stages] == [{}, {"before": "normal"}, {"before": "sdf"}]


@pytest.mark.parametrize("name", ["small", "debug", "paper"])
def test_stages_of_a_chain_have_one_net(name):
    """What an earlier stage has learnt fits: settings differ in the stage alone."""
    from dataclasses import replace

    methods = [s.recipe.method for s in CHAINS[f"car-{name}"]]
    assert len({replace(m, stage="hyper") for m in methods}) == 1


def test_made_sets_are_drawn_once():
    for name in ("small", "debug"):
        assert len({s.recipe.data for s in CHAINS[f"car-{name}"]}) == 1
