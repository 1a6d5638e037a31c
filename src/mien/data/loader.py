"""Steps of training batches: which pictures, in which order, is a function of (seed, step) only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from mien.core.errors import DataError
from mien.core.seeds import derive
from mien.data.augment import Augment, prepare
from mien.data.labelled import LabelledImages
from mien.data.shard_order import BUFFER, shard_order

Order = Callable[[int], NDArray[np.int64]]
"""Epoch -> places."""


@dataclass(frozen=True)
class ImageBatch:
    """Copy-major: rows m B + i are copy m of image i, in all three tensors."""

    image: Tensor
    """(M B, C, H, W) float in [0, 1]."""
    target: Tensor
    """(M B,) int64."""
    index: Tensor
    """(M B,) int64, place in the data set."""

    def __len__(self) -> int:
        return len(self.target)

    def to(self, device: torch.device, *, channels_last: bool = False) -> ImageBatch:
        """The batch on a device."""
        form = torch.channels_last if channels_last else torch.contiguous_format
        image = self.image.to(device, non_blocking=True, memory_format=form)
        return ImageBatch(image, self.target.to(device), self.index.to(device))


def epoch_batches(count: int, batch: int, world: int) -> list[int]:
    """Sizes of the global batches of one epoch.

    The remainder is kept (dropping it would hide tail images of small sets), cut to a multiple of the number
    of processes, unless a process would get fewer than two images (batch normalisation needs two).
    """
    full, rest = divmod(count, batch)
    rest -= rest % world
    return [batch] * full + ([rest] if rest >= 2 * world else [])


class StepSampler(Sampler[list[tuple[int, int]]]):
    """For each step from ``start`` on, this process's (epoch, index) pairs.

    Args:
        count: images in the set.
        batch: images in a step over all processes.
        seed: run seed.
        rank: this process.
        world: number of processes.
        start: first step.
        order: epoch -> this process's places, in order; default: process r has every ``world``-th place of a
            random order of the set.
    """

    def __init__(
        self, count: int, batch: int, seed: int, rank: int, world: int, start: int, order: Order | None = None
    ) -> None:
        self.sizes = epoch_batches(count, batch, world)
        if not self.sizes or batch % world:
            raise DataError(
                f"{count} training images cannot be cut into batches of {batch} for {world} process(es);"
                " use a batch that is a multiple of the processes, and at least two images for each"
            )
        self.count, self.seed, self.rank, self.world, self.start = count, seed, rank, world, start
        self.order = order or self._anywhere

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        """Endless."""
        epoch, skip = divmod(self.start, len(self.sizes))
        offsets = np.cumsum([0, *self.sizes]) // self.world
        while True:
            own = self.order(epoch)
            for first, last in zip(offsets[skip:-1], offsets[skip + 1 :], strict=True):
                yield [(epoch, int(i)) for i in own[first:last]]
            epoch, skip = epoch + 1, 0

    def _anywhere(self, epoch: int) -> NDArray[np.int64]:
        order = np.random.default_rng(derive(self.seed, "order", epoch)).permutation(self.count)
        return order[self.rank :: self.world]


def epoch_seed(seed: int, epoch: int) -> int:
    """Seed of the augmentation in one epoch of a run."""
    return derive(seed, "augment", epoch)


class _Augmented(Dataset[Any]):
    """Turns a step's (epoch, index) pairs into its micro-batches."""

    def __init__(
        self, images: LabelledImages, augment: Augment, seed: int, copies: int, accumulate: int
    ) -> None:
        self.images, self.augment, self.seed = images, augment, seed
        self.copies, self.accumulate = copies, accumulate

    def __getitems__(self, pairs: list[tuple[int, int]]) -> list[ImageBatch]:
        parts = max(1, min(self.accumulate, len(pairs) // 2))
        chunks = np.array_split(np.array([index for _, index in pairs]), parts)
        return [self._batch(chunk, pairs[0][0]) for chunk in chunks]

    def _batch(self, index: NDArray[np.int64], epoch: int) -> ImageBatch:
        keys = self.images.keys[index]
        image = self.augment(self.images.pictures(index), keys, epoch_seed(self.seed, epoch), self.copies)
        rows = torch.from_numpy(index).repeat(self.copies)
        target = torch.from_numpy(self.images.targets[index]).repeat(self.copies)
        return ImageBatch(image, target, rows)


@dataclass(frozen=True)
class StepLoader:
    """The training stream of one recipe: `stream(start)` yields, for each step, its list of micro-batches.

    Pictures in shards are read in `shard_order`, others anywhere in the set.
    """

    images: LabelledImages
    augment: Augment
    batch: int
    seed: int
    copies: int = 1
    accumulate: int = 1
    workers: int = 0
    buffer: int | None = None

    def steps_per_epoch(self, world: int) -> int:
        """Optimiser steps in one pass."""
        return len(StepSampler(len(self.images), self.batch, 0, 0, world, 0).sizes)

    def _order(self, rank: int, world: int) -> Order | None:
        shards = self.images.shards
        if shards is None:
            return None
        return lambda epoch: shard_order(shards, self.seed, epoch, rank, world, self.buffer or BUFFER)

    def stream(self, start: int, rank: int, world: int) -> Iterator[list[ImageBatch]]:
        """Micro-batches of step ``start``, ``start + 1``, ... for this process."""
        order = self._order(rank, world)
        sampler = StepSampler(len(self.images), self.batch, self.seed, rank, world, start, order)
        data = _Augmented(self.images, self.augment, self.seed, self.copies, self.accumulate)
        loader: DataLoader[Any] = DataLoader(
            data, batch_sampler=sampler, num_workers=self.workers, collate_fn=_same, pin_memory=False
        )
        return iter(loader)


def _same(batch: list[ImageBatch]) -> list[ImageBatch]:
    return batch


def eval_batches(
    images: LabelledImages, size: int, channels: int, zoom: float = 1.0, batch: int = 256
) -> Iterator[ImageBatch]:
    """The whole set in order, prepared for testing. Memory O(batch)."""
    for first in range(0, len(images), batch):
        index = np.arange(first, min(first + batch, len(images)))
        image = prepare(images.pictures(index), size, channels, zoom)
        yield ImageBatch(image, torch.from_numpy(images.targets[index]), torch.from_numpy(index))
