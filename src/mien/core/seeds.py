"""Randomness by name: every stream is a pure function of (seed, names), so no stream can shift another.

Two forms: `derive` hashes names into one 63-bit seed for a library's generator; `uniform` draws numbers for
many samples at once from a counter-based generator (SplitMix64, Steele et al., OOPSLA 2014), so that an
image's augmentation depends on (seed, epoch, sample key, copy) and on nothing else.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX2 = np.uint64(0x94D049BB133111EB)


def derive(seed: int, *names: object) -> int:
    """A 63-bit seed from a run seed and any printable names; independent of process and platform.

    >>> derive(0, "loader") == derive(0, "loader"), derive(0, "loader") == derive(0, "dropout")
    (True, False)
    """
    text = "\x1f".join([str(int(seed)), *(f"{type(n).__name__}:{n}" for n in names)])
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()[:8], "little") >> 1


def keys_of(names: list[str]) -> NDArray[np.uint64]:
    """A stable 64-bit key for each sample name: ``(N,)`` uint64. O(total length)."""
    digests = (hashlib.blake2b(n.encode("utf-8", "surrogateescape"), digest_size=8).digest() for n in names)
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


def mix64(x: NDArray[Any]) -> NDArray[np.uint64]:
    """The SplitMix64 finaliser: a bijection of 64-bit integers whose output bits look independent."""
    with np.errstate(over="ignore"):
        z = x.astype(np.uint64) + _GOLDEN
        z = (z ^ (z >> np.uint64(30))) * _MIX1
        z = (z ^ (z >> np.uint64(27))) * _MIX2
        return z ^ (z >> np.uint64(31))


def uniform(seed: int, keys: NDArray[Any], count: int) -> NDArray[np.float32]:
    """Uniform numbers in [0, 1), ``count`` for each key, as ``(len(keys), count)`` float32.

    Row i depends only on (seed, keys[i]): batch order, batch size and worker change nothing. O(len(keys)
    count).
    """
    base = mix64(np.asarray(keys, dtype=np.uint64) ^ np.uint64(seed & 0xFFFFFFFFFFFFFFFF))
    slots = mix64(np.arange(1, count + 1, dtype=np.uint64))
    bits = mix64(base[:, None] ^ slots[None, :])
    return (bits >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)
