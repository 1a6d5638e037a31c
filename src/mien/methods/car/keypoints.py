"""Keypoints of the person in a photograph: read from a file, and a body posed until its own lie on them.

The file is what ``tools/track.py PHOTO --body`` writes, or any npz with the same arrays:

    keypoints (P, K, 3): x, y in pixels with the origin at the corner of the first, confidence in [0, 1]
    names (K,): nose, left_shoulder, ... as COCO and MediaPipe call them; left is the subject's
    size (2,): width and height of the photograph
    mask (H, W): 255 where the person is; may be left out

A point of low confidence counts as not seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from mien.core.errors import ConfigError, DataError
from mien.methods.car.bodies import read_arrays
from mien.methods.car.pose_fit import Skin, turns
from mien.methods.car.skinning import blended_matrices, transform_points
from mien.synth.skinning import chain, moved

SEEN = 0.5
"""Least confidence of a point that counts."""
FEWEST = 6
"""Points that must be seen."""


@dataclass(frozen=True, eq=False)
class Person:
    """Keypoints of one person.

    Attributes:
        names: of the K points.
        points: (K, 2) in the box [-1, 1]^2 of the picture, y down.
        confidence: (K,) in [0, 1], 0 = not seen.
        mask: (H, W) uint8, 255 = person, if the file has one.
    """

    names: tuple[str, ...]
    points: Tensor
    confidence: Tensor
    mask: NDArray[np.uint8] | None = None

    def cropped(self, crop: Tensor) -> Person:
        """In the box of a square of the picture; crop: (4, 4) of `mien.methods.car.photo.crop_matrix`."""
        flat = torch.cat([self.points, torch.zeros_like(self.points[:, :1])], 1)
        return replace(self, points=transform_points(crop, flat)[:, :2])

    def named(self, names: Sequence[str]) -> Person:
        """The points of these names; those that there are not are not seen."""
        at = {name: k for k, name in enumerate(self.names)}
        rows = torch.tensor([at.get(name, 0) for name in names])
        known = torch.tensor([name in at for name in names])
        return replace(
            self, names=tuple(names), points=self.points[rows], confidence=self.confidence[rows] * known
        )


@dataclass(frozen=True)
class KeypointFit:
    """How a body is fitted to keypoints.

    Attributes:
        weight: of the mean square distance, in units of half the picture's side.
        steps: of Adam, without the mask.
        lr: of the angles in radians, the translation in units of 0.1 m, and the log of the scale.
        prior: weight of the mean square of the angles' change, and of the squared log of the scale.
    """

    weight: float = 6.0
    steps: int = 80
    lr: float = 0.05
    prior: float = 0.05

    def __post_init__(self) -> None:
        if self.steps < 0 or min(self.weight, self.prior) < 0 or self.lr <= 0:
            raise ConfigError(f"steps, weight, prior >= 0 and lr > 0 are needed, got {self}")


class Found(NamedTuple):
    """Poses on the keypoints, of B starts.

    Attributes:
        rotations: (B, J, 3, 3).
        translation: (B, 3) metres.
        calib: (B, 4, 4).
        losses: (B,).
    """

    rotations: Tensor
    translation: Tensor
    calib: Tensor
    losses: Tensor


def read_keypoints(path: str | Path, shape: Sequence[int]) -> Person:
    """The person of a file, for a picture of (H, W) pixels or the same one enlarged or reduced. O(pixels).

    Raises:
        DataError: no such file or another one; nobody or several people in it; a picture of other
            proportions; values that are no numbers; too few points seen.
    """
    table = read_arrays(path, "person's keypoints")
    missing = [name for name in ("keypoints", "names", "size") if name not in table]
    if missing:
        raise DataError(
            f"{path}: no {', '.join(missing)} in it; write it by: python tools/track.py PHOTO --body -o FILE"
        )
    rows, names = table["keypoints"], tuple(str(n) for n in table["names"].reshape(-1))
    if rows.dtype.kind != "f" or rows.ndim != 3 or rows.shape[1:] != (len(names), 3):
        raise DataError(f"{path}: keypoints are {rows.dtype} {rows.shape}, not floats (P, {len(names)}, 3)")
    if len(set(names)) < len(names):
        raise DataError(f"{path}: two keypoints have the same name")
    if len(rows) != 1:
        who = f"{len(rows)} people are" if len(rows) else "nobody is"
        raise DataError(f"{path}: {who} in it; track a photograph that shows one whole person")
    width, height = _same_picture(path, table["size"], shape)
    points, seen = _checked(path, rows[0].astype(np.float64))
    box = (2 * points - (width, height)) / max(width, height)
    return Person(
        names,
        torch.as_tensor(box, dtype=torch.float32),
        torch.as_tensor(seen, dtype=torch.float32),
        _mask(path, table.get("mask"), shape),
    )


def _same_picture(path: str | Path, size: NDArray[Any], shape: Sequence[int]) -> tuple[float, float]:
    """Width and height that the keypoints are of."""
    numbers = size.size == 2 and size.dtype.kind in "fiu"
    width, height = (float(n) for n in size.reshape(-1)) if numbers else (0.0, 0.0)
    ratio = width / shape[1]
    if not (width > 0 and height > 0 and abs(ratio * shape[0] - height) <= 1 + ratio):
        raise DataError(
            f"{path}: made of a picture of {width:g} x {height:g} pixels, this one has {shape[1]} x"
            f" {shape[0]}; track this photograph, neither cropped nor turned"
        )
    return width, height


def _checked(path: str | Path, rows: NDArray[np.float64]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Points (K, 2) and confidence (K,), 0 where not seen."""
    points, confidence = rows[:, :2], rows[:, 2]
    seen = confidence >= SEEN
    if not (np.isfinite(confidence).all() and np.isfinite(points[seen]).all()):
        raise DataError(f"{path}: keypoints hold values that are no numbers; track the photograph again")
    if confidence.min(initial=0) < 0 or confidence.max(initial=0) > 1:
        raise DataError(f"{path}: the third number of a keypoint is its confidence, from 0 to 1")
    return np.where(seen[:, None], points, 0.0), np.where(seen, confidence, 0.0)


