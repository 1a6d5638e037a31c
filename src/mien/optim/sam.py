"""Two-pass optimisers: the gradient is taken again at a perturbed point, and the two are combined.

SAM (Foret et al., ICLR 2021), ASAM (Kwon et al., ICML 2021), GSAM (Zhuang et al., ICLR 2022), SAGM (Wang
et al., CVPR 2023, arXiv 2303.10353). One step, for any base optimiser:

    g = grad L(theta);  e = (rho / ||g|| - alpha) g;  g_p = grad L(theta + e)
    base step at theta with combine(g, g_p)

alpha is 0 but in SAGM. Adaptive: e = theta^2 g (rho / || |theta| g || - alpha), elementwise.

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
_IN_CACHE = 2**16


class TwoPassOptimizer(Optimizer):
    """What the family shares; subclasses say how to combine the two gradients.

    Args:
        params: parameters or groups, as for any optimiser; None = those of a ready-made base.
        base_optimizer: an optimiser, or a function params -> optimiser.
        rho: radius of the perturbation.
        adaptive: elementwise scale invariance (ASAM).
        same_rng: replay torch's random state in the second pass (equal dropout masks).
        model: if given, its batch normalisation keeps the statistics of the first pass only.

    Two forms. ``step(closure)``: the closure clears gradients, computes the loss, calls backward and returns
    the loss; it is called exactly twice. It may accumulate over micro-batches and clip the gradient. Or
    ``first_step()`` after a backward, another forward and backward, then ``second_step()``. Weights are
    restored from a copy, to the bit, also when the closure raises. Extra memory: one copy of the parameters
    and, where `combine` needs it, the first gradient, which is taken from the parameters; both stay allocated
    between steps.

    With a `torch.amp.GradScaler` (which knows no closures) the gradients must be unscaled before each half,
    for alpha's sake; ``step()`` is then the second half. An overflow in either pass skips the step:

        scaler.scale(loss(model(x), y)).backward()
        scaler.unscale_(optimizer)
        optimizer.first_step(zero_grad=True)
        scaler.update()  # opens the scaler for a second unscaling; its growth_interval counts passes
        scaler.scale(loss(model(x), y)).backward()
        scaler.step(optimizer)  # unscales; after an overflow it does not call the optimiser
        optimizer.restore()  # then this puts the weights back; else it does nothing
        scaler.update()
        optimizer.zero_grad()

    Attributes:
        two_pass: tells a training loop that a closure is needed.
        negative_steps: how often the "ascent" pointed downhill (SAGM with ||g|| > rho / alpha).
        reduce: if set, called with the combined gradients just before the base optimiser steps, to change
            them in place. Averages them over processes where the passes ran without synchronisation, so that
            each process perturbs along its own gradient.
    """

    two_pass = True
    keeps_gradient = True
    alpha = 0.0
    reduce: Callable[[Tensors], None] | None = None

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
        self._weights: dict[Tensor, Tensor] = {}
        self._gradients: dict[Tensor, Tensor] = {}
        super().__init__(self.base.param_groups, {})
        self.param_groups, self.state = self.base.param_groups, self.base.state

    @abstractmethod
    def combine(self, grads: Tensors, perturbed: Tensors) -> Tensors:
        """The gradient that the base optimiser steps with; may overwrite both arguments."""

    @torch.no_grad()
    def first_step(self, *, zero_grad: bool = False) -> None:
        """Moves the weights to theta + e.

        Args:
            zero_grad: also clear the gradients.

        Raises:
            ConfigError: no parameter has a gradient, or the weights are perturbed already.
        """
        if self._saved is not None:
            raise ConfigError("first_step() twice; call second_step(), or restore() to give the step up")
        params = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        if not params:
            raise ConfigError("no parameter got a gradient; does the closure call backward?")
        grads = [_grad(p) for p in params]
        scale = self._scale(params, grads)
        moved, weights, kept = self._saved = [], [], []
        try:
            for ps, gs in _blocks(params, grads):
                weights += _copied(self._weights, ps, ps)
                moved += ps
                self._perturb(ps, gs, weights[-len(ps) :], scale)
                if self.keeps_gradient:
                    kept += self._taken(ps, gs)
        except BaseException:
            self.restore()
            raise
        if zero_grad:
            self.zero_grad()

    @torch.no_grad()
    def restore(self) -> None:
        """Puts the weights back to theta, to the bit, and gives the step up.

        A parameter that has no gradient of the second pass gets that of the first back.
        """
        for p, g in zip(*self._put_back(), strict=False):
            if p.grad is None:
                p.grad = g

    def _put_back(self) -> tuple[Tensors, Tensors]:
        """Weights to theta; returns the parameters that were moved and, where kept, their first gradients."""
        if self._saved is None:
            return [], []
        params, before, kept = self._saved
        torch._foreach_copy_(params, before)
        self._saved = None
        return params, kept

    @torch.no_grad()
    def second_step(self) -> None:
        """Restores theta, combines the two gradients, and lets the base optimiser step.

        Raises:
            ConfigError: `first_step` was not called.
        """
        if self._saved is None:
            raise ConfigError("second_step() without first_step()")
        params, kept = self._put_back()
        combined = self.combine(kept, [_grad(p) for p in params])
        for p, d in zip(params, combined, strict=True):
            p.grad = d
        if self.reduce is not None:
            self.reduce(combined)
        self.base.step()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """One step; returns the loss at the unperturbed point. Without a closure: `second_step`.

        Raises:
            ConfigError: neither a closure nor a `first_step` before, or a closure that leaves no gradient.
            MienError: the loss at the perturbed point is not finite; the weights are restored.
        """
        if closure is None:
            if self._saved is None:
                raise ConfigError("a two-pass optimiser needs step(closure), or first_step() before step()")
            return self.second_step()
        state = _rng_state() if self.same_rng else None
        with torch.enable_grad():
            loss = closure()
        try:
            self.first_step()
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

    def _taken(self, params: Tensors, grads: Tensors) -> Tensors:
        """The gradients themselves, which the parameters have no longer: the next pass makes its own.

        They are kept until the next step's are taken, so that two sets of memory change places, and none is
        given back to the system and fetched again. What a process group keeps in one buffer is copied, as the
        next pass writes over it.
        """
        for p, g in zip(params, grads, strict=True):
            if g._base is None:
                self._gradients[p], p.grad = g, None
            else:
                _copied(self._gradients, [p], [g])
        return [self._gradients[p] for p in params]

    def _scale(self, params: Tensors, grads: Tensors) -> Tensor:
        """The factor rho / ||g|| - alpha; adaptive: || |theta| g || in place of ||g||."""
        seen = list(torch._foreach_mul(torch._foreach_abs(params), grads)) if self.adaptive else grads
        scale = self.rho / (global_norm(seen) + _TINY) - self.alpha
        if self.alpha:
            self.negative_steps += int(scale < 0)
        return scale

    def _perturb(self, params: Tensors, grads: Tensors, weights: Tensors, scale: Tensor) -> None:
        """Makes e where the weights are, then adds the saved weights: e needs no memory of its own."""
        torch._foreach_copy_(params, grads)
        if self.adaptive:
            size = torch._foreach_abs(weights)
            torch._foreach_mul_(params, size)
            torch._foreach_mul_(params, size)
        _mul(params, scale)
        torch._foreach_add_(params, weights)


class SAM(TwoPassOptimizer):
    """e = rho g / ||g||; steps with grad L(theta + e)."""

    keeps_gradient = False

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

    def combine(self, grads: Tensors, perturbed: Tensors) -> Tensors:
        """(1 + beta <g, g_s> / ||g_s||^2) g_s - beta g."""
        if not self.beta:
            return perturbed
        here = perturbed[0].device
        inner: Tensors = []
        norms: Tensors = []
        for a, b in _blocks(grads, perturbed):
            inner += [(x * y).sum().to(here) for x, y in zip(a, b, strict=True)]
            norms += torch._foreach_norm(b)
        share = self.beta * torch.stack(inner).sum() / (_norm(norms) ** 2 + _TINY)
        for a, b in _blocks(grads, perturbed):
            _mul(b, 1 + share)
            torch._foreach_mul_(a, self.beta)
            torch._foreach_sub_(b, a)
        return perturbed


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

    def combine(self, grads: Tensors, perturbed: Tensors) -> Tensors:
        """Eq. (2)."""
        for a, b in _blocks(grads, perturbed):
            torch._foreach_add_(b, a)
            if self.average:
                torch._foreach_mul_(b, 0.5)
        return perturbed


def global_norm(tensors: Tensors) -> Tensor:
    """L2 norm over all tensors together, a scalar on the first one's device. O(elements)."""
    return _norm(list(torch._foreach_norm(tensors)))


