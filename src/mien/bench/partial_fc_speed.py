"""``mien bench partial_fc``: a step of a sampled class layer over a full one, on two processes over gloo.

10^6 identities of 512 features, a batch of 128 embeddings, `RowSGD` with momentum; a step is forward,
backward and optimiser. Each rank has one core. Both kinds of step are run in turn by the same ranks on the
same weights. Memory is that of tensors, weights and momentum included.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from mien.bench.speed import PeakMemory, entry, interleave, ratio
from mien.core.errors import MienError
from mien.nn.partial_fc import PartialFC, RowSGD

RANKS = 2


class Size(NamedTuple):
    """Of the class layer."""

    classes: int = 1_000_000
    features: int = 512
    batch: int = 128
    rate: float = 0.1
    repeats: int = 3


class Layer:
    """A class layer with its optimiser and this rank's part of a batch.

    Args:
        size: of the layer.
        rank: of this process.
        world: processes.
    """

    def __init__(self, size: Size, rank: int, world: int) -> None:
        self.fc = PartialFC(size.features, size.classes, sample_rate=size.rate, sparse=True)
        self.optimizer = RowSGD(self.fc.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
        g = torch.Generator().manual_seed(0)
        x = torch.randn(size.batch, size.features, generator=g)
        y = torch.randint(size.classes, (size.batch,), generator=g)
        self.x, self.y = x.tensor_split(world)[rank].requires_grad_(), y.tensor_split(world)[rank]
        self.draw = torch.Generator().manual_seed(rank)
        self.rate = size.rate

    def loss(self, kept: Tensor | None = None) -> Tensor:
        """Of the whole batch, over ``kept`` or newly drawn rows."""
        out: Tensor = self.fc(self.x, self.y, kept=kept, generator=self.draw)
        return out

    def step(self, rate: float) -> None:
        """One training step with this share of the classes."""
        self.fc.sample_rate = rate
        self.optimizer.zero_grad()
        self.x.grad = None
        self.loss().backward()
        self.optimizer.step()

    def sampled(self) -> None:
        """A step with a share of the classes."""
        self.step(self.rate)

    def full(self) -> None:
        """A step with all classes."""
        self.step(1.0)


def run(rank: int, world: int, folder: Path, size: Size) -> dict[str, Any]:
    """What one process measures; alone it only takes the memory and checks the others' loss.

    Args:
        rank: of this process.
        world: processes.
        folder: where they meet.
        size: of the layer.
    """
    if world == 1:
        return _measured(rank, world, folder, size)
    meet, patience = f"file://{folder}/meet", timedelta(minutes=10)
    dist.init_process_group("gloo", init_method=meet, rank=rank, world_size=world, timeout=patience)
    try:
        out = _measured(rank, world, folder, size)
        dist.barrier()  # nobody hangs up while another still listens
    finally:
        dist.destroy_process_group()  # else gloo's threads end the process, and the reason is lost
    return out


def _measured(rank: int, world: int, folder: Path, size: Size) -> dict[str, Any]:
    """Seconds and memory of this rank's part of the layer."""
    with PeakMemory() as memory:
        layer = Layer(size, rank, world)
        with torch.no_grad():
            loss = _shared_loss(layer, folder, rank, world)
        layer.sampled()
        layer.sampled()
    out: dict[str, Any] = {
        "pid": os.getpid(),
        "world": dist.get_world_size() if world > 1 else 1,
        "rows": [layer.fc.start, len(layer.fc.weight)],
        "loss": loss,
        "peaks": {"sampled": memory.peak},
    }
    if world > 1:
        # Weights and momentum were there before the full step, so they are added to what it makes.
        held = 2 * layer.fc.weight.nbytes
        layer.optimizer.zero_grad()
        with PeakMemory(
            [layer.fc.weight, layer.optimizer.state[layer.fc.weight]["momentum_buffer"]]
        ) as memory:
            layer.full()
        out["peaks"]["full"] = held + memory.peak
        seconds = interleave({"sampled": layer.sampled, "full": layer.full}, size.repeats, warmup=0)
        out["seconds"] = {name: list(s) for name, s in seconds.items()}
    return out


