"""What graphics capsules are compared with: flat and mean depth, clusters, boxes, a 2-D autoencoder."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from mien.core.errors import ConfigError, DataError, ShapeError
from mien.core.seeds import derive

Array = NDArray[Any]


def constant_depth(count: int, size: int, depth: float = 1.0) -> NDArray[np.float32]:
    """(n, S, S) of one depth: a wall.

    Raises:
        ConfigError: depth not above 0.
    """
    if not depth > 0:
        raise ConfigError(f"depth={depth} must be above 0")
    return np.full((count, size, size), depth, np.float32)


def dome_depth(
    count: int, size: int, nearest: float = 0.92, radii: tuple[float, float] = (0.7, 1.25)
) -> NDArray[np.float32]:
    """(n, S, S) of half an ellipsoid about (0, 0, 1): 1 - (1 - d) sqrt(max(0, 1 - (x / a)^2 - (y / b)^2)).

    A head as anybody would guess it. x and y in [-1, 1].

    Args:
        count: n.
        size: S.
        nearest: d, scene units.
        radii: a and b.

    Raises:
        ConfigError: values out of order.

    >>> dome_depth(1, 3, 0.9)[0, 1].tolist()
    [1.0, 0.8999999761581421, 1.0]
    """
    if not (0 < nearest < 1 and min(radii) > 0):
        raise ConfigError(f"nearest={nearest} must be within 0 and 1, and radii={radii} above 0")
    at = np.linspace(-1, 1, size)
    height = np.sqrt(np.maximum(0, 1 - (at / radii[0]) ** 2 - (at[:, None] / radii[1]) ** 2))
    return np.broadcast_to(1 - (1 - nearest) * height, (count, size, size)).astype(np.float32)


def mean_depth(depth: ArrayLike) -> NDArray[np.float32]:
    """(S, S) mean over training pictures of the depth where there is some. O(n S^2).

    Pixels that no picture covers get the largest mean: the background is far.

    Args:
        depth: (n, S, S); 0 = background.

    Raises:
        ShapeError: no stack of maps.
        DataError: no pixel has depth.
    """
    d = np.asarray(depth, np.float64)
    if d.ndim != 3:
        raise ShapeError(f"expected depth (n, S, S), got {d.shape}")
    count = (d > 0).sum(0)
    if not count.any():
        raise DataError("no pixel of the training pictures has depth; they are all background")
    mean = d.sum(0) / np.maximum(count, 1)
    return np.asarray(np.where(count > 0, mean, mean.max()), np.float32)


def box_grid(size: int, rows: int, columns: int, margin: float = 0.15) -> NDArray[np.float32]:
    """(1 + rows columns, S, S) maps of a centred grid of equal boxes; map 0 is what is around them. O(K S^2).

    Args:
        size: S, pixels a side.
        rows: boxes above each other.
        columns: boxes beside each other.
        margin: share of the side that is left free at each border.

    Raises:
        ConfigError: a grid that does not fit.

    >>> box_grid(4, 1, 2, 0).sum((1, 2))
    array([0., 8., 8.], dtype=float32)
    """
    if min(rows, columns) < 1 or not 0 <= margin < 0.5:
        raise ConfigError(f"rows={rows}, columns={columns} must be above 0, margin={margin} in [0, 0.5)")
    at = (np.arange(size) + 0.5) / size
    inside = (at >= margin) & (at < 1 - margin)
    place = (at - margin) / (1 - 2 * margin)
    row, column = ((np.clip(place, 0, 1 - 1e-9) * n).astype(int) for n in (rows, columns))
    number = np.where(inside[:, None] & inside, 1 + row[:, None] * columns + column, 0)
    return np.asarray(number == np.arange(1 + rows * columns)[:, None, None], np.float32)


class KMeansParts:
    """Parts as clusters of pixels, by their features; a stand-in for deep feature factorisation.

    Lloyd's algorithm from k-means++ seeds.

    Args:
        features: (N, C) of training pixels of the foreground, already of comparable scale.
        parts: K.
        seed: of the start.
        rounds: of the iteration, at most.

    Attributes:
        centres: (K, C).

    Raises:
        ShapeError: no table.
        DataError: fewer different pixels than parts.
    """

    def __init__(self, features: ArrayLike, parts: int, seed: int = 0, rounds: int = 50) -> None:
        x = np.asarray(features, np.float64)
        if x.ndim != 2:
            raise ShapeError(f"expected features (N, C) of pixels, got {x.shape}")
        self.centres = _spread_seeds(x, parts, np.random.default_rng(derive(seed, "k-means")))
        for _ in range(rounds):
            own = self.nearest(x)
            held = np.bincount(own, minlength=parts)
            total = np.stack([np.bincount(own, column, parts) for column in x.T], 1)
            moved = np.where(held[:, None] > 0, total / np.maximum(held, 1)[:, None], self.centres)
            if np.allclose(moved, self.centres):
                break
            self.centres = moved

    def nearest(self, features: ArrayLike) -> NDArray[np.int64]:
        """(N,) cluster of pixels (N, C). O(N K C)."""
        x = np.asarray(features, np.float64)
        return np.asarray((-2 * x @ self.centres.T + (self.centres**2).sum(1)).argmin(1), np.int64)

    def segment(self, features: ArrayLike, foreground: ArrayLike) -> NDArray[np.int64]:
        """Labels (n, H, W) of pixels with features (n, H, W, C): 1 .. K in the foreground, 0 outside."""
        f = np.asarray(features)
        labels = 1 + self.nearest(f.reshape(-1, f.shape[-1])).reshape(f.shape[:-1])
        return np.where(np.asarray(foreground, np.bool_), labels, 0)


def _spread_seeds(x: Array, count: int, rng: np.random.Generator) -> Array:
    """k-means++: each next centre is drawn in proportion to the squared distance to the nearest one."""
    chosen = [int(rng.integers(len(x)))] if len(x) else []
    gap = ((x - x[chosen[:1]]) ** 2).sum(1) if chosen else np.zeros(0)
    while len(chosen) < count:
        if not gap.sum() > 0:
            raise DataError(f"{len(chosen)} different pixels cannot be cut into {count} parts")
        chosen.append(int(rng.choice(len(x), p=gap / gap.sum())))
        gap = np.minimum(gap, ((x - x[chosen[-1]]) ** 2).sum(1))
    return x[chosen].copy()


def label_maps(labels: ArrayLike, parts: int) -> NDArray[np.float32]:
    """(n, H, W) labels 0 .. K as maps (n, 1 + K, H, W) of 0 and 1. O(n K H W)."""
    own = np.asarray(labels)
    return np.asarray(own[:, None] == np.arange(parts + 1)[:, None, None], np.float32)


class Autoencoder2d(nn.Module):
    """A picture through a code of given size and back: what 2-D features alone can do. O(B S^2 width).

    Args:
        size: S, pixels a side, a multiple of 8.
        code: numbers of the code.
        width: channels of the first layer.

    Raises:
        ConfigError: a size that cannot be halved three times.
    """

    def __init__(self, size: int = 32, code: int = 64, width: int = 16) -> None:
        super().__init__()
        if size % 8:
            raise ConfigError(f"size={size} must be a multiple of 8")
        last = (4 * width, size // 8, size // 8)
        channels = (3, width, 2 * width, 4 * width)
        down: list[nn.Module] = []
        up: list[nn.Module] = []
        for before, after in pairwise(channels):
            down += [nn.Conv2d(before, after, 4, 2, 1), nn.LeakyReLU(0.2)]
            up = [nn.LeakyReLU(0.2), nn.ConvTranspose2d(after, before, 4, 2, 1), *up]
        wide = last[0] * last[1] * last[2]
        self.encoder = nn.Sequential(*down, nn.Flatten(), nn.Linear(wide, code))
        self.decoder = nn.Sequential(nn.Linear(code, wide), nn.Unflatten(1, last), *up, nn.Tanh())

    def encode(self, image: Tensor) -> Tensor:
        """Pictures (B, 3, S, S) in [-1, 1] -> codes (B, code)."""
        return torch.as_tensor(self.encoder(image))

    def forward(self, image: Tensor) -> Tensor:
        """Pictures (B, 3, S, S) in [-1, 1] as they come back."""
        return torch.as_tensor(self.decoder(self.encode(image)))
