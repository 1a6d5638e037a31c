"""The training loop: one step after another over an `Experiment`, on one process or many (accelerate).

Every random draw is a function of (seed, step), so a run that was killed and resumed equals one that was not,
bit for bit at the same number of threads and processes; on a GPU up to the rounding of operators that have no
deterministic kernel.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import math
import os
import shutil
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from mien.core import io
from mien.core.config import SAM_KINDS, Recipe, hash_recipe
from mien.core.errors import ConfigError, MienError
from mien.core.seeds import derive
from mien.engine import checkpoint
from mien.engine.kept import Keeper
from mien.engine.runlog import RunLog
from mien.engine.shards import Shards
from mien.engine.task import AbstractTask, Clock, Experiment, ManualTask, Rng, StepOut, Task
from mien.nn.sync_norm import synchronised
from mien.optim.build import build_optimizer, lr_factor, set_lr
from mien.optim.sam import TwoPassOptimizer, frozen_batch_statistics

if TYPE_CHECKING:
    from accelerate import Accelerator

Watcher = Callable[[Clock, dict[str, float]], None]
"""Called after every step with the clock and, on logging steps, the averaged logs."""


class Trainer:
    """Trains one experiment in one run folder.

    Args:
        experiment: what the method's ``build`` made of the recipe.
        recipe: schedule, optimiser and seed.
        folder: the run folder.
        watch: called after each step.
    """

    device: torch.device

    def __init__(
        self, experiment: Experiment, recipe: Recipe, folder: Path, watch: Watcher | None = None
    ) -> None:
        self.experiment, self.recipe, self.folder, self.watch = experiment, recipe, folder, watch
        self.schedule = recipe.schedule
        self.accelerator = make_accelerator(self.schedule.precision)
        self.device = self.accelerator.device
        world = self.accelerator.num_processes
        self.steps_per_epoch = experiment.source.steps_per_epoch(world)
        self.steps = self.schedule.steps or max(1, round(self.schedule.epochs * self.steps_per_epoch))
        self.log = RunLog(folder, active=self.accelerator.is_main_process)
        self.step, self.seconds = 0, 0.0
        self._stop = False
        self._place()

    def _place(self) -> None:
        """Moves, wraps and prepares the task and its optimisers."""
        task = self.experiment.task
        if self.schedule.channels_last:
            task.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self.schedule.sync_bn and self.accelerator.num_processes > 1:
            task = cast("AbstractTask[Any]", synchronised(task, self.device))
        task.place_held(self.device)
        self.task = task
        self.shards = Shards(task, self.recipe, self.accelerator)
        optim = self.recipe.optim
        if isinstance(task, ManualTask):
            if optim.kind in SAM_KINDS:
                raise ConfigError(f"optim.kind={optim.kind!r} cannot drive a method that owns its optimisers")
            # Not wrapped: its backward runs inside forward, so `backward` averages the gradients itself.
            self.prepared = self.accelerator.prepare_model(task, evaluation_mode=True)
            self.optimizers = {n: self.accelerator.prepare(o) for n, o in task.configure().items()}
        elif isinstance(task, Task):
            if optim.kind in SAM_KINDS and self.schedule.precision == "fp16":
                raise ConfigError(f"optim.kind={optim.kind!r} works in fp32 and bf16; set schedule.precision")
            optimizer = build_optimizer(optim, task.param_groups(optim.weight_decay))
            if isinstance(optimizer, TwoPassOptimizer) and optim.perturbation == "local":
                optimizer.reduce = self._average
            self.prepared, wrapped = self.accelerator.prepare(task, optimizer)
            self.optimizers = {"main": wrapped, **self.shards.optimizers}
        if self.schedule.select == "best" and self.experiment.validate is None:
            raise ConfigError("schedule.select='best' needs a validation split, and this data has none")
        if self.schedule.swad is not None and self.experiment.validate is None:
            raise ConfigError("schedule.swad needs a validation split, and this data has none")
        self.keeper = Keeper(task, self.schedule, self.folder, self.accelerator)

    def run(self, max_steps: int | None = None) -> dict[str, float]:
        """Trains from the newest checkpoint of the folder to the end, or at most to step ``max_steps``.

        Returns:
            Validation scores of the kept weights (empty if the experiment has none).

        Raises:
            MienError: stopped by a signal (a checkpoint is written first), the loss is not finite, or the
            disk is full.
        """
        found = checkpoint.latest(self.folder)
        if found is not None:
            key, any_world = hash_recipe(self.recipe), bool(self.shards.layers)
            state = checkpoint.load(self.accelerator, found, key, self.keeper.average, any_world=any_world)
            self.step, self.seconds = state["step"], state["seconds"]
            self.keeper.best = self.keeper.best if state["best"] is None else state["best"]
            self.log.rewind(self.step)
        else:
            self.log.start(self.accelerator.num_processes)
        if max_steps is not None and max_steps < 1:
            raise ConfigError(f"--max-steps {max_steps}: at least 1")
        last = min(self.steps, max_steps or self.steps)
        began = time.perf_counter() - self.seconds
        with _deterministic(self.device), self._signals():
            stream = self.experiment.source.stream(
                self.step, self.accelerator.process_index, self.accelerator.num_processes
            )
            self.task.train()
            while self.step < last:
                self.one_step(stream)
                self.seconds = time.perf_counter() - began
                self._after_step(last)
        if self.step < self.steps and self.schedule.checkpoint_every:
            self.save_checkpoint()  # a run cut short by max_steps can go on
        return self._finish()

    def one_step(self, stream: Iterator[list[Any]]) -> None:
        """One optimiser step on the next micro-batches of the stream."""
        clock = Clock(self.step, self.steps, self.steps_per_epoch)
        factor = lr_factor(self.schedule, self.step, self.steps, self.steps_per_epoch)
        for optimizer in self.optimizers.values():
            set_lr(optimizer, factor)
        asked = time.perf_counter()
        batches = [b.to(self.device, channels_last=self.schedule.channels_last) for b in next(stream)]
        waited = time.perf_counter() - asked
        if isinstance(self.task, ManualTask):
            out = StepOut(*_mean([self._manual(batch, clock, i) for i, batch in enumerate(batches)]))
        else:
            out = self._automatic(batches, clock)
        self.keeper.after_step()
        self.step += 1
        images = sum(len(b) for b in batches)
        self.log.collect(out, waited, time.perf_counter() - asked, images, factor * self.recipe.optim.lr)

    def _manual(self, batch: Any, clock: Clock, micro: int) -> StepOut:
        torch.manual_seed(self._seed(micro))
        return self.prepared(batch, clock, self)  # type: ignore[no-any-return]

    def _automatic(self, batches: list[Any], clock: Clock) -> StepOut:
        """One optimiser step; a two-pass optimiser calls the closure again at its perturbed point."""
        optimizer = self.optimizers["main"]
        total = sum(len(b) for b in batches)
        # Then each process perturbs along its own gradient; `_average` synchronises the combined one only.
        is_local = self.recipe.optim.perturbation == "local"
        outs: list[list[StepOut]] = []

        def closure() -> Tensor:
            for each in self.optimizers.values():
                each.zero_grad()
            again = frozen_batch_statistics(self.task) if outs else contextlib.nullcontext()
            outs.append([])
            with again:
                for i, batch in enumerate(batches):
                    syncs = i == len(batches) - 1 and not is_local
                    sync = contextlib.nullcontext() if syncs else self.accelerator.no_sync(self.prepared)
                    with sync:
                        seed = self._seed(i, 0 if self.recipe.optim.same_rng else len(outs) - 1)
                        torch.manual_seed(seed)
                        out: StepOut = self.prepared(batch, clock, Rng(seed))
                        self.accelerator.backward(out.loss * (len(batch) / total))
                    outs[-1].append(out)
            if self.schedule.grad_clip:
                self.shards.clip_gradients(self.schedule.grad_clip)
            return torch.stack([o.loss.detach() for o in outs[-1]]).mean()

        if getattr(optimizer.optimizer, "two_pass", False):
            optimizer.step(closure)
        else:
            closure()
            for each in self.optimizers.values():
                each.step()
        return StepOut(*_mean(outs[0]))

    def _average(self, grads: list[Tensor]) -> None:
        """Averages gradients over the processes, in place and in one message."""
        if self.accelerator.num_processes > 1:
            flat = self.accelerator.reduce(torch.cat([g.reshape(-1) for g in grads]), "mean")
            for g, part in zip(grads, flat.split([g.numel() for g in grads]), strict=True):
                g.copy_(part.view_as(g))

    def _seed(self, micro: int, again: int = 0) -> int:
        """Seed of one micro-batch; a second pass draws anew unless the optimiser replays the first."""
        names = ("step", self.step, self.accelerator.process_index, micro)
        return derive(self.recipe.seed, *names, *([again] if again else []))

    # What a ManualTask gets: this trainer, as its UpdateContext.
    def backward(self, loss: Tensor) -> None:
        """Backward with the engine's precision and gradient averaging over processes."""
        self.accelerator.backward(loss)
        if self.accelerator.num_processes > 1:
            for p in self.task.parameters():
                if p.grad is not None:
                    p.grad = self.accelerator.reduce(p.grad, "mean")

    def lr_factor(self) -> float:
        """The schedule's factor at this step."""
        return lr_factor(self.schedule, self.step, self.steps, self.steps_per_epoch)

    def _after_step(self, last: int) -> None:
        clock = Clock(self.step, self.steps, self.steps_per_epoch)
        is_log = self.step % self.schedule.log_every == 0 or self.step == last
        logs = self.log.flush(clock) if is_log else {}
        if is_log and self._agreed(not all(math.isfinite(v) for v in logs.values())):
            raise MienError(
                f"{self.folder}: the loss is not finite at step {self.step}; lower --optim.lr or clip"
            )
        if self.watch is not None:
            self.watch(clock, logs)
        every = self.schedule.eval_steps or self.schedule.eval_every * self.steps_per_epoch
        if every and self.step < self.steps and self.step % max(1, round(every)) == 0:
            self._validate()
        interval = self.schedule.checkpoint_every
        self._stop = self._agreed(self._stop)
        if self._stop or (interval and self.step < last and self.step % interval == 0):
            self.save_checkpoint()
        if self._stop:
            raise MienError(f"stopped at step {self.step}; go on with: mien train --resume {self.folder}")

    def _agreed(self, wish: bool) -> bool:
        """True on every process if it is on any: a signal may reach them in different steps."""
        if self.accelerator.num_processes == 1:
            return wish
        asked = torch.tensor([float(wish)], device=self.device)
        return bool(self.accelerator.reduce(asked, "sum").item() > 0)

    def save_checkpoint(self) -> None:
        """Writes a checkpoint of this moment."""
        state = {
            "step": self.step,
            "key": hash_recipe(self.recipe),
            "processes": self.accelerator.num_processes,
            "seconds": round(self.seconds, 3),
            "best": self.keeper.state,
        }
        with self.shards.whole():
            checkpoint.save(self.accelerator, self.folder, state, self.keeper.average)

    def _validate(self, *, is_look: bool = True) -> dict[str, float]:
        """Scores on the validation split; a look of the schedule is logged and keeps the best weights."""
        if self.experiment.validate is None:
            return {}
        net = self.keeper.net().eval()
        scores = self.experiment.validate(net, self.device)
        self.task.train()
        if not is_look:
            return scores
        self.log.validation(self.step, scores)
        with self.shards.whole():
            self.keeper.look(scores)
        return scores

    def _finish(self) -> dict[str, float]:
        """Validates, writes weights, facts and report, and drops the checkpoints of a finished run."""
        # A run that was cut short goes on later as if it had not been: this is no look of its schedule.
        scores = self._validate(is_look=self.step >= self.steps)
        with self.shards.whole():
            kept = self.keeper.write() if self.accelerator.is_main_process else {}
        if self.accelerator.is_main_process:
            for name, part in self.experiment.also.items():
                checkpoint.save_weights(part, self.folder / f"{name}.safetensors")
            make = self.experiment.facts
            facts = make(self.keeper.net().eval(), self.device) if make else {}
            io.write_json(self.folder / "facts.json", {**facts, **kept})
            self.log.finish(self.recipe, self.seconds, self.step, scores)
            if self.step >= self.steps:
                shutil.rmtree(self.folder / "checkpoints", ignore_errors=True)
        self.accelerator.wait_for_everyone()
        return scores

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Ctrl-C and SIGTERM end the step, write a checkpoint, and then stop."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def ask(*_: object) -> None:
            self._stop = True

        before = {s: signal.signal(s, ask) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def make_accelerator(precision: str) -> Accelerator:
    """An `accelerate.Accelerator` for this machine: CUDA when there is one, else the CPU.

    Raises:
        ConfigError: fp16 without a GPU.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    on_cpu = not torch.cuda.is_available()
    if precision == "fp16" and on_cpu:
        raise ConfigError("schedule.precision='fp16' needs a GPU; use bf16 or fp32 on a CPU")
    # One process may train several stages of different precision; accelerate keeps the first one's otherwise.
    AcceleratorState._reset_state()
    made = Accelerator(mixed_precision={"fp32": "no"}.get(precision, precision), cpu=on_cpu)
    if made.num_processes > 1:
        atexit.unregister(_hang_up)
        atexit.register(_hang_up)
    return made


def _hang_up() -> None:
    """Ends the process group while Python still runs: gloo's threads may abort a process that just ends."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
        gc.collect()  # what still holds the group in a cycle would outlive it


def _mean(outs: list[StepOut]) -> tuple[Tensor, dict[str, Tensor]]:
    loss = torch.stack([o.loss.detach() for o in outs]).mean()
    names = outs[0].logs
    return loss, {n: torch.stack([o.logs[n].detach() for o in outs]).mean() for n in names}


@contextlib.contextmanager
def _deterministic(device: torch.device) -> Iterator[None]:
    """Deterministic kernels inside, as before outside.

    On a GPU some operators have none (the gradients of `grid_sample` and of `interpolate`, for example);
    those run as they are, so two runs may differ there by rounding. New memory is not filled first there,
    which would cost a kernel for each tensor.
    """
    on_gpu, memory = device.type != "cpu", cast(Any, torch.utils.deterministic)
    was, only_warned, filled = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        memory.fill_uninitialized_memory,
    )
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=on_gpu)
    memory.fill_uninitialized_memory = filled and not on_gpu
    try:
        with warnings.catch_warnings():
            if on_gpu:
                warnings.filterwarnings("ignore", message=".*deterministic")
            yield
    finally:
        torch.use_deterministic_algorithms(was, warn_only=only_warned)
        memory.fill_uninitialized_memory = filled
