"""What the clothed avatar can be set to (no torch here), and the recipes."""

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
)
from mien.core.errors import ConfigError
from mien.data.config import ClothedData

Stage = Literal["normal", "sdf", "hyper"]


@dataclass(frozen=True)
class CarConfig(MethodConfig):
    """Sizes of the three parts, and what a stage is taught; symbols of the page in brackets."""

    stage: Stage = "hyper"
    """normal: nets for the normals of front and back. sdf: the canonical field, which reads their maps.
    hyper: start weights of the refinement, from the body. Each goes on from the one before."""
    normal_kind: Literal["unet", "pix2pix"] = "unet"
    """Small nets, or the published ones."""
    normal_body: bool = True
    """They see the normals of the body beside the picture (ICON), or the picture alone (PIFuHD)."""
    features: tuple[str, ...] = ("image", "normal")
    """What the field reads beside the coordinates: image [Phi], normal [n_c]; none of them with ()."""
    space: Literal["canonical", "posed"] = "canonical"
    """posed: a baseline in the manner of PIFu, a field of the photographed pose."""
    hidden: tuple[int, ...] = (128, 128, 128, 128)
    """Widths of the field's layers [F]."""
    skips: tuple[int, ...] = (2,)
    """Its layers that see the input again."""
    channels: int = 32
    """Channels of the hourglass."""
    stacks: int = 1
    """Hourglasses."""
    depth: int = 2
    """Of each."""
    inputs: int = 6
    """Channels that the hourglass reads: 3 = front normals (published), 6 = front and back."""
    octaves: int = 0
    """Of the encoding of coordinates [gamma]; 0 = none."""
    radius: float = 0.7
    """Of the sphere that the field starts as, metres."""
    normal_transport: Literal["exact", "official"] = "exact"
    """How a normal is carried to canonical space: by the transpose, or as released by the inverse."""
    two_sided: bool = True
    """Points behind the middle of the body read the back's normals; else all of a ray the front's, as
    published."""
    total_gradient: bool = False
    """The gradient follows the point through skinning and picture, not in the coordinates alone."""
    residual: bool = True
    """The field is added to the distance to the given body; else it is the whole, a sphere at first."""
    as_given: bool = False
    """sdf: points are carried to the star pose of the given body, as at test time; else of the true one."""
    occupancy: bool = False
    """Learn inside and outside instead of a signed distance."""
    sign: float = 1.0
    """sdf: weight of what is known of points further away: which side they are on, and that they are far."""
    around: int = 512
    """sdf: such points of a picture in a step."""
    dims: tuple[int, ...] = (3, 64, 64, 64, 64, 1)
    """Widths of the network that the refinement moves [G]."""
    dims_skips: tuple[int, ...] = (2, 3, 4)
    """Its layers that see the input again."""
    width: int = 256
    """Of the hyper-network's encoder."""
    heads: int = 32
    """Hidden width of its heads."""
    heads_skip: bool = False
    """Heads see their feature twice, as published."""
    factorized: bool = False
    """A shared network and low-rank changes of it, instead of all weights from full heads."""
    rank: int = 16
    """Of these changes."""
    points: int = 512
    """hyper: surface points of a body in a step; as many near it, an eighth around."""
    seen: int = 1024
    """hyper: random points of a body that the encoder sees in a step (all of them at test time)."""
    coarse: int = 96
    """Cells of the longest side of the coarse surface's grid."""
    fine: int = 96
    """Cells of the refined surface's grid along [-1, 1]."""
    iters: int = 300
    """Steps of the refinement."""
    refine_points: int = 1000
    """Its surface samples in a step."""
    refine_lr: float = 2e-3
    """Its first learning rate."""
    refine_off: float = 0.1
    """Its weight of no surface elsewhere; 1 as released, which thins limbs where steps are few."""

    def __post_init__(self) -> None:
        for name in (
            "channels",
            "stacks",
            "depth",
            "width",
            "heads",
            "rank",
            "points",
            "seen",
            "around",
            "refine_points",
        ):
            check_range("method", name, getattr(self, name), 1, 100_000)
        check_range("method", "refine_lr", self.refine_lr, 1e-9, 10.0)
        check_range("method", "refine_off", self.refine_off, 0.0, 1e6)
        for name in ("coarse", "fine"):
            check_range("method", name, getattr(self, name), 8, 512)
        check_range("method", "iters", self.iters, 0, 1_000_000)
        check_range("method", "octaves", self.octaves, 0, 16)
        check_range("method", "radius", self.radius, 1e-3, 100.0)
        check_range("method", "sign", self.sign, 0.0, 1e6)
        if not set(self.features) <= {"image", "normal"}:
            raise ConfigError(f"method.features={self.features} must be of image and normal, or ()")


def _small_normal() -> Recipe:
    """Normals of made people."""
    return Recipe(
        name="car-small-normal",
        method=CarConfig(stage="normal"),
        data=ClothedData(),
        optim=OptimConfig(kind="adam", lr=1e-3),
        schedule=ScheduleConfig(steps=700, batch=4, warmup_epochs=0.5, grad_clip=1.0, ema=0.99),
    )


def _small_sdf() -> Recipe:
    """The canonical field of made people."""
    changes: dict[str, object] = {
        "name": "car-small-sdf",
        "method.stage": "sdf",
        "schedule.steps": 900,
    }
    return evolve_all(_small_normal(), changes)


def _small() -> Recipe:
    """The hyper-network of made people; the whole model."""
    changes: dict[str, object] = {"name": "car-small", "method.stage": "hyper", "schedule.steps": 3000}
    return evolve_all(_small_sdf(), changes)


