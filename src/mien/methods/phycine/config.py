"""What PHYCINE can be set to (no torch here), and the recipes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, NamedTuple

from mien.core.config import MethodConfig, OptimConfig, Recipe, ScheduleConfig, check_range, evolve_all
from mien.core.errors import ConfigError
from mien.data.config import PhysicalData

Stage = Literal["perception", "laws", "refiner", "answers"]
Sight = Literal["slots", "iodine", "threshold", "true"]


@dataclass(frozen=True)
class PhycineConfig(MethodConfig):
    """Sizes of the parts, and what a stage is taught; symbols of the page in brackets."""

    stage: Stage = "laws"
    """perception: objects of single frames. laws: forces, masses and charges of paths. refiner: a net
    that finds masses and charges under these laws. answers: questions about sets. Each goes on from those
    before; answers do not need the refiner."""
    sight: Sight = "slots"
    """How objects are found: slot attention or learned inference (trained), colour threshold (not trained),
    or their true places, the oracle."""
    slots: int = 8
    """Slots, one of them for the background [K]."""
    dim: int = 16
    """Length of a slot's code, its place apart [D_x]."""
    width: int = 32
    """Channels of encoder and decoder."""
    iterations: int = 4
    """Of slot attention, or rounds of learned inference [R]."""
    sure: int = 6
    """Iterations once trained: places settle further."""
    starts: int = 1
    """A frame is looked at from so many starts; the best is kept."""
    published: bool | None = None
    """iodine: the decoder of the paper's size; unset = a small one."""
    dynamics: Literal["forces", "pairwise", "transformer"] = "forces"
    """forces: collision and charge. pairwise: a network of pairs in the manner of OP3. transformer: in the
    manner of SlotFormer. The last two have no masses and charges."""
    mass: bool = True
    """Objects have masses [z_m]; else all weigh the same."""
    charge: Literal["product", "none"] = "product"
    """product: z_c z_c times a learned strength. none: no such force."""
    hidden: int = 48
    """Width of the networks of forces."""
    levels: Literal["bottom_up", "at_once"] = "bottom_up"
    """bottom_up: first masses alone, on the calmest clips; then charges as well, on all. at_once: all from
    the first step."""
    calm: float = 0.4
    """Part of the steps before charges, and part of the clips in them."""
    window: int = 6
    """Frames over which a path is explained; at least 3."""
    noise: float = 0.01
    """World units by which places are wrong; smaller misfits count less."""
    latent_lr: float = 3e-2
    """Learning rate of the training clips' masses and charges."""
    infer_steps: int = 150
    """Steps to the masses and charges of a new clip."""
    infer_lr: float = 5e-2
    """Learning rate of those steps."""
    pull_mass: float = 1e-4
    """Weight of z_m^2."""
    pull_charge: float = 1e-5
    """Weight of z_c^2."""
    spread: float = 0.3
    """Deviation with which charges begin: 0 is a saddle of their product."""
    inference: Literal["gradient", "learned"] | None = None
    """refiner: how masses and charges of a new clip are found; unset = gradient, as in other stages."""
    rounds: int | None = None
    """refiner: of its updates [R3]; unset = 3."""
    features: Literal["all", "seen", "none"] = "all"
    """answers: of objects the head is told what is seen and z_m, z_c; what is seen; or nothing."""
    layers: int = 2
    """answers: of the transformer."""
    heads: int = 4
    """answers: of its attention."""
    model_dim: int = 64
    """answers: its width."""

    def __post_init__(self) -> None:
        for name in (
            "dim",
            "width",
            "iterations",
            "sure",
            "starts",
            "hidden",
            "layers",
            "heads",
            "model_dim",
        ):
            check_range("method", name, getattr(self, name), 1, 10_000)
        check_range("method", "slots", self.slots, 2, 64)
        check_range("method", "window", self.window, 3, 1000)
        check_range("method", "calm", self.calm, 0.0, 1.0)
        check_range("method", "infer_steps", self.infer_steps, 0, 1_000_000)
        for name in ("noise", "latent_lr", "infer_lr"):
            check_range("method", name, getattr(self, name), 1e-9, 100.0)
        for name in ("pull_mass", "pull_charge", "spread"):
            check_range("method", name, getattr(self, name), 0.0, 100.0)
        check_range("method", "rounds", self.rounds, 1, 100)
        for name in ("inference", "rounds"):
            if getattr(self, name) is not None and self.stage != "refiner":
                raise ConfigError(f"method.{name} is of stage 'refiner', not of {self.stage!r}; leave it out")
        if self.model_dim % self.heads:
            raise ConfigError(f"method.model_dim={self.model_dim} is not a multiple of heads={self.heads}")


