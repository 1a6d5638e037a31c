"""Long-tailed people: faces of made people, of whom some have many training pictures and some a handful.

Grey faces without background (`mien.data.rendered_faces.masked`), drawn once and kept.
"""

from __future__ import annotations

import numpy as np

from mien.data.config import ClassificationData
from mien.data.labelled import ArrayImages, Splits
from mien.data.longtail import configured
from mien.data.rendered_faces import aligned_faces, kept_at, masked
from mien.synth.made_sets import AlignedSet
from mien.synth.maker import mark_of

PEOPLE, LARGEST, TEST = 64, 40, 20
"""People, training pictures of the most frequent one, test pictures of each, where a config is silent."""


def people_splits(config: ClassificationData) -> Splits:
    """Training pictures as ``imbalance`` and ``n_max`` say, ``val_per_class`` and ``test_per_class`` of each.

    Person 0 has the most training pictures. The pictures of the three parts are other shots of the same
    people: another pose, expression, light. Drawing takes some 15 ms of a core a picture.

    Raises:
        ConfigError: a size outside 16 .. 224.
    """
    whole = _drawn(config)
    images, _ = aligned_faces(whole)
    shape = (whole.identities, whole.per_identity)
    number = np.arange(len(images)).reshape(shape)
    ends = np.cumsum([_largest(config), config.val_per_class])
    faces = ArrayImages(
        masked(images),
        np.repeat(np.arange(shape[0]), shape[1]),
        [f"person{n:04d}" for n in range(shape[0])],
        mark=mark_of(whole),
    )
    pool, val, test = (faces.subset(part.ravel()) for part in np.split(number, ends, axis=1))
    train = pool.subset(configured(pool.targets, shape[0], config, _largest(config)))
    counts = train.counts()
    note = f"rendered people, {counts.max()} to {counts.min()} training pictures of each"
    return Splits(train, val, test, real=False, note=note)


def unseen_people(config: ClassificationData, people: int, each: int) -> ArrayImages:
    """As many other people, who are no class of the set, with so many pictures of each."""
    first = config.people or PEOPLE
    images, _ = aligned_faces(AlignedSet(people, each, config.size, config.subset_seed, first))
    names = [f"person{first + n:04d}" for n in range(people)]
    return ArrayImages(masked(images), np.repeat(np.arange(people), each), names)


def people_at_hand(config: ClassificationData) -> bool:
    """Whether `people_splits` would read, and not draw."""
    return kept_at(_drawn(config)).is_file()


def _largest(config: ClassificationData) -> int:
    return LARGEST if config.n_max is None else config.n_max


def _drawn(config: ClassificationData) -> AlignedSet:
    """Everybody with as many pictures as the most frequent person needs."""
    test = TEST if config.test_per_class is None else config.test_per_class
    each = _largest(config) + config.val_per_class + test
    return AlignedSet(config.people or PEOPLE, each, config.size, config.subset_seed)
