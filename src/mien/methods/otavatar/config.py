"""What the talking avatar can be set to (no torch here), and the recipes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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
from mien.core.errors import ConfigError
from mien.data.config import TalkingData
from mien.methods.otavatar.options import InspectOptions, PredictOptions
from mien.render.plane_settings import Aggregate, PlaneAxes, PlaneSettings

__all__ = ["RECIPES", "InspectOptions", "OtavatarConfig", "PredictOptions"]


@dataclass(frozen=True)
class OtavatarConfig(MethodConfig):
    """The generator, the controller and how the stage is taught; symbols of the page in brackets."""

    stage: Literal["prior", "controller", "sr"] = "controller"
    """prior: generator and encoder, from many views of many people. controller: motion, on a frozen prior.
    sr: super-resolution, on both, frozen."""
    mode: Literal["dbi", "naive"] | None = None
    """controller: dbi: identity codes of two frames, with the controller in the loop (default). naive: of one
    frame without it."""
    inner: Literal["successively", "alternatively", "together"] | None = None
    """dbi: who learns when in the inner loop (default: codes first, then the controller)."""
    bank: bool | None = None
    """controller: keep one code for each person and learn all of them along with the controller, instead of
    inverting anew in every step (default no)."""
    frames: int | None = None
    """dbi: frames that share an identity code (default 2)."""
    z_dim: int = 128
    """Width of the latent."""
    w_dim: int = 128
    """Width of a style code [W]."""
    plane_size: int = 64
    """Side of a plane [P]."""
    plane_channels: int = 16
    """Channels of a plane [C]."""
    start: int = 4
    """Side of the learnt constant that the planes grow from."""
    channel_base: int = 2048
    """A block of side r has min(channel_base / r, channel_max) channels."""
    channel_max: int = 96
    """See there."""
    decoder_width: int = 32
    """Hidden width of the decoder."""
    features: int = 3
    """Of the decoder; the first three are the colour."""
    sigma_bias: float = -3.0
    """Raw density that empty space starts at."""
    warped: bool | None = None
    """The planes are moved to where a face's landmarks are, which the code tells (default no)."""
    sr_side: int = 64
    """Side of the raw picture that super-resolution starts from."""
    sr_channels: tuple[int, ...] = ()
    """Super-resolution blocks, each of which doubles the side; none = the field is drawn at any size."""
    latent: Literal["mixed", "encoder", "free"] = "mixed"
    """prior: z of a moment is a random orthogonal mix of the numbers it was drawn from, and an encoder learns
    to read w off a view; or it is read off a view from the start; or it is learnt for each moment
    (auto-decoder)."""
    mapping_layers: int = 2
    """Of the mapping z -> w; 0: w is z / rms(z)."""
    mapping_rate: float = 0.01
    """Rate of the mapping, as a share of the generator's."""
    read: float = 0.1
    """prior: weight of the encoder's error in w, where that is learnt apart."""
    conditioned: bool = False
    """The mapping is also told the camera (25 numbers), as EG3D's; with latent "free" only."""
    axes: PlaneAxes = "corrected"
    """Planes (x,y), (x,z), (z,y), or as released with EG3D."""
    aggregate: Aggregate = "mean"
    """Mean or sum over the planes."""
    near: float = 2.2
    """First distance along a ray, sides of the cube."""
    far: float = 3.2
    """Last distance."""
    background: Literal["white", "black"] | None = None
    """What is left of the light along a ray (default white; the released EG3D draws its background itself, on
    black)."""
    density_scale: float = 20.0
    """Density of raw density 2 or so, 1 / side of the cube."""
    coarse: int = 48
    """Samples of the first pass at test time."""
    fine: int = 48
    """Samples of the second pass at test time."""
    rays: int = 128
    """Training rays of a view."""
    samples: int = 16
    """Training samples of a ray."""
    face: float = 0.4
    """Share of the rays that fall on what is no background."""
    parts: float = 0.35
    """Share of the rays that fall near mouth and eyes."""
    detail: float | None = None
    """Share of the rays that fall near mouth and eyes where the picture has contrast (default 0)."""
    squared: float | None = None
    """prior: weight of the squared colour error beside the absolute one (default 0)."""
    align: float | None = None
    """prior, controller: weight of the landmarks' error, where planes are warped (default 10)."""
    follow: float | None = None
    """controller: weight of saying the motion that the encoder reads of a person's moments (default 0: motion
    is learnt from pictures alone)."""
    follow_first: int | None = None
    """controller: steps in which it learns nothing but that, before all others (default 0)."""
    depth: float = 0.3
    """prior: weight of the distance along the ray."""
    opacity: float = 0.5
    """prior: weight of the silhouette."""
    radius: int = 4
    """Frames on each side of a window."""
    width: int = 64
    """Of the controller."""
    directions: int = 16
    """Of the code book [K]."""
    code_book: Literal["orthonormal", "linear"] = "orthonormal"
    """Directions at right angles, or as they are learnt."""
    pose_rows: int = 0
    """Last rows of a window that are head pose."""
    pose_dropout: float = 0.0
    """Probability that a training window's pose rows are held at those of the other frame."""
    inner_steps: int | None = None
    """Inner steps of an inversion (default 20)."""
    inner_lr: float | None = None
    """Of the codes, kept ones too (default 0.05)."""
    controller_steps: int | None = None
    """Controller steps on each inversion (default 6)."""
    beta1: float | None = None
    """First decay of the controller's AdamW (default 0.9)."""
    norm: float = 0.0
    """Weight of the hinge that keeps motion codes longer than 10."""
    crop: int | None = None
    """sr: side of the part of a raw picture that is drawn and enlarged in a step (default 32); a share
    ``face`` + ``parts`` of them lies around mouth or an eye."""
    emphasis: float | None = None
    """sr: weight of what lies near mouth and eyes, beside the 1 of everything (default 3)."""

    def __post_init__(self) -> None:
        for name in ("z_dim", "w_dim", "plane_size", "plane_channels", "decoder_width", "rays", "width"):
            check_range("method", name, getattr(self, name), 1, 100_000)
        for name in ("squared", "align", "follow", "depth", "opacity", "norm"):
            check_range("method", name, getattr(self, name), 0.0, 1e6)
        for name in ("face", "parts", "pose_dropout"):
            check_range("method", name, getattr(self, name), 0.0, 1.0)
        for name in ("detail", "emphasis"):
            check_range("method", name, getattr(self, name), 0.0, 1e6 if name == "emphasis" else 1.0)
        check_range("method", "crop", self.crop, 8, self.sr_side)
        check_range("method", "samples", self.samples, 4, 1000)
        check_range("method", "features", self.features, 3, 1000)
        check_range("method", "radius", self.radius, 1, 1000)
        check_range("method", "directions", self.directions, 1, self.w_dim)
        check_range("method", "follow_first", self.follow_first, 0, 1_000_000)
        for name in ("inner_steps", "controller_steps"):
            check_range("method", name, getattr(self, name), 1, 100_000)
        check_range("method", "inner_lr", self.inner_lr, 1e-9, 1e3)
        check_range("method", "frames", self.frames, 1, 2)
        check_range("method", "beta1", self.beta1, 0.0, 0.999)
        if self.conditioned and self.latent != "free":
            raise ConfigError(
                "method.conditioned: an encoder would have to know the camera; set method.latent='free'"
            )
        if self.face + self.parts + (self.detail or 0) > 1:
            raise ConfigError(
                f"method.face={self.face}, parts={self.parts} and detail={self.detail or 0} are shares: at"
                " most 1 together"
            )
        if not 0 <= self.near < self.far:
            raise ConfigError(f"method.near={self.near} must be at least 0 and below far={self.far}")
        if self.stage == "sr" and not self.sr_channels:
            raise ConfigError("method.stage='sr' trains method.sr_channels, and there are none; set (32,)")
        own: dict[str, tuple[str, ...]] = dict.fromkeys(
            ("mode", "bank", "inner_steps", "controller_steps", "beta1", "follow", "follow_first"),
            ("controller",),
        )
        own |= {"inner_lr": ("controller", "sr"), "squared": ("prior",), "align": ("prior", "controller")}
        refuse_inapplicable(self, self.stage, {**own, "crop": ("sr",), "emphasis": ("sr",)})
        dbi = "dbi" if self.stage == "controller" and self.mode != "naive" else "other"
        refuse_inapplicable(self, dbi, {"inner": ("dbi",), "frames": ("dbi",)})

    @property
    def align_weight(self) -> float:
        """``align``, or its default."""
        return 10.0 if self.align is None else self.align

    def settings(self, **changes: object) -> PlaneSettings:
        """How the field is drawn."""
        given: dict[str, object] = {
            "axes": self.axes, "aggregate": self.aggregate, "limits": (self.near, self.far),
            "coarse": self.coarse, "fine": self.fine, "density_scale": self.density_scale,
            "white_back": self.background != "black",
        }  # fmt: skip
        return PlaneSettings(**{**given, **changes})  # type: ignore[arg-type]