def _small_perception() -> Recipe:
    """Slots of made frames."""
    return Recipe(
        name="phycine-small-perception",
        method=PhycineConfig(stage="perception"),
        data=PhysicalData(),
        optim=OptimConfig(kind="adam", lr=2e-3),
        schedule=ScheduleConfig(steps=1800, batch=32, warmup_epochs=2.0, grad_clip=1.0),
    )


def _small() -> Recipe:
    """Masses and charges of made clips; the whole model but for questions."""
    changes: dict[str, object] = {
        "name": "phycine-small",
        "method.stage": "laws",
        "method.noise": 0.02,
        "method.pull_mass": 3e-4,
        "method.pull_charge": 1e-3,
        "optim.lr": 3e-3,
        "schedule.steps": 500,
        "schedule.warmup_epochs": 0.0,
        "schedule.grad_clip": None,
        "schedule.lr_end": 0.1,
        "schedule.batch": 1,
    }
    return evolve_all(_small_perception(), changes)


def _small_refiner() -> Recipe:
    """A net that finds masses and charges of made clips in a few rounds."""
    changes: dict[str, object] = {
        "name": "phycine-small-refiner",
        "method.stage": "refiner",
        "method.inference": "learned",
        "method.rounds": 3,
        "schedule.batch": 128,
        "schedule.grad_clip": 1.0,
    }
    return evolve_all(_small(), changes)


def _small_answers() -> Recipe:
    """Questions about made sets."""
    changes: dict[str, object] = {
        "name": "phycine-small-answers",
        "method.stage": "answers",
        "optim.lr": 2e-3,
        "schedule.steps": 4000,
        "schedule.batch": 128,
        "schedule.lr_end": 0.0,
        "schedule.grad_clip": 1.0,
        "schedule.warmup_epochs": 0.5,
    }
    return evolve_all(_small(), changes)


_DEBUG: dict[str, object] = {
    "method.slots": 4,
    "method.dim": 4,
    "method.width": 8,
    "method.hidden": 8,
    "method.window": 3,
    "method.infer_steps": 3,
    "method.layers": 1,
    "method.heads": 2,
    "method.model_dim": 8,
    "data.kind": "debug",
    "data.height": 16,
    "data.stride": 10,
    "data.sets": 3,
    "data.val_sets": 1,
    "data.test_sets": 2,
    "data.asked": 1,
    "schedule.steps": 3,
    "schedule.warmup_epochs": 0.0,
}
"""A few sets, three steps of everything."""


def _paper_perception() -> Recipe:
    """Learned inference on ComPhy, sizes and schedule of OP3 and IODINE."""
    return Recipe(
        name="phycine-paper-perception",
        method=PhycineConfig(stage="perception", **_PAPER),  # type: ignore[arg-type]
        data=PhysicalData(kind="comphy", height=64, stride=5, sets=8000, val_sets=2000, test_sets=2000),
        optim=OptimConfig(kind="adam", lr=3e-4),
        schedule=ScheduleConfig(epochs=300, batch=80, grad_clip=5.0),
    )


_PAPER: dict[str, object] = {"sight": "iodine", "published": True, "slots": 6, "window": 5}
"""K = 5 objects and the background; windows of a second. What was published of sizes is in the README."""


def _paper() -> Recipe:
    """Masses and charges of ComPhy's clips."""
    return _later(_paper_perception(), _small(), "phycine-paper")


def _paper_refiner() -> Recipe:
    """A net that finds masses and charges of ComPhy's clips in a few rounds."""
    changes: dict[str, object] = {"method.inference": "learned", "method.rounds": 3}
    return evolve_all(_later(_paper_perception(), _small_refiner(), "phycine-paper-refiner"), changes)


def _paper_answers() -> Recipe:
    """ComPhy's questions."""
    bigger: dict[str, object] = {"method.layers": 4, "method.model_dim": 128, "method.heads": 8}
    changes: dict[str, object] = {**bigger, "schedule.steps": 100_000}
    return evolve_all(_later(_paper_perception(), _small_answers(), "phycine-paper-answers"), changes)


