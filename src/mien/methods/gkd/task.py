"""Training of a recogniser with labels, and with a teacher's logits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien.core.config import Recipe
from mien.core.errors import ConfigError
from mien.core.seeds import derive
from mien.data.augment import build_augment, prepare
from mien.data.config import FaceData
from mien.data.labelled import ArrayImages, LabelledImages
from mien.data.loader import ImageBatch, StepLoader
from mien.data.rendered_faces import FaceSplits, masked, rendered_faces
from mien.engine.checkpoint import load_weights
from mien.engine.folder import ModelFolder, open_folder
from mien.engine.kept import LAST
from mien.engine.task import Clock, Experiment, Rng, StepOut, Task
from mien.losses import DKDLoss, KDLoss
from mien.losses.logit import LogitLoss
from mien.methods.gkd.config import GkdConfig
from mien.methods.gkd.loss import PRESETS, GKDLoss
from mien.methods.gkd.model import Recognizer
from mien.metrics import open_set_report


def build_loss(config: GkdConfig) -> LogitLoss | None:
    """The distillation term of a config (without its cross-entropy), or None."""
    T = 4.0 if config.temperature is None else config.temperature
    warmup = config.kd_warmup or 0.0
    alpha = 1.0 if config.alpha is None else config.alpha
    if config.distill == "kd":
        return KDLoss(T=T, warmup_epochs=warmup, ce=0.0)
    if config.distill == "dkd":
        return DKDLoss(alpha, 8.0 if config.beta is None else config.beta, T=T, warmup_epochs=warmup, ce=0.0)
    if config.distill == "gkd":
        selector = PRESETS[config.group or "recommended"]
        changes = {k: v for k in ("t_group", "rate") if (v := getattr(config, k)) is not None}
        beta = 1.0 if config.beta is None else config.beta
        return GKDLoss(
            alpha, beta, config.lam or 0.0, T, replace(selector, **changes), warmup_epochs=warmup, ce=0.0
        )
    return None


class GkdTask(Task[ImageBatch]):
    """L = CE(zs, y) + w T^2 D(zt, zs).

    Args:
        model: what is trained.
        config: head and distillation.
        teacher: a trained recogniser, where one teaches.
    """

    def __init__(self, model: Recognizer, config: GkdConfig, teacher: Recognizer | None) -> None:
        super().__init__()
        self.model, self.config = model, config
        self.distill = build_loss(config)
        if teacher is not None:
            self.hold("teacher", teacher)

    def loss(self, batch: ImageBatch, clock: Clock, rng: Rng) -> StepOut:
        """Margin cross-entropy, and the distillation of the logits of the same pictures."""
        z, plain = self.model.logits(batch.image, batch.target)
        ce = F.cross_entropy(z.float(), batch.target)
        if self.distill is None:
            return StepOut(ce, {"ce": ce.detach()})
        with torch.no_grad():
            zt, plain_t = cast("Recognizer", self.held("teacher")).logits(batch.image, batch.target)
        if self.config.kd_logits == "margin":
            kd, logs = self.distill(z, zt, batch.target, clock.epoch)
        else:
            kd, logs = self.distill(plain, plain_t, batch.target, clock.epoch)
        weight = 1.0 if self.config.weight is None else self.config.weight
        return StepOut(ce + weight * kd, {"ce": ce.detach(), **logs})

    def exported(self) -> nn.Module:
        """Net and class weights."""
        return self.model


def configs(recipe: Recipe) -> tuple[GkdConfig, FaceData]:
    """The two halves of a recipe of this method."""
    if not isinstance(recipe.method, GkdConfig) or not isinstance(recipe.data, FaceData):
        raise ConfigError(f"recipe {recipe.name!r} is not one of gkd's")
    return recipe.method, recipe.data


def read_faces(data: FaceData) -> FaceSplits:
    """The people of a data config."""
    counts = (data.people, data.val_people, data.test_people)
    faces = rendered_faces(*counts, data.per_identity, data.size, data.set_seed)
    return without_background(faces) if data.look == "masked" else faces


def without_background(faces: FaceSplits) -> FaceSplits:
    """The same people in grey, behind an oval."""

    def plain(s: ArrayImages) -> ArrayImages:
        return ArrayImages(masked(s.images), s.targets, s.classes, s.keys)

    return replace(
        faces,
        train=plain(faces.train),
        val=plain(faces.val),
        test=plain(faces.test),
        fingerprint=f"{faces.fingerprint}-masked",
    )


def restore(folder: ModelFolder) -> Recognizer:
    """The trained recogniser of a model folder, in eval mode."""
    method, data = configs(folder.recipe)
    model = Recognizer(method, data.size, len(folder.facts["classes"]), 0)
    load_weights(model, folder.path / LAST)
    return model.eval()


def build(recipe: Recipe, uses: Mapping[str, Path], faces: FaceSplits | None = None) -> Experiment:
    """The experiment of a recipe; a distilled one uses the model in slot ``teacher``.

    Raises:
        ConfigError: no teacher where one is needed, or one of other classes.
    """
    method, data = configs(recipe)
    faces = faces or read_faces(data)
    teacher = None
    if method.distill != "none":
        if "teacher" not in uses:
            raise ConfigError("method.distill needs a teacher: --from teacher=WEIGHTS")
        folder = open_folder(uses["teacher"])
        teacher = restore(folder)
        if list(folder.facts["classes"]) != list(faces.train.classes):
            raise ConfigError(f"{uses['teacher']}: the teacher was trained on other people than this student")
    model = Recognizer(method, data.size, len(faces.train.classes), derive(recipe.seed, "init"))
    source = StepLoader(
        faces.train,
        build_augment(data.augment, data.size, 3),
        recipe.schedule.batch,
        recipe.seed,
        1,
        recipe.schedule.accumulate,
        data.workers,
    )
    return Experiment(
        GkdTask(model, method, teacher),
        source,
        faces.fingerprint,
        partial(_validate, images=faces.val, size=data.size),
        partial(_facts, faces=faces),
    )


@torch.inference_mode()
def embed(
    net: nn.Module, images: LabelledImages, size: int, device: torch.device, batch: int = 256
) -> Tensor:
    """Embeddings (N, D) of a split, each the sum over the picture and its mirror image, on the CPU."""
    net = net.to(device).eval()
    rows = []
    for first in range(0, len(images), batch):
        x = prepare(images.pictures(range(first, min(first + batch, len(images)))), size, 3).to(device)
        rows.append((net(x) + net(x.flip(3))).float().cpu())
    return torch.cat(rows)


def _validate(net: nn.Module, device: torch.device, *, images: LabelledImages, size: int) -> dict[str, float]:
    """Rank-1 and EER of people never trained on."""
    report = open_set_report(embed(net, images, size, device).numpy(), images.targets, draws=2)
    return {"rank_1": report.rank_1.value, "eer": report.eer.value, "auc": report.auc.value}


def _facts(net: nn.Module, device: torch.device, *, faces: FaceSplits) -> dict[str, Any]:
    """What a predictor needs beside the weights."""
    return {
        "classes": list(faces.train.classes),
        "data": {"fingerprint": faces.fingerprint, "note": "rendered people", "real": False},
    }
