"""Steps of presentations: all modalities of a sample move alike, the light of each changes alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mien.core.seeds import derive, mix64, uniform
from mien.data.augment import prepare
from mien.data.loader import Order, StepSampler, epoch_seed
from mien.data.pad_images import PadImages
from mien.data.shard_order import BUFFER, shard_order

Images = dict[str, Tensor]
"""Modality -> (B, 3 or 1, S, S) float in [0, 1]."""


@dataclass(frozen=True)
class PadBatch:
    """Presentations of one step."""

    images: Images
    target: Tensor
    """(B,) int64: 0 live, 1 attack."""
    index: Tensor
    """(B,) int64, place in the data set."""

    def __len__(self) -> int:
        return len(self.target)

    def to(self, device: torch.device, *, channels_last: bool = False) -> PadBatch:
        """The batch on a device."""
        form = torch.channels_last if channels_last else torch.contiguous_format
        images = {m: x.to(device, non_blocking=True, memory_format=form) for m, x in self.images.items()}
        return PadBatch(images, self.target.to(device), self.index.to(device))


def channels_of(modality: str) -> int:
    """3 for colour, 1 for the others."""
    return 3 if modality == "rgb" else 1


def seen_by(images: PadImages, modalities: Sequence[str], index: NDArray[np.int64], size: int) -> Images:
    """Pictures at these places as the networks take them."""
    return {m: prepare(images.pictures(m, index), size, channels_of(m)) for m in modalities}


@dataclass(frozen=True)
class PadAugment:
    """Shift, mirror, hole: alike for all modalities of a sample; gain, gamma, offset: each its own.

    Pixels are moved whole: turning and zooming would blur the fine patterns of prints and screens.

    Attributes:
        size: S.
        shift: largest shift, as a share of the picture; the border is repeated.
        light: largest log gain and log gamma of colour and infrared.
        level: largest offset of a depth map (0 .. 1).
        hole: side of one square that all modalities lose, as a share of the picture.
    """

    size: int
    shift: float = 0.1
    light: float = 0.25
    level: float = 0.06
    hole: float = 0.2

    def __call__(self, images: Images, keys: NDArray[np.uint64], seed: int) -> Images:
        """Augmented copies. O(B size^2).

        Args:
            images: of B samples.
            keys: (B,) their stable names.
            seed: of run and epoch.
        """
        u = torch.from_numpy(uniform(derive(seed, "geometry"), keys, 5)).float() * 2 - 1
        place = self._places(u)
        keep = self._keep(u[:, 3:5])
        out = {}
        for m, x in images.items():
            own = torch.from_numpy(uniform(derive(seed, "light", m), keys, 6)).float() * 2 - 1
            moved = x.flatten(2).gather(2, place.expand(-1, x.shape[1], -1)).view(x.shape)
            out[m] = (self._depth(moved, own) if m == "depth" else self._lit(moved, own)) * keep
        return out

    def _places(self, u: Tensor) -> Tensor:
        """(B, 1, S^2): which pixel of the sample each pixel of its copy shows."""
        at = torch.arange(self.size)
        far = (u[:, :2, None] * self.shift * self.size).round().long()
        rows = (at + far[:, 0]).clamp(0, self.size - 1)
        columns = (at + far[:, 1]).clamp(0, self.size - 1)
        columns = torch.where(u[:, 2:3] < 0, columns.flip(1), columns)
        return (rows[:, :, None] * self.size + columns[:, None, :]).flatten(1)[:, None]

    def _keep(self, centre: Tensor) -> Tensor:
        """(B, 1, S, S): 0 inside a square around a random centre, in half of the samples; else 1."""
        side = round(self.hole * self.size)
        first = (centre * self.size).floor()  # -S .. S: half of the squares lie outside
        at = torch.arange(self.size)
        inside = (at >= first[:, :, None]) & (at < first[:, :, None] + side)
        return 1.0 - (inside[:, 1, :, None] & inside[:, 0, None, :]).float()[:, None]

    def _lit(self, x: Tensor, u: Tensor) -> Tensor:
        """(gain x)^gamma, with a gain of its own for red and blue."""
        gain = (self.light * u[:, 0:1] + 0.2 * self.light * u[:, 1 : 1 + x.shape[1]]).exp()
        gamma = (self.light * u[:, 4]).exp()[:, None, None, None]
        return (x * gain[:, :, None, None]).clamp(1e-4, 1) ** gamma

    def _depth(self, x: Tensor, u: Tensor) -> Tensor:
        """Nearer or farther; holes stay holes."""
        moved = (x + self.level * u[:, 0, None, None, None]).clamp(1 / 255, 1)
        return torch.where(x > 0, moved, x)


def balanced(targets: NDArray[np.int64], seed: int) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Places 0 .. N-1, then drawn repeats of the smaller class until both classes are as many.

    Args:
        targets: (N,) 0 or 1.
        seed: of run and epoch.

    Returns:
        Places, and for each how often it came before.
    """
    places = np.arange(len(targets))
    small, large = sorted((places[targets == k] for k in (0, 1)), key=len)
    if not len(small):
        return places, np.zeros(len(places), np.uint64)
    at = np.arange(len(large) - len(small))
    turns = at // len(small)
    rounds = [
        np.random.default_rng(derive(seed, "repeat", int(k))).permutation(small) for k in np.unique(turns)
    ]
    repeats = np.concatenate([places[:0], *rounds])[: len(at)]
    copies = np.concatenate([np.zeros(len(places)), turns + 1]).astype(np.uint64)
    return np.concatenate([places, repeats]), copies


