"""Margins of cosine classifiers as pure functions on cosines.

With unit embeddings and unit class weights, cos t_j = e . w_j; label y; scale s; every function maps cosines
(B, C) to logits (B, C), and touches only the label's column unless it says otherwise. A label of -1 (the
class lives in another shard) leaves its row without a margin.

Sources: NormFace (arXiv 1704.06369), CosFace (1801.09414, eq. 4), ArcFace (1801.07698, eq. 3 and the combined
margin of its eq. 4), AdaFace (2204.00964, eq. 9 to 12).
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from mien.core.errors import ConfigError, ShapeError

Gradient = Literal["exact", "straight_through"]
Guard = Literal["clip", "fallback", "none"]

SAFE = 1.0 - 1e-7
"""Cosines are clamped to +-SAFE before acos, whose slope is infinite at 1."""


def check_margin(m1: float, m2: float, guard: str, gradient: str) -> None:
    """Refuses what the margin functions do not know.

    Raises:
        ConfigError: unknown ``guard`` or ``gradient``; m1 <= 0; "fallback" with m1 != 1 or a negative m2.
    """
    for name, value, known in (("guard", guard, get_args(Guard)), ("gradient", gradient, get_args(Gradient))):
        if value not in known:
            raise ConfigError(f"{name}={value!r} is unknown; known: {', '.join(known)}")
    if m1 <= 0:
        raise ConfigError(f"m1={m1} must be above 0")
    if guard == "fallback" and (m1 != 1 or m2 < 0):
        raise ConfigError(
            f"guard='fallback' needs m1=1 and m2>=0, got m1={m1}, m2={m2}; use 'clip' or 'none'"
        )


def target_cosine(
    cosine: Tensor,
    m1: float = 1.0,
    m2: float = 0.5,
    m3: float = 0.0,
    guard: Guard = "fallback",
    eps: float = 1e-4,
) -> Tensor:
    """cos(m1 t + m2) - m3 with t = acos(cosine), elementwise; CosFace (m1 = 1, m2 = 0) needs no acos.

    Args:
        cosine: any shape, cosines of the label's class.
        m1: factor of the angle.
        m2: added to the angle, radians.
        m3: taken from the cosine.
        guard: what happens where m1 t + m2 > pi, where the cosine would rise again. "clip": the angle is
            clamped to [eps, pi - eps] (its gradient there is 0). "fallback": cos t - m2 sin m2 where
            cos t <= cos(pi - m2); keeps a gradient. "none": nothing.
        eps: of the clip, radians.

    >>> [round(float(target_cosine(torch.tensor(-0.95), guard=g)), 4) for g in ("fallback", "none")]
    [-1.1897, -0.9834]
    """
    if m1 == 1 and m2 == 0:
        return cosine - m3
    angle = m1 * torch.acos(cosine.clamp(-SAFE, SAFE)) + m2
    if guard == "clip":
        angle = angle.clamp(eps, math.pi - eps)
    out = torch.cos(angle)
    if guard == "fallback":
        out = torch.where(cosine <= math.cos(math.pi - m2), cosine - m2 * math.sin(math.pi - m2), out)
    return out - m3


def straight_through(value: Tensor, cosine: Tensor) -> Tensor:
    """The value of the first with the gradient of the second: d / d cos = 1."""
    return cosine + (value - cosine).detach()


def replace_targets(cosine: Tensor, y: Tensor, target: Tensor) -> Tensor:
    """Cosines (B, C) with column y of each row replaced by ``target`` (B, 1); rows with y = -1 stay."""
    if not cosine.shape[1]:
        return cosine
    column = y.clamp(min=0)[:, None]
    return cosine.scatter(1, column, torch.where(y[:, None] >= 0, target, cosine.gather(1, column)))


def filter_negatives(cosine: Tensor, y: Tensor, threshold: float) -> Tensor:
    """Inter-class filtering: cosines of other classes above ``threshold`` become 0; 0 turns the filter off.

    A wrong class that looks that alike is likely the same person twice; it shall not push.
    """
    if threshold <= 0 or not cosine.shape[1]:
        return cosine
    conflict = (cosine > threshold).scatter(1, y.clamp(min=0)[:, None], False)
    # A row without its label here has had its column 0 excused above; it is a negative like the others.
    conflict[:, 0] |= (y < 0) & (cosine[:, 0] > threshold)
    return cosine.masked_fill(conflict, 0.0)


def _columns(cosine: Tensor, y: Tensor) -> Tensor:
    """Cosines of the labels (B, 1); of class 0 where y = -1."""
    if cosine.ndim != 2 or y.shape != cosine.shape[:1]:
        got = f"{tuple(cosine.shape)} and {tuple(y.shape)}"
        raise ShapeError(f"expected cosines (B, C) and labels (B,), got {got}")
    if not cosine.shape[1]:
        return cosine.new_zeros(len(cosine), 1)
    return cosine.gather(1, y.clamp(min=0)[:, None])


def margin_logits(
    cosine: Tensor,
    y: Tensor,
    *,
    scale: float = 64.0,
    m1: float = 1.0,
    m2: float = 0.0,
    m3: float = 0.0,
    guard: Guard = "fallback",
    gradient: Gradient = "exact",
    filter_above: float = 0.0,
) -> Tensor:
    """z_y = s (cos(m1 t_y + m2) - m3), z_j = s cos t_j for the others. O(B C), one copy.

    (1, 0, 0) is NormFace, (1, 0, 0.4) CosFace, (1, 0.5, 0) ArcFace.

    Args:
        cosine: (B, C) in [-1, 1].
        y: (B,) labels; -1 = not among these classes.
        scale: s.
        m1: factor of the angle.
        m2: added to the angle, radians.
        m3: taken from the cosine.
        guard: see `target_cosine`.
        gradient: "exact": d z_y / d cos t_y = s m1 sin(m1 t_y + m2) / sin t_y; "straight_through": s, as
            where the margin is written into the cosines outside the graph.
        filter_above: see `filter_negatives`.

    Raises:
        ShapeError: shapes that do not fit.

    >>> margin_logits(torch.tensor([[0.6, 0.2, -0.3]]), torch.tensor([0]), m2=0.5)
    tensor([[  9.1526,  12.8000, -19.2000]])
    """
    was = _columns(cosine, y)
    target = target_cosine(was, m1, m2, m3, guard)
    if gradient == "straight_through":
        target = straight_through(target, was)
    return scale * replace_targets(filter_negatives(cosine, y, filter_above), y, target)


def relative_norms(norms: Tensor, mean: Tensor, std: Tensor, h: float = 0.333) -> Tensor:
    """AdaFace eq. 9 to 10: clip(h (n - mean) / (std + 1e-3), -1, 1), without gradient. Any shape."""
    return (h * (norms.detach() - mean) / (std + 1e-3)).clamp(-1.0, 1.0)


def adaface_logits(
    cosine: Tensor,
    y: Tensor,
    quality: Tensor,
    *,
    scale: float = 64.0,
    m: float = 0.4,
    gradient: Gradient = "exact",
    eps: float = 1e-3,
) -> Tensor:
    """z_y = s [cos(clip(t_y - m q, eps, pi - eps)) - (m + m q)], AdaFace eq. 11. O(B C).

    q = -1 is ArcFace with margin m, q = 0 CosFace with margin m, q = 1 a negative angle with 2 m taken off.

    Args:
        cosine: (B, C); all are clamped to +-(1 - eps) first.
        y: (B,) labels; -1 = not among these classes.
        quality: (B,) q in [-1, 1], see `relative_norms`.
        scale: s.
        m: margin.
        gradient: see `margin_logits`.
        eps: of both clips.

    Raises:
        ShapeError: shapes that do not fit.
    """
    cosine = cosine.clamp(-1.0 + eps, 1.0 - eps)
    was, q = _columns(cosine, y), quality[:, None].to(cosine.dtype)
    target = torch.cos((torch.acos(was) - m * q).clamp(eps, math.pi - eps)) - (m + m * q)
    if gradient == "straight_through":
        target = straight_through(target, was)
    return scale * replace_targets(cosine, y, target)
