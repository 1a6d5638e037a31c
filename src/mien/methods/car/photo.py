"""A user's picture as the nets were trained to see people: a square around one whole person, and a mask."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from torch import Tensor

from mien.core.errors import DataError
from mien.core.images import ImageInput, read_alpha, read_image

Status = Literal["ok", "no_person", "several_persons", "cropped", "too_small"]
Mask = NDArray[np.bool_]
MARGIN = 0.1
"""Of the square around the person, on each side, in lengths of the person."""
_PERSON = 0.25  # a part of the mask with this share of the largest one's pixels is a person of its own
_SMALLEST = 0.25  # of the net's side: a shorter person shows nothing
_FULL = 0.95
_TOLERANCE, _PLAIN = 24, 0.8  # grey levels from the background's colour; least share of the rim within them


class Photo(NamedTuple):
    """The square around the person.

    Attributes:
        status: "ok", and only then the rest is there.
        image: (3, S, S) in [0, 1].
        mask: (S, S) booleans: the person.
        crop: (4, 4) box of the whole picture -> box of the square; see `crop_matrix`.
    """

    status: Status
    image: Tensor
    mask: Tensor
    crop: Tensor


def read_photo(
    source: ImageInput, mask: str | ImageInput, size: int, known: NDArray[np.uint8] | None = None
) -> Photo:
    """Reads a picture and finds the person by its mask. O(pixels).

    Args:
        source: what `read_image` takes.
        mask: "auto", "alpha", "plain", or a picture of the same size (white = person).
        size: S, pixels a side.
        known: (H, W) the mask that "auto" takes before it looks for a plain background.

    Raises:
        DataError: the picture or the mask cannot be read or do not fit together; no mask can be found; it is
            full.
        LimitError: more pixels than allowed.
    """
    picture = read_image(source)
    inside, status = one_person(read_mask(source, picture, mask, known))
    empty = Photo(status, torch.empty(0), torch.empty(0), torch.empty(0))
    if status != "ok":
        return empty
    square = person_square(inside)
    if square[2] / (1 + 2 * MARGIN) < _SMALLEST * size:
        return empty._replace(status="too_small")
    image = torch.from_numpy(cut(picture, square, size)).permute(2, 0, 1).float() / 255
    there = torch.from_numpy(cut(255 * inside.astype(np.uint8), square, size) > 127)
    return Photo("ok", image, there, crop_matrix(picture.shape[:2], square))


def read_mask(
    source: ImageInput,
    picture: NDArray[np.uint8],
    mask: str | ImageInput,
    known: NDArray[np.uint8] | None = None,
) -> Mask:
    """(H, W) the person, by one of the ways of `read_photo`.

    Raises:
        DataError: a picture without opacity, another size, or a background that is not plain.
    """
    if isinstance(mask, str) and mask in ("auto", "alpha"):
        alpha = read_alpha(source)
        if alpha is not None and int(alpha.min()) < 255:
            return np.asarray(alpha > 127)
        if mask == "alpha":
            raise DataError("the picture is opaque everywhere; give --mask FILE (white = person)")
    if known is not None and isinstance(mask, str) and mask == "auto":
        mask = known
    if isinstance(mask, str) and mask in ("auto", "plain"):
        return plain_mask(picture)
    grey = read_image(mask, name=str(mask) if isinstance(mask, (str, Path)) else "mask")[..., 0]
    if grey.shape != picture.shape[:2]:
        (height, width), (h, w) = picture.shape[:2], grey.shape
        raise DataError(f"the mask has {w} x {h} pixels, the picture {width} x {height}; they must be alike")
    return np.asarray(grey > 127)


def plain_mask(picture: NDArray[np.uint8]) -> Mask:
    """(H, W) what stands before a plain background. O(pixels).

    The background's colour is the median of the outermost pixels; background is what is within 24 grey levels
    of it in each channel and connected with the rim.

    Raises:
        DataError: more than a fifth of the rim has other colours.
    """
    rim = np.ones(picture.shape[:2], bool)
    rim[1:-1, 1:-1] = False
    colour = np.median(picture[rim], axis=0)
    alike = (np.abs(picture - colour) <= _TOLERANCE).all(-1)
    if alike[rim].mean() < _PLAIN:
        raise DataError("the background is not plain, so the person cannot be told from it; give --mask FILE")
    parts, _ = ndimage.label(alike)
    return ~np.isin(parts, np.unique(parts[rim & alike]))


def one_person(mask: Mask) -> tuple[Mask, Status]:
    """The largest part of a mask (H, W), and whether it is one whole person. O(pixels).

    Raises:
        DataError: the mask is full.
    """
    if mask.mean() > _FULL:
        raise DataError("the mask is full: it must show where the person ends (white = person)")
    parts, _ = ndimage.label(mask, np.ones((3, 3)))
    sizes = np.bincount(parts.ravel())[1:]
    if not len(sizes):
        return mask, "no_person"
    if (sizes >= _PERSON * sizes.max()).sum() > 1:
        return mask, "several_persons"
    own = parts == 1 + int(sizes.argmax())
    cut_off = own[[0, -1]].any() or own[:, [0, -1]].any()
    return own, "cropped" if cut_off else "ok"


def person_square(mask: Mask) -> tuple[float, float, float]:
    """Left, top and side (pixels) of the square around a mask (H, W), with `MARGIN` on each side."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    side = (1 + 2 * MARGIN) * max(bottom - top, right - left)
    return float((left + right - side) / 2), float((top + bottom - side) / 2), float(side)


def cut(picture: NDArray[np.uint8], square: tuple[float, float, float], size: int) -> NDArray[np.uint8]:
    """The square of a picture (H, W) or (H, W, 3) at ``size``, its rim repeated beyond. O(pixels)."""
    left, top, side = square
    pad = int(np.ceil(max(0.0, -left, -top, left + side - picture.shape[1], top + side - picture.shape[0])))
    wide = np.pad(picture, [(pad, pad), (pad, pad), (0, 0)][: picture.ndim], mode="edge")
    box = (left + pad, top + pad, left + side + pad, top + side + pad)
    return np.array(Image.fromarray(wide).resize((size, size), Image.Resampling.BILINEAR, box))


def crop_matrix(shape: tuple[int, ...], square: tuple[float, float, float]) -> Tensor:
    """(4, 4) C that takes the box of a picture to that of a square in it: calib' = C calib.

    The box of a picture of H x W pixels is that of the smallest square around its middle, L = max(H, W):
    pixel x = W / 2 + L x_box / 2. With the square's left edge l and side s

        x' = k x + (W - 2 l - s) / s,   k = L / s,   and alike y; z' = k z.

    >>> crop_matrix((100, 200), (0.0, 0.0, 100.0)).diagonal().tolist()
    [2.0, 2.0, 2.0, 1.0]
    """
    height, width = shape
    left, top, side = square
    k = max(height, width) / side
    out = torch.diag(torch.tensor([k, k, k, 1.0]))
    out[0, 3], out[1, 3] = (width - 2 * left - side) / side, (height - 2 * top - side) / side
    return out
