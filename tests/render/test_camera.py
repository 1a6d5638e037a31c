from __future__ import annotations

import math

import pytest
import torch

from mien.core.errors import ConfigError
from mien.render import Camera, rasterize

FLIP = torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64)


def pixel(camera, points):
    """(N, 2) pixel x, y of (N, 3) points."""
    ndc = camera.project(points)[0][0]
    return torch.stack([(ndc[:, 0] + 1) / 2 * camera.width, (1 - ndc[:, 1]) / 2 * camera.height], -1)


def looking(projection="perspective", focal=80.0):
    eye = torch.tensor([[0.4, 0.3, 2.5], [-1.0, 0.2, 1.5]], dtype=torch.float64)
    target = torch.tensor([0.0, 0.1, 0.0], dtype=torch.float64)
    return Camera.look_at(eye, target, focal=focal, height=48, width=64, projection=projection)


def test_frontal_camera_by_hand():
    """2 m in front, focal 100 px: 1 cm to the right is half a pixel, up is up."""
    eye = torch.tensor([0.0, 0.0, 2.0])
    camera = Camera.look_at(eye, torch.zeros(3), focal=100.0, height=40, width=60)
    assert torch.equal(camera.rotation[0], torch.eye(3))
    points = torch.tensor([[0.0, 0, 0], [0.01, 0, 0], [0, 0.01, 0], [0, 0, 1.0]])
    assert pixel(camera, points).tolist() == pytest.approx(
        torch.tensor([[30, 20], [30.5, 20], [30, 19.5], [30, 20]]), abs=1e-5
    )
    P, w = camera.project(points)
    assert w[0].tolist() == [2, 2, 2, 1]
    assert P[0, :, 2].tolist() == [-0.5, -0.5, -0.5, -1]


def test_the_frame_is_right_handed_and_looks_along_minus_z():
    camera = looking()
    x, y, z = camera.rotation.unbind(-1)
    torch.testing.assert_close(torch.linalg.cross(x, y), z)
    towards = torch.tensor([0.0, 0.1, 0.0], dtype=torch.float64) - camera.position
    torch.testing.assert_close(torch.nn.functional.normalize(towards, dim=-1), -z)
    assert (y[:, 1] > 0).all()
    assert (x[:, 1].abs() < 1e-12).all()
    middle = camera.project(torch.tensor([[0.0, 0.1, 0.0]], dtype=torch.float64))[0]
    torch.testing.assert_close(middle[..., :2], torch.zeros(2, 1, 2, dtype=torch.float64))


