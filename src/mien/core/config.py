"""Config is data: frozen dataclasses that go to TOML and back, refuse what they do not know, and hash.

A recipe is built by a plain function in a method's ``config.py``; experiments derive from it with `evolve`.
Nothing in a data file names code. Fields marked ``metadata=NO_HASH`` change no number (worker counts, log
intervals) and stay out of `hash_recipe`.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar

from mien.core import io
from mien.core.errors import ConfigError, DataError

NO_HASH = {"hash": False}
R = TypeVar("R")


def refuse_inapplicable(config: object, kind: str, table: Mapping[str, tuple[str, ...]]) -> None:
    """Raises if a field that is set does not apply to this kind.

    Args:
        config: a frozen dataclass whose optional fields default to None.
        kind: the value of its ``kind``.
        table: field name -> the kinds it applies to.
    """
    for name, kinds in table.items():
        if getattr(config, name) is not None and kind not in kinds:
            raise ConfigError(
                f"{type(config).__name__}.{name} does not apply to kind={kind!r}, only to {list(kinds)};"
                " set it to None"
            )


def check_range(owner: str, name: str, value: float | None, low: float, high: float = math.inf) -> None:
    """Raises unless ``value`` is None or a number with low <= value <= high (so NaN is refused)."""
    if value is not None and not low <= value <= high:
        raise ConfigError(f"{owner}.{name}={value} is outside [{low}, {high}]")


def check_box_option(box: tuple[int, ...]) -> None:
    """Raises unless a ``--box`` is empty or holds left, top, right and bottom in order."""
    shown = " ".join(map(str, box))
    if len(box) not in (0, 4):
        raise ConfigError(f"--box {shown}: give left, top, right and bottom of the face, in pixels")
    if box and (box[2] <= box[0] or box[3] <= box[1]):
        raise ConfigError(f"--box {shown}: right must be beyond left, bottom beyond top")


@dataclass(frozen=True)
class MethodConfig:
    """What one method's own ``config.py`` defines; has no fields of its own."""


@dataclass(frozen=True)
class DataConfig:
    """What a data floor's config defines (``mien.data.config``); has no fields of its own."""


SAM_KINDS = ("sam", "asam", "gsam", "sagm")


@dataclass(frozen=True)
class OptimConfig:
    """The optimiser. ``kind`` chooses it; the SAM family wraps a ``base``."""

    kind: Literal["sgd", "adam", "adamw", "sam", "asam", "gsam", "sagm"] = "sgd"
    """sgd, adam, adamw, or a two-pass optimiser that wraps ``base``."""
    lr: float = 0.1
    """Peak learning rate, reached after warm-up."""
    weight_decay: float = 0.0
    """L2 penalty (sgd, adam) or decoupled decay (adamw)."""
    momentum: float | None = None
    """Momentum of sgd (default 0.9, Nesterov)."""
    base: Literal["sgd", "adam", "adamw"] | None = None
    """Optimiser inside a two-pass one (default sgd)."""
    rho: float | None = None
    """Radius of the ascent step of a two-pass optimiser (default 0.05; asam 0.5)."""
    alpha: float | None = None
    """Inner descent step of sagm (default 0.001)."""
    beta: float | None = None
    """Weight of the orthogonal part in gsam (default 0.4)."""
    adaptive: bool | None = None
    """Elementwise scale-invariant perturbation of sam, gsam, sagm."""
    average: bool | None = None
    """sagm: average the two gradients (default, as released) or sum them."""
    same_rng: bool | None = None
    """Replay dropout and noise of the first pass in the second (default: draw anew)."""
    perturbation: Literal["global", "local"] | None = None
    """On several processes: perturb along the gradient averaged over all (default; equals one process), or
    each along its own as in the released code (results then depend on the number of processes)."""

    def __post_init__(self) -> None:
        check_range("optim", "lr", self.lr, 0.0, 1e4)
        check_range("optim", "weight_decay", self.weight_decay, 0.0, 1e4)
        check_range("optim", "momentum", self.momentum, 0.0, 1.0)
        check_range("optim", "rho", self.rho, 0.0, 1e4)
        check_range("optim", "alpha", self.alpha, 0.0, 1e4)
        check_range("optim", "beta", self.beta, 0.0, 1e4)
        table: dict[str, tuple[str, ...]] = dict.fromkeys(
            ("base", "rho", "same_rng", "perturbation"), SAM_KINDS
        )
        table |= {
            "adaptive": ("sam", "gsam", "sagm"),
            "alpha": ("sagm",),
            "average": ("sagm",),
            "beta": ("gsam",),
        }
        refuse_inapplicable(self, self.kind, table)
        refuse_inapplicable(self, self.base or self.kind, {"momentum": ("sgd", *SAM_KINDS)})


