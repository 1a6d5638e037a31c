"""Training of NCL, NCL++ and their baselines."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mien.core.config import Recipe
from mien.core.errors import ConfigError
from mien.core.seeds import derive
from mien.data.augment import build_augment, eval_zoom
from mien.data.config import ClassificationData
from mien.data.labelled import LabelledImages, Splits
from mien.data.loader import ImageBatch, StepLoader, eval_batches
from mien.data.longtail_people import people_at_hand
from mien.data.readers import read_splits
from mien.engine.task import Clock, Experiment, Rng, StepOut, Task
from mien.methods.ncl.baselines import LDAMLoss
from mien.methods.ncl.config import NclConfig
from mien.methods.ncl.loss import NCLLoss
from mien.methods.ncl.model import MultiExpertNet
from mien.metrics.classification import fit_temperature, grouped_mean

log = logging.getLogger(__name__)


class NclTask(Task[ImageBatch]):
    """K experts and their loss.

    Args:
        net: the experts.
        config: which loss, with which weights.
        counts: training images of each class.
    """

    def __init__(self, net: MultiExpertNet, config: NclConfig, counts: Sequence[int]) -> None:
        super().__init__()
        self.net, self.config = net, config
        self.ldam = LDAMLoss(counts, config.ldam_margin, config.ldam_scale, config.drw_start)
        self.nested = NCLLoss(
            counts,
            config.n_hard,
            config.hard_ratio,
            config.lam,
            config.lam_intra,
            config.hcm_mode,
            config.reduction,
            config.inter,
            config.intra,
            config.copies,
            balanced=config.loss == "balanced",
            weight=config.weight,
        )

    def loss(self, batch: ImageBatch, clock: Clock, rng: Rng) -> StepOut:
        """Eq. (5) or (6), or a baseline's loss summed over experts."""
        logits = self.net(batch.image)
        if self.config.loss == "ldam":
            total = torch.stack([self.ldam(z, batch.target, clock.progress) for z in logits]).sum()
            return StepOut(total)
        terms = self.nested(logits, batch.target)
        return StepOut(terms.pop("loss"), terms)

    def exported(self) -> nn.Module:
        """The experts."""
        return self.net


def build_net(config: NclConfig, data: ClassificationData, num_classes: int) -> MultiExpertNet:
    """The experts of a recipe, with weights from the global generator."""
    return MultiExpertNet(
        config.backbone,
        config.experts,
        num_classes,
        config.head,
        scale=config.scale,
        channels=data.channels,
        mean=data.mean,
        std=data.std,
        shared_stages=config.shared_stages,
        pretrained=config.pretrained,
    )


def configs(recipe: Recipe) -> tuple[NclConfig, ClassificationData]:
    """The two halves of a recipe of this method."""
    if not isinstance(recipe.method, NclConfig) or not isinstance(recipe.data, ClassificationData):
        raise ConfigError(f"recipe {recipe.name!r} is not one of ncl's")
    return recipe.method, recipe.data


def at_hand(recipe: Recipe) -> bool:
    """Whether the recipe's pictures are there, or would first be drawn."""
    data = configs(recipe)[1]
    return data.kind != "people" or people_at_hand(data)


def build(recipe: Recipe, uses: Mapping[str, Path], splits: Splits | None = None) -> Experiment:
    """The experiment of a recipe (no earlier stage is used)."""
    method, data = configs(recipe)
    splits = splits or read_splits(data)
    counts = splits.train.counts()
    if not len(splits.val):
        log.warning("no validation pictures (too few a class): nothing is validated, temperatures stay 1")
    if (counts == 0).any():
        log.warning(
            "%d classes have no training image; their prior counts as one image", int((counts == 0).sum())
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(recipe.seed, "init"))
        net = build_net(method, data, len(splits.train.classes))
    source = StepLoader(
        splits.train,
        build_augment(data.augment, data.size, data.channels),
        recipe.schedule.batch,
        recipe.seed,
        method.copies,
        recipe.schedule.accumulate,
        data.workers,
        data.buffer,
    )
    return Experiment(
        NclTask(net, method, [int(n) for n in counts]),
        source,
        splits.fingerprint,
        partial(_validate, splits=splits, data=data) if len(splits.val) else None,
        partial(_facts, splits=splits, data=data),
    )


def _border(images: LabelledImages) -> float:
    """Median brightness (0..255) of the outermost pixels of training pictures: dark for cut-out objects."""
    some = images.pictures(range(min(256, len(images))))
    return float(np.median([np.median([p[0], p[-1]]) for p in some]))


@torch.no_grad()  # not inference mode: a net that is moved there could not be trained on
def collect_logits(
    net: nn.Module, images: LabelledImages, data: ClassificationData, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Raw logits ``(K, N, C)`` and targets ``(N,)`` of a whole split, on the CPU."""
    net = net.to(device).eval()
    zoom = eval_zoom(data.augment)
    batches = eval_batches(images, data.size, data.channels, zoom)
    if not len(images):
        blank = torch.zeros(1, data.channels, data.size, data.size, device=device)
        return net(blank).float().cpu()[:, :0], torch.zeros(0, dtype=torch.long)
    rows = [(net(b.image.to(device)).float().cpu(), b.target) for b in batches]
    return torch.cat([z for z, _ in rows], dim=1), torch.cat([t for _, t in rows])


def _validate(
    net: nn.Module, device: torch.device, *, splits: Splits, data: ClassificationData
) -> dict[str, float]:
    """Accuracy on the validation split: single (mean over experts) first, then ensemble."""
    logits, target = collect_logits(net, splits.val, data, device)
    counts = splits.train.counts()
    single = (logits.argmax(-1) == target).double().mean(0).numpy()
    together = (logits.mean(0).argmax(-1) == target).double().numpy()
    groups = grouped_mean(single, target.numpy(), counts)
    scores = {"single": groups["all"], "ensemble": float(together.mean()), "few": groups["few"]}
    return {k: v for k, v in scores.items() if np.isfinite(v)}


def _facts(
    net: nn.Module, device: torch.device, *, splits: Splits, data: ClassificationData
) -> dict[str, Any]:
    """What a predictor needs beside the weights; temperatures are fitted on the validation split."""
    logits, target = collect_logits(net, splits.val, data, device)
    singles = [fit_temperature(z, target) for z in logits]
    return {
        "classes": list(splits.train.classes),
        "train_counts": [int(n) for n in splits.train.counts()],
        "temperature": {"ensemble": fit_temperature(logits.mean(0), target), "single": singles},
        "data": {"fingerprint": splits.fingerprint, "note": splits.note, "real": splits.real},
        "border": _border(splits.train),
        "input": {k: v for k, v in asdict(data).items() if k in ("size", "channels", "augment")},
    }