class _Steps(Dataset[Any]):
    """Turns a step's (epoch, place) pairs into its micro-batches."""

    def __init__(self, loader: PadLoader) -> None:
        self.loader = loader
        self.epoch, self.table = -1, (np.empty(0, np.int64), np.empty(0, np.uint64))
        self.images = loader.images

    def __getitems__(self, pairs: list[tuple[int, int]]) -> list[PadBatch]:
        own, epoch = self.loader, pairs[0][0]
        if epoch != self.epoch:
            self.table = own.table(epoch)
            self.images, self.epoch = own.images.for_epoch(own.seed, epoch), epoch
        parts = max(1, min(own.accumulate, len(pairs) // 2))
        return [self._batch(at, epoch) for at in np.array_split(np.array([i for _, i in pairs]), parts)]

    def _batch(self, at: NDArray[np.int64], epoch: int) -> PadBatch:
        own, index, copy = self.loader, self.table[0][at], self.table[1][at]
        images = seen_by(self.images, own.modalities, index, own.size)
        if own.augment is not None:
            keys = self.images.labels.keys[index] ^ np.where(copy > 0, mix64(copy), 0).astype(np.uint64)
            images = own.augment(images, keys, epoch_seed(own.seed, epoch))
        target = torch.from_numpy(own.images.labels.targets[index])
        return PadBatch(images, target, torch.from_numpy(index))


@dataclass(frozen=True)
class PadLoader:
    """The training stream of one recipe: `stream(start)` yields, for each step, its list of micro-batches.

    Presentations in shards are read in `shard_order`, others anywhere in the set.
    """

    images: PadImages
    modalities: tuple[str, ...]
    size: int
    batch: int
    seed: int
    augment: PadAugment | None = None
    balance: bool = True
    accumulate: int = 1
    workers: int = 0
    buffer: int | None = None

    def __len__(self) -> int:
        counts = np.bincount(self.images.labels.targets, minlength=2)
        return int(2 * counts.max()) if self.balance and counts.min() else len(self.images)

    def table(self, epoch: int) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
        """What one epoch shows: places, and for each how often it came before."""
        targets = self.images.labels.targets
        if self.balance:
            return balanced(targets, derive(self.seed, "balance", epoch))
        return np.arange(len(targets)), np.zeros(len(targets), np.uint64)

    def steps_per_epoch(self, world: int) -> int:
        """Optimiser steps in one pass."""
        return len(StepSampler(len(self), self.batch, 0, 0, world, 0).sizes)

    def _order(self, rank: int, world: int) -> Order | None:
        shards = self.images.shards
        if shards is None:
            return None
        buffer = self.buffer or BUFFER
        return lambda e: shard_order(shards[self.table(e)[0]], self.seed, e, rank, world, buffer)

    def stream(self, start: int, rank: int, world: int) -> Iterator[list[PadBatch]]:
        """Micro-batches of step ``start``, ``start + 1``, ... for this process."""
        order = self._order(rank, world)
        sampler = StepSampler(len(self), self.batch, self.seed, rank, world, start, order)
        loader: DataLoader[Any] = DataLoader(
            _Steps(self), batch_sampler=sampler, num_workers=self.workers, collate_fn=_same, pin_memory=False
        )
        return iter(loader)


def _same(batch: list[PadBatch]) -> list[PadBatch]:
    return batch


def pad_batches(
    images: PadImages, modalities: Sequence[str], size: int, batch: int = 256
) -> Iterator[tuple[Images, NDArray[np.int64]]]:
    """The whole set in order, prepared for testing, with the places. Memory O(batch)."""
    for first in range(0, len(images), batch):
        index = np.arange(first, min(first + batch, len(images)))
        yield seen_by(images, modalities, index, size), index


def present_only(images: Mapping[str, Tensor], subset: Sequence[str]) -> Images:
    """The pictures of these modalities."""
    return {m: images[m] for m in subset}
