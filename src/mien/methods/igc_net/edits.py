"""Edits of an object capsule: another part, light or view, the mean instead of what is one's own.

Pure functions; nothing is trained, no net is needed. Objects of one call have the same size and parts.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from mien.core.errors import ConfigError, ShapeError
from mien.methods.igc_net.capsules import Assembling, GraphicsCapsule, Light, ObjectCapsule, object_capsule
from mien.methods.igc_net.model import IGCNet
from mien.render.canonical import Renderer

Level = Literal["shape", "albedo"]


class Assembly(NamedTuple):
    """How parts become a whole.

    Attributes:
        tau: softness, scene units.
        how: "depth" or "alpha".
    """

    tau: float = 0.005
    how: Assembling = "depth"


def assembly_of(net: IGCNet) -> Assembly:
    """How a net assembles."""
    return Assembly(float(net.tau), net.config.assembling)


def reassembled(
    obj: ObjectCapsule, parts: list[GraphicsCapsule], assembly: Assembly | None = None
) -> ObjectCapsule:
    """The object with other parts. O(B M S^2)."""
    tau, how = assembly or Assembly()
    return object_capsule(
        Renderer(obj.depth.shape[-1]),
        parts,
        obj.view,
        obj.light,
        tau,
        how=how,
        background=obj.background,
        confidence=obj.confidence,
    )


def swap_part(a: ObjectCapsule, b: ObjectCapsule, m: int, assembly: Assembly | None = None) -> ObjectCapsule:
    """Object a with part m of b: its shape, albedo and presence; view, light and background stay a's.

    Args:
        a: of B pictures.
        b: of as many, or of one.
        m: number of the part, from 0.
        assembly: how the parts become a whole; default that of a trained net.

    Raises:
        ConfigError: no such part.
        ShapeError: objects of other sizes.
    """
    _check_parts(a, [m])
    if len(a.parts) != len(b.parts) or a.depth.shape[1:] != b.depth.shape[1:]:
        raise ShapeError(
            f"objects of {len(a.parts)} and {len(b.parts)} parts, {a.depth.shape[-1]} and"
            f" {b.depth.shape[-1]} pixels; a part fits into an object of the same net"
        )
    return reassembled(a, [*a.parts[:m], _spread(b.parts[m], len(a.depth)), *a.parts[m + 1 :]], assembly)


def relight(obj: ObjectCapsule, light: Light) -> ObjectCapsule:
    """The object under another light."""
    return obj._replace(light=light)


def light_from(
    obj: ObjectCapsule, yaw: float, pitch: float = 0.0, ambient: float = 0.35, diffuse: float = 0.65
) -> Light:
    """A light from one side: it comes from ``yaw`` radians to the viewer's right and ``pitch`` above.

    Args:
        obj: for how many, and where.
        yaw: radians.
        pitch: radians.
        ambient: k_s.
        diffuse: k_d.
    """
    one = obj.depth.new_ones(len(obj.depth))
    across = torch.tensor([-yaw, pitch]).tan()
    way = torch.nn.functional.normalize(
        obj.depth.new_tensor([float(across[0]), float(across[1]), 1.0]), dim=0
    )
    return Light(ambient * one, diffuse * one, way.expand(len(one), 3))


def rotate(obj: ObjectCapsule, yaw: float) -> ObjectCapsule:
    """The object turned by ``yaw`` radians about the vertical axis, added to its own view."""
    return obj._replace(view=obj.view + obj.view.new_tensor([0, yaw, 0, 0, 0, 0]))


def facing(obj: ObjectCapsule, yaw: float = 0.0) -> ObjectCapsule:
    """The object seen from its front, turned by ``yaw`` radians."""
    return rotate(obj._replace(view=torch.zeros_like(obj.view)), yaw)


def mean_parts(obj: ObjectCapsule) -> list[GraphicsCapsule]:
    """The mean over the batch of each part, as parts of a batch of one: depth, albedo, presence, codes."""
    return [GraphicsCapsule(*(x.mean(0, keepdim=True) for x in part)) for part in obj.parts]


def ablate(
    obj: ObjectCapsule,
    level: Level,
    parts: Iterable[int],
    mean: list[GraphicsCapsule],
    assembly: Assembly | None = None,
) -> ObjectCapsule:
    """The object with the mean shape, or albedo, in some parts.

    "shape": depth and presence; "albedo": albedo.

    Args:
        obj: of B pictures.
        level: which.
        parts: their numbers, from 0.
        mean: of `mean_parts`.
        assembly: see `swap_part`.

    Raises:
        ConfigError: no such level or part.
    """
    if level not in get_args(Level):
        raise ConfigError(f"no level {level!r}; one of {', '.join(get_args(Level))}")
    chosen = _check_parts(obj, parts)
    out = list(obj.parts)
    for m in chosen:
        other = _spread(mean[m], len(obj.depth))
        if level == "shape":
            new = {"depth": other.depth, "presence": other.presence, "code_shape": other.code_shape}
        else:
            new = {"albedo": other.albedo, "code_albedo": other.code_albedo}
        out[m] = out[m]._replace(**new)
    return reassembled(obj, out, assembly)


def one_of(obj: ObjectCapsule, index: int) -> ObjectCapsule:
    """One object of a batch, as a batch of one."""
    own = slice(index, index + 1)

    def cut(part: GraphicsCapsule) -> GraphicsCapsule:
        return GraphicsCapsule(*(x[own] for x in part))

    return ObjectCapsule(
        obj.depth[own],
        obj.albedo[own],
        obj.normal[own],
        obj.view[own],
        Light(*(x[own] for x in obj.light)),
        [cut(part) for part in obj.parts],
        obj.visibility[own],
        None if obj.background is None else cut(obj.background),
        None if obj.confidence is None else obj.confidence[own],
    )


def _spread(part: GraphicsCapsule, count: int) -> GraphicsCapsule:
    """A part of one object for ``count`` of them."""
    if len(part.depth) not in (1, count):
        raise ShapeError(f"parts of {len(part.depth)} objects do not fit {count}; give one, or as many")
    return GraphicsCapsule(*(_expanded(x, count) for x in part))


def _expanded(x: Tensor, count: int) -> Tensor:
    return x.expand(count, *x.shape[1:])


def _check_parts(obj: ObjectCapsule, parts: Iterable[int]) -> list[int]:
    chosen = list(parts)
    for m in chosen:
        if not 0 <= m < len(obj.parts):
            raise ConfigError(f"no part {m}; there are 0 .. {len(obj.parts) - 1}")
    return chosen
