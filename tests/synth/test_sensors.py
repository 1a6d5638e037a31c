from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mien.core.errors import ConfigError
from mien.synth.sensors import (
    REFLECTANCE,
    Scene,
    Sensor,
    depth_picture,
    facing,
    jpeg,
    plane_residual,
    surface_normals,
)

SIDE, FOCAL = 64, 80.0
EXACT = {"depth_noise": (0.0, 0.0), "depth_step": 1e-9}
X, Y = np.meshgrid(np.arange(16.0), np.arange(16.0))
V, U = np.mgrid[0:SIDE, 0:SIDE] + 0.5


def wall(z=0.6, rho=0.5, scatter=0.0, rgb=0.5, focal=FOCAL):
    """A surface of a depth (a number or a map) that fills the picture."""
    full = np.ones((SIDE, SIDE))
    color = np.full((SIDE, SIDE, 3), rgb)
    return Scene(color, z * full, rho * full, 0 * full, scatter * full, full > 0, focal, "live")


def tilted(degrees, z0=0.6, focal=FOCAL):
    """Depth of a plane that turns about the vertical axis through the centre."""
    return z0 / (1 - np.tan(np.radians(degrees)) * (U - SIDE / 2) / focal)


# -- the plane that a print is ------------------------------------------------------------------------------


def test_plane_residual_of_a_plane_a_parabola_and_a_face():
    """The worked numbers of the method page, x and y = column and row 0 .. 15."""
    full = np.ones((16, 16), bool)
    plane = 0.6 + 0.01 * X - 0.005 * Y
    assert plane_residual(plane, full) < 1e-12
    assert plane_residual(plane + 0.0004 * (X - 7.5) ** 2, full) == pytest.approx(0.00755778, abs=5e-9)
    root = 1 - ((X - 7.5) / 9) ** 2 - ((Y - 7.5) / 11) ** 2
    there = root >= 0
    assert there.sum() == 248
    head = 0.6 - 0.09 * np.sqrt(np.maximum(root, 0))
    assert plane_residual(head, there) == pytest.approx(0.0176278, abs=5e-8)


@pytest.mark.parametrize(("w", "radius"), [(0.08, 0.3), (0.05, 0.1)])
def test_residual_of_a_bent_print_is_a_share_of_its_sagitta(w, radius):
    x = np.linspace(-w, w, 2001)[None] * np.ones((3, 1))
    got = plane_residual(x**2 / (2 * radius), np.ones(x.shape, bool))
    assert got == pytest.approx(0.298142 * w**2 / (2 * radius), rel=2e-3)
    if radius == 0.3:
        assert got == pytest.approx(0.0032, abs=5e-5)


@pytest.mark.parametrize("seed", range(5))
def test_a_flat_print_stays_flat_through_the_sensor(seed):
    z = tilted(10 * seed - 20)
    depth = Sensor.device(seed).capture(wall(z, 0.85), seed).depth
    assert (depth > 0).mean() > 0.99
    assert plane_residual(1 / np.maximum(depth, 1e-3), depth > 0) * 0.6**2 < 0.004  # planes are flat in 1 / z
    straight = Sensor.device(seed).capture(wall(0.6, 0.85), seed).depth
    assert plane_residual(straight, straight > 0) < 0.004


# -- geometry -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("degrees", [0, 30, -45, 60])
def test_normals_of_tilted_planes(degrees):
    a = np.radians(degrees)
    n = surface_normals(tilted(degrees), FOCAL)
    np.testing.assert_allclose(n, np.tile([np.sin(a), 0, np.cos(a)], (SIDE, SIDE, 1)), atol=1e-6)


def test_facing_is_the_cosine_to_the_ray():
    c = facing(np.full((SIDE, SIDE), 0.7), FOCAL)
    ray = np.sqrt(1 + ((U - 32) / FOCAL) ** 2 + ((V - 32) / FOCAL) ** 2)
    np.testing.assert_allclose(c, 1 / ray, atol=1e-6)


# -- depth --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("z", [0.4, 0.6, 1.0, 1.5])
def test_depth_noise_grows_with_distance(z):
    """sigma = .0012 + .0019 (z - .4)^2."""
    sensor = Sensor(depth_step=1e-7)
    d = np.stack([sensor.capture(wall(z, 0.85), k).depth for k in range(12)])
    assert (d > 0).all()
    assert d.std() == pytest.approx(0.0012 + 0.0019 * (z - 0.4) ** 2, rel=0.05)
    assert d.mean() == pytest.approx(z, abs=2e-4)


def test_depth_comes_in_millimetres():
    d = Sensor().capture(wall(0.6), 0).depth
    assert d.dtype == np.float32
    np.testing.assert_allclose(d * 1000, np.round(d * 1000), atol=1e-4)
    coarse = Sensor(depth_step=0.01).capture(wall(0.6), 0).depth
    np.testing.assert_allclose(coarse * 100, np.round(coarse * 100), atol=1e-4)


def test_steep_surfaces_are_holes():
    for degrees, there in ((60, 1), (72, 1), (78, 0), (84, 0)):  # the limit is 75
        scene = wall(tilted(degrees, focal=2000.0), 0.85, focal=2000.0)
        depth = Sensor(**EXACT).capture(scene, 0).depth
        assert (depth > 0).mean() == there, degrees


def test_dark_or_far_surfaces_are_holes():
    for scene, there in ((wall(0.6, 0.5), 1), (wall(0.6, 0.01), 0), (wall(4.0, 0.5), 0), (wall(np.inf), 0)):
        assert (Sensor(**EXACT).capture(scene, 0).depth > 0).mean() == there


