from __future__ import annotations

import math

import pytest
import torch

from mien.core.errors import ConfigError
from mien.render import (
    Camera,
    box_limits,
    correct_intrinsics,
    eg3d_rays,
    fov_to_intrinsics,
    lookat_cam2world,
    pack_camera,
    unpack_camera,
)
from tests.render.planes import K, worked_camera


def close(got, expected, tol=2e-6):
    want = torch.tensor(expected)
    alike = got.dtype == want.dtype and got.shape == want.shape
    return alike and torch.allclose(got, want, rtol=0, atol=tol)


def slow_lookat(h, v, r, pivot):
    """The sampler with its azimuth and polar angle, vector by vector."""
    phi = math.acos(1 - 2 * v / math.pi)
    origin = [
        r * math.sin(phi) * math.cos(math.pi - h),
        r * math.cos(phi),
        r * math.sin(phi) * math.sin(math.pi - h),
    ]

    def cross(a, b):
        return [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]

    def unit(a):
        return [x / math.sqrt(sum(y * y for y in a)) for x in a]

    forward = unit([q - o for q, o in zip(pivot, origin, strict=True)])
    right = unit([-x for x in cross([0, 1, 0], forward)])
    up = unit(cross(forward, right))
    return [[right[i], up[i], forward[i], origin[i]] for i in range(3)] + [[0.0, 0.0, 0.0, 1.0]]


def test_worked_poses():
    assert close(lookat_cam2world(0.0)[0], [[1.0, 0, 0, 0], [0, -1, 0, 0], [0, 0, -1, 2.7], [0, 0, 0, 1]])
    turned = lookat_cam2world(0.25)[0]
    assert close(turned[0, :3], [0.963840, 0, -0.266482])
    assert close(turned[:3, 3], [0.667991, 0, 2.616064])
    rows = [
        [0.988771, 0.028541, 0.146688, -0.146688],
        [0, -0.981593, 0.190986, -0.190986],
        [0.149438, -0.188841, -0.970571, 0.970571],
    ]
    assert close(lookat_cam2world(-0.15, 0.3, 1.0, (0.0, 0.0, 0.0))[0, :3], rows)


def test_poses_equal_the_slow_twin_in_a_batch():
    yaw, pitch = torch.tensor([0.3, -1.2, 3.0]).double(), torch.tensor([0.5, -0.9, 0.0]).double()
    got = lookat_cam2world(yaw, pitch, 2.0, (0.1, -0.1, 0.2))
    slow = [
        slow_lookat(math.pi / 2 + y, math.pi / 2 + p, 2.0, (0.1, -0.1, 0.2))
        for y, p in zip(yaw.tolist(), pitch.tolist(), strict=True)
    ]
    torch.testing.assert_close(got, torch.tensor(slow, dtype=torch.float64))


def test_poses_are_rotations_and_look_where_they_should():
    pose = lookat_cam2world(torch.linspace(-1, 1, 5).double(), 0.3)
    turn = pose[:, :3, :3]
    torch.testing.assert_close(turn @ turn.mT, torch.eye(3).double().expand(5, 3, 3))
    torch.testing.assert_close(torch.det(turn), torch.ones(5).double())
    assert (lookat_cam2world(0.4)[0, 0, 3] > 0).all()  # yaw > 0: at +x
    assert (lookat_cam2world(0.0, 0.4)[0, 1, 3] < 0).all()  # pitch > 0: below
    rays = eg3d_rays(pack_camera(pose, K), 5)
    pivot = torch.tensor([0.0, 0, 0.2]).double()
    middle = rays.directions[:, 2, 2]
    off = torch.linalg.cross(pivot - rays.origins[:, 2, 2], middle)
    assert float(off.norm(dim=-1).max()) < 1e-7


def test_field_of_view():
    assert float(fov_to_intrinsics(18.837)[0, 0]) == pytest.approx(4.263391, abs=2e-6)
    assert float(fov_to_intrinsics(18.8313)[0, 0]) == pytest.approx(4.2647, abs=2e-5)
    assert fov_to_intrinsics(18.837)[:, 2].tolist() == [0.5, 0.5, 1]


