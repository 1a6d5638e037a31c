"""Batches of talking heads: moments with their views, or two moments of one person."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mien.core.seeds import derive
from mien.data.loader import StepSampler
from mien.data.talking import TalkingHeads


@dataclass(frozen=True)
class TalkingBatch:
    """B samples of M moments, each seen by V cameras.

    Attributes:
        images: (B, M, V, 4, S, S) in [0, 1]: RGB on white, and the share that is no background.
        depth: (B, M, V, S, S) distance along the ray, inf = background.
        cameras: (B, M, V, 25).
        points: (B, M, 68, 3) landmarks.
        windows: (B, M, C, L) expression rows around each moment.
        person: (B,) which person of the set.
        moment: (B, M) which of the person's moments.
    """

    images: Tensor
    depth: Tensor
    cameras: Tensor
    points: Tensor
    windows: Tensor
    person: Tensor
    moment: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device, *, channels_last: bool = False) -> TalkingBatch:
        """The batch on another device."""
        return TalkingBatch(*(getattr(self, f.name).to(device) for f in fields(self)))


def talking_batch(
    heads: TalkingHeads,
    windows: NDArray[np.float32],
    person: NDArray[np.int64],
    moment: NDArray[np.int64],
    views: NDArray[np.int64] | None = None,
) -> TalkingBatch:
    """Chosen moments as tensors.

    Args:
        heads: the set.
        windows: of `TalkingHeads.windows`.
        person: (B,).
        moment: (B, M) of each person.
        views: (B, M, V) which cameras; default all.
    """
    p = person[:, None]
    if views is None:
        views = np.broadcast_to(np.arange(heads.images.shape[2]), (*moment.shape, heads.images.shape[2]))
    at = (p[..., None], moment[..., None], views)
    images = torch.from_numpy(heads.images[at]).movedim(-1, 3).float() / 255
    return TalkingBatch(
        images,
        torch.from_numpy(heads.depth[at]).float(),
        torch.from_numpy(heads.cameras[at]),
        torch.from_numpy(heads.points[p, moment]),
        torch.from_numpy(windows[p, moment]),
        torch.from_numpy(person),
        torch.from_numpy(moment),
    )


class HeadStore:
    """A whole set on one device, bytes as they are; batches are cut there.

    Args:
        heads: the set, pictures in memory or mapped from disk.
        windows: of `TalkingHeads.windows`.
    """

    def __init__(self, heads: TalkingHeads, windows: NDArray[np.float32]) -> None:
        self._arrays = (heads.images, heads.depth, heads.cameras, heads.points, windows)
        self._held: tuple[torch.device, list[Tensor]] | None = None

    def batch(
        self, person: NDArray[np.int64], moment: NDArray[np.int64], device: torch.device
    ) -> TalkingBatch:
        """The batch of `talking_batch` on ``device``; the first call moves the set there. O(batch)."""
        if self._held is None or self._held[0] != device:
            self._held = device, [torch.tensor(a).to(device) for a in self._arrays]
        who, when = (torch.from_numpy(x).to(device) for x in (person, moment))
        images, depth, cameras, points, windows = (x[who[:, None], when] for x in self._held[1])
        return TalkingBatch(
            images.movedim(-1, 3).float() / 255, depth.float(), cameras, points, windows, who, when
        )


@dataclass(frozen=True, eq=False)
class PickedBatch:
    """A `TalkingBatch` to come: which moments of a `HeadStore`."""

    store: HeadStore
    person: NDArray[np.int64]
    moment: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.person)

    def to(self, device: torch.device, *, channels_last: bool = False) -> TalkingBatch:
        """The batch, cut on ``device``."""
        return self.store.batch(self.person, self.moment, device)


RESIDENT = 12 << 30
"""Bytes of pictures up to which a set is moved to a GPU whole."""


def is_resident(heads: TalkingHeads) -> bool:
    """Whether a GPU is there that such a set is kept on: made pictures, not too many."""
    if not torch.cuda.is_available() or not isinstance(heads.images, np.ndarray):
        return False
    return heads.images.nbytes + heads.depth.nbytes <= RESIDENT


class _Steps(Dataset[Any]):
    """Turns a step's (epoch, place) pairs into its batch."""

    def __init__(self, loader: TalkingLoader) -> None:
        self.loader = loader
        self.windows = loader.heads.windows(loader.radius)
        self.store = HeadStore(loader.heads, self.windows) if loader.resident else None

    def __getitems__(self, pairs: list[tuple[int, int]]) -> list[TalkingBatch | PickedBatch]:
        own = self.loader
        person, moment = own.chosen(pairs)
        if self.store is not None:
            return [PickedBatch(self.store, person, moment)]
        return [talking_batch(own.heads, self.windows, person, moment)]


@dataclass(frozen=True)
class TalkingLoader:
    """The training stream.

    ``pairs``: a sample is a person with two moments, else a moment with all its views. Of a pair the moments
    are drawn without repeat, in proportion to sum |expression| + 0.001: expressive ones come first.

    ``resident``: batches are `PickedBatch`es, cut on the training device from a set that is held there.
    """

    heads: TalkingHeads
    batch: int
    seed: int
    radius: int
    pairs: bool = False
    workers: int = 0
    resident: bool = False

    def __len__(self) -> int:
        people, moments = map(int, self.heads.moments.shape)
        return people if self.pairs else people * moments

    def chosen(self, pairs: list[tuple[int, int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """People (B,) and moments (B, M) of a step."""
        place = np.array([k for _, k in pairs], np.int64)
        count = self.heads.moments.shape[1]
        if not self.pairs:
            return place // count, (place % count)[:, None]
        rows = []
        for epoch, who in pairs:
            rng = np.random.default_rng(derive(self.seed, "moments", epoch, int(who)))
            level = self.heads.strength(int(who)) + 1e-3
            rows.append(rng.choice(count, 2, replace=False, p=level / level.sum()))
        return place, np.array(rows, np.int64)

    def steps_per_epoch(self, world: int) -> int:
        """Optimiser steps in one pass."""
        return len(StepSampler(len(self), self.batch, 0, 0, world, 0).sizes)

    def stream(self, start: int, rank: int, world: int) -> Iterator[list[TalkingBatch | PickedBatch]]:
        """Batches of step ``start``, ``start + 1``, ... for this process."""
        sampler = StepSampler(len(self), self.batch, self.seed, rank, world, start)
        loader: DataLoader[Any] = DataLoader(
            _Steps(self),
            batch_sampler=sampler,
            num_workers=0 if self.resident else self.workers,
            collate_fn=_same,
        )
        return iter(loader)


def _same(batch: list[TalkingBatch]) -> list[TalkingBatch]:
    return batch
