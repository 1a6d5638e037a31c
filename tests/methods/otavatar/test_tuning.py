from __future__ import annotations

import pytest
import torch

from mien.core.errors import ConfigError
from mien.methods.otavatar.inversion import code_loss
from mien.methods.otavatar.photos import photo_rays, read_photos
from mien.methods.otavatar.tuning import TuningSettings, tuned_delta, with_delta
from tests.methods.otavatar.avatars import person, tiny_net

NET = tiny_net()
SAMPLER = photo_rays(read_photos(person(), None, None, None, 32, 4), 200, 0.5, 0)
CODE = torch.zeros(1, 1, 16)


def test_it_draws_the_pictures_better_and_leaves_the_net_alone():
    before = {k: v.clone() for k, v in NET.state_dict().items()}
    delta = tuned_delta(NET, SAMPLER, CODE, None, TuningSettings(15, lr=3e-3))
    assert all(torch.equal(v, before[k]) for k, v in NET.state_dict().items())
    assert all(p.requires_grad for p in NET.generator.synthesis.parameters())
    bent = tiny_net()
    bent.generator = with_delta(NET.generator, delta)
    with torch.no_grad():
        losses = [
            float(code_loss(net, CODE, None, SAMPLER(100), 24, torch.Generator().manual_seed(0)))
            for net in (NET, bent)
        ]
    assert losses[1] < 0.95 * losses[0]
    assert not any(k.startswith("mapping") for k in delta)
    again = tuned_delta(NET, SAMPLER, CODE, None, TuningSettings(15, lr=3e-3))
    assert all(torch.equal(v, again[k]) for k, v in delta.items())


def test_no_steps_change_nothing():
    assert tuned_delta(NET, SAMPLER, CODE, None, TuningSettings(0)) == {}
    assert with_delta(NET.generator, {}) is NET.generator


def test_more_than_fifty_steps_are_refused():
    with pytest.raises(ConfigError, match=r"steps 0 \.\. 50"):
        TuningSettings(51)
