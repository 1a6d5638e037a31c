"""Made once, used by several tests."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from mien.synth.face import detail_for
from mien.synth.looks import sample_shot
from mien.synth.portraits import make_face, photograph, portrait


@lru_cache(None)
def head(identity, nuisance=0, size=64, frontal=False):
    """`portrait`, not made twice."""
    return portrait(identity, nuisance, size, frontal)


@lru_cache(None)
def person(identity, size=64):
    return make_face(identity, detail_for(size))


def photo(identity, seed, size=64, **more):
    return photograph(person(identity, size), sample_shot(seed, **more), size)


def same_picture(a, b):
    return all(np.array_equal(getattr(a, k), getattr(b, k)) for k in vars(a))
