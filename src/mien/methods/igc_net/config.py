"""What IGC-Net can be set to (no torch here)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from mien.core.config import MethodConfig, OptimConfig, Recipe, ScheduleConfig, check_range, evolve_all
from mien.core.errors import ConfigError
from mien.data.config import CapsuleData
from mien.methods.igc_net.options import InspectOptions, PredictOptions

__all__ = ["RECIPES", "IgcNetConfig", "InspectOptions", "PredictOptions"]


@dataclass(frozen=True)
class IgcNetConfig(MethodConfig):
    """Sizes of the networks, the schedule, and weights of losses; symbols of the page in brackets."""

    model: Literal["capsules", "autoencoder2d"] = "capsules"
    """capsules, or the flat network that they are compared with, of ``width`` and ``features``."""
    parts: int = 6
    """Part capsules, the background apart [M]; 1 = Unsup3D."""
    width: int = 16
    """Channels of the first layers [nf]."""
    dim: int = 32
    """Length of a part's shape code, and of its albedo code [D]."""
    features: int = 64
    """Length of a picture's shape embedding, and of its albedo embedding [f_s, f_a]."""
    query: int = 32
    """Length of a part's learned query [p_m]."""
    pooling: Literal["queries", "attention"] = "queries"
    """queries: a part's code from embedding and query. attention: from a map of features that parts share."""
    share_decoder: bool = True
    """All parts have one decoder; else each its own."""
    assembling: Literal["depth", "alpha"] = "depth"
    """depth: the nearest present part wins. alpha: presences alone decide."""
    background: bool = True
    """A layer behind all parts."""
    light: bool = True
    """Light is estimated; else the picture is the albedo."""
    mirror: bool = True
    """Embeddings, view and light are those of a picture and of its mirror image at once."""
    dome: bool = True
    """Depth starts from a dome that all faces share; else from a plane."""
    front: float = 0.92
    """Depth of the dome's nearest point, scene units; its middle is at 1."""
    radii: tuple[float, float] = (0.7, 1.25)
    """Half axes of the dome across and along the face; 1 = half a picture."""
    common_rate: float = 1.0
    """Learning rate of the depth that all faces share beside the dome, as a share of the others'."""
    confidence: bool = False
    """Pixels that cannot be explained count less [sigma]."""
    warp: Literal["fixed_point", "splat"] = "splat"
    """How the depth of the input view is found."""
    max_turn: float = 60.0
    """Largest rotation about an axis, degrees."""
    max_shift: float = 0.0
    """Largest shift along x and y, scene units."""
    tau_start: float = 0.02
    """Softness of assembling at first, scene units [tau]."""
    tau_end: float = 0.005
    """And at the end."""
    warmup: float = 0.4
    """Part of the steps in which one capsule is the whole face."""
    harden: float = 0.2
    """Last part of the steps, with hard assembling and the entropy."""
    mend_every: int = 0
    """Steps between looks for dead parts, which begin anew, and hollow faces, which are turned inside out;
    none while assembling is hard. 0: never."""
    flip: float = 0.5
    """Weight of the picture of the mirrored object; 0 leaves it out."""
    perceptual: float = 1.0
    """Weight of differences of features of pictures [L_pe]."""
    semantic: float = 1.0
    """Weight of the semantic constraint [L_sem]; 0 leaves it out, and its orthogonality."""
    assign: float = 1.0
    """Weight of pixels that go to the part they look like; applies with ``semantic``."""
    orthogonal: float = 0.1
    """Weight of the basis' orthogonality [L_orth]."""
    concentration: float = 0.02
    """Weight of the spread of parts [L_con]."""
    foreground: float = 1.0
    """Weight of background separation [L_bg]; applies with a background."""
    entropy: float = 0.01
    """Weight of the presences' entropy, at the end [L_ent]."""
    equivariance: float = 1.0
    """Weight of parts that follow a warped picture [L_eqv]."""
    cycle: float = 1.0
    """Weight of the view that is found in own pictures of known view; 0 leaves it out."""
    crowd: float = 1.0
    """Weight of what is known of views of many faces: their spread of yaw, and that pitch is 0 on average."""
    spread: float = 20.0
    """Least root mean square of yaw, degrees."""
    contrast: float = 0.06
    """Weight of embeddings that are alike for own pictures of a face and not for others, after ``warmup``: by
    pictures of unfinished faces nobody is known."""
    views_from: float = 0.08
    """Part of the steps before these three: pictures alone say which way a face turns."""
    alike: float = 1.0
    """Weight of the variance of depth over faces."""
    near_dome: float = 0.001
    """Weight of the squared distance from the dome; applies with a dome."""
    like_dome: float = 0.005
    """Weight of the squared gradient of that distance."""
    smooth: float = 0.0
    """Weight of the depth's gradient."""

    def __post_init__(self) -> None:
        check_range("method", "parts", self.parts, 1, 64)
        for name in ("dim", "features", "query"):
            check_range("method", name, getattr(self, name), 1, 10_000)
        if self.width < 8 or self.width % 4:
            raise ConfigError(f"method.width={self.width} must be a multiple of 4, and at least 8")
        check_range("method", "mend_every", self.mend_every, 0, 1_000_000)
        check_range("method", "max_turn", self.max_turn, 0.0, 89.0)
        check_range("method", "spread", self.spread, 0.1, 89.0)
        check_range("method", "max_shift", self.max_shift, 0.0, 1.0)
        for name in ("tau_start", "tau_end"):
            check_range("method", name, getattr(self, name), 1e-4, 10.0)
        check_range("method", "front", self.front, 0.901, 0.999)
        for radius in self.radii:
            check_range("method", "radii", radius, 0.1, 10.0)
        check_range("method", "common_rate", self.common_rate, 0.0, 100.0)
        for name in ("warmup", "harden", "views_from"):
            check_range("method", name, getattr(self, name), 0.0, 1.0)
        if self.warmup + self.harden > 1:
            raise ConfigError(f"method.warmup={self.warmup} and harden={self.harden} exceed 1 together")
        for name in (
            "flip", "perceptual", "semantic", "assign", "orthogonal", "concentration", "foreground",
            "entropy", "equivariance", "smooth", "cycle", "contrast", "crowd", "alike", "near_dome",
            "like_dome",
        ):  # fmt: skip
            check_range("method", name, getattr(self, name), 0.0, 1e6)


