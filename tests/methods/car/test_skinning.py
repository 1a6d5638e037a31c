from __future__ import annotations

import math

import pytest
import torch

from mien.core.errors import ConfigError, ShapeError
from mien.methods.car.skinning import (
    blended_matrices,
    inverse3,
    inverse_transform_points,
    joint_transforms,
    normals_to_canonical,
    transform_points,
)

CALIB = torch.diag(torch.tensor([0.9, -0.9, 0.9, 1.0], dtype=torch.float64))[None]


def turn_z(degrees, pivot=(0.0, 0.0, 0.0)):
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    out = torch.eye(4, dtype=torch.float64)
    out[:2, :2] = torch.tensor([[c, -s], [s, c]])
    p = torch.tensor(pivot, dtype=torch.float64)
    out[:3, 3] = p - out[:3, :3] @ p
    return out


def two_bones(degrees=60, share=0.75):
    """vT (1, 1, 4, 4) of I and a rotation about (0.3, 0, 0)."""
    bones = torch.stack([torch.eye(4, dtype=torch.float64), turn_z(degrees, (0.3, 0, 0))])[None]
    return blended_matrices(torch.tensor([[[1 - share, share]]], dtype=torch.float64), bones)


def random(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_worked_numbers_of_two_bones():
    v = two_bones()
    wanted = [
        [0.625, -0.649519, 0, 0.1125], [0.649519, 0.625, 0, -0.194856], [0, 0, 1, 0], [0, 0, 0, 1]
    ]  # fmt: skip
    assert torch.allclose(v[0, 0], torch.tensor(wanted, dtype=torch.float64), atol=5e-7)
    x_c = torch.tensor([[[0.5, 0.1, -0.05]]], dtype=torch.float64)
    x_p = transform_points(v, x_c)
    assert x_p.flatten().tolist() == pytest.approx([0.360048, 0.192404, -0.05], abs=5e-7)
    assert float(torch.linalg.det(v[0, 0, :3, :3])) == pytest.approx(0.8125)
    assert torch.allclose(inverse_transform_points(v, x_p), x_c, atol=1e-15)


def test_worked_numbers_of_the_two_transports():
    n_p = torch.tensor([[[0.3, -0.2, -0.932738]]], dtype=torch.float64)
    official, exact = (normals_to_canonical(n_p, two_bones(), CALIB, t)[0, 0] for t in ("official", "exact"))
    assert official.tolist() == pytest.approx([0.384920, -0.084715, -0.919054], abs=5e-7)
    assert exact.tolist() == pytest.approx([0.321344, -0.070723, -0.944318], abs=5e-7)
    assert math.degrees(torch.acos(official @ exact)) == pytest.approx(4.001626, abs=1e-6)


@pytest.mark.parametrize(("degrees", "determinant"), [(60, 0.75), (120, 0.25), (170, 0.007596)])
def test_a_blend_collapses(degrees, determinant):
    v = two_bones(degrees, 0.5)[0, 0, :3, :3]
    assert float(torch.linalg.det(v)) == pytest.approx(determinant, abs=5e-7)
    assert torch.allclose(inverse3(v) @ v, torch.eye(3, dtype=torch.float64), atol=1e-12)


def test_rotations_make_both_transports_equal():
    n = random(1, 5, 3)
    v = turn_z(40).expand(1, 5, 4, 4)
    calib = 0.7 * turn_z(-20)[None]
    assert torch.allclose(
        normals_to_canonical(n, v, calib, "official"), normals_to_canonical(n, v, calib), atol=1e-14
    )


@pytest.mark.parametrize("transport", ["exact", "official"])
def test_identity_pose(transport):
    n, weights = random(2, 6, 3), random(2, 6, 4, seed=1).softmax(-1)
    v = blended_matrices(weights, torch.eye(4, dtype=torch.float64).expand(2, 4, 4, 4))
    x = random(2, 6, 3, seed=2)
    found = normals_to_canonical(n, v, CALIB.expand(2, 4, 4), transport)
    rotated = torch.nn.functional.normalize(n * n.new_tensor([1, -1, 1]), dim=-1)
    assert torch.allclose(transform_points(v, x), x, atol=1e-14)
    assert torch.allclose(found, rotated, atol=1e-14)


def test_the_exact_normal_is_that_of_the_carried_surface():
    """A plane n_c . x = d in canonical space has the normal (C vT)^-T n_c in the box."""
    v, n_c = two_bones(), torch.nn.functional.normalize(random(1, 1, 3), dim=-1)
    whole = (CALIB[:, None] @ v)[..., :3, :3]
    n_p = (torch.linalg.inv(whole).mT @ n_c[..., None])[..., 0]
    assert torch.allclose(normals_to_canonical(n_p, v, CALIB), n_c, atol=1e-14)
    assert not torch.allclose(normals_to_canonical(n_p, v, CALIB, "official"), n_c, atol=1e-2)


def test_no_normal_stays_none():
    found = normals_to_canonical(torch.zeros(1, 1, 3, dtype=torch.float64), two_bones(), CALIB)
    assert (found == 0).all()


def test_blend_against_loops():
    weights, bones = random(2, 5, 3, seed=1).softmax(-1), random(2, 3, 4, 4, seed=2)
    found = blended_matrices(weights, bones)
    for b in range(2):
        for n in range(5):
            slow = sum(weights[b, n, j] * bones[b, j] for j in range(3))
            assert torch.allclose(found[b, n], slow)


def test_joint_transforms_start_at_the_star():
    star = torch.stack([turn_z(25, (0.1, 0.9, 0)), turn_z(-25, (-0.1, 0.9, 0))])
    posed = torch.stack([turn_z(5), turn_z(70, (0, 0.5, 0))])
    x = random(2, 3)
    found = joint_transforms(posed, star)
    assert torch.allclose(joint_transforms(star, star), torch.eye(4, dtype=torch.float64).expand(2, 4, 4))
    assert torch.allclose(transform_points(found, transform_points(star, x)), transform_points(posed, x))


def test_gradients_of_the_way_back():
    m = random(2, 4, 4).requires_grad_()
    assert torch.autograd.gradcheck(inverse_transform_points, (m, random(2, 3, seed=1).requires_grad_()))


def test_bad_input():
    with pytest.raises(ShapeError, match="weights"):
        blended_matrices(torch.zeros(1, 5, 3), torch.zeros(1, 4, 4, 4))
    with pytest.raises(ConfigError, match="exact, official"):
        normals_to_canonical(random(1, 1, 3), two_bones(), CALIB, "transpose")
    assert blended_matrices(torch.zeros(1, 0, 3), torch.zeros(1, 3, 4, 4)).shape == (1, 0, 4, 4)
