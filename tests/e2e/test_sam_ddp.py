"""Two-pass optimisers on two real processes: global perturbation equals one process, local is per process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mien.core.config import OptimConfig
from mien.engine.trainer import Trainer
from mien.optim import GSAM, SAGM, SAM
from tests.engine.toys import Fit, Pair, experiment, make_net, recipe, state_of

ROOT = Path(__file__).parents[2]
KINDS = ("sam", "gsam", "sagm")
MODES = (None, "global", "local")
STEPS, RHO = 10, 0.5


def data(step):
    """The 16 points of one step."""
    g = torch.Generator().manual_seed(100 + step)
    x = torch.randn(16, 3, generator=g)
    return x, x @ torch.tensor([[1.0], [-2.0], [0.5]]) + x.pow(2).sum(1, keepdim=True)


class Shared:
    """Every process gets its part of the step's points, in two micro-batches."""

    def steps_per_epoch(self, world):
        return 5

    def stream(self, start, rank, world):
        step = start
        while True:
            x, y = (t[rank::world] for t in data(step))
            yield [Pair(a, b) for a, b in zip(x.chunk(2), y.chunk(2), strict=True)]
            step += 1


def train(kind, mode, folder):
    optim = OptimConfig(kind, lr=0.02, rho=RHO, perturbation=mode)
    rec = recipe(optim, steps=STEPS, batch=16, accumulate=2)
    trainer = Trainer(experiment(Fit(), Shared()), rec, folder)
    trainer.run()
    return trainer


def worker(folder):
    """What each process of the launcher runs."""
    for kind in KINDS:
        for mode in MODES:
            trainer = train(kind, mode, folder / f"{kind}-{mode}")
            accelerator = trainer.accelerator
            assert accelerator.num_processes == 2
            state = state_of(trainer.task.net)
            torch.save(state, folder / f"{kind}-{mode}-{accelerator.process_index}.pt")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(kind, mode, rank) -> weights after training on two processes."""
    folder = tmp_path_factory.mktemp("ddp")
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    words = [sys.executable, *launch, "-m", "tests.e2e.test_sam_ddp", str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, cwd=ROOT, env=os.environ)
    assert done.returncode == 0, done.stderr[-3000:]
    return {
        (kind, mode, rank): torch.load(folder / f"{kind}-{mode}-{rank}.pt", weights_only=True)
        for kind in KINDS
        for mode in MODES
        for rank in (0, 1)
    }


def furthest(a, b):
    return max(float((a[k] - b[k]).abs().max()) for k in a)


@pytest.mark.ddp
@pytest.mark.parametrize("kind", KINDS)
def test_both_processes_hold_the_same_weights(trained, kind):
    for mode in MODES:
        assert furthest(trained[kind, mode, 0], trained[kind, mode, 1]) == 0.0


@pytest.mark.ddp
@pytest.mark.parametrize("kind", KINDS)
def test_global_equals_one_process_with_the_whole_batch(trained, kind, tmp_path):
    one = state_of(train(kind, None, tmp_path).task.net)
    assert furthest(one, trained[kind, "global", 0]) < 1e-5
    assert furthest(trained[kind, None, 0], trained[kind, "global", 0]) == 0.0
    assert furthest(one, state_of(make_net())) > 0.05


@pytest.mark.ddp
@pytest.mark.parametrize("kind", KINDS)
def test_local_is_each_process_along_its_own_gradient(trained, kind):
    assert furthest(trained[kind, "local", 0], trained[kind, "global", 0]) > 1e-4
    assert furthest(trained[kind, "local", 0], by_hand(kind)) < 1e-5


def by_hand(kind):
    """Two processes played by one: two wrappers with lr 0 give each half's combined gradient."""
    make = {"sam": SAM, "gsam": GSAM, "sagm": SAGM}[kind]
    net = make_net()
    base = torch.optim.SGD(net.parameters(), 0.02, momentum=0.9, nesterov=True)
    for step in range(STEPS):
        halves = []
        for rank in (0, 1):
            x, y = (t[rank::2] for t in data(step))
            wrapper = make(net.parameters(), lambda p: torch.optim.SGD(p, 0.0), rho=RHO)

            def closure(x=x, y=y, wrapper=wrapper):
                wrapper.zero_grad()
                loss = (net(x) - y).pow(2).mean()
                loss.backward()
                return loss

            wrapper.step(closure)
            halves.append([p.grad.clone() for p in net.parameters()])
        for p, a, b in zip(net.parameters(), *halves, strict=True):
            p.grad = (a + b) / 2
        base.step()
    return state_of(net)


if __name__ == "__main__":
    worker(Path(sys.argv[1]))
