"""The tri-plane generator: latent -> three planes of features -> density and colour; super-resolution.

Source: EG3D, Chan et al. (arXiv 2112.07945), sections 4.1 to 4.3, in the sizes of its released networks
(the generator that OTAvatar, arXiv 2303.14662, is built on).
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien.core.errors import ConfigError, ShapeError
from mien.methods.otavatar.plane_warp import PlaneWarp
from mien.nn.modulated import EqualizedLinear
from mien.nn.softplus import Softplus
from mien.nn.style_blocks import MappingNetwork, StyleBlock, StyleSynthesis
from mien.render.plane_settings import PlaneAxes
from mien.render.triplane import PlaneDecoder

OWN_PLANES = "own"
"""Name of a person's own planes, which tuning adds to those of the synthesis; before it there are none."""
MARGIN = 2
"""Raw pixels from the edge of a crop up to which one block of super-resolution sees that edge."""
SMALL: dict[str, Any] = {
    "z_dim": 128,
    "w_dim": 128,
    "plane_size": 64,
    "plane_channels": 16,
    "channel_base": 2048,
    "channel_max": 96,
    "decoder_width": 32,
    "features": 3,
    "sr_channels": (),
}
"""`TriPlaneGenerator` for two processor cores, without super-resolution; the defaults are EG3D's sizes."""


