"""Runs the rows of a protocol: trains what is missing, evaluates, appends to results; resumable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mien.bench.store import load_table, make_record, results_dir
from mien.core import io
from mien.core.catalogue import Entry
from mien.core.protocol import Row, Stage
from mien.engine.folder import ModelFolder, open_folder
from mien.engine.runlog import machine
from mien.engine.stages import is_finished, locked, shared_folder, stage_key, train_recipe
from mien.engine.trainer import Watcher

Say = Callable[[str], None]


def reproduce(
    entry: Entry, rows: Sequence[Row], seeds: Sequence[int], say: Say, watch: Watcher | None = None
) -> int:
    """Measures every (row, seed) that results lack.

    Stages that rows share are trained once, under `mien.core.io.home`; a killed call goes on from its
    checkpoints.

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
            wanted = [e for e in row.evals if seed not in table.records[(row.id, e.id)]]
            if not wanted:
                continue
            model, fingerprint = train_chain(entry, row.stages, seed, say, watch)
            for evaluation in wanted:
                measured = entry.load("evaluate").evaluate(model, evaluation)
                record = make_record(
                    entry.name, row, evaluation, seed, protocol.PROTOCOL_VERSION, fingerprint, measured
                )
                record |= run_facts(model.path if model else None)
                io.append_line(results_dir() / f"{entry.name}.jsonl", record)
                done += 1
                say(f"{row.id} seed {seed} {evaluation.id}: {_brief(record['metrics'])}")
    return done


def train_chain(
    entry: Entry, stages: Sequence[Stage], seed: int, say: Say, watch: Watcher | None
) -> tuple[ModelFolder | None, str]:
    """Trains the missing stages of a chain; returns the last one's model and its data fingerprint."""
    keys: dict[str, str] = {}
    folders: dict[str, Path] = {}
    fingerprint, model = "none", None
    for stage in stages:
        keys[stage.id] = stage_key(stage, keys)
        recipe = replace(stage.recipe, seed=seed)
        uses = {slot: folders[used] for slot, used in stage.uses.items()}
        experiment = entry.load("task").build(recipe, uses)
        fingerprint = experiment.data_fingerprint
        folder = shared_folder(entry.name, keys[stage.id], fingerprint, seed)
        with locked(folder):
            if not is_finished(folder):
                say(f"training {stage.id} seed {seed} in {folder}")
                train_recipe(entry, recipe, folder, uses, watch=watch, experiment=experiment)
        folders[stage.id] = folder
        model = open_folder(folder)
    return model, fingerprint


def run_facts(folder: Path | None) -> dict[str, Any]:
    """Training time and machine of a run folder."""
    if folder is None:
        return {"seconds": 0.0, "machine": machine()}
    run = io.read_json(folder / "run.json")
    return {"seconds": run["seconds"], "steps": run["steps"], "machine": run["machine"]}


def _brief(metrics: dict[str, float]) -> str:
    return ", ".join(f"{k} {v:.4f}" for k, v in list(metrics.items())[:4])
