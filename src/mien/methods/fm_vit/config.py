"""What flexible-modal anti-spoofing can be set to (no torch here), and the recipes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

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
from mien.data.config import PadData

MODALITIES = ("rgb", "depth", "ir")
Net = Literal["fm", "mavit", "single", "early", "late", "cross", "halfway"]
_BRANCHES = ("fm", "mavit", "late")
"""Nets that see any subset of the modalities, so that a schedule of subsets means something."""


@dataclass(frozen=True)
class FmVitConfig(MethodConfig):
    """The net and how it is taught; symbols of the page in brackets."""

    net: Net = "fm"
    """fm: FM-ViT; mavit: MA-ViT; single: a ViT of one modality; early: channels side by side; late: mean of
    one ViT each; cross: channel cross-attention; halfway: convolutions joined half-way."""
    modalities: tuple[str, ...] = MODALITIES
    """What the net can see."""
    patch: int = 8
    """Side of a patch, pixels."""
    dim: int = 64
    """Width [D]."""
    depth: int = 2
    """Transformer blocks of a branch, without those that join branches."""
    heads: int = 4
    """Attention heads [H]."""
    mlp_ratio: float = 2.0
    """Width of the hidden layer, as a multiple of ``dim``."""
    stem: Literal["patch", "conv"] = "conv"
    """How patches become tokens: one linear map, as in timm's ViT; or convolutions, which small sets need."""
    stages: int | None = None
    """fm, mavit: joins [K], one after ``depth / stages`` blocks each (default 2)."""
    mutual: Literal["sum", "product", "peer"] | None = None
    """fm: how relevances of the modalities become one map (default sum)."""
    rho: float | None = None
    """fm, mavit: share of the patches that are attended to (default 0.5; 1 = all)."""
    soft: bool | None = None
    """fm: weight keys by the map instead of cutting (default no)."""
    mma: bool | None = None
    """fm: mutual attention (default yes); no = plain self-attention."""
    mfa: bool | None = None
    """fm: fusion attention (default yes)."""
    share_stb: bool | None = None
    """fm: branches share their blocks (default yes)."""
    missing: Literal["self", "skip"] | None = None
    """fm: what a lone modality's fusion attention looks at (default its own patches)."""
    own_position: bool | None = None
    """fm: a position table for each modality (default one for all)."""
    subsets: Literal["full", "alternate", "each", "dropout"] | None = None
    """What steps see: all modalities; all and each alone in turn (default of fm); both in every step; or each
    modality left out with probability ``drop``."""
    drop: float | None = None
    """dropout: probability (default 0.3)."""
    fused: float = 0.0
    """Weight of the mean logit's loss [lambda_f]."""
    agree: float = 0.0
    """Weight of 1 - cos between class tokens of two modalities [L_agn]."""
    peer: float = 0.0
    """Weight of the distillation of other modalities' logits into ``pupil``, in steps that see it alone."""
    pupil: str | None = None
    """Who is taught by its peers (default rgb)."""
    peer_from: Literal["depth", "ir", "others", "fused"] | None = None
    """Who teaches: one modality, the mean logit of the others alone, or of all together (default others)."""
    peer_temperature: float | None = None
    """Of both distributions (default 2)."""
    aux_targets: tuple[str, ...] = ()
    """fm: modalities whose coarse pictures the pupil's last tokens also predict."""
    aux: float | None = None
    """Weight of that prediction (default 1)."""
    theta: float | None = None
    """halfway: share of central differences in its convolutions (default 0.7)."""
    pretrained: str | None = None
    """File of timm weights (safetensors) of a ViT of this shape, for every branch."""
    pretrained_lr: float | None = None
    """Rate of the pre-trained weights, as a share of the others' (default 0.1)."""

    def __post_init__(self) -> None:
        unknown = [m for m in self.modalities if m not in MODALITIES]
        ordered = tuple(m for m in MODALITIES if m in self.modalities)
        if unknown or not self.modalities or ordered != self.modalities:
            raise ConfigError(
                f"method.modalities={list(self.modalities)}: some of {list(MODALITIES)}, in this order"
            )
        if (self.net == "single") != (len(self.modalities) == 1):
            raise ConfigError(
                f"method.net={self.net!r} does not fit {len(self.modalities)} modalities; single sees one"
            )
        if self.pretrained is not None and self.stem != "patch":
            raise ConfigError("method.pretrained needs method.stem='patch'")
        for name, low in (("patch", 1), ("dim", 1), ("depth", 1), ("heads", 1), ("stages", 1)):
            check_range("method", name, getattr(self, name), low, 100_000)
        check_range("method", "mlp_ratio", self.mlp_ratio, 0.01, 64)
        check_range("method", "rho", self.rho, 1e-6, 1.0)
        check_range("method", "drop", self.drop, 0.0, 0.99)
        for name in ("fused", "agree", "peer", "aux"):
            check_range("method", name, getattr(self, name), 0.0, 1e6)
        check_range("method", "peer_temperature", self.peer_temperature, 1e-3, 1e3)
        check_range("method", "theta", self.theta, 0.0, 1.0)
        check_range("method", "pretrained_lr", self.pretrained_lr, 0.0, 1.0)
        own = ("mutual", "soft", "mma", "mfa", "share_stb", "missing", "own_position")
        table: dict[str, tuple[str, ...]] = dict.fromkeys(own, ("fm",))
        table |= dict.fromkeys(("stages", "rho"), ("fm", "mavit"))
        refuse_inapplicable(self, self.net, {**table, "subsets": _BRANCHES, "theta": ("halfway",)})
        taught = {
            "pupil": "peer or aux_targets",
            "peer_from": "peer",
            "peer_temperature": "peer",
            "aux": "aux_targets",
        }
        is_on = {"peer": self.peer > 0, "aux_targets": bool(self.aux_targets)}
        is_on["peer or aux_targets"] = any(is_on.values())
        for name, needs in taught.items():
            if getattr(self, name) is not None and not is_on[needs]:
                raise ConfigError(f"method.{name} needs method.{needs}")
        if (self.peer or self.aux_targets or self.agree) and self.net != "fm":
            raise ConfigError(f"method.peer, agree and aux_targets do not apply to net={self.net!r}")
        if self.peer and self.schedule in ("full", "dropout"):
            raise ConfigError(
                "method.peer needs method.subsets alternate or each: steps that see the pupil alone"
            )
        if self.taught not in self.modalities and is_on["peer or aux_targets"]:
            raise ConfigError(f"method.pupil={self.taught!r} is not one of the net's modalities")

    @property
    def schedule(self) -> str:
        """What steps see."""
        return self.subsets or ("alternate" if self.net in ("fm", "mavit") else "full")

    @property
    def taught(self) -> str:
        """The modality that is taught by its peers."""
        return self.pupil or "rgb"


