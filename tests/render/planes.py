"""Tensors, decoders and cameras that the tests of the tri-plane fields share."""

from __future__ import annotations

import math

import torch

from mien.render.eg3d import lookat_cam2world, pack_camera
from mien.render.triplane import PlaneDecoder

K = torch.tensor([[4.2647, 0, 0.5], [0, 4.2647, 0.5], [0, 0, 1]])


def wave(scale, step, *shape):
    """The method pages' test tensors: s sin(k (i + 1))."""
    count = math.prod(shape)
    return (scale * torch.sin(step * torch.arange(1, count + 1, dtype=torch.float64))).float().reshape(shape)


def worked_decoder():
    """The decoder of worked example G: 4 features in, 8 hidden, sigma = 4 y0 and 4 colours."""
    head, shift = wave(1, 0.9, 5, 8), wave(1, 0.2, 5)
    gain = torch.tensor([4.0, 1, 1, 1, 1])
    return PlaneDecoder(wave(1, 0.35, 8, 4), wave(1, 0.3, 8), head * gain[:, None], shift * gain)


def worked_camera():
    return pack_camera(lookat_cam2world(0.25, -0.15), K)


def ellipsoid(channels=16, hidden=64, colours=3, side=32, seed=0, radii=(0.3, 0.36, 0.31), sharp=60.0):
    """A head-like field: dense inside an ellipsoid, empty outside, with smooth colours.

    Plane k holds 1 - a u^2 - b v^2 in channel 0, so that the sum over the three planes, less 2, is
    1 - x^2 / a^2 - y^2 / b^2 - z^2 / c^2 (and below 0 wherever a plane is left), and random waves in the
    others. The decoder's first hidden unit carries that sum, the rest mix colours.
    """
    g = torch.Generator().manual_seed(seed)
    at = (2 * torch.arange(side) + 1) / side - 1
    planes = torch.zeros(1, 3, channels, side, side)
    weights = torch.tensor([0.5 / r for r in radii]) ** 2
    x, y, z = weights.tolist()
    u, v = at[None, :] ** 2, at[:, None] ** 2
    halves = ((x / 2, y / 2), (x / 2, z / 2), (z / 2, y / 2))
    for k, (a, b) in enumerate(halves):
        planes[0, k, 0] = 1 - a * u - b * v
        for c in range(1, channels):
            p, q, r = torch.randn(3, generator=g).tolist()
            planes[0, k, c] = torch.sin(3 * p * at[None, :] + 3 * q * at[:, None] + r)
    w1 = 0.5 * torch.randn(hidden, channels, generator=g) / channels**0.5
    b1 = 0.3 * torch.randn(hidden, generator=g)
    w2 = 2 * torch.randn(1 + colours, hidden, generator=g) / hidden**0.5
    b2 = torch.zeros(1 + colours)
    w1[0], b1[0] = 0, 2.0 - 2 * sharp
    w1[0, 0] = 3 * sharp  # the mean over the planes is a third of the sum
    w2[0], w2[1:, 0], b2[0] = 0, 0, -6.0
    w2[0, 0] = 4.0
    return planes, PlaneDecoder(w1, b1, w2, b2)
