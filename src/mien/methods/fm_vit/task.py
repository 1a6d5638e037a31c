"""Training on all modalities so that any of them will do."""

from __future__ import annotations

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
from mien.data.config import PadData
from mien.data.pad_images import PadSplits
from mien.data.pad_loader import PadAugment, PadBatch, PadLoader
from mien.data.pads import are_drawn, read_pad
from mien.engine.task import Clock, Experiment, Rng, StepOut, Task
from mien.methods.fm_vit.auxiliary import patch_values
from mien.methods.fm_vit.config import FmVitConfig
from mien.methods.fm_vit.flexible import FlexibleNet
from mien.methods.fm_vit.loss import agreement, branch_loss, peer_distillation
from mien.methods.fm_vit.nets import build_net
from mien.methods.fm_vit.score import dev_scores, fit_facts

Subset = tuple[str, ...]


class FlexibleTask(Task[PadBatch]):
    """L = mean over the step's subsets A of [mean_{m in A} CE(z^m, y) + lambda_f CE(z, y)] + options.

    Args:
        model: what is trained.
        config: the net, its schedule of subsets, and its options.
        lr: rate of new weights; pre-trained ones have ``pretrained_lr`` times that.
    """

    def __init__(self, model: FlexibleNet, config: FmVitConfig, lr: float) -> None:
        super().__init__()
        self.model, self.config, self.lr = model, config, lr

    def loss(self, batch: PadBatch, clock: Clock, rng: Rng) -> StepOut:
        """The loss over the subsets of this step."""
        own, y = self.config, batch.target
        subsets = self.seen(clock, rng)
        outs = dict(zip(subsets, self.model.forward_subsets(batch.images, subsets), strict=True))
        total = torch.stack(
            [branch_loss(o["logits"], o["fused"], y, own.fused) for o in outs.values()]
        ).mean()
        logs = self._right(outs, y)
        if own.net == "mavit":
            logs["modality"] = self._modality(outs)
            total = total + logs["modality"]
        if own.agree:
            parts = [agreement(o["cls"]) for s, o in outs.items() if len(s) > 1]
            total = total + own.agree * sum(parts, total.new_zeros(()))
        alone = outs.get((own.taught,))
        if own.peer:
            logs["peer"] = total.new_zeros(())
            if alone is not None:
                z = alone["logits"][own.taught]
                logs["peer"] = peer_distillation(z, self._teacher(outs), self._temperature())
            total = total + own.peer * logs["peer"]
        if own.aux_targets:
            logs["aux"] = total.new_zeros(()) if alone is None else self._aux(alone, batch)
            total = total + (1.0 if own.aux is None else own.aux) * logs["aux"]
        return StepOut(total, {k: v.detach() for k, v in logs.items()})

    def _right(self, outs: Mapping[Subset, Mapping[str, Any]], y: Tensor) -> dict[str, Tensor]:
        """Training accuracy of each branch in this step's subsets; one that stays low starves."""
        logs = {}
        for m in self.config.modalities:
            own = [o["logits"][m] for o in outs.values() if m in o["logits"]]
            right = [(z.argmax(1) == y).float().mean() for z in own]
            logs[f"right_{m}"] = torch.stack(right).mean() if right else y.new_zeros((), dtype=torch.float32)
        return logs

    def _modality(self, outs: Mapping[Subset, Mapping[str, Any]]) -> Tensor:
        """Cross-entropy of MA-ViT's guess of which modality a sequence is of."""
        losses = []
        for o in outs.values():
            for m, z in o["modality"].items():
                is_m = torch.full((len(z),), self.config.modalities.index(m), device=z.device)
                losses.append(F.cross_entropy(z, is_m))
        return torch.stack(losses).mean()

    def seen(self, clock: Clock, rng: Rng) -> list[Subset]:
        """The subsets of modalities that this step runs."""
        own, whole = self.config, self.config.modalities
        singles: list[Subset] = [(m,) for m in whole]
        if own.schedule == "full" or len(whole) == 1:
            return [whole]
        if own.schedule == "each":
            return [whole, *singles]
        if own.schedule == "alternate":
            return singles if clock.step % 2 else [whole]
        drop = 0.3 if own.drop is None else own.drop
        keep = torch.rand(len(whole), generator=rng.generator("subset")) >= drop
        if not bool(keep.any()):
            keep[int(torch.randint(len(whole), (1,), generator=rng.generator("last")))] = True
        return [tuple(m for m, k in zip(whole, keep.tolist(), strict=True) if k)]

    def _temperature(self) -> float:
        return 2.0 if self.config.peer_temperature is None else self.config.peer_temperature

    def _teacher(self, outs: Mapping[Subset, Mapping[str, Any]]) -> Tensor:
        """(B, 2) logits of the peers, from this step's subsets.

        Raises:
            ConfigError: this schedule has no step with pupil and teacher.
        """
        own = self.config
        source = own.peer_from or "others"
        if source == "fused":
            if own.modalities not in outs:
                raise ConfigError("method.peer_from='fused' needs method.subsets='each'")
            fused: Tensor = outs[own.modalities]["fused"]
            return fused
        names = [m for m in own.modalities if m != own.taught] if source == "others" else [source]
        return torch.stack([outs[(m,)]["logits"][m] for m in names]).mean(0)

    def _aux(self, alone: Mapping[str, Any], batch: PadBatch) -> Tensor:
        """Mean squared error of other modalities' coarse pictures, predicted from the pupil's tokens."""
        losses = [
            F.mse_loss(alone["aux"][m], patch_values(batch.images[m], self.config.patch))
            for m in self.config.aux_targets
        ]
        return torch.stack(losses).mean()

    def exported(self) -> nn.Module:
        """The net."""
        return self.model

    def param_groups(self, weight_decay: float) -> list[dict[str, Any]]:
        """Pre-trained weights apart, at their own share of the rate."""
        loaded = self.model.loaded
        if not loaded:
            return super().param_groups(weight_decay)
        named = [(n, p) for n, p in self.model.named_parameters() if p.requires_grad]
        share = 0.1 if self.config.pretrained_lr is None else self.config.pretrained_lr
        new, old = ([p for n, p in named if (n in loaded) is k] for k in (False, True))
        return [
            {"params": new, "weight_decay": weight_decay},
            {"params": old, "weight_decay": weight_decay, "lr": self.lr * share},
        ]


