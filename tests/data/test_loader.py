from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.core.errors import DataError
from mien.data.augment import build_augment, prepare
from mien.data.bundled import debug_splits
from mien.data.config import ClassificationData
from mien.data.loader import ImageBatch, StepLoader, StepSampler, epoch_batches, eval_batches

IMAGES = debug_splits(ClassificationData(kind="debug", size=16)).train  # 68 pictures


def loader(batch=16, seed=0, kind="affine", **options):
    return StepLoader(IMAGES, build_augment(kind, 16, 1), batch, seed, **options)


def steps(source, count, start=0, rank=0, world=1):
    return list(islice(source.stream(start, rank, world), count))


def same(first, second):
    return len(first) == len(second) and all(
        torch.equal(a.image, b.image) and torch.equal(a.target, b.target) and torch.equal(a.index, b.index)
        for a, b in zip(first, second, strict=True)
    )


def indices(step):
    return [int(i) for micro in step for i in micro.index]


# ---------------------------------------------------------------- sizes


@pytest.mark.parametrize(
    ("count", "batch", "world", "sizes"),
    [
        (68, 16, 1, [16] * 4 + [4]),
        (64, 16, 1, [16] * 4),
        (65, 16, 1, [16] * 4),  # a single image: dropped, batch normalisation needs two
        (66, 16, 1, [16] * 4 + [2]),
        (67, 16, 2, [16] * 4),  # two for two processes: one each, dropped
        (68, 16, 2, [16] * 4 + [4]),
        (69, 16, 2, [16] * 4 + [4]),
        (71, 16, 4, [16] * 4),
        (72, 16, 4, [16] * 4 + [8]),
        (5, 16, 1, [5]),
        (1, 16, 1, []),
        (0, 16, 1, []),
    ],
)
def test_last_batch(count, batch, world, sizes):
    assert epoch_batches(count, batch, world) == sizes


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 300), st.integers(1, 16), st.integers(1, 4))
def test_batches_lose_at_most_what_the_rule_says(count, per_process, world):
    batch = per_process * world
    sizes = epoch_batches(count, batch, world)
    lost = count - sum(sizes)
    assert 0 <= lost < max(2 * world, 1)
    assert all(s % world == 0 and s <= batch for s in sizes)
    assert len(set(sizes[:-1])) <= 1


@pytest.mark.parametrize(("batch", "world"), [(15, 2), (16, 3)])
def test_batch_that_processes_cannot_share(batch, world):
    with pytest.raises(DataError, match="multiple of the processes"):
        loader(batch).stream(0, 0, world)


def test_set_that_is_too_small():
    with pytest.raises(DataError, match="1 training images cannot be cut"):
        StepSampler(1, 16, 0, 0, 1, 0)
    assert loader().steps_per_epoch(1) == 5


# ---------------------------------------------------------------- order


def test_each_epoch_sees_each_image_once_in_another_order():
    epochs = [[i for step in steps(loader(), 5, start) for i in indices(step)] for start in (0, 5, 10)]
    for epoch in epochs:
        assert sorted(epoch) == list(range(68))
    assert epochs[0] != epochs[1] != epochs[2]


