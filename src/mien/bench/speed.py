"""Timing and memory of interleaved runs."""

from __future__ import annotations

import contextlib
import gc
import resource
import sys
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode


def interleave(
    runs: Mapping[str, Callable[[], object]], repeats: int, warmup: int = 2
) -> dict[str, np.ndarray[Any, np.dtype[np.float64]]]:
    """Seconds of each function, run in turn ``repeats`` times, so that a busy moment hits all alike."""
    for function in list(runs.values()) * warmup:
        function()
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    names = list(runs)
    for i in range(repeats):
        for name in names if i % 2 == 0 else reversed(names):
            began = time.perf_counter()
            runs[name]()
            seconds[name].append(time.perf_counter() - began)
    return {name: np.array(s) for name, s in seconds.items()}


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """So many threads inside."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def one_thread() -> contextlib.AbstractContextManager[None]:
    """One thread inside: threads that wait for each other measure how busy the machine is."""
    return threads(1)


def entry(name: str, seconds: np.ndarray[Any, Any], peak_bytes: float | None = None) -> dict[str, Any]:
    """One entry of the bench JSON."""
    return {
        "name": name,
        "median_s": float(np.median(seconds)),
        "min_s": float(seconds.min()),
        "max_s": float(seconds.max()),
        "peak_mb": None if peak_bytes is None else round(peak_bytes / 2**20, 3),
        "n": len(seconds),
    }


def ratio(ours: np.ndarray[Any, Any], reference: np.ndarray[Any, Any]) -> float:
    """Median of the ratios of neighbouring runs."""
    return float(np.median(ours / reference))


class PeakMemory(TorchDispatchMode):
    """Largest number of bytes held by tensors made inside the block (any device, backward included).

    Args:
        known: tensors made before, whose views are not counted.
    """

    def __init__(self, known: Iterable[torch.Tensor] = ()) -> None:
        super().__init__()
        self.live, self.peak = 0, 0
        self._seen = {t.untyped_storage()._cdata for t in known}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Counts the storages of an operation's outputs."""
        out = func(*args, **(kwargs or {}))
        for t in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(t, torch.Tensor):
                for part in (t._indices(), t._values()) if t.is_sparse else (t,):
                    self._count(part.untyped_storage())
        return out

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._seen:
            return
        self._seen.add(key)
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._free, key, size)

    def _free(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self.live -= size


def peak_bytes(function: Callable[[], object], known: Iterable[torch.Tensor] = ()) -> int:
    """Peak of tensor memory that one call allocates, without the tensors ``known`` before."""
    gc.collect()
    with PeakMemory(known) as watch:
        function()
    return int(watch.peak)


def process_peak() -> int:
    """Largest memory that this process has held so far, bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
