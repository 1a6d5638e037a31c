"""Are these labelled faces fit for training? What goes wrong silently: size, colour, labels, copies."""

from __future__ import annotations

import hashlib
from typing import Any

from numpy.typing import NDArray

from mien.core.errors import MienError
from mien.data.check import CheckReport, Problems, one_line, summary
from mien.data.labelled import LabelledImages
from mien.data.record_check import label_notes

_FEW = 0.05


def face_checks(images: LabelledImages, size: int | None = 112) -> CheckReport:
    """Decodes every picture once and looks at it.

    Problems: pictures that do not decode, of another size than ``size``, and the same pixels under two
    people. Noted: classes without a picture, people with one picture, grey pictures (all of them, or so few
    that they are likely strangers), copies under one person. Time O(pixels), memory O(pictures).

    Args:
        images: labelled faces.
        size: expected height and width; None expects only that all are equal.
    """
    problems, notes = Problems(), label_notes(images.targets, len(images.classes))
    where = getattr(images, "where", lambda i: f"picture {images.keys[i]}")
    first: dict[bytes, int] = {}
    grey: list[int] = []
    copies = wrong = 0
    expected = (size, size) if size else None
    for place in range(len(images)):
        try:
            image = images.pictures([place])[0]
        except MienError as error:
            problems.add(str(error))
            continue
        expected = expected or image.shape[:2]
        if image.shape[:2] != expected:
            wrong += 1
            height, width = image.shape[:2]
            problems.add(
                f"{where(place)}: {height} x {width} pixels (H x W), expected {expected[0]} x {expected[1]}"
            )
        if is_grey(image):
            grey.append(place)
        digest = hashlib.blake2b(image.tobytes(), digest_size=16, key=str(image.shape).encode()).digest()
        other = first.setdefault(digest, place)
        if other != place and images.targets[other] != images.targets[place]:
            names = [images.classes[int(images.targets[i])] for i in (other, place)]
            problems.add(
                f"{where(place)} has the same pixels as {where(other)}, but one is {names[1]!r}, the other"
                f" {names[0]!r}"
            )
        copies += other != place and images.targets[other] == images.targets[place]
    if wrong:
        notes.append(f"{wrong} of {len(images)} pictures have another size: align them first")
    if len(grey) == len(images) and grey:
        notes.append("all pictures are grey")
    elif grey:
        few = f", the first is {where(grey[0])}" if len(grey) <= max(1, _FEW * len(images)) else ""
        notes.append(f"{len(grey)} of {len(images)} pictures are grey{few}")
    if copies:
        notes.append(f"{copies} pictures are copies of another of the same person")
    root = one_line(str(getattr(images, "root", "")))
    lines = tuple(map(one_line, notes))
    return CheckReport("faces", root, {"train": summary(images)}, problems.lines(), lines)


def is_grey(image: NDArray[Any]) -> bool:
    """Whether all channels of a picture (H, W, C) are equal."""
    return bool((image[..., :1] == image).all())
