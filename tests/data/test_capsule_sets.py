"""Faces for capsules: made and real sets, broken copies, batches."""

import numpy as np
import pytest

from mien.core.errors import ConfigError, DataError
from mien.data.capsule_check import check_capsules, guess_capsule_kind
from mien.data.capsule_files import CapsuleSet, split_people, square, squared_points
from mien.data.capsule_loader import CapsuleLoader, capsule_batches
from mien.data.capsule_sets import capsule_set, is_drawn
from mien.data.config import CapsuleData
from mien.data.multipie import multipie_files
from tests.data.capsule_fixtures import picture, write_bfm, write_bp4d, write_celeba, write_multipie

DEBUG = CapsuleData(kind="debug", size=16, people=3, val_people=1, test_people=2, per_identity=2)


def test_made_parts_hold_other_people_and_all_truth(tmp_path, monkeypatch):
    monkeypatch.setenv("MIEN_HOME", str(tmp_path))
    parts = [capsule_set(DEBUG, part) for part in ("train", "val", "test")]
    assert [len(p) for p in parts] == [6, 2, 4]
    who = [set(p.identity.tolist()) for p in parts]
    assert len(set.union(*who)) == sum(map(len, who)) == 6
    test = parts[2]
    assert np.allclose(test.yaw, np.rad2deg(test.view[:, 1]))
    assert np.array_equal(test.mask, test.part > 0)
    assert test.some([1]).landmarks.shape == (1, 5, 2)
    drawn = CapsuleData(
        kind="param", size=16, people=3, val_people=1, test_people=2, per_identity=2, workers=1
    )
    assert not is_drawn(drawn)
    kept = [capsule_set(drawn, "test") for _ in range(2)]  # drawn, then read
    assert is_drawn(drawn)
    for own in kept:
        assert np.array_equal(own.pictures, test.pictures)
        assert np.array_equal(own.normal, test.normal)


def test_configs_that_make_no_sense():
    with pytest.raises(ConfigError, match="root"):
        CapsuleData(kind="heads3d", root="x")
    with pytest.raises(ConfigError, match="people does not apply"):
        CapsuleData(kind="orl", people=3)
    with pytest.raises(ConfigError, match="hard"):
        CapsuleData(kind="heads3d", hard=True)
    with pytest.raises(ConfigError, match="no part"):
        capsule_set(DEBUG, "all")
    with pytest.raises(ConfigError, match=r"--data\.root"):
        capsule_set(CapsuleData(kind="celeba"), "train")


def test_celeba_keeps_large_faces_and_mafl_apart(tmp_path):
    write_celeba(tmp_path)
    data = CapsuleData(kind="celeba", size=20, root=str(tmp_path))
    train, test = capsule_set(data, "train"), capsule_set(data, "test")
    assert (len(train), len(test)) == (1, 1)
    assert np.allclose(train.landmarks[0, 0], [(10.5 / 60) * 20 - 0.5, (20.5 / 80) * 20 - 0.5])
    (tmp_path / "MAFL").mkdir()
    (tmp_path / "MAFL" / "testing.txt").write_text("000002.jpg\n000006.jpg\n")
    assert len(capsule_set(data, "test")) == 2
    with pytest.raises(DataError, match="no pictures"):
        capsule_set(data, "train")  # the only large one is MAFL's
    assert guess_capsule_kind(tmp_path) == "celeba"


def test_celeba_in_folders(tmp_path):
    for part in ("train", "val", "test"):
        picture(tmp_path / part / "1.jpg", 30, 40, grey=part == "val")
    val = capsule_set(CapsuleData(kind="celeba", size=16, root=str(tmp_path)), "val")
    assert val.landmarks is None
    assert (val.pictures[..., 0] == val.pictures[..., 2]).all()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("6\n", "7\n", "says 7 pictures, lists 6"),
        ("6\n", "", "line 1 must say"),
        ("35 55", "35", "line 8 is not a name and 10 numbers"),
        ("35 51", "35 x", "line 4 is not a name and 10 numbers"),
        ("000002.jpg", "000009.jpg", "000002.jpg is in the partition"),
    ],
)
def test_broken_lists_of_landmarks_are_told_in_a_line(tmp_path, old, new, said):
    write_celeba(tmp_path)
    path = tmp_path / "list_landmarks_celeba.txt"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(DataError, match=said) as error:
        capsule_set(CapsuleData(kind="celeba", root=str(tmp_path)), "train")
    assert "\n" not in str(error.value)
    assert not check_capsules("celeba", tmp_path).is_sound


