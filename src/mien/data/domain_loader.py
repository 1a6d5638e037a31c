"""Steps of multi-domain batches: the same number of pictures from every source domain, endlessly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from mien.core.errors import DataError
from mien.core.seeds import derive
from mien.data.augment import Augment, stretch
from mien.data.labelled import LabelledImages
from mien.data.loader import ImageBatch


@dataclass(frozen=True)
class DomainBatch:
    """One minibatch for each source domain (DomainBed's ``minibatches``)."""

    parts: tuple[ImageBatch, ...]

    def __len__(self) -> int:
        return sum(len(p) for p in self.parts)

    def to(self, device: torch.device, *, channels_last: bool = False) -> DomainBatch:
        """The batch on a device."""
        return DomainBatch(tuple(p.to(device, channels_last=channels_last) for p in self.parts))

    @property
    def image(self) -> Tensor:
        """(B, C, H, W), domain after domain."""
        return torch.cat([p.image for p in self.parts])

    @property
    def target(self) -> Tensor:
        """(B,) int64."""
        return torch.cat([p.target for p in self.parts])

    @property
    def sizes(self) -> list[int]:
        """Pictures of each domain."""
        return [len(p) for p in self.parts]


Place = tuple[int, int, int]
"""(domain, pass over it, picture)."""


class DomainSampler(Sampler[list[Place]]):
    """For each step from ``start`` on, this process's places: ``each`` pictures of every domain.

    A domain's pictures are an endless row of permutations, cut into pieces of ``each``; small domains come
    round more often. Any step can be found in O(1) permutations.

    Args:
        counts: pictures of each domain.
        each: pictures of a domain in a step, over all processes.
        seed: run seed.
        rank: this process.
        world: number of processes.
        start: first step.
    """

    def __init__(
        self, counts: Sequence[int], each: int, seed: int, rank: int, world: int, start: int
    ) -> None:
        self.counts, self.each, self.seed = tuple(counts), each, seed
        self.rank, self.world, self.start = rank, world, start

    def __iter__(self) -> Iterator[list[Place]]:
        """Endless."""
        orders: dict[tuple[int, int], NDArray[np.int64]] = {}
        step = self.start
        while True:
            places: list[Place] = []
            for domain, count in enumerate(self.counts):
                first = step * self.each
                own = range(first + self.rank, first + self.each, self.world)
                rounds = {at // count for at in own}
                for key in [k for k in orders if k[0] == domain and k[1] < min(rounds)]:
                    del orders[key]
                for turn in rounds:
                    if (domain, turn) not in orders:
                        rng = np.random.default_rng(derive(self.seed, "order", domain, turn))
                        orders[(domain, turn)] = rng.permutation(count)
                places += [
                    (domain, at // count, int(orders[(domain, at // count)][at % count])) for at in own
                ]
            yield places
            step += 1


class _Augmented(Dataset[Any]):
    """Turns a step's places into its micro-batches."""

    def __init__(self, sets: Sequence[LabelledImages], augment: Augment, seed: int, accumulate: int) -> None:
        self.sets, self.augment, self.seed, self.accumulate = tuple(sets), augment, seed, accumulate

    def __getitems__(self, places: list[Place]) -> list[DomainBatch]:
        micro: list[list[ImageBatch]] = [[] for _ in range(self.accumulate)]
        for domain in range(len(self.sets)):
            own = [p for p in places if p[0] == domain]
            for i, part in enumerate(micro):
                part.append(self._batch(domain, own[i :: self.accumulate]))
        return [DomainBatch(tuple(part)) for part in micro]

    def _batch(self, domain: int, places: list[Place]) -> ImageBatch:
        images, rows = self.sets[domain], []
        index = np.array([p[2] for p in places], np.int64)
        turns = np.array([p[1] for p in places])
        pictures = images.pictures(index)
        for turn in np.unique(turns):  # a batch may span two passes; each has its own augmentation
            at = np.flatnonzero(turns == turn)
            seed = derive(self.seed, "augment", domain, int(turn))
            rows.append(self.augment([pictures[i] for i in at], images.keys[index[at]], seed, 1))
        order = np.argsort(turns, kind="stable")
        index = index[order]
        return ImageBatch(torch.cat(rows), torch.from_numpy(images.targets[index]), torch.from_numpy(index))


@dataclass(frozen=True)
class DomainLoader:
    """The training stream of one recipe: for each step its list of micro-batches.

    Args:
        sets: training pictures of each source domain.
        augment: training augmentation.
        batch: pictures in one step over all domains and processes.
        seed: run seed.
        accumulate: micro-batches in a step.
        workers: processes that read and augment.
    """

    sets: tuple[LabelledImages, ...]
    augment: Augment
    batch: int
    seed: int
    accumulate: int = 1
    workers: int = 0

    def steps_per_epoch(self, world: int) -> int:
        """Steps in which as many pictures are seen as there are.

        Raises:
            DataError: the batch cannot be shared out among domains, processes and micro-batches.
        """
        self._check_shares(world)
        return max(1, round(sum(len(s) for s in self.sets) / self.batch))

    def _check_shares(self, world: int) -> None:
        parts = len(self.sets) * world * self.accumulate
        if self.batch % parts:
            raise DataError(
                f"schedule.batch={self.batch} is not a multiple of {len(self.sets)} source domains"
                f" x {world} process(es) x {self.accumulate} micro-batch(es); use a multiple of {parts}"
            )

    def stream(self, start: int, rank: int, world: int) -> Iterator[list[DomainBatch]]:
        """Micro-batches of step ``start``, ``start + 1``, ... for this process.

        Raises:
            DataError: as `steps_per_epoch`.
        """
        self._check_shares(world)
        each = self.batch // len(self.sets)
        sampler = DomainSampler([len(s) for s in self.sets], each, self.seed, rank, world, start)
        data = _Augmented(self.sets, self.augment, self.seed, self.accumulate)
        loader: DataLoader[Any] = DataLoader(
            data, batch_sampler=sampler, num_workers=self.workers, collate_fn=_same
        )
        return iter(loader)


def _same(batch: list[DomainBatch]) -> list[DomainBatch]:
    return batch


def stretched_batches(
    images: LabelledImages, size: int, channels: int, batch: int = 256
) -> Iterator[tuple[Tensor, Tensor]]:
    """The whole set in order, prepared for testing (no crop): (B, C, H, W) in [0, 1], (B,). O(batch)."""
    for first in range(0, len(images), batch):
        index = np.arange(first, min(first + batch, len(images)))
        yield stretch(images.pictures(index), size, channels), torch.from_numpy(images.targets[index])
