from __future__ import annotations

import numpy as np
import pytest
import torch

from mien.core.errors import ShapeError
from mien.render.eg3d import eg3d_rays
from mien.synth.orbit import orbit_cameras
from mien.synth.star_faces import EXPRESSIONS, IDENTITIES, landmark_directions
from mien.synth.star_heads import (
    Surface,
    hit_distances,
    landmarks,
    normals,
    outside,
    radius,
    render_stars,
    star_set,
    star_track,
    surface,
)

RADIUS = 0.3


def ball():
    """A sphere: bumps of height 0."""
    return Surface(
        torch.full((1, 3), RADIUS).double(),
        torch.tensor([[[0.0, 0, 1]]]).double(),
        torch.ones(1).double(),
        torch.zeros(1, 1).double(),
    )


def rays(size, yaw=0.4, pitch=0.1):
    seen = eg3d_rays(torch.from_numpy(orbit_cameras(yaw, pitch)).double(), size)
    return [x.flatten(1, 2) for x in seen]


def heads(count, seed=0, **expression):
    rng = np.random.default_rng(seed)
    identity = torch.from_numpy(rng.uniform(-1, 1, (count, len(IDENTITIES))).astype(np.float32))
    how = torch.zeros(count, len(EXPRESSIONS))
    for name, value in expression.items():
        how[:, EXPRESSIONS.index(name)] = torch.as_tensor(value)
    return identity, how


def camera(count, yaw=0.0):
    return torch.from_numpy(orbit_cameras(np.full(count, yaw)))


def test_distances_to_a_sphere_are_exact():
    origins, directions = rays(32)
    middle = -(origins * directions).sum(-1)
    off = origins.square().sum(-1) - middle**2
    true = torch.where(off < RADIUS**2, middle - (RADIUS**2 - off).clamp(min=0).sqrt(), torch.inf)
    found = hit_distances(origins, directions, ball())
    assert (found.isfinite() == true.isfinite()).float().mean() > 0.998
    both = found.isfinite() & true.isfinite()
    assert found[both].numpy() == pytest.approx(true[both].numpy(), abs=1e-5)


def test_the_silhouette_of_a_sphere_has_its_area():
    size = 128
    found = hit_distances(*rays(size, 0.0, 0.0), ball()).isfinite()
    far = 2.7
    seen = (
        3.2 * RADIUS / np.sqrt(far**2 - RADIUS**2)
    )  # tan of the cone that touches it, times the focal length
    assert float(found.sum()) / size**2 == pytest.approx(np.pi * seen**2, rel=0.005)


def test_normals_of_a_sphere_point_outwards():
    points = RADIUS * torch.nn.functional.normalize(torch.randn(1, 20, 3, dtype=torch.float64), dim=-1)
    assert normals(points, ball()).numpy() == pytest.approx(points.numpy() / RADIUS, abs=1e-9)


def test_radius_equals_its_slow_twin():
    identity, how = heads(2, open=0.6, smile=-0.5)
    shape = surface(identity, how)
    u = torch.nn.functional.normalize(torch.randn(2, 5, 3), dim=-1)
    found = radius(u, shape)
    for b, m in np.ndindex(2, 5):
        total = 1 / float(sum((u[b, m, k] / shape.axes[b, k]) ** 2 for k in range(3))) ** 0.5
        for d, q, h in zip(shape.directions[b], shape.sharpness, shape.heights[b], strict=True):
            total += float(h) * np.exp(float(q) * (float(u[b, m] @ d) - 1))
        assert float(found[b, m]) == pytest.approx(total, abs=1e-5)


def test_hits_and_landmarks_lie_on_the_surface():
    identity, how = heads(3, open=0.5)
    shape = surface(identity, how)
    seen = eg3d_rays(camera(3, 0.3), 24)
    origins, directions = (x.flatten(1, 2) for x in seen)
    t = hit_distances(origins, directions, shape)
    points = origins + t.nan_to_num(posinf=0.0)[..., None] * directions
    assert outside(points, shape)[t.isfinite()].abs().max() < 1e-3
    assert outside(landmarks(identity, how), shape).abs().max() < 1e-6
    assert 0.2 < float(t.isfinite().float().mean()) < 0.8


