"""DomainBed's domains made from one grey set: rotated and coloured MNIST, and rotated Fashion-MNIST.

Source: RotatedMNIST and ColoredMNIST of DomainBed (Gulrajani & Lopez-Paz, ICLR 2021); the coloured one is of
Arjovsky et al., Invariant Risk Minimization, 2019.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.core.errors import DataError
from mien.core.seeds import derive, keys_of
from mien.data.bundled import fashion_lt_splits
from mien.data.config import ClassificationData
from mien.data.domains import Domains
from mien.data.idx import idx_splits
from mien.data.labelled import ArrayImages

ANGLES = (0, 15, 30, 45, 60, 75)
"""Degrees, against the clock; each is a domain."""
FLIPS = {"+90%": 0.1, "+80%": 0.2, "-90%": 0.9}
"""Domain of ColoredMNIST -> how often the colour disagrees with the label."""
LABEL_NOISE = 0.25
"""Share of ColoredMNIST's labels that are flipped."""


def rotated_fashion() -> Domains:
    """The 3,000 bundled balanced Fashion-MNIST pictures, six domains of (500, 28, 28, 1), 0 to 75 degrees.

    Each picture is in one domain only; every domain has 50 of each class.
    """
    parts = fashion_lt_splits(ClassificationData())
    pairs = [("val", parts.val), ("test", parts.test)]
    images = np.concatenate([_pixels(s) for _, s in pairs])
    targets = np.concatenate([s.targets for _, s in pairs])
    keys = keys_of([f"{name}/{k}" for name, s in pairs for k in s.keys.tolist()])
    pool = ArrayImages(images, targets, parts.val.classes, keys)
    dealt = np.empty(len(pool), np.int64)
    for c in range(len(pool.classes)):
        rng = np.random.default_rng(derive(0, "rotated_fashion", c))
        places = rng.permutation(np.flatnonzero(targets == c))
        dealt[places] = np.arange(len(places)) % len(ANGLES)
    note = "real Fashion-MNIST pictures (bundled validation and test parts), rotated"
    return _rotated(pool, [np.flatnonzero(dealt == i) for i in range(len(ANGLES))], note)


def rotated_mnist(root: str | Path, *, seed: int = 0) -> Domains:
    """DomainBed's RotatedMNIST from the four IDX files: six domains, (N, 28, 28, 1), 0 to 75 degrees.

    Training and test pictures are pooled and shuffled; every sixth goes to one domain.

    Args:
        root: folder of the IDX files, plain or gzipped (MNIST, or any set of its form).
        seed: of the shuffle.

    Raises:
        DataError: a file is missing or damaged.
    """
    pool = _pooled(root)
    order = np.random.default_rng(derive(seed, "rotated_mnist")).permutation(len(pool))
    count = len(ANGLES)
    return _rotated(pool, [order[i::count] for i in range(count)], f"{len(pool)} pictures, shuffled, rotated")


def colored_mnist(root: str | Path, *, seed: int = 0) -> Domains:
    """DomainBed's ColoredMNIST from the four IDX files: domains +90%, +80%, -90%, (N, 28, 28, 3) each.

    The label is "digit below five", wrong for 25 %; the colour agrees with that label in 90 %, 80 % and 10 %.
    Class 0 ("5-9") is red and class 1 ("0-4") green where they agree; DomainBed's two channels are red and
    green here, and blue is zero.

    Args:
        root: folder of MNIST's IDX files, plain or gzipped.
        seed: of the shuffle, the label noise and the colours.

    Raises:
        DataError: a file is missing or damaged, or there are not ten classes.
    """
    pool = _pooled(root)
    if len(pool.classes) != 10:
        raise DataError(
            f"{root}: {len(pool.classes)} classes, ColoredMNIST is made of ten; give MNIST's folder"
        )
    rng = np.random.default_rng(derive(seed, "colored_mnist"))
    order = rng.permutation(len(pool))
    sets = []
    for i, flip in enumerate(FLIPS.values()):
        chosen = order[i :: len(FLIPS)]
        labels = (pool.targets[chosen] < 5) ^ (rng.random(len(chosen)) < LABEL_NOISE)
        colours = labels ^ (rng.random(len(chosen)) < flip)
        images = np.zeros((len(chosen), *pool.images.shape[1:3], 3), np.uint8)
        images[np.arange(len(chosen)), ..., colours.astype(np.int64)] = pool.images[chosen, ..., 0]
        sets.append(ArrayImages(images, labels.astype(np.int64), ("5-9", "0-4"), pool.keys[chosen]))
    return Domains(
        tuple(FLIPS), tuple(sets), note=f"{len(pool)} pictures, shuffled, coloured; 25 % label noise"
    )


def _pooled(root: str | Path) -> ArrayImages:
    """Training and test pictures of the IDX files in one set; keys are places, training first."""
    parts = idx_splits(ClassificationData(kind="idx", root=str(root), val_per_class=0))
    images = np.concatenate([_pixels(parts.train), _pixels(parts.test)])
    targets = np.concatenate([parts.train.targets, parts.test.targets])
    return ArrayImages(images, targets, parts.train.classes)


def _pixels(images: object) -> NDArray[np.uint8]:
    assert isinstance(images, ArrayImages)  # both readers return these
    return images.images


def _rotated(pool: ArrayImages, chosen: list[NDArray[np.int64]], note: str) -> Domains:
    sets = []
    for angle, places in zip(ANGLES, chosen, strict=True):
        part = pool.subset(places)
        turned = np.stack([_turned(image[..., 0], angle) for image in part.images])
        sets.append(ArrayImages(turned, part.targets, part.classes, part.keys))
    return Domains(tuple(str(a) for a in ANGLES), tuple(sets), note=note)


def _turned(image: NDArray[np.uint8], angle: int) -> NDArray[np.uint8]:
    """(H, W) rotated about its centre, bilinear, black outside: as torchvision does for DomainBed."""
    return np.asarray(Image.fromarray(image).rotate(angle, Image.Resampling.BILINEAR))
