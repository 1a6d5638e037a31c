"""Losses of OTAvatar: of pictures, of densities in the volume, of the controller's step.

Source: OTAvatar (arXiv 2303.14662) with its released code and weights of terms. Pictures are (B, 3, H, W) in
[-1, 1]; networks that judge them come as arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mien.core.errors import ConfigError, ShapeError

Features = Callable[[Tensor], Sequence[Tensor]]
Density = Callable[[Tensor], Tensor]


class Region(NamedTuple):
    """A part of the face that is compared enlarged.

    Attributes:
        landmarks: indices of the points that it is around.
        pad: margin around their box, as a share of the picture's side.
        size: side of the crop, in pixels.
    """

    landmarks: tuple[int, ...]
    pad: float
    size: int


MOUTH = Region(tuple(range(48, 68)), 10 / 512, 120)
RIGHT_EYE = Region(tuple(range(36, 42)), 20 / 512, 80)
LEFT_EYE = Region(tuple(range(42, 48)), 20 / 512, 80)
"""The parts in the 68 points of iBUG; right and left are the person's."""


def pixel_loss(pred: Tensor, target: Tensor) -> Tensor:
    """Mean over all numbers of d^2 / 2 where |d| < 1, else |d| - 1/2: a scalar. O(B H W).

    Raises:
        ShapeError: shapes that differ.

    >>> float(pixel_loss(torch.tensor([0.0, 0.0]), torch.tensor([0.5, 3.0])))
    1.3125
    """
    _check_alike(pred, target)
    return F.smooth_l1_loss(pred, target)


def region_boxes(landmarks: Tensor, region: Region, side: int) -> Tensor:
    """Box around the region's points, enlarged by its margin: (B, 4), x0, y0, x1, y1 in pixels. O(B).

    Args:
        landmarks: (B, N, 2), x and y in pixels; pixel centres at + 0.5.
        region: which points.
        side: of the picture, in pixels.

    Raises:
        ShapeError: fewer points than the region names.
    """
    if landmarks.ndim != 3 or landmarks.shape[2] != 2 or landmarks.shape[1] <= max(region.landmarks):
        least = max(region.landmarks) + 1
        raise ShapeError(f"expected landmarks (B, at least {least}, 2), got {tuple(landmarks.shape)}")
    points = landmarks[:, list(region.landmarks)]
    margin = region.pad * side
    return torch.cat([points.amin(1) - margin, points.amax(1) + margin], 1)


