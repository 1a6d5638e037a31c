"""`SurveilImages`: shapes, subsets, fingerprint."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mien.core.errors import DataError, ShapeError
from mien.data.surveil_images import SurveilImages


def some(n: int = 6, size: int = 8) -> SurveilImages:
    rng = np.random.default_rng(0)
    label = np.arange(n) % 3
    return SurveilImages(
        rng.integers(0, 256, (n, size, size, 3), np.uint8),
        label,
        label == 0,
        np.arange(n) // 2,
        np.arange(n) + 1,
        np.arange(n) % 7 + 1,
        np.arange(n) % 40 + 1,
        np.arange(n) * 10 + 1,
        rng.random(n),
        np.array([f"Data/{k}.jpg" for k in range(n)]),
    )


CHOICES = [([4, 1], [4, 1]), (np.arange(6) // 2 == 2, [4, 5]), (slice(1, 3), [1, 2]), ([], [])]


@pytest.mark.parametrize(("at", "places"), CHOICES)
def test_subset_by_numbers_mask_slice(at: Any, places: list[int]) -> None:
    images = some()
    part = images.subset(at)
    assert part.paths.tolist() == [f"Data/{k}.jpg" for k in places]
    assert (part.pictures == np.array([images.pictures[k] for k in places]).reshape(-1, 8, 8, 3)).all()
    assert part.quality.tolist() == [images.quality[k] for k in places]


@pytest.mark.parametrize("name", ["pictures", "label", "track", "quality", "frame", "paths"])
def test_fingerprint_sees_everything(name: str) -> None:
    images = some()
    column = getattr(images, name).copy()
    column[2 if name != "label" else 1] = "Data/x.jpg" if name == "paths" else 2
    other = replace(images, **{name: column})
    assert images.fingerprint() == some().fingerprint() != other.fingerprint()


def test_bad_input() -> None:
    images = some()
    with pytest.raises(ShapeError, match=r"scene: expected \(6,\), one for each picture, got \(5,\)"):
        replace(images, scene=images.scene[:5])
    with pytest.raises(ShapeError, match=r"pictures: expected \(N, S, S, 3\) uint8"):
        replace(images, pictures=images.pictures.astype(np.float32))
    with pytest.raises(DataError, match=r"Data/1.jpg: label 1, live=True; live is label 0"):
        replace(images, live=np.ones(6, bool))
