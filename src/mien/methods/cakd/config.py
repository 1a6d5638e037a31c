"""What the distillation of a transformer into a convolutional net can be set to (no torch here)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from mien.core.config import (
    OptimConfig,
    Recipe,
    ScheduleConfig,
    check_range,
    evolve_all,
    refuse_inapplicable,
)
from mien.data.config import FaceData
from mien.engine.face_options import PredictOptions
from mien.nn.recognizer_config import RecognizerConfig

__all__ = ["RECIPES", "CakdConfig", "InspectOptions", "PredictOptions"]

Distill = Literal["none", "urfm", "fitnet", "kd", "rkd", "cckd", "sp", "ekd", "pca", "ofa"]
_TAUGHT = ("urfm", "fitnet", "kd", "rkd", "cckd", "sp", "ekd", "pca", "ofa")
_PROMPTED = ("urfm", "fitnet")


@dataclass(frozen=True)
class CakdConfig(RecognizerConfig):
    """A face net, alone or taught by a transformer; symbols of the page in brackets."""

    distill: Distill = "none"
    """none: labels alone; urfm: local features; fitnet: maps, pixel by pixel; kd, rkd, cckd, sp, ekd: logits
    or embeddings; pca, ofa: projectors of other papers. The teacher is the model in slot ``teacher``."""
    student_tap: str | None = None
    """Map of the student that is taught (default its last)."""
    prompts: int | None = None
    """Prompt tokens of the teacher [t]; 0 (default) = a frozen teacher."""
    prompts_per: Literal["stage", "block"] | None = None
    """Fresh prompts enter before each stage (default) or block."""
    n_local: int | None = None
    """urfm: local centres [L] (default 9)."""
    dim: int | None = None
    """urfm: width of the local features [d] (default 64)."""
    heads: int | None = None
    """urfm: attention heads (default 4)."""
    position: Literal["none", "euclid", "saliency", "relative"] | None = None
    """urfm: position codes (default saliency)."""
    gamma: float | None = None
    """urfm: weight of the facial distance (default 1)."""
    landmarks: Literal["template", "image"] | None = None
    """urfm: the template's five points for all pictures (default), or each picture's own."""
    lam_feat: float | None = None
    """urfm: weight of the features [lambda_f] (default 1)."""
    lam_attn: float | None = None
    """urfm: weight of the attention maps [lambda_a] (default 1)."""
    eta: float | None = None
    """urfm, fitnet: share of the gradient that reaches the teacher's side (default 0.1)."""
    aux: float | None = None
    """urfm: weight of the auxiliary margin heads that keep the features from collapsing (default 0.5)."""
    aux_student: float | None = None
    """urfm: the same for the student's own head (default as ``aux``)."""
    weight: float | None = None
    """All but urfm: factor of the distillation term (default 1)."""
    temperature: float | None = None
    """kd: of the softmax [T] (default 4)."""
    ramp: float | None = None
    """Epochs over which the distillation's weight grows from 0 (default 4)."""
    parts_lr: float | None = None
    """Rate of prompts and mappings, as a share of the student's (default 0.1)."""
    logits: Literal["kd", "gkd"] | None = None
    """urfm: also distil logits."""
    logits_weight: float | None = None
    """urfm with ``logits``: factor of that term (default 1)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("method", "prompts", self.prompts, 0, 1024)
        for name in ("n_local", "dim", "heads"):
            check_range("method", name, getattr(self, name), 1, 8192)
        for name in (
            "gamma",
            "lam_feat",
            "lam_attn",
            "aux",
            "aux_student",
            "weight",
            "ramp",
            "logits_weight",
        ):
            check_range("method", name, getattr(self, name), 0.0, 1e6)
        check_range("method", "eta", self.eta, 0.0, 1.0)
        check_range("method", "parts_lr", self.parts_lr, 0.0, 100.0)
        check_range("method", "temperature", self.temperature, 1e-3, 1e3)
        urfm, others = ("urfm",), tuple(k for k in _TAUGHT if k != "urfm")
        names = ("n_local", "dim", "heads", "position", "gamma", "landmarks", "lam_feat", "lam_attn")
        table: dict[str, tuple[str, ...]] = dict.fromkeys(
            (*names, "aux", "aux_student", "logits", "logits_weight"), urfm
        )
        table |= dict.fromkeys(("prompts", "prompts_per", "eta"), _PROMPTED)
        table |= dict.fromkeys(("ramp", "parts_lr"), _TAUGHT)
        table |= {"weight": others, "temperature": ("kd", "urfm")}
        table |= {"student_tap": ("urfm", "fitnet", "pca", "ofa")}
        refuse_inapplicable(self, self.distill, table)


def _teacher() -> Recipe:
    """The teacher: a small transformer on a convolutional stem, trained with labels alone."""
    return Recipe(
        name="cakd-teacher",
        method=CakdConfig(backbone="vit_micro", embedding=128, margin=0.2),
        data=FaceData(size=48, people=300, val_people=60, test_people=120, per_identity=14, set_seed=1),
        optim=OptimConfig(kind="adamw", lr=2e-3, weight_decay=0.05),
        schedule=ScheduleConfig(epochs=16, batch=128, warmup_epochs=2, grad_clip=5.0),
    )


def _student() -> Recipe:
    """The student without a teacher."""
    return Recipe(
        name="cakd-student",
        method=CakdConfig(backbone="mbf_micro", embedding=64, margin=0.2),
        data=_teacher().data,
        optim=OptimConfig(kind="sgd", lr=0.1, weight_decay=5e-4),
        schedule=ScheduleConfig(epochs=24, batch=128, warmup_epochs=2, grad_clip=5.0, channels_last=True),
    )


def _small() -> Recipe:
    """The student taught by a prompted teacher through local features."""
    changes: dict[str, object] = {
        "name": "cakd-small",
        "method.distill": "urfm",
        "method.prompts": 4,
        "method.student_tap": "final",
        "method.lam_feat": 10.0,
        "method.lam_attn": 10.0,
        "method.eta": 0.01,
        "method.aux_student": 0.0,
    }
    return evolve_all(_student(), changes)


_PAPER: dict[str, object] = {
    "method.embedding": 512,
    "method.head": "cosface",
    "method.scale": 64.0,
    "method.margin": 0.4,
    "data.kind": "record",
    "data.size": 112,
    "data.people": FaceData().people,
    "data.per_identity": FaceData().per_identity,
    "data.set_seed": 0,
    "data.look": "colour",
    "data.val_people": 0,
    "data.test_people": 0,
    "schedule.epochs": 20.0,
    "schedule.batch": 1024,
    "schedule.eval_every": 0.0,
    "schedule.channels_last": False,
}


def _paper_teacher() -> Recipe:
    """A face Swin on MS1MV2. Paper is silent on its training; the rates are those usual for transformers."""
    changes: dict[str, object] = {
        "name": "cakd-paper-teacher",
        "method.backbone": "swin_t",
        "optim.lr": 1e-3,
        "optim.weight_decay": 0.1,
        "schedule.warmup_epochs": 2.0,
    }
    return evolve_all(_teacher(), {**_PAPER, **changes})


def _paper() -> Recipe:
    """MobileFaceNet taught by it, on the schedule of the authors' GKD release; the paper is silent."""
    changes: dict[str, object] = {
        "name": "cakd-paper",
        "method.backbone": "mbf",
        "method.distill": "urfm",
        "method.prompts": 8,
        "method.n_local": 49,
        "method.dim": 512,
        "method.heads": 8,
        "schedule.warmup_epochs": 4.0,
        "schedule.warmup_start": 2.5e-6,
        "schedule.lr_end": 2.5e-6,
        "schedule.grad_clip": None,
    }
    return evolve_all(_student(), {**_PAPER, **changes})