def _small_prior() -> Recipe:
    """A small generator on star-shaped heads."""
    return Recipe(
        name="otavatar-small-prior",
        method=OtavatarConfig(
            stage="prior",
            z_dim=64,
            w_dim=64,
            mapping_layers=0,
            plane_size=32,
            start=16,
            channel_max=64,
        ),
        data=TalkingData(kind="stars", people=400),
        optim=OptimConfig(kind="adam", lr=1e-2),
        schedule=ScheduleConfig(steps=3500, batch=8, warmup_epochs=0.15, grad_clip=1.0, ema=0.995),
    )


def _small() -> Recipe:
    """The controller on it, decoupled by inverting with kept codes."""
    changes: dict[str, object] = {
        "name": "otavatar-small",
        "method.stage": "controller",
        "method.bank": True,
        "optim.kind": "adamw",
        "optim.lr": 2e-3,
        "optim.weight_decay": 0.01,
        "schedule.steps": 2000,
        "schedule.warmup_epochs": 0.6,
        "schedule.grad_clip": None,
        "schedule.ema": None,
    }
    return evolve_all(_small_prior(), changes)


def _plain_prior() -> Recipe:
    """A generator and its encoder, on rendered people of 128 pixels."""
    return Recipe(
        name="otavatar-plain-prior",
        method=OtavatarConfig(
            stage="prior",
            z_dim=160,
            w_dim=160,
            mapping_layers=0,
            plane_size=128,
            squared=1.0,
            parts=0.45,
        ),
        data=TalkingData(size=128),
        optim=OptimConfig(kind="adam", lr=1e-2),
        schedule=ScheduleConfig(
            steps=12_000, batch=8, warmup_epochs=0.07, grad_clip=1.0, ema=0.995, checkpoint_every=500
        ),
    )


