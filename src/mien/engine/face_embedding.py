"""Faces to embeddings, each the sum over a picture and its mirror image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mien.data.augment import prepare
from mien.data.chosen_people import mask_pictures
from mien.data.labelled import Picture
from mien.data.verification_sets import Faces


class MaskedView:
    """Faces as a model that was trained on masked ones must see them.

    Args:
        faces: aligned pictures.
        size: S.
    """

    def __init__(self, faces: Faces, size: int) -> None:
        self.faces, self.size = faces, size

    def __len__(self) -> int:
        return len(self.faces)

    def pictures(self, indices: Sequence[int] | NDArray[Any]) -> list[Picture]:
        """The pictures at these places, uint8 (S, S, 3)."""
        return mask_pictures(self.faces.pictures(indices), self.size)


@torch.no_grad()  # not inference mode: a net that is moved there could not be trained on
def embed(net: nn.Module, images: Faces, size: int, device: torch.device, batch: int = 256) -> Tensor:
    """Embeddings (N, D) of pictures, each the sum over the picture and its mirror image, on the CPU.

    Memory O(batch S^2 + N D).
    """
    net = net.to(device).eval()
    rows = []
    for first in range(0, len(images), batch):
        x = prepare(images.pictures(range(first, min(first + batch, len(images)))), size, 3).to(device)
        rows.append((net(x) + net(x.flip(3))).float().cpu())
    return torch.cat(rows)
