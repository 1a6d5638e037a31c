"""Data sets that come with mien, and a tiny made one for checks."""

from __future__ import annotations

from importlib import resources

import numpy as np

from mien.core.seeds import derive
from mien.data.config import ClassificationData
from mien.data.labelled import ArrayImages, Splits

FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip


def fashion_lt_splits(config: ClassificationData) -> Splits:
    """Fashion-MNIST-LT: 2,478 real training images (1000 .. 10 a class), 1,000 validation, 2,000 test.

    ``also``: ``further``, the 8,000 other test images of Fashion-MNIST. ``config.val_per_class`` does not
    apply: the validation split is part of the asset.
    """
    parts = _fashion("fashion_lt.npz", ("train", "val", "test"))
    note = "Fashion-MNIST-LT, imbalance factor 100"
    also = {"further": lambda: _fashion("fashion_further.npz", ("further",))["further"]}
    return Splits(parts["train"], parts["val"], parts["test"], note=note, also=also)


def _fashion(file: str, names: tuple[str, ...]) -> dict[str, ArrayImages]:
    """Parts of a bundled file by name."""
    asset = resources.files("mien.data") / "assets" / file
    with resources.as_file(asset) as path, np.load(path, allow_pickle=False) as arrays:
        return {
            name: ArrayImages(
                arrays[f"{name}_images"],
                arrays[f"{name}_targets"],
                FASHION_CLASSES,
                arrays[f"{name}_index"].astype(np.uint64),
            )
            for name in names
        }


def debug_splits(config: ClassificationData) -> Splits:
    """Ten classes of made stripes (angle = class) in ``config.size`` pixels, long-tailed."""
    counts = [20, 14, 10, 7, 5, 4, 3, 2, 2, 1]
    side = np.arange(config.size) / config.size - 0.5

    def draw(per_class: list[int], name: str) -> ArrayImages:
        targets = np.repeat(np.arange(10), per_class)
        rng = np.random.default_rng(derive(0, "debug", name))
        angle = targets * np.pi / 10 + rng.normal(0, 0.05, len(targets))
        phase = rng.uniform(0, 2 * np.pi, len(targets))
        wave = np.cos(angle)[:, None, None] * side + np.sin(angle)[:, None, None] * side[:, None]
        pixels = 127 + 100 * np.sin(25 * wave + phase[:, None, None]) + rng.normal(0, 12, wave.shape)
        images = np.clip(pixels, 0, 255).astype(np.uint8)
        images = np.repeat(images[..., None], config.channels, axis=3)
        return ArrayImages(images, targets, [f"stripe-{c}" for c in range(10)])

    return Splits(
        draw(counts, "train"), draw([3] * 10, "val"), draw([5] * 10, "test"), real=False, note="made stripes"
    )
