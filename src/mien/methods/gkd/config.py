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
from mien.nn.recognizer_config import RecognizerConfig

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
        "method.backbone": "mbf_tiny",
        "method.embedding": 64,
        "method.distill": "gkd",
        "optim.weight_decay": 1e-4,
    }
    return evolve_all(_teacher(), changes)


def _student() -> Recipe:
    """The same student without a teacher."""
    return replace(_small(), name="gkd-student", method=GkdConfig(backbone="mbf_tiny", embedding=64))


RECIPES: dict[str, Callable[[], Recipe]] = {"small": _small, "teacher": _teacher, "student": _student}
"""Recipes by name; the published ones follow with the other modules of the method."""


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
    plot: str | None = None
    """PNG file for the distribution of K."""

    def __post_init__(self) -> None:
        for value in self.t_group:
            check_range("inspect", "t_group", value, 1e-3, 1e3)
        check_range("inspect", "temperature", self.temperature, 1e-3, 1e3)
        check_range("inspect", "rate", self.rate, 1e-6, 1.0)
        check_range("inspect", "aim", self.aim, 1.0, 1e6)
        check_range("inspect", "pictures", self.pictures, 2, 1e6)
