from __future__ import annotations

import logging
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.core.errors import ConfigError
from mien.render import front_back, raster_numpy, rasterize
from mien.render import twin as torch_twin
from mien.render.backends import kernels
from tests.render.meshes import capsule_body, icosphere, triangle

PIXELS = [[3, 3], [3, 4], [4, 3], [4, 4], [5, 2], [5, 3], [5, 4], [5, 5]]


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def exact(screen, faces, height, width, cull="none"):
    """Slow twin: one pixel and one triangle at a time, in fractions; z must be constant on each triangle."""
    out = np.full((height, width), -1, np.int32)
    for i in range(height):
        for j in range(width):
            p, nearest = (j + Fraction(1, 2), i + Fraction(1, 2)), None
            for t, corners in enumerate(faces):
                q = [[Fraction(float(c)) for c in screen[v]] for v in corners]
                area = cross(q[0], q[1], q[2])
                if area == 0 or (cull == "back" and area > 0) or (cull == "front" and area < 0):
                    continue
                weights = [cross(q[1], q[2], p), cross(q[2], q[0], p), cross(q[0], q[1], p)]
                z = q[0][2]
                if all(w / area >= 0 for w in weights) and (nearest is None or z < nearest):
                    nearest, out[i, j] = z, t
    return out


def cross(a, b, c):
    return (b[0] - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (b[1] - a[1])


@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_the_worked_triangle(backend):
    P, F = triangle()
    out = rasterize(P, F, 8, 8, backend=backend)
    assert torch.nonzero(out.face_id[0] >= 0).tolist() == PIXELS
    assert (out.face_id >= 0).double().mean() * 4 == 0.5
    assert out.bary[0, 4, 3].tolist() == [0.1875, 0.375]
    assert float(out.depth[0, 4, 3]) == pytest.approx(0.3875, abs=1e-7)
    assert torch.isinf(out.depth[0, 0, 0])
    assert out.bary[0, 0, 0].tolist() == [0, 0]
    assert (out.face_id.dtype, out.bary.dtype, out.depth.dtype) == (torch.int32, torch.float32, torch.float32)


@pytest.mark.parametrize(("radius", "area"), [(0.5, 0.786133), (0.6, 1.129883)])
def test_area_of_a_sphere(radius, area):
    points, faces = icosphere()
    face_id = rasterize(points[None] * radius, faces, 128, 128).face_id
    assert float((face_id >= 0).double().mean()) * 4 == pytest.approx(area, abs=5e-7)


GRID = st.integers(-8, 40).map(lambda k: k / 4)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(GRID, GRID, GRID, GRID, GRID, GRID, st.integers(0, 3)), min_size=1, max_size=6),
    st.sampled_from(["none", "front", "back"]),
)
def test_equals_the_slow_twin(triangles, cull):
    """Corners on quarter pixels: float32 is exact there, ties and shared edges are common."""
    rows = np.array(triangles)
    screen = np.concatenate([rows[:, :6].reshape(-1, 3, 2), rows[:, 6, None, None].repeat(3, 1)], 2)
    screen = screen.reshape(-1, 3).astype(np.float32)
    faces = np.arange(len(screen), dtype=np.int32).reshape(-1, 3)
    P = np.stack([screen[:, 0] / 4 - 1, 1 - screen[:, 1] / 4, screen[:, 2]], 1)  # 8 x 8 pixels
    P, F = torch.from_numpy(P)[None], torch.from_numpy(faces)
    expected = exact(screen, faces, 8, 8, cull)
    for backend in ("numba", "torch"):
        out = rasterize(P, F, 8, 8, cull=cull, backend=backend)
        assert np.array_equal(out.face_id[0].numpy(), expected)


