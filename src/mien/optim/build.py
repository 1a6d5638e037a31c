"""Optimisers and learning rates from config."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from mien.core.config import SAM_KINDS, OptimConfig, ScheduleConfig
from mien.optim.sam import ASAM, GSAM, SAGM, SAM, TwoPassOptimizer

Params = Iterable[Tensor] | Iterable[dict[str, Any]]


def build_optimizer(config: OptimConfig, params: Params) -> Optimizer:
    """The optimiser of a config; SAM-type ones wrap their base."""
    if config.kind not in SAM_KINDS:
        return _base(config.kind, config, params)
    names = ("rho", "alpha", "beta", "adaptive", "average", "same_rng")
    chosen = {n: getattr(config, n) for n in names if getattr(config, n) is not None}
    return _FAMILY[config.kind](None, _base(config.base or "sgd", config, params), **chosen)


_FAMILY: dict[str, Callable[..., TwoPassOptimizer]] = {"sam": SAM, "asam": ASAM, "gsam": GSAM, "sagm": SAGM}


def _base(kind: str, config: OptimConfig, params: Params) -> Optimizer:
    if kind == "sgd":
        momentum = 0.9 if config.momentum is None else config.momentum
        return torch.optim.SGD(
            params, config.lr, momentum=momentum, nesterov=momentum > 0, weight_decay=config.weight_decay
        )
    adam = torch.optim.AdamW if kind == "adamw" else torch.optim.Adam
    return adam(params, config.lr, weight_decay=config.weight_decay)


def lr_factor(schedule: ScheduleConfig, step: int, steps: int, steps_per_epoch: int) -> float:
    """Learning rate of a step as a factor of the peak.

    Warm-up is linear in steps from a = 1/3 (or ``warmup_start``): f = a (1 - e/W) + e/W at e epochs of W. It
    replaces the rule's factor while it lasts. The poly rule is (1 - (k - w) / (T - w))^p at step k of T, with
    w steps of warm-up.
    """
    epoch = step / steps_per_epoch
    if epoch < schedule.warmup_epochs:
        done = epoch / schedule.warmup_epochs
        return (
            (1 - done) / 3 + done
            if schedule.warmup_start is None
            else (schedule.warmup_start * (1 - done) + done)
        )
    if schedule.lr_rule == "cosine":
        return schedule.lr_end + (1 - schedule.lr_end) * 0.5 * (
            1 + math.cos(math.pi * min(1.0, step / steps))
        )
    if schedule.lr_rule == "multistep":
        return float(schedule.gamma ** sum(epoch >= m for m in schedule.milestones))
    if schedule.lr_rule == "poly":
        warm = schedule.warmup_epochs * steps_per_epoch
        left = 1 - (step - warm) / max(1e-9, steps - warm)
        return float(max(0.0, left) ** (1.0 if schedule.power is None else schedule.power))
    return 1.0


def set_lr(optimizer: Optimizer, factor: float) -> None:
    """Sets every group's learning rate to ``factor`` times its first value."""
    for group in optimizer.param_groups:
        group.setdefault("peak_lr", group["lr"])
        group["lr"] = group["peak_lr"] * factor
