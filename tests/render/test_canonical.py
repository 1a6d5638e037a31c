"""The canonical frame: worked numbers, identities of warps, and their gradients."""

import math

import pytest
import torch

from mien.core.errors import ConfigError, ShapeError
from mien.render.camera import Camera
from mien.render.canonical import (
    SOFTNESS,
    Renderer,
    fixed_point_depth,
    grid_normals,
    lambert,
    moved,
    moved_back,
    resample,
    splat_depth,
    view_transform,
)

WARPS = ("fixed_point", "splat")


def turn(yaw=0.0, pitch=0.0, batch=1, dtype=torch.float64):
    return torch.tensor([[pitch, yaw, 0, 0.01, -0.005, 0.0]], dtype=dtype).expand(batch, 6)


def still(batch=1, dtype=torch.float64):
    return torch.zeros(batch, 6, dtype=dtype)


def dome(size, batch=1, height=0.06):
    at = torch.linspace(-1, 1, size, dtype=torch.float64)
    y, x = torch.meshgrid(at, at, indexing="ij")
    return (1.05 - height * torch.exp(-2 * (x**2 + y**2))).expand(batch, size, size).contiguous()


def test_worked_normals_and_shading():
    v, u = torch.meshgrid(torch.arange(5.0), torch.arange(5.0), indexing="ij")
    depth = (1 + 0.01 * (u - 2) + 0.005 * (v - 2))[None]
    normal = Renderer(5).get_normal_from_depth(depth)
    assert normal[0, 2, 2].tolist() == pytest.approx([-0.221479, -0.110739, 0.968844], abs=1e-5)
    assert normal[0, 1, 1].tolist() == pytest.approx([-0.227890, -0.113945, 0.966983], abs=1e-5)
    light = torch.nn.functional.normalize(torch.tensor([[0.3, -0.2, 1]]), dim=-1)
    shading = lambert(normal, torch.tensor([0.4]), torch.tensor([0.6]), light)[0, 2, 2]
    assert shading.item() == pytest.approx(0.921845, abs=1e-5)
    pixel = torch.tensor([0.8, 0.5, 0.3]) * shading * 2 - 1
    assert pixel.tolist() == pytest.approx([0.474952, -0.078155, -0.446893], abs=1e-5)


def test_worked_warp():
    point = torch.tensor([[[0.05, 0.02, 0.97]]])
    move = view_transform(torch.tensor([[0.0, math.radians(30), 0, 0.01, 0, 0]]))
    there = moved(point, *move)
    assert there.flatten().tolist() == pytest.approx([0.038301, 0.02, 0.949019], abs=1e-6)
    at = (Renderer(5).grid_3d_to_2d(there) + 1) / 2 * 4
    assert at.flatten().tolist() == pytest.approx([2.922606, 2.481763], abs=1e-5)
    assert torch.allclose(moved_back(there, *move), point, atol=1e-6)


def test_worked_wave():
    n = torch.arange(128.0)
    depth = (1 + 0.05 * torch.sin(0.61 * 2 * n + 0.42 + 0.57)).view(2, 8, 8)
    renderer = Renderer(8)
    normal = renderer.get_normal_from_depth(depth)
    assert normal.mean((0, 1, 2)).tolist() == pytest.approx([0.002258, -0.000876, 0.789452], abs=2e-5)
    assert normal[0, 3, 4].tolist() == pytest.approx([0.817229, -0.276255, 0.505745], abs=1e-4)
    point = renderer.depth_to_3d_grid(depth)[0, 2, 5]
    assert point.tolist() == pytest.approx([0.0393617, -0.0393617, 1.0497814], abs=1e-5)


def test_the_camera_of_unsup3d_is_the_same_one():
    view = torch.tensor([[0.2, -0.4, 0.1, 0.02, -0.01, 0.03]])
    depth = dome(9).float()
    renderer = Renderer(9)
    at = renderer.grid_3d_to_2d(renderer.get_warped_3d_grid(depth, view))
    ndc, w = Camera.from_unsup3d(9, 9, view).project(renderer.depth_to_3d_grid(depth).flatten(1, 2))
    pixel = (ndc[..., :2] * torch.tensor([1, -1]) + 1) / 2 * 9 - 0.5
    assert torch.allclose((at.flatten(1, 2) + 1) / 2 * 8, pixel, atol=1e-4)
    assert torch.allclose(renderer.get_warped_3d_grid(depth, view)[..., 2].flatten(1), w, atol=1e-6)


