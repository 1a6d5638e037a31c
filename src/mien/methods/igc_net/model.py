"""IGC-Net: a picture to part capsules, these to an object capsule, that to a picture."""

from __future__ import annotations

import math
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mien.core.errors import ShapeError
from mien.methods.igc_net.capsules import (
    GraphicsCapsule,
    Light,
    ObjectCapsule,
    assemble,
    mirrored,
    object_capsule,
)
from mien.methods.igc_net.config import IgcNetConfig
from mien.methods.igc_net.foreground import scene_behind
from mien.methods.igc_net.networks import AttentionPool, ConfidenceNet, Decoder, Decompose, Encoder
from mien.render.canonical import Renderer, lambert, resample, view_transform

QUERY_SPREAD = 0.5
PRESENCE_GAIN = 10.0  # a logit must outweigh what depth gives the nearer layer, .1 / tau = 5 to 20
LIGHT, VIEW = 4, 6
VIEW_SIGNS = (1, -1, -1, -1, 1, 1)  # of the view of a mirrored picture
LIGHT_SIGNS = (1, 1, -1, 1)
COARSE = 4  # pixels of a map for one of what all faces share
DOME_RADII = (0.7, 1.25)  # half width and half height, in half sides
MAX_DEPTH_SHIFT = 0.0  # along z, as in the released configs of Unsup3D


class Rendering(NamedTuple):
    """An object seen from its view.

    Attributes:
        image: (B, 3, H, W) in [0, 1].
        depth: (B, H, W) scene units.
        mask: (B, H, W) bool, where a surface is seen.
        visibility: (B, M + 1, H, W) of the layers; the background is what parts leave.
        face: (B, 3, H, W) what parts show, without the background.
        normal: (B, H, W, 3) unit, of the canonical surface, turned; smoother than those of ``depth``.
    """

    image: Tensor
    depth: Tensor
    mask: Tensor
    visibility: Tensor
    face: Tensor
    normal: Tensor


def rescaled(x: Tensor, low: float, high: float) -> Tensor:
    """(1 + x) / 2 high + (1 - x) / 2 low of x in [-1, 1]."""
    return (1 + x) / 2 * high + (1 - x) / 2 * low


def relative_depths(raw: Tensor, logits: Tensor, weights: Tensor | None = None) -> Tensor:
    """Raw depths (B, M, H, W) less the object's mean. O(B M H W).

    Mean of sum_m softmax_m(s) raw over all pixels; with weights sum w raw / sum w over parts and pixels. One
    mean for all parts: they keep their places relative to each other.
    """
    if weights is None:
        mean = (logits.softmax(1) * raw).sum(1).mean((1, 2))
    else:
        mean = (weights * raw).sum((1, 2, 3)) / weights.sum((1, 2, 3)).clamp_min(1.0)
    return raw - mean[:, None, None, None]


def dome(renderer: Renderer, front: float = 0.92, radii: tuple[float, float] = DOME_RADII) -> Tensor:
    """Depth (S, S) of the front half of an ellipsoid about the pivot (0, 0, 1). O(S^2).

    D = 1 - (1 - front) sqrt(max(0, 1 - (x / a)^2 - (y / b)^2)), x and y in [-1, 1]: a head turns about its
    middle, and its nearest point is ``front`` away from the camera.

    Source: reconstruction.
    """
    at = torch.linspace(-1, 1, renderer.image_size)
    inside = 1 - (at / radii[0]).square() - (at[:, None] / radii[1]).square()
    return 1 - (1 - front) * inside.clamp_min(0).sqrt()


def unscaled(depth: Tensor, low: float, high: float) -> Tensor:
    """The x with `rescaled` tanh x = depth."""
    return ((2 * depth - high - low) / (high - low)).atanh()


def light_of(raw: Tensor) -> Light:
    """Light of 4 numbers (B, 4) in [-1, 1]: k_s = (1 + l0) / 2, k_d = (1 + l1) / 2, l = norm(l2, l3, 1)."""
    direction = torch.cat([raw[:, 2:], torch.ones_like(raw[:, :1])], 1)
    return Light((1 + raw[:, 0]) / 2, (1 + raw[:, 1]) / 2, nn.functional.normalize(direction, dim=1))


