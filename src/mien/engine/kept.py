"""What is kept of a training besides its last weights: moving averages and the best look."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mien.core.config import ScheduleConfig
from mien.core.errors import ConfigError
from mien.engine import checkpoint
from mien.optim.swad import SWAD

if TYPE_CHECKING:
    from accelerate import Accelerator

BEST, SWAD_FILE, LAST = "best.safetensors", "swad.safetensors", "weights.safetensors"


class Keeper:
    """Averages and best weights of one training; files lie in its run folder.

    Args:
        task: what is trained.
        schedule: which of them are wanted.
        folder: the run folder.
        accelerator: checkpoints SWAD's state.
    """

    def __init__(
        self, task: nn.Module, schedule: ScheduleConfig, folder: Path, accelerator: Accelerator
    ) -> None:
        self.task, self.schedule, self.folder, self.main = task, schedule, folder, accelerator.is_main_process
        self.best = -float("inf")
        self.average = _average(task, schedule.ema)
        self.swad: SWAD | None = None
        if schedule.swad is not None:
            self.swad = SWAD(_floats(self.net()), tolerance=schedule.swad)
            accelerator.register_for_checkpointing(self.swad)

    def net(self) -> nn.Module:
        """The net whose weights are kept: the moving average if there is one."""
        task: Any = self.task if self.average is None else self.average.module
        return task.exported()  # type: ignore[no-any-return]

    def after_step(self) -> None:
        """Takes in the iterate of this step."""
        if self.average is not None:
            self.average.update_parameters(self.task)
        if self.swad is not None:
            self.swad.update()

    def look(self, scores: Mapping[str, float]) -> None:
        """Takes in one look at the validation split; the first score selects, ``loss`` drives SWAD.

        Raises:
            ConfigError: SWAD is wanted and the scores have no ``loss``.
        """
        first = next(iter(scores.values()))
        if first > self.best and self.main:
            checkpoint.save_weights(self.net(), self.folder / BEST)
        self.best = max(self.best, first)
        if self.swad is not None:
            if "loss" not in scores:
                raise ConfigError("schedule.swad needs a validation loss, and this method reports none")
            self.swad.evaluate(scores["loss"])

    def write(self) -> dict[str, Any]:
        """Writes the final files (main process); returns facts about them.

        ``weights.safetensors`` are the last weights, or the best look's with ``select='best'``. Without a
        converged average SWAD's file holds the mean of the last segment, as in the released code.
        """
        best, last = self.folder / BEST, self.folder / LAST
        if self.schedule.select == "best" and best.exists():
            shutil.copyfile(best, self.folder / ".weights.part")
            os.replace(self.folder / ".weights.part", last)
        else:
            checkpoint.save_weights(self.net(), last)
        return {} if self.swad is None else {"swad": self._write_swad(self.swad)}

    def _write_swad(self, swad: SWAD) -> dict[str, Any]:
        net = self.net()
        before = [t.detach().clone() for t in _floats(net)]
        facts = {"converged": swad.load_average()}
        if not facts["converged"]:
            swad.load_last_segment()
        checkpoint.save_weights(net, self.folder / SWAD_FILE)
        with torch.no_grad():
            for t, value in zip(_floats(net), before, strict=True):
                t.copy_(value)
        return facts

    @property
    def state(self) -> float | None:
        """The best score so far, for a checkpoint."""
        return self.best if math.isfinite(self.best) else None


def _floats(net: nn.Module) -> list[Tensor]:
    """Parameters and floating-point buffers (running statistics), in a fixed order."""
    return [*net.parameters(), *(b for b in net.buffers() if b.is_floating_point())]


def _average(task: nn.Module, decay: float | None) -> Any:
    if decay is None:
        return None
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    return AveragedModel(task, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
