"""Keypoints: the file as it is read, refusals, the distance against loops, and the fit without a mask."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from mien.core.errors import ConfigError, DataError
from mien.methods.car.keypoints import (
    KeypointFit,
    Person,
    check_seen,
    enlarged,
    fit_keypoints,
    keypoint_error,
    projected,
    read_keypoints,
)
from mien.methods.car.photo import crop_matrix
from mien.methods.car.pose_fit import Skin, turns

NAMES = ("nose", "left_wrist", "right_wrist")
ROWS = [[[100.0, 50.0, 0.9], [0.0, 0.0, 0.7], [200.0, 100.0, 0.2]]]
CALIB = torch.diag(torch.tensor([0.5, -0.5, 0.5, 1.0]))


def write(path, **changes):
    """A file in the format of tools/track.py; None leaves an array out."""
    arrays = {"keypoints": np.array(ROWS, np.float32), "names": np.array(NAMES), "size": np.array([200, 100])}
    np.savez(path, **{k: v for k, v in {**arrays, **changes}.items() if v is not None})
    return path


def limb(dtype=torch.float32):
    """Two bones of 1 m along x: their heads, and the end of the second."""
    points = torch.tensor([[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [0.5, 0.2, 0.1]], dtype=dtype)
    weights = torch.tensor([[1.0, 0], [0, 1], [0, 1], [0.7, 0.3]], dtype=dtype)
    return Skin(points, torch.zeros(0, 3, dtype=torch.int32), weights, points[:2], (-1, 0))


def marked(box, confidence=None):
    names = tuple(f"p{k}" for k in range(len(box)))
    return Person(names, box, torch.ones(len(box)).to(box) if confidence is None else confidence)


def test_a_file_is_read(tmp_path):
    mask = np.zeros((100, 200), np.uint8)
    mask[:, 100:] = 255
    person = read_keypoints(write(tmp_path / "k.npz", mask=mask), (100, 200))
    assert person.names == NAMES
    # The picture is 2 x 1 in the middle of its square box.
    torch.testing.assert_close(person.points[:2], torch.tensor([[0.0, 0.0], [-1.0, -0.5]]))
    torch.testing.assert_close(person.confidence, torch.tensor([0.9, 0.7, 0.0]))  # 0.2 is not seen
    np.testing.assert_array_equal(person.mask, mask)
    twice = read_keypoints(tmp_path / "k.npz", (200, 400))  # the same photograph, enlarged
    torch.testing.assert_close(twice.points, person.points)
    assert twice.mask.shape == (200, 400)
    assert read_keypoints(write(tmp_path / "n.npz"), (100, 200)).mask is None


def test_names_and_the_square_of_the_person(tmp_path):
    person = read_keypoints(write(tmp_path / "k.npz"), (100, 200))
    own = person.named(("left_wrist", "left_knee", "nose"))
    torch.testing.assert_close(own.confidence, torch.tensor([0.7, 0.0, 0.9]))
    torch.testing.assert_close(own.points[[0, 2]], person.points[[1, 0]])
    square = person.cropped(crop_matrix((100, 200), (80.0, 20.0, 40.0)))
    torch.testing.assert_close(square.points[0], torch.tensor([0.0, 0.5]))  # (20, 30) of 40 x 40


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"keypoints": None, "size": None}, "no keypoints, size in it; write it by: python tools/track.py"),
        ({"keypoints": np.zeros((0, 3, 3))}, "nobody is in it"),
        ({"keypoints": np.zeros((2, 3, 3))}, "2 people are in it"),
        ({"keypoints": np.zeros((1, 3, 3), int)}, r"int64 \(1, 3, 3\), not floats"),
        ({"keypoints": np.zeros((1, 33, 3))}, r"\(1, 33, 3\), not floats \(P, 3, 3\)"),
        ({"keypoints": np.full((1, 3, 3), np.nan)}, "no numbers"),
        ({"keypoints": np.array([[[np.nan, 1.0, 0.9]] * 3])}, "no numbers"),
        ({"keypoints": np.array([[[1.0, 1.0, 90.0]] * 3])}, "confidence, from 0 to 1"),
        ({"names": np.array(["nose"] * 3)}, "two keypoints have the same name"),
        (
            {"size": np.array([100, 200])},
            "of 100 x 200 pixels, this one has 200 x 100; track this photograph",
        ),
        ({"size": np.array([0, 0])}, "of 0 x 0 pixels"),
        ({"size": np.array([np.nan, 100])}, "of nan x 100 pixels"),
        ({"size": np.array(["a", "b"])}, "of 0 x 0 pixels"),
        ({"mask": np.ones((5, 5))}, "the mask is float64"),
    ],
)
def test_files_that_are_refused(tmp_path, changes, said):
    with pytest.raises(DataError, match=said) as error:
        read_keypoints(write(tmp_path / "k.npz", **changes), (100, 200))
    assert "\n" not in str(error.value)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(DataError, match="no such file; give the npz of a person's keypoints"):
        read_keypoints(tmp_path / "none.npz", (100, 200))
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(DataError, match="not an npz of a person's keypoints"):
        read_keypoints(tmp_path / "photo.jpg", (100, 200))
    np.savez(tmp_path / "track.npz", expression=np.zeros((4, 52)), names=np.array(["jawOpen"] * 52))
    with pytest.raises(DataError, match="no keypoints, size in it"):
        read_keypoints(tmp_path / "track.npz", (100, 200))


def test_unseen_points_may_be_anywhere(tmp_path):
    rows = np.array(ROWS)
    rows[0, 2, :2] = np.nan
    person = read_keypoints(write(tmp_path / "k.npz", keypoints=rows), (100, 200))
    assert bool(person.points.isfinite().all())
    assert person.confidence[2] == 0


def test_keypoints_of_somebody_else_are_refused():
    mask = torch.zeros(64, 64, dtype=torch.bool)
    mask[16:48, 16:48] = True  # the box from -0.5 to 0.5
    inside = marked(torch.rand(8, 2, generator=torch.Generator().manual_seed(0)) - 0.5)
    assert check_seen(inside, mask) is None
    away = replace(inside, points=inside.points + torch.tensor([1.2, 0.0]))
    with pytest.raises(DataError, match="0% of the keypoints lie in the mask, less than 50%"):
        check_seen(away, mask)
    few = replace(inside, confidence=torch.tensor([1.0, 1, 1, 0, 0, 0, 0, 0]))
    with pytest.raises(DataError, match="only 3 keypoints of the body are seen"):
        check_seen(few, mask)


def test_points_and_distance_against_loops():
    """Joint by joint and point by point, in numpy."""
    marks, angles = (
        limb(torch.float64),
        torch.tensor([[0.1, 0.2, 0.3], [-0.2, 0.5, 0.1]], dtype=torch.float64),
    )
    move, calib = torch.tensor([0.1, -0.2, 0.3], dtype=torch.float64), CALIB.double()
    box = projected(marks, turns(angles)[None], move[None], calib[None])[0]
    matrices = []
    for j, parent in enumerate(marks.parents):
        own, turn, head = np.eye(4), turns(angles[j]).numpy(), marks.joints[j].numpy()
        own[:3, :3], own[:3, 3] = turn, head - turn @ head
        matrices.append(own if parent < 0 else matrices[parent] @ own)
    q, c = np.arange(8.0).reshape(4, 2) / 10, np.array([1.0, 0.5, 0.0, 0.8])
    error = 0.0
    for k, x in enumerate(marks.vertices.numpy()):
        mean = sum(float(marks.weights[k, j]) * matrices[j] for j in range(2))
        posed = (mean @ [*x, 1])[:3] + move.numpy()
        shown = (calib.numpy() @ [*posed, 1])[:2]
        np.testing.assert_allclose(box[k].numpy(), shown, atol=1e-12)
        error += c[k] * ((shown - q[k]) ** 2).sum() / c.sum()
    person = marked(torch.from_numpy(q), torch.from_numpy(c))
    assert float(keypoint_error(box, person)) == pytest.approx(error, rel=1e-12)


def test_gradient():
    marks = limb(torch.float64)
    person = marked(torch.tensor([[0.0, 0], [0.4, -0.1], [0.7, -0.4], [0.2, 0]], dtype=torch.float64))
    at = torch.full((1, 2, 3), 0.2, dtype=torch.float64, requires_grad=True)
    move = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda w, t: keypoint_error(projected(marks, turns(w), t, CALIB[None].double()), person), (at, move)
    )


def test_pose_and_scale_are_found():
    """From two starts at once, each as if alone; a point that is not seen does not matter."""
    marks = limb()
    true = turns(torch.tensor([[[0.0, 0.0, 0.5], [0.0, 0.0, -0.8]]]))
    large = enlarged(CALIB[None], torch.tensor([0.1]))
    box = projected(marks, true, torch.tensor([[-0.15, 0.1, 0.0]]), large)[0]
    box[3] = 9.0
    person = marked(box, torch.tensor([1.0, 1, 1, 0]))
    starts = turns(torch.tensor([[[0.0, 0, 0], [0, 0, 0]], [[0, 0, -0.4], [0, 0, 0.3]]]))
    still, free = torch.zeros(2, 3), torch.ones(2)
    settings = KeypointFit(weight=50.0, steps=150, prior=0.001)
    found = fit_keypoints(marks, person, starts, still, CALIB.expand(2, 4, 4), free, settings)
    assert float(found.losses.max()) < 0.005
    for pose in found.rotations:
        torch.testing.assert_close(pose, true[0], atol=0.06, rtol=0)
    torch.testing.assert_close(found.calib[:, 0, 0], torch.full((2,), 0.5 * np.exp(0.1)), atol=0.02, rtol=0)
    alone = fit_keypoints(marks, person, starts[1:], still[1:], CALIB[None], free, settings)
    torch.testing.assert_close(alone.rotations[0], found.rotations[1], atol=1e-4, rtol=0)


def test_the_prior_keeps_the_start():
    marks, person = limb(), marked(torch.tensor([[0.0, 0], [0, -0.5], [0, -1.0], [0, 0]]))
    start = torch.eye(3).expand(1, 2, 3, 3)
    held = fit_keypoints(
        marks, person, start, torch.zeros(1, 3), CALIB[None], torch.ones(2), KeypointFit(prior=1e4, steps=40)
    )
    torch.testing.assert_close(held.rotations, start, atol=0.05, rtol=0)
    fixed = fit_keypoints(
        marks, person, start, torch.zeros(1, 3), CALIB[None], torch.zeros(2), KeypointFit(steps=3)
    )
    torch.testing.assert_close(fixed.rotations, start)
    with pytest.raises(ConfigError, match="lr > 0"):
        KeypointFit(lr=0.0)
