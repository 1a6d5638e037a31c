"""What each stage minimises."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mien.data.physical import FrameBatch
from mien.engine.task import Clock, Rng, StepOut, Task
from mien.methods.phycine.iodine import Iodine
from mien.methods.phycine.net import PhycineNet

BRIGHT = 100.0
"""Weight of the squared error of colours, so that its gradient is about 1."""


class _Stage(Task):  # type: ignore[type-arg]
    """A task that trains one part of the net and leaves the others as they are."""

    def __init__(self, net: PhycineNet, part: nn.Module) -> None:
        super().__init__()
        self.net = net
        net.requires_grad_(False)
        part.requires_grad_(True)

    def exported(self) -> nn.Module:
        """The whole net."""
        return self.net


class PerceptionTask(_Stage):
    """Level 1: frames, one by one. Slots: mean |picture - x|^2. Learned inference: `Iodine.loss`.

    Args:
        net: whose perception is trained.
    """

    def __init__(self, net: PhycineNet) -> None:
        super().__init__(net, net.perception)

    def loss(self, batch: FrameBatch, clock: Clock, rng: Rng) -> StepOut:
        """The loss of pictures."""
        generator = rng.generator("slots", "cpu")
        if isinstance(self.net.perception, Iodine):
            loss = self.net.perception.loss(batch.image, generator).mean()
            return StepOut(loss, {"nats": loss.detach()})
        layers = self.net.slots.frames(batch.image[:, None], generator).layers
        error = (layers.image[:, 0] - batch.image).square().mean()
        return StepOut(BRIGHT * error, {"mse": error.detach()})
