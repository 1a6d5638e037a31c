"""Dense targets for the final RGB tokens: what depth or infrared shows in each patch. Off by default."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from mien.core.errors import ConfigError

CELLS = 4
"""Values on a side of a patch."""


def check_cells(patch: int, cells: int = CELLS) -> None:
    """Refuses patches that do not split into cells.

    Raises:
        ConfigError: the cells do not divide the patch.
    """
    if cells < 1 or patch % cells:
        raise ConfigError(f"auxiliary targets need a patch, here {patch}, that {cells} divides")


def patch_values(image: Tensor, patch: int, cells: int = CELLS) -> Tensor:
    """Mean of the channels over each of cells x cells squares of each patch, row by row. O(B S^2).

    Args:
        image: (B, C, S, S) in [0, 1].
        patch: side of a patch in pixels, divides S.
        cells: squares on a side of a patch, divides it.

    Returns:
        (B, N, cells^2), N = (S / patch)^2.

    Raises:
        ConfigError: the cells do not divide the patch.
    """
    check_cells(patch, cells)
    grey = F.avg_pool2d(image.mean(1, keepdim=True), patch // cells)
    return F.unfold(grey, cells, stride=cells).transpose(1, 2)