def test_bfm_depth_is_that_of_the_page(tmp_path):
    write_bfm(tmp_path)
    own = capsule_set(CapsuleData(kind="bfm", size=34, root=str(tmp_path)), "test")
    assert own.pictures.shape == (2, 34, 34, 3)
    assert own.depth[0, 17, 17] == pytest.approx(1.1 - 0.2 * 204 / 255)
    assert own.depth[0, 0, 0] == 0
    (tmp_path / "test" / "depth" / "0001_depth.png").unlink()
    with pytest.raises(DataError, match=r"the depth of 0001_image\.png"):
        capsule_set(CapsuleData(kind="bfm", size=34, root=str(tmp_path)), "test")
    assert len(check_capsules("bfm", tmp_path).problems) == 1


def test_people_of_bp4d_and_multipie_do_not_overlap(tmp_path):
    write_bp4d(tmp_path / "b")
    write_multipie(tmp_path / "m")
    for kind, place in (("bp4d", tmp_path / "b"), ("multipie", tmp_path / "m")):
        data = CapsuleData(kind=kind, size=16, root=str(place))
        people = [set(capsule_set(data, p).identity.tolist()) for p in ("train", "val", "test")]
        assert sum(map(len, people)) == len(set.union(*people)) == 5
        report = check_capsules(kind, place)
        assert report.is_sound
        assert any("people: 5" in note for note in report.notes)
        assert guess_capsule_kind(place) == kind
    assert {file.yaw for file in multipie_files(tmp_path / "m", "train")} == {0.0, 30.0}
    picture(tmp_path / "b" / "F001" / "T1" / "0002.jpg", 9, 9)
    assert "9 x 9 pixels" in check_capsules("bp4d", tmp_path / "b").problems[0]
    with pytest.raises(DataError, match="session01"):
        multipie_files(tmp_path / "b", "train")


def test_squares_and_their_points():
    image = np.zeros((40, 60, 3), np.uint8)
    image[8:12, 30:34] = 255
    small = square(image, 10, 40)
    row, column = np.argwhere(small[..., 0] == 255)[0]
    assert np.allclose(squared_points(np.array([31.5, 9.5]), image.shape, 10, 40), [column, row], atol=1e-9)
    assert square(image, 10, None).shape == (10, 10, 3)
    with pytest.raises(DataError, match="at least 3"):
        split_people(["a", "b"], 0, "train")


def test_limit_spreads_evenly(tmp_path):
    write_bp4d(tmp_path, 6)
    whole = capsule_set(CapsuleData(kind="bp4d", size=16, root=str(tmp_path)), "train")
    some = capsule_set(CapsuleData(kind="bp4d", size=16, root=str(tmp_path), limit=2), "train")
    assert np.array_equal(some.pictures, whole.pictures[[0, -1]])


def test_batches_depend_on_seed_and_step_alone():
    faces = CapsuleSet(
        np.arange(10, dtype=np.uint8)[:, None, None, None] + np.zeros((10, 16, 16, 3), np.uint8)
    )
    loader = CapsuleLoader(faces, 4, 7)
    stream = loader.stream(0, 0, 1)
    first = [next(stream)[0] for _ in range(6)]
    resumed = next(loader.stream(5, 0, 1))[0]
    assert resumed.index.tolist() == first[5].index.tolist()
    assert sorted(k for b in first[: loader.steps_per_epoch(1)] for k in b.index.tolist()) == list(range(10))
    halves = [next(loader.stream(0, rank, 2))[0].index.tolist() for rank in (0, 1)]
    assert sorted(halves[0] + halves[1]) == sorted(first[0].index.tolist())
    assert np.allclose(first[0].image[:, 0, 0, 0].numpy() * 255, first[0].index)
    assert sum(len(b) for b in capsule_batches(faces, 3)) == 10
