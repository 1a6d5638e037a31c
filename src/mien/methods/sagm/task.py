"""Training on several source domains: ERM (under any optimiser) and the algorithms it is compared with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien.core.config import Recipe
from mien.core.errors import ConfigError
from mien.core.seeds import derive
from mien.data.augment import build_augment
from mien.data.config import DomainData
from mien.data.domain_loader import DomainBatch, DomainLoader, stretched_batches
from mien.data.domain_readers import read_domains
from mien.data.domains import Domains, DomainSplit
from mien.data.holdout import hold_out
from mien.data.labelled import LabelledImages, spread
from mien.engine.task import Clock, Experiment, Rng, StepOut, Task
from mien.methods.sagm.config import SagmConfig
from mien.methods.sagm.loss import (
    coral_distance,
    groupdro_weights,
    irm_penalty,
    mixed_cross_entropy,
    mixup_pairs,
)
from mien.methods.sagm.model import DomainNet, build_net
from mien.methods.sagm.sharpness import Batch, surrogate_gaps
from mien.metrics.classification import fit_temperature

GAP_RADII = (0.05, 0.2)
"""Radii at which every look measures the surrogate gap."""


class DomainTask(Task[DomainBatch]):
    """One net, one algorithm.

    Args:
        net: what is trained.
        config: which algorithm, with which weights.
        sources: number of source domains.
    """

    share: Tensor
    counted: Tensor

    def __init__(self, net: DomainNet, config: SagmConfig, sources: int) -> None:
        super().__init__()
        self.net, self.config = net, config
        self.register_buffer("share", torch.full((sources,), 1.0 / sources))
        self.register_buffer("counted", torch.zeros((), dtype=torch.long))
        self._losses: dict[str, Callable[[DomainBatch, Clock, Rng], StepOut]] = {
            "erm": self._erm,
            "coral": self._coral,
            "irm": self._irm,
            "groupdro": self._groupdro,
            "mixup": self._mixup,
        }

    def loss(self, batch: DomainBatch, clock: Clock, rng: Rng) -> StepOut:
        """The algorithm's loss on one minibatch of each source domain."""
        return self._losses[self.config.algorithm](batch, clock, rng)

    def exported(self) -> nn.Module:
        """The net."""
        return self.net

    def _erm(self, batch: DomainBatch, clock: Clock, rng: Rng) -> StepOut:
        """Mean cross-entropy over the union of the minibatches."""
        return StepOut(F.cross_entropy(self.net(batch.image), batch.target))

    def _coral(self, batch: DomainBatch, clock: Clock, rng: Rng) -> StepOut:
        features = self.net.forward_features(batch.image)
        risk = F.cross_entropy(self.net.forward_head(features), batch.target)
        distance = coral_distance(list(features.split(batch.sizes)))
        weight = 1.0 if self.config.coral_weight is None else self.config.coral_weight
        return StepOut(risk + weight * distance, {"risk": risk, "distance": distance})

    def _irm(self, batch: DomainBatch, clock: Clock, rng: Rng) -> StepOut:
        # Departs from DomainBed: the optimiser's moments are not reset when the weight jumps.
        parts = list(zip(self.net(batch.image).split(batch.sizes), batch.parts, strict=True))
        risk = torch.stack([F.cross_entropy(z, p.target) for z, p in parts]).mean()
        penalty = torch.stack([irm_penalty(z, p.target) for z, p in parts]).mean()
        anneal = 500 if self.config.irm_anneal is None else self.config.irm_anneal
        full = 100.0 if self.config.irm_weight is None else self.config.irm_weight
        weight = full if clock.step >= anneal else 1.0
        return StepOut(risk + weight * penalty, {"risk": risk, "penalty": penalty})

    def _groupdro(self, batch: DomainBatch, clock: Clock, rng: Rng) -> StepOut:
        parts = zip(self.net(batch.image).split(batch.sizes), batch.parts, strict=True)
        risks = torch.stack([F.cross_entropy(z, p.target) for z, p in parts])
        # Once a step (its first micro-batch and pass), so that the loss is repeatable within a step.
        if self.training and int(self.counted) <= clock.step:
            eta = 0.01 if self.config.groupdro_eta is None else self.config.groupdro_eta
            self.share.copy_(groupdro_weights(self.share, risks, eta))
            self.counted.fill_(clock.step + 1)
        return StepOut((self.share.clone() * risks).sum(), {"worst": risks.max()})

    def _mixup(self, batch: DomainBatch, clock: Clock, rng: Rng) -> StepOut:
        generator = rng.generator("mixup")
        alpha = 0.2 if self.config.mixup_alpha is None else self.config.mixup_alpha
        beta = np.random.default_rng(derive(rng.seed, "beta"))
        losses = []
        for a, b in mixup_pairs(len(batch.parts), generator):
            first, second = batch.parts[a], batch.parts[b]
            count, lam = min(len(first), len(second)), float(beta.beta(alpha, alpha))
            mixed = lam * first.image[:count] + (1 - lam) * second.image[:count]
            z = self.net(mixed)
            losses.append(mixed_cross_entropy(z, first.target[:count], second.target[:count], lam))
        return StepOut(torch.stack(losses).mean())


