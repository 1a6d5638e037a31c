"""Pictures through super-resolution: those that an avatar's field gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mien.core.errors import ConfigError
from mien.methods.otavatar.drawing import draw, draw_enlarged
from mien.methods.otavatar.field import AvatarField, as_bytes
from mien.synth.orbit import orbit_cameras
from tests.methods.otavatar.tiny import tiny_net


def test_enlarged_pictures_are_those_of_the_field() -> None:
    net = tiny_net(stage="sr", features=5, sr_side=16, sr_channels=(4,)).requires_grad_(False)
    ws = net.moved(torch.randn(2, 1, 16, generator=torch.Generator().manual_seed(0)), None)
    cameras = torch.from_numpy(orbit_cameras([0.0, 0.3, -0.2, 0.1])).view(2, 2, 25)
    found = draw_enlarged(net, ws, cameras)
    assert found.shape == (2, 2, 3, 32, 32)
    field = AvatarField(net.generator, ws[1:], net.config.settings())
    off = as_bytes(found[1, 0]).astype(int) - field.picture(cameras[1, 0], 32)
    assert np.abs(off).max() <= 1  # rounding: two pictures in a batch, or one
    assert draw(net, ws, cameras, 32).rgb.shape == found.shape


def test_a_net_without_it_is_refused() -> None:
    net = tiny_net()
    with pytest.raises(ConfigError, match="no super-resolution"):
        draw_enlarged(net, net.moved(torch.zeros(1, 1, 16), None), torch.zeros(1, 1, 25))