class IGCNet(nn.Module):
    """The networks of a config.

    Args:
        config: sizes and switches.
        size: side S of the pictures.

    Attributes:
        tau: softness of assembling, a buffer: what the net was last trained with.

    Raises:
        ConfigError: a size that is no multiple of 16.

    >>> net = IGCNet(IgcNetConfig(width=8), 32)
    >>> obj = net.encode(torch.rand(2, 3, 32, 32))
    >>> obj.visibility.shape, net.render(obj).image.shape
    (torch.Size([2, 7, 32, 32]), torch.Size([2, 3, 32, 32]))
    """

    tau: Tensor
    dome: Tensor

    def __init__(self, config: IgcNetConfig, size: int = 48) -> None:
        super().__init__()
        c = self.config = config
        self.renderer = Renderer(size, warp=c.warp)
        self.shape_encoder = Encoder(size, c.width, c.features)
        self.albedo_encoder = Encoder(size, c.width, c.features)
        self.queries = nn.Parameter(QUERY_SPREAD * torch.randn(c.parts, c.query))
        self.shape_decompose, self.albedo_decompose = (_pooling(c, size) for _ in range(2))
        copies = 1 if c.share_decoder else c.parts
        self.shape_decoders, self.albedo_decoders = (
            nn.ModuleList(Decoder(size, c.width, c.dim, outputs) for _ in range(copies)) for outputs in (2, 3)
        )
        self.view_net = Encoder(size, c.width // 2, VIEW)
        self.light_net = Encoder(size, c.width // 2, LIGHT) if c.light else None
        self.background_net = Decoder(size, c.width // 2, c.features, 1) if c.background else None
        self.guess = nn.Parameter(torch.zeros(1, 1, size // COARSE, size // COARSE)) if c.dome else None
        self.register_buffer("dome", dome(self.renderer, c.front, c.radii), persistent=False)
        self.confidence_net = ConfidenceNet(size, c.width // 2, c.dim) if c.confidence else None
        turn, shift = math.radians(c.max_turn), c.max_shift
        limits = torch.tensor([turn, turn, turn, shift, shift, MAX_DEPTH_SHIFT])
        self.register_buffer("view_limits", limits, persistent=False)
        self.register_buffer("tau", torch.tensor(c.tau_start))

    def encode(self, image: Tensor, single: bool = False) -> ObjectCapsule:
        """The object of pictures (B, 3, S, S) in [0, 1]. O(B M S^2 width).

        Args:
            image: pictures.
            single: one capsule of the mean query is the whole face (warm-up); M is 1 then.

        Raises:
            ShapeError: another shape.
        """
        size = self.renderer.image_size
        if image.ndim != 4 or image.shape[1:] != (3, size, size):
            raise ShapeError(f"pictures must be (B, 3, {size}, {size}), got {tuple(image.shape)}")
        x = image * 2 - 1
        f_s, f_a = self.embeddings(x)
        background = self.background(f_s, f_a, image)
        obj = object_capsule(
            self.renderer,
            self.part_capsules(f_s, f_a, background, single),
            self.view(x),
            self.light(x),
            float(self.tau),
            how=self.config.assembling,
            background=background,
            confidence=None if self.confidence_net is None else self.confidence_net(x),
        )
        return obj._replace(code_shape=f_s, code_albedo=f_a)

    def part_capsules(
        self, f_s: Tensor, f_a: Tensor, background: GraphicsCapsule | None, single: bool = False
    ) -> list[GraphicsCapsule]:
        """Capsules of M parts from the embeddings (B, F) of shape and albedo; all decoded as one batch."""
        queries = self.queries.mean(0, keepdim=True) if single else self.queries
        e_s, e_a = self.shape_decompose(f_s, queries), self.albedo_decompose(f_a, queries)
        raw, logits = _decoded(self.shape_decoders, e_s).unbind(2)
        if self.guess is not None:
            raw = raw + F.interpolate(self.guess, raw.shape[-2:], mode="bicubic", align_corners=True)
        logits = PRESENCE_GAIN * logits
        low, high = self.renderer.min_depth, self.renderer.max_depth
        relative = relative_depths(raw, logits, self.shares(logits, background))
        if self.guess is not None:
            relative = relative + unscaled(self.dome, low, high)
        depths = rescaled(relative.tanh(), low, high)
        albedos = rescaled(_decoded(self.albedo_decoders, e_a).tanh(), 0.0, 1.0)
        by_part = zip(*(x.unbind(1) for x in (depths, albedos, logits, e_s, e_a)), strict=True)
        return [GraphicsCapsule(*maps) for maps in by_part]

    @torch.no_grad()
    def shares(self, logits: Tensor, background: GraphicsCapsule | None) -> Tensor | None:
        """Shares of parts (B, M, H, W) before a background if all lay at the middle depth; else None.

        The object's mean depth is then that of the foreground. Were it that of the whole map, the face would
        slide to d_min, where it hides the background best.
        """
        if background is None:
            return None
        middle = (self.renderer.min_depth + self.renderer.max_depth) / 2
        depths = torch.cat([background.depth[:, None], torch.full_like(logits, middle)], 1)
        both = torch.cat([background.presence[:, None], logits], 1)
        return assemble(depths, both, float(self.tau), self.config.assembling)[0][:, 1:]

    def both_ways(self, net: nn.Module, x: Tensor, signs: tuple[int, ...] | None = None) -> Tensor:
        """(net(x) + s net(mirrored x)) / 2: what the mirrored picture must say as well. O(B S^2 width).

        Source: reconstruction. A mirrored face has the same canonical shape and albedo, the opposite yaw and
        roll, and light from the other side; ``signs`` s tells which outputs change theirs.
        """
        if not self.config.mirror:
            return cast("Tensor", net(x))
        own, other = net(torch.cat([x, x.flip(-1)])).chunk(2)
        return cast("Tensor", (own + (other if signs is None else other * other.new_tensor(signs))) / 2)

    def background(self, f_s: Tensor, f_a: Tensor, image: Tensor) -> GraphicsCapsule | None:
        """The layer behind all parts, at d_max; its albedo is seen in the input view, where it stays."""
        if self.background_net is None:
            return None
        logit = PRESENCE_GAIN * self.background_net(f_s)[:, 0]
        depth = torch.full_like(logit, self.renderer.max_depth)
        return GraphicsCapsule(depth, scene_behind(image), logit, f_s, f_a)

    def embeddings(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Shape and albedo embedding (B, F) each of pictures in [-1, 1]: the code of the whole face."""
        return self.both_ways(self.shape_encoder, x), self.both_ways(self.albedo_encoder, x)

    def view(self, x: Tensor) -> Tensor:
        """(B, 6) of pictures in [-1, 1]."""
        return self.both_ways(self.view_net, x, VIEW_SIGNS).tanh() * cast("Tensor", self.view_limits)

    def light(self, x: Tensor) -> Light:
        """Of pictures in [-1, 1]; without a net all light comes from everywhere."""
        if self.light_net is not None:
            return light_of(self.both_ways(self.light_net, x, LIGHT_SIGNS).tanh())
        one = x.new_ones(len(x))
        return Light(one, 0 * one, x.new_tensor([0.0, 0.0, 1.0]).expand(len(x), 3))

    def render(
        self, obj: ObjectCapsule, view: Tensor | None = None, light: Light | None = None, flip: bool = False
    ) -> Rendering:
        """The object lit, turned and seen. O(B M S^2).

        Args:
            obj: what is seen.
            view: (B, 6), default the object's.
            light: default the object's.
            flip: left and right of the canonical object are exchanged first.
        """
        obj = mirrored(obj) if flip else obj
        view, light, renderer = obj.view if view is None else view, light or obj.light, self.renderer
        lit = obj.albedo * lambert(obj.normal, *light)[:, None]
        there = 1 - obj.visibility[:, 0].detach()
        depth = renderer.warp_canon_depth(obj.depth, view, there)
        mask = renderer.seen(depth)
        grid = renderer.get_inv_warped_2d_grid(depth, view)
        image = (resample(lit, grid) * mask[:, None]).clamp(0, 1)
        parts = resample(obj.visibility[:, 1:], grid.detach()) * mask[:, None]
        turned = obj.normal @ view_transform(view)[0].mT[:, None]
        normal = F.normalize(resample(turned.movedim(-1, 1), grid).movedim(1, -1), dim=-1)
        if obj.background is None:
            behind = torch.zeros_like(parts[:, :1])
            return Rendering(image, depth, mask, torch.cat([behind, parts], 1), image, normal)
        behind = 1 - parts.sum(1, keepdim=True)
        whole = (1 - behind) * image + behind * obj.background.albedo
        return Rendering(whole, depth, mask, torch.cat([behind, parts], 1), image, normal)

    @torch.no_grad()
    def segment(self, image: Tensor) -> Tensor:
        """Part of each pixel, (B, S, S) int64: 1 to M, 0 = background or nothing. O(B M S^2 width)."""
        labels: Tensor = self.render(self.encode(image)).visibility.argmax(1)
        return labels


def _pooling(c: IgcNetConfig, size: int) -> nn.Module:
    if c.pooling == "attention":
        return AttentionPool(size, c.width, c.features, c.query, c.dim)
    return Decompose(c.features, c.query, c.dim)


def _decoded(decoders: nn.ModuleList, codes: Tensor) -> Tensor:
    """Maps (B, M, C, S, S) of codes (B, M, D): by the one decoder, or by each part's own."""
    if len(decoders) == 1:
        maps: Tensor = decoders[0](codes.flatten(0, 1))
        return maps.view(*codes.shape[:2], *maps.shape[1:])
    return torch.stack([d(e) for d, e in zip(decoders, codes.unbind(1), strict=False)], 1)
