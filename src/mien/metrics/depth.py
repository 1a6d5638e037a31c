"""Errors of depth maps, and of pictures carried from one view into another through depth."""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from mien.core.errors import ConfigError, DataError, ShapeError
from mien.metrics.pictures import check_any, check_pictures, masked_mean

DepthNorm = Literal["l1", "rmse", "relative"]


class View(Protocol):
    """What is asked of a camera; `mien.render.Camera` has it."""

    def unproject(self, depth: Tensor) -> Tensor:
        """(B, H, W) depth along the optical axis -> world points (B, H, W, 3), nan where not finite."""

    def project(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """World points (B, N, 3) -> NDC (B, N, 3), x right, y up, and w."""

    def metric_depth(self, z: Tensor) -> Tensor:
        """Depth along the optical axis of an NDC z."""


class Reprojection(NamedTuple):
    """One view carried into another.

    Attributes:
        color: (B,) mean absolute difference over channels and compared pixels, in units of the pixels; nan
            where none was.
        depth: (B,) mean absolute difference of depth there, in its unit.
        share: (B,) of the pixels of view a with depth (and in the mask) that b sees too.
        compared: (B, H, W) bool, which.
    """

    color: Tensor
    depth: Tensor
    share: Tensor
    compared: Tensor


def scale_invariant_depth_error(pred: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """SIDE = sqrt(mean(d^2) - mean(d)^2), d = ln pred - ln target, for each picture. O(B H W).

    Blind to one factor on a whole map. Often printed times 100.

    Args:
        pred: (B, H, W) depth, positive.
        target: (B, H, W) depth, positive.
        mask: (B, H, W), true where to compare; None: where the target is finite.

    Returns:
        (B,).

    Raises:
        ShapeError: shapes that differ.
        DataError: an empty mask, or depth in it that is not positive and finite.

    Source: Eigen et al. (arXiv 1406.2283), eq. 1; Unsup3D (arXiv 1911.11130).

    >>> depth = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    >>> bool(scale_invariant_depth_error(7 * depth, depth) < 1e-3)
    True
    """
    pred, target, inside = _depths(pred, target, mask)
    one = torch.ones_like(pred)
    gap = (torch.where(inside, pred, one) / torch.where(inside, target, one)).double().log()
    mean = masked_mean(gap, inside)
    # The variance about the mean: the difference of two means would lose half the digits.
    return masked_mean((gap - mean[:, None, None, None]).square(), inside).sqrt().to(pred.dtype)


def depth_error(
    pred: Tensor, target: Tensor, mask: Tensor | None = None, *, norm: DepthNorm = "l1"
) -> Tensor:
    """Error of depth as it is, for each picture. O(B H W).

    Args:
        pred: (B, H, W) depth, positive; both along the optical axis or both along the ray.
        target: (B, H, W) depth, positive.
        mask: (B, H, W), true where to compare; None: where the target is finite.
        norm: "l1": mean |p - t|; "rmse": sqrt mean (p - t)^2; "relative": mean |p - t| / t.

    Returns:
        (B,) in the unit of depth; "relative": a share.

    Raises:
        ConfigError: no such norm.
        ShapeError, DataError: see `scale_invariant_depth_error`.
    """
    if norm not in get_args(DepthNorm):
        raise ConfigError(f"no depth norm {norm!r}; one of {', '.join(get_args(DepthNorm))}")
    pred, target, inside = _depths(pred, target, mask)
    gap = torch.where(inside, pred - target, torch.zeros_like(pred)).abs()
    if norm == "rmse":
        return masked_mean(gap.square(), inside).sqrt()
    if norm == "relative":
        gap = gap / torch.where(inside, target, torch.ones_like(target))
    return masked_mean(gap, inside)


def _depths(pred: Tensor, target: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Both maps as (B, 1, H, W), and where to compare them."""
    if pred.ndim != 3 or pred.shape != target.shape:
        raise ShapeError(
            f"expected depth maps (B, H, W) of one shape, got {tuple(pred.shape)} and {tuple(target.shape)}"
        )
    p, t = pred[:, None], target[:, None]
    inside = check_pictures(p, t, torch.isfinite(target) if mask is None else mask)
    bad = inside & ~((p > 0) & (t > 0) & torch.isfinite(p) & torch.isfinite(t))
    if bool(bad.any()):
        where = [int(i) for i in bad.nonzero()[0]]
        raise DataError(
            f"depth at picture {where[0]}, row {where[2]}, column {where[3]} is not positive and finite in"
            " both maps; leave it out with a mask"
        )
    return p, t, inside


def reprojection_error(
    image_a: Tensor,
    depth_a: Tensor,
    camera_a: View,
    image_b: Tensor,
    depth_b: Tensor,
    camera_b: View,
    mask: Tensor | None = None,
    *,
    tolerance: float = 0.02,
) -> Reprojection:
    """Multi-view consistency: pixels of view a, lifted by their depth, against what view b shows there.

        X = C_a^-1(u, D_a(u));  v = C_b(X);  e = |I_a(u) - I_b(v)|  where b sees X

    b sees X if v lies in the picture, all four pixels around it have depth, and |D_b(v) - depth of X| is at
    most ``tolerance`` of it: what is hidden in b is not compared. So it is blind to surfaces that moved by
    more than that; ``share`` falls then, and both belong in a report. Bilinear sampling. O(B C H W).

    Args:
        image_a: (B, C, H, W).
        depth_a: (B, H, W) along the optical axis, not along rays; inf or nan for background.
        camera_a: of B views.
        image_b: (B, C, H', W').
        depth_b: (B, H', W').
        camera_b: of B views.
        mask: (B, H, W) of view a; None: all.
        tolerance: share of the depth.

    Raises:
        ShapeError: shapes that do not fit.
        DataError: a mask without a pixel that has depth.
        ConfigError: a tolerance that is not positive.
    """
    if not tolerance > 0:
        raise ConfigError(f"tolerance must be above 0, got {tolerance}; 0.02 is 2 % of the depth")
    _check_view(image_a, depth_a)
    _check_view(image_b, depth_b)
    if image_a.shape[:2] != image_b.shape[:2]:
        raise ShapeError(
            f"views of {tuple(image_a.shape[:2])} and {tuple(image_b.shape[:2])} pictures, channels"
        )
    inside = check_pictures(image_a, image_a, mask)[:, 0] & torch.isfinite(depth_a)
    check_any(inside)
    points = torch.nan_to_num(camera_a.unproject(depth_a)).flatten(1, 2)
    ndc, _ = camera_b.project(points)
    ahead = torch.isfinite(ndc[..., 2])
    depth = camera_b.metric_depth(ndc[..., 2]).view_as(depth_a)
    grid = torch.stack([ndc[..., 0], -ndc[..., 1]], -1).view(*depth_a.shape, 2)
    has = torch.isfinite(depth_b)[:, None].to(image_b.dtype)
    filled = torch.where(torch.isfinite(depth_b), depth_b, torch.zeros_like(depth_b))[:, None]
    whole, there, shown = (_sampled(x, grid) for x in (has, filled, image_b))
    apart = (there[:, 0] - depth).abs()
    seen = inside & ahead.view_as(depth_a) & (whole[:, 0] > 1 - 1e-4) & (apart <= tolerance * depth)
    compared = seen[:, None]
    color = masked_mean((image_a - shown).abs(), compared)
    return Reprojection(
        color, masked_mean(apart[:, None], compared), seen.sum((1, 2)) / inside.sum((1, 2)), seen
    )


def _sampled(maps: Tensor, grid: Tensor) -> Tensor:
    """(B, C, H', W') at NDC-like places (B, H, W, 2); 0 beyond the outer pixel centres' neighbours."""
    return F.grid_sample(maps, grid.to(maps.dtype), align_corners=False)


def _check_view(image: Tensor, depth: Tensor) -> None:
    if image.ndim != 4 or depth.shape != (image.shape[0], *image.shape[2:]):
        raise ShapeError(
            f"expected a picture (B, C, H, W) and depth (B, H, W), got {tuple(image.shape)},"
            f" {tuple(depth.shape)}"
        )
