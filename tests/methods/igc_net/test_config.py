"""Recipes and ranges."""

import pytest

from mien.core.config import hash_recipe
from mien.core.errors import ConfigError
from mien.methods.igc_net.config import _ROWS, RECIPES, IgcNetConfig


def test_rows_differ_from_the_small_recipe_and_share_its_budget():
    small = RECIPES["small"]()
    hashes = {hash_recipe(small)}
    for name in _ROWS:
        row = RECIPES[f"small-{name}"]()
        assert (row.data, row.optim, row.schedule) == (small.data, small.optim, small.schedule)
        hashes.add(hash_recipe(row))
    assert len(hashes) == 1 + len(_ROWS)


def test_published_sizes():
    paper = RECIPES["paper"]()
    assert (paper.method.width, paper.data.size, paper.schedule.batch, paper.schedule.epochs) == (
        64,
        64,
        64,
        30,
    )
    assert (paper.optim.lr, paper.optim.weight_decay) == (1e-4, 5e-4)


@pytest.mark.parametrize(
    "wrong", [{"parts": 0}, {"front": 1.2}, {"cycle": -1.0}, {"common_rate": -0.1}, {"width": 10}]
)
def test_values_outside_their_ranges(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        IgcNetConfig(**wrong)
