"""Two-pass optimisers: the closure is called twice, the second time at a perturbed point."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mien.core.errors import ConfigError


class SAM(Optimizer):
    """Sharpness-aware minimisation (Foret et al., ICLR 2021, algorithm 1) around a base optimiser.

    w <- base step at w with the gradient taken at w + rho g / ||g||.

    Args:
        base: any optimiser; its parameters and groups are used.
        rho: radius.

    ``step(closure)`` needs a closure that clears gradients, computes the loss, calls backward and
    returns the loss; it is called twice. ``two_pass`` tells a training loop so.
    """

    two_pass = True

    def __init__(self, base: Optimizer, rho: float = 0.05) -> None:
        if not rho >= 0:
            raise ConfigError(f"SAM rho={rho} must be >= 0")
        self.base, self.rho = base, rho
        super().__init__(base.param_groups, {})
        self.param_groups = base.param_groups
        self.state = base.state

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clears gradients."""
        self.base.zero_grad(set_to_none)

    def state_dict(self) -> dict[str, Any]:
        """The base optimiser's state: SAM itself has none between steps."""
        return self.base.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Loads the base optimiser's state."""
        self.base.load_state_dict(state_dict)
        self.param_groups, self.state = self.base.param_groups, self.base.state

    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """One step; returns the loss at the unperturbed point.

        Raises:
            ConfigError: no closure, or one that leaves no gradient.
        """
        if closure is None:
            raise ConfigError("a two-pass optimiser needs step(closure)")
        with torch.enable_grad():
            loss = closure()
        params = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        if not params:
            raise ConfigError("no parameter got a gradient; does the closure call backward?")
        saved = [p.detach().clone() for p in params]
        norm = torch.linalg.vector_norm(torch.stack([_grad(p).norm() for p in params]))
        with torch.no_grad():
            for p in params:
                p.add_(_grad(p) * (self.rho / (norm + 1e-12)))
        with torch.enable_grad():
            closure()
        with torch.no_grad():
            for p, old in zip(params, saved, strict=True):
                p.copy_(old)
        self.base.step()
        return loss


def _grad(p: Tensor) -> Tensor:
    if p.grad is None:
        raise ConfigError("a parameter lost its gradient between the passes of a two-pass optimiser")
    return p.grad


@contextlib.contextmanager
def frozen_batch_statistics(module: nn.Module) -> Iterator[None]:
    """Running statistics of batch normalisation do not move inside (for passes at a perturbed point)."""
    norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    tracked = [m.track_running_stats for m in norms]
    try:
        for m in norms:
            m.track_running_stats = False
        yield
    finally:
        for m, was in zip(norms, tracked, strict=True):
            m.track_running_stats = was
