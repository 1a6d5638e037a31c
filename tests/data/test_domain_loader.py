from __future__ import annotations

from collections import Counter
from itertools import islice

import numpy as np
import pytest
import torch

from mien.core.errors import DataError
from mien.data.augment import build_augment
from mien.data.domain_loader import DomainLoader, DomainSampler
from mien.data.labelled import ArrayImages


def images(count, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    return ArrayImages(pixels, np.arange(count) % 3, ["a", "b", "c"])


SETS = (images(10, 1), images(7, 2))


def loader(**options):
    return DomainLoader(SETS, build_augment("affine", 8, 3), **{"batch": 8, "seed": 5, **options})


def take(stream, count):
    return list(islice(stream, count))


def same(a, b):
    return all(
        torch.equal(p.image, q.image) and torch.equal(p.index, q.index)
        for x, y in zip(a, b, strict=True)
        for p, q in zip(x.parts, y.parts, strict=True)
    )


def test_every_domain_gives_as_many_and_every_picture_comes_once_a_pass():
    steps = [batch for (batch,) in take(loader().stream(0, 0, 1), 35)]
    assert {tuple(b.sizes) for b in steps} == {(4, 4)}
    for domain, images_of in enumerate(SETS):
        seen = torch.cat([b.parts[domain].index for b in steps]).tolist()
        assert set(Counter(seen).values()) == {140 // len(images_of)}
    assert len(steps[0]) == 8
    assert steps[0].image.shape == (8, 3, 8, 8)


@pytest.mark.parametrize("start", [1, 6, 23])
def test_any_step_can_be_reached_at_once(start):
    whole = take(loader().stream(0, 0, 1), start + 3)[start:]
    for a, b in zip(whole, take(loader().stream(start, 0, 1), 3), strict=True):
        assert same(a, b)


def test_two_processes_see_together_what_one_sees():
    for (whole,), (first,), (second,) in zip(
        *(take(loader().stream(0, r, w), 6) for r, w in ((0, 1), (0, 2), (1, 2))), strict=True
    ):
        for domain in range(2):
            parts = (first.parts[domain], second.parts[domain])
            # a step may span two passes, so a picture may come twice, augmented differently
            pictures = [(int(i), x) for p in parts for i, x in zip(p.index, p.image, strict=True)]
            assert len(pictures) == len(whole.parts[domain].index)
            for i, x in zip(whole.parts[domain].index, whole.parts[domain].image, strict=True):
                assert any(int(i) == j and torch.equal(x, y) for j, y in pictures)


def test_micro_batches_hold_the_pictures_of_the_step():
    for (whole,), micro in zip(
        take(loader().stream(0, 0, 1), 4), take(loader(accumulate=2).stream(0, 0, 1), 4), strict=True
    ):
        assert [m.sizes for m in micro] == [[2, 2], [2, 2]]
        found = torch.cat([m.parts[0].index for m in micro]).sort().values
        assert torch.equal(found, whole.parts[0].index.sort().values)


def test_steps_of_a_pass_and_batches_that_do_not_fit():
    assert loader().steps_per_epoch(1) == 2
    with pytest.raises(DataError, match=r"batch=8 is not a multiple of 2 source domains x 3 process"):
        loader().steps_per_epoch(3)


def test_order_depends_on_the_seed():
    first, other = (next(iter(DomainSampler([10, 7], 4, seed, 0, 1, 0))) for seed in (0, 1))
    assert first != other
