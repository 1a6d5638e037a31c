"""The networks of CAR: normals of a picture, the canonical field that reads them, weights from the body."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, cast, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien.core.errors import ConfigError, ShapeError
from mien.methods.car.losses import FieldSamples
from mien.methods.car.skinning import (
    NormalTransport,
    blended_matrices,
    normals_to_canonical,
    transform_points,
)
from mien.nn.hourglass import HGFilter as HGFilter
from mien.nn.hyper import HyperNetwork as HyperNetwork
from mien.nn.implicit import SDFNet, value_and_gradient
from mien.nn.normal_nets import GlobalGenerator, NormalUNet

NormalKind = Literal["unet", "pix2pix"]
Feature = Literal["image", "body", "joints", "normal"]
Space = Literal["canonical", "posed"]


class NormalNet(nn.Module):
    """Two networks of one kind: normals of the front and of the back of a clothed person.

    Args:
        kind: "unet", small; "pix2pix", as published.
        body: each network sees the body's normals of its side beside the picture (ICON); else the picture
            alone (PIFuHD).

    Raises:
        ConfigError: no such kind.

    >>> net = NormalNet()
    >>> front, back = net(*(torch.zeros(1, 3, 32, 32) for _ in range(3)), torch.ones(1, 1, 32, 32))
    >>> front.shape
    torch.Size([1, 3, 32, 32])
    """

    def __init__(self, kind: NormalKind = "unet", *, body: bool = True) -> None:
        super().__init__()
        if kind not in get_args(NormalKind):
            raise ConfigError(f"normal net {kind!r} is none of {', '.join(get_args(NormalKind))}")
        build, inputs = (NormalUNet if kind == "unet" else GlobalGenerator), 6 if body else 3
        self.body, self.front, self.back = body, build(inputs), build(inputs)

    def forward(self, image: Tensor, body_nf: Tensor, body_nb: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Normals of the front and of the back, each (B, 3, H, W): x right, y up, z to the viewer.

        Args:
            image: (B, 3, H, W) in [-1, 1].
            body_nf: (B, 3, H, W) normals of the body's front.
            body_nb: (B, 3, H, W) of its back.
            mask: (B, 1, H, W).

        Raises:
            ShapeError: shapes that do not fit together.
        """
        front, back = (torch.cat([image, n], 1) if self.body else image for n in (body_nf, body_nb))
        return self.front(front, mask), self.back(back, mask)


def sample_bilinear(maps: Tensor, xy: Tensor) -> Tensor:
    """Bilinear look-up; -1 and 1 are the centres of the outer pixels, 0 is outside. O(B N C).

    `grid_sample` with align_corners=True, but twice differentiable in xy.

    Args:
        maps: (B, C, H, W).
        xy: (B, N, 2), x right and y down, in [-1, 1].

    Returns:
        (B, N, C).
    """
    batch, _, height, width = maps.shape
    rows = maps.flatten(2).mT.flatten(0, 1)  # (B H W, C)
    at = (xy + 1) / 2 * xy.new_tensor([width - 1, height - 1])
    low = at.detach().floor()
    right, down = (at - low).unbind(-1)
    first = torch.arange(batch, device=xy.device)[:, None] * (height * width)
    out = maps.new_zeros(())
    for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
        x, y = low[..., 0] + j, low[..., 1] + i
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        pixel = first + y.clamp(0, height - 1).long() * width + x.clamp(0, width - 1).long()
        share = (right if j else 1 - right) * (down if i else 1 - down) * inside
        out = out + share[..., None] * rows[pixel]
    return out


def in_front(points: Tensor, front: Tensor, back: Tensor) -> Tensor:
    """1 where a point is before the middle of the body along its ray, else 0: (B, N, 1). O(N).

    Beside the body the middle is that of its whole depth.

    Args:
        points: (B, N, 3) in the picture's box, z to the viewer.
        front: (B, H, W) z of the body's nearest surface; not finite beside it.
        back: (B, H, W) z of its farthest surface.

    Raises:
        ShapeError: maps of different shapes.
    """
    if front.shape != back.shape or front.ndim != 3:
        raise ShapeError(f"expected two (B, H, W), got {tuple(front.shape)} and {tuple(back.shape)}")
    seen = torch.isfinite(front) & torch.isfinite(back)
    middle = torch.where(seen, (front + back) / 2, 0.0).flatten(1)
    whole = middle.sum(1) / seen.flatten(1).sum(1).clamp_min(1)
    _, height, width = front.shape
    size = points.new_tensor([width, height])
    x, y = (((points[..., :2] + 1) / 2 * size).long().clamp_min(0)).unbind(-1)
    pixel = y.clamp_max(height - 1) * width + x.clamp_max(width - 1)
    there = torch.where(seen.flatten(1), middle, whole[:, None]).gather(1, pixel)
    return (points[..., 2] > there)[..., None].to(points.dtype)


