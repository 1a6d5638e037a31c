from __future__ import annotations

import numpy as np
import pytest
import torch

from mien.core.errors import ConfigError
from mien.methods.car import walk
from mien.synth.clothed_people import capsule_person, capsule_rig
from mien.synth.clothed_poses import CAPSULE_LIMBS, PEOPLE_LIMBS, joint_transforms
from tests.methods.car.test_avatar import person
from tests.render.test_skinned import Read

PHASES = np.arange(40) / 40


def heads_at(phase):
    """Joints of capsules by name at a phase of the walk."""
    own, rig = capsule_person(3, 0.0), capsule_rig()
    moves = joint_transforms(own.heads, rig.parents, rig.names, walk.walk_pose(CAPSULE_LIMBS, phase))
    moved = np.einsum("jab,jb->ja", moves[:, :3, :3], own.heads) + moves[:, :3, 3]
    return dict(zip(rig.names, moved, strict=True))


def test_knees_bend_backwards_only_and_legs_move_as_in_walking():
    hip, knee, toes = np.rad2deg([walk.leg_angles(t) for t in PHASES]).T
    assert (knee >= 0).all()
    assert 50 < knee.max() < 65
    assert PHASES[knee.argmax()] == pytest.approx(0.725, abs=0.03)  # in the swing
    assert (hip[0], hip[20]) == (pytest.approx(27), pytest.approx(-17))
    assert (toes >= -22.001).all()
    assert (toes <= 15.001).all()


def test_a_bump_by_hand():
    assert walk.bump(0.3, 0.3, 0.1) == 1
    assert walk.bump(0.95, 0.05, 0.1) == pytest.approx(walk.bump(0.15, 0.05, 0.1))  # periodic, even
    assert walk.bump(0.31, 0.3, 0.01) == pytest.approx(np.exp(-0.5), abs=1e-3)


@pytest.mark.parametrize("phase", [0.0, 0.2, 0.7])
def test_half_a_cycle_later_the_sides_are_swapped(phase):
    now, later = heads_at(phase), heads_at(phase + 0.5)
    for name, at in now.items():
        if name.endswith("_left"):
            mirrored = later[name.replace("_left", "_right")] * [-1, 1, 1]
            np.testing.assert_allclose(mirrored, at, atol=1e-5)


def test_arms_hang_and_swing_opposite_to_the_legs():
    at = heads_at(0.0)  # the left heel lands in front
    assert at["foot_left"][2] > 0.1 > -0.1 > at["foot_right"][2]
    assert at["lower_arm_left"][2] < at["upper_arm_left"][2]
    assert at["lower_arm_right"][2] > at["upper_arm_right"][2]
    for side in ("left", "right"):
        assert at[f"lower_arm_{side}"][1] < at[f"upper_arm_{side}"][1] - 0.15
        assert abs(at[f"foot_{side}"][0]) < 0.25  # legs are under the body


def test_shins_stay_behind_the_line_of_the_thighs():
    for phase in PHASES[::4]:
        at = heads_at(phase)
        for side in ("left", "right"):
            hip, knee, foot = (at[f"{n}_{side}"] for n in ("upper_leg", "lower_leg", "foot"))
            bend = np.cross(knee - hip, foot - knee)
            assert bend[0] > -1e-6  # about +x: backwards


def test_the_lowest_vertex_is_on_the_floor(avatar):
    motion = walk.walk_cycle(avatar, 8)
    assert len(motion.times) == 9
    assert motion.times[-1] == pytest.approx(walk.PERIOD)
    torch.testing.assert_close(motion.rotations[0], motion.rotations[-1])
    frames = walk.frames_of(avatar, motion)
    assert len(frames) == 8
    assert [float(f[:, 1].min()) for f in frames] == pytest.approx([0] * 8, abs=1e-5)
    tops = [float(f[:, 1].max()) for f in frames]
    assert max(tops) - min(tops) < 0.1  # the head bobs, it does not jump


def test_a_viewer_plays_the_same_walk(avatar, tmp_path):
    motion = walk.walk_cycle(avatar, 4)
    read = Read(avatar.export(tmp_path / "a.glb", animations={"walk": motion}))
    assert [a.name for a in read.file.animations] == ["photo", "walk"]


def test_rigs_are_told_apart():
    assert walk.limbs_of(capsule_rig().names) is CAPSULE_LIMBS
    names = [n.format(s) for n in vars(PEOPLE_LIMBS).values() if isinstance(n, str) for s in "LR"]
    assert walk.limbs_of(names) is PEOPLE_LIMBS
    with pytest.raises(ConfigError, match=r"no walk for the joints hip, chest, head"):
        walk.walk_cycle(person())


def test_a_cycle_has_frames(avatar):
    with pytest.raises(ConfigError, match="2 frames or more, got 1"):
        walk.walk_cycle(avatar, 1)
