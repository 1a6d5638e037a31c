from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from mien.core.errors import ConfigError, DataError, ShapeError
from mien.metrics.depth import depth_error, reprojection_error, scale_invariant_depth_error
from mien.render.camera import Camera


def depths(seed, batch=2, size=6):
    g = torch.Generator().manual_seed(seed)
    return 1 + torch.rand(batch, size, size, generator=g, dtype=torch.float64)


def test_errors_are_the_loops():
    p, t = depths(0), depths(1)
    mask = depths(2) > 1.4
    for inside in (None, mask):
        m = torch.ones_like(mask) if inside is None else mask
        for b in range(2):
            pairs = [
                (float(p[b, i, j]), float(t[b, i, j])) for i in range(6) for j in range(6) if bool(m[b, i, j])
            ]
            logs = [math.log(x) - math.log(y) for x, y in pairs]
            side = math.sqrt(np.mean(np.square(logs)) - np.mean(logs) ** 2)
            assert float(scale_invariant_depth_error(p, t, inside)[b]) == pytest.approx(side, rel=1e-9)
            gaps = [x - y for x, y in pairs]
            wanted = {
                "l1": np.mean(np.abs(gaps)),
                "rmse": math.sqrt(np.mean(np.square(gaps))),
                "relative": np.mean([abs(x - y) / y for x, y in pairs]),
            }
            for norm, value in wanted.items():
                assert float(depth_error(p, t, inside, norm=norm)[b]) == pytest.approx(value, rel=1e-9)


def test_a_factor_costs_nothing_and_is_not_lost_in_rounding():
    t = depths(0)
    assert scale_invariant_depth_error(3 * t, t).abs().max() < 1e-12
    small = t.float()
    assert scale_invariant_depth_error(1000 * small, small).max() < 1e-6
    p = depths(1)
    assert torch.allclose(scale_invariant_depth_error(p, t), scale_invariant_depth_error(t, p))
    assert torch.allclose(scale_invariant_depth_error(p, t), scale_invariant_depth_error(9 * p, t))
    halves = torch.ones(1, 2, 2)
    halves[:, 0] = math.e  # logs 1, 1, 0, 0: standard deviation 1/2
    assert scale_invariant_depth_error(halves, torch.ones(1, 2, 2)).tolist() == pytest.approx([0.5])


def test_background_is_left_out():
    p, t = depths(0), depths(1)
    t[:, 0] = torch.inf
    p[:, 0] = torch.nan
    mask = torch.ones(2, 6, 6, dtype=torch.bool)
    mask[:, 0] = False
    for norm in ("l1", "rmse", "relative"):
        assert torch.equal(depth_error(p, t, norm=norm), depth_error(p, t, mask, norm=norm))
    assert torch.equal(scale_invariant_depth_error(p, t), scale_invariant_depth_error(p, t, mask))


def test_depths_that_do_not_fit():
    t = depths(0)
    with pytest.raises(ShapeError, match=r"depth maps \(B, H, W\)"):
        depth_error(t[0], t[0])
    bad = t.clone()
    bad[1, 2, 3] = 0
    with pytest.raises(DataError, match="picture 1, row 2, column 3 is not positive"):
        scale_invariant_depth_error(bad, t)
    with pytest.raises(DataError, match="holds no pixel"):
        depth_error(t, torch.full_like(t, torch.inf))
    with pytest.raises(ConfigError, match="no depth norm"):
        depth_error(t, t, norm="l2")


SIZE = 32


def color_at(points):
    return torch.stack([torch.sin(3 * points[..., 0]), torch.cos(2 * points[..., 1]), points[..., 0]], 1)


def sphere(camera, radius=0.4):
    """Exact picture and depth of a painted sphere at the origin, through the camera's rays."""
    origins, directions = camera.rays()
    b = (origins * directions).sum(-1)
    disc = b**2 - (origins.square().sum(-1) - radius**2)
    hit = disc > 0
    t = torch.where(hit, -b - disc.clamp_min(0).sqrt(), torch.full_like(b, torch.inf))
    points = origins + directions * torch.where(hit, t, torch.zeros_like(t))[..., None]
    depth = torch.where(hit, t * (directions * -camera.rotation[:, None, None, :, 2]).sum(-1), t)
    return color_at(points) * hit[:, None], depth


def view(yaw, size=SIZE, **options):
    eye = 2.7 * torch.tensor([math.sin(yaw), 0, math.cos(yaw)], dtype=torch.float64)
    return Camera.look_at(
        eye, torch.zeros(3, dtype=torch.float64), focal=2.6 * size, height=size, width=size, **options
    )


