from __future__ import annotations

import math

import pytest
import torch

from mien.core.errors import ConfigError, DataError, ShapeError
from mien.methods.car.pose_fit import PoseFitSettings, Skin, fit_pose, overlap, posed_vertices, turns
from mien.methods.car.view import seen_faces, to_view
from mien.synth.body_models import CapsuleBody
from mien.synth.skinning import carry

CALIB = torch.diag(torch.tensor([0.9, -0.9, 0.9, 1.0]))
CALIB[1, 3] = 0.9  # the hips near the middle


def capsules():
    body = CapsuleBody(8, 7)
    out = body.forward(torch.zeros(1, 2))
    weights = torch.from_numpy(body.lbs_weights)
    skin = Skin(
        out.rest_vertices[0],
        torch.from_numpy(body.faces),
        weights,
        body.capsules(torch.zeros(1, 2))[0][0],
        body.parents,
    )
    return body, skin


BODY, SKIN = capsules()
COUNT = len(SKIN.parents)
ARM = BODY.names.index("upper_arm_left")


def mask_of(rotations, translation, size=64):
    points = to_view(posed_vertices(SKIN, rotations, translation), CALIB)
    return seen_faces(points, SKIN.faces, size, size) >= 0


def raised(angle):
    w = torch.zeros(COUNT, 3)
    w[ARM, 2] = angle
    return turns(w)


def test_rotation_vectors():
    quarter = turns(torch.tensor([0.0, 0.0, math.pi / 2]))
    torch.testing.assert_close(quarter, torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]), atol=1e-6, rtol=0)
    w = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    turns(w)[1, 0].backward()
    assert w.grad.tolist() == [0, 0, 1]


def test_the_posed_body_is_that_of_the_body_model():
    pose, move = (
        turns(0.3 * torch.randn(COUNT, 3, generator=torch.Generator().manual_seed(0))),
        torch.ones(3) / 9,
    )
    out = BODY.forward(torch.zeros(1, 2), pose[None], translation=move[None])
    torch.testing.assert_close(posed_vertices(SKIN, pose, move), out.vertices[0])
    torch.testing.assert_close(carry(SKIN.joints[None], out.transforms), out.joints)


def test_overlap_of_masks():
    a = torch.tensor([True, True, False])
    assert overlap(a, a) == 1
    assert overlap(a, torch.tensor([False, True, True])) == pytest.approx(1 / 3)
    assert overlap(a & False, a & False) == 0


def test_an_arm_is_found_from_its_outline():
    mask = mask_of(raised(0.25), torch.tensor([0.03, 0.0, 0.0]))
    found = fit_pose(SKIN, CALIB, mask, settings=PoseFitSettings(steps=40))
    assert found.overlap[0] < 0.85
    assert found.overlap[1] > found.overlap[0] + 0.08
    angle = math.atan2(float(found.rotations[ARM, 1, 0]), float(found.rotations[ARM, 0, 0]))
    assert angle == pytest.approx(0.25, abs=0.1)
    assert float(found.losses.min()) < 0.6 * float(found.losses[0])


def test_the_true_pose_and_fixed_joints_stay():
    mask = mask_of(raised(0.2), torch.zeros(3))
    still = fit_pose(SKIN, CALIB, mask, raised(0.2), settings=PoseFitSettings(steps=3))
    assert still.overlap[0] == 1
    assert float((still.rotations - raised(0.2)).abs().max()) < 0.05
    fixed = fit_pose(SKIN, CALIB, mask, settings=PoseFitSettings(steps=2), freedom=torch.zeros(COUNT))
    torch.testing.assert_close(fixed.rotations, torch.eye(3).expand(COUNT, 3, 3))
    none = fit_pose(SKIN, CALIB, mask, settings=PoseFitSettings(steps=0))
    torch.testing.assert_close(none.rotations, torch.eye(3).expand(COUNT, 3, 3))
    assert len(none.losses) == 1


def test_a_term_that_is_added():
    """It is told the pose, and its gradient moves the body; none changes nothing."""
    mask = mask_of(raised(0.0), torch.zeros(3))
    plain = fit_pose(SKIN, CALIB, mask, settings=PoseFitSettings(steps=5))
    zero = fit_pose(
        SKIN, CALIB, mask, settings=PoseFitSettings(steps=5), also=lambda pose, where: 0 * where.sum()
    )
    assert torch.equal(plain.losses, zero.losses)
    pulled = fit_pose(
        SKIN,
        CALIB,
        mask,
        settings=PoseFitSettings(steps=5),
        also=lambda pose, where: 50 * (where[2] - 1) ** 2,
    )
    assert float(pulled.translation[2]) > 0.005
    assert float(pulled.losses[0] - plain.losses[0]) == pytest.approx(50)


def test_bad_input():
    mask = mask_of(raised(0.0), torch.zeros(3))
    away = torch.zeros_like(mask)
    away[:4, :4] = True
    with pytest.raises(DataError, match=r"covers the mask by 0\.00 .* check the calibration"):
        fit_pose(SKIN, CALIB, away)
    with pytest.raises(ShapeError, match="a mask"):
        fit_pose(SKIN, CALIB, mask.float())
    with pytest.raises(ShapeError, match=r"\(15, 3, 3\)"):
        fit_pose(SKIN, CALIB, mask, torch.eye(3).expand(4, 3, 3))
    with pytest.raises(ConfigError, match="steps >= 0"):
        PoseFitSettings(steps=-1)
