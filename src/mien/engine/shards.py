"""Class layers whose rows are spread over processes: outside DDP, with an optimiser and files of their own.

Files hold all rows, so that a checkpoint or model of any number of processes serves any other number.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from mien.core.config import Recipe
from mien.core.errors import ConfigError, MienError
from mien.engine.checkpoint import load_weights
from mien.engine.task import AbstractTask, ManualTask
from mien.nn.partial_fc import PartialFC, RowSGD

if TYPE_CHECKING:
    from accelerate import Accelerator


class Shards:
    """The spread class layers of a task; without any, nothing of a training changes.

    They are trained by `RowSGD` with the recipe's rate, momentum and weight decay, and its schedule.

    Args:
        task: what is trained; not yet wrapped.
        recipe: of the training.
        accelerator: checkpoints the layers.

    Raises:
        ConfigError: such a layer with an optimiser, precision or average that it does not go with.
        MienError: such a layer that was built for another number of processes.
    """

    def __init__(self, task: AbstractTask[Any], recipe: Recipe, accelerator: Accelerator) -> None:
        self.task, self.accelerator = task, accelerator
        self.layers: Mapping[str, PartialFC] = task.class_layers()
        if not self.layers:
            return
        if isinstance(task, ManualTask):
            raise ConfigError("a method that owns its optimisers cannot have a spread class layer")
        optim, schedule = recipe.optim, recipe.schedule
        if optim.kind != "sgd" or schedule.precision == "fp16" or schedule.ema or schedule.swad is not None:
            raise ConfigError(
                "sampled classes (method.sample) train with optim.kind='sgd', in fp32 or bf16, and without"
                " schedule.ema and schedule.swad"
            )
        if any(layer.world != accelerator.num_processes for layer in self.layers.values()):
            raise MienError("a spread class layer was built before the processes met: make_accelerator first")
        momentum = 0.9 if optim.momentum is None else optim.momentum
        self.optimizer = RowSGD(
            [m.weight for m in self.layers.values()], optim.lr, momentum, optim.weight_decay
        )
        names = [f"{name}.weight" for name in self.layers]
        DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(task, names)
        accelerator.register_for_checkpointing(self)
        accelerator.register_save_state_pre_hook(self._save_unwrapped)
        accelerator.register_load_state_pre_hook(self._load_unwrapped)

    @property
    def optimizers(self) -> dict[str, Optimizer]:
        """By name, for the trainer."""
        return {"classes": self.optimizer} if self.layers else {}

    def clip_gradients(self, limit: float) -> None:
        """Scales the gradients of each of the task's `clip_groups` to a norm of at most ``limit``.

        The norm is over the rows of all processes.
        """
        groups = self.task.clip_groups()
        if not self.layers and len(groups) == 1:
            self.accelerator.clip_grad_norm_(groups[0], limit)
            return
        self.accelerator.unscale_gradients()
        for params in groups:
            self._clip(params, limit)

    def _clip(self, params: list[nn.Parameter], limit: float) -> None:
        """`clip_gradients` of one group."""
        weights = {id(layer.weight) for layer in self.layers.values()}
        shared: list[Tensor] = []
        own: list[Tensor] = []
        for p in params:
            if p.grad is not None:
                p.grad = p.grad.coalesce() if p.grad.is_sparse else p.grad
                values = p.grad.values() if p.grad.is_sparse else p.grad
                (own if id(p) in weights else shared).append(values)
        square = _square(own, self.accelerator.device)
        if self.accelerator.num_processes > 1 and any(id(p) in weights for p in params):
            dist.all_reduce(square)
        norm = (square + _square(shared, self.accelerator.device)).sqrt()
        factor = (limit / (norm + 1e-6)).clamp(max=1.0)
        for values in (*shared, *own):
            values.mul_(factor)

    @contextlib.contextmanager
    def whole(self) -> Iterator[None]:
        """Every layer has all rows inside, for writing files; all processes must enter."""
        own = [layer.weight.data for layer in self.layers.values()]
        for layer in self.layers.values():
            layer.weight.data = layer.all_rows(layer.weight)
        try:
            yield
        finally:
            for layer, rows in zip(self.layers.values(), own, strict=True):
                layer.weight.data = rows

    def state_dict(self) -> dict[str, Tensor]:
        """Momentum of all rows; all processes must call it."""
        found = {}
        for name, layer in self.layers.items():
            state = self.optimizer.state.get(layer.weight, {})
            if "momentum_buffer" in state:
                found[name] = layer.all_rows(state["momentum_buffer"])
        return found

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Takes this process's rows of `state_dict`."""
        for name, rows in state.items():
            layer = self.layers[name]
            self.optimizer.state[layer.weight]["momentum_buffer"] = layer.own_rows(rows).to(layer.weight)

    def _save_unwrapped(self, models: list[nn.Module], weights: list[dict[str, Tensor]], folder: str) -> None:
        """A file with the names of the task, wrapped in DDP or not."""
        weights[:] = [self.task.state_dict()]

    def _load_unwrapped(self, models: list[nn.Module], folder: str) -> None:
        load_weights(self.task, Path(folder) / "model.safetensors")
        models.clear()  # nothing is left for accelerate


def _square(tensors: list[Tensor], device: torch.device) -> Tensor:
    """Sum of squares of all values."""
    total = torch.zeros((), device=device)
    for t in tensors:
        total = total + t.float().square().sum()
    return total
