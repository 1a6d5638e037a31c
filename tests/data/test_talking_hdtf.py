"""HDTF as talking heads: what training reads, from the packed layout."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mien.core.errors import DataError
from mien.data.hdtf import read_hdtf
from mien.data.talking_hdtf import (
    EXPRESSION,
    NAMES,
    even_moments,
    hdtf_heads,
    on_white,
    points_at_centre,
    read_clips,
    split_people,
)
from mien.data.talking_loader import TalkingLoader, talking_batch
from mien.methods.otavatar.rays import project
from mien.render.tracking import tracker_to_camera
from tests.data.avatar_fixtures import TEST, TRAIN, rows, write_hdtf


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_hdtf(tmp_path_factory.mktemp("hdtf") / "set")


@pytest.fixture(scope="module")
def found(root):
    return hdtf_heads(root, size=8, moments=2, val_people=1)


def test_splits_keep_persons_apart(root, found):
    people = [set(part.people) for part in (found.train, found.val, found.test)]
    assert [len(p) for p in people] == [1, 1, 3]
    assert not people[0] & people[1]
    assert len(found.train.people) + len(found.val.people) == len(TRAIN)
    assert len(found.test.people) == len(TEST)
    again = hdtf_heads(root, size=8, moments=2, val_people=1)
    assert again.fingerprint == found.fingerprint
    assert hdtf_heads(root, size=8, moments=3, val_people=1).fingerprint != found.fingerprint
    with pytest.raises(DataError, match="2 persons in the train list cannot lend 2"):
        split_people(read_hdtf(root).clips, 2, 0)


def test_tracks_cameras_and_pictures_are_the_stored_ones(root, found):
    test = found.test
    name = TEST[1]
    stored = rows(name + "coeff_3dmm", 3, 260)
    expected = np.concatenate([stored[:, 80:144], stored[:, 224:227], stored[:, 254:257]], 1)
    assert np.array_equal(test.tracks[1, np.arange(3)], expected)
    assert (len(NAMES), test.size, test.images.shape) == (70, 8, (3, 2, 1, 8, 8, 4))
    fine = rows(name + "condition", 3, 7)
    cameras = tracker_to_camera(fine[:, :3], fine[:, 3:6], fine[:, 6])
    np.testing.assert_allclose(test.cameras[1, :, 0], cameras[[0, 2]], rtol=1e-5, atol=1e-5)
    clip = read_hdtf(root, "test")
    for moment, frame in ((0, 0), (1, 2)):
        level = clip.frame(clip.clips[1], frame).mean()
        picture = test.images[np.array([1]), np.array([moment]), np.array([0])][0]
        assert picture[..., :3].mean() == pytest.approx(level, abs=1)
        assert (picture[..., 3] == 255).all()
    assert np.isnan(test.depth).all()


def test_a_window_is_the_rows_around_its_moment(found):
    windows = found.test.windows(2)
    assert windows.shape == (3, 2, 70, 5)
    whole = found.test.tracks[2, np.arange(3)]
    assert np.array_equal(windows[2, 0], whole[[0, 0, 0, 1, 2]].T)
    assert np.array_equal(windows[2, 1], whole[[0, 1, 2, 2, 2]].T)
    level = np.abs(whole[[0, 2], :EXPRESSION]).sum(1)
    np.testing.assert_allclose(found.test.strength(2), level, rtol=1e-5)


def test_landmarks_project_to_the_stored_pixels(root, found):
    clip = read_hdtf(root, "test")
    pixels = clip.keypoints(clip.clips[0])[[0, 2]] / 512
    points, cameras = (torch.from_numpy(x[0]) for x in (found.test.points, found.test.cameras))
    seen = project(points, cameras)[:, 0]
    torch.testing.assert_close(seen, torch.from_numpy(pixels), rtol=0, atol=1e-4)
    middle = points_at_centre(np.full((1, 1, 2), 0.5, np.float32), found.test.cameras[0, :1, 0])[0, 0]
    turn = found.test.cameras[0, 0, 0, :16].reshape(4, 4)
    assert float(turn[:3, 2] @ middle) == pytest.approx(0, abs=1e-5)  # as deep as the middle of the cube


def test_batches_of_training(found):
    loader = TalkingLoader(found.test, batch=2, seed=0, radius=1, pairs=True)
    batch = next(loader.stream(0, 0, 1))[0]
    assert batch.images.shape == (2, 2, 1, 4, 8, 8)
    assert batch.windows.shape == (2, 2, 70, 3)
    assert batch.cameras.shape == (2, 2, 1, 25)
    assert bool(batch.depth.isnan().all())
    part = found.test.part(1, 1)
    same = talking_batch(part, part.windows(1), np.array([0]), np.array([[1]]))
    whole = talking_batch(found.test, found.test.windows(1), np.array([1]), np.array([[1]]))
    assert torch.equal(same.images, whole.images)
    assert torch.equal(same.windows, whole.windows)
    assert part.people == found.test.people[1:2]
    with pytest.raises(IndexError, match="one camera"):
        talking_batch(part, part.windows(1), np.array([0]), np.array([[1]]), np.array([[[1]]]))


def test_the_backdrop_becomes_white():
    """A red square on green that JPEG has stirred: green is the backdrop; edges are averaged."""
    picture = np.full((8, 8, 3), (0, 200, 0), np.uint8)
    picture[2:7, 2:6] = (220, 10, 10)
    picture[0, 0] += 9
    out = on_white(picture, 4, (0, 200, 0))
    assert out[0, 0].tolist() == [255, 255, 255, 0]
    assert out[1, 1].tolist() == [220, 10, 10, 255]
    np.testing.assert_allclose(out[3, 1], [237.5, 132.5, 132.5, 127.5], atol=1)
    assert (on_white(picture, 8)[..., 3] == 255).all()
    assert on_white(picture, 16).shape == (16, 16, 4)


def test_short_clips_repeat_moments(root):
    assert even_moments(10, 4).tolist() == [0, 3, 6, 9]
    found = read_hdtf(root, "train")
    heads = read_clips(found, found.clips[:1], 8, 5)
    assert heads.moments.tolist() == [[0, 0, 1, 1, 2]]


def test_a_damaged_track_is_told(tmp_path):
    root = write_hdtf(tmp_path / "set", change={f"{TRAIN[0]}-condition": b"1234"})
    with pytest.raises(DataError, match="condition must hold"):
        hdtf_heads(root, size=8, moments=2, val_people=1)
