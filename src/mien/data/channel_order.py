"""RGB or BGR? The mistake that costs most and shows least, found by measuring both."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.core.errors import DataError, ShapeError

Pair = tuple[NDArray[np.uint8], NDArray[np.uint8], bool]
Embed = Callable[[NDArray[np.uint8]], NDArray[Any]]

_CLEAR = 0.01
_SIGMAS = 3.0


@dataclass(frozen=True)
class ChannelReport:
    """Verification accuracy with the channels as they are and reversed.

    Attributes:
        as_given: best accuracy over all thresholds.
        reversed: the same, with blue and red exchanged.
        pairs: how many were compared.
        sigmas: by how many standard deviations the reversed order is right on more pairs (paired sign test).
        is_swapped: the reversed order is clearly better: 3 sigmas and one point or more.
    """

    as_given: float
    reversed: float
    pairs: int
    sigmas: float
    is_swapped: bool


def check_channel_order(embed: Embed, pairs: Iterable[Pair], *, batch: int = 256) -> ChannelReport:
    """Compares verification with pictures as they are and with blue and red exchanged; warns if swapped.

    A model that was trained on BGR loses several points on RGB pictures without any error. Grey pictures
    tell nothing and give a difference of zero.

    Args:
        embed: pictures (B, H, W, 3) uint8 -> embeddings (B, D).
        pairs: two faces and whether they are one person, as `VerificationBin` gives them.
        batch: pictures embedded at once.

    Raises:
        DataError: pairs of one kind only.
        ShapeError: pictures of several sizes, or embeddings that are not (B, D) or not finite.

    Warns:
        UserWarning: the reversed order is clearly better.
    """
    given, swapped, truth = list[Any](), list[Any](), list[bool]()
    waiting: list[NDArray[np.uint8]] = []
    for first, second, same in pairs:
        waiting += [first, second]
        truth.append(bool(same))
        if len(waiting) >= batch:
            _embed(embed, waiting, given, swapped)
            waiting = []
    if waiting:
        _embed(embed, waiting, given, swapped)
    labels = np.array(truth, bool)
    if labels.all() or not labels.any():
        raise DataError("channel order: needs pairs of one person and of two, got one kind only")
    right = [_right(_cosines(np.concatenate(e)), labels) for e in (given, swapped)]
    gained = int((right[1] & ~right[0]).sum())
    lost = int((right[0] & ~right[1]).sum())
    sigmas = (gained - lost) / max(1.0, float(np.sqrt(gained + lost)))
    before, after = float(right[0].mean()), float(right[1].mean())
    is_swapped = sigmas >= _SIGMAS and after - before >= _CLEAR
    if is_swapped:
        warnings.warn(
            f"verification accuracy {100 * before:.1f} % with these pictures, {100 * after:.1f} % with red"
            " and blue exchanged: the model or the pictures are BGR; reverse the channels of one",
            stacklevel=2,
        )
    return ChannelReport(before, after, len(labels), sigmas, is_swapped)


def _embed(embed: Embed, faces: Sequence[NDArray[np.uint8]], given: list[Any], swapped: list[Any]) -> None:
    if len(shapes := {face.shape for face in faces}) > 1:
        raise ShapeError(f"channel order: pictures of several sizes {sorted(shapes)[:3]}; align them first")
    images = np.stack(faces)
    for out, pictures in ((given, images), (swapped, np.ascontiguousarray(images[..., ::-1]))):
        vectors = np.asarray(embed(pictures), np.float64)
        if vectors.ndim != 2 or len(vectors) != len(faces) or not np.isfinite(vectors).all():
            raise ShapeError(
                f"channel order: expected finite embeddings ({len(faces)}, D), got shape {vectors.shape}"
            )
        out.append(vectors)


def _cosines(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    cosines: NDArray[np.float64] = (unit[0::2] * unit[1::2]).sum(1)
    return cosines


def _right(scores: NDArray[np.float64], same: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which pairs are told right at the best threshold. O(N log N)."""
    order = np.argsort(-scores, kind="stable")
    hits = np.concatenate([[0], np.cumsum(np.where(same[order], 1, -1))])
    # A threshold may not part equal scores.
    sorted_scores = scores[order]
    allowed = np.concatenate([[True], sorted_scores[1:] != sorted_scores[:-1], [True]])
    best = int(np.argmax(np.where(allowed, hits, -len(same) - 1)))
    accepted = np.zeros(len(same), bool)
    accepted[order[:best]] = True
    result: NDArray[np.bool_] = accepted == same
    return result