def test_a_view_against_itself_is_exact():
    camera = view(0.2)
    image, depth = sphere(camera)
    found = reprojection_error(image, depth, camera, image, depth, camera)
    assert float(found.color) < 1e-9
    assert float(found.depth) < 1e-9
    inner = torch.isfinite(depth)[:, 4:-4, 4:-4].sum()
    assert found.compared.sum() > 0.5 * inner  # the rim has no four neighbours with depth


def test_two_exact_views_agree_and_a_wrong_depth_does_not():
    a, b = view(-0.15), view(0.2)
    (image_a, depth_a), (image_b, depth_b) = sphere(a), sphere(b)
    found = reprojection_error(image_a, depth_a, a, image_b, depth_b, b)
    assert float(found.color) < 0.01  # bilinear sampling only
    assert float(found.share) > 0.6
    flat = torch.where(torch.isfinite(depth_a), torch.full_like(depth_a, 2.4), depth_a)
    wrong = reprojection_error(image_a, flat, a, image_b, depth_b, b, tolerance=0.5)
    assert float(wrong.color) > 3 * float(found.color)
    assert float(wrong.depth) > 3 * float(found.depth)
    strict = reprojection_error(image_a, depth_a + 0.3, a, image_b, depth_b, b)
    assert float(strict.share) < 0.2  # moved surfaces are not compared, and the share tells


def test_reprojection_is_the_loop():
    a, b = view(-0.15, 16), view(0.2, 16)
    (image_a, depth_a), (image_b, depth_b) = sphere(a), sphere(b)
    found = reprojection_error(image_a, depth_a, a, image_b, depth_b, b)
    colors, count = [], 0
    for i in range(16):
        for j in range(16):
            d = float(depth_a[0, i, j])
            if not math.isfinite(d):
                continue
            count += 1
            local = torch.tensor(
                [(j + 0.5 - 8) / 41.6 * d, (8 - i - 0.5) / 41.6 * d, -d], dtype=torch.float64
            )
            x, y, z = (b.rotation[0].T @ (a.rotation[0] @ local + a.position[0] - b.position[0])).tolist()
            u, v = 8 + 41.6 * x / -z - 0.5, 8 - 41.6 * y / -z - 0.5
            j0, i0 = math.floor(u), math.floor(v)
            if not (0 <= i0 and 0 <= j0 and i0 + 1 < 16 and j0 + 1 < 16):
                continue
            corners = [(i0, j0), (i0, j0 + 1), (i0 + 1, j0), (i0 + 1, j0 + 1)]
            fx, fy = u - j0, v - i0
            weights = [(1 - fy) * (1 - fx), (1 - fy) * fx, fy * (1 - fx), fy * fx]
            around = [float(depth_b[0, r, c]) for r, c in corners]
            if not all(map(math.isfinite, around)):
                continue
            if abs(sum(w * q for w, q in zip(weights, around, strict=True)) + z) > 0.02 * -z:
                continue
            shown = sum(w * image_b[0, :, r, c] for w, (r, c) in zip(weights, corners, strict=True))
            colors.append(float((image_a[0, :, i, j] - shown).abs().mean()))
    assert float(found.color) == pytest.approx(np.mean(colors), rel=1e-6)
    assert float(found.share) == pytest.approx(len(colors) / count)


def test_orthographic_views_and_masks():
    options = {"projection": "orthographic"}
    a, b = view(0.0, **options), view(0.1, **options)
    (image_a, depth_a), (image_b, depth_b) = sphere(a, 0.15), sphere(b, 0.15)
    whole = reprojection_error(image_a, depth_a, a, image_b, depth_b, b)
    assert float(whole.color) < 0.02
    mask = torch.zeros(1, SIZE, SIZE, dtype=torch.bool)
    mask[:, 14:18, 14:18] = True
    part = reprojection_error(image_a, depth_a, a, image_b, depth_b, b, mask)
    assert float(part.share) == 1
    assert bool((part.compared <= mask).all())


def test_a_view_from_behind_shares_nothing():
    a, b = view(0.0), view(math.pi)
    (image_a, depth_a), (image_b, depth_b) = sphere(a), sphere(b)
    found = reprojection_error(image_a, depth_a, a, image_b, depth_b, b)
    assert float(found.share) < 0.2
    nothing = reprojection_error(image_a, depth_a, a, image_b, torch.full_like(depth_b, torch.inf), b)
    assert math.isnan(float(nothing.color))
    assert float(nothing.share) == 0


def test_views_that_do_not_fit():
    camera = view(0.0)
    image, depth = sphere(camera)
    with pytest.raises(ConfigError, match="tolerance"):
        reprojection_error(image, depth, camera, image, depth, camera, tolerance=0)
    with pytest.raises(ShapeError, match="expected a picture"):
        reprojection_error(image, depth[0], camera, image, depth, camera)
    with pytest.raises(DataError, match="holds no pixel"):
        reprojection_error(image, depth, camera, image, depth, camera, ~torch.isfinite(depth))
