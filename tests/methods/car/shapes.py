"""An ellipsoid for a body and a bumpy one for its clothes, in the view box."""

from __future__ import annotations

import numpy as np
import torch

from mien.render.normal_maps import normal_maps, vertex_normals
from tests.render.meshes import icosphere

AXES = torch.tensor([0.4, 0.7, 0.3])


def ellipsoid(subdivisions=4, scale=1.0):
    """(V, 3), (T, 3) of the body."""
    P, F = icosphere(torch.float32, subdivisions)
    return scale * P * AXES, F


def bumpy(subdivisions=5, height=0.02, waves=12.0):
    """The body in clothes with folds."""
    P, F = ellipsoid(subdivisions)
    n = vertex_normals(P, F)
    fold = (
        torch.sin(waves * P[:, :1])
        * torch.sin(waves * P[:, 1:2])
        * P[:, 2:].sign()
        * (P[:, 2:] / AXES[2]) ** 2
    )
    return P + n * (0.03 + height * fold), F


def maps_of(P, F, size=96):
    """Front and back normals (3, H, W) each, zero outside, and the mask (H, W)."""
    drawn = normal_maps(P[None], F, size, size)
    return drawn.front[0].permute(2, 0, 1), drawn.back[0].permute(2, 0, 1), drawn.mask[0]


def analytic_maps(size=96):
    """Front normals, back normals (3, H, W), front depth (H, W) and mask of the exact ellipsoid."""
    x = (np.arange(size) + 0.5) / size * 2 - 1
    x, y = np.meshgrid(x, -x)
    a, b, c = AXES.double().numpy()
    inside = 1 - (x / a) ** 2 - (y / b) ** 2
    mask = inside > 0
    z = c * np.sqrt(np.where(mask, inside, 0))
    n = np.stack([x / a**2, y / b**2, z / c**2]) * mask
    n /= np.maximum(np.linalg.norm(n, axis=0), 1e-12)
    return n, n * np.array([1, 1, -1])[:, None, None], np.where(mask, z, np.nan), mask
