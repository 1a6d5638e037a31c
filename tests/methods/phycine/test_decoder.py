from __future__ import annotations

import pytest
import torch

from mien.core.errors import ConfigError, ShapeError
from mien.methods.phycine.decoder import BroadcastDecoder, Layers, PlaceDecoder, SmallDecoder, position_grid


def test_grid_is_x_right_and_y_down():
    grid = position_grid(3, 5)
    assert grid[0, 0].tolist() == [-2, -1, 0, 1, 2]  # in the steps of y
    assert grid[1, :, 0].tolist() == [-1, 0, 1]


def test_published_size_has_the_counted_parameters():
    with torch.device("meta"):
        net = BroadcastDecoder(16, 64)
    # four 5 x 5 convolutions to 32 channels from 18, 32, 32, 32, one to 4
    expected = 25 * 32 * (18 + 3 * 32) + 4 * 32 + 25 * 32 * 4 + 4
    assert sum(p.numel() for p in net.parameters()) == expected
    assert net(torch.zeros(2, 5, 16, device="meta")).means.shape == (2, 5, 3, 64, 64)


@pytest.mark.parametrize("decoder", [BroadcastDecoder(6, 16, 8), SmallDecoder(6, 16, 8)])
def test_layers_of_slots_and_frames(decoder):
    slots = torch.randn(2, 3, 4, 6)
    layers = decoder(slots)
    assert layers.means.shape == (2, 3, 4, 3, 16, 16)
    assert layers.logits.shape == (2, 3, 4, 1, 16, 16)
    assert 0 <= float(layers.means.min().detach()) <= float(layers.means.max().detach()) <= 1
    torch.testing.assert_close(layers.masks.sum(2), torch.ones(2, 3, 1, 16, 16))
    torch.testing.assert_close(decoder(slots[:, :, [2, 0, 3, 1]]).means, layers.means[:, :, [2, 0, 3, 1]])


def test_free_means_leave_the_unit_range():
    torch.manual_seed(0)
    means = BroadcastDecoder(4, 8, 8, sigmoid=False)(50 * torch.randn(1, 2, 4)).means
    assert float(means.detach().min()) < 0


def test_image_is_the_mean_of_the_layers_under_their_masks():
    means = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, 3, 1, 1)
    logits = torch.tensor([0.25, 0.75]).log().view(2, 1, 1, 1)
    assert Layers(means, logits).image.flatten().tolist() == pytest.approx([0.75] * 3)


def test_bad_input_is_one_clear_line():
    with pytest.raises(ConfigError, match="multiple of 4"):
        SmallDecoder(4, 30)
    with pytest.raises(ShapeError, match="length 4"):
        SmallDecoder(4, 16)(torch.zeros(1, 2, 5))


def test_an_object_is_drawn_alike_at_every_place():
    torch.manual_seed(0)
    decoder, code = PlaceDecoder(4, 32, 8), torch.randn(4)
    step = 2 / 15  # of the grid of half the side
    at = torch.tensor([[-0.2, 0.1], [-0.2 + 3 * step, 0.1 - 2 * step]])
    objects = torch.cat([at, code.expand(2, 4)], 1)
    layers = decoder(torch.cat([torch.zeros(1, 6), objects]))  # slot 0 is the background's
    for _, first, second in layers.means, layers.logits:
        torch.testing.assert_close(second[:, 2:20, 10:28], first[:, 6:24, 4:22])