class FieldDecoder(nn.Module):
    """Plane feature -> raw density and features: FC, softplus, FC with equalised learning rates.

        (sigma, y) = W2 softplus(W1 x + b1) + b2,   feat = 1.002 sigmoid(y) - 0.001

    sigma is raw: the marcher activates it. No view direction.

    Args:
        channels: of a plane.
        width: of the hidden layer.
        features: of the output; the first three are the colour.
        sigma_bias: what b2 of sigma starts at; below 0 the space starts emptier.
    """

    def __init__(self, channels: int, width: int, features: int, sigma_bias: float = 0.0) -> None:
        super().__init__()
        last = EqualizedLinear(width, 1 + features)
        with torch.no_grad():
            last.bias[0] = sigma_bias
        self.net = nn.Sequential(EqualizedLinear(channels, width), Softplus(), last)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(..., channels), mean over the planes -> sigma (..., 1), feat (..., features). O(width) a point."""
        y = self.net(x)
        return y[..., :1], 1.002 * y[..., 1:].sigmoid() - 0.001

    def plain(self) -> PlaneDecoder:
        """The same decoder by its effective weights, as `mien.render.bake_planes` takes it."""
        first, last = (cast("EqualizedLinear", self.net[k]) for k in (0, 2))
        return PlaneDecoder(*first.effective(), *last.effective())


class SuperResolution(nn.Module):
    """Raw render -> large picture: bilinear to ``side``, then StyleGAN2 blocks that double it, without noise.

    All style slots take the last code.

    Args:
        features: of the raw render.
        w_dim: width of w.
        side: the picture's side before the first block, in pixels.
        channels: of the blocks, one each.
        clamp: bound on every layer's magnitude, which the released networks were trained with.
        empty: value of colours and features where nothing is seen, which is taken off inside, so that beyond
            the picture's edge nothing is seen either; 0 as released.

    Raises:
        ConfigError: no blocks.
    """

    def __init__(
        self,
        features: int,
        w_dim: int,
        side: int,
        channels: tuple[int, ...],
        clamp: float | None = 256.0,
        empty: float = 0.0,
    ) -> None:
        super().__init__()
        if not channels or side < 1:
            raise ConfigError(f"super-resolution needs blocks and a side, got {channels} and {side}")
        widths = (features, *channels)
        self.side, self.features, self.size = side, features, side * 2 ** len(channels)
        self.empty = empty
        self.blocks = nn.ModuleList(
            StyleBlock(widths[i], width, w_dim, side * 2 ** (i + 1), 3, noise=False, clamp=clamp)
            for i, width in enumerate(channels)
        )

    def forward(self, rgb: Tensor, feat: Tensor, ws: Tensor) -> Tensor:
        """Raw render -> (B, 3, size, size). O(B size^2 channels^2).

        Args:
            rgb: (B, 3, h, h) in [-1, 1].
            feat: (B, features, h, h) in [-1, 1].
            ws: (B, n, w_dim); the last one counts.

        Raises:
            ShapeError: pictures that are not square and alike, or another number of features.
        """
        square = feat.ndim == 4 and feat.shape[2] == feat.shape[3] and feat.shape[1] == self.features
        if not square or rgb.shape != (feat.shape[0], 3, *feat.shape[2:]):
            raise ShapeError(
                f"expected rgb (B, 3, h, h), feat (B, {self.features}, h, h), got {tuple(rgb.shape)}, "
                f"{tuple(feat.shape)}"
            )
        if feat.shape[-1] != self.side:
            rgb, feat = (
                F.interpolate(v, (self.side, self.side), mode="bilinear", antialias=True) for v in (rgb, feat)
            )
        return self.enlarge(rgb, feat, ws)

    def enlarge(self, rgb: Tensor, feat: Tensor, ws: Tensor) -> Tensor:
        """Pictures of ``side``, or crops of such: the blocks alone; arguments as `forward`.

        A crop gives the picture's crop but for `MARGIN` raw pixels along its edges.
        """
        codes = ws[:, -1:].expand(-1, 3, -1)
        if self.empty:
            feat, rgb = feat - self.empty, rgb - self.empty
        for block in self.blocks:
            feat, rgb = block(feat, rgb, codes)
        return rgb + self.empty if self.empty else rgb


class TriPlaneGenerator(nn.Module):
    """Latent -> style codes -> three planes of features; with the decoder that reads them.

    ``mapping(z, c, truncation_psi)``, `planes`, ``decoder(features)`` and ``super_resolution(rgb, feat, ws)``
    are its parts; rays and sampling are `mien.render`'s. Released EG3D weights were trained with its
    duplicated plane axes, so they need those at rendering.

    Args:
        z_dim: width of the latent.
        c_dim: width of the camera that the mapping is told; 0 = none.
        w_dim: width of a style code.
        plane_size: side P of a plane, ``start`` times a power of 2.
        plane_channels: C of a plane.
        channel_base: a block of side r has min(channel_base // r, channel_max) channels.
        channel_max: see there.
        start: side of the constant.
        mapping_layers: of the mapping network.
        mapping_rate: its learning rate, as a share of the other layers'.
        decoder_width: hidden width of the decoder.
        features: of the decoder; the first three are the colour.
        sigma_bias: as `FieldDecoder`.
        sr_side: side that the raw render is brought to before super-resolution.
        sr_channels: of its blocks, each of which doubles the side; () = no super-resolution.
        sr_empty: ``empty`` of `SuperResolution`.
        warped: a `PlaneWarp` is behind the synthesis, told the first code.
        axes: of its planes.

    Raises:
        ConfigError: sizes that do not fit together.

    >>> g = TriPlaneGenerator(**SMALL)
    >>> ws = g.mapping(torch.zeros(2, 128), torch.zeros(2, 25), truncation_psi=0.7)
    >>> ws.shape, g.planes(ws).shape
    (torch.Size([2, 10, 128]), torch.Size([2, 3, 16, 64, 64]))
    """

    own: nn.Parameter | None

    def __init__(
        self,
        *,
        z_dim: int = 512,
        c_dim: int = 25,
        w_dim: int = 512,
        plane_size: int = 256,
        plane_channels: int = 32,
        channel_base: int = 32768,
        channel_max: int = 512,
        start: int = 4,
        mapping_layers: int = 2,
        mapping_rate: float = 0.01,
        decoder_width: int = 64,
        features: int = 32,
        sigma_bias: float = 0.0,
        sr_side: int = 128,
        sr_channels: tuple[int, ...] = (256, 128),
        sr_empty: float = 0.0,
        warped: bool = False,
        axes: PlaneAxes = "corrected",
    ) -> None:
        super().__init__()
        if plane_channels < 1 or features < 3:
            raise ConfigError(f"plane_channels={plane_channels} must be at least 1, features={features} 3")
        self.plane_channels, self.size = plane_channels, plane_size
        self.synthesis = StyleSynthesis(
            w_dim,
            plane_size,
            3 * plane_channels,
            channel_base=channel_base,
            channel_max=channel_max,
            start=start,
        )
        self.mapping = MappingNetwork(
            z_dim, c_dim, w_dim, self.num_ws, depth=mapping_layers, lr_multiplier=mapping_rate
        )
        self.register_parameter(OWN_PLANES, None)
        self.warp = PlaneWarp(w_dim, axes) if warped else None
        self.decoder = FieldDecoder(plane_channels, decoder_width, features, sigma_bias)
        self.super_resolution = (
            SuperResolution(features, w_dim, sr_side, tuple(sr_channels), empty=sr_empty)
            if sr_channels
            else None
        )

    @property
    def num_ws(self) -> int:
        """Style slots of `planes`."""
        return self.synthesis.num_ws

    @property
    def shape(self) -> torch.Size:
        """(3, C, P, P) of a code's planes."""
        return torch.Size((3, self.plane_channels, self.size, self.size))

    def planes(self, ws: Tensor) -> Tensor:
        """Style codes (B, num_ws, w_dim) -> planes (B, 3, C, P, P). O(B sum_r r^2 channels(r)^2).

        Raises:
            ShapeError: another number or width of codes.
        """
        return self.finished(self.synthesized(ws), ws)

    def synthesized(self, ws: Tensor) -> Tensor:
        """What the synthesis alone makes of style codes, (B, 3, C, P, P)."""
        return cast("Tensor", self.synthesis(ws)).view(ws.shape[0], *self.shape)

    def finished(self, planes: Tensor, ws: Tensor) -> Tensor:
        """Synthesised planes of codes with the person's own added, moved to where the codes want them."""
        if self.own is not None:
            planes = planes + self.own
        return planes if self.warp is None else cast("Tensor", self.warp(planes, ws[:, 0]))
