"""Equal-budget random search over a recipe's settings, one trial after another or on a Ray cluster.

Trial 0 is the recipe as it is. Each trial trains in ``FOLDER/trial-NNN`` and adds one line to
``FOLDER/trials.jsonl``. The best is chosen by the first validation score; test data are never looked at.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from mien.core import io
from mien.core.catalogue import method as entry_of
from mien.core.config import Recipe, hash_recipe
from mien.core.errors import ConfigError, MienError, require
from mien.core.search import Space, apply, check_space, draw
from mien.engine.folder import read_recipe
from mien.engine.stages import is_finished, locked, train_recipe
from mien.engine.trainer import Watcher

LINES = "trials.jsonl"
_RAY_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_worker_niceness": "0",
}
"""The last: Ray's processes have niceness 15 by default, and starve beside other work."""


@dataclass(frozen=True)
class Sweep:
    """What is searched: every trial is a pure function of it."""

    method: str
    recipe: Recipe
    space: Space
    trials: int
    folder: Path
    uses: dict[str, Path] = field(default_factory=dict)

    @property
    def seed(self) -> int:
        """Of the draws and of every training."""
        return self.recipe.seed

    def __post_init__(self) -> None:
        if self.trials < 1:
            raise ConfigError(f"--trials {self.trials}: at least 1")
        check_space(self.space, self.recipe)
        for trial in range(self.trials):  # all of them, before hours are spent on the first
            self.recipe_of(trial)

    def values(self, trial: int) -> dict[str, Any]:
        """The searched settings of one trial."""
        if trial == 0:
            return {path: _setting(self.recipe, path) for path in self.space}
        return draw(self.space, self.seed, trial)

    def recipe_of(self, trial: int) -> Recipe:
        """The recipe of one trial."""
        try:
            return apply(self.recipe, self.values(trial))
        except ConfigError as error:
            raise ConfigError(f"trial {trial} {self.values(trial)}: {error}") from None

    def folder_of(self, trial: int) -> Path:
        """Run folder of one trial."""
        return self.folder / f"trial-{trial:03d}"


@dataclass(frozen=True)
class Trial:
    """One line of ``trials.jsonl``."""

    trial: int
    values: dict[str, Any]
    scores: dict[str, float]
    seconds: float
    error: str | None = None

    @property
    def score(self) -> float:
        """The first validation score; the lowest possible if there is none."""
        first = next(iter(self.scores.values()), None)
        return -math.inf if first is None or not math.isfinite(first) else first


@dataclass(frozen=True)
class Cluster:
    """How trials share a Ray cluster.

    Args:
        address: of a running one that sees the sweep's folder under the same name; None starts one here.
        gpus: for each trial; a fraction shares one.
        parallel: trials at a time, at most; 0 = as many as there are cores.
    """

    address: str | None = None
    gpus: float = 0.0
    parallel: int = 0


