"""Builds the bundled Fashion-MNIST-LT from the four IDX files of Fashion-MNIST (MIT licence).

    python tools/build_fashion_lt.py DIR

The long-tailed training subset (n_max 1000, imbalance factor 100), 100 validation images a class from the
unused training images, and 200 test images a class from t10k, as one compressed npz; the rest of t10k, 800
images a class, as another. Same input, same bytes.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from mien.core.seeds import derive
from mien.data.idx import read_idx
from mien.data.longtail import make_longtail

OUT = Path(__file__).parent.parent / "src/mien/data/assets"
VAL, TEST = 100, 200


def main(folder: str) -> None:
    """Writes the assets."""
    root = Path(folder)
    images, labels = (read_idx(root / f"train-{k}-ubyte.gz") for k in ("images-idx3", "labels-idx1"))
    test_images, test_labels = (read_idx(root / f"t10k-{k}-ubyte.gz") for k in ("images-idx3", "labels-idx1"))
    train = make_longtail(labels, 10, 100, n_max=1000, seed=0)
    rest = np.setdiff1d(np.arange(len(labels)), train)
    val = _balanced(rest, labels, VAL, "val")
    test = _balanced(np.arange(len(test_labels)), test_labels, TEST, "test")
    further = np.setdiff1d(np.arange(len(test_labels)), test)
    parts = {
        "train": (images[train], labels[train], train),
        "val": (images[val], labels[val], val),
        "test": (test_images[test], test_labels[test], test),
    }
    _write("fashion_lt.npz", parts)
    _write("fashion_further.npz", {"further": (test_images[further], test_labels[further], further)})


def _write(name: str, parts: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]) -> None:
    arrays = {}
    for part, (pixels, targets, index) in parts.items():
        arrays |= {
            f"{part}_images": pixels,
            f"{part}_targets": targets,
            f"{part}_index": index.astype(np.int32),
        }
    np.savez_compressed(OUT / name, **arrays)
    print(OUT / name, (OUT / name).stat().st_size, {k: len(v[1]) for k, v in parts.items()})


def _balanced(pool: np.ndarray, labels: np.ndarray, per_class: int, name: str) -> np.ndarray:
    chosen = []
    for c in range(10):
        mine = pool[labels[pool] == c]
        chosen.append(
            np.random.default_rng(derive(0, "fashion_lt", name, c)).choice(mine, per_class, replace=False)
        )
    return np.sort(np.concatenate(chosen))


if __name__ == "__main__":
    main(sys.argv[1])
