"""Every picture once an epoch, shard after shard, mixed within a buffer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.data.shard_order import shard_order


def shards_of(sizes):
    return np.repeat(np.arange(len(sizes)), sizes)


def parts(shards, world, **options):
    return [
        shard_order(
            shards, options.get("seed", 3), options.get("epoch", 0), r, world, options.get("buffer", 4)
        )
        for r in range(world)
    ]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.integers(1, 4), st.integers(1, 30))
def test_every_place_once_by_one_process(sizes, world, buffer):
    shards = shards_of(sizes)
    found = np.concatenate(parts(shards, world, buffer=buffer))
    assert len(found) == len(shards) - len(shards) % world
    assert len(set(found.tolist())) == len(found)
    assert len({len(p) for p in parts(shards, world)}) == 1


def slow(shards, seed, epoch, rank, world, buffer):
    """The same by hand: shards in a drawn order on a ring, an arc of it, sorted by drawn ranks."""
    from mien.core.seeds import derive

    rng = np.random.default_rng(derive(seed, "shards", epoch))
    ids = sorted(set(shards.tolist()))
    turn = dict(zip(ids, rng.permutation(len(ids)).tolist(), strict=True))
    ring = [p for _, p in sorted((turn[s], p) for p, s in enumerate(shards.tolist()))]
    start, each = int(rng.integers(len(ring))), len(ring) // world
    arc = [ring[(start + rank * each + i) % len(ring)] for i in range(each)]
    draws = np.random.default_rng(derive(seed, "buffer", epoch, rank)).random(each)
    ranks = [i + (buffer - 1) * float(u) for i, u in enumerate(draws)]
    return [place for _, place in sorted(zip(ranks, arc, strict=True))]


@pytest.mark.parametrize(("rank", "world", "buffer"), [(0, 1, 1), (0, 1, 7), (1, 2, 5), (2, 3, 100)])
def test_equals_the_slow_form(rank, world, buffer):
    shards = shards_of([5, 7, 3, 6, 4])
    for epoch in range(3):
        found = shard_order(shards, 9, epoch, rank, world, buffer).tolist()
        assert found == slow(shards, 9, epoch, rank, world, buffer)


def test_reads_go_through_a_shard_before_the_next():
    shards = shards_of([100] * 12)
    own = shards[shard_order(shards, 0, 0, 1, 3, 1)]
    assert len(own) == 400
    assert (np.diff(own) != 0).sum() <= 4  # 4 shards, of them one in two pieces
    mixed = shard_order(shards, 0, 0, 1, 3, 20)
    plain = shard_order(shards, 0, 0, 1, 3, 1)
    at = {p: i for i, p in enumerate(plain.tolist())}
    moved = np.abs([at[p] - i for i, p in enumerate(mixed.tolist())])
    assert 0 < moved.max() < 20


def test_epochs_and_seeds_differ_and_nothing_else_does():
    shards = shards_of([10] * 6)
    a = shard_order(shards, 0, 0, 0, 2)
    assert np.array_equal(a, shard_order(shards, 0, 0, 0, 2))
    for other in ((0, 1), (1, 0)):
        assert not np.array_equal(a, shard_order(shards, *other, 0, 2))


def test_what_is_left_over_changes_from_epoch_to_epoch():
    shards, left = shards_of([4, 4, 3]), set()
    for epoch in range(40):
        seen = np.concatenate(parts(shards, 2, epoch=epoch))
        left |= set(range(11)) - set(seen.tolist())
    assert left == set(range(11))


def test_a_picture_is_as_likely_anywhere():
    """Over many epochs the mean position of every picture is the middle."""
    shards = shards_of([8] * 5)
    places = np.array([np.argsort(shard_order(shards, s, 0, 0, 1, 8)) for s in range(2000)])
    assert np.abs(places.mean(0) - 19.5).max() < 1.5