@pytest.mark.parametrize("flying", [0.0, 1.0, 0.5])
def test_pixels_on_an_edge_fly_or_are_lost(flying):
    step = np.where(U < 32, 0.5, 0.9)
    d = Sensor(**EXACT, flying=flying).capture(wall(step, 0.9), 0).depth
    edge = d[:, 31:33]
    sides = np.delete(d, [31, 32], 1)
    np.testing.assert_allclose(sides, np.delete(step, [31, 32], 1), atol=1e-6)  # others are right
    assert (edge > 0).mean() == pytest.approx(flying, abs=0.12)
    flown = edge[edge > 0]
    assert ((flown > 0.499) & (flown < 0.901)).all()
    if flying:
        assert ((flown > 0.51) & (flown < 0.89)).mean() > 0.8


# -- infrared -----------------------------------------------------------------------------------------------


def test_infrared_orders_materials():
    """Screen < hair < skin < paper on a plane facing the camera, each at the middle of its range."""
    for seed in range(6):
        level = [
            Sensor.device(seed).capture(wall(0.6, np.mean(REFLECTANCE[m])), seed).ir.mean()
            for m in ("screen", "hair", "skin", "paper")
        ]
        assert (np.diff(level) > 0.05).all()


def test_infrared_falls_off_with_the_square_of_distance():
    quiet = Sensor(ir_ambient=0.0)
    level = {z: quiet._returned(wall(z))[32, 32] for z in (0.3, 0.6, 1.2)}
    assert level[0.3] == pytest.approx(4 * level[0.6], rel=1e-3)
    assert level[1.2] == pytest.approx(level[0.6] / 4, rel=1e-3)
    assert level[0.6] == pytest.approx(0.5, abs=1e-3)
    measured = [np.mean([quiet.capture(wall(z, 0.4), k).ir.mean() for k in range(4)]) for z in (0.6, 1.2)]
    assert measured[0] / measured[1] == pytest.approx(4, rel=0.05)


def test_infrared_falls_with_the_cosine():
    quiet = Sensor(ir_ambient=0.0)
    straight, turned = (quiet._returned(wall(tilted(a)))[32, 32] for a in (0, 60))
    assert turned / straight == pytest.approx(0.5, abs=0.02)


def test_light_spreads_inside_skin_only():
    rho = np.where((U.astype(int) // 2) % 2, 0.8, 0.2)
    sharp = Sensor()._returned(wall(0.3, rho))
    soft = Sensor()._returned(wall(0.3, rho, scatter=0.01))
    assert soft.std() < 0.3 * sharp.std()
    assert soft.mean() == pytest.approx(sharp.mean(), rel=0.02)


# -- colour and devices -------------------------------------------------------------------------------------


def test_same_seed_same_capture():
    scene, sensor = wall(0.6), Sensor()
    a, b, c = sensor.capture(scene, 1), sensor.capture(scene, 1), sensor.capture(scene, 2)
    for name in ("rgb", "depth", "ir"):
        assert np.array_equal(getattr(a, name), getattr(b, name)), name
        assert not np.array_equal(getattr(a, name), getattr(c, name)), name
    assert a.rgb.shape == (SIDE, SIDE, 3)
    assert a.rgb.dtype == np.uint8
    assert a.ir.min() >= 0
    assert a.ir.max() <= 1


def test_devices_are_fixed_by_their_number():
    assert Sensor.device(3) == Sensor.device(3)
    every = [Sensor.device(k) for k in range(30)]
    assert len(set(every)) == 30
    assert all(72 <= s.jpeg <= 96 and 0.3 <= s.blur <= 0.9 for s in every)


def test_colour_without_noise_is_the_picture():
    plain = Sensor(blur=0.01, noise=0, shot=1e9, jpeg=0, exposure=0, contrast=0, tint=0)
    got = plain.capture(wall(rgb=0.5), 0).rgb
    assert np.abs(got.astype(int) - 128).max() <= 1
    warm = replace(plain, balance=(1.1, 0.9)).capture(wall(), 0).rgb
    assert warm[..., 0].mean() > got[..., 0].mean() + 3
    assert warm[..., 2].mean() < got[..., 2].mean() - 3


def test_exposure_spreads_brightness():
    spread = {
        e: np.std([Sensor(exposure=e, tint=0).capture(wall(), k).rgb.mean() for k in range(12)])
        for e in (0, 0.3)
    }
    assert spread[0] < 1 < 5 < spread[0.3]


@pytest.mark.parametrize(
    "bad", [{"jpeg": 101}, {"jpeg": -1}, {"depth_step": 0.0}, {"shot": 0.0}, {"distance": -1.0}]
)
def test_values_that_no_device_has_are_refused(bad):
    with pytest.raises(ConfigError, match=r"sensor: jpeg=.* must be 0 \.\. 100, depth_step=.* positive"):
        Sensor(**bad)


def test_jpeg_loses_with_quality():
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    loss = [np.abs(jpeg(image, q).astype(float) - image).mean() for q in (95, 60, 10)]
    assert loss[0] < loss[1] < loss[2]
    assert jpeg(image, 50).shape == image.shape


def test_depth_picture():
    depth = np.zeros((10, 10))
    assert not depth_picture(depth).any()
    depth[:] = np.linspace(0.5, 0.8, 100).reshape(10, 10)
    depth[0, 5] = 0
    got = depth_picture(depth, 0.25)
    assert got.dtype == np.uint8
    assert got[0, 5] == 0
    assert got[0, 0] == 255
    assert (np.diff(got[depth > 0].astype(int)) <= 0).all()  # nearer is brighter
    assert not got[depth > 0.76].any()
    near = np.percentile(depth[depth > 0], 1)
    assert got[5, 5] == int(255 - 254 * (depth[5, 5] - near) / 0.25)
