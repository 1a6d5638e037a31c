"""Settings that do not fit together are refused; the published sizes are the paper's."""

from __future__ import annotations

import pytest
import torch

from mien.core.config import hash_recipe
from mien.core.errors import ConfigError
from mien.methods.otavatar.config import RECIPES, OtavatarConfig
from mien.methods.otavatar.model import AvatarNet, build_generator
from mien.methods.otavatar.protocol import CHAINS
from mien.methods.otavatar.task import load_prior


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"stage": "prior", "inner_steps": 3}, "inner_steps does not apply"),
        ({"stage": "prior", "beta1": 0.5}, "beta1 does not apply"),
        ({"mode": "naive", "frames": 2}, "frames does not apply"),
        ({"face": 0.8, "parts": 0.3}, "at most 1 together"),
        ({"face": 0.5, "detail": 0.2}, "detail=0.2 are shares"),
        ({"stage": "sr"}, "there are none"),
        ({"stage": "sr", "sr_channels": (8,), "crop": 80}, r"crop=80 is outside \[8, 64\]"),
        ({"crop": 32}, "crop does not apply"),
        ({"near": 3.3, "far": 2.2}, "below far"),
        ({"conditioned": True}, "latent='free'"),
        ({"directions": 500}, "directions=500"),
    ],
)
def test_refused(changes: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        OtavatarConfig(**changes)  # type: ignore[arg-type]


def test_what_is_left_of_the_light() -> None:
    assert OtavatarConfig().settings().white_back
    assert not OtavatarConfig(background="black").settings().white_back


def test_recipes_are_named_after_themselves_and_chains_end_in_them() -> None:
    assert {name: r().name for name, r in RECIPES.items()} == {n: f"otavatar-{n}" for n in RECIPES}
    for name, (first, last, *more) in CHAINS.items():
        if more:
            assert more[0].recipe.name == name
            assert (more[0].recipe.method.stage, more[0].uses) == ("sr", {"avatar": last.id})
            assert more[0].recipe.data == last.recipe.data
        assert (first.recipe.name, last.recipe.name) == (
            f"{last.recipe.name}-prior",
            name.removesuffix("-sr"),
        )
        prior, own = first.recipe.method, last.recipe.method
        assert (prior.stage, own.stage, last.uses) == ("prior", "controller", {"prior": "prior"})
        assert first.recipe.data == last.recipe.data
    assert len({hash_recipe(r()) for r in RECIPES.values()}) == len(RECIPES)


def test_the_generator_has_the_released_sizes() -> None:
    """Counted from table 2 of the released networks.

    Mapping: embed 25 -> 512, two layers 1024 -> 512 -> 512. A styled convolution of i to o channels has 9 i o
    weights, o biases, an affine layer 512 -> i, and in the backbone one strength of the noise; a toRGB has
    i o weights, o biases and the affine layer. Backbone: 512 channels up to 64 pixels, then 256 and 128;
    planes 3 x 32. Decoder 32 -> 64 -> 33. Super-resolution 32 -> 256 -> 128, toRGB of 3 channels, no noise.
    """

    def linear(i: int, o: int) -> int:
        return i * o + o

    def conv(i: int, o: int, noise: int = 1) -> int:
        return 9 * i * o + o + linear(512, i) + noise

    def to_rgb(i: int, o: int) -> int:
        return i * o + o + linear(512, i)

    mapping = linear(25, 512) + linear(1024, 512) + linear(512, 512)
    backbone = 512 * 16 + 9 * conv(512, 512) + 5 * to_rgb(512, 96)
    for i, o in ((512, 256), (256, 128)):
        backbone += conv(i, o) + conv(o, o) + to_rgb(o, 96)
    enlarge = sum(conv(i, o, 0) + conv(o, o, 0) + to_rgb(o, 3) for i, o in ((32, 256), (256, 128)))
    whole = mapping + backbone + linear(32, 64) + linear(64, 33) + enlarge
    config = RECIPES["paper"]().method
    with torch.device("meta"):
        generator = build_generator(config)
        net = AvatarNet(config, 256, 70)
    assert sum(p.numel() for p in generator.parameters()) == whole == 30_662_132
    assert generator.num_ws == 14
    assert generator.super_resolution.size == 512
    assert net.encoder is None
    assert (net.controller.radius, net.controller.coefficients) == (13, 70)


def test_a_controller_without_a_prior_is_refused() -> None:
    net = AvatarNet(RECIPES["debug"]().method, 32, 52)
    with pytest.raises(ConfigError, match="--from prior=FOLDER"):
        load_prior(net, {})
