"""How well depth, parts, pose, light and codes of a face are found: the protocols of Unsup3D and SCOPS.

Depth itself is scored by `mien.metrics.scale_invariant_depth_error` within `comparison_mask`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from mien.core.errors import ConfigError, DataError, ShapeError
from mien.metrics.identification import mate_ranks
from mien.metrics.pictures import check_pictures, masked_mean

Array = NDArray[Any]
Centroid = Literal["soft", "hard"]
Matching = Literal["one", "many"]
YAW_STEPS = (0.0, 15.0, 30.0, 45.0, 90.0)
"""Edges of bins of the difference of yaw, degrees."""


class PartNme(NamedTuple):
    """Landmarks regressed from places of parts.

    Attributes:
        nme: mean error / distance of the eyes; often printed times 100.
        images: (n,) of each test picture.
        parts: how many places it was regressed from.
        centroid: how places were measured.
    """

    nme: float
    images: NDArray[np.float64]
    parts: int
    centroid: Centroid


class SegIou(NamedTuple):
    """Segments against true parts.

    Attributes:
        mean: over the true parts, of IoU on all test pixels.
        parts: (K,) IoU of true part 1 .. K; nan for one that the test pictures lack.
        foreground: IoU of everything that is not 0.
        images: (n,) mean IoU over the true parts of each test picture; nan without any.
        match: predicted part -> true part, 0 = none.
        matching: how they were matched.
    """

    mean: float
    parts: NDArray[np.float64]
    foreground: float
    images: NDArray[np.float64]
    match: dict[int, int]
    matching: Matching


class ViewRate(NamedTuple):
    """Retrieval between pictures whose yaw differs by low to high degrees.

    Attributes:
        low: smallest difference.
        high: largest difference, not included.
        rank_1: share of probes whose nearest picture shows the same person; nan without probes.
        probes: pictures with a mate in that range.
        chance: rank-1 of a guess.
        images: (n,) 1 for a probe whose nearest picture shows the same person, else 0; nan for no probe.
    """

    low: float
    high: float
    rank_1: float
    probes: int
    chance: float
    images: NDArray[np.float64]


def eroded_mask(mask: Tensor) -> Tensor:
    """Pixels whose 3 x 3 neighbourhood lies in the mask (B, H, W), which ends at the border. O(B H W).

    Source: Unsup3D (arXiv 1911.11130): mean over 3 x 3 above 0.99.

    >>> int(eroded_mask(torch.ones(1, 5, 5)).sum())
    9
    """
    if mask.ndim != 3:
        raise ShapeError(f"expected masks (B, H, W), got {tuple(mask.shape)}")
    return F.avg_pool2d(mask[:, None].float(), 3, 1, 1)[:, 0] > 0.99


def comparison_mask(truth: Tensor, valid: Tensor) -> Tensor:
    """Where depth and normals are compared: eroded true foreground and eroded valid prediction (B, H, W)."""
    return eroded_mask(truth) & eroded_mask(valid)


def mean_angle_deviation(pred: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """MAD: mean angle between normals in degrees, for each picture. O(B H W).

    arccos <n1, n2> as 2 atan2(|n1 - n2|, |n1 + n2|) of unit vectors, which is exact for small angles too.

    Args:
        pred: (B, H, W, 3), need not be of unit length.
        target: (B, H, W, 3).
        mask: (B, H, W), see `comparison_mask`; None: everywhere.

    Returns:
        (B,) degrees.

    Raises:
        ShapeError: shapes that differ.
        DataError: an empty mask.

    >>> up, aside = torch.tensor([[[[0, 0, 1.0]]]]), torch.tensor([[[[0.1, 0, 1.0]]]])
    >>> round(float(mean_angle_deviation(up, aside)), 4)
    5.7106
    """
    if pred.ndim != 4 or pred.shape != target.shape or pred.shape[-1] != 3:
        raise ShapeError(f"expected normals (B, H, W, 3), got {tuple(pred.shape)}, {tuple(target.shape)}")
    first, second = (F.normalize(x.double(), dim=-1) for x in (pred, target))
    angle = 2 * torch.atan2((first - second).norm(dim=-1), (first + second).norm(dim=-1))
    inside = check_pictures(angle[:, None], angle[:, None], mask)
    return masked_mean(torch.rad2deg(angle)[:, None], inside).to(pred.dtype)


def part_centroids(maps: ArrayLike, centroid: Centroid = "soft", background: int | None = 0) -> Array:
    """Places of parts: (n, 2 K) columns, then rows, in pixels. O(n layers H W).

    "soft": mean place under the layer as a density. "hard": mean place of the pixels where the layer is the
    largest; the middle of the picture if it never is.

    Args:
        maps: (n, layers, H, W), >= 0.
        centroid: which.
        background: the layer that is no part; None: all are.

    Raises:
        ConfigError: no such centroid, or no such layer.
        ShapeError: no maps.
    """
    v = np.asarray(maps, np.float64)
    if v.ndim != 4:
        raise ShapeError(f"expected maps (n, layers, H, W), got {v.shape}")
    if centroid not in get_args(Centroid):
        raise ConfigError(f"no centroid {centroid!r}; one of {', '.join(get_args(Centroid))}")
    if background is not None and not 0 <= background < v.shape[1]:
        raise ConfigError(f"background={background}: there are layers 0 .. {v.shape[1] - 1}")
    if centroid == "hard":
        v = (v.argmax(1)[:, None] == np.arange(v.shape[1])[:, None, None]).astype(np.float64)
    if background is not None:
        v = np.delete(v, background, 1)
    height, width = v.shape[2:]
    total = v.sum((2, 3))
    some = np.where(total > 0, total, 1)
    x = np.where(total > 0, v.sum(2) @ np.arange(width) / some, (width - 1) / 2)
    y = np.where(total > 0, v.sum(3) @ np.arange(height) / some, (height - 1) / 2)
    return np.concatenate([x, y], 1)


def landmark_nme(pred: ArrayLike, target: ArrayLike) -> Array:
    """Mean distance of the landmarks / true distance of the first two, the eyes: (n, L, 2) twice -> (n,).

    Raises:
        ShapeError: shapes that differ.
        DataError: eyes at one place.

    >>> true = np.array([[30.0, 40], [70, 42], [50, 60], [36, 80], [66, 80]])
    >>> error = np.array([[1, 0], [0, 2], [-1, 1], [2, 0], [0, -1]])
    >>> landmark_nme([true + error], [true]).round(7)
    array([0.0370248])
    """
    p, t = np.asarray(pred, np.float64), np.asarray(target, np.float64)
    if p.shape != t.shape or p.ndim != 3 or p.shape[1] < 2 or p.shape[2] != 2:
        raise ShapeError(f"expected landmarks (n, L, 2) of one shape, got {p.shape} and {t.shape}")
    apart = np.linalg.norm(t[:, 0] - t[:, 1], axis=-1)
    if (apart <= 0).any():
        raise DataError(f"picture {int(apart.argmin())}: both eyes are at one place; leave it out")
    return np.asarray(np.linalg.norm(p - t, axis=-1).mean(1) / apart)


def landmark_nme_from_parts(
    train_maps: ArrayLike,
    train_landmarks: ArrayLike,
    test_maps: ArrayLike,
    test_landmarks: ArrayLike,
    centroid: Centroid = "soft",
    background: int | None = 0,
) -> PartNme:
    """SCOPS' score of parts: landmarks by linear regression from the places of the parts.

        y = X b, least squares without intercept, on columns standardised by the training mean and deviation

    It can flatter bad parts: say K beside it, and what a grid of boxes gets. O(n layers H W + n K^2).

    Args:
        train_maps: (n, layers, H, W).
        train_landmarks: (n, L, 2), the eyes first.
        test_maps: (m, layers, H, W).
        test_landmarks: (m, L, 2).
        centroid: see `part_centroids`.
        background: the layer that is no part.

    Raises:
        ShapeError, ConfigError, DataError: see `part_centroids` and `landmark_nme`.

    Source: Hung et al., SCOPS (arXiv 1905.01298).
    """
    x, x_test = (part_centroids(m, centroid, background) for m in (train_maps, test_maps))
    truth = np.asarray(test_landmarks, np.float64)
    y = np.asarray(train_landmarks, np.float64).reshape(len(x), -1)
    x_mean, y_mean = x.mean(0), y.mean(0)
    x_std, y_std = (np.where(a.std(0) > 1e-9, a.std(0), 1.0) for a in (x, y))
    weights = np.linalg.lstsq((x - x_mean) / x_std, (y - y_mean) / y_std, rcond=None)[0]
    found = ((x_test - x_mean) / x_std @ weights) * y_std + y_mean
    images = landmark_nme(found.reshape(truth.shape), truth)
    return PartNme(float(images.mean()), images, x.shape[1] // 2, centroid)


def seg_iou_matched(
    train_true: ArrayLike,
    train_pred: ArrayLike,
    test_true: ArrayLike,
    test_pred: ArrayLike,
    matching: Matching = "one",
) -> SegIou:
    """IoU of parts whose names are matched on training pictures and kept on test pictures.

    "one": each predicted part with at most one true part so that the mean IoU is highest (Hungarian
    algorithm). "many": each with the true part that it overlaps most by IoU, so that a left and a right eye
    may both be eyes. 0 is the background in both and takes no part. O(pixels + K^3).

    Args:
        train_true: (n, H, W) integers >= 0.
        train_pred: (n, H, W).
        test_true: (m, H, W).
        test_pred: (m, H, W).
        matching: which.

    Raises:
        ConfigError: no such matching.
        ShapeError: shapes that differ, or labels that are no integers >= 0.
        DataError: no true part in the training pictures.
    """
    if matching not in get_args(Matching):
        raise ConfigError(f"no matching {matching!r}; one of {', '.join(get_args(Matching))}")
    a, b = _labels(train_true, train_pred)
    t, p = _labels(test_true, test_pred)
    count = int(max(a.max(initial=0), t.max(initial=0)))
    if not a.any():
        raise DataError("the training pictures have no true part; every label is 0")
    match = _matched(_overlap(a, b, count + 1, int(b.max(initial=0)) + 1), matching)
    rename = np.zeros(int(max(b.max(initial=0), p.max(initial=0))) + 1, np.int64)
    rename[list(match)] = list(match.values())
    renamed = rename[p]
    each = np.stack([_overlap(one, own, count + 1, count + 1) for one, own in zip(t, renamed, strict=True)])
    parts = np.diag(_iou(each.sum(0)))[1:]
    diagonals = np.array([np.diag(_iou(table))[1:] for table in each]).reshape(len(t), count)
    has = each[:, 1:].sum(2) > 0
    images = np.where(has, np.nan_to_num(diagonals), 0).sum(1) / np.where(has.any(1), has.sum(1), np.nan)
    there = each.sum(0)[1:].sum(1) > 0
    parts = np.where(there, np.nan_to_num(parts), np.nan)
    front = (t > 0) & (p > 0)
    union = ((t > 0) | (p > 0)).sum()
    foreground = float(front.sum() / union) if union else float("nan")
    mean = float(np.nanmean(parts)) if there.any() else float("nan")
    return SegIou(mean, parts, foreground, images, match, matching)


def _labels(true: ArrayLike, pred: ArrayLike) -> tuple[Array, Array]:
    t, p = np.asarray(true), np.asarray(pred)
    if t.shape != p.shape or t.ndim != 3:
        raise ShapeError(f"expected labels (n, H, W) of one shape, got {t.shape} and {p.shape}")
    for name, x in (("true", t), ("pred", p)):
        if x.dtype.kind not in "iu" or (x.size and x.min() < 0):
            raise ShapeError(f"labels must be integers >= 0, but {name} is {x.dtype} from {x.min(initial=0)}")
    return t.astype(np.int64), p.astype(np.int64)


def _overlap(true: Array, pred: Array, rows: int, cols: int) -> Array:
    """(rows, cols) pixels of true label i and predicted label j."""
    return np.bincount(true.ravel() * cols + pred.ravel(), minlength=rows * cols).reshape(rows, cols)


def _iou(table: Array) -> Array:
    """|i and j| / |i or j|; 0 where both are empty."""
    union = table.sum(1)[:, None] + table.sum(0)[None] - table
    return np.asarray(table / np.maximum(union, 1))


def _matched(table: Array, matching: Matching) -> dict[int, int]:
    """Predicted part -> true part."""
    from scipy.optimize import linear_sum_assignment

    iou = _iou(table)[1:, 1:]
    if matching == "many":
        best = iou.argmax(0) if iou.size else np.zeros(0, np.int64)
        return {j + 1: int(i) + 1 for j, i in enumerate(best) if iou[i, j] > 0}
    rows, cols = linear_sum_assignment(-iou)
    return {int(j) + 1: int(i) + 1 for i, j in zip(rows, cols, strict=True) if iou[i, j] > 0}


def columns_corr(pred: ArrayLike, target: ArrayLike) -> NDArray[np.float64]:
    """Pearson's correlation of each column of (n, C) with its own; nan where one is constant. O(n C).

    Raises:
        ShapeError: shapes that differ, or fewer than two rows.

    >>> columns_corr([[0.0], [1], [2]], [[1.0], [3], [5]])
    array([1.])
    """
    p, t = np.asarray(pred, np.float64), np.asarray(target, np.float64)
    if p.shape != t.shape or p.ndim != 2 or len(p) < 2:
        raise ShapeError(f"expected two tables (n, C) with n > 1 of one shape, got {p.shape} and {t.shape}")
    p, t = p - p.mean(0), t - t.mean(0)
    scale = np.sqrt((p**2).sum(0) * (t**2).sum(0))
    varies = (p.std(0) > 1e-9) & (t.std(0) > 1e-9)
    return np.where(varies, (p * t).sum(0) / np.where(varies, scale, 1), np.nan)


def pose_corr(pred: ArrayLike, target: ArrayLike) -> dict[str, float]:
    """Correlation of pitch, yaw and roll of views (n, >= 3) whose first columns turn about x, y, z.

    -1: the mirrored solution; nan: no spread. Errors are those of `columns_corr`.
    """
    r = columns_corr(np.asarray(pred)[:, :3], np.asarray(target)[:, :3])
    return dict(zip(("pitch", "yaw", "roll"), map(float, r), strict=True))


def light_corr(pred: ArrayLike, target: ArrayLike) -> dict[str, float]:
    """Correlation of ambient, diffuse and direction x, y of lights (n, 5). Errors: `columns_corr`."""
    r = columns_corr(np.asarray(pred)[:, :4], np.asarray(target)[:, :4])
    return dict(zip(("ambient", "diffuse", "x", "y"), map(float, r), strict=True))


def rank_one_across_views(
    codes: ArrayLike, identity: ArrayLike, yaw: ArrayLike, steps: Sequence[float] = YAW_STEPS
) -> tuple[ViewRate, ...]:
    """Identity retrieval by cosine similarity, by how far apart the two views are.

    Of each picture, the gallery of a bin are the pictures whose yaw differs by low <= |difference| < high;
    a picture without a mate there is no probe. Equal scores count against it. O(n^2 D).

    Args:
        codes: (n, D).
        identity: (n,).
        yaw: (n,) degrees.
        steps: edges of the bins, rising.

    Raises:
        ShapeError: tables that do not fit.
        ConfigError: edges that do not rise.
    """
    c, who, turn = np.asarray(codes, np.float64), np.asarray(identity), np.asarray(yaw, np.float64)
    if c.ndim != 2 or who.shape != (len(c),) or turn.shape != (len(c),):
        raise ShapeError(f"expected (n, D), (n,), (n,), got {c.shape}, {who.shape}, {turn.shape}")
    if len(steps) < 2 or not np.all(np.diff(steps) > 0):
        raise ConfigError(f"steps {list(steps)} must be two or more rising degrees")
    unit = c / np.maximum(np.linalg.norm(c, axis=1, keepdims=True), 1e-12)
    scores, same = unit @ unit.T, who[:, None] == who[None]
    apart = np.abs(turn[:, None] - turn[None])
    others = ~np.eye(len(c), dtype=np.bool_)
    out = []
    for low, high in pairwise(steps):
        gallery = others & (apart >= low) & (apart < high)
        ranks = mate_ranks(np.where(gallery, scores, -np.inf).astype(np.float32), same & gallery)
        probes = ranks > 0
        guess = (same & gallery).sum(1) / np.maximum(gallery.sum(1), 1)
        rate, chance = (
            (float((ranks[probes] == 1).mean()), float(guess[probes].mean()))
            if probes.any()
            else (np.nan,) * 2
        )
        images = np.where(probes, (ranks == 1).astype(np.float64), np.nan)
        out.append(ViewRate(float(low), float(high), rate, int(probes.sum()), chance, images))
    return tuple(out)
