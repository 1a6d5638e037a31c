"""The prior: it learns views of moments, and remembers where its codes lie."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mien.data.talking_loader import talking_batch
from mien.engine.task import Clock, Rng
from mien.methods.otavatar.prior import PriorTask
from tests.methods.otavatar.tiny import ball_heads, tiny_net


def batch():
    heads = ball_heads()
    return talking_batch(heads, heads.windows(4), np.arange(4), np.array([[0], [1], [2], [3]]))


@pytest.mark.parametrize("latent", ["encoder", "free"])
def test_it_learns_to_draw(latent: str) -> None:
    net = tiny_net(latent=latent)
    task = PriorTask(net, net.config, 24, 4)
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
    net = tiny_net()
    task = PriorTask(net, net.config, 24, 4)
    one, two, other = (float(task.loss(batch(), Clock(0, 10, 10), Rng(s)).loss.detach()) for s in (3, 3, 4))
    assert one == two
    assert one != other


def test_controller_is_left_alone() -> None:
    net = tiny_net()
    task = PriorTask(net, net.config, 24, 4)
    task.loss(batch(), Clock(0, 10, 10), Rng(0)).loss.backward()
    assert all(p.grad is None for p in net.controller.parameters())
    assert all(p.grad is not None for p in net.generator.decoder.parameters())
