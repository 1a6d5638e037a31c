"""Turns the joints of a body until its outline is that of the picture's mask.

Source: CAR's earlier code (rotations of the joints by gradient descent on |soft silhouette - mask|); the
silhouette is `mien.render.coverage`, and a pull to the first pose is added.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from mien.core.errors import ConfigError, DataError, ShapeError
from mien.methods.car.skinning import blended_matrices, transform_points
from mien.methods.car.view import to_screen, to_view
from mien.render.silhouette import coverage
from mien.synth.skinning import chain, moved


@dataclass(frozen=True)
class PoseFitSettings:
    """How a pose is fitted.

    Attributes:
        steps: of Adam.
        lr: of the angles in radians; of the translation in units of 0.1 m.
        prior: weight of the mean square of the angles' change.
        least: overlap (intersection over union) below which the start is refused.
    """

    steps: int = 60
    lr: float = 0.02
    prior: float = 0.05
    least: float = 0.2

    def __post_init__(self) -> None:
        if self.steps < 0 or self.lr <= 0 or self.prior < 0 or not 0 <= self.least < 1:
            raise ConfigError(f"steps >= 0, lr > 0, prior >= 0 and least in [0, 1) are needed, got {self}")


class Skin(NamedTuple):
    """A body that can be posed.

    Attributes:
        vertices: (V, 3) metres, canonical pose.
        faces: (T, 3).
        weights: (V, J).
        joints: (J, 3) metres, heads of the bones.
        parents: of the J bones, -1 = root, parents first.
    """

    vertices: Tensor
    faces: Tensor
    weights: Tensor
    joints: Tensor
    parents: Sequence[int]


class PoseFit(NamedTuple):
    """What was found: the best of all steps.

    Attributes:
        rotations: (J, 3, 3) about the joints, in the axes of the canonical pose.
        translation: (3,) metres.
        overlap: intersection over union with the mask, before and after.
        losses: (steps + 1,).
    """

    rotations: Tensor
    translation: Tensor
    overlap: tuple[float, float]
    losses: Tensor


def turns(angles: Tensor) -> Tensor:
    """Rotations exp([w]_x) (..., 3, 3) of axis-angle vectors w (..., 3), differentiable at 0 too."""
    x, y, z = angles.unbind(-1)
    o = torch.zeros_like(x)
    skew = torch.stack([o, -z, y, z, o, -x, -y, x, o], -1).unflatten(-1, (3, 3))
    out: Tensor = torch.linalg.matrix_exp(skew)
    return out


def posed_vertices(skin: Skin, rotations: Tensor, translation: Tensor) -> Tensor:
    """(V, 3) metres by linear blend skinning, differentiable in the pose. O(V J)."""
    transforms = moved(chain(skin.joints[None], rotations[None], skin.parents), translation[None])
    return transform_points(blended_matrices(skin.weights[None], transforms)[0], skin.vertices)


def overlap(a: Tensor, b: Tensor) -> float:
    """Intersection over union of two masks of booleans; 0 if both are empty."""
    return float((a & b).sum() / (a | b).sum().clamp(min=1))


def fit_pose(
    skin: Skin,
    calib: Tensor,
    mask: Tensor,
    rotations: Tensor | None = None,
    translation: Tensor | None = None,
    settings: PoseFitSettings | None = None,
    freedom: Tensor | None = None,
    also: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> PoseFit:
    """The pose near the given one whose silhouette is the mask.

        min_w,t  sum |alpha(w, t) - mask| / sum mask + prior mean |w|^2,   R_j = exp([w_j]_x) R_j0

    alpha is `mien.render.coverage`, whose gradient lives within a pixel of the outline: the start should
    overlap. The silhouette says little of turns about the axis of a limb and of depth: there the prior keeps
    the start. O(steps (V J + contour log contour + H W)).

    Args:
        skin: the body.
        calib: (4, 4) world -> box.
        mask: (H, W) booleans.
        rotations: (J, 3, 3) start; None: canonical pose.
        translation: (3,) start, metres; None: 0.
        settings: how.
        freedom: (J,) factor of each joint's angles, 0 = fixed; None: all 1.
        also: a term of the loss that is added, of rotations (J, 3, 3) and translation (3,).

    Raises:
        ShapeError: tensors that do not fit together.
        DataError: the start and the mask hardly overlap.
    """
    own, count = settings or PoseFitSettings(), len(skin.joints)
    first = torch.eye(3).to(skin.vertices).expand(count, 3, 3) if rotations is None else rotations
    shift = skin.vertices.new_zeros(3) if translation is None else translation
    free = skin.vertices.new_ones(count) if freedom is None else freedom
    if first.shape != (count, 3, 3) or free.shape != (count,) or mask.dtype != torch.bool or mask.ndim != 2:
        raise ShapeError(
            f"rotations ({count}, 3, 3), freedom ({count},) and a mask (H, W) of booleans are needed, got"
            f" {tuple(first.shape)}, {tuple(free.shape)} and {tuple(mask.shape)} {mask.dtype}"
        )
    angles = torch.zeros(count, 3).to(skin.vertices).requires_grad_()
    move = torch.zeros(3).to(skin.vertices).requires_grad_()
    optimizer = torch.optim.Adam([angles, move], lr=own.lr)
    best, losses, overlaps = (first, shift), [], []
    for step in range(own.steps + 1):
        w = free[:, None] * angles
        pose, where = turns(w) @ first, shift + 0.1 * move
        points = to_screen(to_view(posed_vertices(skin, pose, where), calib))
        alpha, face = coverage(points[None], skin.faces, *mask.shape)
        overlaps.append(overlap(face[0] >= 0, mask))
        if step == 0 and overlaps[0] < own.least:
            raise DataError(
                f"the body covers the mask by {overlaps[0]:.2f} (intersection over union), less than"
                f" {own.least}; check the calibration, the body and the mask"
            )
        fit = (alpha[0] - mask.to(alpha)).abs().sum() / mask.sum().clamp(min=1)
        loss = fit + own.prior * w.square().mean()
        if also is not None:
            loss = loss + also(pose, where)
        losses.append(loss.detach())
        if loss.detach() <= torch.stack(losses).min():
            best, last = (pose.detach(), where.detach()), overlaps[-1]
        if step < own.steps:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return PoseFit(*best, (overlaps[0], last), torch.stack(losses))