@pytest.mark.parametrize(("projection", "focal"), [("perspective", 80.0), ("orthographic", 30.0)])
def test_round_trips(projection, focal):
    camera = looking(projection, focal)
    depth = 1.5 + torch.rand(2, 24, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    points = camera.unproject(depth)
    P, w = camera.project(points.reshape(2, -1, 3))
    x = (torch.arange(32, dtype=torch.float64) + 0.5) / 16 - 1
    y = 1 - (torch.arange(24, dtype=torch.float64) + 0.5) / 12
    torch.testing.assert_close(P[..., 0].reshape(2, 24, 32), x.expand(2, 24, 32))
    torch.testing.assert_close(P[..., 1].reshape(2, 24, 32), y[:, None].expand(2, 24, 32))
    torch.testing.assert_close(camera.metric_depth(P[..., 2]).reshape(depth.shape), depth)
    expected = depth if projection == "perspective" else torch.ones_like(depth)
    torch.testing.assert_close(w.reshape(depth.shape), expected)


@pytest.mark.parametrize(("projection", "focal"), [("perspective", 80.0), ("orthographic", 30.0)])
def test_rays_pass_through_the_points_of_their_pixels(projection, focal):
    camera = looking(projection, focal)
    rays = camera.rays(6, 8)
    torch.testing.assert_close(rays.directions.norm(dim=-1), torch.ones(2, 6, 8, dtype=torch.float64))
    points = camera.unproject(torch.full((2, 6, 8), 2.0, dtype=torch.float64))
    off = torch.linalg.cross(points - rays.origins, rays.directions)
    assert float(off.norm(dim=-1).max()) < 1e-12
    assert (((points - rays.origins) * rays.directions).sum(-1) > 1.9).all()
    assert camera.rays().origins.shape == (2, 48, 64, 3)


def test_z_is_linear_on_the_screen_and_empty_stays_empty():
    camera = looking()
    world = torch.tensor([[-1.0, -1, 0], [1, -1, -0.4], [0, 1, 0.5]], dtype=torch.float64)
    P, w = camera.project(world)
    out = rasterize(P, torch.tensor([[0, 1, 2]]), 48, 64)
    seen = out.face_id >= 0
    depth = camera.metric_depth(out.depth)
    assert torch.isinf(depth[~seen]).all()
    assert (depth[~seen] > 0).all()
    b = out.bary[seen].double()
    b = torch.cat([1 - b.sum(-1, keepdim=True), b], -1)
    w = w[seen.nonzero()[:, 0]]
    torch.testing.assert_close(depth[seen].double(), 1 / (b / w).sum(-1), rtol=1e-5, atol=0)
    assert torch.isnan(camera.unproject(depth.double())[~seen]).all()


def test_nearer_than_near_is_not_projected_and_differentiable():
    camera = looking()
    behind = (camera.position[0] + camera.rotation[0, :, 2]).clone().requires_grad_()
    P, w = camera.project(behind[None])
    assert torch.isinf(P[0, 0, 2])
    assert float(w.detach()[0, 0]) == pytest.approx(1e-3)
    P[0, :, :2].sum().backward()
    assert torch.isfinite(behind.grad).all()


def test_gradients():
    eye = torch.tensor([[0.4, 0.3, 2.5]], dtype=torch.float64, requires_grad=True)
    points = torch.randn(1, 4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def project(e, p):
        return Camera.look_at(e, torch.zeros_like(e), focal=50.0, height=8, width=8).project(p)

    assert torch.autograd.gradcheck(project, (eye, points.requires_grad_()))


def test_opencv():
    """x_cam = R X + t, u = fx x / z + cx with integer pixel centres: ours is 0.5 further."""
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(2)).double())[0]
    R = (turn * torch.det(turn))[None]
    t = torch.tensor([[0.1, -0.2, 3.0]], dtype=torch.float64)
    K = torch.tensor([[[70.0, 0, 33], [0, 75, 22], [0, 0, 1]]], dtype=torch.float64)
    X = 0.5 * torch.randn(5, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    uvw = (X @ R[0].T + t) @ K[0].T
    camera = Camera.from_opencv(R, t, K, 48, 64)
    torch.testing.assert_close(pixel(camera, X), uvw[:, :2] / uvw[:, 2:] + 0.5)
    torch.testing.assert_close(camera.project(X)[1][0], uvw[:, 2])
    torch.testing.assert_close(torch.det(camera.rotation), torch.ones(1, dtype=torch.float64))


def eg3d(yaw, pitch, radius, pivot, focal=4.2647):
    """The look-at sampler of EG3D as its method page gives it."""
    h, v = math.pi / 2 + yaw, math.pi / 2 + pitch
    phi = math.acos(1 - 2 * v / math.pi)
    origin = radius * torch.tensor(
        [math.sin(phi) * math.cos(math.pi - h), math.cos(phi), math.sin(phi) * math.sin(math.pi - h)]
    )
    forward = torch.nn.functional.normalize(torch.tensor(pivot) - origin, dim=0)
    right = -torch.nn.functional.normalize(torch.linalg.cross(torch.tensor([0.0, 1, 0]), forward), dim=0)
    up = torch.nn.functional.normalize(torch.linalg.cross(forward, right), dim=0)
    pose = torch.eye(4)
    pose[:3, :3], pose[:3, 3] = torch.stack([right, up, forward], 1), origin
    return torch.cat([pose.flatten(), torch.tensor([focal, 0, 0.5, 0, focal, 0.5, 0, 0, 1])])[None]


def test_eg3d_worked_rays():
    c = eg3d(0.25, -0.15, 2.7, (0.0, 0.0, 0.2))
    rays = Camera.from_eg3d(c, 4, 4).rays()
    origin = torch.tensor([0.664938, 0.257831, 2.604109])
    torch.testing.assert_close(rays.origins[0, 0, 0], origin, rtol=0, atol=2e-6)
    flat = rays.directions.reshape(16, 3)
    for k, expected in (
        (0, (-0.349629, -0.015235, -0.936764)),
        (1, (-0.294560, -0.015287, -0.955511)),
        (15, (-0.176643, -0.188828, -0.965992)),
    ):
        torch.testing.assert_close(flat[k], torch.tensor(expected), rtol=0, atol=2e-6)


def test_eg3d_frontal_is_ours():
    """Frontal: rotation diag(1, -1, -1) at (0, 0, r) is our camera without rotation; +x is right, +y up."""
    camera = Camera.from_eg3d(eg3d(0.0, 0.0, 2.7, (0.0, 0.0, 0.2)), 64, 64)
    torch.testing.assert_close(camera.rotation[0], torch.eye(3), rtol=0, atol=1e-6)
    x, y = pixel(camera, torch.tensor([[0.1, 0.2, 0.0]]))[0].tolist()
    assert x == pytest.approx(32 + 64 * 4.2647 * 0.1 / 2.7, abs=1e-3)
    assert y == pytest.approx(32 - 64 * 4.2647 * 0.2 / 2.7, abs=1e-3)
    odd = Camera.from_eg3d(eg3d(0.3, 0.1, 2.7, (0.0, 0.0, 0.2)), 5, 5).rays()
    gap = torch.linalg.cross(torch.tensor([0.0, 0, 0.2]) - odd.origins[0, 2, 2], odd.directions[0, 2, 2])
    assert float(gap.norm()) < 1e-5


def test_unsup3d():
    """P = d K^-1 (u, v, 1), integer pixel centres; with a view P -> R (P - c0) + c0 + T."""
    W = 64
    f = (W - 1) / 2 / math.tan(math.radians(10) / 2)
    d, u, v = 1.03, 20, 41
    P = torch.tensor([[d * (u - 31.5) / f, d * (v - 31.5) / f, d]])
    camera = Camera.from_unsup3d(W, W)
    torch.testing.assert_close(pixel(camera, P)[0], torch.tensor([u + 0.5, v + 0.5]), rtol=0, atol=1e-3)
    assert float(camera.project(P)[1]) == pytest.approx(d)
    depth = torch.full((1, W, W), d)
    torch.testing.assert_close(camera.unproject(depth)[0, v, u], P[0], rtol=0, atol=1e-6)
    a = 0.3
    view = torch.tensor([[0.0, a, 0.0, 0.01, -0.02, 0.0]])
    q = P[0] - torch.tensor([0.0, 0, 1])
    moved = torch.stack(
        [
            math.cos(a) * q[0] + math.sin(a) * q[2] + 0.01,
            q[1] - 0.02,
            -math.sin(a) * q[0] + math.cos(a) * q[2] + 1,
        ]
    )
    expected = moved[:2] / moved[2] * f + 32
    torch.testing.assert_close(pixel(Camera.from_unsup3d(W, W, view), P)[0], expected, rtol=0, atol=1e-3)
    order = Camera.from_unsup3d(W, W, torch.tensor([[0.2, 0.3, 0.4, 0, 0, 0]], dtype=torch.float64))
    c, s = (lambda k: math.cos(k)), (lambda k: math.sin(k))
    rx = torch.tensor([[1, 0, 0], [0, c(0.2), -s(0.2)], [0, s(0.2), c(0.2)]], dtype=torch.float64)
    ry = torch.tensor([[c(0.3), 0, s(0.3)], [0, 1, 0], [-s(0.3), 0, c(0.3)]], dtype=torch.float64)
    rz = torch.tensor([[c(0.4), -s(0.4), 0], [s(0.4), c(0.4), 0], [0, 0, 1]], dtype=torch.float64)
    torch.testing.assert_close(order.rotation[0], (rz @ ry @ rx).T * FLIP)


def test_wrong_input_says_so():
    camera = looking()
    with pytest.raises(ConfigError, match=r"points must be"):
        camera.project(torch.zeros(3))
    with pytest.raises(ConfigError, match=r"depth must be"):
        camera.unproject(torch.zeros(3, 3))
    with pytest.raises(ConfigError, match=r"1 to 16384"):
        camera.rays(20000, 4)
    with pytest.raises(ConfigError, match=r"along the up axis"):
        Camera.look_at(torch.tensor([0.0, 1, 0]), torch.zeros(3), focal=1.0, height=4, width=4)
    with pytest.raises(ConfigError, match=r"\(B, 25\)"):
        Camera.from_eg3d(torch.zeros(1, 16), 4, 4)
    c = eg3d(0.0, 0.0, 2.7, (0.0, 0.0, 0.0))
    c[0, 17] = 0.1
    with pytest.raises(ConfigError, match=r"skew"):
        Camera.from_eg3d(c, 4, 4)
    with pytest.raises(ConfigError, match=r"fov"):
        Camera.from_unsup3d(4, 4, fov=4.0)
    with pytest.raises(ConfigError, match=r"view is \(B, 6\)"):
        Camera.from_unsup3d(4, 4, torch.zeros(6))
    with pytest.raises(ConfigError, match=r"from_opencv takes"):
        Camera.from_opencv(torch.eye(3), torch.zeros(3), torch.eye(3), 4, 4)
    one = torch.ones(1, 2)
    with pytest.raises(ConfigError, match=r"camera position must be"):
        Camera(torch.eye(3)[None], torch.zeros(3), one, one, 4, 4)
    with pytest.raises(ConfigError, match=r"projection"):
        Camera(torch.eye(3)[None], torch.zeros(1, 3), one, one, 4, 4, projection="fisheye")
    with pytest.raises(ConfigError, match=r"near"):
        Camera(torch.eye(3)[None], torch.zeros(1, 3), one, one, 4, 4, near=0.0)
