"""Tri-plane fields rendered without gradients: the field is baked once a frame, then seen from any camera.

Baking multiplies the planes by the decoder's first layer (the mean over the planes commutes with it) and
notes which cells of a coarse grid hold any density. A compiled march reads the planes in those cells only,
closely where the field is dense, and stops where no light is left. `mien.render.triplane` is the oracle: with
``cells=0, leap=1, stop=0, dim=0`` both give the same picture at equal samples.
"""

from __future__ import annotations

import importlib
import math
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mien.core.errors import ConfigError
from mien.render.backends import Backend, pick
from mien.render.eg3d import eg3d_rays
from mien.render.plane_settings import AXES, FastSettings, PlaneSettings
from mien.render.triplane import (
    DEFAULTS,
    PlaneDecoder,
    PlaneRender,
    RayRender,
    as_pictures,
    density,
    query_planes,
    ray_limits,
    render_planes,
    render_rays,
)

T = TypeVar("T")
FAST = FastSettings()
_FEW = 1024
"""Below so many points or rays, threads cost more than they bring."""
_SLICES = 4
"""Slices of each thread: those of empty rays are done sooner."""


@dataclass(frozen=True, eq=False)
class BakedField:
    """B fields, ready to be seen from any camera.

    Attributes:
        planes: (B, 3, H, P, P) W1 times the planes, over 3 if they are averaged; float32, channels last.
        decoder: the decoder; its W1 is in the planes already.
        cells: (B, G, G, G) uint8, z first: which cells may hold density; G = 0: all.
        settings: conventions and limits.
        fast: numbers of samples.
    """

    planes: Tensor
    decoder: PlaneDecoder
    cells: Tensor
    settings: PlaneSettings
    fast: FastSettings


class Comparison(NamedTuple):
    """The fast path beside the eager one, on the same fields and cameras.

    Attributes:
        reference_seconds: median of `render_planes`.
        bake_seconds: median of `bake_planes`, once a frame.
        fast_seconds: median of `render_baked`, once a view.
        speedup: reference over bake and view together.
        speedup_baked: reference over the view alone.
        psnr: dB between both RGB pictures, of a range of 2.
        points: share of the reference's points that the fast path reads, bake and view together.
    """

    reference_seconds: float
    bake_seconds: float
    fast_seconds: float
    speedup: float
    speedup_baked: float
    psnr: float
    points: float


def premultiply(planes: Tensor, decoder: PlaneDecoder, settings: PlaneSettings = DEFAULTS) -> Tensor:
    """W1 times the planes, (B, 3, H, P, P): their sum at a point is the decoder's W1 x there, exactly.

    Bilinear reads are linear and read zeros outside, so the layer may come first; its bias may not.
    O(B P^2 C H).

    Raises:
        ConfigError: planes and decoder that do not fit.
    """
    if planes.ndim != 5 or planes.shape[1] != 3 or planes.shape[2] != decoder.w1.shape[1]:
        channels, got = decoder.w1.shape[1], tuple(planes.shape)
        raise ConfigError(f"planes must be (B, 3, {channels}, P, P) for this decoder, got {got}")
    w1 = decoder.w1 / 3 if settings.aggregate == "mean" else decoder.w1
    mixed = F.linear(planes.permute(0, 1, 3, 4, 2), w1)
    return mixed.permute(0, 1, 4, 2, 3)


@torch.no_grad()
def bake_planes(
    planes: Tensor,
    decoder: PlaneDecoder,
    settings: PlaneSettings = DEFAULTS,
    fast: FastSettings = FAST,
    *,
    backend: Backend = "auto",
) -> BakedField:
    """Everything of a frame that does not depend on the camera. O(B (P^2 C H + G^3 H)).

    A cell is empty where the optical density at its centre, and at those of its neighbours, is not above
    ``fast.threshold``. Finer detail than a cell can be missed; what lies outside the box is.

    Args:
        planes: (B, 3, C, P, P).
        decoder: by its weights.
        settings: conventions; its numbers of samples are not used.
        fast: numbers of the march.
        backend: "numba", "torch" (slow, for checking) or "auto".

    Raises:
        ConfigError: shapes that do not fit, or settings that the march does not know.
    """
    if settings.disparity:
        raise ConfigError("the fast march spaces its samples evenly in distance; use disparity=False")
    mixed = premultiply(planes.float(), decoder, settings)
    mixed = mixed.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)
    hidden, outputs = decoder.w1.shape[0], decoder.b2.shape[0]
    if decoder.b1.shape != (hidden,) or decoder.w2.shape != (outputs, hidden) or outputs < 2:
        got = ", ".join(str(tuple(w.shape)) for w in decoder)
        raise ConfigError(f"a decoder is w1 (H, C), b1 (H,), w2 (1 + F, H), b2 (1 + F,); got {got}")
    weights = PlaneDecoder(*(w.detach().float().contiguous() for w in decoder))
    field = BakedField(mixed, weights, torch.zeros(len(planes), 0, 0, 0, dtype=torch.uint8), settings, fast)
    if not fast.cells:
        return field
    found = pick(backend, mixed.device.type == "cpu")
    raw = _raw_density(field, cell_centres(fast.cells, settings.box), found)
    full = (density(raw, settings.density_scale) > fast.threshold).float()
    full = F.max_pool3d(full.reshape(-1, 1, *[fast.cells] * 3), 3, 1, 1)[:, 0]
    return replace(field, cells=full.to(torch.uint8))


