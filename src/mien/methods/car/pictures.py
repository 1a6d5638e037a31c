"""Pictures of an avatar and of what it was made from: uint8 (H, W, 3)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mien.core.figures import COLOURS
from mien.methods.car.avatar import Avatar
from mien.methods.car.bodies import BodyParams
from mien.methods.car.looks import Camera, front_and_back, rgb_of
from mien.methods.car.refine import Maps
from mien.methods.car.texture import Source
from mien.methods.car.view import eroded, seen_faces, to_view
from mien.render.mesh_io import Mesh, to_numpy
from mien.synth.clothed_set import normal_colors

Picture = NDArray[np.uint8]
SIDE = 384
"""Pixels of a drawn view."""
SOURCES = {
    Source.VISIBLE: ("seen", COLOURS[2]),
    Source.SYMMETRIC: ("mirrored", COLOURS[5]),
    Source.BODY: ("near the body", COLOURS[4]),
    Source.EXTRAPOLATED: ("guessed", COLOURS[1]),
}
"""What is known of a vertex: in words, and its colour."""
BOX = Camera((0.0, 0.0, 0.0), 1.0)
"""Sees the view box."""
_BODY, _MASK = COLOURS[1], COLOURS[0]


def both_sides(
    view: Tensor, faces: Tensor, colors: Tensor, size: int = SIDE, *, lit: bool = False
) -> Picture:
    """A mesh (V, 3) of the view box from the front and from behind, (size, 2 size, 3). O(T + size^2).

    Args:
        view: vertices.
        faces: (T, 3).
        colors: (V, 3) in [0, 1].
        size: S, pixels a side.
        lit: in soft light; else the colours as they are.
    """
    own = Mesh(to_numpy(view), to_numpy(faces))
    return np.hstack(front_and_back(own, BOX, size, colors=to_numpy(colors), even=not lit))


def normals_picture(maps: Maps) -> Picture:
    """Front and back maps beside each other; the back one at the pixels of the front."""
    sides = [maps.front] if maps.back is None else [maps.front, maps.back]
    return np.hstack([normal_colors(n.permute(1, 2, 0).cpu().numpy()) for n in sides])


def overlay(image: Tensor, mask: Tensor, body: BodyParams, size: int = SIDE) -> Picture:
    """The photograph with the outlines of the mask (blue) and of the body (vermilion). O(T + size^2).

    Args:
        image: (3, S, S) in [0, 1].
        mask: (S, S) booleans.
        body: in the picture.
        size: pixels a side of the result.
    """
    out = byte(functional.interpolate(image[None], (size, size), mode="bilinear")[0].permute(1, 2, 0))
    own = functional.interpolate(mask[None, None].float(), (size, size))[0, 0] > 0.5
    naked = seen_faces(body.in_view(), body.faces, size, size) >= 0
    for area, colour in zip((own, naked), rgb_of([_MASK, _BODY]), strict=True):
        out[(area & ~eroded(area, 1)).cpu().numpy()] = 255 * colour + 0.5
    return out


def knowledge(avatar: Avatar, calib: Tensor, size: int = SIDE) -> Picture:
    """Front and back by uncertainty (green 0, black 1) above, by `Source` (`SOURCES`) below."""
    view, u = to_view(avatar.posed, calib), avatar.uncertainty[:, None]
    table = torch.from_numpy(rgb_of([SOURCES[source][1] for source in sorted(SOURCES)]))
    panels = ((1 - u) * table[Source.VISIBLE], table[avatar.provenance.long()])
    return np.vstack([both_sides(view, avatar.faces, c, size, lit=True) for c in panels])


def byte(picture: Tensor) -> Picture:
    """Values in [0, 1] as uint8."""
    return np.asarray((255 * picture.clamp(0, 1) + 0.5).cpu().numpy(), np.uint8)
