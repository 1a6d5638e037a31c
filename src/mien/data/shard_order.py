"""The order in which pictures of shards are read: shard after shard, and shuffled all the same.

A random order of a whole set reads each picture from another place, which a disk or a network takes ill. Here
each process reads a stretch of the shards, in an order of its own in each epoch, and mixes within a buffer.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mien.core.seeds import derive

BUFFER = 5000
"""Pictures that are mixed with each other."""


def shard_order(
    shards: NDArray[np.int64], seed: int, epoch: int, rank: int, world: int, buffer: int = BUFFER
) -> NDArray[np.int64]:
    """Places that one process reads in one epoch, in order: (N // world,) of 0 .. N - 1.

    The shards, in a random order, form a ring of N places; process r reads the r-th of ``world`` equal arcs
    from a random start. So every place is read once an epoch, by one process, but for N mod ``world`` that
    wait for the next, and a process opens about 1 / ``world`` of the shards. Within its arc places are sorted
    by i + buffer u_i with u_i uniform in [0, 1), i being their position: each moves by less than ``buffer``.
    A function of the arguments alone: workers change nothing, and an epoch can be entered anywhere.
    O(N log N).

    Args:
        shards: (N,) number of the shard of each place.
        seed: of the run.
        epoch: which pass.
        rank: this process.
        world: number of processes.
        buffer: places that are mixed; 1 or less mixes nothing.
    """
    rng = np.random.default_rng(derive(seed, "shards", epoch))
    ids, number = np.unique(shards, return_inverse=True)
    ring = np.argsort(rng.permutation(len(ids))[number], kind="stable")
    each = len(ring) // world
    ring = np.roll(ring, -int(rng.integers(len(ring))))[rank * each : (rank + 1) * each]
    own = np.random.default_rng(derive(seed, "buffer", epoch, rank))
    return ring[np.argsort(np.arange(each) + max(buffer - 1, 0) * own.random(each), kind="stable")]
