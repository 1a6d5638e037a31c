"""What surveillance anti-spoofing can be set to (no torch here), and the recipes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from mien.core.config import (
    MethodConfig,
    OptimConfig,
    Recipe,
    ScheduleConfig,
    check_box_option,
    check_range,
    evolve_all,
    refuse_inapplicable,
)
from mien.core.errors import ConfigError
from mien.data.surveil_config import SurveilData

Net = Literal["cqil", "parts", "dise", "folds"]
_CQIL_ONLY = (
    "t", "contrast_weight", "projection", "momentum", "split", "width", "beta", "quality", "adversarial",
    "orthogonal", "sr_channels", "sr_blocks", "resolution", "sr_warmup", "sharpen",
)  # fmt: skip


@dataclass(frozen=True)
class CqilConfig(MethodConfig):
    """The net and how it is taught; symbols of the page in brackets."""

    net: Net = "cqil"
    """cqil: one net, with the parts below or without; parts: one trunk on six crops of a face; dise: features
    with a mean and a spread; folds: an ensemble, each member trained without one fold."""
    backbone: str = "small-resnet-16-32-64-96"
    """small-resnet-W-W..., cifar-resnet-D or a timm model [f]."""
    pretrained: str | None = None
    """File of timm weights (safetensors) of the backbone."""
    contrast: Literal["none", "ntxent", "supcon", "byol"] = "ntxent"
    """cqil: what pulls the two views of a face together; supcon: all views of a label; byol: a slow net's."""
    sqn: bool = True
    """cqil: separate quality features [u] beside the discriminative ones [d]."""
    sr: bool = True
    """cqil: small faces through a super-resolution net [S]."""
    t: float | None = None
    """ntxent, supcon: temperature (default 0.2)."""
    contrast_weight: float | None = None
    """Weight of the contrast (default 0.2)."""
    projection: int | None = None
    """Width of what is contrasted (default 64)."""
    momentum: float | None = None
    """byol: decay of the slow net (default 0.99)."""
    split: Literal["maps", "rest"] | None = None
    """sqn: maps: d and u are two maps of h (default); rest: d is what the map to u does not read of h."""
    width: int | None = None
    """sqn: width of u, with maps also of d (default half of the backbone's features)."""
    beta: float | None = None
    """sqn: of the gradient reversal (default 1)."""
    quality: float | None = None
    """sqn: weight of the severity read from u (default 0.1)."""
    adversarial: float | None = None
    """sqn: weight of the severity that an adversary reads from d (default 0.05)."""
    orthogonal: float | None = None
    """sqn: weight of the overlap of the two maps (default 0.01)."""
    sr_channels: int | None = None
    """sr: channels of S (default 64)."""
    sr_blocks: int | None = None
    """sr: residual blocks of S (default 8)."""
    resolution: float | None = None
    """sr: weight of S's own loss (default 1)."""
    sr_warmup: float | None = None
    """sr: part of the steps in which S alone learns (default 0.1)."""
    sharpen: float | None = None
    """sr: share of the small faces that go through S in training; all do in use (default 0.5)."""
    mix: float = 0.0
    """Probability of CutMix or MixUp in a step, labels mixed alike (Beta(.25, .25))."""
    centre: float = 0.0
    """Weight of the squared distance of live features to their mean."""
    kl: float | None = None
    """dise: weight of KL(N(mu, s^2) || N(0, 1)) (default 0.001)."""
    members: int | None = None
    """folds: nets, as many as ``data.folds`` (default 3)."""

    def __post_init__(self) -> None:
        for name in ("contrast_weight", "quality", "adversarial", "orthogonal", "resolution", "beta", "kl"):
            check_range("method", name, getattr(self, name), 0.0, 1e6)
        for name in ("momentum", "sr_warmup", "sharpen", "mix"):
            check_range("method", name, getattr(self, name), 0.0, 1.0)
        for name in ("projection", "width", "sr_channels", "sr_blocks"):
            check_range("method", name, getattr(self, name), 1, 100_000)
        check_range("method", "t", self.t, 1e-4, 1e4)
        check_range("method", "centre", self.centre, 0.0, 1e6)
        check_range("method", "members", self.members, 2, 20)
        table: dict[str, tuple[str, ...]] = dict.fromkeys(_CQIL_ONLY, ("cqil",))
        refuse_inapplicable(self, self.net, {**table, "kl": ("dise",), "members": ("folds",)})
        if self.net != "cqil" and (self.contrast != "none" or self.sqn or self.sr):
            raise ConfigError(f"method.net={self.net!r} has no contrast, sqn or sr; set none, false, false")
        self._refuse_without(
            "sqn", self.sqn, ("split", "width", "beta", "quality", "adversarial", "orthogonal")
        )
        self._refuse_without(
            "sr", self.sr, ("sr_channels", "sr_blocks", "resolution", "sr_warmup", "sharpen")
        )
        self._refuse_without("contrast", self.contrast != "none", ("contrast_weight", "projection"))
        self._refuse_without("contrast ntxent or supcon", self.contrast in ("ntxent", "supcon"), ("t",))
        self._refuse_without("contrast byol", self.contrast == "byol", ("momentum",))
        if self.split == "rest" and self.orthogonal is not None:
            raise ConfigError("method.split='rest' leaves method.orthogonal nothing to do; unset one of them")
        if self.mix and (self.contrast != "none" or self.sqn or self.sr):
            raise ConfigError(
                "method.mix mixes pictures of several labels; it goes without contrast, sqn and sr"
            )

    def _refuse_without(self, part: str, is_on: bool, names: tuple[str, ...]) -> None:
        for name in names:
            if getattr(self, name) is not None and not is_on:
                raise ConfigError(f"method.{name} needs method.{part}")

    def given(self, *names: str) -> dict[str, object]:
        """Those fields of these that are set: the others keep their defaults."""
        return {n: v for n in names if (v := getattr(self, n)) is not None}


