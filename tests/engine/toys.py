"""A task, a manual task and a source small enough to follow by hand."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from mien.core.config import DataConfig, MethodConfig, OptimConfig, Recipe, ScheduleConfig
from mien.engine.task import Experiment, ManualTask, StepOut, Task


@dataclass(frozen=True)
class Pair:
    x: torch.Tensor
    y: torch.Tensor

    def __len__(self):
        return len(self.x)

    def to(self, device, channels_last=False):
        return self


class Source:
    """40 points, batches of 8 in an order that depends on the step only; micro-batches on demand."""

    def __init__(self, accumulate=1, poison=None):
        g = torch.Generator().manual_seed(1)
        self.x = torch.randn(40, 3, generator=g)
        self.y = self.x @ torch.tensor([[1.0], [-2.0], [0.5]]) + 0.1
        self.accumulate, self.poison = accumulate, poison

    def steps_per_epoch(self, world):
        return 5

    def stream(self, start, rank, world):
        step = start
        while True:
            order = torch.randperm(40, generator=torch.Generator().manual_seed(step))[:8]
            x = self.x[order] * (float("nan") if step == self.poison else 1.0)
            yield [
                Pair(a, b)
                for a, b in zip(x.chunk(self.accumulate), self.y[order].chunk(self.accumulate), strict=True)
            ]
            step += 1


def make_net(norm=False, dropout=0.0):
    torch.manual_seed(3)
    layers = [nn.Linear(3, 8), nn.BatchNorm1d(8) if norm else nn.Identity(), nn.Tanh(), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear(8, 1))


class Fit(Task):
    def __init__(self, **net):
        super().__init__()
        self.net = make_net(**net)
        self.calls = 0

    def loss(self, batch, clock, rng):
        self.calls += 1
        loss = (self.net(batch.x) - batch.y).pow(2).mean()
        return StepOut(loss, {"mse": loss})

    def exported(self):
        return self.net


class FitByHand(ManualTask):
    """Two inner steps on two optimisers for each update."""

    def __init__(self):
        super().__init__()
        self.net = make_net()

    def configure(self):
        first, last = list(self.net[0].parameters()), list(self.net[4].parameters())
        return {"first": torch.optim.SGD(first, 0.05), "last": torch.optim.Adam(last, 0.01)}

    def update(self, batch, clock, context):
        for optimizer in context.optimizers.values():
            optimizer.zero_grad()
            loss = (self.net(batch.x) - batch.y).pow(2).mean()
            context.backward(loss)
            optimizer.step()
        return StepOut(loss.detach(), {"factor": torch.tensor(context.lr_factor())})

    def exported(self):
        return self.net


def recipe(optim=None, **schedule):
    defaults = {"steps": 20, "batch": 8, "lr_rule": "constant", "checkpoint_every": 0, "log_every": 5}
    return Recipe(
        "toy",
        MethodConfig(),
        DataConfig(),
        optim or OptimConfig(kind="sgd", lr=0.05, weight_decay=1e-3),
        ScheduleConfig(**{**defaults, **schedule}),
    )


def experiment(task=None, source=None, validate=None):
    return Experiment(task or Fit(), source or Source(), "toy", validate)


def state_of(net):
    return {k: v.clone() for k, v in net.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