def _shared_loss(layer: Layer, folder: Path, rank: int, world: int) -> float:
    """The loss over rows that the ranks draw and leave in the folder for the process that is alone."""
    if world > 1:
        kept = layer.fc.logits(layer.x, layer.y, generator=layer.draw).kept
        assert kept is not None
        np.save(folder / f"kept-{rank}.npy", (kept + layer.fc.start).numpy())
    else:
        kept = torch.from_numpy(np.concatenate([np.load(folder / f"kept-{r}.npy") for r in range(RANKS)]))
    return layer.loss(kept).item()


def _together(world: int, folder: Path, size: Size) -> list[dict[str, Any]]:
    """`run` in ``world`` processes of their own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "mien.bench.partial_fc_speed", str(folder), json.dumps(size), str(world)]
    running = [
        subprocess.Popen(  # noqa: S603
            [*command, str(rank)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for rank in range(world)
    ]
    said = [process.communicate() for process in running]
    for process, (_, error) in zip(running, said, strict=True):
        if process.returncode:
            reason = (error.strip().splitlines() or [f"exit status {process.returncode}"])[-1]
            raise MienError(f"bench partial_fc: a process failed: {reason}")
    return [json.loads(out) for out, _ in said]


def bench(size: Size = Size()) -> tuple[list[dict[str, Any]], dict[str, float]]:  # noqa: B008
    """Seconds of a step on two ranks, and tensor memory of a rank over that of one process.

    Ratio keys:

    ``step_over_full``: a sampled step over a full one.
    ``memory_per_rank_over_single``: peak of a rank over that of a process alone, sampled steps.
    ``memory_over_full``: peak of sampled steps over that of full ones, on two ranks.

    Args:
        size: of the layer.

    Raises:
        MienError: a process failed, or the two did not share one layer.
    """
    with tempfile.TemporaryDirectory() as name:
        ranks = _together(RANKS, Path(name), size)
        (alone,) = _together(1, Path(name), size)
    check_ranks(ranks, alone, size)
    seconds = {k: np.max([r["seconds"][k] for r in ranks], axis=0) for k in ("sampled", "full")}
    peaks = {k: max(r["peaks"][k] for r in ranks) for k in ("sampled", "full")}
    entries = [entry(f"{k}_step_{RANKS}_ranks", s, peaks[k]) for k, s in seconds.items()]
    return entries, {
        "step_over_full": ratio(seconds["sampled"], seconds["full"]),
        "memory_per_rank_over_single": peaks["sampled"] / alone["peaks"]["sampled"],
        "memory_over_full": peaks["sampled"] / peaks["full"],
    }


def check_ranks(ranks: list[dict[str, Any]], alone: dict[str, Any], size: Size) -> None:
    """That the ranks were processes with different classes, and had the loss of one process.

    Args:
        ranks: what each measured.
        alone: what one process with all classes measured.
        size: of the layer.

    Raises:
        MienError: they did not.
    """
    rows = [r["rows"] for r in ranks]
    ends = [start + count for start, count in rows]
    apart = max(abs(r["loss"] - alone["loss"]) for r in ranks) / abs(alone["loss"])
    if (
        len({r["pid"] for r in ranks}) != RANKS
        or any(r["world"] != RANKS for r in ranks)
        or [start for start, _ in rows] + [size.classes] != [0, *ends]
        or not apart < 1e-5
    ):
        raise MienError(
            f"bench partial_fc: the ranks did not share one layer: {ranks}, alone {alone['loss']}"
        )


if __name__ == "__main__":
    _where, _size, _world, _rank = sys.argv[1:]
    sys.stdout.write(json.dumps(run(int(_rank), int(_world), Path(_where), Size(*json.loads(_size)))))
    sys.stdout.flush()
    os._exit(0)  # all is said; gloo's threads may abort a process that ends in the usual way