@dataclass(frozen=True)
class PredictOptions:
    """Flags of ``mien predict cqil``: pictures; a video, or a folder of pictures, is one track of a face."""

    box: tuple[int, ...] = ()
    """Left, top, right, bottom of the face, pixels of the first frame; else a detector, else all of it."""
    detector: Literal["none", "mediapipe"] = "none"
    """Who looks for the face."""
    threshold: float | None = None
    """Accept from this probability of being live on; else the model's own."""
    frames: int = 16
    """Frames of a track that are looked at, at most, evenly spread."""
    least_quality: float = 0.0
    """Frames of lower quality (0 to 1, as the model sees it) are not judged."""

    folder_is_input: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_range("predict", "threshold", self.threshold, 0.0, 1.0)
        check_range("predict", "frames", self.frames, 1, 10_000)
        check_range("predict", "least_quality", self.least_quality, 0.0, 1.0)
        check_box_option(self.box)


@dataclass(frozen=True)
class InspectOptions:
    """Flags of ``mien inspect cqil``."""

    split: Literal["train", "dev", "test"] = "test"
    """Which pictures are degraded."""
    samples: int = 400
    """Pictures, at most; those of best quality."""
    levels: int = 5
    """Severities, from 0 to 1."""
    plot: str | None = None
    """PNG file for the curves."""

    def __post_init__(self) -> None:
        check_range("inspect", "samples", self.samples, 10, 1e7)
        check_range("inspect", "levels", self.levels, 2, 100)


_SQN: dict[str, object] = {"method.quality": 1.0, "method.split": "rest", "method.width": 16}
_SR: dict[str, object] = {
    "method.sr_channels": 16, "method.sr_blocks": 2, "method.sr_warmup": 0.0, "method.sharpen": 1.0,
}  # fmt: skip
OFF: dict[str, object] = {
    "method.contrast": "none", "method.sqn": False, "method.sr": False, **dict.fromkeys((*_SQN, *_SR)),
}  # fmt: skip
"""All parts off, and what the small recipe sets of them unset."""