def configs(recipe: Recipe) -> tuple[FmVitConfig, PadData]:
    """The two halves of a recipe of this method."""
    if not isinstance(recipe.method, FmVitConfig) or not isinstance(recipe.data, PadData):
        raise ConfigError(f"recipe {recipe.name!r} is not one of fm_vit's")
    return recipe.method, recipe.data


def at_hand(recipe: Recipe) -> bool:
    """Whether the recipe's pictures are there, or would first be drawn."""
    return are_drawn(configs(recipe)[1])


def build(recipe: Recipe, uses: Mapping[str, Path], splits: PadSplits | None = None) -> Experiment:
    """The experiment of a recipe (no earlier stage is used).

    Raises:
        ConfigError: the data lacks a modality of the net, or the shapes do not fit.
    """
    method, data = configs(recipe)
    splits = splits or read_pad(data)
    held = [m for m in splits.train.modalities if m in splits.dev.modalities]
    missing = [m for m in method.modalities if m not in held]
    if missing:
        to_those = (
            f"--modalities {' '.join(held)}" if held[1:] else f"--modalities {' '.join(held)} --net single"
        )
        raise ConfigError(f"the data has no {missing[0]} pictures (it has {', '.join(held)}); set {to_those}")
    model = build_net(method, data.size, derive(recipe.seed, "init"))
    augment = PadAugment(data.size) if data.augment == "pad" else None
    schedule = recipe.schedule
    source = PadLoader(splits.train, method.modalities, data.size, schedule.batch, recipe.seed, augment,
                       data.balance, schedule.accumulate, data.workers, data.buffer)  # fmt: skip
    return Experiment(
        FlexibleTask(model, method, recipe.optim.lr),
        source,
        splits.fingerprint,
        partial(dev_scores, method=method, data=data, splits=splits),
        partial(fit_facts, method=method, data=data, splits=splits),
    )
