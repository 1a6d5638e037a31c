"""Where a net looked, drawn over what it saw."""

from __future__ import annotations

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor


def overlay(picture: Tensor, relevance: Tensor, scale: int = 3) -> NDArray[np.uint8]:
    """A picture with the patches that were looked at in light, the others dimmed.

    Args:
        picture: (3 or 1, S, S) in [0, 1].
        relevance: (N,) of N = n^2 patches, row by row, summing to 1.
        scale: enlargement.

    Returns:
        (scale S, scale S, 3) uint8.
    """
    side = picture.shape[-1] * scale
    n = int(len(relevance) ** 0.5)
    share = relevance.view(1, 1, n, n) / relevance.max().clamp_min(1e-12)
    light = F.interpolate(share.float(), (side, side), mode="bilinear", align_corners=False)[0]
    base = F.interpolate(picture[None].float(), (side, side), mode="nearest")[0].expand(3, -1, -1)
    warm = base.new_tensor([1.0, 0.75, 0.2])[:, None, None]
    shown = base * (0.35 + 0.65 * light) + 0.25 * light * warm
    return (shown.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
