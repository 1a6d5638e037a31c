from __future__ import annotations

import numpy as np
import pytest

from mien.core.errors import ConfigError
from mien.synth.body import people
from mien.synth.poses import KINDS, pose_array, sample_pose


@pytest.mark.parametrize("kind", KINDS)
def test_poses_are_rotations_of_known_bones(kind):
    for seed in range(20):
        pose = sample_pose(seed, kind)
        turns = pose_array(people(), pose)
        assert turns.shape == (len(people().bones), 3, 3)
        np.testing.assert_allclose(
            turns @ turns.transpose(0, 2, 1), np.tile(np.eye(3), (len(turns), 1, 1)), atol=1e-9
        )
        np.testing.assert_allclose(np.linalg.det(turns), 1, atol=1e-9)
        named = {people().bones.index(b) for b in pose}
        for k in set(range(len(turns))) - named:
            assert np.array_equal(turns[k], np.eye(3))


def test_rest_is_no_rotation():
    assert sample_pose(0, "rest") == {}
    assert np.array_equal(pose_array(people(), {}), np.tile(np.eye(3), (len(people().bones), 1, 1)))


def test_same_seed_same_pose():
    a, b, c = sample_pose(1, "walking"), sample_pose(1, "walking"), sample_pose(2, "walking")
    assert all(np.array_equal(a[k], b[k]) for k in a)
    assert any(not np.array_equal(a[k], c[k]) for k in a)


def test_standing_hangs_the_arms_and_bends_no_knee_forward():
    import torch

    human = people()
    elbow, wrist = human.bones.index("lowerarm01.L"), human.bones.index("wrist.L")
    rest = human.joints(human.vertices)
    for seed in range(10):
        pose = torch.as_tensor(pose_array(human, sample_pose(seed)))[None]
        joints = human.forward({}, pose=pose).joints[0].numpy() * 10
        assert joints[wrist, 0] < rest[wrist, 0] - 0.5  # nearer the body
        assert joints[elbow, 1] < rest[elbow, 1] - 0.3
        for side in ("L", "R"):
            knee, ankle, hip = (
                human.bones.index(f"{b}.{side}") for b in ("lowerleg01", "foot", "upperleg01")
            )
            shin, thigh = joints[ankle] - joints[knee], joints[knee] - joints[hip]
            bent = np.cross(thigh, shin)[0]  # about x: a knee folds the shin backwards
            straight = np.cross(rest[knee] - rest[hip], rest[ankle] - rest[knee])[0]
            assert bent > straight - 0.1


def test_walking_swings_arms_against_legs():
    import torch

    human = people()
    at = {b: k for k, b in enumerate(human.bones)}
    seen = []
    for seed in range(12):
        pose = torch.as_tensor(pose_array(human, sample_pose(seed, "walking")))[None]
        z = human.forward({}, pose=pose).joints[0, :, 2].numpy()
        seen.append((z[at["wrist.L"]] - z[at["wrist.R"]], z[at["foot.L"]] - z[at["foot.R"]]))
    arms, legs = np.array(seen).T
    assert np.corrcoef(arms, legs)[0, 1] < -0.5


def test_unknown_names_are_refused():
    with pytest.raises(ConfigError, match=r"pose 'jump' is none of rest, standing, walking, arms"):
        sample_pose(0, "jump")
    with pytest.raises(ConfigError, match=r"no bone 'tail'"):
        pose_array(people(), {"tail": np.eye(3)})
