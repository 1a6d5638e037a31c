"""What is trained: tasks, and the experiment that a method builds from a recipe."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer

from mien.core.seeds import derive
from mien.nn.partial_fc import PartialFC

B = TypeVar("B")


@dataclass(frozen=True)
class Clock:
    """Where training is: ``step`` of ``steps``, ``epoch`` as a fraction, ``progress`` in [0, 1)."""

    step: int
    steps: int
    steps_per_epoch: int

    @property
    def epoch(self) -> float:
        """Epochs done."""
        return self.step / self.steps_per_epoch

    @property
    def progress(self) -> float:
        """Part of the training done."""
        return self.step / self.steps


@dataclass(frozen=True)
class Rng:
    """Randomness of one micro-batch: a pure function of (run seed, step, process, micro-batch) and a name.

    The engine also seeds torch's global generator from it before every loss, for dropout.
    """

    seed: int

    def generator(self, name: str, device: torch.device | str = "cpu") -> torch.Generator:
        """A generator for one purpose."""
        return torch.Generator(device).manual_seed(derive(self.seed, name))


@dataclass(frozen=True)
class StepOut:
    """What one loss call returns: the scalar to minimise and scalars to log."""

    loss: Tensor
    logs: Mapping[str, Tensor] = field(default_factory=dict)


class AbstractTask(nn.Module, ABC, Generic[B]):
    """Common ground of the two kinds of task. Subclass `Task` or `ManualTask`."""

    def __init__(self) -> None:
        super().__init__()
        self._held: dict[str, nn.Module] = {}

    def hold(self, name: str, net: nn.Module) -> None:
        """Keeps a frozen net beside the task: moved with it, but not trained, wrapped or checkpointed."""
        self._held[name] = net.eval().requires_grad_(False)

    def held(self, name: str) -> nn.Module:
        """A net kept by `hold`."""
        return self._held[name]

    def exported(self) -> nn.Module:
        """The part whose weights are kept and evaluated; default the whole task."""
        return self

    def class_layers(self) -> dict[str, PartialFC]:
        """Layers whose rows are spread over processes, by name; the engine trains and keeps them apart."""
        return {name: m for name, m in self.named_modules() if isinstance(m, PartialFC)}

    def clip_groups(self) -> list[list[nn.Parameter]]:
        """Parameters whose gradients have one norm for ``schedule.grad_clip``; default all together.

        With a limit on one norm of all, whatever learns beside a net for the training's sake shortens the
        steps of the net itself: give each a group of its own.
        """
        return [list(self.parameters())]

    def place_held(self, device: torch.device) -> None:
        """Moves the held nets; the engine calls it once."""
        for net in self._held.values():
            net.to(device)


class Task(AbstractTask[B]):
    """A model with its loss; the engine owns backward, accumulation and closures (two-pass optimisers)."""

    @abstractmethod
    def loss(self, batch: B, clock: Clock, rng: Rng) -> StepOut:
        """The loss of one micro-batch: repeatable, never calls backward."""

    def forward(self, batch: B, clock: Clock, rng: Rng) -> StepOut:
        """`loss`, under the name that data-parallel wrappers call."""
        return self.loss(batch, clock, rng)

    def param_groups(self, weight_decay: float) -> list[dict[str, Any]]:
        """What is trained but for `class_layers`; override to give groups their own rates."""
        apart = {id(layer.weight) for layer in self.class_layers().values()}
        params = [p for p in self.parameters() if p.requires_grad and id(p) not in apart]
        return [{"params": params, "weight_decay": weight_decay}]


class PartTask(Task[B]):
    """A task that trains one part of a net and leaves the others as they are; the whole net is kept.

    Args:
        net: the whole.
        part: what of it is trained.
    """

    net: nn.Module

    def __init__(self, net: nn.Module, part: nn.Module) -> None:
        super().__init__()
        self.net = net
        net.requires_grad_(False)
        part.requires_grad_(True)

    def exported(self) -> nn.Module:
        """The whole net."""
        return self.net


class UpdateContext(Protocol):
    """What a `ManualTask` gets from the engine."""

    device: torch.device
    optimizers: Mapping[str, Optimizer]

    def backward(self, loss: Tensor) -> None:
        """Backward with the engine's precision and gradient averaging over processes."""
        ...

    def lr_factor(self) -> float:
        """The schedule's factor at this step."""
        ...


class ManualTask(AbstractTask[B]):
    """A task that owns its optimisers and inner loops (inversion, per-subject fitting)."""

    @abstractmethod
    def configure(self) -> dict[str, Optimizer]:
        """The optimisers, by name; the engine checkpoints them."""

    @abstractmethod
    def update(self, batch: B, clock: Clock, context: UpdateContext) -> StepOut:
        """One whole update of the parameters; the returned loss is only logged."""

    def forward(self, batch: B, clock: Clock, context: UpdateContext) -> StepOut:
        """`update`, under the module's name."""
        return self.update(batch, clock, context)


class StepSource(Protocol):
    """A training stream (`mien.data.loader.StepLoader` is one)."""

    def steps_per_epoch(self, world: int) -> int:
        """Optimiser steps in one pass over the data."""
        ...

    def stream(self, start: int, rank: int, world: int) -> Iterator[list[Any]]:
        """Micro-batches of step ``start`` and on; each micro-batch has ``len`` and ``to(device, ...)``."""
        ...


@dataclass(frozen=True)
class Experiment:
    """A recipe made real: what ``build(recipe, uses)`` of a method returns."""

    task: AbstractTask[Any]
    source: StepSource
    data_fingerprint: str
    validate: Callable[[nn.Module, torch.device], dict[str, float]] | None = None
    """Scores on the validation split; the first is the one that selects (higher is better)."""
    facts: Callable[[nn.Module, torch.device], dict[str, Any]] | None = None
    """What a model needs beside its weights (class names, temperature); goes into ``facts.json``."""
    also: Mapping[str, nn.Module] = field(default_factory=dict)
    """Parts that use does not need and later looks do: name -> module, kept as ``NAME.safetensors``."""


@dataclass(frozen=True)
class Measured:
    """One evaluation: metrics, and for those that have them the values per test unit."""

    metrics: Mapping[str, float]
    units: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)


def total_parameters(parameters: Iterable[Tensor]) -> int:
    """Number of values in all parameters."""
    return sum(p.numel() for p in parameters)
