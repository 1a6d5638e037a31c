from __future__ import annotations

import numpy as np
import pytest

from mien.synth.body import people
from mien.synth.landmarks import COCO, LANDMARKS, PARTS, coco_keypoints, part_of_bone, vertex_parts
from mien.synth.poses import pose_array

from .made import head

MIRROR = (
    16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17,
    27, 28, 29, 30, 35, 34, 33, 32, 31, 45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
    54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65,
)  # fmt: skip
"""iBUG's landmark across the face."""


@pytest.fixture(scope="module")
def points():
    return people().vertices[list(LANDMARKS)]


def test_68_vertices_of_the_skin(points):
    assert len(set(LANDMARKS)) == len(LANDMARKS) == 68
    assert np.isin(LANDMARKS, np.unique(people().faces["body"])).all()
    assert points[:, 2].min() > 0.5  # the front half of the head


def test_left_and_right_mirror(points):
    np.testing.assert_allclose(points[list(MIRROR)], points * [-1, 1, 1], atol=1e-6)
    assert (points[[*range(8), 17, 36, 48, 60], 0] < 0).all()  # the viewer's left is the subject's right


def test_they_lie_where_a_face_has_them(points):
    x, y, z = points.T
    assert (np.diff(x[:17]) > 0).all()  # the jaw from side to side
    assert (np.diff(y[:9]) < 0).all()  # down to the chin
    assert (np.diff(z[2:9]) > -0.01).all()  # and forward
    for group in ([*range(17, 22), *range(22, 27)], range(31, 36), [36, 37, 38, 39, 42, 43, 44, 45],
                  range(48, 55), range(60, 65)):  # fmt: skip
        assert (np.diff(x[list(group)]) > 0).all(), group
    for group in (range(55, 60), range(65, 68), (46, 47), (40, 41)):
        assert (np.diff(x[list(group)]) < 0).all(), group
    assert (np.diff(y[27:31]) < 0).all()  # the bridge of the nose, to its tip:
    assert z.argmax() == 30
    brows, eyes, nose, mouth = y[17:27], y[36:48], y[31:36], y[48:]
    assert brows.min() > eyes.max() > eyes.min() > nose.max() > nose.min() > mouth.max() > mouth.min() > y[8]
    assert (y[[37, 38, 43, 44]] > y[[41, 40, 47, 46]] + 0.04).all()  # upper lids over lower ones
    assert (y[[50, 51, 52]] > y[[61, 62, 63]]).all()  # lips: outer over inner, upper over lower
    assert (y[[61, 62, 63]] > y[[67, 66, 65]]).all()
    assert (y[[67, 66, 65]] > y[[58, 57, 56]]).all()


@pytest.mark.parametrize("identity", [1, 5, 12])
def test_landmarks_of_a_picture_lie_on_what_they_name(identity):
    """Frontal, 256 pixels: eye corners and lids touch the eyeballs, the rest lies on the face."""
    made = head(identity, 0, 256, True)
    assert made.landmarks.shape == (68, 3)
    eye = np.isin(made.part, (2, 3))
    for k in range(36, 48):
        x, y, depth = made.landmarks[k]
        i, j = int(y), int(x)
        assert eye[i - 4 : i + 5, j - 4 : j + 5].any(), k
        assert made.visible[k]
        around = made.depth[i - 3 : i + 4, j - 3 : j + 4]
        assert np.abs(around - depth).min() < 0.006
    left_of_picture = made.part[:, :128]
    assert (left_of_picture == 3).sum() > (left_of_picture == 2).sum()  # the subject's right eye
    for k in range(27, 36):
        x, y, _ = made.landmarks[k]
        assert made.part[int(y), int(x)] == 1 or not made.visible[k], k
    assert made.visible[[27, 30, 33, 51, 57]].all()


def test_hidden_landmarks_are_marked():
    """A head turned by a profile's angle hides the far eye's outer corner."""
    from dataclasses import replace

    from mien.synth.looks import sample_shot
    from mien.synth.portraits import photograph

    from .made import person

    shot = sample_shot(3, frontal=True, glasses=0)
    turned = photograph(person(12), replace(shot, yaw=0.9), 64)
    far, near = (45, 36) if turned.rotation[0, 2] > 0 else (36, 45)
    straight = photograph(person(12), shot, 64)
    assert straight.visible[[36, 45]].all()
    hidden = [k for k in (far, near) if not turned.visible[k]]
    assert len(hidden) == 1
    other = turned.landmarks[next(k for k in (far, near) if turned.visible[k]), 2]
    assert turned.landmarks[hidden[0], 2] > other  # what is hidden is farther away


def test_coco_keypoints_of_the_base_body():
    human = people()
    at = dict(zip(COCO, coco_keypoints(human, human.vertices, human.joints(human.vertices)), strict=True))
    assert len(at) == 17
    for name, point in at.items():
        if name.startswith("left"):
            np.testing.assert_allclose(at["right" + name[4:]], point * [-1, 1, 1], atol=5e-3)
            assert point[0] > 0.2  # the subject's left is +x
    assert COCO[:5] == ("nose", "left_eye", "right_eye", "left_ear", "right_ear")
    assert COCO[5:] == tuple(f"{s}_{n}" for n in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
                             for s in ("left", "right"))  # fmt: skip
    heights = [at[f"left_{n}"][1] for n in ("eye", "shoulder", "elbow", "hip", "knee", "ankle")]
    assert (np.diff(heights) < 0).all()
    assert at["nose"][2] > at["left_eye"][2] > at["left_ear"][2]


def test_coco_keypoints_follow_a_pose():
    import torch

    human = people()
    turn = np.array([[0, 1.0, 0], [-1, 0, 0], [0, 0, 1]])  # the left arm turns down about z
    pose = torch.as_tensor(pose_array(human, {"upperarm01.L": turn}))[None]
    out = human.forward({}, pose=pose)
    keys = coco_keypoints(human, out.vertices[0].numpy(), out.joints[0].numpy())
    rest = coco_keypoints(human, 0.1 * human.vertices, 0.1 * human.joints(human.vertices))
    moved = np.linalg.norm(keys - rest, axis=1) > 1e-3
    assert [n for n, m in zip(COCO, moved, strict=True) if m] == ["left_elbow", "left_wrist"]


def test_parts_of_the_base_body():
    human = people()
    part = vertex_parts(human)
    assert set(part.tolist()) == set(range(len(PARTS)))
    middle = {n: human.vertices[part == k].mean(0) for k, n in enumerate(PARTS)}
    for name, point in middle.items():
        if name.startswith("left"):
            assert point[0] > 0.5, name
            np.testing.assert_allclose(middle["right" + name[4:]], point * [-1, 1, 1], atol=0.15)
    heights = [middle[n][1] for n in ("head", "torso", "left_upper_leg", "left_lower_leg", "left_foot")]
    assert (np.diff(heights) < 0).all()
    assert middle["left_hand"][0] > middle["left_lower_arm"][0] > middle["left_upper_arm"][0]
    assert (human.vertices[part == 1][:, 1] > 5.3).all()  # nothing of the head below the neck


def test_part_of_a_bone():
    assert PARTS[part_of_bone("finger2-1.R")] == "right_hand"
    assert PARTS[part_of_bone("shoulder01.L")] == "torso"
    assert PARTS[part_of_bone("jaw")] == "head"
