"""How sharp the training loss is around the weights: surrogate gap, gradient alignment, slices.

Symbols: L(theta) mean loss over the data; g = grad L(theta); eps = rho g / ||g||; L_p = L(theta + eps);
surrogate gap h = L_p - L (section 2.1 of the method, arXiv 2303.10353).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mien.core.errors import ConfigError
from mien.optim.sam import global_norm

Batch = tuple[Tensor, Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]
"""(outputs, targets) -> mean loss."""


def sharpness_report(
    model: nn.Module,
    loss: Loss,
    data: Sequence[Batch],
    rho: float,
    *,
    directions: int = 4,
    noise: float = 1.0,
    seed: int = 0,
) -> dict[str, float]:
    """Loss, perturbed loss, surrogate gap and alignment at the model's weights, on all of ``data``.

    Args:
        model: used in eval mode; its weights, gradients and mode come back as they were.
        loss: mean over a batch.
        data: batches (inputs, targets); the loss is the mean over all pictures.
        rho: radius of the perturbation.
        directions: random directions of ``random_direction_increase`` (0 leaves it out).
        noise: L2 norm of the random directions.
        seed: of the random directions.

    Returns:
        ``loss``, ``perturbed``, ``gap``, ``cosine`` (between g and the gradient at theta + eps),
        ``grad_norm``, ``random_direction_increase`` (mean increase of the loss at norm ``noise``). Cost:
        three passes over the data, and one for each direction; memory O(parameters).

    Raises:
        ConfigError: no data.
    """
    params = [p for p in model.parameters() if p.requires_grad]
    with _undisturbed(model):
        value, g = _loss_and_grad(model, loss, data, params)
        norm = global_norm(g)
        with moved(params, [x * (rho / (norm + 1e-12)) for x in g]):
            perturbed, g_p = _loss_and_grad(model, loss, data, params)
        inner = torch.stack([(a * b).sum() for a, b in zip(g, g_p, strict=True)]).sum()
        report = {
            "loss": value,
            "perturbed": perturbed,
            "gap": perturbed - value,
            "cosine": float(inner / (norm * global_norm(g_p) + 1e-12)),
            "grad_norm": float(norm),
        }
        if directions:
            rises = []
            generator = torch.Generator().manual_seed(seed)
            for _ in range(directions):
                d = [torch.randn(p.shape, generator=generator).to(p) for p in params]
                size = global_norm(d)
                with moved(params, [x * (noise / size) for x in d]):
                    rises.append(mean_loss(model, loss, data) - value)
            report["random_direction_increase"] = float(np.mean(rises))
    return report


def surrogate_gaps(
    model: nn.Module, loss: Loss, data: Sequence[Batch], radii: Sequence[float]
) -> tuple[float, list[float]]:
    """The loss and the surrogate gap at each radius: one backward pass, and one forward pass a radius."""
    params = [p for p in model.parameters() if p.requires_grad]
    with _undisturbed(model):
        value, g = _loss_and_grad(model, loss, data, params)
        norm = global_norm(g) + 1e-12
        gaps = []
        for rho in radii:
            with moved(params, [x * (rho / norm) for x in g]):
                gaps.append(mean_loss(model, loss, data) - value)
    return value, gaps


def sharpness_by_domain(
    model: nn.Module, loss: Loss, domains: Mapping[str, Sequence[Batch]], rho: float, **options: Any
) -> dict[str, dict[str, float]]:
    """`sharpness_report` of each domain's own loss: a flat mean can hide a domain in a sharp place."""
    return {name: sharpness_report(model, loss, data, rho, **options) for name, data in domains.items()}


def loss_slice(
    model: nn.Module, loss: Loss, data: Sequence[Batch], radius: float, points: int = 15, seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The loss on a square of the plane through the weights: along the gradient, and a random direction.

    Both directions have norm 1 over all parameters; the second is made orthogonal to the first.

    Returns:
        (points,) offsets from -radius to radius, and (points, points) losses, first index along the gradient.
        O(points^2) passes over the data.
    """
    params = [p for p in model.parameters() if p.requires_grad]
    at = np.linspace(-radius, radius, points)
    out = np.empty((points, points))
    with _undisturbed(model):
        _, g = _loss_and_grad(model, loss, data, params)
        norm = global_norm(g) + 1e-12
        g = [x / norm for x in g]
        generator = torch.Generator().manual_seed(seed)
        d = [torch.randn(p.shape, generator=generator).to(p) for p in params]
        along = torch.stack([(a * b).sum() for a, b in zip(d, g, strict=True)]).sum()
        d = [a - along * b for a, b in zip(d, g, strict=True)]
        size = global_norm(d)
        for i, u in enumerate(at):
            for j, v in enumerate(at):
                with moved(params, [u * a + v * b / size for a, b in zip(g, d, strict=True)]):
                    out[i, j] = mean_loss(model, loss, data)
    return at, out


@torch.no_grad()
def mean_loss(model: nn.Module, loss: Loss, data: Sequence[Batch]) -> float:
    """Mean loss over all pictures of the batches."""
    total: float = sum(float(loss(model(x), y)) * len(y) for x, y in data)
    return total / sum(len(y) for _, y in data)


@contextlib.contextmanager
def moved(params: list[nn.Parameter], offset: list[Tensor]) -> Iterator[None]:
    """The parameters plus an offset inside; to the bit as before outside."""
    before = [p.detach().clone() for p in params]
    try:
        with torch.no_grad():
            torch._foreach_add_(list(params), offset)
        yield
    finally:
        with torch.no_grad():
            torch._foreach_copy_(list(params), before)


@contextlib.contextmanager
def _undisturbed(model: nn.Module) -> Iterator[None]:
    """Eval mode inside; modes as before outside."""
    modes = [(m, m.training) for m in model.modules()]
    try:
        model.eval()
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def _loss_and_grad(
    model: nn.Module, loss: Loss, data: Sequence[Batch], params: list[nn.Parameter]
) -> tuple[float, list[Tensor]]:
    """Mean loss over all pictures, and its gradient (not written to ``.grad``)."""
    count = sum(len(y) for _, y in data)
    if not count:
        raise ConfigError("sharpness: no data; give at least one batch")
    total, grads = 0.0, [torch.zeros_like(p) for p in params]
    with torch.enable_grad():
        for x, y in data:
            part = loss(model(x), y) * (len(y) / count)
            found = torch.autograd.grad(part, params, allow_unused=True)
            torch._foreach_add_(
                grads, [torch.zeros_like(p) if f is None else f for p, f in zip(params, found, strict=True)]
            )
            total += float(part.detach())
    return total, grads
