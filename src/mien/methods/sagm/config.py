"""What domain generalisation can be set to (no torch here), and the recipes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from mien.core.config import (
    MethodConfig,
    OptimConfig,
    Recipe,
    ScheduleConfig,
    check_range,
    evolve_all,
    refuse_inapplicable,
)
from mien.core.search import Choice, LogUniform, Sampler
from mien.data.config import DomainData, DomainKind

Algorithm = Literal["erm", "coral", "irm", "groupdro", "mixup"]


@dataclass(frozen=True)
class SagmConfig(MethodConfig):
    """The net and the algorithm; SAM, GSAM and SAGM are ``erm`` under another optimiser (``optim.kind``)."""

    algorithm: Algorithm = "erm"
    """What is minimised over the source domains."""
    backbone: str = "groupconv-8"
    """groupconv-W, smallconv-W, cifar-resnet-D or a timm model."""
    pretrained: str | None = None
    """File of timm weights for the backbone."""
    dropout: float = 0.0
    """Dropout of the pooled feature."""
    frozen_bn: bool = False
    """Batch normalisation stays in eval mode all through training (its affine weights still train)."""
    monitor: int = 0
    """Training pictures on which every look measures loss and surrogate gap; 0 = none."""
    coral_weight: float | None = None
    """coral: weight of the distance between domains' feature mean and covariance (default 1)."""
    irm_weight: float | None = None
    """irm: weight of the invariance penalty after ``irm_anneal`` steps (default 100)."""
    irm_anneal: int | None = None
    """irm: steps with weight 1 (default 500)."""
    groupdro_eta: float | None = None
    """groupdro: step of the domains' weights (default 0.01)."""
    mixup_alpha: float | None = None
    """mixup: both parameters of the Beta distribution (default 0.2)."""

    def __post_init__(self) -> None:
        check_range("method", "dropout", self.dropout, 0.0, 0.99)
        check_range("method", "monitor", self.monitor, 0)
        for name in ("coral_weight", "irm_weight", "irm_anneal"):
            check_range("method", name, getattr(self, name), 0, 1e9)
        check_range("method", "groupdro_eta", self.groupdro_eta, 0.0, 1e3)
        check_range("method", "mixup_alpha", self.mixup_alpha, 1e-6, 1e3)
        table: dict[str, tuple[str, ...]] = {"coral_weight": ("coral",), "mixup_alpha": ("mixup",)}
        table |= {"irm_weight": ("irm",), "irm_anneal": ("irm",), "groupdro_eta": ("groupdro",)}
        refuse_inapplicable(self, self.algorithm, table)


@dataclass(frozen=True)
class PredictOptions:
    """Flags of ``mien predict sagm``."""

    top: int = 3
    """Classes listed."""


@dataclass(frozen=True)
class InspectOptions:
    """Flags of ``mien inspect sagm``: sharpness of the training loss around the weights."""

    rho: float = 0.05
    """Radius of the perturbation."""
    images: int = 1024
    """Training pictures of each domain, at most."""
    directions: int = 4
    """Random directions."""
    plot: str | None = None
    """Also write a slice of the loss surface to this PNG file."""


def _small() -> Recipe:
    """SAGM on Emoji-DG, one style held out."""
    return Recipe(
        name="sagm-small",
        method=SagmConfig(monitor=512),
        data=DomainData(kind="emoji_dg", size=32),
        optim=OptimConfig(kind="sagm", base="adam", lr=3e-3, rho=0.2, alpha=1e-3),
        schedule=ScheduleConfig(
            steps=2000,
            batch=48,
            lr_rule="constant",
            eval_steps=50,
            swad=0.3,
            checkpoint_every=500,
            channels_last=True,
        ),
    )


def _small_erm() -> Recipe:
    """The same without SAGM: the model the demo compares with."""
    recipe = _small()
    return replace(recipe, name="sagm-small-erm", optim=OptimConfig(kind="adam", lr=recipe.optim.lr))


def _debug() -> Recipe:
    changes = {
        "name": "sagm-debug",
        "method.backbone": "groupconv-4",
        "method.monitor": 64,
        "data.kind": "debug",
        "data.held_out": ("green",),
        "data.size": 16,
        "schedule.steps": 3,
        "schedule.batch": 8,
        "schedule.eval_steps": 1,
        "schedule.log_every": 1,
    }
    return evolve_all(_small(), changes)


# Section 2.4 of the method page: lr, feature dropout, weight decay, alpha, steps, SWAD's tolerance.
_PAPER: dict[DomainKind, tuple[float, float, float, float, int, str]] = {
    "pacs": (3e-5, 0.5, 1e-4, 1e-3, 5000, "sketch"),
    "vlcs": (1e-5, 0.5, 1e-4, 1e-3, 5000, "VOC2007"),
    "office_home": (1e-5, 0.5, 1e-4, 5e-4, 5000, "Real World"),
    "terra_incognita": (1e-5, 0.5, 1e-4, 1e-3, 5000, "location_46"),
    "domain_net": (3e-5, 0.5, 1e-6, 5e-4, 15000, "sketch"),
}
_SOURCES: dict[DomainKind, int] = {"domain_net": 5}


def _paper(kind: DomainKind) -> Recipe:
    """The authors' tuned values: ResNet-50, frozen batch normalisation, 32 pictures a source domain."""
    lr, dropout, decay, alpha, steps, held_out = _PAPER[kind]
    return Recipe(
        name=f"sagm-paper-{kind}",
        method=SagmConfig(backbone="resnet50", dropout=dropout, frozen_bn=True),
        data=DomainData(
            kind=kind,
            held_out=(held_out,),
            size=224,
            augment="domainbed",
            mean=(0.485, 0.456, 0.406),
            std=(0.229, 0.224, 0.225),
            workers=8,
        ),
        optim=OptimConfig(kind="sagm", base="adam", lr=lr, weight_decay=decay, rho=0.05, alpha=alpha),
        schedule=ScheduleConfig(
            steps=steps,
            batch=32 * _SOURCES.get(kind, 3),
            lr_rule="constant",
            eval_steps=100,
            swad=0.2 if kind == "vlcs" else 0.3,
        ),
    )


RECIPES: dict[str, Callable[[], Recipe]] = {
    "small": _small,
    "small-erm": _small_erm,
    "debug": _debug,
    "paper": lambda: replace(_paper("pacs"), name="sagm-paper"),
    **{f"paper-{kind}": (lambda kind=kind: _paper(kind)) for kind in _PAPER},  # type: ignore[misc]
}

# SWAD's reduced search (dropout, weight decay and alpha as there); its learning rates are those of pretrained
# ResNet-50, so a wider range is searched here.
SPACE: dict[str, Sampler] = {
    "optim.lr": LogUniform(-5.0, -2.0),
    "optim.alpha": Choice((1e-3, 5e-4)),
    "optim.weight_decay": Choice((1e-4, 1e-6)),
    "method.dropout": Choice((0.0, 0.1, 0.5)),
}