@pytest.mark.parametrize("warp", WARPS)
def test_canonical_view_changes_nothing(warp):
    """Any depth: the grid is the regular one, and the picture comes back."""
    draw = torch.Generator().manual_seed(0)
    depth = 0.9 + 0.2 * torch.rand(2, 8, 8, generator=draw, dtype=torch.float64)
    image = torch.rand(2, 3, 8, 8, generator=draw, dtype=torch.float64)
    renderer = Renderer(8, warp=warp)
    there = renderer.warp_canon_depth(depth, still(2))
    # points fall on pixel centres only up to rounding; a near neighbour then weighs a little in a splat
    assert torch.allclose(there, depth, atol=1e-6)
    grid = renderer.get_inv_warped_2d_grid(there, still(2))
    assert torch.allclose(resample(image, grid), image, atol=1e-9)
    assert torch.allclose(grid[0, 0, :, 0], torch.linspace(-1, 1, 8, dtype=torch.float64))
    assert bool(renderer.seen(there).all())


def test_flat_depth_faces_the_camera():
    normal = Renderer(6).get_normal_from_depth(torch.full((1, 6, 6), 1.03))
    assert torch.allclose(normal, torch.tensor([0.0, 0, 1]).expand_as(normal), atol=2e-3 / 100)
    light = torch.tensor([[0.6, 0.0, 0.8]])
    shading = lambert(normal, torch.tensor([0.3]), torch.tensor([0.5]), light)
    assert torch.allclose(shading, torch.full_like(shading, 0.3 + 0.5 * 0.8), atol=2e-5)


def test_inverse_undoes_a_warp():
    renderer, view = Renderer(12), turn(0.5, 0.2)
    move = view_transform(view)
    points = renderer.depth_to_3d_grid(dome(12))
    assert torch.allclose(moved_back(moved(points, *move), *move), points, atol=1e-12)


@pytest.mark.parametrize(("warp", "pixels"), [("fixed_point", 0.02), ("splat", 0.25)])
def test_a_pixel_comes_from_where_its_point_was(warp, pixels):
    """Round trip of a dome at 20 degrees: where the canonical coordinates land, they are read again."""
    size = 48
    renderer, depth, view = Renderer(size, warp=warp), dome(size), turn(math.radians(20))
    there = renderer.warp_canon_depth(depth, view)
    back = renderer.get_inv_warped_2d_grid(there, view)
    on_surface = torch.nn.functional.grid_sample(
        depth[:, None], back, padding_mode="border", align_corners=True
    )[:, 0]
    points = torch.cat([back * math.tan(math.radians(5)), torch.ones_like(back[..., :1])], -1)
    again = renderer.grid_3d_to_2d(moved(points * on_surface[..., None], *view_transform(view)))
    regular = renderer.grid_3d_to_2d(renderer.depth_to_3d_grid(torch.ones_like(depth)))
    inner = renderer.seen(there) & (back.abs() < 0.95).all(-1)
    error = ((again - regular) / 2 * (size - 1)).norm(dim=-1)[inner]
    assert inner.float().mean() > 0.5
    assert error.mean().item() < pixels


def test_both_warps_agree_on_a_dome():
    depth, view = dome(32), turn(math.radians(15), math.radians(-8))
    found = [Renderer(32, warp=warp).warp_canon_depth(depth, view) for warp in WARPS]
    both = Renderer(32).seen(found[0])
    assert (found[0] - found[1])[both].abs().mean().item() < 1e-3


