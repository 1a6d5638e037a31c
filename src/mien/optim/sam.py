"""Two-pass optimisers: the gradient is taken again at a perturbed point, and the two are combined.

SAM (Foret et al., ICLR 2021), ASAM (Kwon et al., ICML 2021), GSAM (Zhuang et al., ICLR 2022), SAGM (Wang
et al., CVPR 2023, arXiv 2303.10353). One step, for any base optimiser:

    g = grad L(theta);  e = perturbation(theta, g);  g_p = grad L(theta + e)
    base step at theta with combine(g, g_p)

The norm ||.|| runs over all parameters of all groups together; weight decay belongs to the base optimiser.
"""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mien.core.errors import ConfigError, MienError

Tensors: TypeAlias = list[Tensor]
Base: TypeAlias = Optimizer | Callable[[Any], Optimizer]
_TINY = 1e-12


class TwoPassOptimizer(Optimizer):
    """What the family shares; subclasses say how to perturb and how to combine.

    Args:
        params: parameters or groups, as for any optimiser; None = those of a ready-made base.
        base_optimizer: an optimiser, or a function params -> optimiser.
        rho: radius of the perturbation.
        adaptive: elementwise scale invariance (ASAM).
        same_rng: replay torch's random state in the second pass (equal dropout masks).
        model: if given, its batch normalisation keeps the statistics of the first pass only.

    Two forms. ``step(closure)``: the closure clears gradients, computes the loss, calls backward and returns
    the loss; it is called exactly twice. Or ``first_step()`` after a backward, another forward and backward,
    then ``second_step()``; with a gradient scaler, unscale before each. Weights are restored from a copy, to
    the bit, also when the closure raises. Extra memory: one copy of the parameters, and one gradient where
    `combine` needs it.

    Attributes:
        two_pass: tells a training loop that a closure is needed.
        negative_steps: how often the "ascent" pointed downhill (SAGM with ||g|| > rho / alpha).
    """

    two_pass = True
    keeps_gradient = True

    def __init__(
        self,
        params: Iterable[Any] | None,
        base_optimizer: Base,
        rho: float = 0.05,
        *,
        adaptive: bool = False,
        same_rng: bool = False,
        model: nn.Module | None = None,
    ) -> None:
        if not rho >= 0:
            raise ConfigError(f"{type(self).__name__} rho={rho} must be >= 0")
        if isinstance(base_optimizer, Optimizer):
            self.base = base_optimizer
        elif params is None:
            raise ConfigError(f"{type(self).__name__} needs params, or a ready-made base optimiser")
        else:
            self.base = base_optimizer(params)
        self.rho, self.adaptive, self.same_rng, self.model = rho, adaptive, same_rng, model
        self.negative_steps = 0
        self._saved: tuple[Tensors, Tensors, Tensors] | None = None
        super().__init__(self.base.param_groups, {})
        self.param_groups, self.state = self.base.param_groups, self.base.state

    @abstractmethod
    def perturbation(self, params: Tensors, grads: Tensors) -> Tensors:
        """e(theta, g), one tensor a parameter."""

    @abstractmethod
    def combine(self, grads: Tensors, perturbed: Tensors) -> Tensors:
        """The gradient that the base optimiser steps with; may overwrite ``perturbed``."""

    @torch.no_grad()
    def first_step(self, *, zero_grad: bool = False) -> None:
        """Moves the weights to theta + e.

        Args:
            zero_grad: also clear the gradients.

        Raises:
            ConfigError: no parameter has a gradient.
        """
        params = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        if not params:
            raise ConfigError("no parameter got a gradient; does the closure call backward?")
        grads = [_grad(p) for p in params]
        kept = [g.clone() for g in grads] if self.keeps_gradient else []
        self._saved = (params, [p.clone() for p in params], kept)
        torch._foreach_add_(params, self.perturbation(params, grads))
        if zero_grad:
            self.zero_grad()

    @torch.no_grad()
    def restore(self) -> None:
        """Puts the weights back to theta, to the bit, and forgets the first pass."""
        if self._saved is not None:
            params, before, _ = self._saved
            torch._foreach_copy_(params, before)
            self._saved = None

    @torch.no_grad()
    def second_step(self) -> None:
        """Restores theta, combines the two gradients, and lets the base optimiser step.

        Raises:
            ConfigError: `first_step` was not called.
        """
        if self._saved is None:
            raise ConfigError("second_step() without first_step()")
        params, _, kept = self._saved
        self.restore()
        for p, d in zip(params, self.combine(kept, [_grad(p) for p in params]), strict=True):
            p.grad = d
        self.base.step()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """One step; returns the loss at the unperturbed point.

        Raises:
            ConfigError: no closure, or one that leaves no gradient.
            MienError: the loss at the perturbed point is not finite; the weights are restored.
        """
        if closure is None:
            raise ConfigError("a two-pass optimiser needs step(closure)")
        state = _rng_state() if self.same_rng else None
        with torch.enable_grad():
            loss = closure()
        self.first_step()
        try:
            if state is not None:
                _set_rng_state(state)
            quiet = frozen_batch_statistics(self.model) if self.model else contextlib.nullcontext()
            with torch.enable_grad(), quiet:
                again = closure()
        except BaseException:
            self.restore()
            raise
        if isinstance(again, Tensor) and not torch.isfinite(again).all():
            self.restore()
            raise MienError(f"the loss at the perturbed point is not finite; lower rho={self.rho} or the lr")
        self.second_step()
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clears gradients."""
        self.base.zero_grad(set_to_none)

    def state_dict(self) -> dict[str, Any]:
        """The base optimiser's state and our counter."""
        return {**self.base.state_dict(), "negative_steps": self.negative_steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Loads what `state_dict` gave."""
        self.negative_steps = int(state_dict.get("negative_steps", 0))
        self.base.load_state_dict({k: v for k, v in state_dict.items() if k != "negative_steps"})
        self.param_groups, self.state = self.base.param_groups, self.base.state

    def _ascent(self, params: Tensors, grads: Tensors, alpha: float = 0.0) -> Tensors:
        """(rho / ||g|| - alpha) g; adaptive: theta^2 g (rho / || |theta| g || - alpha), elementwise."""
        if self.adaptive:
            scaled = list(torch._foreach_mul(torch._foreach_abs(params), grads))
            direction = list(torch._foreach_mul(torch._foreach_abs(params), scaled))
        else:
            scaled, direction = grads, grads
        scale = self.rho / (global_norm(scaled) + _TINY) - alpha
        if alpha:
            self.negative_steps += int(scale < 0)
        return [d * scale.to(d.device) for d in direction]


class SAM(TwoPassOptimizer):
    """e = rho g / ||g||; steps with grad L(theta + e)."""

    keeps_gradient = False

    def perturbation(self, params: Tensors, grads: Tensors) -> Tensors:
        """The first-order worst case in a ball of radius rho."""
        return self._ascent(params, grads)

    def combine(self, grads: Tensors, perturbed: Tensors) -> Tensors:
        """The perturbed gradient alone."""
        return perturbed


class ASAM(SAM):
    """SAM with e = rho theta^2 g / || |theta| g ||, elementwise: unchanged when layers are rescaled."""

    def __init__(
        self, params: Iterable[Any] | None, base_optimizer: Base, rho: float = 0.5, **options: Any
    ) -> None:
        super().__init__(params, base_optimizer, rho, **{**options, "adaptive": True})


class GSAM(TwoPassOptimizer):
    """d = g_s - beta g_perp, g_perp the part of g orthogonal to g_s = grad L(theta + e).

    Args:
        params: see `TwoPassOptimizer`.
        base_optimizer: see there.
        rho: see there.
        beta: weight of the orthogonal part; 0 is SAM.
        options: see there.
    """

    def __init__(
        self,
        params: Iterable[Any] | None,
        base_optimizer: Base,
        rho: float = 0.05,
        beta: float = 0.4,
        **options: Any,
    ) -> None:
        super().__init__(params, base_optimizer, rho, **options)
        self.beta = beta

    def perturbation(self, params: Tensors, grads: Tensors) -> Tensors:
        """SAM's."""
        return self._ascent(params, grads)

    def combine(self, grads: Tensors, perturbed: Tensors) -> Tensors:
        """(1 + beta <g, g_s> / ||g_s||^2) g_s - beta g."""
        if not self.beta:
            return perturbed
        inner = torch.stack([(a * b).sum() for a, b in zip(grads, perturbed, strict=True)]).sum()
        share = self.beta * inner / (global_norm(perturbed) ** 2 + _TINY)
        return [b * (1 + share) - self.beta * a for a, b in zip(grads, perturbed, strict=True)]


class SAGM(TwoPassOptimizer):
    """Sharpness-aware gradient matching, eqs. (1)-(2) of the method: min L(theta) + L_p(theta - alpha g).

    e = (rho / ||g|| - alpha) g and d = (g + g_p) / 2. alpha = rho = 0 is the base optimiser to the bit.

    Args:
        params: see `TwoPassOptimizer`.
        base_optimizer: see there.
        rho: see there.
        alpha: step of the inner descent; with ||g|| > rho / alpha the perturbation points downhill (counted).
        average: (g + g_p) / 2 as released; False: their sum, as in the objective.
        options: see there.
    """

    def __init__(
        self,
        params: Iterable[Any] | None,
        base_optimizer: Base,
        rho: float = 0.05,
        alpha: float = 1e-3,
        *,
        average: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(params, base_optimizer, rho, **options)
        if not alpha >= 0:
            raise ConfigError(f"SAGM alpha={alpha} must be >= 0")
        self.alpha, self.average = alpha, average

    def perturbation(self, params: Tensors, grads: Tensors) -> Tensors:
        """(rho / ||g|| - alpha) g."""
        return self._ascent(params, grads, self.alpha)

    def combine(self, grads: Tensors, perturbed: Tensors) -> Tensors:
        """Eq. (2)."""
        torch._foreach_add_(perturbed, grads)
        if self.average:
            torch._foreach_mul_(perturbed, 0.5)
        return perturbed


def global_norm(tensors: Tensors) -> Tensor:
    """L2 norm over all tensors together, a scalar on the first one's device. O(elements)."""
    norms = torch._foreach_norm(tensors)
    norm: Tensor = torch.linalg.vector_norm(torch.stack([n.to(norms[0].device) for n in norms]))
    return norm


def _grad(p: Tensor) -> Tensor:
    if p.grad is None:
        raise ConfigError("a parameter lost its gradient between the passes of a two-pass optimiser")
    return p.grad


def _rng_state() -> tuple[Tensor, list[Tensor]]:
    return torch.get_rng_state(), torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []


def _set_rng_state(state: tuple[Tensor, list[Tensor]]) -> None:
    torch.set_rng_state(state[0])
    if state[1]:
        torch.cuda.set_rng_state_all(state[1])


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