def crops(images: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Boxes of pictures, bilinear, to (B, C, size, size). O(B C size^2) for boxes of up to that size.

    Args:
        images: (B, C, H, W).
        boxes: (B, 4), one for each picture; outside the picture is 0.
        size: side in pixels.
    """
    from torchvision.ops import roi_align

    found: Tensor = roi_align(images, list(boxes[:, None].to(images).unbind(0)), size, aligned=True)
    return found


def local_loss(
    pred: Tensor,
    target: Tensor,
    landmarks: Tensor,
    *,
    mouth: Region = MOUTH,
    eyes: Sequence[Region] = (RIGHT_EYE, LEFT_EYE),
    form: Literal["correct", "released"] = "correct",
) -> Tensor:
    """Sum over mouth and eyes of the mean |pred - target| within their crops: a scalar. O(B size^2).

    Args:
        pred: (B, 3, H, H).
        target: (B, 3, H, H).
        landmarks: (B, N, 2) pixels in the target.
        mouth: its region.
        eyes: their regions.
        form: ``released`` crops the target for both sides of the eyes' terms, as the released code does, so
            these are 0 and teach nothing.

    Raises:
        ShapeError: shapes that do not fit together.
        ConfigError: another form.
    """
    _check_alike(pred, target)
    if form not in ("correct", "released"):
        raise ConfigError(f"form={form!r} must be correct or released")
    if len(landmarks) != len(pred):
        raise ShapeError(f"{len(landmarks)} sets of landmarks for {len(pred)} pictures")
    total = pred.new_zeros(())
    for region in [mouth] if form == "released" else [mouth, *eyes]:
        boxes = region_boxes(landmarks, region, pred.shape[-1])
        total = total + F.l1_loss(crops(pred, boxes, region.size), crops(target, boxes, region.size))
    return total


def identity_loss(pred: Tensor, target: Tensor, embed: Callable[[Tensor], Tensor]) -> Tensor:
    """Mean of 1 - cos(embed(pred), embed(target)): a scalar in [0, 2].

    Args:
        pred: (B, 3, H, W).
        target: (B, 3, H, W); no gradient.
        embed: pictures -> (B, D), of any length; aligns them as it needs.
    """
    with torch.no_grad():
        wanted = embed(target)
    return (1 - F.cosine_similarity(embed(pred), wanted)).mean()


def gram(maps: Tensor) -> Tensor:
    """F F^T / (C H W) of (B, C, H, W): (B, C, C). O(B C^2 H W)."""
    flat = maps.flatten(2)
    return flat @ flat.transpose(1, 2) / (flat.shape[1] * flat.shape[2])


def edge_features(images: Tensor) -> list[Tensor]:
    """The picture and its differences to the right and downwards: features without a trained net. O(B H W).

    With them and no style, `perceptual_loss` is the L1 of pictures and of their gradients over scales.
    """
    return [images, images.diff(dim=3), images.diff(dim=2)]


def perceptual_loss(
    pred: Tensor, target: Tensor, features: Features, *, scales: int = 2, style_weight: float = 250.0
) -> Tensor:
    """Sum over scales s and maps l of mean |f_l(pred_s) - f_l(target_s)|, plus style at the first scale.

        style = style_weight sum_l mean |G(f_l(pred)) - G(f_l(target))|,   G = F F^T / (C H W)

    Scale s is the picture halved s times, bilinear. The released code takes relu1_1 to relu5_1 of a VGG-19.

    Args:
        pred: (B, 3, H, W).
        target: (B, 3, H, W); no gradient.
        features: pictures -> maps, each (B, C_l, H_l, W_l); normalises the pictures as it needs.
        scales: 2 for the raw render, 4 for the large picture, in the released code.
        style_weight: 0 = no style.

    Returns:
        A scalar.

    Raises:
        ShapeError: shapes that differ, or sides that cannot be halved so often.
        ConfigError: no scales.
    """
    _check_alike(pred, target)
    if scales < 1:
        raise ConfigError(f"scales={scales} must be at least 1")
    if min(pred.shape[2:]) >> (scales - 1) < 1:
        raise ShapeError(f"pictures {tuple(pred.shape)} cannot be halved {scales - 1} times")
    total, target = pred.new_zeros(()), target.detach()
    for scale in range(scales):
        if scale:
            pred, target = (
                F.interpolate(v, scale_factor=0.5, mode="bilinear", align_corners=False)
                for v in (pred, target)
            )
        with torch.no_grad():
            wanted = list(features(target))
        for found, want in zip(features(pred), wanted, strict=True):
            total = total + F.l1_loss(found, want)
            if scale == 0 and style_weight:
                total = total + style_weight * F.l1_loss(gram(found), gram(want))
    return total


def regulariser_points(
    count: int,
    box: float = 1.0,
    *,
    form: Literal["inside", "released"] = "inside",
    generator: torch.Generator | None = None,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Uniform points for the two density terms: (count, 3). O(count).

    Args:
        count: how many.
        box: side of the volume, around the origin.
        form: ``inside`` the box; ``released`` in [-1, 1]^3 whatever the box is, where for a side of 1 seven
            points of eight lie outside.
        generator: of random numbers.
        device: of the points and of the generator.

    Raises:
        ConfigError: another form.
    """
    if form not in ("inside", "released"):
        raise ConfigError(f"form={form!r} must be inside or released")
    side = box if form == "inside" else 2.0
    return (torch.rand(count, 3, generator=generator, device=device) - 0.5) * side


def density_variation_loss(
    sigma: Density, points: Tensor, *, spread: float = 0.004, generator: torch.Generator | None = None
) -> Tensor:
    """Mean |sigma(p) - sigma(p + e)| / 4 with e ~ N(0, spread^2): a scalar. O(N) densities.

    Args:
        sigma: points (N, 3) -> densities, raw, N numbers.
        points: (N, 3) (`regulariser_points`).
        spread: deviation of e, in the unit of the points.
        generator: of random numbers, on the device of the points.
    """
    noise = torch.randn(points.shape, generator=generator, dtype=points.dtype, device=points.device)
    both = sigma(torch.cat([points, points + spread * noise])).flatten()
    return 0.25 * (both[: len(points)] - both[len(points) :]).abs().mean()


def monotone_density_loss(sigma: Density, points: Tensor, *, box: float = 1.0) -> Tensor:
    """Mean max(0, sigma(p) - sigma(p - (0, 0, box / 256))): a scalar. O(N) densities.

    The face looks along +z: going backwards from its front, the density must not drop.

    Args:
        sigma: points (N, 3) -> densities, raw, N numbers.
        points: (N, 3) (`regulariser_points`).
        box: side of the volume.
    """
    behind = points - points.new_tensor([0.0, 0.0, box / 256])
    both = sigma(torch.cat([points, behind])).flatten()
    return (both[: len(points)] - both[len(points) :]).relu().mean()


def norm_hinge(alpha: Tensor, least: float = 10.0) -> Tensor:
    """max(0, least - mean |alpha_l|) over samples and slots: a scalar that keeps dw alive. O(B L K).

    Args:
        alpha: (B, L, K) of the controller.
        least: mean length that is asked for.

    >>> float(norm_hinge(torch.tensor([[[3.0, 4.0], [0.0, 1.0]]])))
    7.0
    """
    length: Tensor = alpha.norm(dim=-1).mean()
    return (least - length).relu()


def _check_alike(pred: Tensor, target: Tensor) -> None:
    if pred.shape != target.shape:
        raise ShapeError(f"pred {tuple(pred.shape)} and target {tuple(target.shape)} must be alike")
