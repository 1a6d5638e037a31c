"""A hyper-network: a cloud of points to the weights of a signed distance network.

Source: CAR, Liao et al. (arXiv 2304.03903); heads and their start as in MetaAvatar, Wang et al.
(arXiv 2106.11944). The factorised form is ours.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from mien.core.errors import ConfigError, ShapeError
from mien.nn.implicit import SDFNet, layer_shapes

Theta = dict[str, Tensor]
"""Name of a parameter -> (B, *its shape): weights of B networks, of one kind."""


class Dense(nn.Module):
    """Y = W x + b with W ~ N(0, 2 gain^2 / inputs) and b = 0; unlike `nn.Linear`, ``outputs`` may be 0."""

    def __init__(self, inputs: int, outputs: int, gain: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) * gain * math.sqrt(2 / inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) -> (..., outputs)."""
        return nn.functional.linear(x, self.weight, self.bias)


class PointEncoder(nn.Module):
    """Point-wise layers with ReLU; each but the first sees the point again. Features: means over the points.

        h_i+1 = relu(W_i [h_i, p] + b_i),   e_i = mean over points of h_i+1

    The mean makes the order of the points meaningless.

    Attributes:
        outputs: widths of the e_i; ``width`` - ``inputs`` each, the last one ``width``.

    Args:
        inputs: numbers a point has.
        width: of the layers' input.
        layers: how many.
    """

    def __init__(self, inputs: int, width: int, layers: int) -> None:
        super().__init__()
        shapes = layer_shapes((inputs, *[width] * layers), range(1, layers))
        self.layers = nn.ModuleList(Dense(i, o) for o, i in shapes)
        self.outputs = [o for o, _ in shapes]

    def forward(self, points: Tensor) -> list[Tensor]:
        """(B, V, inputs) -> one (B, outputs[i]) of each layer. O(B V layers width^2)."""
        h, means = points, []
        for i, layer in enumerate(self.layers):
            h = layer(torch.cat([h, points], -1) if i else h).relu()
            means.append(h.mean(1))
        return means


class Head(nn.Module):
    """Feature e -> hidden -> hidden -> hidden -> numbers of a layer, with ReLU between.

    With ``skip`` the third layer sees [h, e], and the second gives that many fewer numbers: none where e
    fills the whole width. The last layer starts at a tenth of the usual size.

    Args:
        inputs: width of e.
        hidden: width.
        outputs: numbers.
        skip: see above; needs ``inputs`` <= ``hidden``.
    """

    def __init__(self, inputs: int, hidden: int, outputs: int, *, skip: bool = True) -> None:
        super().__init__()
        shapes = layer_shapes((inputs, hidden, hidden, hidden, outputs), (2,) if skip else ())
        self.layers = nn.ModuleList(Dense(i, o, 0.1 if k == 3 else 1.0) for k, (o, i) in enumerate(shapes))
        self.skip = skip

    @property
    def last(self) -> Dense:
        """The layer that gives the numbers."""
        return cast("Dense", self.layers[3])

    def forward(self, e: Tensor) -> Tensor:
        """(B, inputs) -> (B, outputs)."""
        h = e
        for k, layer in enumerate(self.layers):
            h = layer(torch.cat([h, e], -1) if self.skip and k == 2 else h)
            h = h.relu() if k < 3 else h
        return h


