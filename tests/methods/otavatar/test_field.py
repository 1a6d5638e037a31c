from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from mien.core.errors import DataError
from mien.methods.otavatar.field import AvatarField, as_bytes
from mien.methods.otavatar.generator import FieldDecoder
from mien.nn.modulated import EqualizedLinear
from mien.render.triplane import density, query_planes, render_planes
from mien.synth.orbit import CUBE, orbit_cameras
from tests.methods.otavatar.avatars import tiny_net

CAMERA = torch.from_numpy(orbit_cameras(0.2, 0.1)[0])


def field(**changes):
    net = tiny_net(**changes)
    return AvatarField(net.generator, net.moved(torch.randn(1, 1, 16), None), net.config.settings())


def test_gains_of_equalised_rates_are_in_the_weights():
    torch.manual_seed(0)
    decoder = FieldDecoder(4, 8, 3)
    decoder.net[0] = EqualizedLinear(4, 8, bias=0.3, lr_multiplier=0.5)
    x = torch.randn(5, 4)
    for ours, theirs in zip(decoder.plain()(x), decoder(x), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6)


def test_the_baked_picture_is_that_of_the_oracle():
    torch.manual_seed(0)
    own = field(sigma_bias=-6.0)
    own.planes = 8 * own.planes  # something to see in empty space
    with torch.no_grad():
        same = replace(own.settings, coarse=96, fine=0)
        oracle = render_planes(own.planes, own.generator.decoder, CAMERA[None], 16, same)
    assert 0.1 < float(oracle.opacity.mean()) < 0.9
    error = (own.render(CAMERA, 16).rgb - oracle.rgb).abs()
    assert float(error.mean()) < 0.02
    assert np.array_equal(own.picture(CAMERA, 16), as_bytes(own.render(CAMERA, 16).rgb[0]))


def test_bytes():
    x = torch.tensor([-2.0, -1.0, 0.0, 1.0]).expand(3, 1, 4)
    assert as_bytes(x)[0, :, 0].tolist() == [0, 0, 128, 255]


def test_super_resolution_where_that_size_is_asked_for():
    own = field(sr_side=16, sr_channels=(4,), features=6)
    assert own.picture(CAMERA, 32).shape == (32, 32, 3)
    raw = own.render(CAMERA, 16)
    with torch.no_grad():
        large = own.generator.super_resolution(raw.rgb, raw.features, own.ws)[0]
    assert np.array_equal(own.picture(CAMERA, 32), as_bytes(large))
    assert own.picture(CAMERA, 20).shape == (20, 20, 3)


def test_the_mesh_lies_where_the_field_has_its_level():
    torch.manual_seed(0)
    own = field()
    at = torch.rand(1, 500, 3) - 0.5
    with torch.no_grad():
        known = density(query_planes(own.planes, own.generator.decoder, at, own.settings)[0], 40.0)
    level = float(known.median())
    mesh = own.mesh(24, level)
    assert np.abs(mesh.vertices).max() <= CUBE / 20 + 1e-6  # decimetres
    points = torch.from_numpy(mesh.vertices / np.float32(CUBE / 10))[None]
    with torch.no_grad():
        sigma, colour = query_planes(own.planes, own.generator.decoder, points, own.settings)
    assert float((density(sigma, 40.0) - level).abs().mean()) < 0.02 * level
    assert mesh.colors.shape == mesh.vertices.shape
    bright = colour[0, :, :3].clamp(0, 1).numpy()
    assert np.allclose(
        mesh.colors, np.where(bright <= 0.04045, bright / 12.92, ((bright + 0.055) / 1.055) ** 2.4)
    )
    with pytest.raises(DataError, match="no surface"):
        own.mesh(8, 1e6)
