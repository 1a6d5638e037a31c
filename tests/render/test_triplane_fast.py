from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from mien.core.errors import ConfigError
from mien.render import (
    FastSettings,
    PlaneSettings,
    bake_planes,
    lookat_cam2world,
    pack_camera,
    plane_features,
    premultiply,
    query_planes,
    render_baked,
    render_planes,
)
from mien.render.plane_kernels import raw_density, sigmoid_rows, softplus_rows
from mien.render.triplane import density
from mien.render.triplane_fast import cell_centres, compare, points_read
from tests.render.planes import ellipsoid, wave, worked_camera, worked_decoder

ALL = FastSettings(samples=24, cells=0, leap=1, stop=0.0, dim=0.0)  # leaves nothing out
HEAD = PlaneSettings(limits=(2.2, 3.2), white_back=True)
WIDE = torch.tensor([[3.2, 0, 0.5], [0, 3.2, 0.5], [0, 0, 1]])


def views(*yaws):
    return pack_camera(lookat_cam2world(torch.tensor(yaws), 0.1, 2.7, (0.0, 0.0, 0.0)), WIDE)


def worked_planes():
    return wave(1.5, 0.55, 1, 3, 4, 8, 8)


@pytest.mark.parametrize("aggregate", ["mean", "sum"])
def test_the_first_layer_commutes_with_the_reads(aggregate):
    """W1 mean_k P_k(p) = sum_k (W1 P_k / 3)(p), also past the edge of a plane."""
    decoder, settings = worked_decoder(), PlaneSettings(aggregate=aggregate)
    points = 1.3 * torch.rand(1, 200, 3, generator=torch.Generator().manual_seed(0)) - 0.65
    mixed = premultiply(worked_planes(), decoder, settings)
    assert mixed.shape == (1, 3, 8, 8, 8)
    got = plane_features(mixed, points, PlaneSettings(aggregate="sum"))
    expected = plane_features(worked_planes(), points, settings) @ decoder.w1.T
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)
    slow = torch.einsum("hc,c->h", decoder.w1, worked_planes()[0, 1, :, 2, 5])
    torch.testing.assert_close(mixed[0, 1, :, 2, 5], slow if aggregate == "sum" else slow / 3)


def test_softplus_and_sigmoid_of_the_kernel():
    x = np.linspace(-40, 40, 20001).astype(np.float32)
    soft, sig = x.copy(), x.copy()
    softplus_rows(soft)
    sigmoid_rows(sig)
    wide = x.astype(np.float64)
    assert np.abs(soft - np.logaddexp(0, wide)).max() < 2e-6
    assert np.abs(sig - 1 / (1 + np.exp(-wide))).max() < 1e-6


@pytest.mark.parametrize("axes", ["corrected", "eg3d"])
def test_density_of_the_kernel_equals_the_field(axes):
    planes, decoder = worked_planes(), worked_decoder()
    settings = PlaneSettings(axes=axes, box=1.2)
    field = bake_planes(planes, decoder, settings, ALL)
    points = 1.8 * torch.rand(300, 3, generator=torch.Generator().manual_seed(0)) - 0.9
    out = np.empty(300, np.float32)
    table = {"corrected": ((0, 1), (0, 2), (2, 1)), "eg3d": ((0, 1), (0, 2), (2, 0))}[axes]
    last = np.ascontiguousarray(field.planes[0].permute(0, 2, 3, 1).numpy())
    b1, w2, b2 = (w.numpy() for w in decoder[1:])
    raw_density(last, table, np.float32(1.2), b1, w2, b2, points.numpy(), out)
    expected = query_planes(planes, decoder, points[None], settings)[0][0, :, 0]
    torch.testing.assert_close(torch.from_numpy(out), expected, rtol=0, atol=5e-5)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"axes": "eg3d", "white_back": True},
        {"aggregate": "sum", "jitter": 0.0, "density_scale": 10.0},
        {"limits": "auto", "box": 0.6},
    ],
)
def test_equal_samples_give_the_picture_of_the_oracle(options):
    planes = torch.cat([worked_planes(), wave(1.5, 0.35, 1, 3, 4, 8, 8)])
    decoder = worked_decoder()
    camera = torch.cat([worked_camera(), views(-0.4)])
    settings = PlaneSettings(coarse=24, fine=0, **options)
    with torch.no_grad():
        oracle = render_planes(planes, decoder, camera, (7, 9), settings)
    field = bake_planes(planes, decoder, settings, ALL)
    for backend in ("numba", "torch"):
        got = render_baked(field, camera, (7, 9), backend=backend)
        for name, x, y in zip(got._fields, got, oracle, strict=True):
            torch.testing.assert_close(x, y, rtol=0, atol=1e-4, msg=f"{backend} {name}")


def test_an_empty_field_shows_the_background():
    planes, decoder = ellipsoid(channels=4, hidden=8, side=8)
    dark = decoder._replace(b2=decoder.b2 - 1e4)
    for fast in (FastSettings(), ALL):
        out = render_baked(bake_planes(planes, dark, HEAD, fast), views(0.0), 6)
        assert torch.all(out.rgb == 1)
        assert torch.all(out.opacity == 0)
        assert torch.all(out.depth == out.depth.max())


