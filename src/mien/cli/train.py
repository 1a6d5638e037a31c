"""``mien train METHOD``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, make_dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Protocol, TypeVar

from mien.cli import console
from mien.core.config import OptimConfig, Recipe, ScheduleConfig
from mien.core.errors import ConfigError
from mien.core.protocol import Stage


@dataclass(frozen=True)
class Where:
    """Flags of the verb itself."""

    preset: str = "small"
    """Recipe to start from: small, paper, debug, or another of the method's."""
    seed: int = 0
    """Run seed."""
    output: Path | None = None
    """Run folder; default runs/METHOD-PRESET-sSEED."""
    resume: Path | None = None
    """Run folder to go on with; its settings are used."""
    max_steps: int | None = None
    """Stop after so many steps (the schedule stays that of the full length)."""


def run(argv: Sequence[str]) -> int:
    """Trains a recipe with the stages that it builds on, or goes on with a run."""
    resume = console.peek(argv, "--resume")
    name, rest = (
        (None, list(argv)) if resume and argv[0].startswith("-") else console.take_method(argv, "train")
    )
    return _resume(name, rest, Path(resume)) if resume else _fresh(str(name), rest)


def base_recipe(method: str, argv: Sequence[str]) -> tuple[Recipe, str]:
    """The recipe that ``--preset`` (and, for ``paper``, ``--data.kind``) names."""
    from mien.core.catalogue import method as entry_of

    recipes = entry_of(method).load("config").RECIPES
    preset = console.check_name("preset", console.peek(argv, "--preset", "small") or "", list(recipes))
    special = f"{preset}-{console.peek(argv, '--data.kind')}"
    return recipes[special if special in recipes else preset](), preset


class Flags(Protocol):
    """What every verb that starts from a recipe has among its own flags."""

    @property
    def seed(self) -> int:
        """Run seed."""
        ...


F = TypeVar("F", bound=Flags)


def parse_recipe(method: str, argv: Sequence[str], prog: str = "train") -> tuple[Recipe, Where]:
    """The recipe after all flags: the method's own, ``--data.*``, ``--optim.*``, ``--schedule.*``."""
    return parse_flags(method, argv, prog, Where())


def parse_flags(method: str, argv: Sequence[str], prog: str, where: F) -> tuple[Recipe, F]:
    """`parse_recipe` for a verb with flags of its own: ``where`` is a dataclass of their defaults."""
    import tyro

    base, _ = base_recipe(method, argv)
    flat: Any = tyro.conf.arg(name="")
    # The flag parser checks every default and every change through the frozen configs' own rules.
    cls: Any = make_dataclass(
        "Train",
        [
            ("where", Annotated[type(where), flat]),
            ("method", Annotated[type(base.method), flat]),
            ("data", type(base.data)),
            ("optim", OptimConfig),
            ("schedule", ScheduleConfig),
        ],
        frozen=True,
    )
    default = cls(where, base.method, base.data, base.optim, base.schedule)
    got = console.parse(cls, argv, f"{prog} {method}", default, f"{prog.capitalize()} {method}.")
    parts = {f.name: getattr(got, f.name) for f in fields(got) if f.name != "where"}
    return Recipe(name=base.name, seed=got.where.seed, **parts), got.where


def _fresh(method: str, argv: list[str]) -> int:
    word, argv = console.take(argv, "--from")
    recipe, where = parse_recipe(method, argv)
    given = given_stages(word)
    from mien.engine.checkpoint import latest
    from mien.engine.stages import is_finished

    folder = where.output or Path("runs") / f"{method}-{where.preset}-s{where.seed}"
    if is_finished(folder) or latest(folder):
        raise ConfigError(
            f"{folder}: holds a run already; go on with --resume {folder} or choose another --output"
        )
    stages = stages_of(method, base_recipe(method, argv)[0], recipe)
    return _train(method, stages, folder, where.max_steps, given)