@dataclass(frozen=True)
class PredictOptions:
    """Flags of ``mien predict fm_vit``; inputs without a flag are colour pictures, one result each."""

    rgb: str | None = None
    """Colour picture, or a video file."""
    depth: str | None = None
    """Depth picture of the same moment: 16-bit millimetres, metres (.npy), or 8-bit from near to far."""
    ir: str | None = None
    """Near-infrared picture of the same moment."""
    box: tuple[int, ...] = ()
    """Left, top, right, bottom of the face, pixels of the first picture; else a detector, else all of it."""
    detector: Literal["none", "mediapipe"] = "none"
    """Who looks for the face."""
    threshold: float | None = None
    """Accept from this probability of being live on; else the model's own for these modalities."""
    frames: int = 8
    """Frames of a video that are looked at, evenly spread."""
    maps: str | None = None
    """Folder for pictures of where each modality was looked at."""

    def __post_init__(self) -> None:
        check_range("predict", "threshold", self.threshold, 0.0, 1.0)
        check_range("predict", "frames", self.frames, 1, 10_000)
        check_box_option(self.box)

    def pictures(self) -> dict[str, str]:
        """The pictures given by flags: modality -> file."""
        return {m: f for m in MODALITIES if (f := getattr(self, m)) is not None}


@dataclass(frozen=True)
class InspectOptions:
    """Flags of ``mien inspect fm_vit``."""

    split: Literal["train", "dev", "test"] = "train"
    """Where each branch alone is looked at."""
    samples: int = 1000
    """Presentations, at most."""
    degrade: bool = False
    """Instead: colour alone before worse and worse surveillance cameras; best with ``--split test``."""
    levels: int = 5
    """degrade: severities, from 0 to 1."""
    plot: str | None = None
    """PNG file for the score histograms, or the curves."""

    def __post_init__(self) -> None:
        check_range("inspect", "samples", self.samples, 10, 1e7)
        check_range("inspect", "levels", self.levels, 2, 100)


def _small() -> Recipe:
    """FM-ViT on rendered colour, depth and infrared, each step with all modalities and each alone."""
    return Recipe(
        name="fm_vit-small",
        method=FmVitConfig(subsets="each"),
        data=PadData(),
        optim=OptimConfig(kind="adamw", lr=2e-3, weight_decay=0.05),
        schedule=ScheduleConfig(epochs=40, batch=32, warmup_epochs=2, grad_clip=1.0),
    )


def _debug() -> Recipe:
    """Three steps of everything."""
    changes: dict[str, object] = {
        "name": "fm_vit-debug",
        "data.kind": "debug",
        "data.size": 32,
        "data.subjects": (6, 4, 4),
        "data.each": (4, 4, 4),
        "data.devices": (1, 1, 1),
        "method.dim": 16,
        "method.depth": 2,
        "method.heads": 2,
        "schedule.steps": 3,
        "schedule.batch": 8,
        "schedule.warmup_epochs": 0.0,
    }
    return evolve_all(_small(), changes)


def _paper() -> Recipe:
    """ViT-B/16 at 224 on CASIA-SURF CeFA; the paper's own settings could not be read."""
    changes: dict[str, object] = {
        "name": "fm_vit-paper",
        "data.kind": "cefa",
        "data.size": 224,
        "data.protocol": "p4.1",
        "method.patch": 16,
        "method.stem": "patch",
        "method.dim": 768,
        "method.depth": 12,
        "method.heads": 12,
        "method.mlp_ratio": 4.0,
        "method.stages": 4,
        "method.fused": 1.0,
        "optim.lr": 1e-4,
        "schedule.epochs": 30.0,
        "schedule.warmup_epochs": 5.0,
        "schedule.batch": 32,
    }
    return evolve_all(_small(), changes)


RECIPES: dict[str, Callable[[], Recipe]] = {"small": _small, "debug": _debug, "paper": _paper}