def _mask(path: str | Path, mask: NDArray[Any] | None, shape: Sequence[int]) -> NDArray[np.uint8] | None:
    """(H, W) at the picture's size."""
    if mask is None:
        return None
    if mask.dtype != np.uint8 or mask.ndim != 2 or 0 in mask.shape:
        raise DataError(f"{path}: the mask is {mask.dtype} {mask.shape}, not uint8 (H, W)")
    return np.asarray(Image.fromarray(mask).resize((shape[1], shape[0]), Image.Resampling.BILINEAR))


def check_seen(person: Person, mask: Tensor, least: float = 0.5) -> None:
    """Whether enough points are seen, and they are this person's: in the mask (S, S) or at its rim.

    Raises:
        DataError: they are not.
    """
    seen = person.confidence > 0
    if int(seen.sum()) < FEWEST:
        raise DataError(
            f"only {int(seen.sum())} keypoints of the body are seen (confidence {SEEN} or more), at least"
            f" {FEWEST} are needed; leave --keypoints out, or track a sharper photograph"
        )
    size, rim = len(mask), max(1, len(mask) // 32)
    wide = torch.nn.functional.max_pool2d(mask[None, None].float(), 2 * rim + 1, 1, rim)[0, 0] > 0
    at = ((person.points[seen] + 1) * size / 2).floor().long()
    inside = ((at >= 0) & (at < size)).all(1)
    column, row = at.clamp(0, size - 1).unbind(1)
    share = float((inside & wide[row, column]).float().mean())
    if share < least:
        raise DataError(
            f"{share:.0%} of the keypoints lie in the mask, less than {least:.0%}: they are not those of the"
            " person in the mask; track this photograph"
        )


def keypoint_error(box: Tensor, person: Person) -> Tensor:
    """Weighted mean square distance of points of a body (..., K, 2) in the box from the keypoints (...,).

        E = sum_k c_k |x_k - q_k|^2 / sum_k c_k,   c confidence, q keypoints

    >>> one = Person(("nose", "left_knee"), torch.tensor([[0.0, 0.0], [1.0, 1.0]]), torch.tensor([0.6, 0.0]))
    >>> round(keypoint_error(torch.tensor([[0.3, 0.4], [0.0, 0.0]]), one).item(), 4)
    0.25
    """
    c = person.confidence / person.confidence.sum()
    return (c * (box - person.points).square().sum(-1)).sum(-1)


def projected(marks: Skin, rotations: Tensor, translation: Tensor, calib: Tensor) -> Tensor:
    """(B, K, 2) where the box of a calib shows a body's points in B poses. O(B K J).

    Args:
        marks: the K points as vertices, with skinning weights.
        rotations: (B, J, 3, 3).
        translation: (B, 3) metres.
        calib: (B, 4, 4) or (1, 4, 4).
    """
    batch = len(rotations)
    transforms = moved(chain(marks.joints.expand(batch, -1, -1), rotations, marks.parents), translation)
    blended = blended_matrices(marks.weights.expand(batch, -1, -1), transforms)
    return transform_points(calib[:, None], transform_points(blended, marks.vertices))[..., :2]


def fit_keypoints(
    marks: Skin,
    person: Person,
    rotations: Tensor,
    translation: Tensor,
    calib: Tensor,
    freedom: Tensor,
    settings: KeypointFit | None = None,
) -> Found:
    """Poses and scales near B starts whose points lie on the keypoints; the starts do not see each other.

        min_w,t,g  weight E(e^g C x(w, t)) + prior (mean |w|^2 + g^2),   R_j = exp([w_j]_x) R_j0

    A picture without perspective does not tell a limb turned to the viewer from one turned away: that is as
    in the start. O(steps B J K).

    Args:
        marks: the K points of the body.
        person: their keypoints.
        rotations: (B, J, 3, 3).
        translation: (B, 3) metres.
        calib: (B, 4, 4).
        freedom: (J,) factor of each joint's angles, 0 = fixed.
        settings: how.
    """
    own = settings or KeypointFit()
    angles = torch.zeros(*rotations.shape[:2], 3).requires_grad_()
    move, grow = torch.zeros_like(translation).requires_grad_(), torch.zeros(len(calib)).requires_grad_()
    optimizer = torch.optim.Adam([angles, move, grow], lr=own.lr)
    for step in range(own.steps + 1):
        w = freedom[:, None] * angles
        pose, where = turns(w) @ rotations, translation + 0.1 * move
        scaled = enlarged(calib, grow)
        error = keypoint_error(projected(marks, pose, where, scaled), person)
        losses = own.weight * error + own.prior * (w.square().mean((1, 2)) + grow.square())
        if step < own.steps:
            optimizer.zero_grad()
            losses.sum().backward()
            optimizer.step()
    return Found(pose.detach(), where.detach(), scaled.detach(), losses.detach())


def enlarged(calib: Tensor, log: Tensor) -> Tensor:
    """Calibs (B, 4, 4) whose box shows all e^log (B,) times as large."""
    scale = log.exp()[:, None, None]
    return torch.cat([scale * calib[:, :3], calib[:, 3:]], 1)
