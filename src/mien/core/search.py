"""Search spaces as data: a setting's sampler, and draws that no other setting can shift.

A method declares ``SPACE: dict[str, Sampler]`` in its ``config.py``: dotted path of a setting -> sampler. The
same in a TOML file:

    [space]
    "optim.lr" = {kind = "log_uniform", low = -5, high = -3.5}
    "method.dropout" = {kind = "choice", values = [0.0, 0.1, 0.5]}
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Protocol

from numpy.random import Generator, default_rng

from mien.core import io
from mien.core.config import Recipe, recipe_from_dict, suggest, to_dict
from mien.core.errors import ConfigError
from mien.core.seeds import derive

Space = Mapping[str, "Sampler"]
FIXED = {
    "schedule.steps": "every trial has the same budget",
    "schedule.epochs": "every trial has the same budget",
    "seed": "it is the sweep's own --seed",
    "name": "it changes nothing",
}
"""Settings that no space may name, and why."""


class Sampler(Protocol):
    """Draws one value of a setting."""

    def sample(self, rng: Generator) -> Any:
        """One value."""
        ...


@dataclass(frozen=True)
class LogUniform:
    """base ** U(low, high); low and high are exponents, as in 10^U(-5, -3.5)."""

    low: float
    high: float
    base: float = 10.0

    def __post_init__(self) -> None:
        _check_bounds(self, self.low, self.high)
        if not 1.0 < self.base < math.inf:
            raise ConfigError(f"LogUniform.base={self.base} must be above 1")

    def sample(self, rng: Generator) -> float:
        """One value."""
        return float(self.base ** rng.uniform(self.low, self.high))


@dataclass(frozen=True)
class Uniform:
    """U(low, high)."""

    low: float
    high: float

    def __post_init__(self) -> None:
        _check_bounds(self, self.low, self.high)

    def sample(self, rng: Generator) -> float:
        """One value."""
        return float(rng.uniform(self.low, self.high))


@dataclass(frozen=True)
class Choice:
    """One of the values, each as likely."""

    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.values, tuple) or not self.values:
            raise ConfigError(f"Choice.values={self.values!r} must be a tuple with at least one value")

    def sample(self, rng: Generator) -> Any:
        """One value."""
        return self.values[int(rng.integers(len(self.values)))]


@dataclass(frozen=True)
class PowerOfTwo:
    """2 ** U(low, high), rounded to a whole number."""

    low: float
    high: float

    def __post_init__(self) -> None:
        _check_bounds(self, self.low, self.high)

    def sample(self, rng: Generator) -> int:
        """One value."""
        return round(2 ** rng.uniform(self.low, self.high))


KINDS: dict[str, type] = {
    "log_uniform": LogUniform,
    "uniform": Uniform,
    "choice": Choice,
    "power_of_two": PowerOfTwo,
}


def _check_bounds(sampler: object, low: float, high: float) -> None:
    is_number = all(isinstance(v, (int, float)) and math.isfinite(v) for v in (low, high))
    if not is_number or not low <= high:
        raise ConfigError(f"{type(sampler).__name__}: low={low} and high={high} must be numbers, low <= high")


def draw(space: Space, seed: int, trial: int) -> dict[str, Any]:
    """Values of one trial by dotted path; trial 0 is the recipe as it is, so its draw is empty.

    Each value depends only on (seed, trial, path): a new setting in the space shifts no other.

    >>> lr, more = {"optim.lr": Uniform(0, 1)}, {"schedule.batch": PowerOfTwo(3, 5)}
    >>> draw(lr, 0, 1)["optim.lr"] == draw(more | lr, 0, 1)["optim.lr"], draw(lr, 0, 0)
    (True, {})
    """
    if trial == 0:
        return {}
    return {p: s.sample(default_rng(derive(seed, "search", trial, p))) for p, s in space.items()}


def apply(recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    """The recipe with drawn values; their types are checked as those of a file are.

    Raises:
        ConfigError: no such setting, a value of another type, or a combination that the configs refuse.
    """
    plain = to_dict(recipe)
    for path, value in values.items():
        *sections, name = path.split(".")
        table = plain
        for section in sections:
            table = table.setdefault(section, {})
        table[name] = value
        if value is None:  # a config file has no word for it: leave the setting out
            del table[name]
    return recipe_from_dict(plain, recipe, where="search space")


def check_space(space: Space, recipe: Recipe) -> None:
    """Raises unless the space has settings, all of them the recipe's and none of them `FIXED`.

    Raises:
        ConfigError: with the path and, for an unknown one, the nearest known.
    """
    if not space:
        raise ConfigError("the search space is empty; name at least one setting")
    known = _paths(recipe)
    for path in space:
        if path in FIXED:
            raise ConfigError(f"search space: {path!r} cannot be searched: {FIXED[path]}")
        if path not in known:
            raise ConfigError(f"search space: no setting {path!r}{suggest(path, known)}")


def _paths(config: Any, before: str = "") -> list[str]:
    out = []
    for f in fields(config):
        value, path = getattr(config, f.name), f"{before}{f.name}"
        out += _paths(value, f"{path}.") if is_dataclass(value) else [path]
    return out


def read_space(path: str | Path) -> dict[str, Sampler]:
    """The ``[space]`` table of a TOML file; dotted keys may be quoted or not.

    Raises:
        ConfigError: no such table, an unknown kind, or an option that the kind does not have.
    """
    table = io.read_toml(path)
    if set(table) != {"space"} or not isinstance(table["space"], dict):
        raise ConfigError(f"{path}: needs one table, [space], with a sampler for each setting")
    return dict(_samplers(table["space"], str(path), ""))


def _samplers(table: Mapping[str, Any], where: str, before: str) -> list[tuple[str, Sampler]]:
    out: list[tuple[str, Sampler]] = []
    for key, value in table.items():
        path = f"{before}{key}"
        if not isinstance(value, dict):
            raise ConfigError(f'{where}: {path} = {value!r} is no sampler; write {{kind = "uniform", ...}}')
        if isinstance(value.get("kind"), str):
            out.append((path, _sampler(value, f"{where}: {path}")))
        else:
            out += _samplers(value, where, f"{path}.")
    return out


def _sampler(options: Mapping[str, Any], where: str) -> Sampler:
    kind = options["kind"]
    if kind not in KINDS:
        raise ConfigError(f"{where}: no sampler {kind!r}{suggest(kind, list(KINDS))}")
    names = [f.name for f in fields(KINDS[kind])]
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items() if k != "kind"}
    for name in given:
        if name not in names:
            raise ConfigError(f"{where}: {kind} has no option {name!r}{suggest(name, names)}")
    try:
        sampler: Sampler = KINDS[kind](**given)
    except TypeError as error:
        raise ConfigError(f"{where}: {kind} needs {', '.join(names)} ({error})") from None
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    return sampler