def test_order_is_a_function_of_the_seed():
    first, again, other = (steps(loader(seed=s), 3) for s in (1, 1, 2))
    assert all(same(a, b) for a, b in zip(first, again, strict=True))
    assert not any(same(a, b) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("start", [1, 4, 5, 7, 12])
def test_a_stream_from_a_later_step_is_the_same_stream(start):
    whole = steps(loader(copies=2), 15)
    later = steps(loader(copies=2), 15 - start, start)
    assert all(same(a, b) for a, b in zip(later, whole[start:], strict=True))


@pytest.mark.parametrize("world", [2, 4])
def test_processes_share_the_batch_of_one(world):
    """The union over processes is the one-process batch, with the same augmented pictures."""
    count = {2: 8, 4: 4}[
        world
    ]  # four processes drop the last four images, so their second epoch starts earlier
    parts = [steps(loader(), count, rank=r, world=world) for r in range(world)]
    for s, step in enumerate(steps(loader(), count)):
        (one,) = step
        shares = [part[s][0] for part in parts]
        rows = [i for share in shares for i in share.index.tolist()]
        assert len({len(share) for share in shares}) == 1
        assert sorted(rows) == sorted(one.index.tolist())
        place = {int(i): row for row, i in enumerate(one.index)}
        for share in shares:
            for row, i in enumerate(share.index.tolist()):
                assert torch.equal(share.image[row], one.image[place[i]])
                assert share.target[row] == one.target[place[i]]


@settings(max_examples=40, deadline=None)
@given(st.integers(8, 100), st.integers(1, 8), st.integers(1, 3), st.integers(0, 30), st.integers(0, 99))
def test_sampler_is_a_partition_and_may_start_anywhere(count, per_process, world, start, seed):
    batch = per_process * world

    def pairs(rank, processes, first):
        return list(islice(StepSampler(count, batch, seed, rank, processes, first), 4))

    shares = [pairs(r, world, start) for r in range(world)]
    for step in zip(*shares, strict=True):
        rows = [pair for share in step for pair in share]
        assert len(set(rows)) == len(rows)
        assert len({len(share) for share in step}) == 1
        assert len({epoch for epoch, _ in rows}) == 1
    from_zero = list(islice(StepSampler(count, batch, seed, 0, world, 0), start + 4))
    assert from_zero[start:] == shares[0]


def test_workers_change_nothing():
    here = steps(loader(copies=2), 7)
    there = steps(loader(copies=2, workers=2), 7)
    assert all(same(a, b) for a, b in zip(here, there, strict=True))


def test_workers_change_nothing_of_library_transforms():
    here = steps(loader(kind="cifar"), 2)
    there = steps(loader(kind="cifar", workers=2), 2)
    assert all(same(a, b) for a, b in zip(here, there, strict=True))


# ---------------------------------------------------------------- what a step holds


@pytest.mark.parametrize("copies", [1, 2, 4])
def test_copies_are_copy_major(copies):
    (batch,) = steps(loader(copies=copies), 1)[0]
    assert len(batch) == 16 * copies
    assert batch.image.shape == (16 * copies, 1, 16, 16)
    index, target = batch.index.view(copies, 16), batch.target.view(copies, 16)
    assert (index == index[0]).all()
    assert (target == target[0]).all()
    assert len(set(index[0].tolist())) == 16
    assert torch.equal(batch.target, torch.from_numpy(IMAGES.targets)[batch.index])
    assert batch.target.dtype == batch.index.dtype == torch.int64
    for m in range(1, copies):
        assert not torch.equal(batch.image.view(copies, 16, 1, 16, 16)[m], batch.image[:16])


def test_rows_are_the_pictures_of_their_index():
    (batch,) = steps(loader(kind="none", copies=2), 1)[0]
    assert torch.equal(batch.image, prepare(IMAGES.pictures(batch.index.numpy()), 16, 1))


@pytest.mark.parametrize("accumulate", [2, 3, 4, 8])
def test_micro_batches_are_the_step_in_parts(accumulate):
    whole = steps(loader(copies=2), 5)
    split = steps(loader(copies=2, accumulate=accumulate), 5)
    for (one,), parts in zip(whole, split, strict=True):
        images = len(one) // 2
        assert len(parts) == min(accumulate, images // 2)
        assert all(len(p) >= 4 for p in parts)
        first = torch.cat([p.index[: len(p) // 2] for p in parts])
        assert torch.equal(first, one.index[:images])
        for m in range(2):
            pictures = torch.cat([p.image[m * len(p) // 2 : (m + 1) * len(p) // 2] for p in parts])
            assert torch.equal(pictures, one.image[m * images : (m + 1) * images])


def test_an_image_is_augmented_alike_wherever_it_lies():
    """Two seeds of order would be two seeds of augmentation, so compare batch sizes: other neighbours."""
    small, large = (
        {
            int(i): row
            for step in steps(loader(batch=b), n)
            for m in step
            for i, row in zip(m.index, m.image, strict=True)
        }
        for b, n in ((4, 17), (34, 2))
    )
    assert set(small) == set(large) == set(range(68))
    assert all(torch.equal(small[i], large[i]) for i in small)


def test_epochs_augment_anew():
    first, second = (
        {
            int(i): row
            for step in steps(loader(), 5, start)
            for m in step
            for i, row in zip(m.index, m.image, strict=True)
        }
        for start in (0, 5)
    )
    assert not any(torch.equal(first[i], second[i]) for i in first)


def test_augmentation_follows_the_key_not_the_place():
    """A set with its pictures in another order gives each picture the same augmentation."""
    turned = IMAGES.subset(np.arange(68)[::-1].copy())
    augment = build_augment("affine", 16, 1)
    pictures = IMAGES.pictures(range(68))
    a = augment(pictures, IMAGES.keys, 3, 1)
    b = augment(turned.pictures(range(68)), turned.keys, 3, 1)
    assert torch.equal(a, b.flip(0))


def test_batch_moves_and_keeps_its_layout():
    batch = steps(loader(), 1)[0][0]
    moved = batch.to(torch.device("cpu"), channels_last=True)
    assert isinstance(moved, ImageBatch)
    assert torch.equal(moved.image, batch.image)
    assert batch.to(torch.device("meta")).target.device.type == "meta"


# ---------------------------------------------------------------- test-time


@pytest.mark.parametrize("batch", [1, 7, 68, 256])
def test_eval_batches_are_the_whole_set_in_order(batch):
    found = list(eval_batches(IMAGES, 16, 1, batch=batch))
    assert torch.equal(torch.cat([b.index for b in found]), torch.arange(68))
    assert torch.equal(torch.cat([b.target for b in found]), torch.from_numpy(IMAGES.targets))
    assert torch.equal(torch.cat([b.image for b in found]), prepare(IMAGES.pictures(range(68)), 16, 1))
    assert max(len(b) for b in found) <= batch


def test_eval_batches_of_nothing():
    assert list(eval_batches(IMAGES.subset(np.array([], dtype=int)), 16, 1)) == []
