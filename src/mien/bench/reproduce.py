"""Runs the rows of a protocol: trains what is missing, evaluates, appends to results; resumable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mien.bench.benches import run_bench
from mien.bench.compose import crossed
from mien.bench.compose.longtail import longtail
from mien.bench.compose.protocol import PEOPLE, SPLIT
from mien.bench.store import Table, load_table, make_record, results_dir
from mien.core import io
from mien.core.catalogue import COMPOSE, Entry, owner
from mien.core.config import Recipe, hash_dict, to_dict
from mien.core.protocol import Evaluation, Row, Stage
from mien.engine.folder import ModelFolder, open_folder
from mien.engine.runlog import machine
from mien.engine.stages import is_finished, locked, shared_folder, stage_key, train_recipe
from mien.engine.task import Experiment, Measured
from mien.engine.trainer import Watcher

Say = Callable[[str], None]


def reproduce(
    entry: Entry, rows: Sequence[Row], seeds: Sequence[int], say: Say, watch: Watcher | None = None
) -> int:
    """Measures every (row, seed) that results lack.

    Stages that rows share are trained once, under `mien.core.io.home`; a killed call goes on from its
    checkpoints. A made set is not drawn only to compare it with what complete rows were measured on.

    Args:
        entry: the method.
        rows: rows of its protocol.
        seeds: run seeds.
        say: told one line for each thing done.
        watch: progress of the trainings.

    Returns:
        Number of lines appended.
    """
    protocol, done = entry.load("protocol"), 0
    for seed in seeds:
        for row in rows:
            table = load_table(entry)
            lines = [table.records[(row.id, e.id)].get(seed) for e in row.evals]
            if all(lines) and not _is_at_hand(entry, row):
                continue
            data = row_data(entry, row)
            wanted = [e for e, r in zip(row.evals, lines, strict=True) if r is None or r["data"] != data]
            if not wanted:
                continue
            models, fingerprint = train_chain(entry, row.stages, seed, say, watch)
            for evaluation in wanted:
                measured = measure(entry, row, models, evaluation, seed)
                record = make_record(
                    entry.name,
                    row,
                    evaluation,
                    seed,
                    protocol.PROTOCOL_VERSION,
                    fingerprint if row.stages else data,
                    measured,
                )
                record |= run_facts(models if row.models == "all" else models[-1:])
                io.append_line(results_dir() / f"{entry.name}.jsonl", record)
                done += 1
                say(f"{row.id} seed {seed} {evaluation.id}: {_brief(record['metrics'])}")
    return done


def measure(
    entry: Entry, row: Row, models: Sequence[ModelFolder], evaluation: Evaluation, seed: int = 0
) -> Measured:
    """One evaluation of a row: of its last model, of all, of shipped ones, or the ratios of a bench."""
    if evaluation.split == SPLIT:
        return crossed.measured(evaluation, seed)
    if evaluation.split == "bench":
        ratios = run_bench(str(evaluation.options["name"]))["ratios"]
        return Measured(ratios)
    if evaluation.split == PEOPLE:
        return longtail(models[-1])
    own = owner(row.stages[-1].recipe, entry) if entry is COMPOSE else entry
    module = own.load("evaluate")
    if row.models == "all":
        return module.evaluate_many(models, evaluation)  # type: ignore[no-any-return]
    return module.evaluate(models[-1] if models else None, evaluation)  # type: ignore[no-any-return]


def train_chain(
    entry: Entry, stages: Sequence[Stage], seed: int, say: Say, watch: Watcher | None
) -> tuple[list[ModelFolder], str]:
    """Trains the missing stages of a chain; returns their models and the last one's data fingerprint."""
    keys: dict[str, str] = {}
    folders: dict[str, Path] = {}
    fingerprint, models = "none", []
    for stage in stages:
        keys[stage.id] = stage_key(stage, keys)
        recipe = replace(stage.recipe, seed=seed)
        uses = {slot: folders[used] for slot, used in stage.uses.items()}
        own = owner(recipe, entry) if entry is COMPOSE else entry
        experiment = own.load("task").build(recipe, uses)
        fingerprint = experiment.data_fingerprint
        folder = shared_folder(own.name, keys[stage.id], fingerprint, seed)
        with locked(folder):
            if not is_finished(folder):
                say(f"training {stage.id} seed {seed} in {folder}")
                train_recipe(own, recipe, folder, uses, watch=watch, experiment=experiment)
        folders[stage.id] = folder
        models.append(open_folder(folder))
    return models, fingerprint


def row_data(entry: Entry, row: Row) -> str:
    """Fingerprint of the data that a row would be measured on now; of shipped weights where it has those."""
    if not row.stages:
        shipped = [e for e in row.evals if e.split == SPLIT]
        return crossed.fingerprint(shipped[0]) if shipped else "none"
    recipe = _representative(row)
    own = owner(recipe, entry) if entry is COMPOSE else entry
    return _fingerprint(own.name, hash_dict(to_dict(recipe.data)), lambda: own.load("task").build(recipe, {}))


def _representative(row: Row) -> Recipe:
    """A recipe of the row's data that can be built by itself."""
    last = row.stages[-1].recipe
    return next((s.recipe for s in row.stages if not s.uses and s.recipe.data == last.data), last)


def _is_at_hand(entry: Entry, row: Row) -> bool:
    """Whether the data of a row can be looked at; a set that would first be drawn is not drawn for that."""
    if not row.stages:
        return True
    recipe = _representative(row)
    own = owner(recipe, entry) if entry is COMPOSE else entry
    at_hand: Callable[[Recipe], bool] | None = getattr(own.load("task"), "at_hand", None)
    return at_hand is None or at_hand(recipe)


_KNOWN: dict[tuple[str, str], str] = {}


def _fingerprint(method: str, data: str, build: Callable[[], Experiment]) -> str:
    """Read once a process for each data configuration."""
    if (method, data) not in _KNOWN:
        _KNOWN[(method, data)] = build().data_fingerprint
    return _KNOWN[(method, data)]


def other_data(table: Table) -> list[str]:
    """One line for each row whose results were measured on other data than there are now.

    Rows whose data would first have to be made are left out.
    """
    stale = []
    for row in (r for r in table.rows if _is_at_hand(table.entry, r)):
        found = {r["data"] for e in row.evals for r in table.records[(row.id, e.id)].values()}
        if found - {row_data(table.entry, row)}:
            stale.append(
                f"{table.entry.name}.{row.id}: measured on other data; run mien reproduce {table.entry.name}"
            )
    return stale


def run_facts(models: Sequence[ModelFolder]) -> dict[str, Any]:
    """Training time (of all together), steps and machine of run folders."""
    if not models:
        return {"seconds": 0.0, "machine": machine()}
    runs = [io.read_json(m.path / "run.json") for m in models]
    seconds = round(sum(r["seconds"] for r in runs), 2)
    return {"seconds": seconds, "steps": runs[-1]["steps"], "machine": runs[-1]["machine"]}


def _brief(metrics: dict[str, float]) -> str:
    return ", ".join(f"{k} {v:.4f}" for k, v in list(metrics.items())[:4])
