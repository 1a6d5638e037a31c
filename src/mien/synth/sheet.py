"""Contact sheets: pictures of one size side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def contact_sheet(pictures: Sequence[NDArray[np.uint8]], columns: int, gap: int = 2) -> NDArray[np.uint8]:
    """A white sheet of pictures (H, W, 3) of one size.

    Args:
        pictures: at least one.
        columns: pictures of a row.
        gap: pixels right of and below each.
    """
    height, width = pictures[0].shape[:2]
    rows = -(-len(pictures) // columns)
    sheet = np.full((rows * (height + gap), columns * (width + gap), 3), 255, np.uint8)
    for n, picture in enumerate(pictures):
        i, j = divmod(n, columns)
        top, left = i * (height + gap), j * (width + gap)
        sheet[top : top + height, left : left + width] = picture
    return sheet
