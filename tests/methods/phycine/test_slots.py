from __future__ import annotations

import pytest
import torch

from mien.core.errors import ConfigError, ShapeError
from mien.methods.phycine.decoder import position_grid
from mien.methods.phycine.slots import Encoder, SlotAttention, SlotVideo


def attention(**changed):
    torch.manual_seed(0)
    return SlotAttention(6, **{"slots": 3, "dim": 4, **changed})


def places(side=4):
    return position_grid(side, side).flatten(1).T


def test_shares_sum_to_one_over_the_slots():
    net = attention()
    slots, shares = net(torch.randn(2, 16, 6), places(), net.start(2))
    assert slots.shape == (2, 3, 6)
    torch.testing.assert_close(shares.sum(1), torch.ones(2, 16))


def test_permuting_the_objects_slots_permutes_the_outcome():
    net, features = attention(), torch.randn(2, 16, 6)
    start, order = net.start(2), [0, 2, 1]
    slots, shares = net(features, places(), start)
    again, again_shares = net(features, places(), start[:, order])
    torch.testing.assert_close(again, slots[:, order])
    torch.testing.assert_close(again_shares, shares[:, order])


def test_moving_everything_moves_the_places_alone():
    net, features = attention(), torch.randn(1, 16, 6)
    start, by = net.start(1), net.placed * torch.tensor([0.3, -0.2])
    slots, _ = net(features, places(), start)
    moved, _ = net(features, places() + by[-1], torch.cat([start[..., :2] + by, start[..., 2:]], 2))
    torch.testing.assert_close(moved[..., :2], slots[..., :2] + by)
    torch.testing.assert_close(moved[..., 2:], slots[..., 2:])


def test_the_background_has_no_place():
    net, features = attention(slots=1), torch.randn(1, 16, 6)
    slots, _ = net(features, places(), net.start(1))
    moved, _ = net(features, places() + 0.5, net.start(1))
    assert slots[0, 0, :2].tolist() == [0.0, 0.0]
    torch.testing.assert_close(moved, slots)


def test_one_slot_sees_everything():
    net = attention(slots=1)
    _, shares = net(torch.randn(2, 16, 6), places(), net.start(2))
    torch.testing.assert_close(shares, torch.ones(2, 1, 16))


def test_the_gradient_reaches_the_start_and_every_weight():
    net = attention()
    slots, _ = net(torch.randn(2, 16, 6), places(), net.start(2))
    slots.square().sum().backward()
    assert all(p.grad is not None and float(p.grad.abs().sum()) > 0 for p in net.parameters())


def test_random_starts_are_drawn_from_the_generator():
    net = attention(learned=False)
    a, b = (net.start(2, torch.Generator().manual_seed(s)) for s in (1, 1))
    assert torch.equal(a, b)
    assert not torch.equal(a, net.start(2, torch.Generator().manual_seed(2)))
    assert not torch.equal(a[:, 0], a[:, 1])
    learned = attention()
    assert torch.equal(learned.start(2)[0], learned.start(2)[1])


def test_features_know_their_place():
    torch.manual_seed(0)
    features = Encoder((16, 16), 8)(torch.full((1, 3, 16, 16), 0.5))
    assert features.shape == (1, 64, 8)
    assert float((features[0, 0] - features[0, -1]).abs().max().detach()) > 1e-3


def test_later_frames_start_from_the_slots_before():
    torch.manual_seed(0)
    net = SlotVideo(16, slots=3, dim=4, width=8, carried=True)
    video = torch.rand(2, 3, 3, 16, 16)
    with torch.no_grad():
        seen = net(video)
        assert seen.masks.shape == (2, 3, 3, 16, 16)
        assert seen.recon.shape == video.shape
        torch.testing.assert_close(seen.masks.sum(2), torch.ones(2, 3, 16, 16))
        features = net.encoder(video[:, 1])
        second, _ = net.attention(features, net.encoder.places, seen.slots[:, 0], net.later)
        torch.testing.assert_close(seen.slots[:, 1], second)
        torch.testing.assert_close(net(video[:, :2]).recon, seen.recon[:, :2])  # the future does not matter


def test_more_starts_never_explain_an_image_worse():
    torch.manual_seed(0)
    net, images = SlotVideo(16, slots=3, dim=4, width=8), torch.rand(6, 3, 16, 16)
    errors = []
    with torch.no_grad():
        for starts in (1, 5):
            net.starts = starts
            drawn = net.decoder(net.alone(images, torch.Generator().manual_seed(0))).image
            errors.append((drawn - images).square().mean((1, 2, 3)))
    assert bool((errors[1] <= errors[0] + 1e-7).all())
    assert float((errors[0] - errors[1]).max()) > 0


def test_frames_seen_alone_are_the_same_at_every_call():
    torch.manual_seed(0)
    net, video = SlotVideo(16, slots=3, dim=4, width=8), torch.rand(1, 2, 3, 16, 16)
    with torch.no_grad():
        seen, again = net(video), net(video)
    torch.testing.assert_close(seen.masks, again.masks)
    torch.testing.assert_close(net.decoder(seen.slots).image, seen.recon)


def test_bad_input_is_one_clear_line():
    with pytest.raises(ConfigError, match="iterations"):
        attention(iterations=0)
    with pytest.raises(ShapeError, match="features"):
        attention()(torch.zeros(2, 16, 6), places(), torch.zeros(2, 3, 5))
    with pytest.raises(ShapeError, match="video"):
        SlotVideo(16, dim=4, width=8)(torch.zeros(2, 3, 16, 16))
