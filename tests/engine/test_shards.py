"""What holds a spread class layer apart in a training; the trainings themselves are in the methods' tests."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mien.core.config import OptimConfig
from mien.core.errors import ConfigError
from mien.engine.shards import Shards
from mien.engine.task import ManualTask, StepOut, Task
from mien.engine.trainer import make_accelerator
from mien.nn import PartialFC
from tests.engine.toys import Fit, recipe

C, D = 30, 4


class Faces(Task):
    def __init__(self, **options):
        super().__init__()
        self.net, self.head = nn.Linear(3, D), PartialFC(D, C, **options)

    def loss(self, batch, clock, rng):
        return StepOut(self.head(self.net(batch.x), batch.y, generator=rng.generator("classes")))


class Apart(Task):
    def __init__(self):
        super().__init__()
        self.net, self.head = nn.Linear(3, D), nn.Linear(D, C, bias=False)

    def loss(self, batch, clock, rng):
        return StepOut(self.head(self.net(batch.x)).sum())


class ByHand(ManualTask):
    def __init__(self):
        super().__init__()
        self.head = PartialFC(D, C)

    def configure(self):
        return {}

    def update(self, batch, clock, context):
        return StepOut(torch.zeros(()))


def shards(task, **optim):
    return Shards(task, recipe(OptimConfig("sgd", lr=0.1, **optim)), make_accelerator("fp32"))


def test_the_layer_has_its_own_optimiser_and_is_out_of_the_main_one():
    task = Faces()
    made = shards(task, momentum=0.5, weight_decay=0.1)
    (group,) = made.optimizers["classes"].param_groups
    assert group["params"][0] is task.head.weight
    assert (group["lr"], group["momentum"], group["weight_decay"]) == (0.1, 0.5, 0.1)
    main = task.param_groups(0.1)[0]["params"]
    assert {id(p) for p in main} == {id(p) for p in task.net.parameters()}
    assert shards(Fit()).optimizers == {}


@pytest.mark.parametrize("options", [{}, {"sample_rate": 0.3, "sparse": True}])
def test_clipping_counts_dense_and_sparse_gradients_once(options):
    task = Faces(**options)
    made = shards(task)
    x, y = torch.randn(6, 3, generator=torch.Generator().manual_seed(0)), torch.arange(6)
    for _ in range(2):  # the second backward leaves a sparse gradient with every row twice
        task.head(task.net(x), y, generator=torch.Generator().manual_seed(1)).backward()
    grads = [p.grad.to_dense().clone() for p in task.parameters()]
    norm = torch.cat([g.flatten() for g in grads]).norm()
    made.clip_gradients(float(norm) / 2)
    for p, g in zip(task.parameters(), grads, strict=True):
        torch.testing.assert_close(p.grad.to_dense(), g / 2)
    made.clip_gradients(1e9)
    torch.testing.assert_close(task.net.weight.grad, grads[0] / 2)


@pytest.mark.parametrize("spread", [True, False])
def test_what_is_clipped_apart_leaves_the_rest_alone(spread):
    task = Faces() if spread else Apart()
    task.clip_groups = lambda: [list(task.net.parameters()), list(task.head.parameters())]
    made = shards(task)
    for p, size in zip(task.parameters(), (0.5, 0.5, 100.0), strict=True):
        p.grad = torch.full_like(p, size)
    before = [p.grad.clone() for p in task.parameters()]
    made.clip_gradients(3.0)
    *net, head = [p.grad for p in task.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(net, before, strict=False))
    torch.testing.assert_close(head, before[-1] * (3.0 / before[-1].norm()))


def test_momentum_is_written_for_all_rows_and_read_back():
    task = Faces()
    made = shards(task)
    assert made.state_dict() == {}
    task.head(torch.ones(2, D), torch.tensor([0, 5])).backward()
    made.optimizer.step()
    other = shards(Faces())
    other.load_state_dict(made.state_dict())
    (rows,) = (s["momentum_buffer"] for s in other.optimizer.state.values())
    assert torch.equal(rows, made.state_dict()["head"])
    with made.whole():
        assert task.head.weight.shape == (C, D)


def test_what_a_spread_layer_does_not_go_with():
    with pytest.raises(ConfigError, match="owns its optimisers"):
        shards(ByHand())
    with pytest.raises(ConfigError, match=r"optim\.kind='sgd'"):
        Shards(Faces(), recipe(OptimConfig("adamw", lr=0.1)), make_accelerator("fp32"))
