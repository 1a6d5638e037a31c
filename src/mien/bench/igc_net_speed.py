"""``mien bench igc_net``: taking pictures apart and drawing them again, forward and as a training step.

The reference is the same net whose warped depth is drawn as a mesh (`mien.render.rasterize`, two triangles
a cell, z-buffered, differentiable through `mien.render.interpolate`), as the released code of Unsup3D does.
Where embreex is installed its rays find the same mesh, without a gradient.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mien.bench.speed import entry, interleave, one_thread, ratio
from mien.core.seeds import derive
from mien.methods.igc_net.config import IgcNetConfig
from mien.methods.igc_net.losses import perceptual_loss, photometric_loss
from mien.methods.igc_net.meshes import grid_faces
from mien.methods.igc_net.model import IGCNet
from mien.render.canonical import Renderer, pixel_rays
from mien.render.raster import interpolate, rasterize


class Plan(NamedTuple):
    """What is measured.

    Attributes:
        sizes: pixels a side; the ratio is that of the second one.
        batch: pictures of a step.
        repeats: interleaved runs.
        config: of the net.
    """

    sizes: tuple[int, ...] = (32, 64, 128)
    batch: int = 8
    repeats: int = 5
    config: IgcNetConfig = IgcNetConfig()


@dataclass(frozen=True)
class MeshRenderer(Renderer):
    """Finds the depth of a view by drawing the warped map as a mesh; the whole map is surface."""

    def warp_canon_depth(self, depth: Tensor, view: Tensor, presence: Tensor | None = None) -> Tensor:
        """Depth (B, S, S) in the view, `nothing` where no triangle is; ``presence`` is not asked."""
        return raster_depth(self, depth, view)


def raster_depth(renderer: Renderer, depth: Tensor, view: Tensor) -> Tensor:
    """Depth in the view of the nearest triangle at each pixel; differentiable in depth and view. O(B S^2).

    -1 / z is affine on the screen, so it orders triangles; z between vertices is perspective-correct.
    """
    size = renderer.image_size
    points = renderer.get_warped_3d_grid(depth, view).flatten(1, 2)
    z = points[..., 2]
    at = renderer.grid_3d_to_2d(points) * ((size - 1) / size)  # from centres of the outer pixels to borders
    screen = torch.stack([at[..., 0], -at[..., 1], -1 / z], -1)
    faces = torch.from_numpy(grid_faces(size))
    drawn = rasterize(screen, faces, size, size)
    found = interpolate(screen, faces, z[..., None], drawn.face_id, z)[..., 0]
    found = found.clamp(renderer.min_depth - renderer.margin, renderer.nothing)
    return torch.where(drawn.face_id >= 0, found, renderer.nothing)


def embreex_depth(renderer: Renderer, depth: Tensor, view: Tensor) -> Tensor:
    """Depth in the view of the nearest triangle on each pixel's ray, by Intel's Embree; no gradient.

    Builds a tree for each picture: O(B S^2 log S).
    """
    from embreex.mesh_construction import TriangleMesh
    from embreex.rtcore_scene import EmbreeScene

    size = renderer.image_size
    points = renderer.get_warped_3d_grid(depth, view).flatten(1, 2).numpy()
    rays = pixel_rays(size, renderer.fov_deg, depth).reshape(-1, 3).numpy()
    faces, origins = grid_faces(size), np.zeros_like(rays)
    found = np.full((len(points), size * size), renderer.nothing, np.float32)
    for own, out in zip(points, found, strict=True):
        scene = EmbreeScene()
        TriangleMesh(scene, own, faces)
        hits = scene.run(origins, rays, output=True)
        hit = hits["primID"] >= 0
        out[hit] = hits["tfar"][hit]  # in lengths of the ray, whose z is 1
    return torch.from_numpy(found).reshape(depth.shape)


def bench(plan: Plan | None = None) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Seconds of the forward pass and of a training step, ours and with a mesh, at each size, one thread.

    ``step_speedup_over_mesh_raster``: a step with the mesh over ours, at the second size; with ``_SIZE`` at
    each one; ``forward_`` likewise, and ``warp_``: depth of the view alone, with its gradient;
    ``seen_speedup_over_embreex``: without it, where embreex is installed.

    Args:
        plan: how long; default `Plan`.
    """
    plan = plan or Plan()
    entries: list[dict[str, Any]] = []
    ratios: dict[str, float] = {}
    with one_thread():
        for size in plan.sizes:
            found, speed = at_size(size, plan)
            entries += found
            ratios |= {f"{name}_{size}": value for name, value in speed.items()}
    main = plan.sizes[min(1, len(plan.sizes) - 1)]
    key = "step_speedup_over_mesh_raster"
    return entries, {key: ratios[f"{key}_{main}"], **ratios}


def at_size(size: int, plan: Plan) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Entries and ratios of one size."""
    torch.manual_seed(derive(0, "bench", size))
    image = torch.rand(plan.batch, 3, size, size)
    ours, theirs = (IGCNet(plan.config, size) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    own = ours.renderer
    theirs.renderer = MeshRenderer(own.image_size, own.fov_deg, own.min_depth, own.max_depth, own.warp)
    runs = {
        "forward": _forward(ours, image),
        "forward_mesh": _forward(theirs, image),
        "step": _step(ours, image),
        "step_mesh": _step(theirs, image),
        "warp": _warp(ours, image),
        "warp_mesh": _warp(theirs, image),
    }
    if importlib.util.find_spec("embreex"):
        runs |= _seen(ours, image)
    seconds = interleave(runs, plan.repeats, warmup=1)
    entries = [entry(f"{name}_{size}", s) for name, s in seconds.items()]
    ratios = {
        f"{name}_speedup_over_mesh_raster": ratio(seconds[f"{name}_mesh"], seconds[name])
        for name in ("forward", "step", "warp")
    }
    if "seen" in seconds:
        ratios["seen_speedup_over_embreex"] = ratio(seconds["seen_embreex"], seconds["seen"])
    return entries, ratios


def _forward(net: IGCNet, image: Tensor) -> Callable[[], object]:
    def run() -> object:
        with torch.no_grad():
            return net.render(net.encode(image))

    return run


def _warp(net: IGCNet, image: Tensor) -> Callable[[], object]:
    with torch.no_grad():
        obj = net.encode(image)
    depth, view = obj.depth.requires_grad_(), obj.view.requires_grad_()
    there = 1 - obj.visibility[:, 0]

    def run() -> object:
        found = net.renderer.warp_canon_depth(depth, view, there)
        return torch.autograd.grad(found.sum(), (depth, view))

    return run


@torch.no_grad()
def _seen(net: IGCNet, image: Tensor) -> dict[str, Callable[[], object]]:
    """Depth of the view, ours and by rays."""
    obj, renderer = net.encode(image), net.renderer
    there = 1 - obj.visibility[:, 0]
    return {
        "seen": torch.no_grad()(lambda: renderer.warp_canon_depth(obj.depth, obj.view, there)),
        "seen_embreex": lambda: embreex_depth(renderer, obj.depth, obj.view),
    }


def _step(net: IGCNet, image: Tensor) -> Callable[[], object]:
    def run() -> object:
        net.zero_grad(set_to_none=True)
        shown = net.render(net.encode(image))
        loss = photometric_loss(shown.image, image) + perceptual_loss(shown.image, image)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    return run
