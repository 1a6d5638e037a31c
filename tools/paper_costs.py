"""Counts what paper recipes would cost; writes results/paper.costs.jsonl (a table of docs/scale-out.md).

    PYTHONPATH=src:. python tools/paper_costs.py [NAME ...]

Each recipe makes one optimiser step at true size, batch 2, on a small copy of its set's layout (those of the
tests). Counted are matrix products and convolutions of that step, forward and backward, twice the
multiply-adds; not counted are warps, volume rendering and sampling, decoding, and validation. Nothing is
timed.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from tests.data import avatar_fixtures, capsule_fixtures, clothed_fixtures, fixtures
from tests.data.pad_fixtures import write_cefa
from tests.data.record_fixtures import write_many_classes
from tests.data.suhifimask_fixtures import write_suhifimask
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from mien.bench.store import results_dir
from mien.cli.main import main
from mien.core import io
from mien.core.catalogue import method
from mien.engine.trainer import Trainer

RATE = 40e12
"""Operations a second that a GPU is taken to sustain."""


@dataclass(frozen=True)
class Cost:
    """One stage of a paper recipe.

    Attributes:
        preset: of the method.
        data: the set, as it is called.
        write: makes its layout in a folder.
        pictures: in an epoch; None where a copy decides.
        words: more flags.
        note: what a reader must know.
    """

    preset: str
    data: str
    write: Callable[[Path], object]
    pictures: int | None = None
    words: tuple[str, ...] = ()
    note: str = ""


def hdtf(root: Path) -> None:
    """Four people to train on, one to test."""
    people = ["WDA_Ann_000", "WRA_Bob_001", "WRA_Cid_002", "WRA_Dan_003"]
    avatar_fixtures.write_hdtf(root, people, ["WRA_EricCantor_000"])


def renders(root: Path) -> None:
    """Two scanned people."""
    clothed_fixtures.write_render_people(root, ["ada", "bob"])


MS1MV2 = 5_822_653
COSTS = {
    "ncl": (
        Cost("paper-cifar100_lt", "CIFAR-100-LT", fixtures.write_cifar100, 10_847),
        Cost("paper-imagenet_lt", "ImageNet-LT", fixtures.write_imagenet_lt, 115_846),
        Cost("paper-places_lt", "Places-LT", fixtures.write_places_lt, 62_500),
        Cost("paper-inat2018", "iNaturalist 2018", fixtures.write_inat2018, 437_513),
    ),
    "sagm": (Cost("paper-pacs", "PACS", fixtures.write_pacs, words=("--schedule.batch", "6")),),
    "gkd": (
        Cost("paper-teacher", "MS1MV2", write_many_classes, MS1MV2),
        Cost("paper", "MS1MV2", write_many_classes, MS1MV2),
    ),
    "cakd": (
        Cost("paper-teacher", "MS1MV2", write_many_classes, MS1MV2),
        Cost("paper", "MS1MV2", write_many_classes, MS1MV2),
    ),
    "fm_vit": (Cost("paper", "CeFA 4.1", write_cefa),),
    "cqil": (Cost("paper", "SuHiFiMask P3", write_suhifimask, words=("--sr-warmup", "0")),),
    "igc_net": (
        Cost("paper", "CelebA", lambda p: capsule_fixtures.write_celeba(p, 8), 162_770, note="without warps"),
    ),
    "otavatar": (
        Cost(
            "paper-prior", "HDTF", hdtf, words=("--data.val-people", "2"), note="without sampling of planes"
        ),
    ),
    "car": (
        Cost(
            "paper-sdf",
            "MVP-Human",
            renders,
            words=("--data.surface", "64", "--data.near", "64", "--data.box", "16"),
            note="with 144 points a picture",
        ),
    ),
}


class Counter(TorchDispatchMode):
    """Adds up operations as they run, second derivatives as well (`FlopCounterMode` refuses those)."""

    total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if formula := flop_registry.get(func._overloadpacket):
            self.total += formula(*args, **(kwargs or {}), out_val=out)
        return out


class Done(BaseException):
    """The step was counted; nothing else of the training is of interest."""


@contextlib.contextmanager
def counted(stage: str) -> Iterator[dict[str, float]]:
    """The first step of this recipe is counted and ends the training; stages before it do theirs."""
    found: dict[str, float] = {}
    step = Trainer.one_step

    def one(self: Trainer, stream: Iterator[list[object]]) -> None:
        if self.recipe.name != stage:
            return step(self, stream)
        batches = next(stream)
        with sdpa_kernel(SDPBackend.MATH), Counter() as counter:
            step(self, iter([batches]))
        found["each"] = counter.total / sum(len(b) for b in batches)
        raise Done

    with mock.patch.object(Trainer, "one_step", one):
        yield found


def count(name: str, cost: Cost) -> float:
    """Operations of a training step for one picture."""
    recipe = method(name).load("config").RECIPES[cost.preset]()
    with tempfile.TemporaryDirectory() as folder, counted(recipe.name) as found:
        cost.write(Path(folder) / "set")
        words = ["train", name, "--preset", cost.preset, "--max-steps", "1", "--schedule.batch", "2"]
        words += ["--schedule.checkpoint-every", "0", "--data.root", f"{folder}/set", "--data.workers", "0"]
        with contextlib.suppress(Done):
            main([*words, *cost.words, "--output", f"{folder}/run"])
    return found["each"]


def cells(name: str, cost: Cost, each: float) -> dict[str, str]:
    """One line of the table."""
    schedule = method(name).load("config").RECIPES[cost.preset]().schedule
    seen = schedule.steps * schedule.batch if schedule.steps else None
    if seen is None and cost.pictures:
        seen = round(schedule.epochs * cost.pictures)
    how = f"{schedule.steps:,} steps of {schedule.batch}" if schedule.steps else f"{schedule.epochs:g} epochs"
    hours = each * (seen or 1_000_000) / RATE / 3600
    return {
        "recipe": f"`{name} --preset {cost.preset}`" + (f" ({cost.note})" if cost.note else ""),
        "set": cost.data,
        "schedule": how,
        "pictures seen": f"{seen:,}" if seen else "depends on the copy",
        "GFLOP a picture": f"{each / 1e9:,.3g}" if each < 1e12 else f"{each / 1e9:,.0f}",
        "GPU hours": f"{hours:,.2g}" if hours < 10 else f"{hours:,.0f}",
        "for": "the schedule" if seen else "a million pictures",
    }


if __name__ == "__main__":
    for chosen in sys.argv[1:] or COSTS:
        for one_cost in COSTS[chosen]:
            flops = count(chosen, one_cost)
            line = cells(chosen, one_cost, flops)
            io.append_line(
                results_dir() / "paper.costs.jsonl", {"name": f"{chosen}/{one_cost.preset}", "cells": line}
            )
            print(line)
