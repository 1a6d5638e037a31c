"""Contrastive depth loss: depth maps shall differ from pixel to pixel as their labels do.

Source: Wang et al., Exploiting temporal and depth information for multi-frame face anti-spoofing
(arXiv 1811.05118); used by CDCN, Yu et al. (arXiv 2003.04092), as MSE + this.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mien.core.errors import ShapeError
from mien.losses.numerics import full_precision

_NEIGHBOURS = ((0, 0), (0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1), (2, 2))


def depth_contrasts(depth: Tensor) -> Tensor:
    """Each of the 8 neighbours minus the centre, where all lie inside. O(B H W).

    A valid convolution with eight fixed 3x3 kernels: +1 at one neighbour, -1 at the centre.

    Args:
        depth: (B, H, W), sides of at least 3.

    Returns:
        (B, 8, H - 2, W - 2), neighbours row by row.

    Raises:
        ShapeError: another shape.

    >>> depth_contrasts(torch.arange(9.0).view(1, 3, 3)).flatten().tolist()
    [-4.0, -3.0, -2.0, -1.0, 1.0, 2.0, 3.0, 4.0]
    """
    if depth.ndim != 3 or min(depth.shape[1:]) < 3:
        raise ShapeError(f"expected depth maps (B, H, W) with sides of at least 3, got {tuple(depth.shape)}")
    height, width = depth.shape[1] - 2, depth.shape[2] - 2
    around = torch.stack([depth[:, i : i + height, j : j + width] for i, j in _NEIGHBOURS], 1)
    return around - depth[:, None, 1:-1, 1:-1]


def contrastive_depth_loss(pred: Tensor, label: Tensor) -> Tensor:
    """L = mean of (K * pred - K * label)^2 over kernels K, pixels and pictures: a scalar. O(B H W).

    Blind to a constant added to either map; train with the mean square error beside it.

    Args:
        pred: (B, H, W).
        label: (B, H, W).

    Raises:
        ShapeError: shapes that differ, or sides below 3.

    >>> float(contrastive_depth_loss(torch.ones(1, 4, 4), torch.zeros(1, 4, 4)))
    0.0
    """
    if pred.shape != label.shape:
        raise ShapeError(f"pred {tuple(pred.shape)} and label {tuple(label.shape)} must be alike")
    # The contrasts are linear: those of the difference are the difference of the contrasts.
    return depth_contrasts(full_precision(pred) - full_precision(label)).square().mean()


class ContrastiveDepthLoss(nn.Module):
    """`contrastive_depth_loss` as a module; it has no parameters."""

    def forward(self, pred: Tensor, label: Tensor) -> Tensor:
        """(B, H, W) maps and labels -> a scalar.

        Raises:
            ShapeError: shapes that differ, or sides below 3.
        """
        return contrastive_depth_loss(pred, label)
