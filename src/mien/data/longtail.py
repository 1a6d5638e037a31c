"""Long-tailed subsets of balanced sets, and validation images held out of a training set."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mien.core.errors import ConfigError, DataError
from mien.core.seeds import derive
from mien.data.config import ClassificationData
from mien.data.labelled import LabelledImages

ImbalanceKind = Literal["exp", "step"]


def longtail_counts(
    num_classes: int, n_max: int, imbalance_factor: float, kind: ImbalanceKind = "exp"
) -> NDArray[np.int64]:
    """Training images of each class, ``(C,)``: ``n_c = int(n_max * (1/IF)**(c/(C-1)))``, class 0 the largest.

    The float expression is truncated as it stands, as in the field's own code, so that totals agree with
    published ones. A count can be 0 where ``n_max`` is below the factor.

    Args:
        num_classes: C >= 1.
        n_max: images of the largest class.
        imbalance_factor: IF = n_max / n_min, at least 1.
        kind: "exp" as above; "step": n_max for the first C//2 classes, int(n_max/IF) for the rest.

    >>> longtail_counts(10, 500, 50).tolist()
    [500, 323, 209, 135, 87, 56, 36, 23, 15, 10]
    """
    if num_classes < 1 or n_max < 1:
        raise ConfigError(f"num_classes={num_classes} and n_max={n_max} must both be at least 1")
    if not 1.0 <= imbalance_factor < float("inf"):
        raise ConfigError(
            f"imbalance factor {imbalance_factor} (n_max / n_min) must be finite and at least 1"
        )
    if kind == "exp":
        span = max(num_classes - 1, 1)
        counts = [int(n_max * (1 / imbalance_factor) ** (c / span)) for c in range(num_classes)]
    elif kind == "step":
        head = num_classes // 2
        counts = [n_max] * head + [int(n_max / imbalance_factor)] * (num_classes - head)
    else:
        raise ConfigError(f"imbalance kind {kind!r} is unknown; known: exp, step")
    return np.array(counts, dtype=np.int64)


def make_longtail(
    targets: NDArray[Any],
    num_classes: int,
    imbalance_factor: float,
    kind: ImbalanceKind = "exp",
    n_max: int | None = None,
    seed: int = 0,
) -> NDArray[np.int64]:
    """Places of a seeded random long-tailed subset, sorted ascending.

    Which images of a class are kept depends on the seed, the class and that class's own images only; a
    smaller subset of a class is contained in a larger one of the same seed. O(N log N).

    Args:
        targets: (N,) class indices.
        num_classes: C.
        imbalance_factor: IF = n_max / n_min.
        kind: "exp" or "step", see `longtail_counts`.
        n_max: images of the largest class; None = as many as the smallest class has.
        seed: which images are kept.

    Raises:
        DataError: a class has fewer images than its n_c.
    """
    places = _places(targets, num_classes)
    has = np.array([len(p) for p in places])
    if n_max is None:
        n_max = int(has.min())
        if n_max == 0:
            raise DataError(
                f"class {int(has.argmin())} has no images, so the smallest class gives no n_max; set n_max"
                " or give the class images"
            )
    needs = longtail_counts(num_classes, n_max, imbalance_factor, kind)
    if (small := np.flatnonzero(has < needs)).size:
        c = int(small[0])
        raise DataError(
            f"class {c} has {has[c]} images but needs {needs[c]} (n_max={n_max}, IF={imbalance_factor:g});"
            f" lower n_max ({small.size} of {num_classes} classes too small)"
        )
    return take(targets, needs, seed, "longtail")


def take(targets: NDArray[Any], counts: NDArray[Any], seed: int, name: str) -> NDArray[np.int64]:
    """Places of ``counts[c]`` random images of each class c (all, if it has fewer), sorted.

    Args:
        targets: (N,) class indices.
        counts: (C,) images wanted.
        seed: which images.
        name: of the stream of randomness; each class has its own below it.
    """
    taken = []
    for c, places in enumerate(_places(targets, len(counts))):
        order = np.random.default_rng(derive(seed, name, c)).permutation(places)
        taken.append(order[: int(counts[c])])
    return np.sort(np.concatenate(taken))


def hold_out(
    targets: NDArray[Any], per_class: int, num_classes: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places that stay in training and places held out, each sorted; a class always keeps a training image.

    Args:
        targets: (N,) class indices.
        per_class: images to hold out of each class; a class with n images gives at most n - 1.
        num_classes: C.
        seed: which images are held out.
    """
    if per_class < 0:
        raise ConfigError(f"images held out per class must be 0 or more, got {per_class}")
    has = np.array([len(p) for p in _places(targets, num_classes)])
    held = take(targets, np.minimum(per_class, np.maximum(has - 1, 0)), seed, "hold_out")
    return np.setdiff1d(np.arange(len(targets)), held), held


def configured(
    targets: NDArray[Any], num_classes: int, config: ClassificationData, n_max: int | None = None
) -> NDArray[np.int64]:
    """Places that a config's long-tailed subset keeps: all of them where ``imbalance`` is unset.

    Args:
        targets: (N,) class indices.
        num_classes: C.
        config: imbalance, imbalance_kind, subset_seed, and n_max if set.
        n_max: used where the config sets none.
    """
    if config.imbalance is None:
        return np.arange(len(targets))
    largest = config.n_max if config.n_max is not None else n_max
    return make_longtail(
        targets, num_classes, config.imbalance, config.imbalance_kind, largest, config.subset_seed
    )


def split_off(images: LabelledImages, per_class: int, seed: int) -> tuple[LabelledImages, LabelledImages]:
    """`hold_out` on a set: what stays in training, and what is held out."""
    train, held = hold_out(images.targets, per_class, len(images.classes), seed)
    return images.subset(train), images.subset(held)


def _places(targets: NDArray[Any], num_classes: int) -> list[NDArray[np.int64]]:
    targets = np.asarray(targets)
    if num_classes < 1 or targets.ndim != 1 or targets.dtype.kind not in "iu":
        raise DataError(
            f"expected integer class indices (N,) and at least one class,"
            f" got {targets.shape} {targets.dtype} and {num_classes} classes"
        )
    if targets.size and (targets.min() < 0 or targets.max() >= num_classes):
        raise DataError(
            f"labels run from {targets.min()} to {targets.max()}, but the classes are 0..{num_classes - 1}"
        )
    order = np.argsort(targets, kind="stable").astype(np.int64)
    ends = np.cumsum(np.bincount(targets.astype(np.int64), minlength=num_classes))
    return np.split(order, ends[:-1])