@dataclass(frozen=True)
class ScheduleConfig:
    """How long, how large, how precise. Give ``epochs`` or ``steps``; steps win."""

    epochs: float = 1.0
    """Passes over the training set."""
    steps: int | None = None
    """Optimiser steps in all; default from ``epochs``."""
    batch: int = 64
    """Images in one optimiser step, over all processes (before copies)."""
    accumulate: int = 1
    """Micro-batches that one step is split into (same step, less memory)."""
    lr_rule: Literal["cosine", "multistep", "poly", "constant"] = "cosine"
    """Shape of the learning rate after warm-up."""
    lr_end: float = 0.0
    """Last learning rate of the cosine rule, as a fraction of the peak."""
    milestones: tuple[float, ...] = ()
    """Epochs at which the multistep rule multiplies by ``gamma``."""
    gamma: float = 0.1
    """Factor of the multistep rule."""
    power: float | None = None
    """Exponent of the poly rule, (1 - progress after warm-up)^power (default 1)."""
    warmup_epochs: float = 0.0
    """Linear warm-up."""
    warmup_start: float | None = None
    """First learning rate of the warm-up, as a fraction of the peak (default a third)."""
    grad_clip: float | None = None
    """Largest gradient norm, if any."""
    ema: float | None = None
    """Decay of an exponential moving average of the weights; the average is what is kept."""
    swad: float | None = None
    """Also keep SWAD's dense average of the weights, with this tolerance r (0.3; 0.2 on VLCS); needs
    ``eval_every`` and a validation loss."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Autocast precision; fp16 needs a GPU."""
    channels_last: bool = False
    """Memory format of convolutional nets (faster together with bf16)."""
    sync_bn: bool = True
    """Batch normalisation over the pictures of all processes; else each process's own."""
    eval_every: float = field(default=0.0, metadata=NO_HASH)
    """Epochs between looks at the validation split; 0 = only at the end."""
    eval_steps: int | None = field(default=None, metadata=NO_HASH)
    """Steps between looks, instead of ``eval_every``."""
    select: Literal["last", "best"] = "last"
    """Which weights are kept: the last, or the best on the validation split (needs ``eval_every``)."""
    checkpoint_every: int = field(default=200, metadata=NO_HASH)
    """Steps between checkpoints; 0 = none."""
    log_every: int = field(default=20, metadata=NO_HASH)
    """Steps between lines of the log."""

    def __post_init__(self) -> None:
        check_range("schedule", "epochs", self.epochs, 1e-9, 1e9)
        for name in ("batch", "accumulate", "log_every"):
            check_range("schedule", name, getattr(self, name), 1)
        check_range("schedule", "steps", self.steps, 1)
        check_range("schedule", "ema", self.ema, 0.0, 1.0)
        check_range("schedule", "lr_end", self.lr_end, 0.0, 1.0)
        check_range("schedule", "gamma", self.gamma, 0.0, 1.0)
        check_range("schedule", "power", self.power, 0.0, 100.0)
        check_range("schedule", "warmup_start", self.warmup_start, 0.0, 1.0)
        refuse_inapplicable(self, self.lr_rule, {"power": ("poly",)})
        check_range("schedule", "grad_clip", self.grad_clip, 1e-12)
        for milestone in self.milestones:
            check_range("schedule", "milestones", milestone, 0.0)
        for name in ("warmup_epochs", "eval_every", "checkpoint_every"):
            check_range("schedule", name, getattr(self, name), 0)
        if self.batch % self.accumulate:
            raise ConfigError(
                f"schedule.batch={self.batch} is not a multiple of accumulate={self.accumulate}"
            )
        check_range("schedule", "eval_steps", self.eval_steps, 1)
        has_looks = bool(self.eval_every or self.eval_steps)
        if self.select == "best" and not has_looks:
            raise ConfigError("schedule.select='best' needs schedule.eval_every or eval_steps > 0")
        check_range("schedule", "swad", self.swad, 0.0, 1e9)
        if self.swad is not None and not has_looks:
            raise ConfigError("schedule.swad needs schedule.eval_every or eval_steps > 0")


