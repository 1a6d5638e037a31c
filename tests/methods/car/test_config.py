"""Settings that do not fit together are refused; the published sizes are the paper's."""

from __future__ import annotations

import pytest
import torch

from mien.core.config import hash_recipe
from mien.core.errors import ConfigError
from mien.methods.car.config import RECIPES, CarConfig
from mien.methods.car.net import CarNet
from mien.nn.implicit import SDFNet


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"channels": 0}, "channels=0"),
        ({"coarse": 4}, "coarse=4"),
        ({"iters": -1}, "iters=-1"),
        ({"octaves": 17}, "octaves=17"),
        ({"radius": 0.0}, "radius=0"),
        ({"sign": -0.1}, "sign=-0.1"),
        ({"features": ("image", "body")}, "must be of image and normal"),
    ],
)
def test_refused(changes, says):
    with pytest.raises(ConfigError, match=says):
        CarConfig(**changes)


def test_recipes_have_their_names_and_are_all_different():
    assert {name: r().name for name, r in RECIPES.items()} == {n: f"car-{n}" for n in RECIPES}
    assert len({hash_recipe(r()) for r in RECIPES.values()}) == len(RECIPES)


def numbers(net):
    return sum(p.numel() for p in net.parameters())


def test_the_published_sizes():
    """Page of the method, 2.2 to 2.6; F counted from its widths: a skip at 4 leaves 512 - 262 before it."""
    config = RECIPES["paper"]().method
    with torch.device("meta"):
        net = CarNet(config, 24)
        target = SDFNet(config.dims, config.dims_skips)
    assert numbers(target) == 687_864
    heads = numbers(net.hyper.heads)
    assert round(heads / 1e6, 1) == 177.4
    assert round(numbers(net.hyper.encoder) / 1e6, 2) == 0.26
    first, inner, before = 262 * 512 + 512, 512 * 512 + 512, 512 * 250 + 250
    assert numbers(net.field.field) == first + 4 * inner + before + 513
    assert [layer.weight.shape[1] for layer in net.field.field.linears] == [262, *[512] * 6]
    assert (config.inputs, config.radius, config.two_sided, config.normal_transport) == (
        3, 1.5, False, "official",
    )  # fmt: skip
    recipe = RECIPES["paper-sdf"]()
    assert (recipe.optim.kind, recipe.optim.lr, recipe.schedule.epochs, recipe.schedule.batch) == (
        "adam", 1e-3, 10, 4,
    )  # fmt: skip
    assert recipe.schedule.milestones == (3, 6)
    assert (recipe.data.surface, recipe.data.near, recipe.data.box) == (8192, 8192, 2048)


def test_the_small_model_fits_a_package():
    """At most 2 bytes a weight of 6 MB."""
    with torch.device("meta"):
        net = CarNet(RECIPES["small"]().method, 19)
    assert round(numbers(net.normal) / 1e6, 1) == 1.0
    assert numbers(net.hyper.heads) < 0.5e6
    assert 2 * numbers(net) < 6e6
