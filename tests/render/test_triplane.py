from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from mien.core.errors import ConfigError
from mien.render import (
    PlaneDecoder,
    PlaneSettings,
    eg3d_rays,
    plane_features,
    project_to_planes,
    query_planes,
    render_planes,
    render_rays,
    sample_planes,
)
from tests.render.planes import wave, worked_camera, worked_decoder

EG3D = PlaneSettings(axes="eg3d", pdf="eg3d", coarse=8, fine=8)
OURS = PlaneSettings(coarse=8, fine=8)
AXES = {"corrected": ((0, 1), (0, 2), (2, 1)), "eg3d": ((0, 1), (0, 2), (2, 0))}


def close(got, expected, tol=2e-6):
    torch.testing.assert_close(got, torch.tensor(expected), rtol=0, atol=tol)
    return True


def slow_read(plane, u, v):
    """One bilinear read of (C, P, P), corner by corner, zeros outside."""
    side = plane.shape[-1]
    x, y = ((u + 1) * side - 1) / 2, ((v + 1) * side - 1) / 2
    total = torch.zeros(plane.shape[0], dtype=plane.dtype)
    for i in (math.floor(y), math.floor(y) + 1):
        for j in (math.floor(x), math.floor(x) + 1):
            if 0 <= i < side and 0 <= j < side:
                total += (1 - abs(x - j)) * (1 - abs(y - i)) * plane[:, i, j]
    return total


def slow_features(planes, point, axes, box=1.0):
    reads = [
        slow_read(planes[k], 2 * point[a] / box, 2 * point[b] / box) for k, (a, b) in enumerate(AXES[axes])
    ]
    return sum(reads) / 3


def test_worked_projection():
    got = project_to_planes(torch.tensor([[[0.1, -0.2, 0.3]]]), "eg3d", box=2.0)[0, :, 0]
    assert close(got, [[0.1, -0.2], [0.1, 0.3], [0.3, 0.1]])
    fixed = project_to_planes(torch.tensor([[[0.1, -0.2, 0.3]]]), box=2.0)[0, :, 0]
    assert close(fixed, [[0.1, -0.2], [0.1, 0.3], [0.3, -0.2]])


@pytest.mark.parametrize(
    ("axes", "expected"),
    [
        ("eg3d", [[0.013230, 0.137083], [-0.197349, -0.069968], [0.052909, 0.161791], [0, 0]]),
        (
            "corrected",
            [[0.013230, 0.137083], [-0.423164, -0.413863], [0.402617, 0.336776], [-0.210078, 0.160328]],
        ),
    ],
)
def test_worked_sampling(axes, expected):
    points = torch.tensor([[[0.0, 0, 0], [0.1, -0.2, 0.3], [0.45, -0.45, 0.2], [0.7, 0, 0]]])
    got = plane_features(wave(1, 0.55, 1, 3, 2, 5, 5), points, PlaneSettings(axes=axes))
    assert close(got[0], expected)


@pytest.mark.parametrize("axes", ["corrected", "eg3d"])
def test_sampling_equals_the_slow_twin(axes):
    g = torch.Generator().manual_seed(0)
    planes = torch.randn(2, 3, 4, 6, 6, generator=g, dtype=torch.float64)
    points = 1.6 * torch.rand(2, 30, 3, generator=g, dtype=torch.float64) - 0.8
    got = plane_features(planes, points, PlaneSettings(axes=axes, box=1.2))
    total = plane_features(planes, points, PlaneSettings(axes=axes, box=1.2, aggregate="sum"))
    torch.testing.assert_close(total, 3 * got)
    for b in range(2):
        for m in range(30):
            expected = slow_features(planes[b], points[b, m].tolist(), axes, 1.2)
            torch.testing.assert_close(got[b, m], expected)


def test_constant_and_linear_planes():
    inside = 0.8 * (torch.rand(1, 20, 3, generator=torch.Generator().manual_seed(0)) - 0.5)
    close(plane_features(torch.full((1, 3, 2, 8, 8), 0.7), inside), [[[0.7, 0.7]] * 20])
    ramp = torch.zeros(1, 3, 1, 8, 8)
    ramp[0, 0, 0] = (2 * torch.arange(8) + 1) / 8 - 1  # texel centres
    got = plane_features(ramp, inside, PlaneSettings(aggregate="sum"))
    torch.testing.assert_close(got[..., 0], 2 * inside[..., 0])


