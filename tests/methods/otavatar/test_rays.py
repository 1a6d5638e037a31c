"""Training rays: they show what their pixels show, and lie where the truth says."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mien.data.talking_loader import talking_batch
from mien.methods.otavatar.rays import (
    MOUTH,
    box_mask,
    contrast,
    look,
    part_mask,
    pick_rays,
    project,
    ray_loss,
    shape_loss,
)
from mien.render.eg3d import eg3d_rays
from mien.render.plane_settings import PlaneSettings
from mien.render.triplane import RayRender
from tests.methods.otavatar.tiny import ball_heads


def batch():
    heads = ball_heads()
    return talking_batch(heads, heads.windows(1), np.arange(3), np.array([[0], [1], [2]]))


def picked(count: int = 200, face: float = 0.5, parts: float = 0.1):
    b = batch()
    args = (b.images[:, 0], b.depth[:, 0], b.cameras[:, 0], b.points[:, 0])
    return b, pick_rays(*args, count, face=face, parts=parts, generator=torch.Generator().manual_seed(0))


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


def test_parts_get_their_share_in_the_boxes_of_the_landmarks() -> None:
    b = batch()
    mask = part_mask(b.points[:, 0], b.cameras[:, 0], 32)
    middle = project(b.points[:, 0, MOUTH].mean(1, keepdim=True), b.cameras[:, 0])[:, :, 0]
    x, y = (middle * 32).long().unbind(-1)
    n, v = torch.meshgrid(torch.arange(3), torch.arange(2), indexing="ij")
    assert bool(mask[n, v, y, x].all())
    assert not bool(mask[:, :, 0].any())
    _, target = picked(20, face=0.0, parts=1.0)
    pixel = (target.uv * 32 - 0.5).round().long()
    hit = mask[n[..., None], v[..., None], pixel[..., 1], pixel[..., 0]]
    assert bool(hit.all())


def test_contrast_is_high_on_what_is_small_and_zero_on_what_is_flat() -> None:
    images = torch.full((1, 2, 3, 28, 28), 0.75)
    images[0, 1, :, 14, 14] = 0.0
    found = contrast(images)
    assert float(found[0, 0].max()) < 1e-6
    assert float(found[0, 1, 14, 14]) == pytest.approx(0.75 * 8 / 9, abs=1e-5)
    assert float(found[0, 1, 13, 13]) == pytest.approx(0.75 / 9, abs=1e-5)
    assert float(found[0, 1, 11].max()) < 1e-6


def test_a_share_of_the_rays_falls_on_contrast_within_the_parts() -> None:
    b = batch()
    images = b.images[:, 0].clone()
    images[:, :, :3] = 0.5
    x, y = (
        (project(b.points[:, 0, MOUTH].mean(1, keepdim=True), b.cameras[:, 0])[:, :, 0] * 32)
        .long()
        .unbind(-1)
    )
    n, v = torch.meshgrid(torch.arange(3), torch.arange(2), indexing="ij")
    images[n, v, :3, y, x] = 0.0
    args = (images, b.depth[:, 0], b.cameras[:, 0], b.points[:, 0], 9)
    target = pick_rays(*args, face=0.0, parts=0.0, detail=1.0, generator=torch.Generator().manual_seed(0))
    off = (target.uv * 32 - 0.5).round() - torch.stack([x, y], -1)[:, :, None]
    assert float(off.abs().max()) <= 1
    assert bool((target.rgb == -1).all(-1).view(3, 2, 9).any(-1).all())


def test_a_view_that_shows_neither_face_nor_parts_still_gives_rays() -> None:
    b = batch()
    images = b.images[:, 0].clone()
    images[:, :, 3] = 0
    away = b.points[:, 0] + 10
    args = (images, b.depth[:, 0], b.cameras[:, 0], away, 20)
    target = pick_rays(*args, face=0.5, parts=0.5, generator=torch.Generator().manual_seed(0))
    assert target.uv.shape == (3, 2, 20, 2)
    assert bool(((target.uv > 0) & (target.uv < 1)).all())


def test_a_box_holds_its_points_and_the_margin() -> None:
    mask = box_mask(torch.tensor([[0.25, 0.5], [0.5, 0.5]]), 8, margin=0.13)
    assert mask.any(0).tolist() == [False] * 1 + [True] * 4 + [False] * 3
    assert mask.any(1).tolist() == [False] * 3 + [True] * 2 + [False] * 3


def test_what_is_looked_at_is_a_wall_of_the_field() -> None:
    """A field that is dense behind z = 0.1 only: rays end there, wherever the truth is."""
    _, target = picked(20)
    planes = torch.zeros(3, 3, 1, 64, 64)
    z = (2 * torch.arange(64) + 1) / 64 - 1  # of plane (x, z): rows are z
    planes[:, 1, 0] = torch.where(z / 2 < 0.1, 30.0, -30.0)[:, None]
    settings = PlaneSettings(limits=(2.1, 3.3), density_scale=20.0)

    def decoder(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x - 5, x.expand(-1, -1, 3)  # outside of the planes x = 0: empty

    generator = torch.Generator().manual_seed(0)
    out = look(planes, decoder, target, settings, 64, generator)
    origins, directions = target.rays()
    wall = (0.1 - origins[..., 2]) / directions[..., 2]
    at = origins + wall[..., None] * directions
    inside = at.abs().amax(-1) < 0.4
    assert float(inside.float().mean()) > 0.3
    assert float((out.depth - wall).abs()[inside].mean()) < 0.03
    again = look(planes, decoder, target, settings, 64)
    same = look(planes, decoder, target, settings, 64)
    assert torch.equal(again.depth, same.depth)


def test_the_square_makes_up_for_rare_large_errors() -> None:
    """Of skin 0 with an eye 1 in 1 of 4 places: |d| is least at 0, with the square the best lies above."""
    _, target = picked()
    rgb = torch.zeros_like(target.rgb)
    rgb[:, ::4] = 1.0
    seen = target._replace(rgb=rgb)
    levels = torch.linspace(0, 1, 101)

    def best(squared: float) -> float:
        found = [
            float(
                ray_loss(
                    RayRender(torch.full_like(rgb, float(v)), target.depth, target.opacity), seen, squared
                )[0]
            )
            for v in levels
        ]
        return float(levels[int(np.argmin(found))])

    assert best(0.0) < 0.02
    share = float((rgb == 1).float().mean())
    assert best(1e3) == pytest.approx(share, abs=0.011)  # the mean


def test_losses_are_zero_on_the_truth() -> None:
    _, target = picked()
    depth = torch.where(target.depth.isfinite(), target.depth, 3.3)
    out = RayRender(target.rgb, depth, target.opacity)
    assert float(ray_loss(out, target).mean()) <= 0.0201  # sqrt(0 + 4e-4)
    assert [float(x) for x in shape_loss(out, target)] == [0.0, 0.0]
    off = out._replace(depth=depth + 0.25, opacity=1 - target.opacity)
    opacity, distance = shape_loss(off, target)
    assert float(opacity) > 0.3
    assert abs(float(distance) - 0.25) < 1e-6