def configs(recipe: Recipe) -> tuple[SagmConfig, DomainData]:
    """The two halves of a recipe of this method."""
    if not isinstance(recipe.method, SagmConfig) or not isinstance(recipe.data, DomainData):
        raise ConfigError(f"recipe {recipe.name!r} is not one of sagm's")
    return recipe.method, recipe.data


def build(recipe: Recipe, uses: Mapping[str, Path], domains: Domains | None = None) -> Experiment:
    """The experiment of a recipe (no earlier stage is used)."""
    method, data = configs(recipe)
    domains = domains or read_domains(data)
    sources, targets = hold_out(domains, data)
    net = build_net(method, data, len(domains.sets[0].classes), derive(recipe.seed, "init"))
    source = DomainLoader(
        tuple(s.inner for s in sources),
        build_augment(data.augment, data.size, data.channels),
        recipe.schedule.batch,
        recipe.seed,
        recipe.schedule.accumulate,
        data.workers,
    )
    return Experiment(
        DomainTask(net, method, len(sources)),
        source,
        domains.fingerprint,
        partial(_look, sources=sources, targets=targets, method=method, data=data),
        partial(_facts, sources=sources, targets=targets, domains=domains, data=data),
    )


@torch.no_grad()  # not inference mode: a net that is moved there could not be trained on
def collect_logits(
    net: nn.Module, images: LabelledImages, data: DomainData, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Logits ``(N, C)`` and targets ``(N,)`` of pictures, on the CPU."""
    net = net.to(device).eval()
    rows = [
        (net(x.to(device)).float().cpu(), y) for x, y in stretched_batches(images, data.size, data.channels)
    ]
    return torch.cat([z for z, _ in rows]), torch.cat([y for _, y in rows])


def training_batches(
    sources: list[DomainSplit], data: DomainData, limit: int, device: torch.device
) -> list[Batch]:
    """At most ``limit`` training pictures, evenly from every source domain, without augmentation."""
    each = max(1, limit // len(sources))
    chosen = [s.inner.subset(spread(len(s.inner), each)) for s in sources]
    return [
        (x.to(device), y.to(device))
        for s in chosen
        for x, y in stretched_batches(s, data.size, data.channels)
    ]


def _look(
    net: nn.Module,
    device: torch.device,
    *,
    sources: list[DomainSplit],
    targets: list[DomainSplit],
    method: SagmConfig,
    data: DomainData,
) -> dict[str, float]:
    """One look, as DomainBed records it: accuracies of the inner and outer part of every domain.

    ``source_out`` (the unweighted mean of the sources' outer accuracies) selects, ``loss`` is the sources'
    outer cross-entropy. The accuracies of held-out domains are recorded, but nothing in a
    training depends on them.
    """
    scores: dict[str, float] = {}
    losses = []
    for split in [*sources, *targets]:
        for part, images in (("in", split.inner), ("out", split.outer)):
            if not len(images):
                continue
            z, y = collect_logits(net, images, data, device)
            scores[f"{split.name}_{part}"] = float((z.argmax(1) == y).double().mean())
            if part == "out" and split in sources:
                losses.append(float(F.cross_entropy(z, y)))
    first = {}
    if losses:
        outer = [scores[f"{s.name}_out"] for s in sources if len(s.outer)]
        first = {"source_out": float(np.mean(outer)), "loss": float(np.mean(losses))}
    if method.monitor:
        batches = training_batches(sources, data, method.monitor, device)
        train, gaps = surrogate_gaps(net, F.cross_entropy, batches, GAP_RADII)
        first |= {"train_loss": train, **{f"gap_{r}": g for r, g in zip(GAP_RADII, gaps, strict=True)}}
    return first | scores


def _facts(
    net: nn.Module,
    device: torch.device,
    *,
    sources: list[DomainSplit],
    targets: list[DomainSplit],
    domains: Domains,
    data: DomainData,
) -> dict[str, Any]:
    """What a predictor needs beside the weights; the temperature is fitted on the sources' outer parts."""
    outer = [collect_logits(net, s.outer, data, device) for s in sources if len(s.outer)]
    temperature = 1.0
    if outer:
        temperature = fit_temperature(torch.cat([z for z, _ in outer]), torch.cat([y for _, y in outer]))
    return {
        "classes": list(domains.sets[0].classes),
        "sources": [s.name for s in sources],
        "held_out": [t.name for t in targets],
        "temperature": temperature,
        "data": {"fingerprint": domains.fingerprint, "note": domains.note, "real": domains.real},
    }
