"""Glyphs-LT: a hundred letters and digits in many fonts, of which some have many pictures and some a handful.

Ten classes are few for what looks at each picture's hardest classes; a hundred, of which many resemble each
other (o and 0, c and e), cost no more to train on.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.core.seeds import derive, keys_of
from mien.data.config import ClassificationData
from mien.data.labelled import ArrayImages, Splits
from mien.data.lettering import FONTS, drawn
from mien.data.longtail import longtail_counts

LARGEST, TEST = 100, 50
"""Training pictures of the most frequent class, test pictures of each, where a config is silent."""
_SORTED = (
    "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    "0123456789"
    "abdefghijklmnqrty"  # not those that only differ from a capital by their size
    "ΓΔΘΛΞΠΣΦΨΩ"
    "αβγδεζηθλμξπρστφχψω"
    "БДЖИЙЛЦЧШЩЪЫЭЮЯ"
    "&@?"
)
CHARACTERS = tuple(np.random.default_rng(derive(0, "glyphs", "order")).permutation(list(_SORTED)).tolist())
"""The classes, the most frequent first: no alphabet is all head or all tail."""
_FONTS = tuple(name for name in FONTS if not name.startswith("cm"))
_VERSION = 1
"""Of the drawing: another one, other pictures."""
_NOISE = 5.5
"""Standard deviation of a pixel, of 255."""


def glyphs_splits(config: ClassificationData) -> Splits:
    """Training pictures as ``imbalance`` and ``n_max`` say, ``val_per_class`` and ``test_per_class`` of each.

    ``subset_seed`` draws other pictures. O(pictures), some 0.7 ms of a core each.

    Raises:
        DataError: a font of matplotlib's is missing.
    """
    many = len(CHARACTERS)
    largest = LARGEST if config.n_max is None else config.n_max
    counts = longtail_counts(many, largest, config.imbalance or 1.0, config.imbalance_kind)
    test = TEST if config.test_per_class is None else config.test_per_class
    wanted = {"train": counts, "val": np.full(many, config.val_per_class), "test": np.full(many, test)}
    train, val, test_images = (_part(name, n, config) for name, n in wanted.items())
    note = f"rendered characters, {counts.max()} to {counts.min()} training pictures of each"
    return Splits(train, val, test_images, real=False, note=note)


def _part(name: str, counts: NDArray[np.int64], config: ClassificationData) -> ArrayImages:
    """So many pictures of each class; what is drawn hangs on the part, the class and the number alone."""
    targets = np.repeat(np.arange(len(counts)), counts)
    words, images = [], np.empty((len(targets), config.size, config.size), np.uint8)
    for place, (c, k) in enumerate((c, k) for c, n in enumerate(counts) for k in range(n)):
        rng = np.random.default_rng(derive(config.subset_seed, "glyphs", name, c, k))
        images[place] = _picture(CHARACTERS[c], config.size, rng)
        words.append(f"glyphs/{config.subset_seed}/{name}/{c}/{k}")
    pixels = np.repeat(images[..., None], config.channels, axis=3)
    mark = f"glyphs {_VERSION} {config.size} {config.channels}"
    return ArrayImages(pixels, targets, CHARACTERS, keys_of(words), mark)


def _picture(character: str, side: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """One character of any font, light or dark, on an uneven ground with noise: (side, side)."""
    cover = drawn(character, _FONTS[int(rng.integers(len(_FONTS)))], side, rng)
    patches = Image.fromarray(rng.uniform(-25, 25, (4, 4)).astype(np.float32))
    ground = rng.uniform(20, 110) + np.asarray(patches.resize((side, side), Image.Resampling.BICUBIC))
    grey = ground + rng.uniform(60, 120) * cover
    if rng.random() < 0.5:
        grey = 255 - grey
    return np.clip(np.rint(grey + rng.normal(0, _NOISE, grey.shape)), 0, 255).astype(np.uint8)
