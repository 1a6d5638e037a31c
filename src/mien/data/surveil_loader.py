"""Steps of far faces: each picture as it is, and as a bad camera of a drawn severity would have it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mien.core.seeds import derive, keys_of, mix64, uniform
from mien.data.loader import StepSampler, epoch_seed
from mien.data.pad_images import ATTACK, LIVE
from mien.data.pad_loader import balanced
from mien.data.surveil_augment import augmented
from mien.data.surveil_config import SurveilData
from mien.data.surveil_images import SurveilImages


@dataclass(frozen=True)
class SurveilBatch:
    """Pictures of one step."""

    image: Tensor
    """(V B, 3, S, S) float in [0, 1]: B pictures, then (V = 2) their degraded copies."""
    target: Tensor
    """(B,) int64: 0 live, 1 attack."""
    severity: Tensor
    """(B,) float, q of the degraded copies."""
    fold: Tensor
    """(B,) int64: the part of the training set, by track, that each belongs to (0 without folds)."""
    index: Tensor
    """(B,) int64, place in the data set."""

    def __len__(self) -> int:
        return len(self.target)

    def to(self, device: torch.device, *, channels_last: bool = False) -> SurveilBatch:
        """The batch on a device."""
        form = torch.channels_last if channels_last else torch.contiguous_format
        image = self.image.to(device, non_blocking=True, memory_format=form)
        rest = (t.to(device) for t in (self.target, self.severity, self.fold, self.index))
        return SurveilBatch(image, *rest)


def as_floats(pictures: NDArray[np.uint8]) -> Tensor:
    """(B, S, S, 3) uint8 -> (B, 3, S, S) in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 255


def as_bytes(images: Tensor) -> NDArray[np.uint8]:
    """(B, 3, S, S) in [0, 1] -> (B, S, S, 3) uint8."""
    return np.ascontiguousarray((images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy())


def targets_of(images: SurveilImages) -> NDArray[np.int64]:
    """(N,) class indices."""
    return np.where(images.live, LIVE, ATTACK).astype(np.int64)


def track_folds(tracks: NDArray[np.int64], folds: int) -> NDArray[np.int64]:
    """(N,) 0 .. folds - 1: all pictures of a track in one part, tracks spread evenly in order of a hash."""
    names, inverse = np.unique(tracks, return_inverse=True)
    order = np.argsort(mix64(names.astype(np.int64).view(np.uint64)), kind="stable")
    part = np.empty(len(names), np.int64)
    part[order] = np.arange(len(names)) % folds
    return part[inverse]


def degraded(
    images: Tensor, severity: NDArray[np.float64], keys: NDArray[np.uint64], seed: int, profile: str = "C3"
) -> Tensor:
    """Pictures as a surveillance camera delivers them (`mien.synth.surveil_batch`); .2 ms each at 48 pixels.

    Args:
        images: (B, 3, S, S) in [0, 1].
        severity: (B,) q in [0, 1].
        keys: (B,) stable names: same seed and key, same picture.
        seed: of run and epoch.
        profile: the camera.
    """
    from mien.synth import surveil_batch

    return as_floats(surveil_batch(as_bytes(images), severity, surveil_seeds(keys, seed), profile)[0])


def surveil_seeds(keys: NDArray[np.uint64], seed: int) -> NDArray[np.int64]:
    """(B,) what `degraded` gives the simulator."""
    mixed = mix64(keys ^ np.uint64(derive(seed, "surveil")))
    return (mixed >> np.uint64(1)).astype(np.int64)


class _Steps(Dataset[Any]):
    """Turns a step's (epoch, place) pairs into its micro-batches."""

    def __init__(self, loader: SurveilLoader) -> None:
        self.loader = loader
        self.epoch, self.table = -1, (np.empty(0, np.int64), np.empty(0, np.uint64))
        self.targets, self.keys = targets_of(loader.images), keys_of(loader.images.paths.tolist())
        folds = loader.data.folds
        self.folds = track_folds(loader.images.track, folds) if folds else np.zeros_like(self.targets)

    def __getitems__(self, pairs: list[tuple[int, int]]) -> list[SurveilBatch]:
        own, epoch = self.loader, pairs[0][0]
        if epoch != self.epoch:
            every = (np.arange(len(self.targets)), np.zeros(len(self.targets), np.uint64))
            self.table = (
                balanced(self.targets, derive(own.seed, "balance", epoch)) if own.data.balance else every
            )
            self.epoch = epoch
        parts = max(1, min(own.accumulate, len(pairs) // 2))
        return [self._batch(at, epoch) for at in np.array_split(np.array([i for _, i in pairs]), parts)]

    def _batch(self, at: NDArray[np.int64], epoch: int) -> SurveilBatch:
        own, index, copy = self.loader, self.table[0][at], self.table[1][at]
        seed = epoch_seed(own.seed, epoch)
        keys = self.keys[index] ^ np.where(copy > 0, mix64(copy), 0).astype(np.uint64)
        target = torch.from_numpy(self.targets[index])
        x, target = augmented(own.data.augment, as_floats(own.images.pictures[index]), target, keys, seed)
        low, high = own.data.severity
        q = low + (high - low) * uniform(derive(seed, "severity"), keys, 1)[:, 0].astype(np.float64)
        if own.data.degrade:
            x = torch.cat([x, degraded(x, q, keys, seed, own.data.profile)])
        fold, places = torch.from_numpy(self.folds[index]), torch.from_numpy(index)
        return SurveilBatch(x, target, torch.from_numpy(q).float(), fold, places)


@dataclass(frozen=True)
class SurveilLoader:
    """The training stream of one recipe: `stream(start)` yields, for each step, its list of micro-batches."""

    images: SurveilImages
    data: SurveilData
    batch: int
    seed: int
    accumulate: int = 1

    def __len__(self) -> int:
        counts = np.bincount(targets_of(self.images), minlength=2)
        return int(2 * counts.max()) if self.data.balance and counts.min() else len(self.images)

    def steps_per_epoch(self, world: int) -> int:
        """Optimiser steps in one pass."""
        return len(StepSampler(len(self), self.batch, 0, 0, world, 0).sizes)

    def stream(self, start: int, rank: int, world: int) -> Iterator[list[SurveilBatch]]:
        """Micro-batches of step ``start``, ``start + 1``, ... for this process."""
        sampler = StepSampler(len(self), self.batch, self.seed, rank, world, start)
        loader: DataLoader[Any] = DataLoader(
            _Steps(self), batch_sampler=sampler, num_workers=self.data.workers, collate_fn=_same
        )
        return iter(loader)


def _same(batch: list[SurveilBatch]) -> list[SurveilBatch]:
    return batch
