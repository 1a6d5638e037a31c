"""Which of the two backends draws: numba where it is installed, else its torch twin. Imports no torch."""

from __future__ import annotations

import importlib
import logging
from functools import lru_cache
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mien.core.errors import ConfigError

Backend = Literal["auto", "numba", "torch"]
Cull = Literal["none", "front", "back"]
MAX_SIDE = 16384
log = logging.getLogger(__name__)


@lru_cache(1)
def kernels() -> Any:
    """The module `mien.render.kernels`, or None, said once, where numba cannot be imported."""
    try:
        return importlib.import_module("mien.render.kernels")
    except ImportError as error:
        log.warning("no numba (%s): rendering runs on torch, several times slower; pip install numba", error)
        return None


def pick(backend: str, on_cpu: bool = True) -> Any:
    """The kernels to use, or None for the twin.

    Raises:
        ConfigError: no such backend, or numba was asked for and cannot be used.
    """
    if backend not in get_args(Backend):
        raise ConfigError(f"backend {backend!r} is none of {', '.join(get_args(Backend))}")
    if backend == "torch" or (backend == "auto" and not on_cpu):
        return None
    if not on_cpu:
        raise ConfigError("backend 'numba' draws on the CPU only; use 'torch' or 'auto' for other devices")
    found = kernels()
    if found is None and backend == "numba":
        raise ConfigError("backend 'numba': numba is not installed; pip install numba, or use 'torch'")
    return found


def check_size(height: int, width: int) -> None:
    """Raises ConfigError unless both sides are 1 .. 16384."""
    if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
        raise ConfigError(f"height x width is {height} x {width}; each must be 1 to {MAX_SIDE} pixels")


def check_range(low: int, high: int, count: int, what: str = "vertices") -> None:
    """Raises ConfigError unless face indices low .. high are within 0 .. count - 1."""
    if low < 0 or high >= count:
        bad = low if low < 0 else high
        raise ConfigError(f"face index {bad} is out of range: there are {count} {what}")


def raster_numpy(
    screen: NDArray[np.float32],
    faces: NDArray[np.int32],
    zbuf: NDArray[np.float32],
    ids: NDArray[np.int32],
    base: int = 0,
) -> None:
    """Draws triangles into buffers that exist already, so that meshes and strands share one z-buffer.

    As `rasterize`, but in pixels and in place. O(T + pixels of the bounding boxes) time, no memory.

    Args:
        screen: (V, 3) float32: pixel x, pixel y (down; centres at + 0.5), z, smaller is nearer (-1 / depth
            for a perspective view). A triangle with a vertex that is not finite is left out.
        faces: (T, 3) int32.
        zbuf: (H, W) float32, C order; inf (or a large z) where nothing is; written where one is nearer.
        ids: (H, W) int32, C order; written with base + triangle index.
        base: added to the triangle index.

    Raises:
        ConfigError: another type, shape or order, or a face index out of range.
    """
    if screen.ndim != 2 or screen.shape[1] != 3 or faces.ndim != 2 or faces.shape[1] != 3:
        raise ConfigError(f"expected screen (V, 3) and faces (T, 3), got {screen.shape} and {faces.shape}")
    if zbuf.ndim != 2 or zbuf.shape != ids.shape:
        raise ConfigError(f"zbuf and ids must be (H, W), got {zbuf.shape} and {ids.shape}")
    if [str(a.dtype) for a in (screen, zbuf, faces, ids)] != ["float32"] * 2 + ["int32"] * 2:
        raise ConfigError("screen and zbuf must be float32, faces and ids int32")
    if not (zbuf.flags.c_contiguous and ids.flags.c_contiguous):
        raise ConfigError("zbuf and ids must be contiguous: they are written in place")
    check_size(*zbuf.shape)
    if not len(faces):
        return
    check_range(int(faces.min()), int(faces.max()), len(screen))
    screen, faces = np.ascontiguousarray(screen), np.ascontiguousarray(faces)
    if (found := kernels()) is not None:
        found.draw(screen, faces, zbuf, ids, base, 0)
        return
    import torch

    from mien.render.twin import draw

    as_torch = [torch.from_numpy(a) for a in (screen, faces, zbuf, ids)]
    draw(as_torch[0], as_torch[1], as_torch[2], as_torch[3], base, 0)
