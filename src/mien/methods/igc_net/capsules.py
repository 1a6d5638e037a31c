"""Capsules: what is known of a part and of the whole face, and how parts make the whole.

All maps are canonical: the face seen from its front. Layer 0 of a visibility is the background.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mien.core.errors import ConfigError, ShapeError
from mien.render.canonical import Renderer

Assembling = Literal["depth", "alpha"]
BORDER = 2  # columns on either side whose depth is held


class Light(NamedTuple):
    """One directional light and what comes from everywhere.

    Attributes:
        ambient: (B,) k_s.
        diffuse: (B,) k_d.
        direction: (B, 3) unit; z away from the camera, like normals.
    """

    ambient: Tensor
    diffuse: Tensor
    direction: Tensor


class GraphicsCapsule(NamedTuple):
    """A part.

    Attributes:
        depth: (B, H, W) scene units.
        albedo: (B, 3, H, W) in [0, 1].
        presence: (B, H, W) logit s; the part is there with probability sig(s).
        code_shape: (B, D) e_s.
        code_albedo: (B, D) e_a.
    """

    depth: Tensor
    albedo: Tensor
    presence: Tensor
    code_shape: Tensor
    code_albedo: Tensor


class ObjectCapsule(NamedTuple):
    """The whole face with its M parts.

    Attributes:
        depth: (B, H, W) D_o, scene units.
        albedo: (B, 3, H, W) A_o in [0, 1].
        normal: (B, H, W, 3) unit, away from the camera.
        view: (B, 6) rotations x, y, z in radians, translation x, y, z in scene units.
        light: of the scene.
        parts: M part capsules.
        visibility: (B, M + 1, H, W) V, sum 1; layer 0 is the background, 0 if there is none.
        background: the layer behind all parts, or None.
        confidence: (B, 2, H, W) sigma > 0 of the picture and of the mirrored object's, or None.
        code_shape: (B, F) f_s, from which all parts' shapes are decoded; None if not made by a net.
        code_albedo: (B, F) f_a.
    """

    depth: Tensor
    albedo: Tensor
    normal: Tensor
    view: Tensor
    light: Light
    parts: list[GraphicsCapsule]
    visibility: Tensor
    background: GraphicsCapsule | None = None
    confidence: Tensor | None = None
    code_shape: Tensor | None = None
    code_albedo: Tensor | None = None


def assemble(depths: Tensor, logits: Tensor, tau: float, how: Assembling = "depth") -> tuple[Tensor, Tensor]:
    """Visibility V (B, L, H, W) and depth D (B, H, W) of L layers. O(B L H W).

    V = softmax_l(ln sig(s_l) - d_l / tau), D = sum_l V_l d_l: the nearest present layer wins.
    tau = 0 is the limit, a z-buffer: V is 1 at the smallest depth, and presences do not matter.
    "alpha": V = sig(s_l) / sum sig(s), depth does not matter.

    Source: reconstruction; the paper says that parts are assembled by their depth.

    Args:
        depths: (B, L, H, W) scene units.
        logits: (B, L, H, W) s.
        tau: softness, scene units.
        how: "depth" or "alpha".

    Raises:
        ShapeError: shapes that differ.
        ConfigError: a negative tau, or another way.

    >>> depths = torch.tensor([1.02, 0.98, 1.0]).view(1, 3, 1, 1)
    >>> [round(v, 4) for v in assemble(depths, torch.zeros(1, 3, 1, 1), 0.02)[0].flatten().tolist()]
    [0.09, 0.6652, 0.2447]
    """
    if depths.shape != logits.shape or depths.ndim != 4:
        raise ShapeError(
            f"depths and logits must be (B, L, H, W), got {tuple(depths.shape)}, {tuple(logits.shape)}"
        )
    if how not in ("depth", "alpha") or not tau >= 0:
        raise ConfigError(f"assemble: tau={tau} must be at least 0, and how={how!r} 'depth' or 'alpha'")
    if how == "alpha":
        visibility = F.logsigmoid(logits).softmax(1)
    elif tau == 0:
        nearest = depths.argmin(1, keepdim=True)
        visibility = torch.zeros_like(depths).scatter(1, nearest, 1.0)
    else:
        visibility = (F.logsigmoid(logits) - depths / tau).softmax(1)
    return visibility, (visibility * depths).sum(1)


def over_layers(visibility: Tensor, maps: Tensor) -> Tensor:
    """A = sum_l V_l a_l, (B, C, H, W) of maps (B, L, C, H, W). O(B L C H W)."""
    return torch.einsum("blhw,blchw->bchw", visibility, maps)


def held_border(depth: Tensor, renderer: Renderer) -> Tensor:
    """Depth (B, H, W) with .7 d_max + .3 d_min in the outer columns: the face does not reach them."""
    out = torch.full_like(depth, 0.7 * renderer.max_depth + 0.3 * renderer.min_depth)
    out[..., BORDER:-BORDER] = depth[..., BORDER:-BORDER]
    return out


def object_capsule(
    renderer: Renderer,
    parts: list[GraphicsCapsule],
    view: Tensor,
    light: Light,
    tau: float,
    *,
    how: Assembling = "depth",
    background: GraphicsCapsule | None = None,
    confidence: Tensor | None = None,
) -> ObjectCapsule:
    """The object that parts make. Arguments and errors as in `assemble`. O(B M H W).

    Depths get no gradient through the visibilities: else parts come nearer only to hide the background, and a
    face becomes a plateau at d_min. Presences learn what is seen, depths what shape it has.
    """
    depths, logits = (torch.stack(x, 1) for x in zip(*((p.depth, p.presence) for p in parts), strict=True))
    shares, _ = assemble(depths.detach(), logits, tau, how)
    depth = (shares * depths).sum(1)
    albedo = over_layers(shares, torch.stack([p.albedo for p in parts], 1))
    if background is None:
        depth = held_border(depth, renderer)
        visibility = torch.cat([torch.zeros_like(shares[:, :1]), shares], 1)
    else:
        behind, hides = background.depth[:, None], background.presence[:, None]
        all_depths, all_logits = torch.cat([behind, depths.detach()], 1), torch.cat([hides, logits], 1)
        visibility, _ = assemble(all_depths, all_logits, tau, how)
    normal = renderer.get_normal_from_depth(depth)
    return ObjectCapsule(depth, albedo, normal, view, light, parts, visibility, background, confidence)


def mirrored(obj: ObjectCapsule) -> ObjectCapsule:
    """The canonical maps with left and right exchanged; view and light stay.

    A normal's x changes its sign. Parts are not mirrored: they are not drawn.
    """
    normal = obj.normal.flip(2) * obj.normal.new_tensor([-1.0, 1.0, 1.0])
    depth, albedo, visibility = (x.flip(-1) for x in (obj.depth, obj.albedo, obj.visibility))
    return obj._replace(depth=depth, albedo=albedo, visibility=visibility, normal=normal)
