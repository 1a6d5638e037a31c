"""What NCL and NCL++ can be set to (no torch here), and the recipes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from mien.core.config import MethodConfig, OptimConfig, Recipe, ScheduleConfig, check_range, evolve_all
from mien.core.errors import ConfigError
from mien.data.config import ClassificationData


@dataclass(frozen=True)
class NclConfig(MethodConfig):
    """The multi-expert net and its losses; symbols of the paper in brackets."""

    backbone: str = "smallconv-16"
    """smallconv-W, cifar-resnet-D or a timm model."""
    experts: int = 2
    """Experts [K]."""
    copies: int = 2
    """Augmented copies of each image in a step [M]."""
    head: Literal["linear", "cosine"] = "linear"
    """Classifier; cosine for the large sets."""
    scale: float = 16.0
    """Scale of the cosine head [s]."""
    shared_stages: int = 0
    """Early stages shared by the experts (departs from the paper; cheaper)."""
    pretrained: str | None = None
    """File of timm weights for the backbones."""
    loss: Literal["balanced", "ce", "ldam"] = "balanced"
    """Supervised loss: balanced softmax, plain cross-entropy, or LDAM with deferred re-weighting."""
    inter: bool = True
    """Collaboration between experts [InterCL]."""
    intra: bool = True
    """Collaboration between copies in each expert [IntraCL]; False gives the predecessor NCL."""
    n_hard: int | None = None
    """Classes in the hard set [N]; 0 = no hard category mining; unset = hard_ratio x classes."""
    hard_ratio: float = 0.3
    """See n_hard."""
    hcm_mode: Literal["set", "zero", "restricted"] = "set"
    """Partial distribution: the paper's, or those of the two releases."""
    reduction: Literal["paper", "released"] = "paper"
    """Factor of the distillation terms."""
    lam: float = 0.6
    """Weight of collaboration [lambda]."""
    lam_intra: float | None = None
    """Weight of IntraCL; unset = lam."""
    weight: float = 1.0
    """Factor of the supervised terms (2 without HCM has the loss scale of HCM)."""
    ldam_margin: float = 0.5
    """Largest margin of LDAM."""
    ldam_scale: float = 30.0
    """Scale of LDAM's normalised logits."""
    drw_start: float = 0.8
    """Part of the training after which LDAM re-weights classes."""

    def __post_init__(self) -> None:
        check_range("method", "experts", self.experts, 1, 64)
        check_range("method", "copies", self.copies, 1, 64)
        check_range("method", "n_hard", self.n_hard, 0)
        check_range("method", "hard_ratio", self.hard_ratio, 0.0, 1.0)
        check_range("method", "shared_stages", self.shared_stages, 0)
        for name in ("scale", "lam", "lam_intra", "weight", "ldam_margin", "ldam_scale"):
            check_range("method", name, getattr(self, name), 0.0, 1e6)
        check_range("method", "drw_start", self.drw_start, 0.0, 1.0)
        if self.loss != "balanced" and (self.inter or self.intra or self.n_hard != 0):
            raise ConfigError(
                f"method.loss={self.loss!r} is a baseline: set inter=False, intra=False, n_hard=0"
            )
        if self.loss == "ldam" and (self.head != "cosine" or self.scale != self.ldam_scale):
            raise ConfigError("method.loss='ldam' needs head='cosine' and scale equal to ldam_scale")


@dataclass(frozen=True)
class PredictOptions:
    """Flags of ``mien predict ncl``."""

    mode: str = "ensemble"
    """ensemble, or the number of one expert (from 0)."""
    top: int = 3
    """Classes listed."""
    invert: Literal["auto", "always", "never"] = "auto"
    """Grey models trained on bright-on-dark pictures: invert a picture whose border is bright."""
    test_prior: tuple[float, ...] = ()
    """Class frequencies expected where the model is used (post-hoc: z + ln pi); default balanced."""


def _small() -> Recipe:
    return Recipe(
        name="ncl-small",
        method=NclConfig(),
        data=ClassificationData(kind="fashion_lt", size=28, channels=1, mean=(0.286,), std=(0.353,)),
        optim=OptimConfig(kind="sgd", lr=0.1, weight_decay=2e-4),
        schedule=ScheduleConfig(epochs=60.0, batch=64, warmup_epochs=2.0, eval_every=10.0),
    )


