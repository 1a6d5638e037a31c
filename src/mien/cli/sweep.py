"""``mien sweep METHOD``."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mien.cli import console
from mien.core.config import check_range
from mien.core.errors import ConfigError

if TYPE_CHECKING:
    from mien.bench.sweep import Sweep, Trial


@dataclass(frozen=True)
class Where:
    """Flags of the verb itself."""

    preset: str = "small"
    """Recipe to start from: small, paper, debug, or another of the method's."""
    trials: int = 20
    """Trainings in all; the first is the recipe as it is."""
    seed: int = 100
    """Seed of the draws and of every training (reported seeds start at 0, so tune with 100 or more)."""
    space: str = "default"
    """The method's own search space, or a TOML file with a [space] table."""
    output: Path | None = None
    """Folder of the search; default runs/METHOD-PRESET-sweep-sSEED. A search that was cut short goes on."""
    backend: Literal["local", "ray"] = "local"
    """One trial after another, or side by side on Ray."""
    address: str | None = None
    """Running Ray cluster (default: this machine); it must see the output folder under the same name."""
    cores: int | None = None
    """Threads of each trial; default all, on Ray 1."""
    gpus: float = 0.0
    """GPUs of each trial on Ray; a fraction shares one."""
    parallel: int = 0
    """Trials at a time on Ray, at most; 0 = as many as there are cores."""

    def __post_init__(self) -> None:
        for name, low in (("trials", 1), ("cores", 1), ("gpus", 0), ("parallel", 0)):
            check_range("sweep", name, getattr(self, name), low)
        if self.backend == "local" and (self.address is not None or self.gpus or self.parallel):
            raise ConfigError("--address, --gpus and --parallel are for a Ray cluster; add --backend ray")


def run(argv: Sequence[str]) -> int:
    """Searches, and prints the trials and the best of them."""
    method, rest = console.take_method(argv, "sweep")
    as_json, rest = console.take_switch(rest, "--json")
    word, rest = console.take(rest, "--from")
    from mien.cli.train import given_stages, parse_flags

    recipe, where = parse_flags(method, rest, "sweep", Where())
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError("mien sweep is one process; trials run side by side with --backend ray")
    space = _space(method, where.space)
    from mien.bench.sweep import Cluster, Sweep, run_sweep

    folder = where.output or Path("runs") / f"{method}-{where.preset}-sweep-s{where.seed}"
    sweep = Sweep(method, recipe, space, where.trials, folder.resolve(), _uses(method, given_stages(word)))
    cluster = Cluster(where.address, where.gpus, where.parallel) if where.backend == "ray" else None
    with console.progress(f"{method} sweep") as watch:
        trials = run_sweep(sweep, cluster, cores=where.cores, watch=watch, say=console.say)
    if as_json:
        console.out_json({"method": method, "backend": where.backend, **_answer(sweep, trials)})
    else:
        _show(sweep, trials, ["--preset", where.preset, *_recipe_flags(rest)])
    return 0


def _space(method: str, name: str) -> Any:
    from mien.core.catalogue import method as entry_of
    from mien.core.search import read_space

    if name != "default":
        return read_space(name)
    space = getattr(entry_of(method).load("config"), "SPACE", None)
    if space is None:
        raise ConfigError(f"{method} declares no search space; give one with --space FILE.toml")
    return space


def _uses(method: str, given: dict[str, Path]) -> dict[str, Path]:
    """The earlier stages that the method's main row needs, all of which must be given."""
    from mien.core.catalogue import method as entry_of

    protocol = entry_of(method).load("protocol")
    last = next(r for r in protocol.ROWS if r.id == protocol.MAIN).stages[-1]
    for stage in given:
        if stage not in last.uses.values():
            known = ", ".join(last.uses.values()) or "none"
            raise ConfigError(f"--from {stage}=...: no earlier stage of that name; {method} has: {known}")
    for stage in last.uses.values():
        if stage not in given:
            raise ConfigError(f"{method} builds on {stage!r}; train it once and give --from {stage}=WEIGHTS")
    return {slot: given[stage] for slot, stage in last.uses.items()}


def _answer(sweep: Sweep, trials: list[Trial]) -> dict[str, Any]:
    from mien.bench.sweep import best

    chosen = best(trials)
    return {
        "seed": sweep.seed,
        "rule": f"validation {next(iter(chosen.scores))}, highest",
        "best": chosen,
        "trials": trials,
    }


def _show(sweep: Sweep, trials: list[Trial], flags: list[str]) -> None:
    answer = _answer(sweep, trials)
    chosen: Trial = answer["best"]
    rows, last = [], [path.rpartition(".")[2] for path in chosen.values]
    names = {p: name if last.count(name) == 1 else p for p, name in zip(chosen.values, last, strict=True)}
    for t in trials:
        drawn = {names[path]: _short(value) for path, value in t.values.items()}
        shown = {name: _short(t.scores.get(name, "-")) for name in chosen.scores}
        rows.append({"trial": t.trial, **drawn, **shown, "seconds": f"{t.seconds:.1f}"})
    console.show_table(f"{sweep.method}: {len(trials)} trials in {sweep.folder}", rows)
    for t in trials:
        if t.error is not None:
            console.show(f"trial {t.trial} diverged: {t.error}")
    console.show(f"best by {answer['rule']}: trial {chosen.trial}, {chosen.score:.4f}")
    for path, value in chosen.values.items() if chosen.trial else ():
        flags += ["--" + path.removeprefix("method.").replace("_", "-"), *_words(value)]
    console.show(f"again with: {shlex.join(['mien', 'train', sweep.method, *flags])}")


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _words(value: object) -> list[str]:
    return [str(v) for v in value] if isinstance(value, (list, tuple)) else [str(value)]


def _recipe_flags(argv: Sequence[str]) -> list[str]:
    """The words that `mien train` takes too: without the flags of this verb."""
    rest = list(argv)
    for f in fields(Where):
        _, rest = console.take(rest, f"--{f.name}")
    return rest
