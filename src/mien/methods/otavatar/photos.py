"""Photographs of one person as an inversion takes them: pictures, what is known of each, their rays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mien.core.errors import ConfigError, DataError, ShapeError
from mien.core.images import ImageInput, read_image
from mien.core.seeds import derive
from mien.data.augment import prepare
from mien.methods.otavatar.head_pose import Orbit
from mien.methods.otavatar.rays import TargetRays, pick_rays

_WHITE = 0.98


class Photos(NamedTuple):
    """F square crops of one person on white.

    Attributes:
        pictures: (F, 3, S, S) in [0, 1].
        opacity: (F, 1, S, S) in 0 .. 1, what of them is the person.
        cameras: (F, 25).
        rows: (F, C) expression.
    """

    pictures: Tensor
    opacity: Tensor
    cameras: Tensor
    rows: Tensor


def read_photos(
    image: ImageInput | Sequence[ImageInput], coeffs: Any, camera: Any, mask: Any, size: int, actions: int
) -> Photos:
    """What a user gives, checked; the arguments of `OneShotAvatar.invert`. O(pixels).

    Args:
        image: one picture or a list; the middle square is taken.
        coeffs: (C,), (F, C) or None: at rest.
        camera: (25,), (F, 25) or None: in front.
        mask: (H, W), a list of F, or None: what is not white.
        size: S.
        actions: C.

    Raises:
        ConfigError: no pictures.
        DataError: a picture cannot be read, or coefficients that are no numbers.
        ShapeError: numbers that do not fit the pictures.
    """
    given = list(image) if isinstance(image, (list, tuple)) else [image]
    if not given:
        raise ConfigError("no picture; give at least one of the person")
    pictures = torch.cat([prepare([read_image(x)], size, 3) for x in given])
    opacity = (pictures.amin(1, keepdim=True) < _WHITE).float()
    if mask is not None:
        opacity = _masks(mask, len(given), size)
        pictures = on_white(pictures, opacity)
    return Photos(
        pictures, opacity, _cameras(camera, len(given)), expression_rows(coeffs, len(given), actions)
    )


def on_white(pictures: Tensor, opacity: Tensor) -> Tensor:
    """Pictures on white, a x + 1 - a: x (F, 3, S, S) in [0, 1], opacity (F, 1, S, S)."""
    return opacity * pictures + 1 - opacity


def expression_rows(coeffs: Any, count: int, actions: int) -> Tensor:
    """(F, C) expression of F pictures; at rest where nothing is given.

    Raises:
        ShapeError: another number of pictures or actions.
        DataError: values that are no numbers.
    """
    if coeffs is None:
        return torch.zeros(count, actions)
    rows: Tensor = torch.atleast_2d(torch.as_tensor(coeffs, dtype=torch.float32))
    if rows.shape != (count, actions):
        raise ShapeError(f"expected coefficients ({count}, {actions}), got {tuple(rows.shape)}")
    if not bool(rows.isfinite().all()):
        raise DataError("the coefficients of the picture hold values that are no numbers; track it again")
    return rows


def _cameras(camera: Any, count: int) -> Tensor:
    given = Orbit().cameras(1) if camera is None else camera
    own: Tensor = torch.atleast_2d(torch.as_tensor(given, dtype=torch.float32))
    if own.shape not in ((1, 25), (count, 25)) or not bool(own.isfinite().all()):
        raise ShapeError(f"expected cameras ({count}, 25) of numbers, got {tuple(own.shape)}")
    return own.expand(count, 25)


def _masks(mask: Any, count: int, size: int) -> Tensor:
    given = list(mask) if isinstance(mask, (list, tuple)) else [mask]
    if len(given) != count:
        raise ShapeError(f"{count} pictures but {len(given)} masks")
    own = [torch.as_tensor(m, dtype=torch.float32) for m in given]
    if any(m.ndim != 2 or not (m.min() >= 0 and m.max() <= 1) for m in own):
        raise ShapeError("a mask is (H, W) of numbers in 0 .. 1")
    grey = [read_image(m.expand(3, -1, -1)) for m in own]
    return torch.cat([prepare([m], size, 3)[:, :1] for m in grey])


def photo_rays(
    photos: Photos, count: int, face: float, seed: int, detail: float = 0.0
) -> Callable[[int], TargetRays]:
    """Step -> random pixels of the photographs, one view each; their depth is not known. O(F S^2) a step.

    Args:
        photos: of one person.
        count: rays of a photograph.
        face: share of them that falls on the person.
        seed: of the pixels.
        detail: share that falls on the person in proportion to `mien.methods.otavatar.rays.contrast`.

    Raises:
        ConfigError: no rays.
    """
    if count < 1:
        raise ConfigError(f"rays={count} must be at least 1")
    images = torch.cat([photos.pictures, photos.opacity], 1)[:, None]
    depth = images.new_full((len(images), 1, *images.shape[-2:]), float("nan"))
    points = images.new_zeros(len(images), 68, 3)  # no landmarks: all pixels count alike
    cameras, solid = photos.cameras[:, None], images[:, :, 3] > 0

    def sample(step: int) -> TargetRays:
        random = torch.Generator().manual_seed(derive(seed, "rays", step))
        return pick_rays(
            images,
            depth,
            cameras,
            points,
            count,
            face=face,
            parts=0.0,
            detail=detail,
            where=solid,
            generator=random,
        )

    return sample
