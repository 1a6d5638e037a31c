"""The networks of StyleGAN2: latent -> style codes -> picture, as a sum of pictures of growing size.

Source: Karras et al. (arXiv 1912.04958), figure 7b (output skips); conditioning, moving average and
truncation as in its released code.
"""

from __future__ import annotations

import itertools
import math
from typing import cast

import torch
from torch import Tensor, nn

from mien.core.errors import ConfigError, ShapeError
from mien.nn.modulated import (
    EqualizedLinear,
    modulated_conv2d,
    rms_normalize,
    scaled_leaky_relu,
    upsample2d,
)


def _clamped(x: Tensor, limit: float | None) -> Tensor:
    return x if limit is None else x.clamp(-limit, limit)


class StyleConv(nn.Module):
    """lrelu(demodulated 3x3 convolution + strength * noise + bias) * sqrt(2), styled by A w + 1.

    Args:
        inputs: channels.
        outputs: channels.
        w_dim: width of w.
        size: side of the output, in pixels.
        upsample: doubles the side.
        noise: adds a constant picture of noise, times a strength that is learnt and starts at 0.
        clamp: bound on the output's magnitude; None = none.
    """

    noise_const: Tensor

    def __init__(
        self,
        inputs: int,
        outputs: int,
        w_dim: int,
        size: int,
        *,
        upsample: bool = False,
        noise: bool = True,
        clamp: float | None = None,
    ) -> None:
        super().__init__()
        self.affine = EqualizedLinear(w_dim, inputs, bias=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.upsample, self.noise, self.clamp = upsample, noise, clamp
        if noise:
            self.noise_strength = nn.Parameter(torch.zeros(()))
            self.register_buffer("noise_const", torch.randn(size, size))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """(B, inputs, h, h), (B, w_dim) -> (B, outputs, size, size). O(B size^2 inputs outputs)."""
        x = modulated_conv2d(x, self.weight, self.affine(w), upsample=self.upsample)
        if self.noise:
            x = x + self.noise_const * self.noise_strength
        return _clamped(scaled_leaky_relu(x + self.bias[:, None, None]), self.clamp)


class ToRGB(nn.Module):
    """Modulated 1x1 convolution without demodulation, style (A w + 1) / sqrt(inputs), plus bias.

    Args:
        inputs: channels.
        outputs: channels.
        w_dim: width of w.
        clamp: bound on the output's magnitude; None = none.
    """

    def __init__(self, inputs: int, outputs: int, w_dim: int, clamp: float | None = None) -> None:
        super().__init__()
        self.affine = EqualizedLinear(w_dim, inputs, bias=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 1, 1))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.clamp = clamp

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """(B, inputs, h, h), (B, w_dim) -> (B, outputs, h, h). O(B h^2 inputs outputs)."""
        styles = self.affine(w) / math.sqrt(self.weight.shape[1])
        x = modulated_conv2d(x, self.weight, styles, demodulate=False)
        return _clamped(x + self.bias[:, None, None], self.clamp)


class StyleBlock(nn.Module):
    """One size: two `StyleConv` (the first doubles the side) and a `ToRGB` that adds to the picture so far.

    Args:
        inputs: channels.
        outputs: channels.
        w_dim: width of w.
        size: side of the output, in pixels.
        picture: channels of the picture.
        first: no doubling and only one convolution: the block of the constant.
        noise: as `StyleConv`.
        clamp: as `StyleConv`.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        w_dim: int,
        size: int,
        picture: int,
        *,
        first: bool = False,
        noise: bool = True,
        clamp: float | None = None,
    ) -> None:
        super().__init__()
        self.conv0 = (
            None
            if first
            else StyleConv(inputs, outputs, w_dim, size, upsample=True, noise=noise, clamp=clamp)
        )
        width = inputs if first else outputs
        self.conv1 = StyleConv(width, outputs, w_dim, size, noise=noise, clamp=clamp)
        self.to_rgb = ToRGB(outputs, picture, w_dim, clamp)

    def forward(self, x: Tensor, picture: Tensor | None, ws: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, inputs, h, h), picture (B, p, h, h) or None -> both of this size.

        Args:
            x: features.
            picture: of the sizes before.
            ws: (B, 3, w_dim), 2 of the first: one code for each convolution, one for the picture.
        """
        codes = ws.unbind(1)
        if self.conv0 is not None:
            x = self.conv0(x, codes[0])
        x = self.conv1(x, codes[-2])
        now: Tensor = self.to_rgb(x, codes[-1])
        return x, now if picture is None else upsample2d(picture) + now


