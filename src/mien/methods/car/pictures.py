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
from mien.methods.car.refine import Maps
from mien.methods.car.texture import Source
from mien.methods.car.view import eroded, seen_faces, to_screen, to_view
from mien.render.normal_maps import vertex_normals
from mien.render.raster import interpolate
from mien.synth.clothed_set import normal_colors

Picture = NDArray[np.uint8]
SIDE = 384
"""Pixels of a drawn view."""
SOURCES = {Source.VISIBLE: 2, Source.SYMMETRIC: 5, Source.BODY: 4, Source.EXTRAPOLATED: 1}
"""Place in `COLOURS`: green, sky blue, orange, vermilion."""
_BODY, _MASK = 1, 0
_DARKEST = 0.35


def draw(view: Tensor, faces: Tensor, colors: Tensor, size: int = SIDE, *, sign: float = 1.0) -> Picture:
    """A mesh with colours of its vertices, on white. O(T + size^2).

    Args:
        view: (V, 3) in the view box.
        faces: (T, 3).
        colors: (V, 3) in [0, 1].
        size: S, pixels a side.
        sign: 1: seen from the front; -1: from behind.
    """
    face_id = seen_faces(view, faces, size, size, sign)
    color = interpolate(to_screen(view, sign)[None], faces, colors.to(view), face_id[None])[0]
    drawn = byte(torch.where(face_id[..., None] >= 0, color, 1.0))
    return drawn if sign > 0 else np.ascontiguousarray(drawn[:, ::-1])


def lit(view: Tensor, faces: Tensor, colors: Tensor) -> Tensor:
    """Colours (V, 3) under a lamp on the axis of view, darkest where |n_z| = 0."""
    return colors * (_DARKEST + (1 - _DARKEST) * vertex_normals(view, faces)[:, 2:].abs())


def both_sides(view: Tensor, faces: Tensor, colors: Tensor, size: int = SIDE) -> Picture:
    """Front and back beside each other, (size, 2 size, 3)."""
    return np.hstack([draw(view, faces, colors, size, sign=sign) for sign in (1.0, -1.0)])


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
    for area, colour in ((own, _MASK), (naked, _BODY)):
        out[(area & ~eroded(area, 1)).cpu().numpy()] = 255 * rgb(colour).numpy()
    return out


def knowledge(avatar: Avatar, calib: Tensor, size: int = SIDE) -> Picture:
    """Front and back by uncertainty (green 0, black 1) above, by `Source` (`SOURCES`) below."""
    view, u = to_view(avatar.posed, calib), avatar.uncertainty[:, None]
    table = torch.stack([rgb(SOURCES[source]) for source in sorted(SOURCES)])
    known = table[avatar.provenance.long()]
    panels = [lit(view, avatar.faces, c) for c in ((1 - u) * rgb(SOURCES[Source.VISIBLE]), known)]
    return np.vstack([both_sides(view, avatar.faces, c, size) for c in panels])


def rgb(place: int) -> Tensor:
    """(3,) in [0, 1] of an entry of `COLOURS`."""
    text = COLOURS[place].removeprefix("#")
    return torch.tensor([int(text[k : k + 2], 16) / 255 for k in (0, 2, 4)])


def byte(picture: Tensor) -> Picture:
    """Values in [0, 1] as uint8."""
    return np.asarray((255 * picture.clamp(0, 1) + 0.5).cpu().numpy(), np.uint8)