def slow_splat(renderer, depth, view):
    """Point by point."""
    size = renderer.image_size
    points = renderer.get_warped_3d_grid(depth, view)[0]
    sums, weights = torch.zeros(2, size, size, dtype=depth.dtype)
    near = points[..., 2].min()
    for point in points.reshape(-1, 3):
        x, y = ((renderer.grid_3d_to_2d(point) + 1) / 2 * (size - 1)).tolist()
        for row in range(size):
            for column in range(size):
                share = max(0, 1 - abs(x - column)) * max(0, 1 - abs(y - row))
                w = share * math.exp(-(point[2] - near) / SOFTNESS)
                sums[row, column] += w * point[2]
                weights[row, column] += w
    out = torch.full_like(sums, renderer.nothing)
    for row in range(size):
        for column in range(size):
            around = [
                sums[r, c] / weights[r, c]
                for r in range(max(0, row - 1), min(size, row + 2))
                for c in range(max(0, column - 1), min(size, column + 2))
                if weights[r, c] > 0
            ]
            if weights[row, column] > 0:
                out[row, column] = sums[row, column] / weights[row, column]
            elif around:
                out[row, column] = sum(around) / len(around)
    return out[None]


def test_splat_is_its_slow_twin():
    renderer, depth, view = Renderer(9, warp="splat"), dome(9, height=0.1), turn(0.6, 0.2)
    want = slow_splat(renderer, depth, view)
    assert bool((want == renderer.nothing).any()), "the case has holes"
    assert torch.allclose(splat_depth(renderer, depth, view), want, atol=1e-9)


def test_splat_shows_what_is_in_front():
    """A near square hides what lies behind it after a turn."""
    depth = torch.full((1, 32, 32), 1.1, dtype=torch.float64)
    depth[:, 10:22, 10:22] = 0.9
    found = splat_depth(Renderer(32), depth, turn(math.radians(20)))
    assert found.min().item() < 0.95
    assert (found < 0.98).float().mean().item() > 0.08


def test_gradients_of_shading_and_splat():
    renderer = Renderer(6, warp="splat")
    draw = torch.Generator().manual_seed(3)
    depth = (dome(6) + 0.01 * torch.rand(1, 6, 6, generator=draw, dtype=torch.float64)).requires_grad_()
    light = torch.tensor([[0.28, -0.19, 0.94]], dtype=torch.float64)
    one = torch.full((1,), 0.5, dtype=torch.float64)
    view = turn(0.21, 0.13).clone().requires_grad_()

    def shading(d):
        return lambert(grid_normals(renderer.depth_to_3d_grid(d)), one, one, light)

    assert torch.autograd.gradcheck(shading, depth, eps=1e-7, atol=1e-4)
    # the nearest depth only scales all weights; so it is held, and drops out
    assert torch.autograd.gradcheck(
        lambda d, v: splat_depth(renderer, d, v), (depth, view), eps=1e-7, atol=1e-3
    )


def test_gradient_of_the_fixed_point_is_the_implicit_one():
    """Implicit differentiation against differences (kinks between pixels leave a few per cent)."""
    renderer, view = Renderer(16), turn(0.1)
    depth, step = dome(16).requires_grad_(), 1e-5
    weights = torch.rand(1, 16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    (fixed_point_depth(renderer, depth, view, 12) * weights).sum().backward()
    change = torch.randn(1, 16, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.no_grad():
        up, down = (fixed_point_depth(renderer, depth + s * change, view, 12) for s in (step, -step))
    true = ((up - down) * weights).sum().item() / (2 * step)
    assert (depth.grad * change).sum().item() == pytest.approx(true, rel=0.05)


def test_yaw_views_and_bad_input():
    renderer, image = Renderer(16), torch.rand(2, 3, 16, 16, dtype=torch.float64)
    seen = renderer.render_yaw(image, dome(16, 2), [-0.3, 0.0, 0.3])
    assert seen.shape == (2, 3, 3, 16, 16)
    assert torch.allclose(seen[:, 1], image, atol=1e-6)
    with pytest.raises(ShapeError, match="16, 16"):
        renderer.depth_to_3d_grid(torch.ones(1, 8, 8))
    with pytest.raises(ShapeError, match="view"):
        view_transform(torch.zeros(2, 3))
    with pytest.raises(ConfigError, match="image_size"):
        Renderer(2)
    with pytest.raises(ConfigError, match="mesh"):
        Renderer(8, warp="mesh")
