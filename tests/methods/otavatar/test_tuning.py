from __future__ import annotations

import numpy as np
import pytest
import torch

from mien.core.errors import ConfigError
from mien.methods.otavatar.generator import OWN_PLANES
from mien.methods.otavatar.inversion import code_loss
from mien.methods.otavatar.photos import photo_rays, read_photos
from mien.methods.otavatar.rays import look
from mien.methods.otavatar.tuning import TuningSettings, drawn_rays, tuned_delta, with_delta
from tests.methods.otavatar.avatars import person, tiny_net

THIN = {"sigma_bias": -2.0, "density_scale": 10.0}
NET = tiny_net(**THIN)
SAMPLER = photo_rays(read_photos(person(), None, None, None, 32, 4), 200, 0.5, 0)
CODE = torch.zeros(1, 1, 16)
MOTIONS = 0.3 * torch.randn(3, 6, 16, generator=torch.Generator().manual_seed(0))


def bent(delta):
    net = tiny_net(**THIN)
    net.generator = with_delta(NET.generator, delta)
    return net


def source_loss(net):
    with torch.no_grad():
        return float(code_loss(net, CODE, None, SAMPLER(100), 24, torch.Generator().manual_seed(0)))


def elsewhere(generator):
    """What the untuned net draws from other sides, and what a generator draws there."""
    rng, plan = np.random.default_rng(5), NET.config.settings()
    ws = NET.moved(CODE, None).expand(4, -1, -1)
    asked = drawn_rays(NET.generator.planes(ws), NET.generator.decoder, plan, 100, 24, rng)
    with torch.no_grad():
        planes = generator.planes(NET.moved(CODE, None).expand(4, -1, -1))
        return asked, look(planes, generator.decoder, asked, plan, 24)


def test_it_draws_the_pictures_better_and_leaves_the_net_alone():
    before = {k: v.clone() for k, v in NET.state_dict().items()}
    settings = TuningSettings(15, lr=3e-3)
    delta = tuned_delta(NET, SAMPLER, CODE, None, settings)
    assert all(torch.equal(v, before[k]) for k, v in NET.state_dict().items())
    assert all(p.requires_grad for p in NET.generator.synthesis.parameters())
    assert source_loss(bent(delta)) < 0.95 * source_loss(NET)
    assert not any(k.startswith("mapping") for k in delta)
    again = tuned_delta(NET, SAMPLER, CODE, None, settings)
    assert all(torch.equal(v, again[k]) for k, v in delta.items())


def test_keeping_other_sides_holds_their_silhouette_and_still_learns_the_picture():
    moves = {}
    for keep in (0.0, 10.0):
        delta = tuned_delta(NET, SAMPLER, CODE, None, TuningSettings(15, 3e-3, keep), motions=MOTIONS)
        own = bent(delta)
        assert source_loss(own) < source_loss(NET)
        asked, seen = elsewhere(own.generator)
        moves[keep] = float((seen.opacity - asked.opacity).abs().mean())
    assert moves[10.0] < 0.5 * moves[0.0]


def test_drawn_rays_are_what_the_generator_shows_there():
    asked, seen = elsewhere(NET.generator)
    assert asked.uv.shape == (4, 1, 100, 2)
    assert asked.cameras.shape == (4, 1, 25)
    assert (asked.cameras[0] != asked.cameras[1]).any()
    torch.testing.assert_close(seen.features[..., :3], asked.rgb)
    torch.testing.assert_close(seen.opacity, asked.opacity)


def test_no_steps_change_nothing():
    assert tuned_delta(NET, SAMPLER, CODE, None, TuningSettings(0)) == {}
    assert with_delta(NET.generator, {}) is NET.generator


@pytest.mark.parametrize(
    "wrong", [{"steps": 1001}, {"lr": 0.0}, {"lr": -1.0}, {"keep": -1.0}, {"samples": 4}]
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ConfigError, match=r"steps 0 \.\. 1000"):
        TuningSettings(**wrong)


def test_own_planes_hold_what_the_generator_does_not_draw_and_are_added():
    """Nearer to the picture than tuning without them; what is drawn are the sum of both planes."""
    plain = tuned_delta(NET, SAMPLER, CODE, None, TuningSettings(15, lr=3e-3))
    delta = tuned_delta(NET, SAMPLER, CODE, None, TuningSettings(15, lr=3e-3, own_lr=0.03))
    assert OWN_PLANES not in plain
    assert delta[OWN_PLANES].shape == NET.generator.shape
    assert source_loss(bent(delta)) < 0.95 * source_loss(bent(plain))
    assert NET.generator.own is None
    ws = NET.moved(CODE, None)
    rest = {k: v for k, v in delta.items() if k != OWN_PLANES}
    with torch.no_grad():
        whole, bare = (with_delta(NET.generator, d).planes(ws) for d in (delta, rest))
    torch.testing.assert_close(whole, bare + delta[OWN_PLANES])


def test_at_rate_0_the_generator_stays_as_it_is():
    delta = tuned_delta(NET, SAMPLER, CODE, None, TuningSettings(15, lr=0.0, own_lr=0.03))
    assert set(delta) == {OWN_PLANES}
    assert source_loss(bent(delta)) < 0.95 * source_loss(NET)
