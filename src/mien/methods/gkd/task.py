"""Training of a recogniser with labels, and with a teacher's logits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien.core import io
from mien.core.config import Recipe
from mien.core.errors import ConfigError
from mien.core.seeds import derive
from mien.data.config import FaceData
from mien.data.faces import FaceSplits, are_at_hand, read_faces
from mien.data.loader import ImageBatch, StepLoader
from mien.engine.faces import face_checks, face_stream, restore, teacher_folder
from mien.engine.folder import ModelFolder
from mien.engine.predictor import default_device
from mien.engine.task import Clock, Experiment, Rng, StepOut, Task
from mien.engine.two_views import TwoViews, can_keep, kept_on_disk, view_outputs
from mien.losses import DKDLoss, EKDLoss, HintLoss, KDLoss, RKDLoss
from mien.losses.logit import LogitLoss
from mien.losses.numerics import cross_entropy
from mien.methods.gkd.config import GkdConfig
from mien.methods.gkd.loss import PRESETS, GKDLoss
from mien.nn.margin_heads import MarginHead
from mien.nn.partial_fc import PartialFC
from mien.nn.recognizer import Recognizer

EmbeddingLoss = HintLoss | RKDLoss | EKDLoss


def build_loss(config: GkdConfig, teacher_width: int = 0) -> LogitLoss | EmbeddingLoss | None:
    """The distillation term of a config (without its cross-entropy), or None.

    Args:
        config: which one, with its numbers.
        teacher_width: length of the teacher's embedding, for the linear map of ``fitnet``.
    """
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
    if config.distill == "fitnet":
        return HintLoss(config.embedding, teacher_width, warmup_epochs=warmup)
    if config.distill == "rkd":
        return RKDLoss(warmup_epochs=warmup)
    if config.distill == "ekd":
        return EKDLoss(warmup_epochs=warmup)
    return None


class GkdTask(Task[ImageBatch]):
    """L = CE(zs, y) + w T^2 D(zt, zs).

    Args:
        model: what is trained.
        config: head and distillation.
        teacher: a trained recogniser, where one teaches.
        seen: the teacher's embeddings of all training pictures, where they are kept.
        seed: of the linear map of ``fitnet``.
    """

    def __init__(
        self,
        model: Recognizer,
        config: GkdConfig,
        teacher: Recognizer | None = None,
        seen: TwoViews | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.model, self.config, self.seen = model, config, seen
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(seed, "distill"))
            self.distill = build_loss(config, teacher.net.num_features if teacher else 0)
        if teacher is not None:
            if isinstance(model.head, PartialFC):
                teacher.head = PartialFC.of(cast("MarginHead", teacher.head))
            self.hold("teacher", teacher)

    def loss(self, batch: ImageBatch, clock: Clock, rng: Rng) -> StepOut:
        """Margin cross-entropy, and the distillation of what the teacher says of the same pictures."""
        if isinstance(self.model.head, PartialFC):
            return self._sampled_loss(self.model.head, batch, clock, rng)
        e = self.model(batch.image)
        with_margin, plain = self.model.head.both(e, batch.target)
        ce = F.cross_entropy(with_margin, batch.target)
        if self.distill is None:
            return StepOut(ce, {"ce": ce.detach()})
        et = self.teacher_embeddings(batch, clock)
        if self.distill.takes == "embeddings":
            kd, logs = self.distill(e, et, batch.target, clock.epoch)
        else:
            zs = with_margin if self.config.kd_logits == "margin" else plain
            kd, logs = self.distill(zs, self.teacher_logits(et, batch.target), batch.target, clock.epoch)
        return StepOut(ce + self.weight * kd, {"ce": ce.detach(), **logs})

    def _sampled_loss(self, head: PartialFC, batch: ImageBatch, clock: Clock, rng: Rng) -> StepOut:
        """The same over the kept classes of all processes, which are the same classes for both nets."""
        draw = rng.generator("classes", batch.image.device)
        e = self.model(batch.image)
        found = head.logits(e, batch.target, generator=draw)
        ce = cross_entropy(found.logits, found.y, found.shard)
        if self.distill is None:
            return StepOut(ce, {"ce": ce.detach()})
        et = self.teacher_embeddings(batch, clock)
        if self.distill.takes == "embeddings":
            kd, logs = self.distill(e, et, batch.target, clock.epoch)
            return StepOut(ce + self.weight * kd, {"ce": ce.detach(), **logs})
        other = cast("PartialFC", cast("Recognizer", self.held("teacher")).head)
        with torch.no_grad():
            theirs = other.logits(et, batch.target, kept=found.kept)
        zs, zt = found.logits, theirs.logits
        if self.config.kd_logits != "margin":
            zs, zt = found.cosine * head.margin.scale, theirs.cosine * other.margin.scale
        kd, logs = self.distill(zs, zt, found.y, clock.epoch, found.shard)
        return StepOut(ce + self.weight * kd, {"ce": ce.detach(), **logs})

    @property
    def weight(self) -> float:
        """Factor of the distillation term."""
        return 1.0 if self.config.weight is None else self.config.weight

    @torch.no_grad()
    def teacher_embeddings(self, batch: ImageBatch, clock: Clock) -> Tensor:
        """(B, E) of the same views."""
        if self.seen is not None:
            return self.seen.of(batch, clock)
        return cast("Tensor", self.held("teacher")(batch.image))

    @torch.no_grad()
    def teacher_logits(self, et: Tensor, y: Tensor) -> Tensor:
        """The teacher's class logits (B, C), with the margin where that is what is distilled."""
        head = cast("Recognizer", self.held("teacher")).head
        return cast("Tensor", head(et, y if self.config.kd_logits == "margin" else None))

    def exported(self) -> nn.Module:
        """Net and class weights."""
        return self.model


def configs(recipe: Recipe) -> tuple[GkdConfig, FaceData]:
    """The two halves of a recipe of this method."""
    if not isinstance(recipe.method, GkdConfig) or not isinstance(recipe.data, FaceData):
        raise ConfigError(f"recipe {recipe.name!r} is not one of gkd's")
    return recipe.method, recipe.data


def at_hand(recipe: Recipe) -> bool:
    """Whether the recipe's pictures are there, or would first be drawn."""
    return are_at_hand(configs(recipe)[1])


def build(recipe: Recipe, uses: Mapping[str, Path], faces: FaceSplits | None = None) -> Experiment:
    """The experiment of a recipe; a distilled one uses the model in slot ``teacher``.

    Raises:
        ConfigError: no teacher where one is needed, or one of other classes.
    """
    method, data = configs(recipe)
    faces = faces or read_faces(data)
    model = Recognizer(method, data.size, len(faces.train.classes), derive(recipe.seed, "init"))
    source = face_stream(recipe, faces)
    teacher = seen = None
    if method.distill != "none":
        folder = teacher_folder(uses, faces)
        teacher = restore(folder)
        if method.keep_teacher and can_keep(source, 4 * teacher.net.num_features):
            seen = TwoViews(_kept(folder, teacher, source, data.size, faces.fingerprint), source)
    task = GkdTask(model, method, teacher, seen, recipe.seed)
    return Experiment(task, source, faces.fingerprint, **face_checks(faces, data.size))


def _kept(folder: ModelFolder, teacher: Recognizer, source: StepLoader, size: int, data: str) -> Tensor:
    """The teacher's embeddings of both views of all training pictures, from disk if they were made before."""
    device = default_device()
    net = teacher.to(device)
    name = f"embeddings-{io.sha256(folder.weights)[:16]}-{data}-{device.type}"
    return kept_on_disk(name, lambda: view_outputs(net, source, size, device))