def _plain() -> Recipe:
    """The controller on it, decoupled by inverting with kept codes."""
    changes: dict[str, object] = {
        "name": "otavatar-plain",
        **_CONTROLLER,
        "schedule.steps": 2000,
        "schedule.warmup_epochs": 0.25,
    }
    return evolve_all(_plain_prior(), changes)


def _demo_prior() -> Recipe:
    """The demo's generator: its planes follow the landmarks, and grow from a finer constant."""
    changes: dict[str, object] = {
        "name": "otavatar-demo-prior",
        "method.start": 32,
        "method.channel_base": 3072,
        "method.warped": True,
        "method.face": 0.3,
        "method.detail": 0.1,
        "schedule.steps": 5500,
    }
    return evolve_all(_plain_prior(), changes)


def _demo() -> Recipe:
    """The demo's controller, which also learns to say what the encoder reads."""
    changes: dict[str, object] = {
        "name": "otavatar-demo",
        **_CONTROLLER,
        "method.follow": 100.0,
        "method.follow_first": 1500,
        "optim.lr": 5e-4,
        "schedule.steps": 300,
        "schedule.warmup_epochs": 0.25,
    }
    return evolve_all(_demo_prior(), changes)


def _demo_sr() -> Recipe:
    """The demo's super-resolution, 64 -> 128 pixels.

    It comes last: what it sees then is what it will see, codes moved by the controller, with its errors.
    """
    return evolve_all(_demo(), {"name": "otavatar-demo-sr", **_SR, "schedule.steps": 1500})


_CONTROLLER: dict[str, object] = {
    "method.stage": "controller",
    "method.squared": None,
    "method.bank": True,
    "method.inner_lr": 0.015,
    "optim.kind": "adamw",
    "optim.lr": 2e-3,
    "optim.weight_decay": 0.01,
    "schedule.grad_clip": None,
}
"""What makes the controller's recipe of the generator's, on rendered people: codes are kept."""
_SR: dict[str, object] = {
    "method.stage": "sr",
    "method.bank": None,
    "method.follow": None,
    "method.follow_first": None,
    "method.sr_channels": (32,),
    "method.samples": 32,
    "optim.kind": "adam",
    "optim.lr": 4e-3,
    "optim.weight_decay": 0.0,
    "schedule.warmup_epochs": 0.05,
    "schedule.grad_clip": None,
}
"""What makes the super-resolution's recipe of the controller's."""


def _gpu_prior() -> Recipe:
    """The demo's generator for some minutes of a GPU: more of everything, and rays on what eyes show."""
    changes: dict[str, object] = {
        "name": "otavatar-gpu-prior",
        "method.channel_base": 4096,
        "method.features": 8,
        "method.rays": 192,
        "method.samples": 24,
        "method.face": 0.3,
        "method.parts": 0.2,
        "method.detail": 0.3,
        "schedule.batch": 24,
        "schedule.warmup_epochs": 0.8,
        "schedule.checkpoint_every": 4000,
        "schedule.log_every": 100,
    }
    return evolve_all(_plain_prior(), changes)


def _gpu() -> Recipe:
    """The controller on it."""
    changes: dict[str, object] = {
        "name": "otavatar-gpu",
        **_CONTROLLER,
        "schedule.steps": 3000,
        "schedule.batch": 16,
        "schedule.warmup_epochs": 1.0,
    }
    return evolve_all(_gpu_prior(), changes)


