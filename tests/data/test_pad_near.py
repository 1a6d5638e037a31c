from __future__ import annotations

import numpy as np
from PIL import Image

from mien.data.pad_near import average_hash, near_pairs


def scene(seed, size=64):
    """A smooth random picture."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return np.asarray(Image.fromarray(small).resize((size, size), Image.Resampling.BICUBIC))


def slow_hash(picture):
    grey = np.asarray(Image.fromarray(picture).convert("L"), float)
    side = grey.shape[0] // 16
    cells = [
        [grey[i * side : (i + 1) * side, j * side : (j + 1) * side].mean() for j in range(16)]
        for i in range(16)
    ]
    return np.round(cells)


def test_the_hash_is_what_is_brighter_than_the_mean():
    picture = scene(0)
    cells = slow_hash(picture)
    bits = np.unpackbits(average_hash(picture).view(np.uint8)).reshape(16, 16)
    clear = np.abs(cells - cells.mean()) > 1
    assert clear.sum() > 200
    assert np.array_equal(bits[clear] == 1, (cells > cells.mean())[clear])


def test_near_copies_are_near_and_others_are_not():
    pictures = [scene(k) for k in range(30)]
    noise = np.random.default_rng(0).normal(0, 3, (30, 64, 64, 3))
    copies = [np.clip(p * 0.9 + n, 0, 255).astype(np.uint8) for p, n in zip(pictures, noise, strict=True)]
    one, two = (np.array([average_hash(p) for p in ps]) for ps in (pictures, copies))
    assert set(near_pairs(one, two, 12)) == {(k, k) for k in range(30)}


def test_pairs_are_counted_bit_by_bit():
    rng = np.random.default_rng(1)
    one, two = (rng.integers(0, 2**63, (n, 4), np.uint64) for n in (5, 7))
    two[3] = one[2] ^ np.uint64(0b1)
    expected = [
        (i, j)
        for i in range(5)
        for j in range(7)
        if sum(bin(int(a) ^ int(b)).count("1") for a, b in zip(one[i], two[j], strict=True)) <= 12
    ]
    assert (2, 3) in near_pairs(one, two)
    assert near_pairs(one, two, 12) == expected


def test_a_flat_picture_has_no_hash():
    assert average_hash(np.full((20, 20, 3), 90, np.uint8)) is None
