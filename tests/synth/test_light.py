from __future__ import annotations

import numpy as np
import pytest
import trimesh

from mien.core.errors import ConfigError
from mien.synth.light import (
    Light,
    depth_map,
    direction,
    fibonacci,
    frame_of,
    lit,
    lit_hair,
    sample_light,
    shadow_maps,
    splat_map,
    transfer,
)

CENTRE = np.zeros(3, np.float32)


def ball(radius, at=(0.0, 0.0, 0.0), subdivisions=3):
    mesh = trimesh.creation.icosphere(subdivisions=subdivisions, radius=radius)
    points = (mesh.vertices + np.array(at)).astype(np.float32)
    return points, np.asarray(mesh.faces, np.int32), (mesh.vertices / radius).astype(np.float32)


def key(direction=(0.0, 1.0, 0.0), radius=0.05):
    return Light("studio", (1, 1, 1), (1, 1, 1), (), direction, (1, 1, 1), radius)


def reaches(light, faces_of, at, hair=None):
    maps = shadow_maps(light, *faces_of, hair, 6, 128, 1, CENTRE, 2.0)
    return lit(*map(float, at), maps.mesh, maps.hair, maps.axes, maps.centre, maps.half, 0.03)


def test_fibonacci_directions_are_unit_and_even():
    d = fibonacci()
    np.testing.assert_allclose(np.linalg.norm(d, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(d.mean(0), 0, atol=0.02)
    np.testing.assert_allclose(d.T @ d / len(d), np.eye(3) / 3, atol=0.02)


def test_frames_are_orthonormal():
    for d in [*fibonacci(16), np.array([0, 1.0, 0])]:
        f = frame_of(np.asarray(d, np.float32))
        np.testing.assert_allclose(f @ f.T, np.eye(3), atol=1e-6)
        np.testing.assert_allclose(f[2], d, atol=1e-6)
        assert np.linalg.det(f) == pytest.approx(1, abs=1e-5)


def test_transfer_of_a_ball_in_the_open_sums_to_one():
    points, faces, normals = ball(0.5)
    t = transfer(points, normals, faces, None, None, 112, CENTRE, 2.0)
    assert t.shape == (len(points), 64)
    assert (t >= 0).all()
    assert t.sum(1).mean() == pytest.approx(1, abs=0.02)
    np.testing.assert_allclose(t.sum(1), 1, atol=0.12)
    behind = normals @ fibonacci().T <= 0
    assert not t[behind].any()


def test_irradiance_of_a_uniform_sky_is_the_sky():
    points, faces, normals = ball(0.5)
    sky = Light("studio", (0.3, 0.4, 0.5), (0.3, 0.4, 0.5), (), (0, 1, 0), (1, 1, 1), 0.1).sky(fibonacci())
    got = transfer(points, normals, faces, None, None, 112, CENTRE, 2.0) @ sky
    np.testing.assert_allclose(got.mean(0), [0.3, 0.4, 0.5], rtol=0.02)


def test_transfer_under_a_roof_loses_the_upper_half():
    points, faces, normals = ball(0.3)
    roof, roof_faces, _ = ball(1.2, (0, 1.6, 0))
    every = np.concatenate([points, roof])
    both = np.concatenate([faces, roof_faces + len(points)]).astype(np.int32)
    open_ = transfer(points, normals, faces, None, None, 112, CENTRE, 2.0).sum(1)
    t = transfer(every, np.concatenate([normals, roof]), both, None, None, 224, CENTRE, 4.0)[: len(points)]
    top, bottom = normals[:, 1] > 0.95, normals[:, 1] < -0.95
    assert t.sum(1)[top].mean() < 0.35 * open_[top].mean()
    assert t.sum(1)[bottom].mean() == pytest.approx(open_[bottom].mean(), rel=0.05)


def test_nothing_in_the_way_is_full_light():
    points, faces, normals = ball(0.5)
    light = key()
    for n in normals[normals[:, 1] > 0.5]:
        assert reaches(light, (points, faces), 0.5 * n + 0.02 * n) == pytest.approx(1, abs=1e-3)
    assert reaches(light, (points, faces), (5.0, 0, 0)) == 1  # outside of the maps


def test_behind_a_ball_is_shadow():
    points, faces, _ = ball(0.5)
    assert reaches(key(), (points, faces), (0, -0.8, 0)) < 1e-3
    assert reaches(key(), (points, faces), (0, 0.8, 0)) == pytest.approx(1, abs=1e-6)
    assert reaches(key(), (points, faces), (1.0, -0.8, 0)) == pytest.approx(1, abs=1e-6)
    assert reaches(key((1.0, 0, 0)), (points, faces), (-0.8, 0, 0)) < 1e-3


def test_a_large_light_has_a_soft_edge():
    points, faces, _ = ball(0.5)
    edge = [reaches(key(radius=0.5), (points, faces), (x, -1.0, 0)) for x in np.linspace(0, 1.5, 16)]
    assert edge[0] < 0.05
    assert edge[-1] == pytest.approx(1, abs=1e-3)
    assert sum(0.05 < e < 0.95 for e in edge) >= 3
    hard = [reaches(key(radius=0.0), (points, faces), (x, -1.0, 0)) for x in np.linspace(0, 1.5, 16)]
    assert sum(0.05 < e < 0.95 for e in hard) <= 1


def test_kinds_of_light():
    for kind in ("indoor", "window", "studio", "outdoor", "flash"):
        light = sample_light(3, kind)
        assert light.kind == kind
        assert np.linalg.norm(light.key) == pytest.approx(1)
        assert (light.sky(fibonacci()) > 0).all()
        assert sample_light(3, kind) == light
    assert len({sample_light(k).kind for k in range(60)}) == 5
    flash = sample_light(0, "flash").key
    assert flash[2] > 0.98  # at the camera
    with pytest.raises(ConfigError, match=r"light kind 'moon' is none of indoor"):
        sample_light(0, "moon")


def test_direction_counts_from_the_camera_to_the_subjects_left():
    np.testing.assert_allclose(direction(0, 0), (0, 0, 1))
    np.testing.assert_allclose(direction(np.pi / 2, 0), (1, 0, 0), atol=1e-12)
    np.testing.assert_allclose(direction(0, np.pi / 2), (0, 1, 0), atol=1e-12)


def test_depth_map_of_a_ball():
    points, faces, _ = ball(0.8, subdivisions=4)
    out = np.full((64, 64), -1e9, np.float32)
    depth_map(points, faces, frame_of(np.array([0.3, 0.8, 0.5]) / np.sqrt(0.98)), CENTRE, 1.0, out)
    i, j = np.mgrid[0:64, 0:64]
    r2 = ((i + 0.5) / 32 - 1) ** 2 + ((j + 0.5) / 32 - 1) ** 2
    inside = r2 < 0.75**2
    np.testing.assert_allclose(out[inside], np.sqrt(0.64 - r2[inside]), atol=0.01)
    assert (out[r2 > 0.801**2] == -1e9).all()


def test_splat_map_keeps_the_highest_point_of_a_pixel():
    axes = np.eye(3, dtype=np.float32)
    points = np.array([[0.1, 0.1, 0.2], [0.11, 0.1, 0.5], [-0.6, 0.3, 0.1], [9, 9, 9]], np.float32)
    out = np.full((8, 8), -1e9, np.float32)
    splat_map(points, axes, CENTRE, 1.0, 1, out)
    assert out[4, 4] == np.float32(0.5)
    assert out[5, 1] == np.float32(0.1)
    assert (out > -1).sum() == 2
    some = np.full((8, 8), -1e9, np.float32)
    splat_map(points, axes, CENTRE, 1.0, 2, some)  # every second point
    assert some[4, 4] == np.float32(0.2)


def lit_loop(p, mesh, hair, bias, half):
    """One map along z: bilinear mean of exp(-30 d) behind meshes times exp(-9 x bilinear depth in hair)."""
    n = mesh.shape[1]
    f = (p[:2] + half) * n / (2 * half) - 0.5
    low = np.floor(f).astype(int)
    seen = curl = 0.0
    for a in (0, 1):
        for b in (0, 1):
            w = np.prod(np.where((a, b), f - low, 1 - f + low))
            over = max(0.0, mesh[0, low[1] + b, low[0] + a] - p[2] - bias)
            seen += w * (np.exp(-30 * over) if over < 0.4 else 0.0)
            curl += w * max(0.0, hair[0, low[1] + b, low[0] + a] - p[2] - bias)
    return seen * np.exp(-9 * curl)


def test_light_behind_meshes_and_in_hair_equals_the_loop():
    rng = np.random.default_rng(0)
    mesh, hair = (rng.uniform(-0.3, 0.3, (1, 8, 8)).astype(np.float32) for _ in range(2))
    axes = np.eye(3, dtype=np.float32)[None]
    for p in rng.uniform(-0.8, 0.8, (40, 3)) * [1, 1, 0.3]:
        got = lit(*p, mesh, hair, axes, CENTRE, 1.0, 0.02)
        assert got == pytest.approx(lit_loop(p, mesh, hair, 0.02, 1.0), abs=1e-4)
        i, j = ((p[[1, 0]] + 1) * 4).astype(int)
        over, curl = (max(0.0, m[0, i, j] - p[2] - 0.02) for m in (mesh, hair))
        nearest = np.exp(-30 * over - 9 * curl) if over < 0.4 else 0.0
        assert lit_hair(*p, mesh, hair, axes, CENTRE, 1.0, 0.02) == pytest.approx(nearest, abs=1e-4)
