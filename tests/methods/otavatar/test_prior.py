"""The prior: it learns views of moments, and remembers where its codes lie."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mien.core.errors import ConfigError
from mien.data.talking_loader import talking_batch
from mien.engine.task import Clock, Rng
from mien.methods.otavatar.prior import PriorTask
from tests.methods.otavatar.tiny import ball_heads, tiny_net


def batch():
    heads = ball_heads()
    return talking_batch(heads, heads.windows(4), np.arange(4), np.array([[0], [1], [2], [3]]))


def prior(latent: str = "encoder") -> PriorTask:
    """Of six people with four moments each, who are told apart by two numbers."""
    net = tiny_net(latent=latent)
    numbers = torch.randn(6, 2, generator=torch.Generator().manual_seed(0)) if latent == "mixed" else None
    return PriorTask(net, net.config, 5e-3, 6, 4, numbers)


@pytest.mark.parametrize("latent", ["mixed", "encoder", "free"])
def test_it_learns_to_draw(latent: str) -> None:
    task = prior(latent)
    net = task.net
    optimizer = torch.optim.Adam([p for p in task.parameters() if p.requires_grad], 5e-3)
    colours = []
    for k in range(60):
        out = task.loss(batch(), Clock(k, 60, 10), Rng(k))
        optimizer.zero_grad()
        out.loss.backward()
        optimizer.step()
        colours.append(float(out.logs["colour"]))
    assert np.mean(colours[-5:]) < 0.5 * np.mean(colours[:5])
    assert float(net.w_avg.abs().sum()) > 0
    assert (net.encoder is None) == (latent == "free")


def test_loss_repeats_with_its_randomness() -> None:
    task = prior()
    one, two, other = (float(task.loss(batch(), Clock(0, 10, 10), Rng(s)).loss.detach()) for s in (3, 3, 4))
    assert one == two
    assert one != other


def test_controller_is_left_alone() -> None:
    task = prior()
    net = task.net
    task.loss(batch(), Clock(0, 10, 10), Rng(0)).loss.backward()
    assert all(p.grad is None for p in net.controller.parameters())
    assert all(p.grad is not None for p in net.generator.decoder.parameters())


def test_mixed_latents_are_an_isometry_of_the_numbers_and_the_encoder_learns_apart() -> None:
    task = prior("mixed")
    assert task.mix is not None
    assert torch.allclose(task.mix.T @ task.mix, torch.eye(2 + 3), atol=1e-5)
    out = task.loss(batch(), Clock(0, 10, 10), Rng(0))
    out.loss.backward()
    assert float(out.logs["read"]) > 0
    assert all(p.grad is not None for p in task.net.encoder.parameters())
    assert all(p.grad is not None for p in task.net.generator.mapping.parameters())
    assert "numbers" not in task.state_dict()


def test_mixed_needs_numbers_and_room_for_them() -> None:
    net = tiny_net(latent="mixed")
    with pytest.raises(ConfigError, match="needs the numbers"):
        PriorTask(net, net.config, 5e-3, 6, 4)
    with pytest.raises(ConfigError, match="below the 17 numbers"):
        PriorTask(net, net.config, 5e-3, 6, 4, torch.zeros(6, 14))


def test_the_encoder_learns_at_a_tenth_of_the_rate() -> None:
    groups = prior("mixed").param_groups(0.0)
    assert [g.get("lr") for g in groups] == [None, pytest.approx(5e-4)]
    assert len(prior("free").param_groups(0.0)) == 1