def _small() -> Recipe:
    """All parts, on made faces before made cameras at 48 pixels.

    With the page's weight of the severity, 0.1, it is hardly learned in so few steps; 1 teaches it. A map
    between features and decision costs accuracy here, so d is the rest of what quality reads; S learns
    beside the others from the first step, and every small picture goes through it.
    """
    plain = Recipe(
        name="cqil-small",
        method=CqilConfig(),
        data=SurveilData(),
        optim=OptimConfig(kind="adamw", lr=2e-3, weight_decay=0.05),
        schedule=ScheduleConfig(epochs=40, batch=32, warmup_epochs=1, grad_clip=1.0),
    )
    return evolve_all(plain, {**_SQN, **_SR})


def _without(name: str, changes: Mapping[str, object] | None = None) -> Callable[[], Recipe]:
    """The small recipe with its parts off but for ``changes``."""

    def make() -> Recipe:
        return evolve_all(_small(), {**OFF, **(changes or {}), "name": f"cqil-small-{name}"})

    return make


def _debug() -> Recipe:
    """Three steps of everything."""
    changes: dict[str, object] = {
        "name": "cqil-debug",
        "data.kind": "debug",
        "data.size": 32,
        "method.backbone": "small-resnet-8-16",
        "method.width": 4,
        "method.sr_channels": 4,
        "method.sr_blocks": 1,
        "method.sr_warmup": None,
        "method.sharpen": None,
        "schedule.steps": 3,
        "schedule.batch": 8,
        "schedule.warmup_epochs": 0.0,
    }
    return evolve_all(_small(), changes)


def _paper() -> Recipe:
    """ResNet-18 at 224 on SuHiFiMask, protocol 3; the paper's own settings could not be read."""
    changes: dict[str, object] = {
        "name": "cqil-paper",
        "data.kind": "suhifimask",
        "data.size": 224,
        "method.backbone": "resnet18",
        **dict.fromkeys((*_SQN, *_SR)),
        "optim.lr": 1e-4,
        "schedule.epochs": 30.0,
        "schedule.batch": 64,
    }
    return evolve_all(_small(), changes)


_PLAIN = {"data.degrade": False}
SOLUTIONS: Mapping[str, dict[str, object]] = {
    "resnet18": {**_PLAIN, "data.augment": "flip"},
    "convnext_plain": {**_PLAIN, "data.augment": "crop", "method.backbone": "test_convnext"},
    "heavy_aug_folds": {**_PLAIN, "data.augment": "heavy", "data.folds": 3, "method.net": "folds",
                        "method.mix": 0.5},
    "parts": {**_PLAIN, "data.augment": "flip", "method.net": "parts"},
    "moire_jitter": {**_PLAIN, "data.augment": "moire", "method.centre": 0.01},
    "dise": {**_PLAIN, "data.augment": "flip", "method.net": "dise"},
}  # fmt: skip
"""Known solutions of the challenge (section 2.4 of the page): changes of the small recipe, on small nets."""


def solution_recipe(name: str, base: Recipe | None = None) -> Recipe:
    """A recipe of one of `SOLUTIONS`.

    Args:
        name: of the solution.
        base: recipe that is changed; default the small one.

    Raises:
        ConfigError: no such solution.
    """
    if name not in SOLUTIONS:
        raise ConfigError(f"no solution {name!r}; there are {', '.join(SOLUTIONS)}")
    base = base or _small()
    return evolve_all(base, {**OFF, **SOLUTIONS[name], "name": f"{base.name}-{name}"})


def _solution(name: str) -> Callable[[], Recipe]:
    return lambda: solution_recipe(name)


RECIPES: dict[str, Callable[[], Recipe]] = {
    "small": _small,
    "debug": _debug,
    "paper": _paper,
    "plain": _without("plain", {"data.degrade": False, "data.augment": "none"}),
    "flip": _without("flip", {"data.degrade": False}),
    "degrade": _without("degrade"),
    "contrast": _without("contrast", {"method.contrast": "ntxent"}),
    "sqn": _without("sqn", {"method.sqn": True, **_SQN}),
    "sr": _without("sr", {"method.sr": True, **_SR}),
    **{name: _solution(name) for name in SOLUTIONS},
}
