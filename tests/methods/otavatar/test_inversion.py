"""Inversion: it finds the code that made the pictures, and changes nothing else."""

from __future__ import annotations

import pytest
import torch

from mien.core.errors import ConfigError
from mien.methods.otavatar.inversion import InversionSettings, code_loss, corrected, invert_codes, limit_rows
from mien.methods.otavatar.rays import TargetRays, look
from mien.synth.orbit import orbit_cameras
from tests.methods.otavatar.tiny import tiny_net


def seen_by(net, ws: torch.Tensor, count: int = 64):
    """Rays of what style codes (B, slots, W) show from the front, drawn densely."""
    cameras = torch.from_numpy(orbit_cameras(0.1))[None].expand(len(ws), 1, 25)

    def rays(step: int) -> TargetRays:
        uv = torch.rand(len(ws), 1, count, 2, generator=torch.Generator().manual_seed(step)) * 0.6 + 0.2
        blank = torch.zeros(len(ws), count)
        target = TargetRays(cameras, uv, torch.zeros(len(ws), count, 3), blank, blank * torch.nan)
        with torch.no_grad():
            out = look(net.planes(ws), net.generator.decoder, target, net.config.settings(), 96)
        return target._replace(rgb=out.features[..., :3])

    return rays


def solid_net(**changes: object):
    """A net whose fields are no fog, so that codes differ visibly."""
    net = tiny_net(sigma_bias=0.5, **changes)
    net.w_std.fill_(0.5)
    return net


def test_code_of_known_motion_fits_better_than_without_motion() -> None:
    net = solid_net()
    g = torch.Generator().manual_seed(3)
    true = torch.randn(2, 1, 16, generator=g) * 0.5
    dw = torch.randn(2, net.generator.num_ws, 16, generator=g) * 0.7
    rays = seen_by(net, net.moved(true, dw))
    settings = InversionSettings(steps=60, lr=0.1, pull=0.0, samples=16)
    start = torch.zeros(2, 1, 16)
    known = invert_codes(net, rays, dw, start, settings)
    without = invert_codes(net, rays, None, start, settings)
    assert float(known.losses[-10:].mean()) < float(without.losses[-10:].mean())
    smooth = known.losses.mean(1).unfold(0, 15, 15).mean(1)
    assert bool((smooth.diff() < 0).all())


def test_same_seed_same_code_and_the_net_stays() -> None:
    net = solid_net()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    rays = seen_by(net, net.moved(torch.ones(1, 1, 16), None))
    settings = InversionSettings(steps=5, camera="centre", space="w+")
    one, two = (invert_codes(net, rays, None, torch.zeros(1, 1, 16), settings, seed=4) for _ in range(2))
    assert torch.equal(one.w_id, two.w_id)
    assert one.w_id.shape == (1, net.generator.num_ws, 16)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert all(p.requires_grad for p in net.generator.parameters())


def test_callback_stops_early() -> None:
    net = solid_net()
    rays = seen_by(net, net.moved(torch.ones(1, 1, 16), None))
    found = invert_codes(
        net,
        rays,
        None,
        torch.zeros(1, 1, 16),
        InversionSettings(steps=50),
        callback=lambda step, loss: step == 3,
    )
    assert len(found.losses) == 4


def test_correction_of_the_centre_keeps_the_rest_of_the_intrinsics() -> None:
    camera = torch.from_numpy(orbit_cameras(0.0))
    s, t = torch.full((1, 9), 0.1), torch.full((1, 9), 0.02)
    k = corrected(camera, s, t, "centre")[0, 16:].view(3, 3)
    scale = 1 + torch.tanh(torch.tensor(0.1))
    assert torch.allclose(k[0, 0], 3.2 * scale + 0.02)
    assert torch.allclose(k[1, 2], 0.5 * scale + 0.02)
    assert [float(k[i, j]) for i, j in ((0, 1), (1, 0), (2, 0), (2, 1), (2, 2))] == [0, 0, 0, 0, 1]
    whole = corrected(camera, s, t, "all")[0, 16:].view(3, 3)
    assert float(whole[2, 2]) > 1.1
    assert torch.equal(corrected(camera, s, t, "off"), camera)


def test_loss_of_two_frames_is_the_mean_of_both() -> None:
    net = solid_net()
    rays = seen_by(net, net.moved(torch.randn(2, 1, 16), None))(0)
    w = torch.zeros(1, 1, 16)
    both = code_loss(net, w, None, rays, 24, torch.Generator().manual_seed(0))
    alone = [code_loss(net, w, None, TargetRays(*(x[n : n + 1] for x in rays)), 24) for n in (0, 1)]
    assert both.shape == (1,)
    assert abs(float(both.detach()) - float(torch.cat(alone).detach().mean())) < 0.02


def test_long_gradients_are_shortened_row_by_row() -> None:
    p = torch.zeros(2, 3, requires_grad=True)
    p.grad = torch.tensor([[3.0, 4.0, 0.0], [0.3, 0.4, 0.0]])
    limit_rows(p, 1.0)
    assert torch.allclose(p.grad, torch.tensor([[0.6, 0.8, 0.0], [0.3, 0.4, 0.0]]))


@pytest.mark.parametrize("wrong", [{"steps": -1}, {"lr": 0.0}, {"samples": 4}, {"pull": -1.0}])
def test_settings_out_of_range(wrong) -> None:
    with pytest.raises(ConfigError, match="needed"):
        InversionSettings(**wrong)
    assert InversionSettings().space == "w"


def test_landmarks_stay_where_the_start_has_them() -> None:
    """A code that is none of a person known would bend the face to draw what it cannot."""
    net = solid_net(warped=True)
    warp = net.generator.warp
    with torch.no_grad():
        warp.mean.copy_(0.2 * torch.rand(68, 3) - 0.1)
        warp.places.weight.normal_()
    rays = seen_by(net, net.moved(2 * torch.randn(1, 1, 16), None))
    start, moved = torch.zeros(1, 1, 16), []
    for layout in (0.0, 10.0):
        found = invert_codes(net, rays, None, start, InversionSettings(steps=80, samples=8, layout=layout))
        places = [warp.landmarks(w[:, 0]).detach() for w in (found.w_id, start)]
        moved.append(float((places[0] - places[1]).norm(dim=-1).mean()))
    assert moved[1] < 0.3 * moved[0]