VALUE = st.one_of(
    st.floats(-1.5, 1.5, width=32),
    st.sampled_from([0.0, -0.0, 0.25, -1.0, 1.0, 1e-30, 1e30, float("inf"), float("-inf"), float("nan")]),
)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(VALUE, VALUE, VALUE), min_size=3, max_size=12),
    st.lists(st.tuples(*[st.integers(0, 2)] * 3), min_size=1, max_size=8),
    st.integers(1, 20),
    st.integers(1, 20),
)
def test_backends_agree_to_the_bit_on_any_floats(points, faces, height, width):
    P = torch.tensor([points], dtype=torch.float32)
    F = torch.tensor(faces, dtype=torch.int32) * (len(points) // 3)
    a = rasterize(P, F, height, width, backend="numba")
    b = rasterize(P, F, height, width, backend="torch")
    assert same(a, b)
    assert torch.isfinite(a.bary).all()
    assert torch.equal(a.face_id >= 0, a.depth < torch.inf)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("size", [(64, 64), (97, 141), (256, 256)])
def test_backends_agree_to_the_bit_on_a_body(seed, size, monkeypatch):
    P, F = capsule_body(seed)
    monkeypatch.setattr(torch_twin, "BLOCK", 1000)  # blocks must not show
    for cull in ("none", "front", "back"):
        assert same(rasterize(P, F, *size, cull=cull), rasterize(P, F, *size, cull=cull, backend="torch"))


def test_backends_agree_on_the_shipped_human():
    from mien.bench.render_speed import frames

    made, faces = frames(1)
    P, F = torch.from_numpy(made[0].points)[None], torch.from_numpy(faces)
    a = rasterize(P, F, 128, 128)
    assert same(a, rasterize(P, F, 128, 128, backend="torch"))
    assert 0.1 < float((a.face_id >= 0).double().mean()) < 0.2


def test_no_gap_along_shared_edges():
    """A fan of slivers around an odd point covers the square without holes."""
    angle = torch.arange(2001, dtype=torch.float64) / 2000 * 2 * torch.pi
    rim = torch.stack([2 * torch.cos(angle), 2 * torch.sin(angle), 0 * angle], 1)
    P = torch.cat([torch.tensor([[0.1234567, -0.0765433, 0.0]], dtype=torch.float64), rim]).float()[None]
    k = torch.arange(1, 2001, dtype=torch.int32)
    F = torch.stack([torch.zeros_like(k), k, k + 1], 1)
    assert (rasterize(P, F, 301, 257).face_id >= 0).all()


def test_ties_keep_the_lower_index_and_order_does_not_matter_else():
    P, F = triangle()
    flat = P * torch.tensor([1, 1, 0])
    for backend in ("numba", "torch"):
        assert int(rasterize(P, torch.cat([F, F]), 16, 16, backend=backend).face_id.max()) == 0
        assert int(rasterize(flat, torch.cat([F, F.flip(1)]), 16, 16, backend=backend).face_id.max()) == 0
    P, F = capsule_body()
    order = torch.randperm(len(F), generator=torch.Generator().manual_seed(0))
    a, b = rasterize(P, F, 96, 96), rasterize(P, F[order], 96, 96)
    torch.testing.assert_close(a.depth, b.depth, rtol=0, atol=1e-6)


def test_front_and_back_of_a_sphere_share_pixels():
    points, faces = icosphere(torch.float32)
    front, back = front_back(points[None] * 0.5 * torch.tensor([1, 1, -1]), faces, 64, 64)
    assert torch.equal(front.face_id >= 0, back.face_id >= 0)
    seen = front.face_id >= 0
    torch.testing.assert_close(front.depth[seen], -back.depth[seen], rtol=0, atol=1e-3)
    assert (front.depth[seen] <= 0).all()
    assert torch.isinf(back.depth[~seen]).all()
    assert (back.depth[~seen] > 0).all()


def test_culling_splits_a_closed_mesh():
    points, faces = icosphere(torch.float32)
    P = points[None] * 0.5 * torch.tensor([1, 1, -1])  # z towards the back, as drawn
    near, far = (rasterize(P, faces, 64, 64, cull=c) for c in ("back", "front"))
    front, back = front_back(P, faces, 64, 64)
    assert torch.equal(near.depth[0, 8:-8, 32], front.depth[0, 8:-8, 32])
    assert (near.face_id != front.face_id).double().mean() < 0.01  # only on the rim
    assert (far.face_id != back.face_id).double().mean() < 0.01


def test_batches_threads_and_repeats_give_the_same():
    P = torch.cat([capsule_body(k)[0] for k in range(4)])
    F = capsule_body()[1]
    a = rasterize(P, F, 80, 60)
    assert same(a, rasterize(P, F, 80, 60, workers=3))
    for b in range(4):
        alone = rasterize(P[b : b + 1], F, 80, 60)
        assert same([t[b : b + 1] for t in a], alone)


def test_a_vertex_behind_the_near_plane_drops_its_triangle():
    P, F = triangle()
    P[0, 1, 2] = torch.inf
    for backend in ("numba", "torch"):
        assert int((rasterize(P, F, 8, 8, backend=backend).face_id >= 0).sum()) == 0


def test_empty_meshes_and_empty_batches():
    P, F = triangle()
    for backend in ("numba", "torch"):
        assert int(rasterize(P, F[:0], 4, 5, backend=backend).face_id.max()) == -1
        assert rasterize(P[:0], F, 4, 5, backend=backend).depth.shape == (0, 4, 5)


def test_drawing_into_shared_buffers():
    screen = np.array([[0, 0, 0.5], [8, 0, 0.5], [0, 8, 0.5]], np.float32)
    faces = np.array([[0, 1, 2]], np.int32)
    zbuf, ids = np.full((8, 8), np.inf, np.float32), np.full((8, 8), -1, np.int32)
    zbuf[0, 0] = 0.1  # something nearer stands there
    raster_numpy(screen, faces, zbuf, ids, 40)
    assert ids[0, 0] == -1
    assert zbuf[0, 0] == np.float32(0.1)
    assert (ids == 40).sum() == 35
    raster_numpy(screen - np.array([0, 0, 0.25], np.float32), faces, zbuf, ids, 50)
    assert (ids == 50).sum() == 35


@pytest.mark.parametrize(("height", "width"), [(0, 8), (8, 0), (16385, 8), (8, -1)])
def test_sizes_out_of_range(height, width):
    with pytest.raises(ConfigError, match=r"1 to 16384"):
        rasterize(*triangle(), height, width)


def test_wrong_input_says_so():
    P, F = triangle()
    for points in (P[0], P[..., :2], P.int()):
        with pytest.raises(ConfigError, match=r"P must be \(B, V, 3\)"):
            rasterize(points, F, 8, 8)
    for faces in (F[0], F.float(), F > 0):
        with pytest.raises(ConfigError, match=r"F must be \(T, 3\)"):
            rasterize(P, faces, 8, 8)
    for bad in (3, -1):
        with pytest.raises(ConfigError, match=rf"face index {bad} is out of range: there are 3 vertices"):
            rasterize(P, torch.tensor([[0, 1, bad]]), 8, 8)
    with pytest.raises(ConfigError, match="cull"):
        rasterize(P, F, 8, 8, cull="both")
    with pytest.raises(ConfigError, match="backend"):
        rasterize(P, F, 8, 8, backend="cuda")


def test_wrong_buffers_say_so():
    screen, faces = np.zeros((3, 3), np.float32), np.array([[0, 1, 2]], np.int32)
    zbuf, ids = np.zeros((4, 4), np.float32), np.zeros((4, 4), np.int32)
    for args, text in (
        ((screen[:, :2], faces, zbuf, ids), "screen"),
        ((screen, faces, zbuf[:2], ids), "zbuf and ids"),
        ((screen.astype(np.float64), faces, zbuf, ids), "float32"),
        ((screen, faces, zbuf.T[:, :3], ids.T[:, :3]), "contiguous"),
        ((screen, faces + 1, zbuf, ids), "out of range"),
    ):
        with pytest.raises(ConfigError, match=text):
            raster_numpy(*args)


def test_without_numba_the_twin_draws_and_says_so_once(monkeypatch, caplog):
    P, F = triangle()
    expected = rasterize(P, F, 8, 8)
    monkeypatch.setitem(sys.modules, "mien.render.kernels", None)
    kernels.cache_clear()
    try:
        with caplog.at_level(logging.WARNING):
            assert same(rasterize(P, F, 8, 8), expected)
            rasterize(P, F, 8, 8)
            zbuf, ids = np.full((8, 8), np.inf, np.float32), np.full((8, 8), -1, np.int32)
            raster_numpy(torch_twin.to_screen(P[0], 8, 8).numpy(), F.numpy(), zbuf, ids, 0)
        assert np.array_equal(ids, expected.face_id[0].numpy())
        assert len(caplog.records) == 1
        assert "pip install numba" in caplog.text
        with pytest.raises(ConfigError, match="numba is not installed"):
            rasterize(P, F, 8, 8, backend="numba")
    finally:
        kernels.cache_clear()


def test_the_kernel_for_arrays_brings_no_torch():
    code = "import sys; from mien.render import raster_numpy; raster_numpy; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
