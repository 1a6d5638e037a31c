"""Made heads before a recogniser of faces: the standard place, no background, and what it makes of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mien.data.capsule_files import CapsuleSet
from mien.data.capsule_sets import capsule_set
from mien.data.config import CapsuleData
from mien.data.labelled import ArrayImages
from mien.data.rendered_faces import masked
from mien.engine.face_embedding import embed
from mien.engine.faces import face_configs, restore
from mien.engine.predictor import default_device
from mien.engine.zoo import load_folder
from mien.render.alignment import TEMPLATE, similarity, warp

Pictures = NDArray[np.uint8]


def heads(size: int, people: int, seed: int) -> CapsuleSet:
    """The test part of a set of made heads, five views a person; nobody of a training set. 0.2 s a person."""
    data = CapsuleData(size=size, people=1, val_people=1, test_people=people, set_seed=1000 + seed)
    return capsule_set(data, "test")


def at_template(pictures: Pictures, landmarks: NDArray[Any], size: int) -> Pictures:
    """Faces (n, S, S, 3) where a recogniser expects them, `masked`, (n, size, size, 3). O(n size^2).

    Args:
        pictures: uint8.
        landmarks: (n, 5, 2) column, row; pixel centres are whole numbers.
        size: side of the result.
    """
    target = (TEMPLATE + 0.5) * (size / 112) - 0.5
    rows = [
        warp(x, similarity(five, target), size)
        for x, five in zip(pictures, np.asarray(landmarks, np.float64), strict=True)
    ]
    return masked(np.stack(rows))


class ShippedRecogniser:
    """A shipped recogniser of masked faces.

    Args:
        name: of weights, as "gkd/small".
    """

    def __init__(self, name: str) -> None:
        folder = load_folder(name)
        self.net: nn.Module = restore(folder)
        self.size = face_configs(folder.recipe)[1].size

    def __call__(self, pictures: Pictures, landmarks: NDArray[Any]) -> NDArray[np.float32]:
        """(n, D) embeddings of unit length of heads (n, S, S, 3) with landmarks (n, 5, 2)."""
        placed = at_template(pictures, landmarks, self.size)
        images = ArrayImages(
            placed, np.zeros(len(placed), np.int64), ["?"], np.arange(len(placed), dtype=np.uint64)
        )
        code = embed(self.net, images, self.size, default_device())
        return np.asarray(torch.nn.functional.normalize(code, dim=1).numpy(), np.float32)

    def embedder(self, landmarks: NDArray[Any]) -> Callable[[Tensor], Tensor]:
        """The same for pictures (n, 3, S, S) in [0, 1] that share these landmarks."""

        def embedded(images: Tensor) -> Tensor:
            pixels = (images.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
            return torch.from_numpy(self(pixels, landmarks))

        return embedded