def run_sweep(
    sweep: Sweep,
    cluster: Cluster | None = None,
    *,
    cores: int | None = None,
    watch: Watcher | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> list[Trial]:
    """Trains what is missing; goes on with a search that was cut short.

    Args:
        sweep: what is searched.
        cluster: trials run side by side on Ray; None: one after another, here.
        cores: threads of each trial; default all that torch uses, on Ray 1.
        watch: progress of local trainings.
        say: told one line for each trial.

    Returns:
        The trials in order.

    Raises:
        ConfigError: the folder holds a search with other settings, or there is no validation score.
    """
    sweep.folder.mkdir(parents=True, exist_ok=True)
    with locked(sweep.folder):
        missing = [i for i in range(sweep.trials) if finished(sweep, i) is None]
        if cluster is None:
            with threads(cores):
                for i in missing:
                    say(f"trial {i} of {sweep.trials}: {sweep.values(i)}")
                    record(sweep, run_trial(sweep, i, watch))
        elif missing:
            _run_on_ray(sweep, missing, cores or 1, cluster, say)
        return [record(sweep, finished(sweep, i)) for i in range(sweep.trials)]


def run_trial(sweep: Sweep, trial: int, watch: Watcher | None = None) -> Trial:
    """Trains one trial, from its newest checkpoint if there is one. A loss that diverges is a result."""
    folder = sweep.folder_of(trial)
    with locked(folder):
        try:
            train_recipe(entry_of(sweep.method), sweep.recipe_of(trial), folder, sweep.uses, watch=watch)
        except MienError as error:
            if "not finite" not in str(error):
                raise
            return Trial(trial, sweep.values(trial), {}, 0.0, str(error))
    done = finished(sweep, trial)
    if done is None:
        raise MienError(f"{folder}: not finished after training; delete it and start again")
    if not done.scores:
        raise ConfigError(f"{sweep.method}: this data has no validation split, and a sweep selects on it")
    return done


def finished(sweep: Sweep, trial: int) -> Trial | None:
    """A trial read back from its folder or, if it diverged, from its line; None if it is still to be run.

    Raises:
        ConfigError: what is there was trained with other settings.
    """
    folder, recipe, values = sweep.folder_of(trial), sweep.recipe_of(trial), sweep.values(trial)
    other = ConfigError(f"{folder}: holds a trial with other settings; choose another --output")
    if is_finished(folder):
        _, before = read_recipe(folder / "config.toml")
        if hash_recipe(before) != hash_recipe(recipe) or before.seed != recipe.seed:
            raise other
        run = io.read_json(folder / "run.json")
        return Trial(trial, values, dict(run["validation"]), float(run["seconds"]))
    for line in io.read_lines(sweep.folder / LINES):
        if line.get("trial") == trial and line.get("error"):
            if line["values"] != io.strict(values):
                raise other
            return Trial(trial, values, {}, float(line["seconds"]), str(line["error"]))
    return None


def record(sweep: Sweep, trial: Trial | None) -> Trial:
    """Adds the trial's line unless it is there."""
    if trial is None:
        raise MienError(f"{sweep.folder}: a trial vanished while the search ran; start it again")
    path = sweep.folder / LINES
    if trial.trial not in {line.get("trial") for line in io.read_lines(path)}:
        line = {
            "trial": trial.trial,
            "values": trial.values,
            "scores": trial.scores,
            "seconds": trial.seconds,
        }
        io.append_line(path, line if trial.error is None else {**line, "error": trial.error})
    return trial


def best(trials: Sequence[Trial]) -> Trial:
    """The trial with the highest first validation score; the earliest of equals.

    Raises:
        MienError: every trial diverged.
    """
    first = max(trials, key=lambda t: t.score)
    if first.score == -math.inf:
        raise MienError("no trial has a finite validation score; lower the learning rates of the space")
    return first


@contextlib.contextmanager
def threads(count: int | None) -> Iterator[None]:
    """So many of torch's threads inside, as before outside; None changes nothing."""
    before = torch.get_num_threads()
    try:
        if count is not None:
            torch.set_num_threads(count)
        yield
    finally:
        torch.set_num_threads(before)


def _setting(recipe: Recipe, path: str) -> Any:
    value: Any = recipe
    for name in path.split("."):
        value = getattr(value, name)
    return value


def _run_on_ray(
    sweep: Sweep, missing: list[int], cores: int, cluster: Cluster, say: Callable[[str], None]
) -> None:
    """Trains the missing trials side by side; processes stay, as starting one takes seconds."""
    say(f"{len(missing)} of {sweep.trials} trials on Ray, in {sweep.folder}")
    with _ray(cluster.address, cores) as tune:

        def one(config: dict[str, Any]) -> dict[str, Any]:
            with threads(cores):
                done = run_trial(sweep, int(config["trial"]))
            # A trial that diverged has no finished folder: its result goes back with the answer.
            return {"trial": done.trial, "error": done.error}

        class Told(tune.Callback):  # type: ignore[misc, name-defined]
            def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
                number = int(trial.config["trial"])
                say(f"trial {number} of {sweep.trials} ended: {sweep.values(number)}")

        limit = cluster.parallel or None
        tuner = tune.Tuner(
            tune.with_resources(one, {"cpu": cores, "gpu": cluster.gpus}),
            param_space={"trial": tune.grid_search(missing)},
            tune_config=tune.TuneConfig(max_concurrent_trials=limit, reuse_actors=True),
            run_config=tune.RunConfig(
                storage_path=str(sweep.folder / ".ray"), name="sweep", verbose=0, callbacks=[Told()]
            ),
        )
        results = list(tuner.fit())
    for result in results:
        if result.error is not None:
            raise MienError(f"a trial failed on Ray: {_last_line(result.error)}")
        if result.metrics["error"]:
            trial = int(result.metrics["trial"])
            record(sweep, Trial(trial, sweep.values(trial), {}, 0.0, result.metrics["error"]))


def _last_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[-1]


@contextlib.contextmanager
def _ray(address: str | None, cores: int) -> Iterator[Any]:
    """`ray.tune` on a running cluster or one of our own, silent on stdout, which belongs to the answer."""
    with _undone(), contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, value in _RAY_SETTINGS.items():
            os.environ.setdefault(name, value)
        ray, tune = require("ray", extra="sweep"), require("ray.tune", extra="sweep")
        own = {"num_cpus": max(os.cpu_count() or 1, cores), "include_dashboard": False}
        own["object_store_memory"] = 200_000_000
        was_running = ray.is_initialized()
        if not was_running:
            options = own if address is None else {"address": address}
            ray.init(**options, log_to_driver=False, logging_level="ERROR")
        try:
            yield tune
        finally:
            if not was_running:
                ray.shutdown()


@contextlib.contextmanager
def _undone() -> Iterator[None]:
    """Environment and signal handlers are afterwards what they were: Ray leaves its own."""
    environment = dict(os.environ)
    is_main = threading.current_thread() is threading.main_thread()
    handlers = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)} if is_main else {}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for name in set(os.environ) - set(environment):
            del os.environ[name]
        os.environ.update(environment)