def _gpu_sr() -> Recipe:
    """The super-resolution on both."""
    changes = {"name": "otavatar-gpu-sr", **_SR, "method.sr_channels": (48,), "schedule.steps": 3000}
    return evolve_all(_gpu(), changes)


def _debug_prior() -> Recipe:
    """Three steps of everything: the generator and its encoder."""
    changes: dict[str, object] = {
        "name": "otavatar-debug-prior",
        "method.plane_size": 16,
        "method.warped": True,
        "method.plane_channels": 4,
        "method.channel_base": 256,
        "method.channel_max": 8,
        "method.decoder_width": 8,
        "method.rays": 32,
        "method.samples": 8,
        "method.coarse": 8,
        "method.fine": 8,
        "method.radius": 2,
        "method.width": 8,
        "method.directions": 4,
        "data.kind": "debug",
        "data.size": 32,
        "data.people": 6,
        "data.val_people": 3,
        "data.test_people": 3,
        "data.moments": 2,
        "data.views": 2,
        "schedule.steps": 3,
        "schedule.batch": 4,
        "schedule.warmup_epochs": 0.0,
    }
    return evolve_all(_plain_prior(), changes)


def _debug() -> Recipe:
    """Three steps of everything: the controller."""
    changes: dict[str, object] = {
        "name": "otavatar-debug",
        "method.stage": "controller",
        "method.squared": None,
        "method.inner_steps": 3,
        "method.controller_steps": 1,
        "optim.kind": "adamw",
    }
    return evolve_all(_debug_prior(), changes)


def _debug_sr() -> Recipe:
    """Three steps of everything: super-resolution."""
    changes: dict[str, object] = {
        "name": "otavatar-debug-sr",
        "method.stage": "sr",
        "method.inner_steps": None,
        "method.controller_steps": None,
        "method.sr_side": 16,
        "method.sr_channels": (4,),
        "method.crop": 8,
        "optim.kind": "adam",
    }
    return evolve_all(_debug(), changes)


def _paper_prior() -> Recipe:
    """A generator of EG3D's sizes, with a latent for each moment of HDTF; its super-resolution is not taught.

    It stands in for the released one (``--from prior=FILE`` of ``mien convert eg3d``).
    """
    return Recipe(
        name="otavatar-paper-prior",
        method=OtavatarConfig(stage="prior", latent="free", depth=0.0, **_EG3D),  # type: ignore[arg-type]
        data=TalkingData(kind="hdtf", size=256, resolution=512, moments=100, workers=4),
        optim=OptimConfig(kind="adam", lr=2.5e-3),
        schedule=ScheduleConfig(steps=50_000, batch=32, lr_rule="constant", ema=0.995, checkpoint_every=1000),
    )


_EG3D: dict[str, object] = {
    "z_dim": 512, "w_dim": 512, "conditioned": True, "plane_size": 256, "plane_channels": 32,
    "channel_base": 32768, "channel_max": 512, "decoder_width": 64, "features": 32, "sigma_bias": 0.0,
    "sr_side": 128, "sr_channels": (256, 128), "axes": "eg3d", "background": "black", "near": 2.25,
    "far": 3.3, "density_scale": 1.0, "rays": 1024, "samples": 96, "radius": 13, "width": 256,
    "directions": 20, "pose_rows": 6,
}  # fmt: skip
"""The released generator, and the controller on it."""


def _paper() -> Recipe:
    """The released settings on HDTF: 2,000 iterations, 100 inner steps each; the generator stays as it is."""
    changes: dict[str, object] = {
        "name": "otavatar-paper",
        "method.stage": "controller",
        "method.depth": OtavatarConfig.depth,
        "method.inner_steps": 100,
        "method.inner_lr": 0.01,
        "method.controller_steps": 10,
        "method.beta1": 0.5,
        "optim.kind": "adamw",
        "optim.lr": 1e-3,
        "optim.weight_decay": 1.0,
        "schedule.steps": 2000,
        "schedule.batch": 4,
        "schedule.ema": 0.95,
        "schedule.checkpoint_every": 100,
    }
    return evolve_all(_paper_prior(), changes)


RECIPES: dict[str, Callable[[], Recipe]] = {
    "small": _small,
    "small-prior": _small_prior,
    "demo": _demo,
    "demo-prior": _demo_prior,
    "demo-sr": _demo_sr,
    "plain": _plain,
    "plain-prior": _plain_prior,
    "gpu": _gpu,
    "gpu-prior": _gpu_prior,
    "gpu-sr": _gpu_sr,
    "debug": _debug,
    "debug-prior": _debug_prior,
    "debug-sr": _debug_sr,
    "paper": _paper,
    "paper-prior": _paper_prior,
}
"""Recipes by name; ``paper`` and ``debug`` are chains (see ``protocol.CHAINS``)."""
