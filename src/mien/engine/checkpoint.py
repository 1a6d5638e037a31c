"""Checkpoints: whole or not at all, bound to their recipe, and exact.

A checkpoint is a folder ``checkpoints/step-N``: accelerate's state (safetensors weights, optimiser state
loaded with ``weights_only``), the moving average, and ``state.json``. It is written under a temporary name,
synced and renamed; the one before is removed only afterwards.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.core import io
from mien.core.errors import MienError, WeightsError

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import nn

KEEP = 2


def latest(folder: Path) -> Path | None:
    """The newest complete checkpoint of a run folder."""
    found = [p for p in (folder / "checkpoints").glob("step-*") if (p / "state.json").is_file()]
    return max(found, key=lambda p: int(p.name.removeprefix("step-")), default=None)


def save(accelerator: Accelerator, folder: Path, state: dict[str, Any], average: nn.Module | None) -> None:
    """Writes checkpoint ``state["step"]``; all processes call it.

    Raises:
        MienError: the disk is full or the folder cannot be written; earlier checkpoints are untouched.
    """
    root = folder / "checkpoints"
    final, part = root / f"step-{state['step']:08d}", root / f".step-{state['step']:08d}.part"
    try:
        if accelerator.is_main_process:
            root.mkdir(parents=True, exist_ok=True)
            for stale in root.glob(".*.part"):
                shutil.rmtree(stale, ignore_errors=True)
            part.mkdir()
        accelerator.wait_for_everyone()
        with _quiet("accelerate.utils.other"):  # warns of tied tensors, which are stored once
            accelerator.save_state(str(part), safe_serialization=True)
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            if average is not None:
                save_weights(average, part / "average.safetensors")
            (part / "state.json").write_text(json.dumps(state))
            io.sync_tree(part)
            shutil.rmtree(final, ignore_errors=True)
            os.replace(part, final)
            for old in sorted(root.glob("step-*"))[:-KEEP]:
                shutil.rmtree(old, ignore_errors=True)
    except Exception as error:
        shutil.rmtree(part, ignore_errors=True)
        if isinstance(error, MienError):
            raise
        raise MienError(
            f"{final}: checkpoint not written ({error}); earlier checkpoints are whole, free space and resume"
        ) from error


@contextlib.contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Keeps the warnings of one logger back."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def load(
    accelerator: Accelerator, path: Path, key: str, average: nn.Module | None, *, any_world: bool = False
) -> dict[str, Any]:
    """Restores everything from a checkpoint and returns its ``state.json``.

    Args:
        accelerator: with the same objects prepared as when saving.
        path: a folder that `latest` returned.
        key: the recipe's hash; a checkpoint of another recipe is refused.
        average: moving average to restore, if one is kept.
        any_world: another number of processes may go on from it.
    """
    state: dict[str, Any] = io.read_json(path / "state.json")
    if state.get("key") != key:
        raise WeightsError(
            f"{path}: checkpoint of another configuration ({state.get('key')}, this one is {key});"
            " resume with the same settings or choose another --output"
        )
    if state.get("processes") != accelerator.num_processes and not any_world:
        raise WeightsError(
            f"{path}: written by {state.get('processes')} process(es), now {accelerator.num_processes};"
            " batch statistics would differ, resume with the same number"
        )
    try:
        accelerator.load_state(str(path))
    except Exception as error:
        raise WeightsError(
            f"{path}: cannot be restored ({error}); delete it to use the one before"
        ) from error
    if average is not None:
        load_weights(average, path / "average.safetensors")
    return state


def save_weights(net: nn.Module, path: Path) -> None:
    """Weights and buffers of a net as safetensors, whole or not at all (tied tensors stored once)."""
    from safetensors.torch import save_model

    with io.new_file(path) as part:
        save_model(net, str(part))


def load_weights(net: nn.Module, path: Path) -> None:
    """Loads what `save_weights` wrote; every tensor must fit.

    Raises:
        WeightsError: missing, a pickle, damaged, or of another model; the differences are named.
    """
    from safetensors.torch import load_model

    from mien.engine.safe import check_safetensors

    check_safetensors(path)
    try:
        missing, unexpected = load_model(net, str(path), strict=False)
    except Exception as error:
        first = str(error).strip().splitlines()
        raise WeightsError(f"{path}: weights do not fit this model ({' '.join(first[:2])[:200]})") from None
    if missing or unexpected:
        raise WeightsError(
            f"{path}: weights of another model: {len(missing)} tensors missing {_few(missing)},"
            f" {len(unexpected)} unexpected {_few(unexpected)}"
        )


def _few(names: Any) -> str:
    names = sorted(names)
    return f"({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})" if names else ""
