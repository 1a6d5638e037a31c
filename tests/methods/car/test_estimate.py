"""The estimated body: the mean human found again from its silhouette, or that and keypoints; refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from mien.core.errors import DataError
from mien.core.seeds import derive
from mien.methods.car.estimate import (
    Pose,
    bent,
    estimate_body,
    human_marks,
    mean_human,
    placed,
    silhouette,
    skin_of,
    standing,
    turned,
)
from mien.methods.car.keypoints import Person, projected
from mien.methods.car.pose_fit import PoseFitSettings, overlap, posed_vertices
from mien.methods.car.view import to_view
from mien.synth.clothed_poses import PEOPLE_LIMBS, clothed_pose
from mien.synth.clothed_set import calibration
from mien.synth.skinning import carry, chain, moved

SIZE = 64


def mask_of(arms=55.0, legs=8.0, shift=(0.1, 0.05, 0.0), half=1.0):
    human = mean_human()
    middle = (human.vertices.amin(0) + human.vertices.amax(0)) / 2
    pose = Pose(standing(arms, legs), torch.tensor(shift) - middle, torch.from_numpy(calibration(half)))
    return silhouette(pose, SIZE)


def test_mean_human_is_a_person_of_common_size():
    human = mean_human()
    height = float(human.vertices[:, 1].max() - human.vertices[:, 1].min())
    assert 1.4 < height < 1.8  # metres; the legs are spread
    assert len(human.names) == 19
    left = human.joints[human.names.index("wrist.L")]
    right = human.joints[human.names.index("wrist.R")]
    torch.testing.assert_close(left, right * torch.tensor([-1.0, 1.0, 1.0]), atol=0.01, rtol=0)
    assert float(left[0]) > 0.4
    assert abs(float(left[1] - human.joints[human.names.index("upperarm01.L"), 1])) < 0.02


def test_arms_go_down_and_legs_together():
    human = mean_human()
    down = placed(standing(75.0, 20.0), torch.ones(SIZE, SIZE, dtype=torch.bool))
    wide = torch.nonzero(mask_of(0.0, 0.0)).amax(0) - torch.nonzero(mask_of(0.0, 0.0)).amin(0)
    slim = torch.nonzero(mask_of(75.0, 20.0)).amax(0) - torch.nonzero(mask_of(75.0, 20.0)).amin(0)
    assert int(slim[1]) < 0.6 * int(wide[1])
    assert down.rotations.shape == (len(human.names), 3, 3)


def test_placed_as_high_as_the_mask():
    mask = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    mask[12:52, 20:30] = True
    rows, columns = torch.nonzero(silhouette(placed(standing(75.0, 20.0), mask), SIZE)).unbind(1)
    assert abs(int(rows.min()) - 12) <= 1
    assert abs(int(rows.max()) - 51) <= 1
    assert abs(float(columns.float().mean()) - 24.5) < 1.5


@pytest.mark.parametrize("arms", [65.0, 10.0])
def test_its_own_silhouette_is_found_again(arms):
    mask = mask_of(arms)
    first = max(
        overlap(silhouette(placed(standing(a, b), mask), SIZE), mask)
        for a in (75.0, 55.0, 0.0)
        for b in (8.0, 20.0)
    )
    found = estimate_body(mask, settings=PoseFitSettings(steps=25))
    assert found.overlap > max(0.85, first)
    drawn = torch.isfinite(found.body.maps(SIZE)[2][0])
    assert overlap(drawn, mask) == pytest.approx(found.overlap, abs=0.02)


def test_what_is_no_standing_person_is_refused():
    block = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    block[30:40, 5:60] = True
    with pytest.raises(DataError, match=r"covers the mask by 0\.\d\d .* less than 0\.6: .* --body FILE"):
        estimate_body(block)
    with pytest.raises(DataError, match="the mask is empty"):
        estimate_body(torch.zeros(SIZE, SIZE, dtype=torch.bool))


# -- with keypoints -----------------------------------------------------------------------------------------

GONE = ("left_wrist", "right_knee")


def person_in(seed, yaw):
    """The mean human in a random pose, turned to the left by degrees, its mask, and its joints in the box."""
    human = mean_human()
    pose = clothed_pose(PEOPLE_LIMBS, seed)
    rows = [pose.get(name, np.eye(3)) for name in human.names]
    rotations = turned(torch.as_tensor(np.stack(rows), dtype=torch.float32), yaw)
    points = posed_vertices(skin_of(human), rotations, torch.zeros(3))
    middle = (points.amin(0) + points.amax(0)) / 2
    true = Pose(rotations, -middle, torch.from_numpy(calibration(1.05)))
    return true, silhouette(true, SIZE)


def keypoints_of(true, noise=0.0, gone=()):
    """As a detector sees them: off by noise (box units), some not at all."""
    names, marks = human_marks()
    box = projected(marks, true.rotations[None], true.translation[None], true.calib[None])[0]
    rng = np.random.default_rng(derive(0, "keypoints"))
    box = box + torch.as_tensor(noise * rng.normal(size=box.shape), dtype=torch.float32)
    return Person(names, box, torch.tensor([0.0 if name in gone else 0.9 for name in names]))


def joint_error(found, true):
    """Mean distance of the joints in cm, without what no picture tells: their mean depth."""
    human = mean_human()
    moves = moved(chain(human.joints[None], true.rotations[None], human.parents), true.translation[None])
    own, right = (
        to_view(carry(human.joints[None], transforms)[0], calib)
        for transforms, calib in ((found.body.transforms[None], found.body.calib), (moves, true.calib))
    )
    off = (own - right) * 100 / true.calib[0, 0]
    off[:, 2] -= off[:, 2].mean()
    return float(off.norm(dim=1).mean())


def test_marks_lie_on_the_human():
    human, (names, marks) = mean_human(), human_marks()
    at = dict(zip(names, marks.vertices, strict=True))
    assert len(names) == 19
    torch.testing.assert_close(at["left_knee"], human.joints[human.names.index("lowerleg01.L")])
    tip = float(human.vertices[human.vertices[:, 1] > 0.6, 2].max())
    assert float(at["nose"][2]) == pytest.approx(tip, abs=0.005)
    for name in ("ear", "heel", "foot_index", "wrist"):
        left, right = at[f"left_{name}"], at[f"right_{name}"]
        assert left[0] > 0.05
        torch.testing.assert_close(left, right * torch.tensor([-1.0, 1.0, 1.0]), atol=0.01, rtol=0)
    assert float(at["left_foot_index"][2] - at["left_heel"][2]) == pytest.approx(0.22, abs=0.04)
    torch.testing.assert_close(marks.weights.sum(1), torch.ones(19))


def test_turns_and_bends():
    human, start = mean_human(), standing(55.0, 8.0)
    forwards = posed_vertices(human_marks()[1], turned(start, 90.0), torch.zeros(3))
    names = human_marks()[0]
    nose, ear = (forwards[names.index(name)] for name in ("nose", "left_ear"))
    assert nose[0] > 0.1  # to the subject's left, which is the picture's right
    assert ear[2] < -0.02
    elbow = bent(start)[human.names.index("lowerarm01.R")]
    assert (elbow @ torch.tensor([-1.0, 0.0, 0.0]))[2] > 0.2  # the right lower arm comes forward
    knee = bent(start)[human.names.index("lowerleg01.L")]
    assert (knee @ torch.tensor([0.0, -1.0, 0.0]))[2] < -0.1


def test_keypoints_bring_the_joints_nearer_than_the_mask_alone():
    """In cm over two people, one of them seen from the side: also with noise of 2 % of the person's height
    and two points that are not seen."""
    settings = PoseFitSettings(steps=15)
    errors = []
    for seed, yaw in ((0, 0.0), (4, 60.0)):
        true, mask = person_in(seed, yaw)
        given = (None, keypoints_of(true), keypoints_of(true, 0.033, GONE))
        found = [estimate_body(mask, 0.5, settings, keypoints) for keypoints in given]
        errors.append([joint_error(one, true) for one in found])
    alone, exact, noisy = np.mean(errors, 0)
    assert alone > 8
    assert exact < 4
    assert exact < 0.4 * alone
    assert noisy < 0.8 * alone


def test_who_turns_away_is_seen_from_behind():
    true, mask = person_in(5, 170.0)
    found = estimate_body(mask, keypoints=keypoints_of(true), settings=PoseFitSettings(steps=5))
    facing = found.body.transforms[mean_human().names.index("head"), :3, :3] @ torch.tensor([0.0, 0.0, 1.0])
    assert facing[2] < -0.8
    assert joint_error(found, true) < 5


def test_keypoints_of_another_person_are_refused():
    true, mask = person_in(0, 0.0)
    away = keypoints_of(true)
    with pytest.raises(DataError, match="of the keypoints lie in the mask"):
        estimate_body(mask, keypoints=replace(away, points=away.points + 0.6))
    with pytest.raises(DataError, match="only 0 keypoints of the body are seen"):
        estimate_body(mask, keypoints=replace(away, names=tuple(f"p{k}" for k in range(len(away.names)))))
    with pytest.raises(DataError, match="show the whole person and nothing else; else give --body FILE"):
        estimate_body(mask, least=0.999, keypoints=away, settings=PoseFitSettings(steps=0))
