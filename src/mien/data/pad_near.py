"""Near-duplicates of pictures by average hashes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_SIDE = 16  # of an average hash: 256 bits
_NEAR = 6  # bits that near-duplicates differ in, at most
_FLAT = 4.0  # grey levels: a picture with less contrast has no hash


def average_hash(picture: NDArray[np.uint8]) -> NDArray[np.uint64] | None:
    """256 bits of a picture: where its grey, reduced to 16 x 16, is above its mean. O(pixels).

    Args:
        picture: (H, W, 3).

    Returns:
        (4,) uint64, or None for a picture without contrast.
    """
    from PIL import Image

    small = Image.fromarray(picture).convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX)
    grey = np.asarray(small, np.float64)
    if grey.std() < _FLAT:
        return None
    return np.packbits(grey > grey.mean()).view(np.uint64)


def near_pairs(
    first: NDArray[np.uint64], second: NDArray[np.uint64], near: int = _NEAR
) -> list[tuple[int, int]]:
    """Places of the hashes that differ in at most ``near`` bits. O(N M) time, O(M) memory.

    Args:
        first: (N, 4).
        second: (M, 4).
        near: bits.
    """
    found = []
    for i, code in enumerate(first):
        bits = np.bitwise_count(second ^ code).sum(1)
        found += [(i, int(j)) for j in np.flatnonzero(bits <= near)]
    return found
