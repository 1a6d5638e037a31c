"""The face in a user's picture: found or not, and cut out as the net wants it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mien.core.errors import ConfigError, DataError
from mien.core.images import read_image
from mien.data.face_detector import find_faces
from mien.data.pad_inputs import check_box
from mien.data.squares import Square, cut_square, middle_square
from mien.methods.otavatar.config import PredictOptions
from mien.methods.otavatar.portrait import face_square, is_profile, matte, silhouette

Picture = NDArray[np.uint8]
"""(H, W, 3) RGB."""
_FLAT = 2.0  # standard deviation of grey levels below which a picture shows nothing


@dataclass(frozen=True, eq=False)
class Crops:
    """All pictures of one person.

    Attributes:
        status: ok, or the first that was not: no_face, several_faces, too_small, profile.
        pictures: squares (S, S, 3); none unless ok.
        masks: (S, S) in 0 .. 1 what of each is the person; None = all of it.
    """

    status: str
    pictures: list[Picture] = field(default_factory=list)
    masks: list[NDArray[np.float32]] | None = None

    @property
    def source(self) -> Picture:
        """The first square on white, as it is inverted."""
        if self.masks is None:
            return self.pictures[0]
        mask = self.masks[0][..., None]
        return np.asarray(np.rint(mask * self.pictures[0] + (1 - mask) * 255), np.uint8)


def look_at(pictures: Sequence[Picture], options: PredictOptions, size: int) -> Crops:
    """Finds the face in each picture of one person, and cuts the square around it. O(pixels).

    Args:
        pictures: uint8 (H, W, 3).
        options: ``box`` (of the first picture), ``detector`` and ``mask``.
        size: of the squares; a face whose square has less than half of it is too small.

    Raises:
        DataError: the box lies outside of the picture, or a mask of another size.
        ConfigError: one mask for several pictures.
    """
    masks = _masks(pictures, options)
    out, kept = list[Picture](), list[NDArray[np.float32]]()
    for k, picture in enumerate(pictures):
        status, square = find_square(picture, options.box if k == 0 else (), options.detector)
        if status == "ok" and square[2] < size / 2:
            status = "too_small"
        if status != "ok":
            return Crops(status)
        out.append(cut_square(picture, square, size))
        if options.mask == "matte":
            kept.append(matte(out[-1]))
        elif options.mask == "ellipse":
            kept.append(silhouette(size))
        elif masks:
            kept.append(cut_square(masks[k], square, size, 0).astype(np.float32) / np.float32(255))
    return Crops("ok", out, kept or None)


def find_square(picture: Picture, box: Sequence[int], detector: str) -> tuple[str, Square]:
    """Status and the square around the face: of the box, as the detector finds it, or of the whole picture.

    Raises:
        DataError: the box lies outside of the picture.
    """
    whole = middle_square(*picture.shape[:2])
    if picture.std() < _FLAT:
        return "no_face", whole
    if box:
        return "ok", face_square(check_box(box, picture.shape[:2]))  # type: ignore[arg-type]
    if detector == "none":
        return "ok", whole
    (found,) = find_faces([picture])
    if found.count != 1:
        return ("several_faces" if found.count else "no_face"), whole
    return ("profile" if is_profile(found.points) else "ok"), face_square(found.box.tolist())


def _masks(pictures: Sequence[Picture], options: PredictOptions) -> list[NDArray[np.uint8]]:
    """The grey levels of the mask file, if there is one."""
    if options.mask in ("matte", "ellipse", "none"):
        return []
    if len(pictures) != 1:
        raise ConfigError(
            f"--mask {options.mask}: one mask, but {len(pictures)} pictures; use matte, ellipse or none"
        )
    mask = read_image(options.mask)[..., 0]
    if mask.shape != pictures[0].shape[:2]:
        raise DataError(
            f"{options.mask}: {mask.shape[1]} x {mask.shape[0]} pixels, the portrait has"
            f" {pictures[0].shape[1]} x {pictures[0].shape[0]}; they must be alike"
        )
    return [mask]
