"""The face of a star-shaped head: curves of lids, brows and lips, the 68 landmarks on them, and the paint.

A front direction u is (s, t) = (u_x, u_y) / u_z. `mien.synth.star_heads` gives the surface.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from mien.core.errors import ShapeError

IDENTITIES = (
    "width", "height", "depth", "nose", "chin", "ears", "ridge", "cheeks", "skin", "hair", "eyes", "mouth",
)  # fmt: skip
"""The numbers of a person, each in [-1, 1]."""
EXPRESSIONS = ("open", "smile", "brow", "blink", "pucker", "look")
"""The numbers of a moment: open, blink and pucker in [0, 1], the others in [-1, 1]."""
EYE_HEIGHT, EYE_WIDTH, BROW_WIDTH, MOUTH_HEIGHT = 0.12, 0.15, 0.2, -0.52
Numbers = Mapping[str, Tensor]
"""(B, 1) each, by name."""


def named(identity: Tensor, expression: Tensor) -> tuple[Numbers, Numbers]:
    """(B, 12) of a person and (B, 6) of a moment by their names.

    Raises:
        ShapeError: other shapes.
    """
    want = (len(identity), len(IDENTITIES)), (len(identity), len(EXPRESSIONS))
    if (identity.shape, expression.shape) != want:
        got = f"{tuple(identity.shape)} and {tuple(expression.shape)}"
        raise ShapeError(f"expected (B, 12) and (B, 6) numbers of B heads, got {got}")
    return (
        dict(zip(IDENTITIES, identity.split(1, 1), strict=True)),
        dict(zip(EXPRESSIONS, expression.split(1, 1), strict=True)),
    )


def eye_middle(who: Numbers) -> Tensor:
    """Place s of the left eye's middle, (B, 1)."""
    return 0.37 + 0.03 * who["eyes"]


def mouth_width(who: Numbers, how: Numbers) -> Tensor:
    """Place s of the left corner of the mouth, (B, 1)."""
    return (0.25 + 0.03 * who["mouth"]) * (1 + 0.4 * how["smile"]) * (1 - 0.45 * how["pucker"])


def lids(how: Numbers, x: Tensor) -> tuple[Tensor, Tensor]:
    """Heights t of upper and lower lid at x in [-1, 1] across the eye: (B, M) -> (B, M) twice."""
    arch = (0.085 + 0.025 * how["brow"].clamp(min=0)) * (1 - 0.93 * how["blink"]) * _arch(x)
    return EYE_HEIGHT + arch, EYE_HEIGHT - 0.7 * arch


def brows(how: Numbers, x: Tensor) -> Tensor:
    """Height t of a brow's middle line at x from -1 (inner end) to 1: (B, M) -> (B, M)."""
    return EYE_HEIGHT + 0.25 + 0.1 * how["brow"] - 0.05 * (x - 0.1).square()


