"""Training on pairs of views: a face as it is, and as a worse camera would have it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien.core.config import Recipe
from mien.core.errors import ConfigError
from mien.core.seeds import derive
from mien.data.pad_images import LIVE
from mien.data.surveil_config import SurveilData
from mien.data.surveil_loader import SurveilBatch, SurveilLoader
from mien.data.surveil_sets import SurveilSplits, are_made, read_surveil
from mien.engine.task import Clock, Experiment, Rng, StepOut, Task
from mien.methods.cqil.config import CqilConfig
from mien.methods.cqil.loss import CQILLoss
from mien.methods.cqil.model import CQIL
from mien.methods.cqil.nets import build_net
from mien.methods.cqil.score import dev_scores, fit_facts
from mien.methods.cqil.solutions import SolutionNet, mixed
from mien.methods.cqil.superres import resolution_loss


class CqilTask(Task[SurveilBatch]):
    """L = `CQILLoss` of both views + w_sr L_sr; S alone in the first steps. One view: cross-entropy.

    Args:
        model: what is trained.
        config: its parts and their weights.
    """

    def __init__(self, model: CQIL, config: CqilConfig) -> None:
        super().__init__()
        self.model, self.config = model, config
        weights: dict[str, Any] = config.given("contrast_weight", "quality", "adversarial", "orthogonal")
        self.pair_loss = CQILLoss(config.contrast, 0.2 if config.t is None else config.t, **weights)
        self.slow = SlowNet(model, config) if config.contrast == "byol" else None

    def loss(self, batch: SurveilBatch, clock: Clock, rng: Rng) -> StepOut:
        """The loss of this step."""
        own, y = self.config, batch.target
        if self.model.resolver is None:
            return self._decide(batch, clock, rng)
        weight = 1.0 if own.resolution is None else own.resolution
        resolution = resolution_loss(self.model.resolver, batch.image[: len(y)])
        if clock.progress < (0.1 if own.sr_warmup is None else own.sr_warmup):
            return StepOut(weight * resolution, {"resolution": resolution.detach()})
        out = self._decide(batch, clock, rng)
        return StepOut(out.loss + weight * resolution, {**out.logs, "resolution": resolution.detach()})

    def _decide(self, batch: SurveilBatch, clock: Clock, rng: Rng) -> StepOut:
        """The loss of everything but S's own."""
        x, y = batch.image, batch.target
        if len(x) == len(y):
            return self._single(batch, rng)
        out = self.model(x, self._sharpen(x, rng), heads=True)
        target = None if self.slow is None else self.slow.follow(self.model, x, clock)
        loss, logs = self.pair_loss(out, y, batch.severity, target=target, maps=self.model.maps())
        return StepOut(loss, logs)

    def _single(self, batch: SurveilBatch, rng: Rng) -> StepOut:
        """Cross-entropy of the pictures as they are, mixed where the config says so."""
        x, y = batch.image, batch.target
        x, soft = mixed(x, F.one_hot(y, 2).to(x), self.config.mix, derive(rng.seed, "mix"))
        out = self.model(x, self._sharpen(x, rng))
        loss = F.cross_entropy(out.logits, soft if self.config.mix else y)
        logs = {"cls": loss.detach()}
        if self.config.centre:
            logs["centre"] = live_spread(out.features, y)
            loss = loss + self.config.centre * logs["centre"]
        return StepOut(loss, {k: v.detach() for k, v in logs.items()})

    def _sharpen(self, x: Tensor, rng: Rng) -> Tensor | None:
        """(B,) which pictures go through S if they are small; None without S."""
        if self.model.resolver is None:
            return None
        share = 0.5 if self.config.sharpen is None else self.config.sharpen
        return (torch.rand(len(x), generator=rng.generator("iqv")) < share).to(x.device)

    def exported(self) -> nn.Module:
        """The net."""
        return self.model