def _later(first: Recipe, like: Recipe, name: str) -> Recipe:
    """A recipe on the data and sights of ``first``, with stage, optimiser and schedule of another."""
    changed: Recipe = replace(first, optim=like.optim, schedule=like.schedule)
    return evolve_all(changed, {"name": name, "method.stage": getattr(like.method, "stage", "laws")})


def _debug(recipe: Callable[[], Recipe], name: str) -> Callable[[], Recipe]:
    def made() -> Recipe:
        return evolve_all(recipe(), {**_DEBUG, "name": name})

    return made


RECIPES: dict[str, Callable[[], Recipe]] = {
    "small": _small,
    "small-perception": _small_perception,
    "small-refiner": _small_refiner,
    "small-answers": _small_answers,
    "paper": _paper,
    "paper-perception": _paper_perception,
    "paper-refiner": _paper_refiner,
    "paper-answers": _paper_answers,
    "debug": _debug(_small, "phycine-debug"),
    "debug-perception": _debug(_small_perception, "phycine-debug-perception"),
    "debug-refiner": _debug(_small_refiner, "phycine-debug-refiner"),
    "debug-answers": _debug(_small_answers, "phycine-debug-answers"),
}
"""Recipes by name; ``small``, ``paper`` and ``debug`` are chains (see ``protocol.CHAINS``)."""


class Intervention(NamedTuple):
    """What if a property of an object were multiplied.

    Attributes:
        what: "mass" or "charge".
        which: a slot's number, or a colour that one object has.
        factor: of a charge 0 = gone, -1 = turned; of a mass 5 = five times heavier.
    """

    what: str
    which: str
    factor: float

    @classmethod
    def read(cls, text: str) -> Intervention:
        """From ``WHAT:WHICH=FACTOR``.

        Raises:
            ConfigError: not of this form, or a mass that is not above 0.

        >>> Intervention.read("charge:red=0")
        Intervention(what='charge', which='red', factor=0.0)
        """
        what, _, rest = text.partition(":")
        which, _, number = rest.partition("=")
        try:
            factor = float(number)
        except ValueError:
            factor = math.nan
        if what not in ("mass", "charge") or not which or not math.isfinite(factor):
            raise ConfigError(f"--intervene {text}: give charge:WHICH=FACTOR or mass:WHICH=FACTOR")
        if what == "mass" and factor <= 0:
            raise ConfigError(f"--intervene {text}: a mass times {factor:g} is none; the factor is above 0")
        return cls(what, which, factor)


@dataclass(frozen=True)
class PredictOptions:
    """Flags of ``mien predict phycine CLIP ...``: each a video, or a folder with the frames of one."""

    fps: float = 25.0
    """Frames a second of a folder of frames; a video knows its own."""
    seconds: float = 10.0
    """Of each clip that are looked at."""
    together: bool = False
    """The clips after the first show some of its objects: what they tell of mass and charge counts for the
    first as well. Objects are matched by their looks."""
    steps: int = 20
    """Frames to predict after the last one; 0: none."""
    intervene: tuple[str, ...] = ()
    """What if, in a second prediction: charge:red=0 (the red one's is gone), charge:2=-1 (that of slot 2
    turned), mass:red=5 (five times heavier)."""
    output: str = "out/phycine"
    """Folder for what is written."""
    folder_is_input: ClassVar[bool] = True
    """A folder is one input, not one for each picture in it."""

    def __post_init__(self) -> None:
        check_range("predict", "fps", self.fps, 0.1, 1000.0)
        check_range("predict", "seconds", self.seconds, 0.1, 60.0)
        check_range("predict", "steps", self.steps, 0, 1000)
        if self.changes() and not self.steps:
            raise ConfigError("--intervene is seen in what is predicted: give --steps above 0")

    def changes(self) -> tuple[Intervention, ...]:
        """``intervene``, read."""
        return tuple(map(Intervention.read, self.intervene))


@dataclass(frozen=True)
class InspectOptions:
    """Flags of ``mien inspect phycine``."""

    points: int = 200
    """Distances at which forces are looked at."""
    clips: int = 100
    """Random starts that the identities are checked on."""
    seed: int = 0
    """Of those."""
    output: str = "out/phycine"
    """Folder for the figure."""

    def __post_init__(self) -> None:
        check_range("inspect", "points", self.points, 2, 100_000)
        check_range("inspect", "clips", self.clips, 1, 100_000)