def test_a_turned_head_before_a_turned_camera_looks_the_same_but_for_light():
    identity, how = heads(1, smile=0.5)
    still = render_stars(identity, how, camera(1), 32, ambient=1.0)
    turned = render_stars(identity, how, camera(1, 0.5), 32, turn=0.5, ambient=1.0)
    assert (still.mask == turned.mask).float().mean() > 0.997
    both = still.mask & turned.mask
    assert (still.depth - turned.depth)[both].abs().max() < 1e-3
    assert (still.rgb - turned.rgb)[both].abs().mean() < 1e-3
    lit = [render_stars(identity, how, camera(1, a), 32, turn=a).rgb for a in (0.0, 0.5)]
    assert (lit[0] - lit[1])[both].abs().mean() > 0.01


def test_landmarks_are_in_the_order_of_ibug():
    points = landmarks(*heads(4))
    assert (points[:, 36, 0] < points[:, 39, 0]).all()  # the viewer's left first
    assert (points[:, 39, 0] < points[:, 42, 0]).all()
    assert (points[:, 37, 1] > points[:, 41, 1]).all()
    assert (points[:, 19, 1] > points[:, 37, 1]).all()
    assert (points[:, 51, 1] > points[:, 62, 1]).all()
    assert (points[:, 66, 1] > points[:, 57, 1]).all()
    assert (points[:, 30, 2] > points[:, 27, 2]).all()
    mirrored = {36: 45, 37: 44, 48: 54, 17: 26, 0: 16, 60: 64, 31: 35, 49: 53, 59: 55}
    for a, b in mirrored.items():
        assert points[:, a].numpy() == pytest.approx(points[:, b].numpy() * (-1, 1, 1), abs=1e-6)


@pytest.mark.parametrize(
    ("name", "a", "b", "sign"),
    [
        ("open", 62, 66, 1),
        ("smile", 48, 54, 1),
        ("pucker", 48, 54, -1),
        ("blink", 37, 41, -1),
        ("brow", 19, 36, 1),
    ],
)
def test_an_expression_moves_its_landmarks_steadily(name, a, b, sign):
    how = heads(5, **{name: torch.linspace(0, 1, 5)})[1]
    points = landmarks(heads(1)[0].expand(5, -1), how)
    steps = (points[:, a] - points[:, b]).norm(dim=-1).diff() * sign
    assert (steps > 0).all()


def test_an_open_mouth_is_darker():
    identity, how = heads(1)
    shut = render_stars(identity, how, camera(1), 64).rgb
    wide = render_stars(identity, heads(1, open=1.0)[1], camera(1), 64).rgb
    assert (shut - wide)[0, 38:48, 28:36].mean() > 0.1


def test_a_set_is_the_same_every_time_and_in_parts():
    whole = star_set(2, 2, 2, 16, seed=3, frames=20)
    last = star_set(1, 2, 2, 16, seed=3, first=1, frames=20)
    for a, b in zip(whole[:6], last[:6], strict=True):
        assert np.array_equal(a[1:], b, equal_nan=True)
    assert whole.images.shape == (2, 2, 2, 16, 16, 4)
    solid = whole.images[..., 3] > 0
    assert np.array_equal(solid, np.isfinite(whole.depth))
    assert (whole.images[~solid][:, :3] == 255).all()
    assert whole.points.shape == (2, 2, 68, 3)
    assert whole.names == EXPRESSIONS


def test_tracks_are_smooth_and_within_range():
    track = star_track(7, 200)
    assert track.shape == (200, 6)
    assert (track.min(0) >= [0, -1, -1, 0, 0, -1]).all()
    assert track.max() <= 1
    assert np.abs(np.diff(track, axis=0)).max() < 1.5 * 2 * np.pi * 1.2 / 25
    assert (track.std(0) > 0.05).all()


def test_numbers_of_another_count_are_refused():
    with pytest.raises(ShapeError, match=r"\(B, 12\) and \(B, 6\)"):
        landmark_directions(torch.zeros(2, 12), torch.zeros(3, 6))