class SlowNet(nn.Module):
    """An exponential moving average of what projects: theta <- m theta + (1 - m) theta of the net (BYOL).

    Args:
        model: what is followed.
        config: with ``momentum`` m.
    """

    step: Tensor

    def __init__(self, model: CQIL, config: CqilConfig) -> None:
        super().__init__()
        self.net = copy.deepcopy(model).requires_grad_(False)
        self.momentum = 0.99 if config.momentum is None else config.momentum
        self.register_buffer("step", torch.tensor(0))

    @torch.no_grad()
    def follow(self, model: CQIL, x: Tensor, clock: Clock) -> Tensor:
        """Projections (B, P) of the slow net, which moves once for each new step of the clock."""
        if self.training and int(self.step) < clock.step:
            for mine, new in zip(self.net.parameters(), model.parameters(), strict=True):
                mine.lerp_(new, 1 - self.momentum)
            self.step.fill_(clock.step)
        projection: Tensor = self.net(x, heads=True).projection
        return projection


class SolutionTask(Task[SurveilBatch]):
    """A known solution's own loss, on one view or on both.

    Args:
        model: what is trained.
        mix: probability of mixed pictures.
    """

    def __init__(self, model: SolutionNet, mix: float) -> None:
        super().__init__()
        self.model, self.mix = model, mix

    def loss(self, batch: SurveilBatch, clock: Clock, rng: Rng) -> StepOut:
        """The net's loss."""
        views = len(batch.image) // len(batch.target)
        soft = F.one_hot(batch.target, 2).to(batch.image).repeat(views, 1)
        loss, logs = self.model.losses(batch.image, soft, batch.fold.repeat(views), rng, self.mix)
        return StepOut(loss, logs)

    def exported(self) -> nn.Module:
        """The net."""
        return self.model


def live_spread(features: Tensor, y: Tensor) -> Tensor:
    """mean_i |d_i - mean d|^2 / D over live faces, 0 without any; (B, D) and (B,)."""
    live = features[y == LIVE]
    return (live - live.mean(0)).square().mean() if len(live) else features.new_zeros(())


def configs(recipe: Recipe) -> tuple[CqilConfig, SurveilData]:
    """The two halves of a recipe of this method."""
    if not isinstance(recipe.method, CqilConfig) or not isinstance(recipe.data, SurveilData):
        raise ConfigError(f"recipe {recipe.name!r} is not one of cqil's")
    return recipe.method, recipe.data


def at_hand(recipe: Recipe) -> bool:
    """Whether the recipe's pictures are there, or would first be drawn."""
    return are_made(configs(recipe)[1])


def build(recipe: Recipe, uses: Mapping[str, Path], splits: SurveilSplits | None = None) -> Experiment:
    """The experiment of a recipe (no earlier stage is used).

    Raises:
        ConfigError: parts that need pairs without ``data.degrade``, or folds that do not fit.
    """
    method, data = configs(recipe)
    if (method.contrast != "none" or method.sqn) and not data.degrade:
        raise ConfigError("method.contrast and method.sqn compare two views; set data.degrade")
    if (method.net == "folds") != (data.folds is not None) or (
        method.net == "folds" and (method.members or 3) != data.folds
    ):
        raise ConfigError("method.net='folds' needs data.folds, as many as method.members (3)")
    splits = splits or read_surveil(data)
    model = build_net(method, data.size, derive(recipe.seed, "init"))
    task: Task[SurveilBatch]
    if isinstance(model, SolutionNet):
        task = SolutionTask(model, method.mix)
    elif isinstance(model, CQIL):
        task = CqilTask(model, method)
    else:
        raise ConfigError(f"method.net={method.net!r} has no task")
    schedule = recipe.schedule
    return Experiment(
        task,
        SurveilLoader(splits.train, data, schedule.batch, recipe.seed, schedule.accumulate),
        splits.fingerprint,
        partial(dev_scores, splits=splits),
        partial(fit_facts, splits=splits, protocol=data.protocol),
    )