_DEBUG: dict[str, object] = {
    "data.kind": "debug",
    "data.size": 24,
    "data.people": 12,
    "data.val_people": 4,
    "data.test_people": 4,
    "data.per_identity": 4,
    "schedule.steps": 3,
    "schedule.batch": 8,
    "schedule.warmup_epochs": 0.0,
    "schedule.eval_every": 0.0,
    "method.embedding": 16,
}


def _debug_teacher() -> Recipe:
    return evolve_all(_teacher(), {**_DEBUG, "name": "cakd-debug-teacher"})


def _debug() -> Recipe:
    """Three steps of everything."""
    return evolve_all(_small(), {**_DEBUG, "name": "cakd-debug"})


RECIPES: dict[str, Callable[[], Recipe]] = {
    "small": _small,
    "teacher": _teacher,
    "student": _student,
    "debug": _debug,
    "debug-teacher": _debug_teacher,
    "paper": _paper,
    "paper-teacher": _paper_teacher,
}
"""Recipes by name; ``paper`` and ``debug`` are chains (see ``protocol.CHAINS``)."""


@dataclass(frozen=True)
class InspectOptions:
    """Flags of ``mien inspect cakd``; the weights are those of a student taught by urfm."""

    teacher: str | None = None
    """Weights of its teacher (default: the one of its run, or the shipped one)."""
    degrade: bool = False
    """Instead: unseen people found again by worse and worse surveillance cameras."""
    plot: str | None = None
    """PNG file for the receptive fields over a face, or of the curves."""