class StyleSynthesis(nn.Module):
    """Style codes -> picture: a learnt constant, then `StyleBlock` after `StyleBlock`, each twice the side.

    ``num_ws`` = 2 blocks: every convolution has a code of its own; a picture shares the code of the next
    convolution, and the last picture has its own.

    Args:
        w_dim: width of w.
        size: side of the picture, ``start`` times a power of 2.
        picture: its channels.
        channel_base: a block of side r has min(channel_base // r, channel_max) channels.
        channel_max: see there.
        start: side of the constant.
        noise: as `StyleConv`.

    Raises:
        ConfigError: a size that is not ``start`` doubled, or no channels left at it.

    >>> net = StyleSynthesis(8, 16, 3, channel_base=64, channel_max=8)
    >>> net.num_ws, net(torch.zeros(2, 6, 8)).shape
    (6, torch.Size([2, 3, 16, 16]))
    """

    def __init__(
        self,
        w_dim: int,
        size: int,
        picture: int,
        *,
        channel_base: int = 32768,
        channel_max: int = 512,
        start: int = 4,
        noise: bool = True,
    ) -> None:
        super().__init__()
        sides = [start]
        while 0 < sides[-1] < size:
            sides.append(2 * sides[-1])
        if start < 1 or sides[-1] != size:
            raise ConfigError(f"size={size} must be start={start} times a power of 2")
        widths = [min(channel_base // side, channel_max) for side in sides]
        if min(widths) < 1:
            raise ConfigError(f"channel_base={channel_base}, channel_max={channel_max} leave none at {size}")
        self.w_dim, self.num_ws = w_dim, 2 * len(sides)
        self.const = nn.Parameter(torch.randn(widths[0], start, start))
        self.blocks = nn.ModuleList(
            StyleBlock(widths[max(i - 1, 0)], widths[i], w_dim, side, picture, first=i == 0, noise=noise)
            for i, side in enumerate(sides)
        )

    def forward(self, ws: Tensor) -> Tensor:
        """(B, num_ws, w_dim) -> (B, picture, size, size). O(B sum_r r^2 channels(r)^2).

        Raises:
            ShapeError: another number or width of codes.
        """
        if ws.ndim != 3 or ws.shape[1:] != (self.num_ws, self.w_dim):
            raise ShapeError(f"expected codes (B, {self.num_ws}, {self.w_dim}), got {tuple(ws.shape)}")
        x, picture = self.blocks[0](self.const.expand(ws.shape[0], -1, -1, -1), None, ws[:, :2])
        for i, block in enumerate(self.blocks[1:], 1):
            x, picture = block(x, picture, ws[:, 2 * i - 1 : 2 * i + 2])
        return cast("Tensor", picture)


class MappingNetwork(nn.Module):
    """z and condition c -> style code w, repeated for every slot.

        w = MLP([z / rms(z), e / rms(e)]), e = E c;   with truncation w_avg + psi (w - w_avg)

    Args:
        z_dim: width of z.
        c_dim: width of c; 0 = no condition.
        w_dim: width of w.
        num_ws: slots.
        depth: layers of the MLP; 0: w is z / rms(z) itself.
        lr_multiplier: of the MLP (not of E).
        beta: of the running mean ``w_avg``.

    Raises:
        ConfigError: a size below 1.

    >>> MappingNetwork(4, 0, 8, num_ws=6)(torch.ones(2, 4)).shape
    torch.Size([2, 6, 8])
    """

    w_avg: Tensor

    def __init__(
        self,
        z_dim: int,
        c_dim: int,
        w_dim: int,
        num_ws: int,
        *,
        depth: int = 2,
        lr_multiplier: float = 0.01,
        beta: float = 0.998,
    ) -> None:
        super().__init__()
        if min(z_dim, w_dim, num_ws) < 1 or min(c_dim, depth) < 0:
            raise ConfigError(
                f"z_dim={z_dim}, w_dim={w_dim}, num_ws={num_ws} must be at least 1, c_dim={c_dim}, "
                f"depth={depth} at least 0"
            )
        if not depth and (c_dim or z_dim != w_dim):
            raise ConfigError(f"without layers z_dim={z_dim} must be w_dim={w_dim}, and c_dim={c_dim} 0")
        self.z_dim, self.c_dim, self.num_ws, self.beta = z_dim, c_dim, num_ws, beta
        self.embed = EqualizedLinear(c_dim, w_dim) if c_dim else None
        widths = [z_dim + (w_dim if c_dim else 0)] + [w_dim] * depth
        self.layers = nn.ModuleList(
            EqualizedLinear(a, b, lr_multiplier=lr_multiplier) for a, b in itertools.pairwise(widths)
        )
        self.register_buffer("w_avg", torch.zeros(w_dim))

    def code(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """Z (B, z_dim), c (B, c_dim) -> w (B, w_dim), not truncated.

        Raises:
            ShapeError: other widths, or a condition where none is known (or the reverse).
        """
        if z.ndim != 2 or z.shape[1] != self.z_dim:
            raise ShapeError(f"expected z (B, {self.z_dim}), got {tuple(z.shape)}")
        if (None if c is None else tuple(c.shape)) != ((len(z), self.c_dim) if self.c_dim else None):
            wanted = f"({len(z)}, {self.c_dim})" if self.c_dim else "None"
            raise ShapeError(f"expected c {wanted}, got {None if c is None else tuple(c.shape)}")
        x = rms_normalize(z)
        if self.embed is not None:
            x = torch.cat([x, rms_normalize(self.embed(c))], 1)
        for layer in self.layers:
            x = scaled_leaky_relu(layer(x))
        return x

    def forward(
        self,
        z: Tensor,
        c: Tensor | None = None,
        truncation_psi: float = 1.0,
        *,
        update_average: bool = False,
    ) -> Tensor:
        """Z (B, z_dim), c (B, c_dim) -> (B, num_ws, w_dim). O(B w_dim^2).

        Args:
            z: latent.
            c: condition; None if and only if ``c_dim`` is 0.
            truncation_psi: 1 = none, 0 = ``w_avg`` for all.
            update_average: moves ``w_avg`` towards the mean of this batch first.

        Raises:
            ShapeError: as `code`.
        """
        w = self.code(z, c)
        if update_average:
            with torch.no_grad():
                self.w_avg.copy_(w.detach().mean(0).lerp(self.w_avg, self.beta))
        if truncation_psi != 1:
            w = self.w_avg.lerp(w, truncation_psi)
        return w[:, None].expand(-1, self.num_ws, -1)

    @torch.no_grad()
    def statistics(self, z: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (divisor B) of w over a batch of latents, each (w_dim,).

        Raises:
            ShapeError: as `code`.
        """
        w = self.code(z, c)
        return w.mean(0), w.std(0, correction=0)