class HyperNetwork(nn.Module):
    """Points of a body -> all weights theta of a `SDFNet`, ready for `torch.func.functional_call`.

    Full heads give each layer l an (outputs, inputs + 1) matrix, column 0 the bias. Factorised heads change a
    shared network theta_bar, which is learnt:

        W_l = W_bar_l + U_l diag(h_l(e_l)) V_l,   b_l = b_bar_l + c_l(e_l)

    Attributes:
        names: of the parameters of the target.

    Args:
        target: the network whose weights are made; only shapes, and for theta_bar its weights, are read.
        inputs: numbers a point has: position and normal.
        width: of the encoder.
        hidden: of the heads.
        skip: heads see their feature twice.
        factorized: U diag V in place of full heads.
        rank: of it.
        start_at_target: full heads start near the target's weights in place of near 0 (a field that is 0
            everywhere, as published). Factorised ones always do.

    Raises:
        ConfigError: widths that do not fit together.

    >>> net = HyperNetwork(SDFNet((3, 64, 64, 64, 64, 1)), hidden=32, skip=False)
    >>> theta = net(torch.zeros(2, 50, 6))
    >>> theta["layers.1.weight"].shape, theta["layers.4.bias"].shape
    (torch.Size([2, 64, 64]), torch.Size([2, 1]))
    """

    def __init__(
        self,
        target: SDFNet,
        *,
        inputs: int = 6,
        width: int = 256,
        hidden: int = 256,
        skip: bool = True,
        factorized: bool = False,
        rank: int = 16,
        start_at_target: bool = False,
    ) -> None:
        super().__init__()
        if min(inputs, width, hidden, rank) < 1:
            raise ConfigError(
                f"inputs={inputs}, width={width}, hidden={hidden}, rank={rank} must be at least 1"
            )
        layers = [(layer.weight.detach(), layer.bias.detach()) for layer in target.linears]
        self.shapes = [(w.shape[0], w.shape[1]) for w, _ in layers]
        self.inputs, self.rank = inputs, rank
        self.encoder = PointEncoder(inputs, width, len(layers))
        self.mean = nn.ParameterList()
        self.left, self.right = nn.ParameterList(), nn.ParameterList()
        counts = [o + rank if factorized else o * (i + 1) for o, i in self.shapes]
        heads = [Head(e, hidden, n, skip=skip) for e, n in zip(self.encoder.outputs, counts, strict=True)]
        self.heads = nn.ModuleList(heads)
        for head, (w, b) in zip(heads, layers, strict=True):
            whole = torch.cat([b[:, None], w], 1)
            if factorized:
                self.mean.append(whole)
                self.left.append(torch.randn(len(w), rank) / math.sqrt(rank))
                self.right.append(torch.randn(rank, w.shape[1]) / math.sqrt(w.shape[1]))
            elif start_at_target:
                head.last.bias.data.copy_(whole.flatten())

    @property
    def names(self) -> list[str]:
        """``layers.0.weight``, ``layers.0.bias``, ``layers.1.weight`` ..."""
        return [f"layers.{i}.{part}" for i in range(len(self.shapes)) for part in ("weight", "bias")]

    def forward(self, body_points: Tensor) -> Theta:
        """(B, V, inputs) -> weights of B networks. O(B (V width^2 + numbers of theta hidden)).

        Raises:
            ShapeError: another shape, or no points.
        """
        if body_points.ndim != 3 or body_points.shape[2] != self.inputs or not body_points.shape[1]:
            raise ShapeError(f"expected body points (B, V, {self.inputs}), got {tuple(body_points.shape)}")
        made = [head(e) for head, e in zip(self.heads, self.encoder(body_points), strict=True)]
        parts = [part for i, numbers in enumerate(made) for part in self._layer(i, numbers)]
        return dict(zip(self.names, parts, strict=True))

    def _layer(self, i: int, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Weight (B, outputs, inputs) and bias (B, outputs) of layer i."""
        outputs, inputs = self.shapes[i]
        if not len(self.mean):
            whole = numbers.view(-1, outputs, inputs + 1)
            return whole[..., 1:], whole[..., 0]
        scale, bias = numbers[:, : self.rank], numbers[:, self.rank :]
        change = (self.left[i] * scale[:, None]) @ self.right[i]
        return self.mean[i][:, 1:] + change, self.mean[i][:, 0] + bias

    def mean_network(self) -> Theta:
        """The learnt theta_bar of the factorised form, which no body has changed: without an axis B.

        Raises:
            ConfigError: full heads have none.
        """
        if not len(self.mean):
            raise ConfigError("mean_network: only factorized=True has a mean network")
        parts = [part for whole in self.mean for part in (whole[:, 1:], whole[:, 0])]
        return {n: p.detach().clone() for n, p in zip(self.names, parts, strict=True)}


def one_of(theta: Theta, index: int) -> Theta:
    """Weights of one of B networks, detached copies: what `SDFNet.load_state_dict` takes."""
    return {name: value[index].detach().clone() for name, value in theta.items()}


def call_each(net: nn.Module, theta: Theta, x: Tensor, *features: Tensor) -> Tensor:
    """B networks, each on its own points (B, N, 3) and features (B, N, F): (B, N, outputs)."""

    def call(weights: Theta, *inputs: Tensor) -> Tensor:
        out: Tensor = functional_call(net, weights, inputs)
        return out

    out: Tensor = vmap(call)(theta, x, *features)
    return out
