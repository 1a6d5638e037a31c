"""How good a small picture of a face is, without a reference: size, sharpness, noise, blocks, and one number.

A reconstruction: published measures put together so that the number falls with what a surveillance camera
does. It looks at pixels only and knows nothing of faces. Grain of single pixels counts as detail, since only
a picture that was never enlarged has it; it is held against the picture as noise.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.core.errors import ShapeError

Array = NDArray[Any]  # of floats
_LUMA = np.array([0.299, 0.587, 0.114])
FULL_SIZE = 112
"""Pixels of the shorter side from which on size costs nothing."""
_NOISY = 0.15
"""Standard deviation of noise that costs a factor e."""


class QualityScores(NamedTuple):
    """Measures of N pictures, each (N,) float64.

    Attributes:
        size: shorter side, pixels.
        sharpness: what pixels tell that their neighbours do not, beside the same of 4 x 4 blocks; in [0, 1].
        noise: standard deviation of the noise, of the range of grey values.
        blockiness: how much stronger steps are on an 8-pixel grid than off it, in [0, 1].
        q: all in one, in [0, 1]; larger is better.
    """

    size: Array
    sharpness: Array
    noise: Array
    blockiness: Array
    q: Array


def quality_score(img: ArrayLike) -> dict[str, float]:
    """`quality_scores` of one picture (H, W) or (H, W, 3), uint8 or in [0, 1], as plain numbers.

    >>> flat = quality_score(np.full((48, 48, 3), 90, np.uint8))
    >>> flat["sharpness"], flat["noise"], flat["q"]
    (0.0, 0.0, 0.0)
    """
    image = np.asarray(img)
    if image.ndim not in (2, 3):
        raise ShapeError(f"img: expected (H, W) or (H, W, 3), got {image.shape}")
    return {k: float(v[0]) for k, v in quality_scores(image[None])._asdict().items()}


def quality_scores(images: ArrayLike) -> QualityScores:
    """Quality of N pictures of one size. O(N H W).

    With g the grey picture in [0, 1]:

    * r(g) = g * [[1, -2, 1], [-2, 4, -2], [1, -2, 1]] / 6, what is left of a picture that is locally linear;
    * noise s = sqrt(pi / 2) mean |r(g)| (Immerkaer 1996);
    * sharpness = e1 / (e1 + e4), e1 = rms r(g), e4 the same of the means of 4 x 4 pixels: 4/5 of pure noise,
      near 0 of a picture that was enlarged by 4;
    * blockiness = max(0, (on - off) / (on + off)), mean absolute steps on the strongest of the eight
      8-pixel grids and off it (after Wang, Sheikh, Bovik 2002);
    * q = sharpness exp(-s / .15) (1 - blockiness / 2) min(1, size / 112)^(1/4).

    Args:
        images: (N, H, W) or (N, H, W, 3), uint8 or floats in [0, 1], at least 12 pixels a side.

    Raises:
        ShapeError: another shape.
    """
    grey = _grey(np.asarray(images))
    rest = _rest(grey)
    noise = np.sqrt(np.pi / 2) * np.abs(rest).mean((1, 2))
    fine, coarse = (np.sqrt((r**2).mean((1, 2))) for r in (rest, _rest(_blocks(grey, 4))))
    total = fine + coarse
    sharpness = np.divide(fine, total, out=np.zeros_like(fine), where=total > 1e-9)
    blockiness = np.maximum(_blockiness(grey), _blockiness(grey.swapaxes(1, 2)))
    size = np.full(len(grey), float(min(grey.shape[1:])))
    worth = np.exp(-noise / _NOISY) * (1 - blockiness / 2) * np.minimum(1, size / FULL_SIZE) ** 0.25
    return QualityScores(size, sharpness, noise, blockiness, sharpness * worth)


def _grey(images: NDArray[Any]) -> Array:
    """(N, H, W) in [0, 1]."""
    if images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] != 3):
        raise ShapeError(f"images: expected (N, H, W) or (N, H, W, 3), got {images.shape}")
    if min(images.shape[1:3]) < 12:
        raise ShapeError(f"images: at least 12 pixels a side are needed, got {images.shape}")
    x = images.astype(np.float64) / (255 if images.dtype == np.uint8 else 1)
    return np.asarray(x if x.ndim == 3 else x @ _LUMA)


def _rest(grey: Array) -> Array:
    """r(g), (N, H - 2, W - 2): second differences along both directions; unit variance for unit noise."""
    rows = grey[:, :-2] - 2 * grey[:, 1:-1] + grey[:, 2:]
    return np.asarray(rows[..., :-2] - 2 * rows[..., 1:-1] + rows[..., 2:]) / 6


def _blocks(grey: Array, side: int) -> Array:
    """Means of squares of ``side`` pixels; what is left over at the right and below is cut off."""
    n, rows, cols = len(grey), grey.shape[1] // side, grey.shape[2] // side
    cut = grey[:, : rows * side, : cols * side]
    return np.asarray(cut.reshape(n, rows, side, cols, side).mean((2, 4)))


def _blockiness(grey: Array) -> Array:
    """Of steps along rows."""
    step = np.abs(np.diff(grey, axis=2)).mean(1)  # (N, W - 1)
    sums = np.stack([step[:, p::8].sum(1) for p in range(8)], 1)
    counts = np.array([len(range(p, step.shape[1], 8)) for p in range(8)])
    on = sums / np.maximum(counts, 1)
    off = (step.sum(1, keepdims=True) - sums) / np.maximum(step.shape[1] - counts, 1)
    ratio = np.divide(on - off, on + off, out=np.zeros_like(on), where=on + off > 1e-9)
    return np.asarray(np.maximum(0, ratio.max(1)))
