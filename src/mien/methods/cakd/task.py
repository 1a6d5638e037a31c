"""Training of a convolutional face net with labels, and with what a transformer sees in the same pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien.core import catalogue, io
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
from mien.losses import CCKDLoss, EKDLoss, KDLoss, RKDLoss, SPLoss, ramp
from mien.methods.cakd.config import CakdConfig
from mien.methods.cakd.model import CrossArchDistiller, MapDistiller, prompted
from mien.methods.cakd.position import flip_landmarks
from mien.methods.cakd.prompts import Prompted
from mien.nn.margin_heads import MarginHead
from mien.nn.recognizer import Recognizer

DISTILLER = "distiller"
"""Name of the file that holds all that learned beside the student."""


class Teacher(nn.Module):
    """A prompted transformer with its frozen class weights.

    Args:
        net: the net; without prompts what it says can be kept.
        head: its class weights.
        seen: tokens and embedding (B, N width + E) of both views of all pictures, where they are kept.
    """

    def __init__(self, net: Prompted, head: MarginHead, seen: TwoViews | None) -> None:
        super().__init__()
        self.net, self.head, self.seen = net, head.requires_grad_(False), seen

    def look(self, batch: ImageBatch, clock: Clock) -> tuple[Tensor, Tensor]:
        """Embedding (B, E) and tokens (B, N, width) of the pictures of a batch."""
        if self.seen is None:
            with torch.set_grad_enabled(bool(self.net.n_prompts) and torch.is_grad_enabled()):
                return cast("tuple[Tensor, Tensor]", self.net(batch.image))
        packed = self.seen.of(batch, clock)
        width = self.net.backbone.num_features
        return packed[:, :width], packed[:, width:].unflatten(1, (-1, self.net.dim))


def pack(net: Prompted, x: Tensor) -> Tensor:
    """Embedding and tokens of pictures as one row each."""
    e, tokens = net(x)
    return torch.cat([e, tokens.flatten(1)], 1)


class CakdTask(Task[ImageBatch]):
    """L = CE(student) + ramp (lambda_f L_feat + lambda_a L_attn) + aux terms + CE(prompted teacher).

    Args:
        model: the student.
        config: what is distilled.
        lr: rate of the student; prompts and mappings have ``parts_lr`` times that.
        teacher: where one teaches.
        parts: what learns beside the student: a `CrossArchDistiller`, or another loss.
        landmarks: five points of both views of each picture.
        logits: loss on the logits beside the local features.
    """

    def __init__(
        self,
        model: Recognizer,
        config: CakdConfig,
        lr: float,
        teacher: Teacher | None = None,
        parts: nn.Module | None = None,
        landmarks: TwoViews | None = None,
        logits: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.model, self.config, self.lr = model, config, lr
        self.teacher, self.parts, self.logits = teacher, parts, logits
        self.landmarks = landmarks

    def loss(self, batch: ImageBatch, clock: Clock, rng: Rng) -> StepOut:
        """See the class."""
        y, net = batch.target, self.model.net
        maps = net.forward_features(batch.image)
        e = net.forward_head(maps[list(net.taps)[-1]])
        with_margin, plain = self.model.whole_head.both(e, y)
        ce = F.cross_entropy(with_margin, y)
        logs: dict[str, Tensor] = {"ce": ce.detach()}
        if self.teacher is None or self.parts is None:
            return StepOut(ce, logs)
        et, tokens = self.teacher.look(batch, clock)
        pace = ramp(clock.epoch, 4.0 if self.config.ramp is None else self.config.ramp)
        if isinstance(self.parts, CrossArchDistiller):
            landmarks = None if self.landmarks is None else self.landmarks.of(batch, clock)
            extra, more = self._local(tokens, maps, y, landmarks, pace)
        else:
            extra, more = self._other(e, et, tokens, maps, plain, y)
            extra = pace * (1.0 if self.config.weight is None else self.config.weight) * extra
        if self.logits is not None:
            kd, kd_logs = self.logits(plain, self.teacher.head(et).detach(), y, clock.epoch)
            extra = extra + pace * (self.config.logits_weight or 1.0) * kd
            more |= kd_logs
        if self.teacher.net.n_prompts:
            ce_t = F.cross_entropy(self.teacher.head(et, y), y)
            extra, more = extra + ce_t, {**more, "ce_teacher": ce_t.detach()}
        return StepOut(ce + extra, {**logs, **more})

    def _local(
        self, tokens: Tensor, maps: dict[str, Tensor], y: Tensor, landmarks: Tensor | None, pace: float
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The terms of URFM, weighted."""
        parts = cast("CrossArchDistiller", self.parts)
        terms = parts(tokens, maps, y, landmarks)
        weights = {"feat": self.config.lam_feat, "attn": self.config.lam_attn}
        aux = 0.5 if self.config.aux is None else self.config.aux
        aux_student = aux if self.config.aux_student is None else self.config.aux_student
        total = aux * terms["aux_t"] + aux_student * terms["aux_s"]
        for name, weight in weights.items():
            total = total + pace * (1.0 if weight is None else weight) * terms[name]
        spread = {f"spread_{k}": v for k, v in parts.terms.guard.spread.items()}
        return total, {k: v.detach() for k, v in {**terms, **spread}.items()}

    def _other(
        self, e: Tensor, et: Tensor, tokens: Tensor, maps: dict[str, Tensor], plain: Tensor, y: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The term of another method."""
        parts, teacher = cast("nn.Module", self.parts), cast("Teacher", self.teacher)
        if isinstance(parts, MapDistiller):
            loss = parts(tokens, maps, y, teacher.head(et).detach(), teacher.head)
            return loss, {self.config.distill: loss.detach()}
        if parts.takes == "logits":
            return cast("tuple[Tensor, dict[str, Tensor]]", parts(plain, teacher.head(et).detach(), y))
        return cast("tuple[Tensor, dict[str, Tensor]]", parts(e, et.detach(), y))

    def param_groups(self, weight_decay: float) -> list[dict[str, Any]]:
        """The student at the optimiser's rate, all else at ``parts_lr`` times that."""
        share = 0.1 if self.config.parts_lr is None else self.config.parts_lr
        rates = (self.lr, self.lr * share)  # one too many for a student alone
        return [
            {"params": params, "weight_decay": weight_decay, "lr": lr}
            for params, lr in zip(self.clip_groups(), rates, strict=False)
        ]

    def clip_groups(self) -> list[list[nn.Parameter]]:
        """The student, and what is dropped after training, whose gradient is several times the student's."""
        own = list(self.model.parameters())
        ours = {id(p) for p in own}
        rest = [p for p in self.parameters() if p.requires_grad and id(p) not in ours]
        return [own, rest] if rest else [own]

    def exported(self) -> nn.Module:
        """The student alone: net and class weights."""
        return self.model


def configs(recipe: Recipe) -> tuple[CakdConfig, FaceData]:
    """The two halves of a recipe of this method."""
    if not isinstance(recipe.method, CakdConfig) or not isinstance(recipe.data, FaceData):
        raise ConfigError(f"recipe {recipe.name!r} is not one of cakd's")
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
    classes = len(faces.train.classes)
    model = Recognizer(method, data.size, classes, derive(recipe.seed, "init"))
    source = face_stream(recipe, faces)
    checks = face_checks(faces, data.size)
    if method.distill == "none":
        return Experiment(CakdTask(model, method, recipe.optim.lr), source, faces.fingerprint, **checks)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(recipe.seed, "distill"))
        folder = teacher_folder(uses, faces)
        teacher = build_teacher(folder, method, source, faces.fingerprint)
        parts = build_parts(method, teacher.net, model, classes)
        logits = build_logits(method)
    landmarks = None
    if method.landmarks == "image":
        landmarks = landmark_views(faces, source, data.size)
    task = CakdTask(model, method, recipe.optim.lr, teacher, parts, landmarks, logits)
    also = {DISTILLER: nn.ModuleDict({"parts": parts, "prompts": PromptsOnly(teacher.net)})}
    return Experiment(task, source, faces.fingerprint, **checks, also=also)


