"""Batches of faces for graphics capsules: which pictures is a function of (seed, step) only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mien.data.capsule_files import CapsuleSet
from mien.data.loader import StepSampler
from mien.data.physical import rows_to_tensor


@dataclass(frozen=True)
class CapsuleBatch:
    """B pictures.

    Attributes:
        image: (B, 3, S, S) in [0, 1].
        index: (B,) places in the set.
    """

    image: Tensor
    index: Tensor

    def __len__(self) -> int:
        return len(self.image)

    def to(self, device: torch.device, *, channels_last: bool = False) -> CapsuleBatch:
        """The batch on another device."""
        form = torch.channels_last if channels_last else torch.contiguous_format
        return CapsuleBatch(self.image.to(device, memory_format=form), self.index.to(device))


def capsule_batch(faces: CapsuleSet, index: NDArray[np.int64]) -> CapsuleBatch:
    """Chosen pictures as tensors. O(B S^2)."""
    return CapsuleBatch(rows_to_tensor(faces.pictures[index]), torch.from_numpy(np.asarray(index, np.int64)))


def capsule_batches(faces: CapsuleSet, batch: int = 64) -> Iterator[CapsuleBatch]:
    """The whole set in order."""
    for first in range(0, len(faces), batch):
        yield capsule_batch(faces, np.arange(first, min(first + batch, len(faces))))


@dataclass(frozen=True)
class CapsuleLoader:
    """The training stream; each picture once an epoch, in an order of its own.

    Attributes:
        faces: the set.
        batch: pictures of a step, of all processes together.
        seed: of the order.
    """

    faces: CapsuleSet
    batch: int
    seed: int

    def steps_per_epoch(self, world: int) -> int:
        """Optimiser steps in one pass."""
        return len(StepSampler(len(self.faces), self.batch, 0, 0, world, 0).sizes)

    def stream(self, start: int, rank: int, world: int) -> Iterator[list[CapsuleBatch]]:
        """One micro-batch a step, from step ``start`` on, for this process.

        Raises:
            DataError: a batch that cannot be cut for the processes.
        """
        for pairs in StepSampler(len(self.faces), self.batch, self.seed, rank, world, start):
            yield [capsule_batch(self.faces, np.array([k for _, k in pairs], np.int64))]