def test_texels_and_outside():
    planes = wave(1, 0.55, 1, 3, 2, 5, 5)
    centres = (2 * torch.arange(5) + 1) / 5 - 1
    v, u = torch.meshgrid(centres, centres, indexing="ij")
    uv = torch.stack([u, v], -1).reshape(1, 1, 25, 2).expand(1, 3, 25, 2)
    torch.testing.assert_close(sample_planes(planes, uv), planes.flatten(3).transpose(2, 3))
    edge = 0.5 * (1 + 1 / 5)
    two = torch.tensor([[[edge, edge, 0.0], [0.1, edge, -edge], [edge, 0.2, edge]]])
    assert float(plane_features(planes, two).abs().max()) == 0
    one = torch.tensor([[[edge, 0.1, 0.2]]])  # the plane without x still sees it
    assert float(plane_features(planes, one).abs().min()) > 0


def test_released_planes_hold_one_plane_twice():
    """Transposing plane 3 and adding it to plane 2 gives the released field, not the corrected one."""
    planes = torch.randn(1, 3, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    moved = planes.clone()
    moved[:, 1] += planes[:, 2].mT
    moved[:, 2] = 0
    points = torch.rand(1, 40, 3, generator=torch.Generator().manual_seed(1)) - 0.5
    released = PlaneSettings(axes="eg3d")
    torch.testing.assert_close(
        plane_features(planes, points, released), plane_features(moved, points, released)
    )
    gap = plane_features(planes, points) - plane_features(moved, points)
    assert float(gap.abs().max()) > 0.1


@pytest.mark.parametrize(
    ("settings", "mean", "std", "depth", "opacity"),
    [
        (PlaneSettings(axes="eg3d", coarse=8, fine=0), -0.106717, 0.144618, 2.732571, 0.667023),
        (EG3D, -0.103084, 0.145219, 2.728615, 0.675005),
        (OURS, -0.116997, 0.151543, 2.686137, 0.555799),
        (PlaneSettings(coarse=8, fine=0), -0.118247, 0.150503, 2.694768, 0.551526),
    ],
)
def test_worked_renderer(settings, mean, std, depth, opacity):
    out = render_planes(wave(1.5, 0.55, 1, 3, 4, 8, 8), worked_decoder(), worked_camera(), 4, settings)
    assert float(out.features.mean()) == pytest.approx(mean, abs=2e-6)
    assert float(out.features.std(correction=0)) == pytest.approx(std, abs=2e-6)
    assert float(out.depth[0, 0, 0, 0]) == pytest.approx(depth, abs=2e-6)
    assert float(out.opacity[0, 0, 0, 0]) == pytest.approx(opacity, abs=2e-6)
    assert torch.equal(out.rgb, out.features[:, :3])
    if settings.axes == "eg3d" and not settings.fine:
        close(out.features[0, :, 0, 0], [-0.147147, -0.150616, -0.158337, -0.134377])


def constant(sigma, colour):
    """A field of one density and one colour everywhere."""

    def decoder(x):
        return torch.full_like(x[..., :1], sigma), torch.full_like(x[..., :3], colour)

    return decoder


PLANES = torch.zeros(1, 3, 3, 4, 4)


@pytest.mark.parametrize("count", [2, 8, 31])
@pytest.mark.parametrize(("sigma", "opacity", "value"), [(3, 0.892823, -0.553588), (-1, 0.124775, -0.937612)])
def test_constant_field(count, sigma, opacity, value):
    """W = 1 - exp(-softplus(s - 1) L) whatever the number of samples; no jitter, so L = t1 - t0."""
    settings = PlaneSettings(coarse=count, fine=0, jitter=0.0)
    out = render_planes(PLANES, constant(sigma, 0.25), worked_camera(), 2, settings)
    assert close(out.opacity, [[[[opacity] * 2] * 2]])
    assert close(out.rgb, [[[[value] * 2] * 2] * 3])


def test_empty_and_opaque():
    settings = PlaneSettings(coarse=8, fine=8)
    for white, value in ((False, -1.0), (True, 1.0)):
        back = PlaneSettings(coarse=8, fine=8, white_back=white)
        out = render_planes(PLANES, constant(-40, 0.3), worked_camera(), 2, back)
        assert torch.all(out.rgb == value)
        assert float(out.opacity.max()) < 1e-6
        assert torch.allclose(out.depth, out.depth.max())
        assert float(out.depth.max()) > 3.3  # the jittered last sample
    wall = render_planes(PLANES, constant(1e5, 0.3), worked_camera(), 2, settings)
    close(wall.rgb, [[[[-0.4] * 2] * 2] * 3], 1e-5)
    first = 2.25 + 1.05 / 7 / 2
    assert float(wall.depth.min()) < first + 1.05 / 7
    assert float(wall.depth.min()) >= first


def test_scaled_density_is_the_same_as_a_longer_way():
    short = PlaneSettings(coarse=9, fine=0, jitter=0.0, density_scale=2.0)
    out = render_planes(PLANES, constant(0.5, 0.2), worked_camera(), 1, short)
    rho = 2 * math.log1p(math.exp(-0.5))
    assert float(out.opacity) == pytest.approx(1 - math.exp(-rho * 1.05), abs=2e-6)


def test_chunks_and_whole_pictures_agree():
    planes = torch.cat([wave(1.5, 0.55, 1, 3, 4, 8, 8), wave(1.5, 0.35, 1, 3, 4, 8, 8)])
    camera = worked_camera().expand(2, 25)
    for deterministic in (True, False):
        a, b = (
            render_planes(
                planes,
                worked_decoder(),
                camera,
                (3, 5),
                PlaneSettings(coarse=6, fine=6, chunk=chunk),
                deterministic=deterministic,
                generator=torch.Generator().manual_seed(3),
            )
            for chunk in (4, 1000)
        )
        for x, y in zip(a, b, strict=True):
            torch.testing.assert_close(x, y, rtol=0, atol=1e-6)
    assert a.features.shape == (2, 4, 3, 5)
    assert a.depth.shape == (2, 1, 3, 5)


def test_rays_of_a_picture_are_its_pixels():
    planes, camera = wave(1.5, 0.55, 1, 3, 4, 8, 8), worked_camera()
    picture = render_planes(planes, worked_decoder(), camera, 4, OURS)
    rays = eg3d_rays(camera, 4)
    some = torch.tensor([1, 7, 12])
    out = render_rays(planes, worked_decoder(), *(x.flatten(1, 2)[:, some] for x in rays), OURS)
    torch.testing.assert_close(out.features[0], picture.features.flatten(2)[0].T[some], rtol=0, atol=1e-6)
    torch.testing.assert_close(out.opacity[0], picture.opacity.flatten()[some], rtol=0, atol=1e-6)


def test_drawn_samples_differ_from_call_to_call_and_agree_on_average():
    planes, camera = wave(1.5, 0.55, 1, 3, 4, 8, 8), worked_camera()
    settings = PlaneSettings(coarse=24, fine=24)
    g = torch.Generator().manual_seed(0)
    drawn = [
        render_planes(planes, worked_decoder(), camera, 4, settings, deterministic=False, generator=g).rgb
        for _ in range(12)
    ]
    fixed = render_planes(planes, worked_decoder(), camera, 4, settings).rgb
    assert float((drawn[0] - drawn[1]).abs().max()) > 1e-4
    assert float((torch.stack(drawn).mean(0) - fixed).abs().max()) < 0.02


def test_auto_limits_follow_the_box():
    """A constant field inside the box: W = 1 - exp(-rho (leave - enter)), ray by ray."""
    camera = worked_camera()
    settings = PlaneSettings(coarse=12, fine=0, jitter=0.0, limits="auto", box=0.4)
    out = render_planes(PLANES, constant(1.0, 0.5), camera, 9, settings)
    rho = math.log(2)
    rays = eg3d_rays(camera, 9)
    o, d = rays.origins.reshape(-1, 3), rays.directions.reshape(-1, 3)
    hit = 0
    for k in range(81):
        ends = sorted(((s * 0.2 - o[k]) / d[k]).tolist() for s in (-1, 1))
        lows = [min(p, q) for p, q in zip(*ends, strict=True)]
        highs = [max(p, q) for p, q in zip(*ends, strict=True)]
        if max(lows) < min(highs):
            hit += 1
            expected = 1 - math.exp(-rho * (min(highs) - max(lows)))
            assert float(out.opacity.flatten()[k]) == pytest.approx(expected, abs=1e-5)
    assert 10 < hit < 81
    away = camera.clone()
    away[0, :16] = torch.eye(4).flatten()  # looks along +z from far behind the box
    away[0, 11] = 5.0
    lost = render_planes(PLANES, constant(-40.0, 0.5), away, 3, settings)
    assert torch.isfinite(lost.depth).all()


def test_gradients_in_float64():
    g = torch.Generator().manual_seed(0)
    planes = torch.randn(1, 3, 2, 4, 4, generator=g, dtype=torch.float64, requires_grad=True)
    weights = [
        torch.randn(*shape, generator=g, dtype=torch.float64, requires_grad=True)
        for shape in ((3, 2), (3,), (3, 3), (3,))
    ]
    camera = worked_camera().double()
    settings = PlaneSettings(coarse=4, fine=0)

    def look(planes, *weights):
        return tuple(render_planes(planes, PlaneDecoder(*weights), camera, 2, settings))

    assert torch.autograd.gradcheck(look, (planes, *weights))


def test_no_gradient_through_where_the_second_pass_looks():
    """With the fine places held, both passes' gradient is that of the places as constants."""
    planes = wave(1.5, 0.55, 1, 3, 4, 8, 8).requires_grad_()
    out = render_planes(planes, worked_decoder(), worked_camera(), 3, OURS)
    out.rgb.sum().backward()
    assert torch.isfinite(planes.grad).all()
    assert float(planes.grad.abs().max()) > 0
    with torch.no_grad():
        again = render_planes(planes, worked_decoder(), worked_camera(), 3, OURS)
    torch.testing.assert_close(out.rgb.detach(), again.rgb, rtol=0, atol=2e-6)  # both backends of the march


def test_repeated_samples_add_nothing():
    """density x 0 = 0: doubling every sample leaves the sums."""
    from mien.render import march

    g = torch.Generator().manual_seed(0)
    t = torch.rand(5, generator=g).cumsum(0)
    sigma, rgb = torch.randn(5, generator=g), torch.rand(5, 3, generator=g)
    a = march(sigma, rgb, t, density=F.softplus)
    double = [x.repeat_interleave(2, 0) for x in (sigma, rgb, t)]
    b = march(*double, density=F.softplus)
    torch.testing.assert_close(a.rgb, b.rgb)
    assert torch.all(b.weights[::2] == 0)


def test_query_equals_the_decoder_by_hand():
    planes, decoder = wave(1.5, 0.55, 1, 3, 4, 8, 8), worked_decoder()
    point = torch.tensor([[[0.1, -0.2, 0.3]]])
    sigma, features = query_planes(planes, decoder, point)
    x = slow_features(planes[0], [0.1, -0.2, 0.3], "corrected")
    hidden = [
        math.log1p(math.exp(sum(float(w * v) for w, v in zip(row, x, strict=True)) + float(b)))
        for row, b in zip(decoder.w1, decoder.b1, strict=True)
    ]
    y = [
        sum(float(w) * h for w, h in zip(row, hidden, strict=True)) + float(b)
        for row, b in zip(decoder.w2, decoder.b2, strict=True)
    ]
    assert float(sigma) == pytest.approx(y[0], abs=1e-5)
    expected = [1.002 / (1 + math.exp(-v)) - 0.001 for v in y[1:]]
    assert features[0, 0].tolist() == pytest.approx(expected, abs=1e-6)


def test_wrong_input_says_so():
    decoder, camera = worked_decoder(), worked_camera()
    with pytest.raises(ConfigError, match=r"planes must be"):
        render_planes(torch.zeros(3, 4, 8, 8), decoder, camera, 4)
    with pytest.raises(ConfigError, match=r"rays must be"):
        render_planes(torch.zeros(2, 3, 4, 8, 8), decoder, camera, 4)
    with pytest.raises(ConfigError, match=r"points must be"):
        plane_features(torch.zeros(1, 3, 4, 8, 8), torch.zeros(2, 5, 3))
    for wrong in (
        {"axes": "xyz"},
        {"aggregate": "max"},
        {"pdf": "none"},
        {"limits": (3.0, 2.0)},
        {"coarse": 1},
        {"coarse": 3, "pdf": "eg3d"},
        {"box": 0.0},
    ):
        with pytest.raises(ConfigError):
            PlaneSettings(**wrong)