@dataclass(frozen=True)
class Recipe:
    """Everything one training needs, as data."""

    name: str
    method: MethodConfig
    data: DataConfig
    optim: OptimConfig = OptimConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    seed: int = 0


def evolve(config: R, path: str, value: object, **also: Any) -> R:
    """A copy with the field at a dotted path replaced, and top-level fields from keywords.

    >>> r = Recipe("a", MethodConfig(), DataConfig())
    >>> evolve(r, "optim.lr", 0.2, name="b").optim.lr
    0.2
    """
    return evolve_all(config, {path: value, **also})


def evolve_all(config: R, changes: Mapping[str, object]) -> R:
    """`evolve` for several dotted paths at once, so that only the final combination must be valid.

    Raises:
        ConfigError: no such field, or a combination that the config refuses.
    """
    names = [f.name for f in fields(config)]  # type: ignore[arg-type]
    grouped: dict[str, dict[str, object]] = {}
    new: dict[str, object] = {}
    for path, value in changes.items():
        head, _, rest = path.partition(".")
        if head not in names:
            raise ConfigError(f"unknown setting {head!r} in {type(config).__name__}{suggest(head, names)}")
        if rest:
            grouped.setdefault(head, {})[rest] = value
        else:
            new[head] = value
    new |= {head: evolve_all(getattr(config, head), inner) for head, inner in grouped.items()}
    return replace(config, **new)  # type: ignore[type-var]


def suggest(word: str, known: list[str]) -> str:
    """'; did you mean X?' for the nearest known word, else the list of what is known."""
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(sorted(known))}"


def to_dict(config: Any, *, hashed: bool = False) -> dict[str, Any]:
    """Nested plain values of a config without None fields, and without NO_HASH ones if ``hashed``."""
    out: dict[str, Any] = {}
    for f in fields(config):
        value = getattr(config, f.name)
        if value is None or (hashed and f.metadata.get("hash") is False):
            continue
        if is_dataclass(value):
            value = to_dict(value, hashed=hashed)
        out[f.name] = list(value) if isinstance(value, tuple) else value
    return out


@cache
def _converter() -> Any:
    import cattrs

    converter = cattrs.Converter(forbid_extra_keys=True, detailed_validation=True)
    converter.register_structure_hook(float, lambda v, _: _number(v, float))
    converter.register_structure_hook(int, lambda v, _: _number(v, int))
    converter.register_structure_hook(bool, lambda v, _: _exact(v, bool))
    converter.register_structure_hook(str, lambda v, _: _exact(v, str))
    return converter


def _exact(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"expected {kind.__name__}, got {value!r}")
    return value


def _number(value: Any, kind: type) -> Any:
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or (kind is int and value != int(value))
    ):
        raise TypeError(f"expected {kind.__name__}, got {value!r}")
    return kind(value)