class PromptsOnly(nn.Module):
    """The prompts of a teacher without the teacher."""

    def __init__(self, net: Prompted) -> None:
        super().__init__()
        self.prompts = net.prompts


def build_teacher(folder: ModelFolder, method: CakdConfig, source: StepLoader, data: str) -> Teacher:
    """The model of a folder as a teacher; without prompts, what it says of all pictures is kept."""
    trained = restore(folder)
    net = prompted(trained.net, method)
    seen, size = None, trained.net.size
    numbers = net.grid.height * net.grid.width * net.dim + trained.net.num_features
    if not net.n_prompts and can_keep(source, 4 * numbers):
        device = default_device()
        net.to(device)
        name = f"tokens-{io.sha256(folder.weights)[:16]}-{data}-{device.type}"
        seen = TwoViews(
            kept_on_disk(name, lambda: view_outputs(lambda x: pack(net, x), source, size, device)), source
        )
    return Teacher(net, trained.whole_head, seen)


def build_parts(method: CakdConfig, teacher: Prompted, model: Recognizer, classes: int) -> nn.Module:
    """What learns beside the student, or the plain loss of another method."""
    kind = method.distill
    if kind == "urfm":
        return CrossArchDistiller(teacher.grid, teacher.dim, model.net, method, classes)
    if kind in ("fitnet", "pca", "ofa"):
        width = teacher.backbone.num_features
        return MapDistiller(method, model.net, teacher.grid, teacher.dim, width)
    plain: dict[str, nn.Module] = {
        "kd": KDLoss(T=method.temperature or 4.0, ce=0.0, warmup_epochs=0),
        "rkd": RKDLoss(),
        "cckd": CCKDLoss(),
        "sp": SPLoss(),
    }
    return plain[kind] if kind in plain else EKDLoss()


def build_logits(method: CakdConfig) -> nn.Module | None:
    """The loss on logits beside the local features: KD, or GKD by its entry in the catalogue."""
    T = method.temperature or 4.0
    if method.logits == "kd":
        return KDLoss(T=T, ce=0.0, warmup_epochs=0)
    if method.logits == "gkd":
        gkd = catalogue.method("gkd").load("loss")
        selector = gkd.GroupSelector(t_group=3.0)  # this and beta as in gkd's small recipe
        loss = gkd.GKDLoss(beta=0.3, T=T, selector=selector, warmup_epochs=0, ce=0.0)
        return cast("nn.Module", loss)
    return None


def landmark_views(faces: FaceSplits, source: StepLoader, size: int) -> TwoViews:
    """Five points (N, 2, 5, 2) of each training picture and of its mirror image, pixels from the corner.

    Raises:
        ConfigError: the data have no landmarks.
    """
    if "train" not in faces.landmarks:
        raise ConfigError("method.landmarks='image': this data set has no landmarks; use 'template'")
    points = torch.from_numpy(np.asarray(faces.landmarks["train"], np.float32)) + 0.5
    return TwoViews(torch.stack([points, flip_landmarks(points, size)], 1), source)
