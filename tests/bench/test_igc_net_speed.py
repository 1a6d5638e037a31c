"""The reference of the bench draws the same depth, and its ratios are there."""

import pytest
import torch

from mien.bench.benches import BENCHES
from mien.bench.igc_net_speed import MeshRenderer, Plan, bench, embreex_depth, raster_depth
from mien.methods.igc_net.config import IgcNetConfig
from mien.render.canonical import Renderer


def bowl(size=32):
    at = torch.linspace(-1, 1, size)
    return (0.92 + 0.04 * (at**2 + at[:, None] ** 2))[None]


def test_from_the_front_the_mesh_is_the_map():
    found = raster_depth(Renderer(32), bowl(), torch.zeros(1, 6))
    inside = (slice(None), slice(1, -1), slice(1, -1))
    assert torch.allclose(found[inside], bowl()[inside], atol=1e-4)


def test_turned_it_agrees_with_the_splat_and_has_a_gradient():
    renderer, view = Renderer(32, warp="splat"), torch.tensor([[0.1, 0.4, 0, 0.0, 0, 0]])
    depth = bowl().requires_grad_()
    mesh, splat = raster_depth(renderer, depth, view), renderer.warp_canon_depth(depth, view)
    both = renderer.seen(mesh) & renderer.seen(splat)
    assert both.float().mean() > 0.7
    assert (mesh - splat)[both].abs().mean() < 1e-3
    (gradient,) = torch.autograd.grad(mesh[both].sum(), depth)
    assert gradient.abs().sum() > 0
    assert torch.equal(MeshRenderer(32).warp_canon_depth(depth, view), mesh)


def test_rays_find_the_same_mesh():
    pytest.importorskip("embreex")
    renderer, view = Renderer(32), torch.tensor([[0.1, 0.4, 0, 0.0, 0, 0], [0, 0, 0, 0, 0, 0]])
    depth = bowl().expand(2, -1, -1).contiguous()
    rays, mesh = (find(renderer, depth, view) for find in (embreex_depth, raster_depth))
    both = renderer.seen(rays) & renderer.seen(mesh)
    assert both.float().mean() > 0.7
    assert (rays - mesh)[both].abs().max() < 2e-3


def test_the_key_is_that_of_the_second_size():
    plan = Plan((32, 48), 1, 1, IgcNetConfig(parts=2, width=8, dim=4, features=8, query=4))
    entries, ratios = bench(plan)
    key = "step_speedup_over_mesh_raster"
    assert ratios[key] == ratios[f"{key}_48"] > 0
    assert len(entries) in (12, 16)  # without and with embreex
    assert "igc_net" in BENCHES
    assert ratios["warp_speedup_over_mesh_raster_32"] == pytest.approx(
        ratios["warp_speedup_over_mesh_raster_32"]
    )