def cell_centres(cells: int, box: float = 1.0) -> Tensor:
    """(G^3, 3) middles of the cells of the box, x fastest, z slowest."""
    at = ((torch.arange(cells) + 0.5) / cells - 0.5) * box
    z, y, x = torch.meshgrid(at, at, at, indexing="ij")
    return torch.stack([x, y, z], -1).reshape(-1, 3)


@torch.no_grad()
def render_baked(
    field: BakedField, camera: Tensor, resolution: int | tuple[int, int] = 64, *, backend: Backend = "auto"
) -> PlaneRender:
    """Pictures of baked fields, one camera each; no gradients. O(points near surfaces (H + F H)).

    Samples lie as the coarse ones of `render_planes` with ``coarse=fast.samples, fine=0``. Without numba, or
    away from the CPU, torch evaluates all of them: the same picture up to what the march leaves out, slowly.

    Args:
        field: `bake_planes`.
        camera: (B, 25).
        resolution: pixels of a side, or height and width.
        backend: "numba", "torch" or "auto".

    Raises:
        ConfigError: a camera that does not fit.
    """
    rays = eg3d_rays(camera, resolution)
    if len(camera) != len(field.planes):
        raise ConfigError(f"{len(field.planes)} fields need as many cameras, got {len(camera)}")
    height, width = rays.directions.shape[1:3]
    origins, directions = rays.origins.flatten(1, 2).float(), rays.directions.flatten(1, 2).float()
    found = pick(backend, field.planes.device.type == "cpu")
    out = _torch_rays(field, origins, directions) if found is None else _march(field, origins, directions)[0]
    return as_pictures(out, height, width)


@torch.no_grad()
def points_read(field: BakedField, camera: Tensor, resolution: int | tuple[int, int] = 64) -> int:
    """Points that `render_baked` evaluates for these pictures, where it is compiled; time as there.

    Raises:
        ConfigError: no numba.
    """
    rays = eg3d_rays(camera, resolution)
    pick("numba", field.planes.device.type == "cpu")
    return _march(field, rays.origins.flatten(1, 2).float(), rays.directions.flatten(1, 2).float())[1]


def compare(
    planes: Tensor,
    decoder: PlaneDecoder,
    camera: Tensor,
    resolution: int | tuple[int, int] = 64,
    settings: PlaneSettings = DEFAULTS,
    fast: FastSettings = FAST,
    *,
    repeats: int = 5,
) -> Comparison:
    """Times of `render_planes` and of bake + `render_baked`, taken in turns, and how their pictures differ.

    Everything runs once before the clock starts.

    Raises:
        ConfigError: shapes that do not fit.
    """
    seconds: dict[str, list[float]] = {"reference": [], "bake": [], "view": []}
    for _ in range(1 + repeats):
        with torch.no_grad():
            times = [time.perf_counter()]
            reference = render_planes(planes, decoder, camera, resolution, settings)
            times.append(time.perf_counter())
            field = bake_planes(planes, decoder, settings, fast)
            times.append(time.perf_counter())
            picture = render_baked(field, camera, resolution)
            times.append(time.perf_counter())
        for name, (first, last) in zip(seconds, pairwise(times), strict=True):
            seconds[name].append(last - first)
    whole, bake, view = (statistics.median(taken[1:]) for taken in seconds.values())
    error = float((reference.rgb - picture.rgb).square().mean())
    psnr = 10 * math.log10(4 / error) if error else math.inf
    read = points_read(field, camera, resolution) + len(planes) * fast.cells**3
    rays = reference.depth.numel()
    share = read / (rays * (settings.coarse + settings.fine))
    return Comparison(whole, bake, view, whole / (bake + view), whole / view, psnr, share)


