"""Triangles to pixels: which triangle each pixel sees, where on it, and attributes that torch differentiates.

Conventions: NDC x right, y up, both in [-1, 1]; any z that is affine on the screen, smaller is nearer. The
centre of pixel (row i, column j) is x = (j + 0.5) / W * 2 - 1, y = 1 - (i + 0.5) / H * 2.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mien.core.errors import ConfigError
from mien.render import twin
from mien.render.backends import Backend, Cull, check_range, check_size, pick

_CULL = {"none": 0, "front": 1, "back": 2}


class Raster(NamedTuple):
    """What each pixel sees.

    Attributes:
        face_id: (B, H, W) int32 triangle, -1 where nothing is.
        bary: (B, H, W, 2) float32 weights of vertices 1 and 2, linear on the screen; 0 where nothing is.
        depth: (B, H, W) float32 z, linear on the screen; inf where nothing is.
    """

    face_id: Tensor
    bary: Tensor
    depth: Tensor


def rasterize(
    P: Tensor,
    F: Tensor,
    height: int,
    width: int,
    *,
    cull: Cull = "none",
    backend: Backend = "auto",
    workers: int = 1,
) -> Raster:
    """Nearest triangle of every pixel. Not differentiable: give its ``face_id`` to `interpolate`.

    A pixel belongs to a triangle if its centre lies in it or on its edge, E_k = cross(v_i - p, v_j - p) all
    of one sign; of equal depths the lower triangle index wins. Left out: triangles without area, and those
    with a vertex that is not finite (`Camera.project` gives z = inf behind the near plane, so they vanish
    whole). Surfaces that coincide should be set 2 mm apart.

    Both backends give the same bits. O(B (T + pixels of the bounding boxes)) time, O(B H W) memory; the twin
    needs O(T) and a block of fragments more.

    Args:
        P: (B, V, 3) NDC; other float types are rounded to float32.
        F: (T, 3) int32 vertex indices, shared by the batch.
        height: 1 to 16384 pixels.
        width: 1 to 16384 pixels.
        cull: leave out front faces (counter-clockwise with y up) or back faces.
        backend: "numba" (CPU), "torch" (any device), or "auto": numba for CPU tensors if it is installed.
        workers: threads, an image each (numba only). More than one pays off on an idle machine alone.

    Raises:
        ConfigError: a size, shape, type, option or face index that does not fit.

    Example:
        >>> P = torch.tensor([[[-0.5, -0.5, 0.2], [0.5, -0.5, 0.4], [0.0, 0.5, 0.6]]])
        >>> out = rasterize(P, torch.tensor([[0, 1, 2]]), 8, 8)
        >>> int((out.face_id >= 0).sum()), out.bary[0, 4, 3].tolist()
        (8, [0.1875, 0.375])
    """
    return _rasterize(P, F, height, width, cull, backend, workers, 1.0)


def front_back(
    P: Tensor, F: Tensor, height: int, width: int, *, backend: Backend = "auto", workers: int = 1
) -> tuple[Raster, Raster]:
    """The nearest and the farthest surface at the same pixels (x is not mirrored). Twice `rasterize`.

    Arguments and errors are those of `rasterize`. Both depths are z as given; inf where nothing is.
    """
    front = _rasterize(P, F, height, width, "none", backend, workers, 1.0)
    back = _rasterize(P, F, height, width, "none", backend, workers, -1.0)
    depth = torch.where(back.face_id >= 0, -back.depth, back.depth)
    return front, Raster(back.face_id, back.bary, depth)


def _check(P: Tensor, F: Tensor) -> None:
    if P.ndim != 3 or P.shape[-1] != 3 or not P.is_floating_point():
        raise ConfigError(f"P must be (B, V, 3) floats, got {tuple(P.shape)} {P.dtype}")
    _check_faces(F, P.shape[1], "F", "vertices")


def _check_faces(F: Tensor, count: int, name: str, what: str) -> None:
    if F.ndim != 2 or F.shape[-1] != 3 or F.is_floating_point() or F.dtype == torch.bool:
        raise ConfigError(f"{name} must be (T, 3) integers, got {tuple(F.shape)} {F.dtype}")
    if len(F):
        low, high = torch.aminmax(F)
        check_range(int(low), int(high), count, what)


def _rasterize(
    P: Tensor, F: Tensor, height: int, width: int, cull: str, backend: str, workers: int, sign: float
) -> Raster:
    check_size(height, width)
    _check(P, F)
    if cull not in _CULL:
        raise ConfigError(f"cull {cull!r} is none of {', '.join(_CULL)}")
    found = pick(backend, P.device.type == "cpu")
    points = P.detach().to(torch.float32).contiguous()
    faces = F.to(device=P.device, dtype=torch.int32).contiguous()
    shape, device = (len(P), height, width), P.device
    face_id = torch.full(shape, -1, dtype=torch.int32, device=device)
    depth = torch.full(shape, torch.inf, device=device)
    bary = torch.empty(*shape, 2, device=device)

    def one(b: int) -> None:
        if found is None:
            screen = twin.to_screen(points[b], height, width, sign)
            twin.draw(screen, faces, depth[b], face_id[b], 0, _CULL[cull])
            bary[b] = twin.weights(screen, faces, face_id[b])
            return
        drawn = np.empty((points.shape[1], 3), np.float32)
        found.to_screen(points[b].numpy(), height, width, sign, drawn)
        buffers = depth[b].numpy(), face_id[b].numpy()
        found.draw(drawn, faces.numpy(), *buffers, 0, _CULL[cull])
        found.weights(drawn, faces.numpy(), buffers[1], bary[b].numpy())

    if workers > 1 and len(P) > 1:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(one, range(len(P))))
    else:
        for b in range(len(P)):
            one(b)
    return Raster(face_id, bary, depth)


def interpolate(
    P: Tensor,
    F: Tensor,
    attributes: Tensor,
    face_id: Tensor,
    w: Tensor | None = None,
    *,
    corners: Tensor | None = None,
    unit: bool = False,
) -> Tensor:
    """Attributes of what each pixel sees, differentiable in ``P``, ``attributes`` and ``w``.

    a = sum_k b_k A_k, with b_k = E_k / sum E of the edge functions at the pixel centre, or, seen through a
    perspective camera, b_k = (E_k / w_k) / sum (E_l / w_l). The gradient is that of the interior: what is
    covered does not move (see `coverage` for the outline). Time and memory O(covered pixels x C), and the
    result O(B H W C). Where no gradient is asked for on the CPU in float32, numba does it in one pass; the
    results may then differ in the last bits.

    Args:
        P: (B, V, 3) NDC, as drawn.
        F: (T, 3) indices.
        attributes: (B, V, C), or (V, C) for all images.
        face_id: (B, H, W) of `rasterize`.
        w: (B, V) camera depth of the vertices (`Camera.project`); None for orthographic views.
        corners: (T, 3) indices into ``attributes`` where they differ from F (UV seams).
        unit: scale the results to length 1 (normals).

    Returns:
        (B, H, W, C), 0 where nothing is.

    Raises:
        ConfigError: shapes that do not fit, or an index out of range.

    Example:
        >>> P = torch.tensor([[[-0.5, -0.5, 0.2], [0.5, -0.5, 0.4], [0.0, 0.5, 0.6]]])
        >>> F = torch.tensor([[0, 1, 2]], dtype=torch.int32)
        >>> z = interpolate(P, F, P[..., 2:], rasterize(P, F, 8, 8).face_id)
        >>> round(float(z[0, 4, 3, 0]), 6)
        0.3875
    """
    _check(P, F)
    batch = len(P)
    if face_id.ndim != 3 or len(face_id) != batch:
        raise ConfigError(f"face_id must be ({batch}, H, W), got {tuple(face_id.shape)}")
    if attributes.ndim == 2:
        attributes = attributes[None].expand(batch, -1, -1)
    if attributes.ndim != 3 or len(attributes) != batch:
        raise ConfigError(f"attributes must be ({batch}, V, C) or (V, C), got {tuple(attributes.shape)}")
    if w is not None and w.shape != P.shape[:2]:
        raise ConfigError(f"w must be {tuple(P.shape[:2])}, got {tuple(w.shape)}")
    if corners is None:
        if attributes.shape[1] != P.shape[1]:
            raise ConfigError(f"{attributes.shape[1]} attributes for {P.shape[1]} vertices; give corners")
        corners = F
    else:
        _check_faces(corners, attributes.shape[1], "corners", "attributes")
        if len(corners) != len(F):
            raise ConfigError(f"corners must be ({len(F)}, 3) like F, got {tuple(corners.shape)}")
    if face_id.numel():
        check_range(0, int(face_id.max()), len(F), "triangles")
    inputs = [t for t in (P, attributes, w) if t is not None]
    if not (torch.is_grad_enabled() and any(t.requires_grad for t in inputs)) and all(
        t.dtype == torch.float32 and t.device.type == "cpu" for t in inputs
    ):
        found = pick("auto")
        if found is not None:
            return _blend(found, P, F, corners, attributes, face_id, w, unit)
    b, i, j = torch.nonzero(face_id >= 0, as_tuple=True)
    t = face_id[b, i, j].long()
    weights = _barycentrics(P, F, w, face_id.shape[1:], b, i, j, t)
    c = corners.to(P.device)[t].long()
    picked = attributes[b[:, None], c]  # (N, 3, C)
    values = (weights[..., None].to(picked.dtype) * picked).sum(1)
    if unit:
        values = torch.nn.functional.normalize(values, dim=-1)
    out = values.new_zeros(*face_id.shape, values.shape[-1])
    return out.index_put((b, i, j), values)


def _barycentrics(
    P: Tensor, F: Tensor, w: Tensor | None, size: torch.Size, b: Tensor, i: Tensor, j: Tensor, t: Tensor
) -> Tensor:
    """(N, 3) weights of triangles t at pixels (b, i, j), differentiable in P and w."""
    height, width = size
    f = F.to(P.device)[t].long()
    p = P[b[:, None], f]  # (N, 3, 3)
    px = (j.to(P.dtype) + 0.5) / width * 2 - 1
    py = 1 - (i.to(P.dtype) + 0.5) / height * 2
    e = torch.stack(twin.edges(p[..., 0], p[..., 1], px, py), -1)
    if w is not None:
        e = e / w[b[:, None], f]
    return e / e.sum(-1, keepdim=True)


def _blend(
    found: Any,
    P: Tensor,
    F: Tensor,
    corners: Tensor,
    attributes: Tensor,
    face_id: Tensor,
    w: Tensor | None,
    unit: bool,
) -> Tensor:
    faces = np.ascontiguousarray(F.cpu().numpy(), np.int32)
    own = faces if corners is F else np.ascontiguousarray(corners.cpu().numpy(), np.int32)
    ids = np.ascontiguousarray(face_id.numpy(), np.int32)
    out = np.zeros((*face_id.shape, attributes.shape[-1]), np.float32)
    none = np.zeros(0, np.float32)
    for b in range(len(P)):
        depth = none if w is None else np.ascontiguousarray(w[b].detach().numpy())
        points, values = (np.ascontiguousarray(t[b].detach().numpy()) for t in (P, attributes))
        found.blend(points, faces, own, values, ids[b], depth, unit, out[b])
    return torch.from_numpy(out)
