"""Training rays: they show what their pixels show, and lie where the truth says."""

from __future__ import annotations

import numpy as np
import torch

from mien.data.talking_loader import talking_batch
from mien.methods.otavatar.rays import (
    MOUTH,
    guided_distances,
    part_weights,
    pick_rays,
    project,
    ray_loss,
    searched_distances,
    shape_loss,
)
from mien.render.eg3d import eg3d_rays
from mien.render.plane_settings import PlaneSettings
from mien.render.triplane import RayRender
from tests.methods.otavatar.tiny import ball_heads


def batch():
    heads = ball_heads()
    return talking_batch(heads, heads.windows(1), np.arange(3), np.array([[0], [1], [2]]))


def picked(count: int = 200, face: float = 0.5):
    b = batch()
    args = (b.images[:, 0], b.depth[:, 0], b.cameras[:, 0], b.points[:, 0])
    return b, pick_rays(*args, count, face=face, local=5.0, generator=torch.Generator().manual_seed(0))


def test_points_project_onto_the_pixels_whose_rays_pass_them() -> None:
    b = batch()
    rays = eg3d_rays(b.cameras[:, 0, 1], 32)
    chosen = rays.origins[:, 9, 21] + 2.6 * rays.directions[:, 9, 21]
    seen = project(chosen[:, None], b.cameras[:, 0])[:, 1, 0]
    assert torch.allclose(seen, torch.tensor([(21 + 0.5) / 32, (9 + 0.5) / 32]).expand(3, 2), atol=1e-5)


def test_rays_see_what_their_pixels_show() -> None:
    b, target = picked()
    pixel = (target.uv * 32 - 0.5).round().long().view(3, -1, 2)
    view = torch.arange(2).repeat_interleave(200)
    for n in range(3):
        x, y = pixel[n].T
        shown = b.images[n, 0, view, :, y, x]
        assert torch.allclose(target.rgb[n], 2 * shown[:, :3] - 1)
        assert torch.equal(target.opacity[n], shown[:, 3])
    origins, directions = target.rays()
    hit = target.depth.isfinite()
    met = origins + target.depth.nan_to_num(posinf=0.0)[..., None] * directions
    assert float((met.norm(dim=-1)[hit] - 0.3).abs().max()) < 3e-3  # float16


def test_a_share_of_the_rays_falls_on_the_face() -> None:
    _, spread = picked(face=0.0)
    _, focused = picked(face=0.9)
    assert (focused.opacity > 0).float().mean() > (spread.opacity > 0).float().mean() + 0.2


def test_parts_weigh_more_and_the_mean_is_one() -> None:
    b = batch()
    weight = part_weights(b.points[:, 0], b.cameras[:, 0], 32, 5.0)
    assert torch.allclose(weight.mean((2, 3)), torch.ones(3, 2), atol=1e-5)
    middle = project(b.points[:, 0, MOUTH].mean(1, keepdim=True), b.cameras[:, 0])[:, :, 0]
    x, y = (middle * 32).long().unbind(-1)
    n, v = torch.meshgrid(torch.arange(3), torch.arange(2), indexing="ij")
    assert torch.allclose(weight[n, v, y, x] / weight[:, :, 0, 0], torch.tensor(6.0))


def test_guided_samples_lie_around_the_surface() -> None:
    _, target = picked()
    t = guided_distances(target, 2.1, 3.3, 12, generator=torch.Generator().manual_seed(1))
    assert bool((t.diff(dim=-1) >= 0).all())
    assert 2.1 <= float(t.min()) < float(t.max()) <= 3.3
    hit = target.depth.isfinite()
    near = ((t - target.depth.nan_to_num(posinf=0.0)[..., None]).abs() < 0.1).sum(-1)
    assert float(near[hit].float().mean()) > 5.5
    unknown = guided_distances(
        target._replace(depth=torch.full_like(target.depth, torch.nan)), 2.1, 3.3, 12,
        generator=torch.Generator().manual_seed(1),
    )  # fmt: skip
    assert abs(float(unknown.mean()) - 2.7) < 0.02


def test_search_finds_a_wall() -> None:
    """A field that is dense behind z = 0.1 only: the second half of the samples lies at its front."""
    _, target = picked(20)
    planes = torch.zeros(3, 3, 1, 64, 64)
    z = (2 * torch.arange(64) + 1) / 64 - 1  # of plane (x, z): rows are z
    planes[:, 1, 0] = torch.where(z / 2 < 0.1, 30.0, -30.0)[:, None]
    settings = PlaneSettings(limits=(2.1, 3.3), density_scale=20.0)
    t = searched_distances(planes, lambda x: (x, x), target, settings, 40, torch.Generator().manual_seed(0))
    origins, directions = target.rays()
    wall = (0.1 - origins[..., 2]) / directions[..., 2]
    close = ((t - wall[..., None]).abs() < 0.1).float().sum(-1)
    assert float(close.mean()) > 14  # evenly spread they would be 7


def test_losses_are_zero_on_the_truth() -> None:
    _, target = picked()
    target = target._replace(weight=torch.ones_like(target.weight))
    depth = torch.where(target.depth.isfinite(), target.depth, 3.3)
    out = RayRender(target.rgb, depth, target.opacity)
    assert float(ray_loss(out, target).mean()) <= 0.0201  # sqrt(0 + 4e-4)
    assert [float(x) for x in shape_loss(out, target)] == [0.0, 0.0]
    off = out._replace(depth=depth + 0.25, opacity=1 - target.opacity)
    opacity, distance = shape_loss(off, target)
    assert float(opacity) > 0.3
    assert abs(float(distance) - 0.25) < 1e-6
