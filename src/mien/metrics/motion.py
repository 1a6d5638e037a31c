"""Errors of an animated head: landmarks (AKD), expression (AED), pose (APD), flicker, frames per second.

Papers use one name for several quantities; here each is chosen by the name of its convention, which belongs
beside the number. All give one number per frame.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any, Literal, TypeVar, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.core.errors import ConfigError, DataError, ShapeError

Floats = NDArray[np.floating[Any]]
Input = TypeVar("Input")
PointNorm = Literal["mean_abs", "l1", "euclidean"]
Scale = Literal["pixels", "interocular", "box"]
Reduce = Literal["mean", "sum", "l2"]
PosePart = Literal["angles", "full"]
EYE_CORNERS = (36, 45)
"""Outer eye corners among the 68 landmarks of iBUG."""


def average_keypoint_distance(
    pred: ArrayLike,
    target: ArrayLike,
    *,
    norm: PointNorm = "mean_abs",
    scale: Scale = "pixels",
    corners: tuple[int, int] = EYE_CORNERS,
) -> Floats:
    """AKD: how far the landmarks of a frame are from where they should be, mean over landmarks. O(T N).

    Args:
        pred: (T, N, 2) pixels.
        target: (T, N, 2) pixels: of the true frame, or of the driving one.
        norm: "mean_abs": (|dx| + |dy|) / 2, as the script of the first-order motion model has it; "l1":
            |dx| + |dy|; "euclidean".
        scale: what distances are divided by: "pixels": nothing; "interocular": the distance of two corners in
            the target; "box": the square root of the area of the target's bounding box (with both, shares).
        corners: which landmarks are the two corners; the default is for 68 of them.

    Returns:
        (T,) pixels, or a share.

    Raises:
        ConfigError: no such convention.
        ShapeError: other shapes.
        DataError: values that are no numbers, or a scale of 0.

    >>> average_keypoint_distance([[[3.0, 4.0]]], [[[0.0, 0.0]]], norm="euclidean").tolist()
    [5.0]
    """
    _check_name("norm", norm, get_args(PointNorm))
    _check_name("scale", scale, get_args(Scale))
    a, b = _alike(pred, target, "landmarks", 3)
    if a.shape[2] != 2 or a.shape[1] < 1:
        raise ShapeError(f"expected landmarks (T, N, 2), got {a.shape}")
    gap = np.abs(a - b)
    each = np.sqrt((gap**2).sum(-1)) if norm == "euclidean" else gap.sum(-1) / (1 + (norm == "mean_abs"))
    return np.asarray(each.mean(1) / _scale(b, scale, corners))


def _scale(points: Floats, scale: Scale, corners: tuple[int, int]) -> Floats:
    """(T,) what distances are divided by."""
    if scale == "pixels":
        return np.ones(len(points))
    if scale == "box":
        out = np.sqrt(np.prod(points.max(1) - points.min(1), axis=-1))
    else:
        if not all(0 <= c < points.shape[1] for c in corners):
            raise ConfigError(f"corners {corners} are not among {points.shape[1]} landmarks; name yours")
        out = np.linalg.norm(points[:, corners[0]] - points[:, corners[1]], axis=-1)
    if not (out > 0).all():
        raise DataError(f"{scale} scale of frame {int(np.argmin(out))} is 0; its landmarks coincide")
    return np.asarray(out)


def average_expression_distance(pred: ArrayLike, target: ArrayLike, *, reduce: Reduce = "mean") -> Floats:
    """AED: distance of two expression vectors, frame by frame. O(T E).

    Args:
        pred: (T, E) coefficients of the generated frames.
        target: (T, E) of the true frames, or of the driving ones, by the same tracker.
        reduce: over the coefficients: "mean" or "sum" of absolute differences, or "l2", their length.

    Returns:
        (T,) in units of the coefficients.

    Raises:
        ConfigError: no such convention.
        ShapeError: other shapes.
        DataError: values that are no numbers.
    """
    a, b = _alike(pred, target, "coefficients", 2)
    return _reduced(a - b, reduce)


def average_pose_distance(
    pred: ArrayLike, target: ArrayLike, *, part: PosePart = "angles", reduce: Reduce = "mean"
) -> Floats:
    """APD: distance of two head poses, frame by frame; angles go the short way round. O(T).

    Args:
        pred: (T, 3) angles in radians, or (T, 6) with the translation behind them.
        target: the same of the true frames, or of the driving ones.
        part: "angles": the three angles only; "full": angles and translation as one vector, although their
            units differ (the authors of OTAvatar do it so).
        reduce: see `average_expression_distance`.

    Returns:
        (T,) radians; for "full", of no unit.

    Raises:
        ConfigError: no such convention.
        ShapeError: other shapes, or no translation for "full".
        DataError: values that are no numbers.

    >>> average_pose_distance([[0.3, 0.0, 0.0]], [[0.0, 0.0, 0.0]]).round(3).tolist()
    [0.1]
    """
    _check_name("part", part, get_args(PosePart))
    a, b = _alike(pred, target, "poses", 2)
    if a.shape[1] not in ((6,) if part == "full" else (3, 6)):
        raise ShapeError(f"poses are (T, 3) angles or (T, 6) with translation ('full'), got {a.shape}")
    gap = a - b
    gap[:, :3] = np.remainder(gap[:, :3] + np.pi, 2 * np.pi) - np.pi
    return _reduced(gap if part == "full" else gap[:, :3], reduce)


def _reduced(gap: Floats, reduce: Reduce) -> Floats:
    _check_name("reduce", reduce, get_args(Reduce))
    if reduce == "l2":
        return np.asarray(np.sqrt((gap**2).sum(1)))
    return np.asarray(np.abs(gap).mean(1) if reduce == "mean" else np.abs(gap).sum(1))


def temporal_error(pred: ArrayLike, target: ArrayLike, mask: ArrayLike | None = None) -> Floats:
    """Mean |(x_t - x_(t-1)) - (y_t - y_(t-1))|: changes that the true video does not have. O(T H W C).

    A constant offset costs nothing. 0 for the true video.

    Args:
        pred: (T, H, W, C) frames, T >= 2.
        target: (T, H, W, C) the true ones.
        mask: (T, H, W), true where to look; a pixel counts where it is true in both frames. None: all.

    Returns:
        (T - 1,) in units of the pixels.

    Raises:
        ShapeError: other shapes, or one frame.
        DataError: values that are no numbers, or a mask that is empty in two neighbouring frames.
    """
    a, b = _alike(pred, target, "frames", 4)
    return _steps(a - b, 1, mask)


def temporal_flicker(video: ArrayLike, mask: ArrayLike | None = None) -> Floats:
    """Mean |x_(t-1) - 2 x_t + x_(t+1)|: what jumps to and fro, without a true video. O(T H W C).

    Steady changes cost nothing; a real video is not 0 where edges move, so compare with a real one.

    Args:
        video: (T, H, W, C) frames, T >= 3.
        mask: see `temporal_error`; true in all three frames.

    Returns:
        (T - 2,) in units of the pixels.

    Raises:
        ShapeError, DataError: see `temporal_error`.
    """
    frames, _ = _alike(video, video, "frames", 4)
    return _steps(frames, 2, mask)


def _steps(frames: Floats, order: int, mask: ArrayLike | None) -> Floats:
    """Mean absolute differences of some order in time."""
    if len(frames) <= order:
        raise ShapeError(f"expected at least {order + 1} frames, got {len(frames)}")
    change = np.abs(np.diff(frames, n=order, axis=0)).mean(-1)
    if mask is None:
        return np.asarray(change.mean((1, 2)))
    inside = np.asarray(mask) > 0
    if inside.shape != frames.shape[:3]:
        raise ShapeError(f"mask {inside.shape} must be (T, H, W) = {frames.shape[:3]}")
    seen = np.stack([inside[i : len(inside) - order + i] for i in range(order + 1)]).all(0)
    count = seen.sum((1, 2))
    if not count.all():
        raise DataError(f"the mask around frame {int(np.argmin(count))} holds no pixel; leave that frame out")
    return np.asarray((change * seen).sum((1, 2)) / count)


def frame_seconds(
    step: Callable[[Input], object],
    inputs: Iterable[Input],
    *,
    synchronise: Callable[[], object] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> list[float]:
    """Seconds of one call for each input: from the controller's input to the final picture.

    Args:
        step: makes one frame (batch 1); leave inversion, reading and encoding outside.
        inputs: one for each frame.
        synchronise: waits for the device, before and after each call (``torch.cuda.synchronize``); without it
            a GPU is timed wrongly.
        clock: seconds.
    """
    out, wait = [], synchronise or (lambda: None)
    for value in inputs:
        wait()
        began = clock()
        step(value)
        wait()
        out.append(clock() - began)
    return out


def frames_per_second(seconds: ArrayLike, *, drop: int = 10) -> float:
    """1 / median of the seconds a frame took, the first ``drop`` left out as warm-up.

    Args:
        seconds: (T,) of `frame_seconds`, T > drop.
        drop: how many.

    Raises:
        DataError: nothing is left, or times that are not positive.

    >>> frames_per_second([9.0, 0.5, 0.5, 0.25], drop=1)
    2.0
    """
    kept = np.asarray(seconds, np.float64)[drop:]
    if kept.ndim != 1 or not len(kept):
        raise DataError(f"no frames left after the first {drop}; time more of them")
    if not (kept > 0).all():
        raise DataError("seconds of a frame must be positive; use a finer clock")
    return float(1 / np.median(kept))


def _alike(pred: ArrayLike, target: ArrayLike, what: str, dims: int) -> tuple[Floats, Floats]:
    a, b = np.asarray(pred, np.float64), np.asarray(target, np.float64)
    if a.shape != b.shape or a.ndim != dims or not a.size:
        raise ShapeError(f"expected {what} of one shape with {dims} axes, got {a.shape} and {b.shape}")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise DataError(f"{what} hold values that are no numbers; leave those frames out")
    return a, b


def _check_name(what: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ConfigError(f"no {what} {value!r}; one of {', '.join(known)}")
