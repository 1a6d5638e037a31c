"""Clothed people: star pose, ranges of the splits, skinning that agrees with the renderer."""

from __future__ import annotations

import io

import numpy as np
import pytest

from mien.core.errors import ConfigError
from mien.synth.body import METRES, people
from mien.synth.clothed_people import (
    KEPT,
    capsule_person,
    capsule_rig,
    clothed_body,
    clothed_person,
    draw_samples,
    is_unseen_outfit,
    is_unseen_shape,
    people_rig,
    star_dressed,
    without_hidden,
)
from mien.synth.clothed_poses import (
    CAPSULE_LIMBS,
    PEOPLE_LIMBS,
    clothed_pose,
    joint_transforms,
    noisy_pose,
    skinned,
)
from mien.synth.clothed_set import CapsuleSet, ClothedSet, _photograph, calibration, framed, normal_colors
from mien.synth.full_body import stature


@pytest.fixture(scope="module")
def dressed():
    body = clothed_body(5)
    star = star_dressed(body.dressed)
    return body, star, clothed_person(body, star, 0.15, 5)


def test_star_pose_is_a_t_with_open_legs(dressed):
    _, _, person = dressed
    at = dict(zip(KEPT, person.heads, strict=True))
    for side, sign in (("L", 1), ("R", -1)):
        arm = at[f"wrist.{side}"] - at[f"upperarm01.{side}"]
        leg = at[f"foot.{side}"] - at[f"upperleg01.{side}"]
        assert sign * arm[0] / np.linalg.norm(arm) > 0.98
        assert np.degrees(np.arctan2(sign * leg[0], -leg[1])) == pytest.approx(25, abs=3)


def test_skinning_of_the_rig_is_that_of_the_picture(dressed):
    """Nineteen joints move the mesh as all 161 bones do."""
    body, star, person = dressed
    rig, pose = people_rig(), clothed_pose(PEOPLE_LIMBS, 3)
    shown = _photograph(body, star, pose, 0.3, 32, 0)
    moved = shown.world @ joint_transforms(person.heads, rig.parents, rig.names, pose)
    from mien.synth.dressed import vertex_moves

    moves, _ = vertex_moves(people(), star.shaped, pose)
    truth = star.posed(moves) * METRES @ shown.world[:3, :3].T + shown.world[:3, 3]
    assert np.abs(skinned(person.points, person.weights, moved) - truth).max() < 1e-4
    assert np.allclose(person.weights.sum(1), 1, atol=1e-3)
    assert np.abs(truth).max(0)[:2].max() < shown.half


def test_outer_surface_hides_nothing(dressed):
    """Skin under clothes is not part of it; the rest is as it was."""
    _, star, person = dressed
    assert 0.5 * len(star.faces) < len(person.faces) < len(star.faces)
    assert len(without_hidden(person).faces) == len(person.faces)


def test_samples_have_distances_of_their_points():
    person = capsule_person(1, 0.1)
    drawn = draw_samples(person, 400, 0)
    assert drawn.box.shape == (100, 3)
    spread = (drawn.near - drawn.surface).std()
    assert spread == pytest.approx(0.05, rel=0.1)
    assert (np.abs(drawn.near_sdf) <= np.linalg.norm(drawn.near - drawn.surface, axis=1) + 1e-3).all()
    assert (drawn.box_sdf[np.abs(drawn.box - person.points.mean(0)).max(1) > 1.2] > 0).all()
    assert np.allclose(np.linalg.norm(drawn.surface_normal, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("limbs", [PEOPLE_LIMBS, CAPSULE_LIMBS])
def test_unseen_poses_lie_outside_the_seen_ones(limbs):
    """The arms of training hang more than 29 degrees below the horizontal, those of the test less."""

    def drop(pose, side, sign):
        arm = pose[limbs.shoulder.format(side)] @ np.array([sign, 0, 0.0])
        return np.degrees(np.arcsin(-arm[1]))

    seen, unseen = [], []
    for seed in range(40):
        for side, sign in zip(limbs.sides, (1.0, -1.0), strict=True):
            seen.append(drop(clothed_pose(limbs, seed), side, sign))
            unseen.append(drop(clothed_pose(limbs, seed, unseen=True), side, sign))
    assert min(seen) > 29.9 > max(unseen) - 0.2
    assert max(seen) <= 68.1


def test_elbows_and_knees_bend_one_way():
    for seed in range(20):
        pose = clothed_pose(PEOPLE_LIMBS, seed)
        for side, sign in (("L", 1.0), ("R", -1.0)):
            assert (pose[f"lowerarm01.{side}"] @ np.array([sign, 0, 0]))[2] >= 0
            assert (pose[f"lowerleg01.{side}"] @ np.array([0, -1.0, 0]))[2] <= 0


def test_pose_noise_has_its_size():
    rig = capsule_rig()
    pose = clothed_pose(CAPSULE_LIMBS, 0)
    angles = [
        np.arccos(np.clip((np.trace(turn @ pose.get(name, np.eye(3)).T) - 1) / 2, -1, 1))
        for seed in range(20)
        for name, turn in noisy_pose(pose, rig.names, seed, 0.05).items()
    ]
    assert np.mean(np.square(angles)) == pytest.approx(3 * 0.05**2, rel=0.2)
    assert "pelvis" not in noisy_pose(pose, rig.names, 0, 0.05)


def test_test_people_are_of_other_shapes_and_clothes():
    for unseen in (False, True):
        body = clothed_body(11, unseen=unseen)
        assert is_unseen_shape(body.identity, stature(body.seed)) == unseen
        assert is_unseen_outfit(body.dressed.worn) == unseen
        assert body.person.strands is None


def test_a_sample_is_whole_and_repeats():
    settings = CapsuleSet(2, 2, 24, points=16, unseen=1)
    (one,), (two,) = list(settings.samples(0)), list(settings.samples(0))
    assert one.files["npz"] == two.files["npz"]
    with np.load(io.BytesIO(one.files["npz"]), allow_pickle=False) as file:
        table = {k: file[k] for k in file.files}
    assert table["images"].shape == (2, 24, 24, 3)
    assert table["normals"].shape == table["body_normals"].shape == (2, 2, 24, 24, 3)
    assert table["given_transforms"].shape == (2, 15, 4, 4)
    assert set(np.unique(table["masks"])) == {0, 255}
    outside = table["normals"][:, 0][table["masks"] == 0]
    assert (outside == 128).all()


def test_conventions_of_the_box():
    calib = calibration(1.25)
    assert np.allclose(calib @ np.array([1.25, 1.25, -1.25, 1]), [1, -1, -1, 1])
    assert normal_colors(np.array([0.0, 0, 1])).tolist() == [128, 128, 255]
    world, half = framed(np.array([[0.0, 0, 0], [0, 2, 0.0]]), 0.5)
    assert np.allclose(world[:3, 3], [0, -1, 0])
    assert half == pytest.approx(1.1)


def test_bad_settings():
    with pytest.raises(ConfigError, match="unseen"):
        ClothedSet(2, unseen=3)
    with pytest.raises(ConfigError, match="size"):
        ClothedSet(size=8)