def _norm(norms: Tensors) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(torch.stack([n.to(norms[0].device) for n in norms]))
    return norm


def _grad(p: Tensor) -> Tensor:
    if p.grad is None:
        raise ConfigError("a parameter lost its gradient between the passes of a two-pass optimiser")
    return p.grad


def _copied(memory: dict[Tensor, Tensor], params: Tensors, values: Tensors) -> Tensors:
    """Copies in memory that is kept from step to step: fresh memory would cost ten times the copying."""
    for p, value in zip(params, values, strict=True):
        old = memory.get(p)
        if old is None or _layout(old) != _layout(value):
            memory[p] = torch.empty_like(value)
    out = [memory[p] for p in params]
    torch._foreach_copy_(out, values)
    return out


def _layout(t: Tensor) -> tuple[object, ...]:
    return t.shape, t.stride(), t.dtype, t.device


def _blocks(first: Tensors, second: Tensors) -> Iterator[tuple[Tensors, Tensors]]:
    """Both lists in pieces: on a CPU so short that they stay in cache, on a GPU all at once."""
    start = size = 0
    for i, t in enumerate(first, 1):
        size += t.numel()
        if i == len(first) or (size >= _IN_CACHE and t.device.type == "cpu"):
            yield first[start:i], second[start:i]
            start, size = i, 0


def _mul(tensors: Tensors, factor: Tensor) -> None:
    """In-place product with one number."""
    if len({t.device for t in tensors}) == 1:
        torch._foreach_mul_(tensors, factor.to(tensors[0].device))
        return
    for t in tensors:
        t.mul_(factor.to(t.device))


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