def given_stages(word: str | None) -> dict[str, Path]:
    """``STAGE=WEIGHTS`` (resolved like any weights)."""
    if word is None:
        return {}
    stage, sign, weights = word.partition("=")
    if not sign:
        raise ConfigError(f"--from {word}: write --from STAGE=WEIGHTS")
    from mien.engine.zoo import resolve

    return {stage: resolve(weights)}


def _resume(method: str | None, argv: list[str], folder: Path) -> int:
    from mien.core import io
    from mien.engine.checkpoint import latest
    from mien.engine.folder import read_recipe
    from mien.engine.stages import is_finished

    _, argv = console.take(argv, "--resume")
    steps, argv = console.take(argv, "--max-steps")
    if argv:
        raise ConfigError(f"{argv[0]} does not go with --resume: the settings of {folder} are used")
    found, recipe = read_recipe(folder / "config.toml")
    if method not in (None, found):
        raise ConfigError(f"{folder}: a run of {found}, not of {method}")
    if is_finished(folder) and latest(folder) is None:
        run = io.read_json(folder / "run.json")
        console.show(f"{folder}: finished after {run['steps']} steps; nothing to resume")
        return 0
    if steps is not None and not steps.isdecimal():
        raise ConfigError(f"--max-steps {steps}: not a whole number")
    from mien.core.catalogue import method as entry_of
    from mien.engine.stages import locked, read_uses, train_recipe

    with console.progress(f"{found} {recipe.name}") as watch, locked(folder, _rank()):
        limit = int(steps) if steps else None
        scores = train_recipe(
            entry_of(found), recipe, folder, read_uses(folder), max_steps=limit, watch=watch
        )
    return _report(folder, scores)


def stages_of(method: str, base: Recipe, recipe: Recipe) -> tuple[Stage, ...]:
    """The chain of trainings that ends in ``recipe``.

    What the user changed of data and batch size holds for earlier stages too, where these had the same; a
    smaller batch (for memory) holds for all that had a larger one.

    Args:
        method: whose.
        base: the preset that ``recipe`` was made from.
        recipe: of the last stage.
    """
    from mien.core.catalogue import method as entry_of

    chains: Mapping[str, tuple[Stage, ...]] = getattr(entry_of(method).load("protocol"), "CHAINS", {})
    chain = chains.get(base.name, (Stage(base.name, recipe),))

    def follow(earlier: Recipe) -> Recipe:
        data = recipe.data if earlier.data == base.data else earlier.data
        batch, wanted = earlier.schedule.batch, recipe.schedule.batch
        if batch == base.schedule.batch or wanted < min(batch, base.schedule.batch):
            batch = wanted
        schedule = replace(earlier.schedule, batch=batch)
        return replace(earlier, data=data, schedule=schedule, seed=recipe.seed)

    earlier = [replace(s, recipe=follow(s.recipe)) for s in chain[:-1]]
    return (*earlier, replace(chain[-1], recipe=recipe))


def _train(
    method: str, stages: Sequence[Stage], folder: Path, max_steps: int | None, given: dict[str, Path]
) -> int:
    from mien.core.catalogue import method as entry_of
    from mien.engine.stages import locked, train_stages

    title = f"{method} {stages[-1].recipe.name}"
    with console.progress(title) as watch, locked(folder, _rank()):
        scores = train_stages(entry_of(method), stages, folder, given, max_steps=max_steps, watch=watch)
    return _report(folder, scores)


def _report(folder: Path, scores: Mapping[str, float]) -> int:
    from mien.core import io

    if _rank() == 0:
        run = io.read_json(folder / "run.json")
        first = io.read_lines(folder / "log.jsonl")[0]
        text = ", ".join(f"{k} {v:.4f}" for k, v in scores.items())
        console.show(
            f"{folder}: {run['steps']} steps in {run['seconds']} s on {first['processes']} process(es);"
            f" validation {text or 'none'}; weights.safetensors, report.html"
        )
    return 0


def _rank() -> int:
    return int(os.environ.get("RANK", "0"))
