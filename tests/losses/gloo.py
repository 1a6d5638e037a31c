"""Starts processes that meet over gloo, each running ``worker(rank, folder)`` of a test module."""

from __future__ import annotations

import importlib
import multiprocessing
from datetime import timedelta
from pathlib import Path
from typing import Any


def launch(module: str, world: int, folder: Path) -> None:
    """Runs ``module.worker`` in ``world`` processes, forked from a server that has imported torch once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "torch.distributed", "torch._dynamo"])
    running = [context.Process(target=main, args=(module, world, folder, rank)) for rank in range(world)]
    for process in running:
        process.start()
    for process in running:
        process.join(120)
    codes = [process.exitcode for process in running]
    for process in running:
        process.kill()
    assert codes == [0] * world, f"exit codes {codes}; what went wrong is on the error stream"


def main(module: str, world: int, folder: Path, rank: int) -> None:
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meet",
        rank=rank,
        world_size=world,
        timeout=timedelta(seconds=60),
    )
    importlib.import_module(module).worker(rank, folder)
    dist.destroy_process_group()


def answers(module: str, world: int, folder: Path) -> list[Any]:
    """What each process of `launch` saved as ``RANK.pt``."""
    import torch

    launch(module, world, folder)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(world)]