def test_pack_and_unpack_are_inverse():
    pose = lookat_cam2world(torch.tensor([0.1, 0.2]))
    c = pack_camera(pose, K)
    assert c.shape == (2, 25)
    assert c[0, 16:].tolist() == K.flatten().tolist()
    back, k = unpack_camera(c)
    assert torch.equal(back, pose)
    assert torch.equal(k, K.expand(2, 3, 3))
    assert torch.equal(pack_camera(back, k), c)


def test_worked_rays():
    rays = eg3d_rays(worked_camera(), 4)
    assert close(rays.origins[0, 0, 0], [0.664938, 0.257831, 2.604109])
    flat = rays.directions.flatten(1, 2)[0]
    assert close(flat[0], [-0.349629, -0.015235, -0.936764])
    assert close(flat[1], [-0.294560, -0.015287, -0.955511])
    assert close(flat[15], [-0.176643, -0.188828, -0.965992])


def test_rays_agree_with_the_camera_and_take_skew():
    c = worked_camera()
    ours = Camera.from_eg3d(c, 6, 8).rays()
    rays = eg3d_rays(c, (6, 8))
    torch.testing.assert_close(rays.directions, ours.directions, rtol=0, atol=1e-6)
    torch.testing.assert_close(rays.origins, ours.origins)
    c[0, 17] = 0.3
    local = eg3d_rays(c, 4).directions[0] @ c[0, :16].reshape(4, 4)[:3, :3]
    seen = local / local[..., 2:] @ unpack_camera(c)[1][0].T  # projecting back gives the pixel centres
    u = (torch.arange(4) + 0.5) / 4
    torch.testing.assert_close(seen[..., 0], u.expand(4, 4), rtol=0, atol=1e-5)
    torch.testing.assert_close(seen[..., 1], u[:, None].expand(4, 4), rtol=0, atol=1e-5)


def test_worked_correction():
    s = torch.tensor([0.1, 0, 0.25, 0, -0.2, 0, 0, 0, 0])
    t = torch.tensor([0.01, 0, -0.02, 0, 0.03, 0.015, 0, 0, 0])
    expected = [[4.699754, 0, 0.602459], [0, 3.452954, 0.515], [0, 0, 1]]
    assert close(correct_intrinsics(K, s, t), expected)
    assert close(correct_intrinsics(K, s.reshape(3, 3), t.reshape(3, 3)), expected)
    zero = torch.zeros(9)
    assert torch.equal(correct_intrinsics(K, zero, zero), K)


def test_rays_are_differentiable_in_the_correction():
    pose = lookat_cam2world(torch.tensor([0.1]).double())
    s, t = (0.1 * torch.randn(2, 9, generator=torch.Generator().manual_seed(0))).double()

    def look(s, t):
        return eg3d_rays(pack_camera(pose, correct_intrinsics(K.double(), s, t)), 3).directions

    assert torch.autograd.gradcheck(look, (s.requires_grad_(), t.requires_grad_()))


def test_worked_box_limits():
    origin = torch.tensor([0.0, 0, 2.7])
    towards = torch.nn.functional.normalize(torch.tensor([0.0625, 0.01, -1.0]), dim=0)
    first, last = box_limits(origin, towards)
    assert [float(first), float(last)] == pytest.approx([2.204403, 3.206404], abs=2e-6)
    missed = box_limits(origin, torch.tensor([1.0, 0, 0]))
    assert [float(x) for x in missed] == [-1, -2]
    along = box_limits(origin, torch.tensor([0.0, 0, -1]), 2.0)  # parallel to four of the faces
    assert [float(x) for x in along] == pytest.approx([1.7, 3.7])


def test_wrong_input_says_so():
    with pytest.raises(ConfigError, match="pitch"):
        lookat_cam2world(0.0, 2.0)
    with pytest.raises(ConfigError, match="field of view"):
        fov_to_intrinsics(180.0)
    with pytest.raises(ConfigError, match="pack_camera takes"):
        pack_camera(torch.eye(4), K)
    with pytest.raises(ConfigError, match=r"\(B, 25\)"):
        unpack_camera(torch.zeros(25))
    with pytest.raises(ConfigError, match=r"\(\.\., 3, 3\)"):
        correct_intrinsics(torch.zeros(9), torch.zeros(9), torch.zeros(9))
    with pytest.raises(ConfigError, match="1 to 16384"):
        eg3d_rays(torch.zeros(1, 25), 0)
