"""Hair, brows, lashes, beards and glasses are strands: polylines drawn into the z-buffer of the meshes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.synth.jit import njit

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


_TILE = 8  # pixels a side of the squares whose farthest depth is kept


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _farthest(zbuf: Array) -> Array:
    """Largest z of each tile: a strand behind it is hidden everywhere in the tile."""
    rows, cols = zbuf.shape
    out = np.full(((rows + _TILE - 1) // _TILE, (cols + _TILE - 1) // _TILE), -np.inf, np.float32)
    for i in range(rows):
        for j in range(cols):
            out[i // _TILE, j // _TILE] = max(out[i // _TILE, j // _TILE], zbuf[i, j])
    return out


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def draw(
    screen: Array,
    first: Index,
    width: Array,
    focal: float,
    zbuf: Array,
    strand: Index,
    along: Array,
    base: int = 0,
    point: int = 0,
    taper: float = 0.65,
) -> None:
    """Draws opaque lines, one to a few pixels wide, into a z-buffer. O(pixels drawn).

    Args:
        screen: (P, 3) pixel x, pixel y, camera depth (dm, positive).
        first: as `Strands`.
        width: (S,) dm at the root, tapering.
        focal: focal length in pixels.
        zbuf: (H, W) of -1 / depth; written.
        strand: (H, W) index of the strand seen, written; others stay.
        along: (H, W) point index + fraction, written with it.
        base: added to the strand index.
        point: added to the point index.
        taper: share of the width lost at the tip.
    """
    rows, cols = zbuf.shape
    far = _farthest(zbuf)
    for s in range(len(first) - 1):
        a, b = first[s], first[s + 1]
        thin = taper / max(1, b - a - 1)
        reach = width[s] * focal
        for p in range(a, b - 1):
            x0, y0, d0 = screen[p, 0], screen[p, 1], screen[p, 2]
            x1, y1, d1 = screen[p + 1, 0], screen[p + 1, 1], screen[p + 1, 2]
            if d0 <= 0.1 or d1 <= 0.1 or not (abs(x0) < 1e5 and abs(y0) < 1e5 and abs(x1) < 1e5):
                continue
            if (x0 < -2 and x1 < -2) or (y0 < -2 and y1 < -2):
                continue
            if (x0 > cols + 2 and x1 > cols + 2) or (y0 > rows + 2 and y1 > rows + 2):
                continue
            z0, z1 = -1 / d0, -1 / d1
            nearest = min(z0, z1)
            room = int(reach * -nearest * 0.5)
            top, bottom = int(min(y0, y1)) - room, int(max(y0, y1)) + room
            left, right = int(min(x0, x1)) - room, int(max(x0, x1)) + room
            if bottom < 0 or right < 0 or top >= rows or left >= cols:
                continue
            ti, tj = max(0, top) // _TILE, max(0, left) // _TILE
            ui, uj = min(rows - 1, bottom) // _TILE, min(cols - 1, right) // _TILE
            if ui - ti < 2 and uj - tj < 2:
                hidden = max(max(far[ti, tj], far[ti, uj]), max(far[ui, tj], far[ui, uj]))
                if nearest >= hidden:
                    continue
            dx, dy, dz = x1 - x0, y1 - y0, z1 - z0
            steps = int(max(abs(dx), abs(dy))) + 1
            steep = abs(dy) > abs(dx)
            part = 1.0 / steps
            for k in range(steps):
                t = (k + 0.5) * part
                x, y = x0 + t * dx, y0 + t * dy
                z = np.float32(z0 + t * dz)
                half = 0
                if room > 0:
                    half = int(reach * -z * (1 - thin * (p - a + t)) * 0.5)
                for o in range(-half, half + 1):
                    i = int(y) + (0 if steep else o)
                    j = int(x) + (o if steep else 0)
                    if 0 <= i < rows and 0 <= j < cols and z < zbuf[i, j]:
                        zbuf[i, j] = z
                        strand[i, j] = base + s
                        along[i, j] = point + p + t


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def project(points: Array, camera: Array, focal: float, half: float, out: Array) -> None:
    """Pixel x, pixel y (down), camera depth of points (P, 3) before a camera that looks along -z. O(P).

    Args:
        points: (P, 3) world, dm.
        camera: (3,) its position.
        focal: pixels.
        half: half the width of the square picture, pixels.
        out: (P, 3), written.
    """
    f, h = np.float32(focal), np.float32(half)
    for v in range(len(points)):
        depth = camera[2] - points[v, 2]
        scale = f / depth
        out[v, 0] = h + scale * (points[v, 0] - camera[0])
        out[v, 1] = h - scale * (points[v, 1] - camera[1])
        out[v, 2] = depth


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def turn(points: Array, height: Array, neck: Array, rot: Array, out: Array) -> None:
    """Turns the head about the neck; the turn fades between heights of 6.3 and 5.35 dm. O(P).

    Args:
        points: (P, 3) before the turn.
        height: (P,) dm, what the fading goes by.
        neck: (3,) pivot.
        rot: (3, 3).
        out: (P, 3), written.
    """
    one, two, three = np.float32(1), np.float32(2), np.float32(3)
    for v in range(len(points)):
        x, y, z = points[v, 0], points[v, 1], points[v, 2]
        t = min(one, max(np.float32(0), (height[v] - np.float32(5.35)) / np.float32(0.95)))
        w = t * t * (three - two * t)
        px, py, pz = x - neck[0], y - neck[1], z - neck[2]
        out[v, 0] = x + w * (rot[0, 0] * px + rot[0, 1] * py + rot[0, 2] * pz + neck[0] - x)
        out[v, 1] = y + w * (rot[1, 0] * px + rot[1, 1] * py + rot[1, 2] * pz + neck[1] - y)
        out[v, 2] = z + w * (rot[2, 0] * px + rot[2, 1] * py + rot[2, 2] * pz + neck[2] - z)


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def bound_strands(
    corners: Index, weights: Array, shape: Array, points: Array, normals: Array, out: Array
) -> None:
    """Hairs on a moved mesh: offsets in the frame (right, up, out) of the skin at the root. O(S K).

    Args:
        corners: (S, 3) vertices that hold each root.
        weights: (S, 3).
        shape: (S, K, 3) offsets, dm.
        points: (V, 3) mesh.
        normals: (V, 3).
        out: (S K, 3), written.
    """
    length = shape.shape[1]
    for s in range(len(corners)):
        x, y, z, nx, ny, nz = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        for k in range(3):
            v, w = corners[s, k], weights[s, k]
            x += w * points[v, 0]
            y += w * points[v, 1]
            z += w * points[v, 2]
            nx += w * normals[v, 0]
            ny += w * normals[v, 1]
            nz += w * normals[v, 2]
        size = np.sqrt(nx * nx + ny * ny + nz * nz) + 1e-9
        nx, ny, nz = nx / size, ny / size, nz / size
        size = np.sqrt(nz * nz + nx * nx) + 1e-9
        rx, rz = nz / size, -nx / size  # up x out
        ax, ay, az = ny * rz, nz * rx - nx * rz, -ny * rx  # out x right
        for k in range(length):
            p, q, r = shape[s, k, 0], shape[s, k, 1], shape[s, k, 2]
            out[s * length + k, 0] = x + p * rx + q * ax + r * nx
            out[s * length + k, 1] = y + q * ay + r * ny
            out[s * length + k, 2] = z + p * rz + q * az + r * nz