def _small_ce() -> Recipe:
    """Plain cross-entropy on the same data and schedule: the model the demo compares with."""
    method = {"loss": "ce", "inter": False, "intra": False, "n_hard": 0, "experts": 1, "copies": 1}
    return evolve_all(_small(), {"name": "ncl-small-ce", **{f"method.{k}": v for k, v in method.items()}})


def _debug() -> Recipe:
    changes = {
        "name": "ncl-debug",
        "method.backbone": "smallconv-4",
        "data.kind": "debug",
        "data.size": 16,
        "schedule.steps": 3,
        "schedule.batch": 8,
        "schedule.warmup_epochs": 0.0,
        "schedule.eval_every": 0.0,
        "schedule.log_every": 1,
    }
    return evolve_all(_small(), changes)


_CIFAR_MEAN, _CIFAR_STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_INAT_MEAN, _INAT_STD = (0.466, 0.471, 0.380), (0.195, 0.194, 0.192)


def _cifar(kind: Literal["cifar10_lt", "cifar100_lt"]) -> Recipe:
    """Released NCL++ configuration: two ResNet-32, four copies, 400 epochs."""
    classes = 100 if kind == "cifar100_lt" else 10
    return Recipe(
        name=f"ncl-paper-{kind}",
        method=NclConfig(backbone="cifar-resnet-32", experts=2, copies=4, n_hard=30 if classes == 100 else 3),
        data=ClassificationData(
            kind=kind, size=32, channels=3, imbalance=100.0, augment="cifar", mean=_CIFAR_MEAN, std=_CIFAR_STD
        ),
        optim=OptimConfig(kind="sgd", lr=0.1, weight_decay=2e-4),
        schedule=ScheduleConfig(
            epochs=400,
            batch=64,
            lr_rule="multistep",
            milestones=(320, 360),
            gamma=0.1,
            warmup_epochs=5,
            eval_every=10,
        ),
    )


def _large(
    kind: Literal["imagenet_lt", "places_lt", "inat2018"],
    backbone: str,
    n_hard: int,
    scale: float,
    schedule: ScheduleConfig,
) -> Recipe:
    """The large sets. Paper is silent: NCL++ settings were not released; K = 3 of NCL with M = 2 copies."""
    is_inat = kind == "inat2018"
    return Recipe(
        name=f"ncl-paper-{kind}",
        method=NclConfig(backbone=backbone, experts=3, copies=2, head="cosine", scale=scale, n_hard=n_hard),
        data=ClassificationData(
            kind=kind,
            size=224,
            channels=3,
            augment="imagenet",
            mean=_INAT_MEAN if is_inat else _IMAGENET_MEAN,
            std=_INAT_STD if is_inat else _IMAGENET_STD,
            workers=8,
        ),
        optim=OptimConfig(kind="sgd", lr=0.02 if kind == "places_lt" else 0.2, weight_decay=2e-4),
        schedule=schedule,
    )


_LONG = ScheduleConfig(epochs=200, batch=256, lr_rule="cosine", lr_end=5e-4, eval_every=5)
_PLACES = ScheduleConfig(
    epochs=30, batch=256, lr_rule="multistep", milestones=(10, 20), gamma=0.1, warmup_epochs=5, eval_every=1
)

RECIPES: dict[str, Callable[[], Recipe]] = {
    "small": _small,
    "small-ce": _small_ce,
    "debug": _debug,
    "paper": lambda: replace(_cifar("cifar100_lt"), name="ncl-paper"),
    "paper-cifar100_lt": lambda: _cifar("cifar100_lt"),
    "paper-cifar10_lt": lambda: _cifar("cifar10_lt"),
    "paper-imagenet_lt": lambda: _large("imagenet_lt", "resnet50", 300, 16.0, _LONG),
    "paper-places_lt": lambda: _large("places_lt", "resnet152", 122, 16.0, _PLACES),
    "paper-inat2018": lambda: _large(
        "inat2018", "resnet50", 2442, 32.0, replace(_LONG, epochs=400, batch=512)
    ),
}


@dataclass(frozen=True)
class InspectOptions:
    """Flags of ``mien inspect ncl``."""

    split: Literal["val", "test"] = "test"
    """Which pictures."""
    many: int = 100
    """Classes with more training images than this are "many"."""
    few: int = 20
    """Classes with fewer are "few"."""
    top: int = 10
    """Pairs listed."""