def from_dict(cls: type[R], values: dict[str, Any], *, where: str = "config") -> R:
    """A frozen config from nested plain values; unknown keys and wrong types are errors with their path.

    Raises:
        ConfigError: with the dotted path and, for an unknown key, the nearest known one.
    """
    _refuse_unknown(cls, values, where, "")
    try:
        return _converter().structure(values, cls)  # type: ignore[no-any-return]
    except ConfigError:
        raise
    except Exception as error:
        leaf = _first_leaf(error)
        if isinstance(leaf, ConfigError):
            raise leaf from None
        raise ConfigError(f"{where}: {_path_of(error)}{leaf}") from None


def _refuse_unknown(cls: type, values: dict[str, Any], where: str, path: str) -> None:
    import typing

    hints = typing.get_type_hints(cls)
    names = [f.name for f in fields(cls)]
    for key, value in values.items():
        if key not in names:
            raise ConfigError(f"{where}: unknown key {path + key!r}{suggest(key, names)}")
        if typing.get_origin(hints[key]) is tuple and not isinstance(value, (list, tuple)):
            raise ConfigError(f"{where}: {path}{key}: expected a list, got {value!r}")
        if is_dataclass(hints[key]) and isinstance(value, dict):
            _refuse_unknown(hints[key], value, where, f"{path}{key}.")  # type: ignore[arg-type]


def _first_leaf(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _path_of(error: BaseException) -> str:
    import cattrs

    try:
        text = cattrs.transform_error(error, path="")[0]
    except Exception:
        return ""
    place = text.rsplit("@ ", 1)[-1].lstrip(".") if "@ " in text else ""
    return f"{place}: " if place else ""


@cache
def _typed_recipe(method: Hashable, data: Hashable) -> type[Recipe]:
    return dataclasses.make_dataclass(
        "Recipe",
        [
            ("name", str),
            ("method", method),
            ("data", data),
            ("optim", OptimConfig, OptimConfig()),
            ("schedule", ScheduleConfig, ScheduleConfig()),
            ("seed", int, 0),
        ],
        frozen=True,
    )


def recipe_from_dict(values: dict[str, Any], base: Recipe, *, where: str = "config") -> Recipe:
    """A recipe of the same method and data types as ``base`` from nested plain values."""
    types: tuple[Any, Any] = (type(base.method), type(base.data))
    typed = from_dict(_typed_recipe(*types), values, where=where)
    return Recipe(**{f.name: getattr(typed, f.name) for f in fields(Recipe)})


def save_recipe(path: str | Path, method: str, recipe: Recipe) -> None:
    """Writes ``config.toml``: the method's name and the recipe."""
    import tomli_w

    io.write_text(path, tomli_w.dumps({"mien_method": method, **to_dict(recipe)}))


def read_recipe_file(path: str | Path) -> tuple[str, dict[str, Any]]:
    """The method's name and the plain values of a ``config.toml`` written by `save_recipe`."""
    values = io.read_toml(path)
    method = values.pop("mien_method", None)
    if not isinstance(method, str):
        raise DataError(f"{path}: no 'mien_method'; not a config of a mien run")
    return method, values


def hash_dict(values: object) -> str:
    """12 hex digits of the canonical JSON of plain values; 2 and 2.0 are the same number."""
    text = json.dumps(_numbers_alike(values), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _numbers_alike(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(k): _numbers_alike(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_numbers_alike(v) for v in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def hash_recipe(recipe: Recipe) -> str:
    """12 hex digits that name what is computed: not the recipe's name, seed or NO_HASH fields."""
    values = to_dict(recipe, hashed=True)
    values.pop("name"), values.pop("seed")
    if (
        recipe.schedule.select == "best" or recipe.schedule.swad is not None
    ):  # then the looks decide which weights there are to choose from
        values["schedule"]["eval_every"] = recipe.schedule.eval_every
        values["schedule"] |= {"eval_steps": s} if (s := recipe.schedule.eval_steps) else {}
    return hash_dict({"method_type": type(recipe.method).__name__, **values})
