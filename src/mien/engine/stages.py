"""Chains of trainings: a stage is trained once per (seed, what is computed, data), and shared."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mien.core import io
from mien.core.catalogue import Entry
from mien.core.config import Recipe, hash_dict, hash_recipe, save_recipe
from mien.core.errors import ConfigError, MienError
from mien.core.protocol import Row, Stage
from mien.engine.folder import read_recipe
from mien.engine.task import Experiment
from mien.engine.trainer import Trainer, Watcher, make_accelerator

USES = "uses.json"
"""Of a run folder: slot -> folder of the earlier model that the run uses."""


def read_uses(folder: Path) -> dict[str, Path]:
    """The earlier models that a run uses, by slot."""
    path = folder / USES
    return {k: Path(v) for k, v in io.read_json(path).items()} if path.is_file() else {}


def chain_key(stages: Sequence[Stage]) -> str:
    """Hash of the last stage's recipe with those of all it uses, directly or not."""
    keys: dict[str, str] = {}
    for stage in stages:
        keys[stage.id] = stage_key(stage, keys)
    return keys[stages[-1].id] if stages else "none"


def row_key(row: Row) -> str:
    """Hash of everything that a row's evaluations see."""
    if row.models == "last":
        return chain_key(row.stages)
    keys: dict[str, str] = {}
    for stage in row.stages:
        keys[stage.id] = stage_key(stage, keys)
    return hash_dict(list(keys.values()))


def needed(stages: Sequence[Stage]) -> tuple[Stage, ...]:
    """The last stage and those that it uses, directly or not."""
    wanted = {stages[-1].id}
    for stage in reversed(stages):
        wanted |= set(stage.uses.values()) if stage.id in wanted else set()
    return tuple(s for s in stages if s.id in wanted)


def stage_key(stage: Stage, keys: Mapping[str, str]) -> str:
    """Hash of one stage given the keys of earlier ones."""
    upstream = {slot: keys[used] for slot, used in sorted(stage.uses.items())}
    return hash_dict([hash_recipe(stage.recipe), upstream])


def train_recipe(
    entry: Entry,
    recipe: Recipe,
    folder: Path,
    uses: Mapping[str, Path] | None = None,
    *,
    max_steps: int | None = None,
    watch: Watcher | None = None,
    experiment: Experiment | None = None,
) -> dict[str, float]:
    """Trains one recipe in a run folder, from its newest checkpoint if there is one.

    Returns:
        Validation scores.

    Raises:
        ConfigError: the folder holds a finished run, or one of other settings.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "config.toml"
    if config.exists():
        _, before = read_recipe(config)
        if hash_recipe(before) != hash_recipe(recipe) or before.seed != recipe.seed:
            raise ConfigError(f"{folder}: holds a run with other settings; choose another --output")
    make_accelerator(recipe.schedule.precision)  # processes meet before layers are spread over them
    experiment = experiment or entry.load("task").build(recipe, dict(uses or {}))
    trainer = Trainer(experiment, recipe, folder, watch)
    if trainer.accelerator.is_main_process:
        save_recipe(config, entry.name, recipe)
        if uses:
            io.write_json(folder / USES, {slot: str(Path(p).resolve()) for slot, p in uses.items()})
    trainer.accelerator.wait_for_everyone()
    return trainer.run(max_steps)


def train_stages(
    entry: Entry,
    stages: Sequence[Stage],
    folder: Path,
    given: Mapping[str, Path],
    *,
    max_steps: int | None = None,
    watch: Watcher | None = None,
) -> dict[str, float]:
    """Trains a chain: the last stage in ``folder``, earlier ones in ``folder/stages/ID`` unless given.

    What only a given stage would build on is not trained either.

    Args:
        entry: the method.
        stages: the chain; each ``uses`` earlier ids.
        folder: run folder of the last stage.
        given: stage id -> folder of weights to use instead of training.
        max_steps: see `train_recipe`.
        watch: see `train_recipe`.

    Raises:
        ConfigError: ``given`` names a stage that is not one of the earlier ones.
    """
    earlier = [s.id for s in stages[:-1]]
    if wrong := sorted(set(given) - set(earlier)):
        known = ", ".join(earlier) or "none"
        raise ConfigError(f"--from {wrong[0]}=...: no earlier stage of that name; {entry.name} has: {known}")
    wanted = {stages[-1].id}
    for stage in reversed(stages):
        if stage.id in wanted and stage.id not in given:
            wanted |= set(stage.uses.values())
    paths: dict[str, Path] = {}
    scores: dict[str, float] = {}
    for stage in (s for s in stages if s.id in wanted):
        own = folder if stage is stages[-1] else folder / "stages" / stage.id
        paths[stage.id] = given.get(stage.id, own)
        if stage.id in given or (stage is not stages[-1] and is_finished(own)):
            continue
        uses = {slot: paths[used] for slot, used in stage.uses.items()}
        scores = train_recipe(entry, stage.recipe, own, uses, max_steps=max_steps, watch=watch)
    return scores


def is_finished(folder: Path) -> bool:
    """Whether a run folder holds final weights."""
    weights, run, cut = (folder / name for name in ("weights.safetensors", "run.json", "checkpoints"))
    return weights.is_file() and run.is_file() and not cut.exists()


def shared_folder(method: str, key: str, data: str, seed: int) -> Path:
    """Where a stage that rows share lies under `mien.core.io.home`; equal trainings have equal names."""
    return io.home() / "stages" / method / f"{hash_dict([key, data])}-s{seed}"


@contextlib.contextmanager
def locked(folder: Path, rank: int = 0, patience: float = 0.0) -> Iterator[None]:
    """One process at a time works in a folder; a lock left by a dead process is taken over.

    Args:
        folder: made if needed; the lock is a file in it.
        rank: the processes of one run each hold a lock of their own, against a second run.
        patience: seconds to wait for another process.

    Raises:
        MienError: another live process holds it longer than ``patience`` seconds.
    """
    import fcntl

    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = folder / f".lock{rank or ''}"
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be a run folder ({error.strerror}); choose another") from None
    until, is_held = time.monotonic() + patience, False
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                is_held = True
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise MienError(f"{folder}: another process is training here; wait for it") from None
                time.sleep(0.2)
        yield
    finally:
        # A run that failed before it wrote anything leaves no folder behind.
        if is_held and [p.name for p in folder.iterdir()] == [lock.name]:
            lock.unlink()
            folder.rmdir()
        os.close(descriptor)
