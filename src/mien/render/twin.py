"""The rasteriser in torch: the same float32 operations as `mien.render.kernels`, on any device.

It lists every (triangle, pixel of its bounding box) pair, a block at a time, so memory stays bounded.
"""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 1 << 21  # fragments at a time


def to_screen(points: Tensor, rows: int, cols: int, sign: float = 1.0) -> Tensor:
    """NDC (V, 3) to pixels: sx = (x/2 + 1/2) W, sy = (1/2 - y/2) H, z times ``sign``."""
    x, y, z = points.unbind(-1)
    return torch.stack([(x * 0.5 + 0.5) * cols, (0.5 - y * 0.5) * rows, z * sign], -1)


def edges(x: Tensor, y: Tensor, px: Tensor, py: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Edge functions of triangles (.., 3) about a pixel: E_k = cross(v_i - p, v_j - p), (i, j) opposite k.

    Their signs tell inside from outside; E_k / (E_0 + E_1 + E_2) are the barycentrics.
    """
    u0, u1, u2 = (x - px[..., None]).unbind(-1)
    v0, v1, v2 = (y - py[..., None]).unbind(-1)
    return u1 * v2 - u2 * v1, u2 * v0 - u0 * v2, u0 * v1 - u1 * v0


def _span(v: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """First and one-past-last pixel whose centre lies between the least and the greatest of (T, 3)."""
    low = torch.ceil(v.amin(-1) - 0.5).clamp(min=0)
    high = torch.floor(v.amax(-1) - 0.5).clamp(max=count - 1)
    size = torch.where(high >= low, high - low + 1, torch.zeros_like(low))
    return low.nan_to_num(0).clamp(max=count).long(), size.nan_to_num(0).long()


def draw(screen: Tensor, faces: Tensor, zbuf: Tensor, ids: Tensor, base: int, cull: int) -> None:
    """As `kernels.draw`, in place. O(T + F) time for F fragments, O(T + block + H W) memory."""
    rows, cols = zbuf.shape
    f = faces.long()
    x, y, z = screen[:, 0][f], screen[:, 1][f], screen[:, 2][f]
    area = (x[:, 1] - x[:, 0]) * (y[:, 2] - y[:, 0]) - (x[:, 2] - x[:, 0]) * (y[:, 1] - y[:, 0])
    drawn = (area.abs() > 0) & (area.abs() < torch.inf) & z.isfinite().all(-1)
    if cull:
        drawn &= (area >= 0) if cull == 1 else (area < 0)
    top, height = _span(y, rows)
    left, width = _span(x, cols)
    end = torch.cumsum(torch.where(drawn, height * width, torch.zeros_like(height)), 0)
    total = int(end[-1]) if len(end) else 0
    near, owner = zbuf.view(-1), ids.view(-1)
    for first in range(0, total, BLOCK):
        k = torch.arange(first, min(first + BLOCK, total), device=screen.device)
        t = torch.searchsorted(end, k, right=True)
        k = k - (end[t] - height[t] * width[t])
        i, j = top[t] + k // width[t], left[t] + k % width[t]
        e0, e1, e2 = edges(x[t], y[t], j.to(x.dtype) + 0.5, i.to(x.dtype) + 0.5)
        sum_ = e0 + e1 + e2
        front = area[t] < 0
        inside = torch.where(front, (e0 <= 0) & (e1 <= 0) & (e2 <= 0), (e0 >= 0) & (e1 >= 0) & (e2 >= 0)) & (
            sum_ != 0
        )
        t, pixel = t[inside], (i * cols + j)[inside]
        z0, z1, z2 = z[t].unbind(-1)
        sum_ = sum_[inside]
        depth = z0 + e1[inside] / sum_ * (z1 - z0) + e2[inside] / sum_ * (z2 - z0)
        depth = torch.maximum(depth, torch.minimum(z0, torch.minimum(z1, z2)))
        nearer = depth < near[pixel]
        _keep(near, owner, pixel[nearer], depth[nearer], t[nearer], base)


def _keep(near: Tensor, owner: Tensor, pixel: Tensor, depth: Tensor, t: Tensor, base: int) -> None:
    """Writes the nearest fragment of each pixel; of equals the one with the lowest triangle index."""
    near.scatter_reduce_(0, pixel, depth, "amin")
    best = depth == near[pixel]
    pixel, t = pixel[best], t[best]
    first = torch.full_like(owner, torch.iinfo(owner.dtype).max)
    first.scatter_reduce_(0, pixel, t.to(owner.dtype), "amin")
    owner[pixel] = first[pixel] + base


def weights(screen: Tensor, faces: Tensor, ids: Tensor) -> Tensor:
    """Screen-linear weights of vertices 1 and 2 (H, W, 2); 0 where nothing is."""
    out = screen.new_zeros(*ids.shape, 2)
    i, j = torch.nonzero(ids >= 0, as_tuple=True)
    f = faces[ids[i, j].long()].long()
    x, y = screen[:, 0][f], screen[:, 1][f]
    e0, e1, e2 = edges(x, y, j.to(x.dtype) + 0.5, i.to(x.dtype) + 0.5)
    total = e0 + e1 + e2
    out[i, j] = torch.stack([e1 / total, e2 / total], -1)
    return out
