"""Surfaces of fields, evaluated from coarse to fine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mien.core.errors import ConfigError, DataError

Field = Callable[[Tensor], Tensor]
MAX_RESOLUTION = 1024


class Surface(NamedTuple):
    """A triangle mesh of a field.

    Attributes:
        vertices: (V, 3) float32, in the units of the box (metres).
        faces: (T, 3) int32, counter-clockwise seen from outside.
        evaluations: how many points the field was asked for.
    """

    vertices: Tensor
    faces: Tensor
    evaluations: int


def marching_cubes(
    field: Field,
    lower: Sequence[float],
    upper: Sequence[float],
    resolution: int | Sequence[int],
    level: float = 0.0,
    *,
    coarse: int | None = 24,
    lipschitz: float = 1.0,
    inside: Literal["below", "above"] = "below",
    chunk: int = 1 << 16,
    device: str | torch.device = "cpu",
) -> Surface:
    """The surface where a field crosses a level, by marching cubes on an octree.

    A cell of diagonal D is split if a corner has |f - level| <= L D / 2, or if its corners lie on both
    sides. Each point of a cell is within D / 2 of a corner, so for a field that changes at most L per unit of
    length (a signed distance: 1) no crossing is missed, and the mesh is that of the dense grid, vertex by
    vertex. For other fields raise ``lipschitz``, or set ``coarse=None`` for the dense grid.

    O(surface cells) evaluations, some 20 resolution^2 for a ball that fills the box; O(resolution^3) memory,
    about 10 bytes a node.

    Args:
        field: (N, 3) float32 points on ``device`` -> (N,) values; called without gradients.
        lower: (3,) corner of the box.
        upper: (3,) opposite corner.
        resolution: cells along each axis, one for all or three, 1 to 1024.
        level: value of the surface.
        coarse: cells along the shortest axis, at least, of the first grid; None: dense.
        lipschitz: L, largest change of the field per unit of length.
        inside: which side of the level is inside.
        chunk: points that the field gets at a time.
        device: where the points are made.

    Raises:
        ConfigError: a box, resolution or option that makes no sense, or a field of another shape.
        DataError: the field does not cross the level in the box, or is not finite.
    """
    cells = np.broadcast_to(np.asarray(resolution, np.int64), 3)
    low, high = np.asarray(lower, np.float64), np.asarray(upper, np.float64)
    if low.shape != (3,) or high.shape != (3,) or not (low < high).all():
        raise ConfigError(f"lower {lower} and upper {upper} must be three numbers each, lower < upper")
    if not ((cells >= 1) & (cells <= MAX_RESOLUTION)).all():
        raise ConfigError(f"resolution must be 1 to {MAX_RESOLUTION}, got {resolution}")
    if (coarse is not None and coarse < 1) or not lipschitz > 0 or chunk < 1:
        raise ConfigError("coarse and chunk must be at least 1, lipschitz above 0")
    if inside not in ("below", "above"):
        raise ConfigError(f"inside {inside!r} is none of below, above")
    grid = _Grid(field, low, (high - low) / cells, cells, level, chunk, torch.device(device))
    grid.refine(_stride(int(cells.min()), coarse), lipschitz)
    vertices, faces = grid.surface(inside)
    return Surface(torch.from_numpy(vertices), torch.from_numpy(faces), grid.evaluations)


def _stride(cells: int, coarse: int | None) -> int:
    """Largest power of two that leaves ``coarse`` cells."""
    stride = 1
    while coarse is not None and cells // (2 * stride) >= coarse:
        stride *= 2
    return stride


class _Grid:
    """Node values of the fine grid, filled where they are needed."""

    def __init__(
        self,
        field: Field,
        low: NDArray[np.float64],
        step: NDArray[np.float64],
        cells: NDArray[np.int64],
        level: float,
        chunk: int,
        device: torch.device,
    ) -> None:
        self.field, self.low, self.step, self.cells = field, low, step, cells
        self.level, self.chunk, self.device = level, chunk, device
        self.values = np.full(tuple(cells + 1), np.nan, np.float32)
        self.sides = np.zeros(self.values.shape, np.int8)
        self.evaluations = 0

    def refine(self, stride: int, lipschitz: float) -> None:
        """Evaluates nodes from ``stride`` down to 1, and gives the nodes it skips the sign of their cell."""
        if stride == 1:
            self._evaluate(np.arange(self.values.size))
            return
        todo = self._all_cells(stride)
        while True:
            corners = self._corners(todo, stride)
            wanted = np.zeros(self.values.size, np.bool_)
            wanted[corners] = True
            self._evaluate(np.flatnonzero(wanted))
            if stride == 1:
                return
            gap = self.values.reshape(-1)[corners] - np.float32(self.level)
            diagonal = float(np.linalg.norm(self.step * stride))
            split = (np.abs(gap).min(1) <= lipschitz * diagonal / 2) | ((gap > 0).any(1) & (gap <= 0).any(1))
            self._fill(todo[~split], stride, gap[~split, 0])
            todo = self._children(todo[split], stride)
            stride //= 2

    def _all_cells(self, stride: int) -> NDArray[np.int64]:
        axes = [np.arange(0, n, stride) for n in self.cells]
        return np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)

    def _children(self, at: NDArray[np.int64], stride: int) -> NDArray[np.int64]:
        half = stride // 2
        moves = np.stack(np.meshgrid(*[[0, half]] * 3, indexing="ij"), -1).reshape(-1, 3)
        out = (at[:, None] + moves).reshape(-1, 3)
        return np.asarray(out[(out < self.cells).all(1)])

    def _corners(self, at: NDArray[np.int64], stride: int) -> NDArray[np.int64]:
        """Flat node indices (N, 8); cells that stick out of the box end at its side."""
        moves = np.stack(np.meshgrid(*[[0, stride]] * 3, indexing="ij"), -1).reshape(-1, 3)
        nodes = np.minimum(at[:, None] + moves, self.cells)
        return np.asarray(np.ravel_multi_index(tuple(np.moveaxis(nodes, -1, 0)), self.values.shape))

    def _evaluate(self, nodes: NDArray[np.int64]) -> None:
        flat = self.values.reshape(-1)
        nodes = nodes[np.isnan(flat[nodes])]
        for first in range(0, len(nodes), self.chunk):
            own = nodes[first : first + self.chunk]
            index = np.stack(np.unravel_index(own, self.values.shape), -1)
            points = torch.from_numpy((self.low + index * self.step).astype(np.float32)).to(self.device)
            with torch.no_grad():
                got = self.field(points)
            if got.shape != (len(own),):
                raise ConfigError(
                    f"the field gave {tuple(got.shape)} for {len(own)} points, not ({len(own)},)"
                )
            values = got.detach().to("cpu", torch.float32).numpy()
            if not np.isfinite(values).all():
                raise DataError(f"the field is not finite at {points[~np.isfinite(values)][0].tolist()}")
            flat[own] = values
            self.evaluations += len(own)

    def _fill(self, at: NDArray[np.int64], stride: int, gap: NDArray[np.float32]) -> None:
        """Remembers the side of cells that hold no surface; nodes that stay unknown in the end take it."""
        for (i, j, k), g in zip(at.tolist(), np.sign(gap).tolist(), strict=True):
            self.sides[i : i + stride + 1, j : j + stride + 1, k : k + stride + 1] = g

    def surface(self, inside: str) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Marching cubes over the filled grid."""
        from skimage.measure import marching_cubes as cubes

        unknown = np.isnan(self.values)
        seen = self.values[~unknown]
        low, high = float(seen.min()), float(seen.max())
        if not (low <= self.level < high or low < self.level <= high):
            raise DataError(
                f"no surface: the field is {low:.4g} to {high:.4g} at the points asked for and never crosses "
                f"{self.level:g}; widen the box, raise coarse, or check the sign"
            )
        if unknown.any():
            self.values[unknown] = self.level + self.sides[unknown].astype(np.float32)
        direction = "ascent" if inside == "above" else "descent"
        try:
            vertices, faces, _, _ = cubes(self.values, self.level, gradient_direction=direction)
        except RuntimeError as error:
            raise DataError(f"no surface: the field only touches {self.level:g}; widen the box") from error
        placed = self.low + vertices.astype(np.float64) * self.step
        return placed.astype(np.float32), np.ascontiguousarray(faces, np.int32)
