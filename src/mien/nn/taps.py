"""Intermediate features of any net by layer name, as tokens: timm, torchvision, and our own face nets."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from mien.core.config import suggest
from mien.core.errors import ConfigError, ShapeError
from mien.nn.face_net import FaceNet

Layout = Literal["auto", "bchw", "bhwc", "bnd"]


class Tokens(NamedTuple):
    """Features of one layer.

    Attributes:
        values: (B, N, d), the tokens of the grid first, row by row, then the others (class tokens, prompts).
        grid: (height, width); (0, 0) where no grid is known.
    """

    values: Tensor
    grid: tuple[int, int]


def as_tokens(x: Tensor, layout: Layout = "auto", prefix: int = 0) -> Tokens:
    """A map (B, C, H, W) or (B, H, W, C), or tokens (B, N, d), as tokens with their grid.

    Args:
        x: the features.
        layout: "auto" tells maps apart by their equal height and width, and takes N - prefix tokens for a
            square grid where they can be one.
        prefix: tokens (B, N, d) that come first and are no part of the grid; they move to the end.

    Raises:
        ShapeError: a map whose layout cannot be told, or fewer tokens than ``prefix``.
        ConfigError: an unknown layout.

    >>> as_tokens(torch.zeros(2, 16, 7, 7)).grid, as_tokens(torch.zeros(2, 197, 8), prefix=1).grid
    ((7, 7), (14, 14))
    """
    if layout not in get_args(Layout):
        raise ConfigError(f"layout={layout!r} is unknown; known: {', '.join(get_args(Layout))}")
    if layout == "auto":
        layout = _layout(tuple(x.shape))
    if x.ndim != (3 if layout == "bnd" else 4):
        raise ShapeError(f"expected features {layout}, got {tuple(x.shape)}")
    if layout == "bchw":
        return Tokens(x.flatten(2).transpose(1, 2), (x.shape[2], x.shape[3]))
    if layout == "bhwc":
        return Tokens(x.flatten(1, 2), (x.shape[1], x.shape[2]))
    count = x.shape[1] - prefix
    if count < 1:
        raise ShapeError(f"expected more than {prefix} tokens, got {tuple(x.shape)}")
    side = math.isqrt(count)
    values = torch.cat([x[:, prefix:], x[:, :prefix]], 1) if prefix else x
    return Tokens(values, (side, side) if side**2 == count else (0, 0))


def _layout(shape: tuple[int, ...]) -> Layout:
    if len(shape) == 3:
        return "bnd"
    if len(shape) == 4:
        channels_first, channels_last = shape[2] == shape[3], shape[1] == shape[2]
        if channels_first != channels_last:
            return "bchw" if channels_first else "bhwc"
    raise ShapeError(f"cannot tell the layout of features {shape}; name it: bchw, bhwc or bnd")


def as_map(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """The tokens (B, N, d) of a grid as a map (B, d, H, W); tokens beyond the grid are left out.

    Raises:
        ShapeError: fewer tokens than the grid has, or no grid.

    >>> as_map(torch.zeros(2, 53, 16), (7, 7)).shape
    torch.Size([2, 16, 7, 7])
    """
    count = grid[0] * grid[1]
    if tokens.ndim != 3 or not 0 < count <= tokens.shape[1]:
        raise ShapeError(f"expected tokens (B, N, d) of a grid {grid}, got {tuple(tokens.shape)}")
    x: Tensor = tokens[:, :count].transpose(1, 2).unflatten(2, grid)
    return x


class Taps:
    """Runs a net and hands out features of named layers.

    A name is a key of the net's own ``taps`` (`FaceNet`), or that of a module (``layers.3``), whose output is
    then read with a forward hook that lives only during the call. A module that runs more than once gives its
    last output, one with several outputs its first tensor.

    Args:
        net: any module.
        names: of layers.
        layout: of modules' outputs, see `as_tokens`; maps named in ``taps`` are (B, C, H, W).
        prefix: class and register tokens; None = ``net.num_prefix_tokens`` of timm, or 0.

    Raises:
        ConfigError: an unknown name; the nearest one is suggested.

    >>> net = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.Flatten(), nn.Linear(72, 4))
    >>> out, features = Taps(net, ["0"])(torch.zeros(1, 3, 8, 8))
    >>> out.shape, features["0"].values.shape, features["0"].grid
    (torch.Size([1, 4]), torch.Size([1, 9, 8]), (3, 3))
    """

    def __init__(
        self, net: nn.Module, names: Iterable[str], layout: Layout = "auto", prefix: int | None = None
    ) -> None:
        self.net, self.layout = net, layout
        self.names = tuple(names)
        known = dict(net.named_modules())
        self.own = net.taps if isinstance(net, FaceNet) else {}
        for name in self.names:
            if not name or (name not in known and name not in self.own):
                raise ConfigError(f"no layer {name!r}{suggest(name, [*self.own, *filter(None, known)])}")
        self.modules = {n: known[n] for n in self.names if n not in self.own}
        self.prefix = int(getattr(net, "num_prefix_tokens", 0)) if prefix is None else prefix

    def __call__(self, x: Tensor) -> tuple[Any, dict[str, Tokens]]:
        """The net's output, and the features by name in the order they were asked for.

        Raises:
            ConfigError: a layer that the net did not run, or one without a tensor.
            ShapeError: features whose layout cannot be told.
        """
        with self._listening() as heard:
            if isinstance(self.net, FaceNet):
                maps = self.net.forward_features(x)
                out: Any = self.net.forward_head(maps[list(maps)[-1]])
            else:
                maps, out = {}, self.net(x)
        found = {}
        for name in self.names:
            if name in self.own:
                found[name] = as_tokens(maps[name], "bchw")
            elif name in heard:
                found[name] = as_tokens(heard[name], self.layout, self.prefix)
            else:
                raise ConfigError(f"layer {name!r} was not run, or gave no tensor")
        return out, found

    @contextmanager
    def _listening(self) -> Iterator[dict[str, Tensor]]:
        heard: dict[str, Tensor] = {}

        def hook_of(name: str) -> Any:
            def hook(module: nn.Module, inputs: Any, output: Any) -> None:
                outputs = output if isinstance(output, tuple | list) else [output]
                tensors = [t for t in outputs if isinstance(t, Tensor)]
                if tensors:
                    heard[name] = tensors[0]

            return hook

        handles = [m.register_forward_hook(hook_of(name)) for name, m in self.modules.items()]
        try:
            yield heard
        finally:
            for handle in handles:
                handle.remove()
