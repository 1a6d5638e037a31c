from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Normal

from mien.core.errors import ConfigError, ShapeError
from mien.methods.phycine.decoder import Layers
from mien.methods.phycine.iodine import CHANNELS, Iodine, normalised, refinement_inputs
from mien.methods.phycine.likelihood import mixture_nll, op3_std


def small(**changed):
    torch.manual_seed(0)
    return Iodine(**{"size": 16, "slots": 3, "dim": 4, "width": 8, "rounds": 2, **changed})


def generator():
    return torch.Generator().manual_seed(1)


def test_the_seventeen_channels_of_a_slow_twin():
    g = generator()
    x, means = torch.rand(1, 3, 4, 6, generator=g), torch.rand(1, 3, 3, 4, 6, generator=g)
    logits = torch.randn(1, 3, 1, 4, 6, generator=g)
    grads = torch.randn(1, 3, 3, 4, 6, generator=g), torch.randn(1, 3, 1, 4, 6, generator=g)
    seen = refinement_inputs(x, Layers(means, logits), *grads, 0.3)
    assert seen.shape == (1, 3, CHANNELS, 4, 6)
    pi = logits[0, :, 0].softmax(0)
    p = Normal(means[0], 0.3).log_prob(x[0]).sum(1).exp()  # (K, H, W)
    for k in range(3):
        others = [j for j in range(3) if j != k]
        without = (pi[others] * p[others]).sum(0) / pi[others].sum(0)
        expected = [
            *x[0],
            *means[0, k],
            pi[k],
            logits[0, k, 0],
            p[k] / p.sum(0),
            *F.layer_norm(grads[0][0, k], (3, 4, 6)),
            *F.layer_norm(grads[1][0, k], (1, 4, 6)),
            F.layer_norm((pi * p).sum(0).log(), (4, 6)),
            F.layer_norm(without.log(), (4, 6)),
            torch.linspace(-5 / 3, 5 / 3, 6).expand(4, -1),
            torch.linspace(-1, 1, 4)[:, None].expand(-1, 6),
        ]
        torch.testing.assert_close(seen[0, k], torch.stack(expected), rtol=1e-4, atol=1e-5)


def test_inputs_are_detached_and_gradients_normalised():
    x, layers = torch.rand(1, 3, 8, 8), Layers(torch.rand(1, 2, 3, 8, 8), torch.randn(1, 2, 1, 8, 8))
    layers.means.requires_grad_()
    seen = refinement_inputs(x, layers, 1e6 * torch.randn(1, 2, 3, 8, 8), torch.randn(1, 2, 1, 8, 8), 0.1)
    assert not seen.requires_grad
    grads = seen[:, :, 9:12].flatten(2)
    torch.testing.assert_close(grads.mean(2), torch.zeros(1, 2), atol=1e-5, rtol=0)
    torch.testing.assert_close(grads.std(2, correction=0), torch.ones(1, 2), atol=1e-3, rtol=0)
    assert float(normalised(torch.full((2, 5), 3.0), 1).abs().max()) == 0


def test_no_refinement_draws_the_prior():
    net = small(rounds=0)
    video = torch.rand(2, 1, 3, 16, 16)
    seen = net(video)
    start = net.start(2)
    torch.testing.assert_close(seen.slots[:, 0], start.mean)
    torch.testing.assert_close(seen.recon[:, 0], net.decoder(start.mean).image)
    torch.testing.assert_close(op3_std(start.raw), torch.ones(2, 3, 4), atol=0.01, rtol=0)


def test_one_frame_is_a_still_picture():
    net, video = small(), torch.rand(2, 1, 3, 16, 16)
    with torch.no_grad():
        still = net.refine(video[:, 0], net.start(2), 2, generator())[-1].posterior
        torch.testing.assert_close(net(video, generator()).slots[:, 0], still.mean)


def test_loss_counts_later_rounds_more_and_trains_everything():
    net, x = small(), torch.rand(2, 3, 16, 16)
    rounds = net.refine(x, net.start(2), 2, generator())
    loss = net.loss(x, generator())
    torch.testing.assert_close(loss, sum((r + 1) / 3 * now.loss for r, now in enumerate(rounds)))
    loss.sum().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in net.parameters())
    assert float(net.refiner.head.weight.grad.abs().sum()) > 0


def test_loss_of_a_round_is_likelihood_and_divergence():
    net, x = small(beta=0.0), torch.rand(1, 3, 16, 16)
    now = net.refine(x, net.start(1), 0, generator())[0]
    torch.testing.assert_close(now.loss, mixture_nll(x, *now.layers, 0.1))
    dear = small(beta=2.0)
    wide = dear.start(1)._replace(mean=torch.ones(1, 3, 4))
    extra = dear.refine(x, wide, 0, generator())[0]
    kl = extra.loss - mixture_nll(x, *extra.layers, 0.1)
    torch.testing.assert_close(
        kl, torch.tensor([2 * 12 * 0.5]), atol=0.02, rtol=0
    )  # (mean^2)/2 of 12 numbers


def test_training_lowers_the_loss():
    net = small(slots=2, rounds=1)
    x = torch.zeros(4, 3, 16, 16)
    x[:, 0, 4:9, 4:9] = 1
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    g, losses = generator(), []
    for _ in range(40):
        loss = net.loss(x, g).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]


def test_video_without_gradients_equals_the_one_with():
    net, video = small(later=1), torch.rand(1, 3, 3, 16, 16)
    seen = net(video, generator())
    with torch.no_grad():
        torch.testing.assert_close(net(video, generator()).recon, seen.recon)
    assert seen.masks.shape == (1, 3, 3, 16, 16)


def test_bad_input_is_one_clear_line():
    with pytest.raises(ConfigError, match="rounds"):
        small(rounds=-1)
    with pytest.raises(ShapeError, match="video"):
        small()(torch.zeros(1, 3, 16, 16))