def lips(how: Numbers, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Heights t of outer and inner upper, inner and outer lower lip at x in [-1, 1] across the mouth.

    (B, M) -> (B, M) each. Inner lips part by 0.006 + 0.34 open in the middle; corners rise by 0.12 smile.
    """
    arch = _arch(x)
    line = MOUTH_HEIGHT + 0.12 * how["smile"] * x.square() - 0.02 * how["open"]
    gap = (0.006 + 0.34 * how["open"]) * arch
    full = (1 + 0.5 * how["pucker"]) * arch.sqrt()
    upper, lower = line + 0.25 * gap, line - 0.75 * gap
    return upper + 0.06 * full, upper, lower, lower - 0.075 * full


def _arch(x: Tensor) -> Tensor:
    return (1 - x.square()).clamp(min=0)


def landmark_directions(identity: Tensor, expression: Tensor) -> Tensor:
    """Unit directions of the 68 points of iBUG, (B, 68, 3). O(B).

    Raises:
        ShapeError: other shapes than (B, 12) and (B, 6).
    """
    who, how = named(identity, expression)

    def along(*x: float) -> Tensor:
        return identity.new_tensor(x).expand(len(identity), -1)

    def front(s: Tensor, t: Tensor) -> Tensor:
        return torch.stack([s, t, torch.ones_like(s)], -1)

    turn = torch.linspace(-math.pi / 2, math.pi / 2, 17).to(identity).expand(len(identity), -1)
    jaw = torch.stack([turn.sin(), -(1 + 0.25 * how["open"]) * turn.cos(), 0.25 + 0.45 * turn.cos()], -1)
    eye, x = eye_middle(who), along(1, 0.5, 0, -0.5, -1)
    right_brow = front(-eye - BROW_WIDTH * x, brows(how, x))
    bridge = front(along(0, 0, 0, 0), along(0.08, -0.03, -0.14, -0.25))
    nostrils = front(along(-0.13, -0.065, 0, 0.065, 0.13), along(-0.34, -0.34, -0.34, -0.34, -0.34))
    x = along(1, 0.4, -0.4, -1, -0.4, 0.4)  # from the outer corner over the upper lid
    upper, lower = lids(how, x)
    right_eye = front(-eye - EYE_WIDTH * x, torch.cat([upper[:, :4], lower[:, 4:]], 1))
    outer, inner = along(-1, -0.65, -0.3, 0, 0.3, 0.65, 1), along(-1, -0.5, 0, 0.5, 1)
    wide, o, i = mouth_width(who, how), lips(how, outer), lips(how, inner)
    mirror = identity.new_tensor([-1.0, 1, 1])
    return F.normalize(
        torch.cat(
            [
                jaw, right_brow, (right_brow * mirror).flip(1), bridge, nostrils,
                right_eye, (right_eye * mirror)[:, [3, 2, 1, 0, 5, 4]],
                front(wide * outer, o[0]), front(wide * outer, o[3])[:, 1:-1].flip(1),
                front(wide * inner, i[1]), front(wide * inner, i[2])[:, 1:-1].flip(1),
            ],
            1,
        ),
        dim=-1,
    )  # fmt: skip


_SOFT = 0.012  # half a painted edge, in units of s and t


def paint(u: Tensor, identity: Tensor, expression: Tensor) -> Tensor:
    """Colour without light of directions (B, M, 3): (B, M, 3) in [0, 1]. O(B M).

    Raises:
        ShapeError: other shapes than (B, 12) and (B, 6).
    """
    who, how = named(identity, expression)

    def color(*rgb: float) -> Tensor:
        return u.new_tensor(rgb)

    def mixed(number: Tensor, dark: Tensor, light: Tensor) -> Tensor:
        return torch.lerp(dark, light, (number[..., None] + 1) / 2)

    skin = mixed(who["skin"], color(0.42, 0.27, 0.2), color(0.95, 0.78, 0.67))
    hair = mixed(who["hair"], color(0.1, 0.07, 0.06), color(0.66, 0.48, 0.26))
    iris = mixed(who["eyes"], color(0.22, 0.13, 0.08), color(0.25, 0.42, 0.55))
    is_front = _step(u[..., 2] - 0.15, 0.05)
    s, t = (u[..., k] / u[..., 2].clamp(min=0.1) for k in (0, 1))
    out = torch.lerp(skin, 0.72 * skin, (is_front * _spots(s, t))[..., None])

    def cover(what: Tensor, how_much: Tensor) -> None:
        nonlocal out
        out = torch.lerp(out, what.expand_as(out), (is_front * how_much)[..., None])

    x = (s.abs() - eye_middle(who)) / EYE_WIDTH
    upper, lower = lids(how, x)
    lid = _step(upper + 0.022 - t) * _step(t - lower + 0.006) * _step((1.08 - x.abs()) * EYE_WIDTH)
    cover(color(0.1, 0.06, 0.05), lid)
    ball = (
        _step(upper - t) * _step(t - lower) * _step((1 - x.abs()) * EYE_WIDTH) * _step(upper - lower - 0.03)
    )
    cover(color(0.97, 0.97, 0.95), ball)
    gaze = s - torch.where(s < 0, -1.0, 1.0) * eye_middle(who) - 0.06 * how["look"]
    off = torch.hypot(gaze, t - EYE_HEIGHT - 0.01)
    cover(iris, ball * _step(0.06 - off))
    cover(color(0.03, 0.03, 0.03), ball * _step(0.028 - off))
    x = (s.abs() - eye_middle(who)) / BROW_WIDTH
    cover(0.6 * hair, _step(0.03 - (t - brows(how, x)).abs()) * _step((1 - x.abs()) * BROW_WIDTH))
    wide = mouth_width(who, how)
    x = s / wide
    o, i, j, k = lips(how, x)
    within = _step((1 - x.abs()) * wide)
    cover(torch.lerp(skin, color(0.72, 0.2, 0.22), 0.6), _step(o - t) * _step(t - k) * within)
    cover(color(0.16, 0.03, 0.04), _step(i - t) * _step(t - j) * within)
    teeth = _step(i - t) * _step(t - i + 0.05) * _step(i - j - 0.1) * within * _step((0.7 - x.abs()) * wide)
    cover(color(0.93, 0.91, 0.86), teeth)
    line = u[..., 1] - 0.9 * u[..., 2] - 0.04 * who["hair"]
    return torch.lerp(out, hair.expand_as(out), _step(line, 0.02)[..., None])


def _spots(s: Tensor, t: Tensor) -> Tensor:
    """Two nostrils."""
    return _step(0.035 - torch.hypot(s.abs() - 0.075, (t + 0.34) * 1.3))


def _step(x: Tensor, soft: float = _SOFT) -> Tensor:
    """0 below -soft, 1 above soft, linear between."""
    return (x / (2 * soft) + 0.5).clamp(0, 1)