def test_cells_cover_what_is_dense_and_little_else():
    planes, decoder = ellipsoid()
    fast = FastSettings(cells=20)
    field = bake_planes(planes, decoder, HEAD, fast)
    points = torch.rand(20000, 3, generator=torch.Generator().manual_seed(0)) - 0.5
    sigma = query_planes(planes, decoder, points[None], HEAD)[0][0, :, 0]
    x, y, z = ((points + 0.5) * 20).long().unbind(-1)
    kept = field.cells[0, z, y, x] > 0
    dense = density(sigma) > fast.threshold
    assert bool(kept[dense].all())
    assert 0.1 < float(dense.float().mean()) < float(kept.float().mean()) < 0.35
    by_torch = bake_planes(planes, decoder, HEAD, fast, backend="torch")
    assert float((by_torch.cells != field.cells).float().mean()) < 0.002
    centres = cell_centres(4, 2.0)
    assert centres[1].tolist() == [-0.25, -0.75, -0.75]  # x fastest
    assert centres.shape == (64, 3)


def test_what_is_left_out_is_not_seen():
    """A head-like field: the picture of 48 + 48 samples, of a small share of the points."""
    planes, decoder = ellipsoid()
    camera = views(0.3)
    with torch.no_grad():
        whole = render_planes(planes, decoder, camera, 32, HEAD)
    field = bake_planes(planes, decoder, HEAD)
    got = render_baked(field, camera, 32)
    error = float((got.rgb - whole.rgb).square().mean())
    assert 10 * math.log10(4 / error) > 50
    assert float((got.opacity - whole.opacity).abs().max()) < 0.05
    seen = whole.opacity > 0.99
    assert float((got.depth - whole.depth)[seen].abs().max()) < 0.01
    every = 32 * 32 * FastSettings().samples
    assert points_read(field, camera, 32) < every / 6
    for slower in (FastSettings(leap=1), FastSettings(cells=0), FastSettings(cells=0, leap=1)):
        more = bake_planes(planes, decoder, HEAD, slower)
        assert points_read(more, camera, 32) > points_read(field, camera, 32)
    everything = FastSettings(cells=0, leap=1, stop=0.0)
    assert points_read(bake_planes(planes, decoder, HEAD, everything), camera, 32) == every


@pytest.mark.parametrize("sharp", [4.0, 60.0])
def test_one_bake_serves_every_view_of_every_field(sharp):
    """Two fields of different size in a batch, soft or crisp, from three sides."""
    planes, decoder = ellipsoid(channels=8, hidden=16, sharp=sharp)
    small = ellipsoid(channels=8, hidden=16, sharp=sharp, radii=(0.2, 0.25, 0.2))[0]
    planes = torch.cat([planes, small])
    field = bake_planes(planes, decoder, HEAD)
    assert int(field.cells[1].sum()) < int(field.cells[0].sum())
    for yaw in (-0.6, 0.0, 0.6):
        camera = views(yaw, -yaw)
        with torch.no_grad():
            whole = render_planes(planes, decoder, camera, 16, HEAD)
        error = (render_baked(field, camera, 16).rgb - whole.rgb).square().mean((1, 2, 3))
        assert float(10 * torch.log10(4 / error).min()) > 45


def test_a_camera_of_nan_sees_nothing_and_ends():
    planes, decoder = ellipsoid(channels=4, hidden=8, side=8)
    out = render_baked(bake_planes(planes, decoder, HEAD), torch.full((1, 25), torch.nan), 4)
    assert torch.all(out.opacity == 0)


def test_comparison():
    planes, decoder = ellipsoid(channels=8, hidden=16)
    out = compare(planes, decoder, views(0.2), 16, HEAD, repeats=1)
    assert out.psnr > 45
    assert min(out[:3]) > 0
    assert out.speedup == pytest.approx(out.reference_seconds / (out.bake_seconds + out.fast_seconds))
    assert out.points > FastSettings().cells ** 3 / (16 * 16 * 96)


def test_wrong_input_says_so():
    planes, decoder = worked_planes(), worked_decoder()
    with pytest.raises(ConfigError, match=r"\(B, 3, 4, P, P\)"):
        bake_planes(torch.zeros(1, 3, 5, 8, 8), decoder)
    with pytest.raises(ConfigError, match=r"w2 \(1 \+ F, H\)"):
        bake_planes(planes, decoder._replace(b1=decoder.b1[:3]))
    with pytest.raises(ConfigError, match="disparity"):
        bake_planes(planes, decoder, PlaneSettings(disparity=True))
    with pytest.raises(ConfigError, match="1 fields need"):
        render_baked(bake_planes(planes, decoder, fast=ALL), worked_camera().expand(2, 25), 4)
    for wrong in ({"samples": 1}, {"cells": 1000}, {"leap": 0}, {"refine": 0.0}, {"stop": 1.0}):
        with pytest.raises(ConfigError):
            FastSettings(**wrong)


def test_threads_draw_the_same_bits():
    """A ray is marched by itself, so slices of rays give what all of them give."""
    planes, decoder = ellipsoid()
    threads = torch.get_num_threads()
    drawn = []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            field = bake_planes(planes, decoder, HEAD)
            drawn.append(
                (field.cells, *render_baked(field, views(0.3), 33), points_read(field, views(0.3), 33))
            )
    finally:
        torch.set_num_threads(threads)
    for one, three in zip(*drawn, strict=True):
        assert torch.equal(torch.as_tensor(one), torch.as_tensor(three))
