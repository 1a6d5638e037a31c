"""What face recognition and its distillation of logits can be set to (no torch here), and the recipes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
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

__all__ = ["RECIPES", "GkdConfig", "InspectOptions", "PredictOptions"]

Distill = Literal["none", "kd", "dkd", "gkd", "fitnet", "rkd", "ekd"]


@dataclass(frozen=True)
class GkdConfig(RecognizerConfig):
    """A face net with a margin head, alone or taught by another; symbols of the page in brackets."""

    distill: Distill = "none"
    """none: labels alone; kd, dkd, gkd: also the logits of the teacher (slot ``teacher``); fitnet, rkd, ekd:
    its embeddings."""
    weight: float | None = None
    """Factor of the distillation term (default 1)."""
    temperature: float | None = None
    """Of the distilled softmax [T] (default 4)."""
    alpha: float | None = None
    """gkd: weight of Binary; dkd: of the label against the rest (default 1)."""
    beta: float | None = None
    """gkd: weight of Primary (default 1); dkd: of the rest among itself (default 8)."""
    lam: float | None = None
    """gkd: weight of Secondary [lambda] (default 0)."""
    group: Literal["recommended", "paper", "release-fixed", "release-adaptive"] | None = None
    """gkd: preset of the group selector (default recommended)."""
    t_group: float | None = None
    """gkd: temperature at which the group's mass is counted (default of the preset)."""
    rate: float | None = None
    """gkd: mass that a group holds (default of the preset)."""
    kd_logits: Literal["margin", "plain"] | None = None
    """Which logits are distilled (default plain; the released code takes those with the margin)."""
    keep_teacher: bool = True
    """Ask the teacher once for each picture and its mirror image, where flips are the only augmentation."""
    kd_warmup: float | None = None
    """Epochs over which the distillation's weight grows from 0 (default 0)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("method", "temperature", self.temperature, 1e-3, 1e3)
        for name in ("weight", "alpha", "beta", "lam", "kd_warmup"):
            check_range("method", name, getattr(self, name), 0.0, 1e6)
        check_range("method", "t_group", self.t_group, 1e-3, 1e3)
        check_range("method", "rate", self.rate, 1e-6, 1.0)
        logit, every = ("kd", "dkd", "gkd"), ("kd", "dkd", "gkd", "fitnet", "rkd", "ekd")
        table: dict[str, tuple[str, ...]] = dict.fromkeys(("temperature", "kd_logits"), logit)
        table |= dict.fromkeys(("weight", "kd_warmup"), every)
        table |= dict.fromkeys(("alpha", "beta"), ("dkd", "gkd"))
        table |= dict.fromkeys(("lam", "group", "t_group", "rate"), ("gkd",))
        refuse_inapplicable(self, self.distill, table)


def _teacher() -> Recipe:
    """The teacher: a residual net trained with labels alone."""
    return Recipe(
        name="gkd-teacher",
        method=GkdConfig(backbone="ir_tiny", embedding=128),
        data=FaceData(),
        optim=OptimConfig(kind="sgd", lr=0.1, weight_decay=5e-4),
        schedule=ScheduleConfig(epochs=8, batch=128, warmup_epochs=0.5, grad_clip=5.0, channels_last=True),
    )


def _small() -> Recipe:
    """The student taught by GKD."""
    changes = {
        "name": "gkd-small",
        "method.backbone": "mbf_nano",
        "method.embedding": 64,
        "method.distill": "gkd",
        "method.weight": 10.0,
        "method.temperature": 8.0,
        "method.beta": 0.3,
        "method.t_group": 3.0,
        "optim.weight_decay": 1e-4,
    }
    return evolve_all(_teacher(), changes)


def _student() -> Recipe:
    """The same student without a teacher."""
    return replace(_small(), name="gkd-student", method=GkdConfig(backbone="mbf_nano", embedding=64))


_PAPER_NET: dict[str, object] = {
    "method.embedding": 512,
    "method.head": "cosface",
    "method.scale": 64.0,
    "method.margin": 0.4,
}
_PAPER_DATA: dict[str, object] = {
    "data.kind": "record",
    "data.size": 112,
    "data.look": "colour",
    "data.val_people": 0,
    "data.test_people": 0,
}


def _paper_teacher() -> Recipe:
    """The released teacher: IR-50 with dropout on MS1MV2, CosFace."""
    changes: dict[str, object] = {
        "name": "gkd-paper-teacher",
        "method.backbone": "ir_50",
        "method.dropout": 0.4,
        "optim.weight_decay": 5e-4,
        "optim.momentum": 0.9,
        "schedule.epochs": 20.0,
        "schedule.batch": 1024,
        "schedule.warmup_epochs": 4.0,
        "schedule.warmup_start": 2.5e-6,
        "schedule.lr_end": 2.5e-6,
        "schedule.grad_clip": None,
        "schedule.channels_last": False,
    }
    return evolve_all(_teacher(), {**_PAPER_NET, **_PAPER_DATA, **changes})


def _paper() -> Recipe:
    """The released student: MobileFaceNet taught with `release-adaptive` groups by a live teacher."""
    changes: dict[str, object] = {
        "name": "gkd-paper",
        "method.backbone": "mbf",
        "method.dropout": 0.0,
        "method.distill": "gkd",
        "method.temperature": 4.0,
        "method.alpha": 1.0,
        "method.beta": 4.0,
        "method.group": "release-adaptive",
        "method.kd_logits": "margin",
        "method.kd_warmup": 10.0,
        "method.keep_teacher": False,
    }
    return evolve_all(_paper_teacher(), changes)


_DEBUG: dict[str, object] = {
    "data.kind": "debug",
    "data.size": 16,
    "data.people": 12,
    "data.val_people": 4,
    "data.test_people": 4,
    "data.per_identity": 4,
    "schedule.steps": 3,
    "schedule.batch": 8,
    "method.embedding": 16,
}


def _debug_teacher() -> Recipe:
    return evolve_all(_teacher(), {**_DEBUG, "name": "gkd-debug-teacher"})


def _debug() -> Recipe:
    """Three steps of everything."""
    return evolve_all(_small(), {**_DEBUG, "name": "gkd-debug"})


def _margin(name: str, backbone: str, head: Literal["arcface", "cosface"], **changes: object) -> Recipe:
    """A published training with labels alone: poly decay, gradients clipped, flips only."""
    fields: dict[str, object] = {
        "name": f"gkd-{name}",
        "method.backbone": backbone,
        "method.embedding": 512,
        "method.head": head,
        "method.scale": 64.0,
        "method.margin": 0.5 if head == "arcface" else 0.4,
        "optim.momentum": 0.9,
        "schedule.batch": 1024,
        "schedule.warmup_epochs": 0.0,
        "schedule.lr_rule": "poly",
        "schedule.channels_last": False,
    }
    given = {k.replace("__", "."): v for k, v in changes.items()}
    return evolve_all(_teacher(), {**fields, **_PAPER_DATA, **given})


def _ms1mv2_r50() -> Recipe:
    return _margin("arcface-ms1mv2-r50", "r50", "arcface", schedule__epochs=20.0, optim__weight_decay=5e-4)


def _ms1m_mbf() -> Recipe:
    return _margin("arcface-ms1m-mbf", "mbf", "arcface", schedule__epochs=40.0, optim__weight_decay=1e-4)


def _glint360k_r50() -> Recipe:
    return _margin("cosface-glint360k-r50", "r50", "cosface", schedule__epochs=20.0, optim__weight_decay=1e-4)


def _webface_r100() -> Recipe:
    return _margin("cosface-webface-r100", "r100", "cosface", schedule__epochs=20.0, optim__weight_decay=5e-4)


def _webface_vit_s() -> Recipe:
    return _margin(
        "cosface-webface-vit-s",
        "vit_s",
        "cosface",
        schedule__epochs=40.0,
        schedule__warmup_epochs=4.0,
        schedule__warmup_start=0.0,
        schedule__batch=384 * 64,
        optim__kind="adamw",
        optim__lr=1e-3,
        optim__momentum=None,
        optim__weight_decay=0.1,
    )


RECIPES: dict[str, Callable[[], Recipe]] = {
    "small": _small,
    "teacher": _teacher,
    "student": _student,
    "debug": _debug,
    "debug-teacher": _debug_teacher,
    "paper": _paper,
    "paper-teacher": _paper_teacher,
    "arcface-ms1mv2-r50": _ms1mv2_r50,
    "arcface-ms1m-mbf": _ms1m_mbf,
    "cosface-glint360k-r50": _glint360k_r50,
    "cosface-webface-r100": _webface_r100,
    "cosface-webface-vit-s": _webface_vit_s,
}
"""Recipes by name; ``paper`` and ``debug`` are chains (see ``protocol.CHAINS``)."""


@dataclass(frozen=True)
class InspectOptions:
    """Flags of ``mien inspect gkd``; the weights are those of a teacher."""

    t_group: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0)
    """Temperatures at which the mass is counted."""
    temperature: float = 4.0
    """Temperature of the loss, for the mass of the groups [T]."""
    group: Literal["recommended", "paper", "release-fixed", "release-adaptive"] = "recommended"
    """Preset whose rule is used, with the teacher's scores."""
    rate: float | None = None
    """Mass that a group holds (default of the preset)."""
    kd_logits: Literal["margin", "plain"] = "plain"
    """Logits with or without the margin."""
    aim: float | None = None
    """Also find the T_group that gives this mean K."""
    pictures: int = 2000
    """Training pictures that are looked at."""
    degrade: bool = False
    """Instead: unseen people found again by worse and worse surveillance cameras."""
    plot: str | None = None
    """PNG file for the distribution of K, or of the curves."""

    def __post_init__(self) -> None:
        for value in self.t_group:
            check_range("inspect", "t_group", value, 1e-3, 1e3)
        check_range("inspect", "temperature", self.temperature, 1e-3, 1e3)
        check_range("inspect", "rate", self.rate, 1e-6, 1.0)
        check_range("inspect", "aim", self.aim, 1.0, 1e6)
        check_range("inspect", "pictures", self.pictures, 2, 1e6)
