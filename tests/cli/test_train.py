"""What the user changed of the last stage of a chain reaches the earlier ones."""

from dataclasses import replace

import pytest

from mien.cli.train import stages_of
from mien.methods.otavatar.config import RECIPES


@pytest.mark.parametrize(
    ("given", "earlier"),
    [
        (4, 32),  # nothing changed: the prior's own
        (1, 1),  # smaller, for memory
        (8, 32),  # larger, meant for the last stage
    ],
)
def test_batches_of_a_chain_with_different_ones(given, earlier):
    base = RECIPES["paper"]()
    recipe = replace(base, schedule=replace(base.schedule, batch=given))
    assert [s.recipe.schedule.batch for s in stages_of("otavatar", base, recipe)] == [earlier, given]


def test_data_of_a_chain_follow():
    base = RECIPES["paper"]()
    recipe = replace(base, data=replace(base.data, val_people=2), seed=3)
    first, last = (s.recipe for s in stages_of("otavatar", base, recipe))
    assert first.data == last.data == recipe.data
    assert first.seed == 3