_DEBUG: dict[str, object] = {
    "method.hidden": (16, 16),
    "method.skips": (),
    "method.channels": 16,
    "method.depth": 1,
    "method.dims": (3, 16, 16, 1),
    "method.dims_skips": (),
    "method.width": 16,
    "method.heads": 8,
    "method.points": 32,
    "method.coarse": 16,
    "method.fine": 16,
    "method.iters": 3,
    "data.kind": "debug",
    "data.size": 32,
    "data.people": 3,
    "data.val_people": 1,
    "data.test_people": 2,
    "data.pictures": 1,
    "data.points": 64,
    "data.surface": 32,
    "data.near": 32,
    "data.box": 16,
    "schedule.steps": 3,
    "schedule.batch": 2,
    "schedule.warmup_epochs": 0.0,
}
"""A few capsules, three steps of everything."""


def _paper_normal() -> Recipe:
    """The published nets on THuman2.0 in ICON's layout (they are ICON's)."""
    return Recipe(
        name="car-paper-normal",
        method=CarConfig(stage="normal", **_PAPER),  # type: ignore[arg-type]
        data=ClothedData(kind="thuman", workers=4),
        optim=OptimConfig(kind="adam", lr=1e-3),
        schedule=ScheduleConfig(epochs=10, batch=4, lr_rule="multistep", milestones=(3, 6)),
    )


_PAPER: dict[str, object] = {
    "normal_kind": "pix2pix", "hidden": (512,) * 6, "skips": (4,), "channels": 256, "stacks": 1, "depth": 2,
    "inputs": 3, "two_sided": False, "radius": 1.5, "normal_transport": "official", "sign": 0.0,
    "residual": False, "as_given": False,
    "dims": (3, 1024, 512, 256, 128, 1), "dims_skips": (2, 3, 4),
    "width": 256, "heads": 256,
    "heads_skip": True, "points": 6890, "seen": 6890, "coarse": 256, "fine": 256, "iters": 1500,
    "refine_points": 6890, "refine_lr": 1e-4, "refine_off": 1.0,
}  # fmt: skip
"""As released."""


def _paper_sdf() -> Recipe:
    """The released settings on MVP-Human: rendered normals in, 10 epochs."""
    changes: dict[str, object] = {
        "name": "car-paper-sdf",
        "method.stage": "sdf",
        "data.kind": "mvp",
        "data.surface": 8192,
        "data.near": 8192,
        "data.box": 2048,
    }
    return evolve_all(_paper_normal(), changes)


def _paper() -> Recipe:
    """The hyper-network on THuman2.0's bodies."""
    changes: dict[str, object] = {"name": "car-paper", "method.stage": "hyper", "optim.lr": 1e-4}
    return evolve_all(_paper_normal(), changes)


def _debug(recipe: Callable[[], Recipe], name: str) -> Callable[[], Recipe]:
    def made() -> Recipe:
        return evolve_all(recipe(), {**_DEBUG, "name": name})

    return made


RECIPES: dict[str, Callable[[], Recipe]] = {
    "small": _small,
    "small-normal": _small_normal,
    "small-sdf": _small_sdf,
    "debug": _debug(_small, "car-debug"),
    "debug-normal": _debug(_small_normal, "car-debug-normal"),
    "debug-sdf": _debug(_small_sdf, "car-debug-sdf"),
    "paper": _paper,
    "paper-normal": _paper_normal,
    "paper-sdf": _paper_sdf,
}
"""Recipes by name; ``small``, ``paper`` and ``debug`` are chains (see ``protocol.CHAINS``)."""


@dataclass(frozen=True)
class PredictOptions:
    """Flags of ``mien predict car PHOTO ...``: the whole of one standing person in each photograph."""

    mask: str = "auto"
    """What of the photograph is the person: a picture of its size (white = person), alpha (its own opacity),
    plain (all but a plain background), or auto: alpha if it has one, else that of --keypoints, else plain."""
    body: str | None = None
    """Fitted body (.npz), in the square that holds the photograph in its middle; default: the mean human is
    posed until it covers the mask."""
    keypoints: str | None = None
    """Keypoints and mask of the person (.npz of tools/track.py --body): the mean human is posed on both."""
    refine: bool = True
    """The second stage, which adds detail."""
    kind: Literal["sdf", "mesh"] = "mesh"
    """Of the second stage: a network's zero set moves, or the vertices."""
    start: Literal["hyper", "mean", "sphere"] = "hyper"
    """First weights of that network."""
    iters: int | None = None
    """Steps of the second stage; default as trained for."""
    resolution: int | None = None
    """Cells of both surfaces' grids; default as trained for."""
    pose: str | None = None
    """Also write the person in another pose: .npz with ``rotations`` (J, 3, 3) about the joints, or with the
    ``transforms`` of another run's body.npz."""
    seed: int = 0
    """Of the second stage."""
    output: str = "out/car"
    """Folder for what is written."""

    def __post_init__(self) -> None:
        check_range("predict", "iters", self.iters, 0, 1_000_000)
        check_range("predict", "resolution", self.resolution, 8, 512)
        if self.body and self.keypoints:
            raise ConfigError(
                "--keypoints are for estimating the body, --body gives it: leave one of them out"
            )


@dataclass(frozen=True)
class InspectOptions:
    """Flags of ``mien inspect car``."""

    seed: int = 0
    """Of the made person that is looked at."""
    points: int = 1024
    """Points on and near that person's surface."""

    def __post_init__(self) -> None:
        check_range("inspect", "points", self.points, 4, 1_000_000)
