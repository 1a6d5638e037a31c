"""The face in a user's picture: where it is, and the square that the net was trained to see.

In the training pictures the middle of the head is the middle of the square, whose side is 2.69 dm there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mien.core.images import ImageInput, read_image
from mien.data.face_detector import find_faces
from mien.data.pad_inputs import check_box
from mien.data.squares import Square, cut_square, middle_square, square_around

Picture = NDArray[np.uint8]
"""(H, W, 3) RGB."""
FACE_SIDE, FACE_RISE = 2.0, 0.18
"""Side of the square, and how far its middle lies above the middle of the face from brows to chin, in heights
of that face; means over made people."""
_FLAT = 2.0  # standard deviation of grey levels below which a picture shows nothing
_GREY = 1.0  # of channels, below which there is no colour


class Photo(NamedTuple):
    """A picture that was looked at.

    Attributes:
        status: ok, no_face or too_small.
        crop: (S, S, 3); None unless ok.
        notes: what was chosen or is missing, a sentence each.
    """

    status: str
    crop: Picture | None = None
    notes: tuple[str, ...] = ()


def look_at(source: ImageInput, size: int, box: Sequence[int] = (), detector: str = "none") -> Photo:
    """Finds the face and cuts the square around it; of several the largest. O(pixels).

    Args:
        source: a picture.
        size: S; a face whose square has less than half of it is too small.
        box: of the face, from brows to chin; empty: see ``detector``.
        detector: "mediapipe", or "none": the middle square is the head.

    Raises:
        DataError: the picture cannot be read, or the box lies outside of it.
        MissingPackageError: there is no MediaPipe.
    """
    picture = read_image(source)
    if picture.std() < _FLAT:
        return Photo("no_face", notes=("the picture shows nothing",))
    notes = []
    square: Square = middle_square(*picture.shape[:2])
    if box:
        left, top, right, bottom = check_box(tuple(box), picture.shape[:2])  # type: ignore[arg-type]
        square = square_around((left, top, right, bottom), FACE_SIDE, FACE_RISE)
    elif detector == "mediapipe":
        (found,) = find_faces([picture])
        if not found.is_found:
            return Photo("no_face", notes=("the detector finds no face",))
        if found.count > 1:
            notes.append(f"{found.count} faces, the largest was taken")
        square = square_around(found.box.tolist(), FACE_SIDE, FACE_RISE)
    if square[2] < size / 2:
        return Photo("too_small", notes=(f"the head has {square[2]:.0f} pixels, the net sees {size}",))
    if np.ptp(picture.astype(np.int16), axis=2).mean() < _GREY:
        notes.append("grey picture")
    return Photo("ok", cut_square(picture, square, size, None), tuple(notes))