def _torch_rays(field: BakedField, origins: Tensor, directions: Tensor) -> RayRender:
    """The oracle on the multiplied planes."""
    settings = replace(field.settings, aggregate="sum", coarse=field.fast.samples, fine=0)
    return render_rays(field.planes, field.decoder.head, origins, directions, settings)


def _raw_density(field: BakedField, points: Tensor, found: Any) -> Tensor:
    """(B, M) at points (M, 3)."""
    if found is None:
        settings = replace(field.settings, aggregate="sum")
        points = points.to(field.planes.device).expand(len(field.planes), -1, 3)
        return query_planes(field.planes, field.decoder.head, points, settings)[0][..., 0]
    kernels, (b1, w2, b2) = _kernels(), _arrays(*field.decoder[1:])
    out = np.empty((len(field.planes), len(points)), np.float32)
    box, axes = np.float32(field.settings.box), AXES[field.settings.axes]
    at = points.numpy()
    for planes, row in zip(_channels_last(field), out, strict=True):

        def part(own: slice, planes: Any = planes, row: Any = row) -> None:
            kernels.raw_density(planes, axes, box, b1, w2, b2, at[own], row[own])

        _in_parts(part, len(at))
    return torch.from_numpy(out)


def _march(field: BakedField, origins: Tensor, directions: Tensor) -> tuple[RayRender, int]:
    """The compiled march, and how many points it read."""
    settings, fast = field.settings, field.fast
    near, far = ray_limits(origins, directions, settings)
    step = (far - near) / (fast.samples - 1)
    start = near + settings.jitter * step
    stride = torch.ones_like(step)
    if fast.cells:
        stride = (settings.box / fast.cells / step).floor().clamp(1, fast.samples)
    rows = [
        _arrays(*x) for x in zip(origins, directions, start, step, stride.int(), field.cells, strict=True)
    ]
    (b1, w2, b2), count = _arrays(*field.decoder[1:]), origins.shape[1]
    features = np.empty((len(rows), count, len(w2) - 1), np.float32)
    depth, opacity = np.empty((2, len(rows), count), np.float32)
    box, axes, read = np.float32(settings.box), AXES[settings.axes], 0
    numbers = [fast.leap, *(np.float32(x) for x in (fast.refine, fast.stop, fast.dim))]
    scale = np.float32(settings.density_scale)
    for k, planes in enumerate(_channels_last(field)):

        def part(own: slice, k: int = k, planes: Any = planes) -> int:
            o, d, first, length, skip = (x[own] for x in rows[k][:5])
            drawn = features[k, own], depth[k, own], opacity[k, own]
            return int(
                _kernels().march_planes(
                    *(planes, axes, box, b1, w2, b2, rows[k][5], skip),
                    *(o, d, first, length, fast.samples, scale, *numbers, *drawn),
                )
            )

        read += sum(_in_parts(part, count))
    colour, place, seen = (torch.from_numpy(x) for x in (features, depth, opacity))
    if settings.white_back:
        colour += (1 - seen)[..., None]
    empty = seen < torch.finfo(seen.dtype).eps / 2
    last = (start + step * (fast.samples - 1)).max()
    return RayRender(2 * colour - 1, torch.where(empty, last, place / seen), seen), read


def _in_parts(work: Callable[[slice], T], count: int) -> list[T]:
    """Work on 0 .. count in slices, by torch's number of threads, each place by itself; any order."""
    workers = torch.get_num_threads()
    if workers == 1 or count < _FEW:
        return [work(slice(0, count))]
    edges = [count * k // (_SLICES * workers) for k in range(_SLICES * workers + 1)]
    parts = [slice(*pair) for pair in pairwise(edges)]
    with ThreadPoolExecutor(workers - 1) as pool:  # this thread works, too
        others = [pool.submit(work, part) for k, part in enumerate(parts) if k % workers]
        own = [work(part) for part in parts[::workers]]
    return own + [other.result() for other in others]


def _kernels() -> Any:
    return importlib.import_module("mien.render.plane_kernels")


def _arrays(*tensors: Tensor) -> list[NDArray[Any]]:
    return [np.ascontiguousarray(t.numpy()) for t in tensors]


def _channels_last(field: BakedField) -> NDArray[np.float32]:
    """(B, 3, P, P, H), without a copy."""
    return np.ascontiguousarray(field.planes.permute(0, 1, 3, 4, 2).numpy())
