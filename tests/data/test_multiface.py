from __future__ import annotations

import numpy as np
import pytest

from mien.core.errors import DataError
from mien.data.multiface import (
    multiface_entities,
    multiface_missing,
    multiface_runs,
    read_frame_list,
    read_krt,
    read_multiface,
)
from tests.data.avatar_fixtures import krt, write_multiface


def test_cameras(tmp_path):
    (tmp_path / "KRT").write_text(krt(["400002", "400004"]))
    cameras = read_krt(tmp_path / "KRT")
    assert list(cameras) == ["400002", "400004"]
    second = cameras["400004"]
    assert second.intrinsics.tolist() == [[7001, 0, 660], [0, 7000, 1020], [0, 0, 1]]
    assert second.distortion.tolist() == [0] * 5
    assert second.rotation[0, 2] == pytest.approx(np.sin(0.2))
    assert second.translation.tolist() == [1, 0, 1000]
    assert np.allclose(second.rotation @ second.rotation.T, np.eye(3))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("0 0 0 0 0\n", "", "not eight for each camera"),
        ("0 0 1\n", "0 0\n", "camera a is not 3 x 3"),
        ("0 0 1\n", "0 0 x\n", "camera a is not 3 x 3"),
        ("0 1 0 0\n", "0 2 0 0\n", "the rotation of camera a is none"),
        ("0 0 0 0 0\n", "0 nan 0 0 0\n", "camera a is not 3 x 3"),
    ],
)
def test_cameras_that_are_wrong(tmp_path, old, new, said):
    (tmp_path / "KRT").write_text(krt(["a"]).replace(old, new, 1))
    with pytest.raises(DataError, match=said):
        read_krt(tmp_path / "KRT")


def test_pictures_in_order_and_filtered(tmp_path):
    root = write_multiface(tmp_path)
    frames = read_multiface(root)
    assert len(frames) == 2 * 2 * 2 * 3
    assert frames[0][:4] == ("002643814", "E001_Neutral_Eyes_Open", "400002", "000102")
    assert frames[1].camera == "400004"
    assert all(f.path.is_file() for f in frames)
    own = read_multiface(root, people=["6795937"], expressions=["SEN_a_good_morrow"], cameras=["400004"])
    assert [f.frame for f in own] == ["000102", "000105", "000108"]
    assert {f.person for f in own} == {"6795937"}
    assert read_multiface(multiface_entities(root)[0]) == frames[:12]
    with pytest.raises(DataError, match="no pictures images/EXPRESSION"):
        read_multiface(root, people=["1"])


def test_the_first_frame_of_one_camera_is_the_source(tmp_path):
    runs = multiface_runs(read_multiface(write_multiface(tmp_path)), "400004")
    assert len(runs) == 4
    for run in runs:
        assert (run.source.camera, run.source.frame) == ("400004", "000102")
        assert len(run.targets) == 5
        assert run.source not in run.targets
        assert {t.person for t in run.targets} == {run.source.person}
    with pytest.raises(DataError, match="no picture of camera 1; it has 400002"):
        multiface_runs(read_multiface(tmp_path), "1")


def test_listed_frames_that_are_missing(tmp_path):
    root = write_multiface(tmp_path)
    assert list(multiface_missing(root)) == []  # an expression that was not fetched is no problem
    entity = multiface_entities(root)[0]
    for path in entity.glob("images/SEN*/*/000105.png"):
        path.unlink()
    (told,) = multiface_missing(root)
    assert "no picture of frame 000105 (1 listed frames are missing)" in told
    (entity / "frame_list.txt").write_text("E001 000102\n../x 1\n")
    with pytest.raises(DataError, match=r"frame_list\.txt:2: expected"):
        read_frame_list(entity / "frame_list.txt")


def test_sets_that_are_none(tmp_path):
    with pytest.raises(DataError, match="no folder m--DATE"):
        read_multiface(tmp_path)
    root = write_multiface(tmp_path, people=["1"])
    entity = multiface_entities(root)[0]
    (entity / "KRT").write_text(krt(["400002"]))
    with pytest.raises(DataError, match="camera 400004 is not in"):
        read_multiface(root)
