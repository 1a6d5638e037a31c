"""The run folder's log: ``log.jsonl`` while training, ``run.json`` and ``report.html`` at the end."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

import torch

from mien.core import io
from mien.core.config import Recipe, to_dict
from mien.engine.task import Clock, StepOut


def machine() -> dict[str, Any]:
    """What a timing depends on: processor, threads, device, versions."""
    cpu = platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        cpu = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), cpu)
    except OSError:
        pass
    return {
        "cpu": cpu,
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(0) if torch.cuda.is_available() else "cpu",
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


class RunLog:
    """Collects a step's scalars without waiting for the device, and writes their means as JSON lines.

    Args:
        folder: the run folder.
        active: False on processes that do not write.
    """

    def __init__(self, folder: Path, *, active: bool = True) -> None:
        self.folder, self.active = folder, active
        self.path = folder / "log.jsonl"
        self._outs: list[StepOut] = []
        self._waited = self._took = 0.0
        self._images = 0
        self._lr = 0.0

    def start(self, processes: int) -> None:
        """Begins a fresh log; says how many processes there really are."""
        if self.active:
            self.folder.mkdir(parents=True, exist_ok=True)
            io.write_text(
                self.path, json.dumps({"event": "start", "processes": processes, **machine()}) + "\n"
            )

    def rewind(self, step: int) -> None:
        """Drops lines after ``step``, so that a resumed log equals an uninterrupted one."""
        if self.active:
            kept = [r for r in io.read_lines(self.path) if r.get("step", 0) <= step]
            io.write_text(self.path, "".join(json.dumps(r) + "\n" for r in kept))

    def collect(self, out: StepOut, waited: float, took: float, images: int, lr: float) -> None:
        """Takes in one step."""
        self._outs.append(out)
        self._waited, self._took = self._waited + waited, self._took + took
        self._images, self._lr = self._images + images, lr

    def collected(self) -> float:
        """Seconds waited for data since the last look; forgets the steps collected so far."""
        waited = self._waited
        self._outs, self._waited, self._took, self._images = [], 0.0, 0.0, 0
        return waited

    def flush(self, clock: Clock) -> dict[str, float]:
        """Writes the means since the last line and returns them; of a term over the steps that had it."""
        if not self._outs:
            return {}
        logs = {"loss": float(torch.stack([o.loss for o in self._outs]).mean())}
        for name in dict.fromkeys(name for o in self._outs for name in o.logs):
            logs[name] = float(torch.stack([o.logs[name] for o in self._outs if name in o.logs]).mean())
        if self.active:
            record = {
                "event": "train",
                "step": clock.step,
                "epoch": round(clock.epoch, 4),
                "lr": self._lr,
                **logs,
                "images_per_second": round(self._images / max(self._took, 1e-9), 1),
                "waiting": round(self._waited / max(self._took, 1e-9), 4),
            }
            io.append_line(self.path, record)
        self.collected()
        return logs

    def validation(self, step: int, scores: dict[str, float]) -> None:
        """Writes validation scores."""
        if self.active:
            io.append_line(self.path, {"event": "validation", "step": step, **scores})

    def finish(self, recipe: Recipe, seconds: float, steps: int, scores: dict[str, float]) -> None:
        """Writes ``run.json`` and the report."""
        from mien.engine.report import write_report

        run = {"steps": steps, "seconds": round(seconds, 2), "validation": scores, "machine": machine()}
        io.write_json(self.folder / "run.json", run)
        write_report(self.folder, recipe.name, to_dict(recipe), io.read_lines(self.path), run)