def _small() -> Recipe:
    """Rendered people, minutes on two cores."""
    return Recipe(
        name="igc-net-small",
        method=IgcNetConfig(),
        data=CapsuleData(size=32, val_people=140, test_people=300),
        optim=OptimConfig(kind="adam", lr=4e-3),
        schedule=ScheduleConfig(steps=1350, batch=24, warmup_epochs=0.5, lr_end=0.02, grad_clip=5.0),
    )


def _paper() -> Recipe:
    """Networks and schedule of Unsup3D's release, on CelebA, without the helps that the small recipe has."""
    method = IgcNetConfig(
        width=64,
        dim=64,
        features=256,
        mirror=False,
        dome=False,
        confidence=True,
        cycle=0.0,
        crowd=0.0,
        contrast=0.0,
        alike=0.0,
        max_shift=0.1,
        warmup=0.2,
        assign=0.0,
        concentration=0.1,
        smooth=0.01,
    )
    return Recipe(
        name="igc-net-paper",
        method=method,
        data=CapsuleData(kind="celeba", size=64),
        optim=OptimConfig(kind="adam", lr=1e-4, weight_decay=5e-4),
        schedule=ScheduleConfig(epochs=30, batch=64, lr_rule="constant"),
    )


def _debug() -> Recipe:
    """A few heads of formulas, three steps: the last has parts."""
    changes: dict[str, object] = {
        "name": "igc-net-debug",
        "method.parts": 3,
        "method.width": 8,
        "method.dim": 8,
        "method.features": 16,
        "method.query": 4,
        "method.views_from": 0.0,
        "data.kind": "debug",
        "data.people": 6,
        "data.val_people": 2,
        "data.test_people": 4,
        "data.per_identity": 4,
        "schedule.steps": 3,
        "schedule.batch": 8,
        "schedule.warmup_epochs": 0.0,
    }
    return evolve_all(_small(), changes)


_ROWS: dict[str, dict[str, object]] = {
    "single": {"method.parts": 1},
    "no-semantic": {"method.semantic": 0.0},
    "alpha": {"method.assembling": "alpha"},
    "no-light": {"method.light": False},
    "no-flip": {"method.flip": 0.0},
    "no-background": {"method.background": False},
    "flat": {"method.dome": False},
    "autoencoder2d": {"method.model": "autoencoder2d", "method.width": 28},
    "no-cycle": {"method.cycle": 0.0, "method.contrast": 0.0},
}
"""What a row changes of the small recipe. single: Unsup3D, with the same helps."""


def _row(name: str) -> Callable[[], Recipe]:
    def made() -> Recipe:
        return evolve_all(_small(), {"name": f"igc-net-small-{name}", **_ROWS[name]})

    return made


RECIPES: dict[str, Callable[[], Recipe]] = {
    "small": _small,
    "paper": _paper,
    "debug": _debug,
    **{f"small-{name}": _row(name) for name in _ROWS},
}
