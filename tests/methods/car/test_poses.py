from __future__ import annotations

import numpy as np
import pytest
import torch

from mien.core.errors import ConfigError
from mien.methods.car.poses import POSES, in_pose
from mien.methods.car.walk import limbs_of


@pytest.mark.parametrize("name", list(POSES))
def test_every_pose_is_a_turn_of_joints_with_feet_on_the_floor(avatar, name):
    mesh = in_pose(avatar, name)
    assert mesh.vertices.shape == tuple(avatar.canonical.shape)
    assert mesh.vertices[:, 1].min() == pytest.approx(0, abs=1e-5)
    np.testing.assert_array_equal(mesh.faces, avatar.faces.numpy())


def test_the_star_pose_changes_nothing_but_the_height(avatar):
    moved = in_pose(avatar, "star").vertices - avatar.canonical.numpy()
    np.testing.assert_allclose(moved[:, [0, 2]], 0, atol=1e-5)
    assert np.ptp(moved[:, 1]) < 1e-5


def elbows(avatar, name):
    """Heights of the elbows above the shoulders, left and right."""
    pose, at = POSES[name](limbs_of(avatar.names)), avatar.names.index
    rotations = torch.from_numpy(np.stack([pose.get(n, np.eye(3)) for n in avatar.names])).float()
    moves = avatar.bone_transforms(rotations)
    heads = (moves[:, :3, :3] @ avatar.joints[..., None])[..., 0] + moves[:, :3, 3]
    sides = ("left", "right")
    return [float(heads[at(f"lower_arm_{s}")][1] - heads[at(f"upper_arm_{s}")][1]) for s in sides]


def test_arms_hang_when_standing_and_one_is_up_when_waving(avatar):
    assert elbows(avatar, "star") == pytest.approx([0, 0], abs=1e-3)
    assert max(elbows(avatar, "standing")) < -0.2
    left, right = elbows(avatar, "waving")
    assert left > 0.15
    assert right < -0.2


def test_a_pose_that_is_none_is_told(avatar):
    with pytest.raises(ConfigError, match=r"no pose 'wavin'"):
        in_pose(avatar, "wavin")
