"""Hair, brows, lashes, beards and glasses are strands: polylines drawn into the z-buffer of the meshes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]  # of floats
Index = NDArray[np.int32]
HAIR, BROWS, LASHES, BEARD, GLASSES = range(5)


@dataclass(frozen=True)
class Strands:
    """Polylines of any length.

    Attributes:
        points: (P, 3) dm.
        first: (S + 1,) int32; strand s owns points first[s] .. first[s + 1].
        color: (S, 3) linear RGB.
        layer: (S,) 0 next to the skin .. 1 outermost: how much sky a strand sees.
        shift: (S,) radians, jitter of the highlight.
        width: (S,) dm at the root.
        kind: (S,) uint8, HAIR .. GLASSES.
    """

    points: Array
    first: Index
    color: Array
    layer: Array
    shift: Array
    width: Array
    kind: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.first) - 1

    def moved(self, points: Array) -> Strands:
        """The same strands elsewhere."""
        return replace(self, points=points)

    def thinned(self, every: int) -> Strands:
        """Each ``every``-th strand, wider in turn; glasses stay whole."""
        keep = (np.arange(len(self)) % every == 0) | (self.kind == GLASSES)
        if keep.all():
            return self
        counts = np.diff(self.first)
        own = np.repeat(keep, counts)
        first = np.concatenate([[0], np.cumsum(counts[keep])]).astype(np.int32)
        width = np.where(self.kind == GLASSES, self.width, self.width * np.sqrt(every)).astype(np.float32)
        return Strands(
            self.points[own],
            first,
            self.color[keep],
            self.layer[keep],
            self.shift[keep],
            width[keep],
            self.kind[keep],
        )


def join(parts: Sequence[Strands]) -> Strands:
    """One set of strands of several."""
    offsets = np.cumsum([0, *(len(p.points) for p in parts)])
    first = [p.first[:-1] + o for p, o in zip(parts, offsets, strict=False)]
    return Strands(
        np.concatenate([p.points for p in parts]),
        np.concatenate([*first, [offsets[-1]]]).astype(np.int32),
        np.concatenate([p.color for p in parts]),
        np.concatenate([p.layer for p in parts]),
        np.concatenate([p.shift for p in parts]),
        np.concatenate([p.width for p in parts]),
        np.concatenate([p.kind for p in parts]),
    )


def make_strands(points: Array, kind: int, color: Array, width: float, layer: Array, shift: Array) -> Strands:
    """Strands of equal length: points (S, K, 3), color (S, 3) or (3,), layer and shift (S,)."""
    count, length = points.shape[:2]
    return Strands(
        np.ascontiguousarray(points.reshape(-1, 3), np.float32),
        (np.arange(count + 1) * length).astype(np.int32),
        np.ascontiguousarray(np.broadcast_to(color, (count, 3)), np.float32),
        np.asarray(layer, np.float32),
        np.asarray(shift, np.float32),
        np.full(count, width, np.float32),
        np.full(count, kind, np.uint8),
    )


@njit(cache=True)  # type: ignore[untyped-decorator]
def draw(
    screen: Array, first: Index, width: Array, focal: float, zbuf: Array, strand: Index, along: Array
) -> None:
    """Draws opaque lines, one to a few pixels wide, into a z-buffer. O(pixels drawn).

    Args:
        screen: (P, 3) pixel x, pixel y, camera depth (dm, positive).
        first: as `Strands`.
        width: (S,) dm at the root, tapering to 35 %.
        focal: focal length in pixels.
        zbuf: (H, W) of -1 / depth; written.
        strand: (H, W) index of the strand seen, written; others stay.
        along: (H, W) point index + fraction, written with it.
    """
    rows, cols = zbuf.shape
    for s in range(len(first) - 1):
        a, b = first[s], first[s + 1]
        length = max(1, b - a - 1)
        for p in range(a, b - 1):
            x0, y0, d0 = screen[p]
            x1, y1, d1 = screen[p + 1]
            if d0 <= 0.1 or d1 <= 0.1 or not (abs(x0) < 1e5 and abs(y0) < 1e5 and abs(x1) < 1e5):
                continue
            if (x0 < -2 and x1 < -2) or (y0 < -2 and y1 < -2):
                continue
            if (x0 > cols + 2 and x1 > cols + 2) or (y0 > rows + 2 and y1 > rows + 2):
                continue
            dx, dy = x1 - x0, y1 - y0
            steps = int(max(abs(dx), abs(dy))) + 1
            steep = abs(dy) > abs(dx)
            for k in range(steps):
                t = (k + 0.5) / steps
                x, y = x0 + t * dx, y0 + t * dy
                z = -((1 - t) / d0 + t / d1)
                fraction = (p - a + t) / length
                w = width[s] * focal * -z * (1 - 0.65 * fraction)
                half = max(0, int(w * 0.5))
                for o in range(-half, half + 1):
                    i = int(y) + (0 if steep else o)
                    j = int(x) + (o if steep else 0)
                    if 0 <= i < rows and 0 <= j < cols and z < zbuf[i, j]:
                        zbuf[i, j] = z
                        strand[i, j] = s
                        along[i, j] = p + t