class ImageMaps(NamedTuple):
    """What a field reads of one batch of pictures.

    Attributes:
        features: (B, C, H/4, W/4) of the hourglass, or None.
        front: (B, 3, H, W) normals, or None.
        back: (B, 3, H, W) normals, or None.
    """

    features: Tensor | None
    front: Tensor | None
    back: Tensor | None


class BodyCues(NamedTuple):
    """What the body tells of query points; None where a field does not ask.

    Attributes:
        front: (B, N, 1) share of the front normal, the rest is the back one's; `in_front`.
        distance: (B, N, 1) signed distance to the naked body, metres.
        joints: (B, J, 3) canonical joints, metres.
        slope: (B, N, 3) the distance's gradient.
    """

    front: Tensor | None = None
    distance: Tensor | None = None
    joints: Tensor | None = None
    slope: Tensor | None = None


class CanonicalSDF(nn.Module):
    """Signed distance to the clothed body in canonical space, from a map of normals of the picture.

        s(x_c) = F(Phi(pi(x_p)), d(x_c), x_c - j, n_c(x_c), gamma(x_c)),   x_p = vT(x_c) x_c

    With ``residual`` it is s = d(x_c) + F(...), which starts as the body instead of a sphere.

    Phi: hourglass features; d: distance to the naked body; j: joints; n_c: the normal at pi(x_p), carried
    back to canonical space. s < 0 inside; sigmoid(-s) is the occupancy (`mien.methods.car.losses`).

    The gradient is the partial one in x_c, all else held constant, as published. With ``total_gradient`` it
    follows x_c through the skinning to the picture as well (weights and body cues stay constant).

    Args:
        features: which F reads beside the coordinates, in any order: "image" (Phi), "body" (d), "joints"
            (x_c - j), "normal" (n_c).
        hidden: widths of F.
        skips: layers of F that see the input again.
        channels: of Phi.
        stacks: hourglasses.
        depth: of each.
        inputs: channels of the picture that Phi reads: 3 = front normals, 6 = front and back.
        joints: number of joints.
        radius: of the sphere at the start, metres.
        octaves: of gamma; 0 = raw coordinates.
        normal_transport: see `normals_to_canonical`.
        two_sided: n_c from the back map where a point is behind the middle of the body (ICON); else the front
            normal for all points of a ray, as published.
        space: "posed": a baseline in the manner of PIFu. Points are given in posed space, F reads them in the
            box of the picture (x and y beside PIFu's z, so that a gradient exists), normals are not carried
            back.
        total_gradient: see above.
        z_away: z of calib's range grows away from the viewer.
        residual: see above; d and its gradient are cues, of the space that points are given in.

    Raises:
        ConfigError: options that do not fit together.
    """

    def __init__(
        self,
        features: Sequence[Feature] = ("image", "normal"),
        *,
        hidden: Sequence[int] = (512,) * 6,
        skips: Sequence[int] = (4,),
        channels: int = 256,
        stacks: int = 1,
        depth: int = 2,
        inputs: int = 3,
        joints: int = 24,
        radius: float = 1.5,
        octaves: int = 0,
        normal_transport: NormalTransport = "exact",
        two_sided: bool = False,
        space: Space = "canonical",
        total_gradient: bool = False,
        z_away: bool = False,
        residual: bool = False,
    ) -> None:
        super().__init__()
        widths = {"image": channels, "body": 1, "joints": 3 * joints, "normal": 3}
        if not set(features) <= set(widths) or len(set(features)) != len(features):
            raise ConfigError(f"features={tuple(features)} must be different ones of {', '.join(widths)}")
        for value, known in ((space, Space), (normal_transport, NormalTransport)):
            if value not in get_args(known):
                raise ConfigError(f"{value!r} is none of {', '.join(get_args(known))}")
        if inputs not in (3, 6):
            raise ConfigError(f"inputs={inputs} must be 3, the front normals, or 6, those of both sides")
        self.features = tuple(name for name in widths if name in features)
        self.inputs, self.normal_transport, self.two_sided = inputs, normal_transport, two_sided
        self.space, self.total_gradient, self.z_away = space, total_gradient, z_away
        self.hourglass = (
            HGFilter(inputs, channels, stacks=stacks, depth=depth) if "image" in features else None
        )
        count = sum(widths[name] for name in self.features)
        self.residual = residual
        self.field = SDFNet((count + 3, *hidden, 1), skips, features=count, radius=radius, octaves=octaves)
        if residual:
            nn.init.zeros_(self.field.linears[-1].weight)
            nn.init.zeros_(self.field.linears[-1].bias)
        self.maps: ImageMaps | None = None

    def filter(self, normal_image: Tensor, back_image: Tensor | None = None) -> ImageMaps:
        """Reads maps of normals (B, 3, H, W), front and back; `query` uses the result until the next call.

        O(B H W channels^2).

        Raises:
            ShapeError: the back map is missing, or another shape.
        """
        needs_back = self.two_sided or self.inputs == 6
        if needs_back and (back_image is None or back_image.shape != normal_image.shape):
            raise ShapeError(f"this field reads two maps of normals {tuple(normal_image.shape)}")
        seen = normal_image if self.inputs == 3 else torch.cat([normal_image, cast("Tensor", back_image)], 1)
        features = self.hourglass(seen)[-1] if self.hourglass is not None else None
        self.maps = ImageMaps(features, normal_image, back_image)
        return self.maps

    def query(
        self,
        x_c: Tensor,
        lbs_weights: Tensor,
        joint_T: Tensor,
        calib: Tensor,
        *,
        cues: BodyCues | None = None,
        create_graph: bool | None = None,
    ) -> FieldSamples:
        """The field and its gradient at points, for the pictures of the last `filter`. O(B N weights).

        Args:
            x_c: (B, N, 3) canonical points, metres; posed ones with ``space="posed"``.
            lbs_weights: (B, N, J).
            joint_T: (B, J, 4, 4) canonical -> posed.
            calib: (B, 4, 4) posed space -> [-1, 1]^3, x right, y down.
            cues: of the body, as far as the features ask.
            create_graph: the gradient may be trained; None = while training.

        Returns:
            s (B, N, 1) and its gradient (B, N, 3).

        Raises:
            ShapeError: no `filter` before, a missing cue, or shapes that do not fit together.
        """
        keep = self.training if create_graph is None else create_graph
        cues = cues or BodyCues()
        if self.total_gradient:
            found = value_and_gradient(
                lambda x: self.field_at(x, self.inputs_at(x, lbs_weights, joint_T, calib, cues), calib),
                x_c,
                create_graph=keep,
            )
        else:
            held = self.inputs_at(x_c, lbs_weights, joint_T, calib, cues)
            found = value_and_gradient(lambda x: self.field_at(x, held, calib), x_c, create_graph=keep)
        return self._on_body(FieldSamples(*found), cues)

    @torch.no_grad()
    def values(
        self,
        x_c: Tensor,
        lbs_weights: Tensor,
        joint_T: Tensor,
        calib: Tensor,
        cues: BodyCues | None = None,
    ) -> Tensor:
        """Values s (B, N, 1) alone, without gradients; arguments and errors of `query`."""
        cues = cues or BodyCues()
        s = self.field_at(x_c, self.inputs_at(x_c, lbs_weights, joint_T, calib, cues), calib)
        return s + _given(cues.distance, "distance") if self.residual else s

    def field_at(self, x: Tensor, held: Sequence[Tensor], calib: Tensor) -> Tensor:
        """S (B, N, 1) at points (B, N, 3) whose features are known."""
        if self.space == "posed":
            x = transform_points(calib[:, None], x)
        out: Tensor = self.field(x, *held)
        return out

    def _on_body(self, found: FieldSamples, cues: BodyCues) -> FieldSamples:
        """The field and its gradient with those of the body added, where it is a residual."""
        if not self.residual:
            return found
        s, slope = _given(cues.distance, "distance"), _given(cues.slope, "slope")
        return FieldSamples(found.s + s, found.gradient + slope)

    def inputs_at(
        self,
        x_c: Tensor,
        lbs_weights: Tensor,
        joint_T: Tensor,
        calib: Tensor,
        cues: BodyCues,
    ) -> list[Tensor]:
        """The features of the class's text at points, each (B, N, width), in the order that F reads."""
        return self.inputs_with(x_c, blended_matrices(lbs_weights, joint_T), calib, cues)

    def inputs_with(self, x_c: Tensor, matrices: Tensor, calib: Tensor, cues: BodyCues) -> list[Tensor]:
        """`inputs_at`, of blended matrices (B, N, 4, 4)."""
        posed = self.space == "posed"
        x_box = transform_points(calib[:, None], x_c if posed else transform_points(matrices, x_c))
        made = {
            "image": lambda: sample_bilinear(self._map("features"), x_box[..., :2]),
            "body": lambda: _given(cues.distance, "distance"),
            "joints": lambda: (x_c[:, :, None] - _given(cues.joints, "joints")[:, None]).flatten(2),
            "normal": lambda: self._canonical_normal(x_box, matrices, calib, cues),
        }
        return [made[name]() for name in self.features]

    def _canonical_normal(self, x_box: Tensor, matrices: Tensor, calib: Tensor, cues: BodyCues) -> Tensor:
        n = sample_bilinear(self._map("front"), x_box[..., :2])
        if self.two_sided:
            share = _given(cues.front, "front")
            n = share * n + (1 - share) * sample_bilinear(self._map("back"), x_box[..., :2])
        n = n * n.new_tensor([1.0, -1.0, -1.0 if self.z_away else 1.0])  # y up -> the box's y down
        if self.space == "posed":
            return F.normalize(n, dim=-1)
        return normals_to_canonical(n, matrices, calib, self.normal_transport)

    def _map(self, name: str) -> Tensor:
        found = getattr(self.maps, name, None)
        if found is None:
            raise ShapeError(f"query needs the {name} of a picture: call filter(...) first")
        return cast("Tensor", found)


def _given(cue: Tensor | None, name: str) -> Tensor:
    if cue is None:
        raise ShapeError(f"this field reads the cue {name!r} of the body: give cues=BodyCues({name}=...)")
    return cue
