"""Signed distance fields as point-wise networks that start as a sphere.

Source: Implicit geometric regularization, Gropp et al. (arXiv 2002.10099), and SAL, Atzmon and Lipman
(arXiv 1911.10414), for the start; features before the coordinates as in CAR, Liao et al. (arXiv 2304.03903).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from mien.core.errors import ConfigError, ShapeError
from mien.nn.softplus import Softplus


def positional_encoding(x: Tensor, octaves: int) -> Tensor:
    """[sin(pi x), cos(pi x), sin(2 pi x), ..., cos(2^(L-1) pi x), x]: (..., D) -> (..., (2 L + 1) D).

    >>> positional_encoding(torch.tensor([0.5]), 1).round(decimals=3).tolist()
    [1.0, -0.0, 0.5]
    """
    waves = [f(2.0**k * math.pi * x) for k in range(octaves) for f in (torch.sin, torch.cos)]
    return torch.cat([*waves, x], -1)


class SDFNet(nn.Module):
    """Point-wise network s(f, x) of features f and coordinates x, softplus between its layers.

        h_0 = z = [f, gamma(x)],   h_i+1 = softplus(W_i h_i + b_i),   s = W_last h_last + b_last

    At a skip layer h_i is [h_i, z] / sqrt(2), and the layer before it gives that many fewer numbers. The
    start is near the sphere |x| = radius (with skips the zero set is wider):

        hidden W ~ N(0, 2 / outputs), b = 0;   last W ~ N(sqrt(pi / inputs), 1e-4^2), b = -radius

    Weights of the features and of the waves of gamma start at 0, so that only x shapes the sphere. Parameters
    are named ``layers.I.weight`` and ``layers.I.bias`` and may be exchanged by `torch.func.functional_call`.

    Attributes:
        dims: widths as given.
        skips: layers as given.
        features: width of f.

    Args:
        dims: widths from input, ``features`` + 3, to output.
        skips: layers, counted from 0, that see the input again.
        features: width of f; f comes first in the input and x last.
        beta: sharpness of the softplus.
        radius: of the sphere at the start, in the units of x.
        octaves: of the positional encoding; 0 = x alone.
        generator: of the start weights; None = the global one.

    Raises:
        ConfigError: widths or skips that do not fit together.

    >>> net = SDFNet((3, 64, 64, 64, 64, 1))
    >>> sum(p.numel() for p in net.parameters()), net(torch.zeros(2, 5, 3)).shape
    (12801, torch.Size([2, 5, 1]))
    """

    def __init__(
        self,
        dims: Sequence[int],
        skips: Sequence[int] = (),
        *,
        features: int = 0,
        beta: float = 100.0,
        radius: float = 1.0,
        octaves: int = 0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if min(features, octaves) < 0 or dims[0] != features + 3:
            raise ConfigError(
                f"dims[0]={dims[0]} must be features + 3, features={features}, octaves={octaves}"
            )
        shapes = layer_shapes(dims, skips, features + 3 + 6 * octaves)
        self.dims, self.skips, self.features, self.octaves = tuple(dims), tuple(skips), features, octaves
        self.layers = nn.ModuleList(nn.Linear(inputs, outputs) for outputs, inputs in shapes)
        self.activation = Softplus(beta)
        self.reset_to_sphere(radius, generator)

    @torch.no_grad()
    def reset_to_sphere(self, radius: float, generator: torch.Generator | None = None) -> None:
        """Draws the start weights of the class's text again."""
        for i, layer in enumerate(self.linears):
            last = i == len(self.layers) - 1
            outputs, inputs = layer.weight.shape
            mean, std = (math.sqrt(math.pi / inputs), 1e-4) if last else (0.0, math.sqrt(2 / outputs))
            layer.weight.normal_(mean, std, generator=generator)
            layer.bias.fill_(-radius if last else 0.0)
            if i == 0 or i in self.skips:
                layer.weight[:, inputs - self.width : inputs - 3] = 0

    @property
    def linears(self) -> list[nn.Linear]:
        """The layers with their type."""
        return cast("list[nn.Linear]", list(self.layers))

    @property
    def width(self) -> int:
        """Width of the input z with its encoding."""
        return self.features + 3 + 6 * self.octaves

    def forward(self, x: Tensor, *features: Tensor) -> Tensor:
        """Coordinates (..., 3) and features (..., F_k), sum of F_k = ``features`` -> s (..., outputs).

        O(points weights).

        Raises:
            ShapeError: other widths.
        """
        given = sum(f.shape[-1] for f in features)
        if x.shape[-1] != 3 or given != self.features:
            raise ShapeError(
                f"expected points (..., 3) and {self.features} features, got {tuple(x.shape)} and {given}"
            )
        z = torch.cat([*features, positional_encoding(x, self.octaves)], -1)
        h = z
        for i, layer in enumerate(self.layers):
            if i in self.skips:
                h = torch.cat([h, z], -1) / math.sqrt(2)
            h = layer(h)
            if i < len(self.layers) - 1:
                h = self.activation(h)
        return h


def layer_shapes(
    dims: Sequence[int], skips: Sequence[int] = (), width: int | None = None
) -> list[tuple[int, int]]:
    """Shapes (outputs, inputs) of the weights of point-wise layers, some of which see the input again.

    The layer before a skip gives as many fewer numbers as the input has, so that both together fill dims[i].

    Args:
        dims: widths from input to output.
        skips: layers, counted from 0, at whose entry the input is appended.
        width: of the input as the layers see it; None = dims[0].

    Raises:
        ConfigError: widths or skips that do not fit together.

    >>> layer_shapes((3, 1024, 512, 256, 128, 1), (2, 3, 4))
    [(1024, 3), (509, 1024), (253, 512), (125, 256), (1, 128)]
    """
    if len(dims) < 2 or min(dims) < 1:
        raise ConfigError(f"dims={tuple(dims)} must be at least 2 positive widths")
    first, last = dims[0] if width is None else width, len(dims) - 2
    for i in skips:
        if not 1 <= i <= last or dims[i] < first:
            raise ConfigError(
                f"skip at {i}: a layer of 1 to {last} can have one where dims is at least {first}, the input"
            )
    return [(dims[i + 1] - first * (i + 1 in skips), dims[i] if i else first) for i in range(last + 1)]


def value_and_gradient(
    field: Callable[..., Tensor], x: Tensor, *features: Tensor, create_graph: bool = False
) -> tuple[Tensor, Tensor]:
    """Value s and its partial derivative d s / d x with the features held constant. O(points weights).

    Args:
        field: (x, *features) -> (..., 1), each point for itself: a `SDFNet`, or any such function.
        x: (..., 3).
        features: (..., F_k).
        create_graph: keeps what a loss of the gradient needs; without it neither result can be trained.

    Returns:
        s (..., 1) and its gradient (..., 3).

    >>> s, gradient = value_and_gradient(lambda x: x.square().sum(-1, keepdim=True), torch.ones(1, 3))
    >>> s.tolist(), gradient.tolist()
    ([[3.0]], [[2.0, 2.0, 2.0]])
    """
    with torch.enable_grad():
        at = x if create_graph and x.requires_grad else x.detach().requires_grad_()
        s = field(at, *features)
        (gradient,) = torch.autograd.grad(s.sum(), at, create_graph=create_graph)
    return (s if create_graph else s.detach()), gradient
