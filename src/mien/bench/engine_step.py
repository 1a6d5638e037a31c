"""``mien bench engine``: a step of the engine over a plain torch loop, and waiting for data."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from mien.bench.speed import entry, interleave, ratio
from mien.core.config import Recipe, evolve_all
from mien.data.loader import ImageBatch
from mien.engine.trainer import Trainer
from mien.methods.ncl.config import RECIPES
from mien.methods.ncl.task import build, build_net, configs

STEPS = 4


def bench(repeats: int = 10) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """ResNet-20 on 32-pixel RGB, batch 64, one expert, cross-entropy; then the waiting shares of two nets."""
    entries, ratios = [], {}
    recipe = resnet20_recipe()
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(build(recipe, {}), recipe, Path(folder))
        stream = trainer.experiment.source.stream(0, 0, 1)
        trainer.task.train()
        plain = plain_loop(recipe, build(recipe, {}).source.stream(0, 0, 1))

        def ours() -> None:
            for _ in range(STEPS):
                trainer.one_step(stream)

        def reference() -> None:
            for _ in range(STEPS):
                next(plain)

        seconds = interleave({"engine": ours, "plain": reference}, repeats)
    entries.append(entry("engine_resnet20", seconds["engine"] / STEPS))
    entries.append(entry("plain_loop_resnet20", seconds["plain"] / STEPS))
    ratios["step"] = ratio(seconds["engine"], seconds["plain"])
    for name, wanted in (("small", RECIPES["small"]()), ("resnet20", recipe)):
        ratios[f"waiting_{name}"] = waiting(wanted)
    return entries, ratios


def resnet20_recipe() -> Recipe:
    """ResNet-20 at 32 pixels on the bundled pictures (resampled from 28), with the small augmentation."""
    method = {"backbone": "cifar-resnet-20", "experts": 1, "copies": 1, "loss": "ce", "n_hard": 0}
    changes: dict[str, object] = {f"method.{k}": v for k, v in method.items()}
    changes |= {"method.inter": False, "method.intra": False, "data.size": 32, "data.channels": 3}
    changes |= {"data.mean": (0.5,) * 3, "data.std": (0.5,) * 3}
    changes |= {"schedule.lr_rule": "constant", "schedule.warmup_epochs": 0.0, "schedule.checkpoint_every": 0}
    return evolve_all(RECIPES["small"](), changes)


def plain_loop(recipe: Recipe, stream: Iterator[list[ImageBatch]]) -> Iterator[float]:
    """The reference: what one would write by hand, one step for each ``next``."""
    net = build_net(*configs(recipe), 10)
    optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9, nesterov=True, weight_decay=2e-4)
    net.train()
    for batches in stream:
        for batch in batches:
            optimizer.zero_grad()
            loss = F.cross_entropy(net(batch.image)[0], batch.target)
            loss.backward()
            optimizer.step()
            yield loss.item()


def waiting(recipe: Recipe, steps: int = 15) -> float:
    """Share of the step time spent waiting for the next batch."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(build(recipe, {}), recipe, Path(folder))
        stream = trainer.experiment.source.stream(0, 0, 1)
        trainer.one_step(stream)
        trainer.log.collected()
        began = time.perf_counter()
        for _ in range(steps):
            trainer.one_step(stream)
        return trainer.log.collected() / (time.perf_counter() - began)
