from __future__ import annotations

import os
import shutil

import numpy as np
import pytest

from mien.core.errors import DataError
from mien.data.config import ClassificationData
from mien.data.folder import folder_splits
from mien.data.longtail import longtail_counts
from tests.data.fixtures import write_folder, write_picture

PARTS = ("train", "val", "test")


def config(root, **fields):
    return ClassificationData(kind="folder", root=str(root), **fields)


def names(images):
    return {str(images.path(i)) for i in range(len(images))}


def test_split_folders(tmp_path):
    splits = folder_splits(config(write_folder(tmp_path, {"b": 3, "a": 2}, parts=PARTS)))
    for part in PARTS:
        assert splits.get(part).classes == ("a", "b")
        assert splits.get(part).counts().tolist() == [2, 3]
        assert all(f"/{part}/" in name for name in names(splits.get(part)))
    assert splits.train.pictures([0])[0].shape == (12, 9, 3)
    assert splits.note == ""


@pytest.mark.parametrize(
    "rename", [{"val": "valid"}, {"val": "validation", "train": "Train", "test": "Test"}]
)
def test_other_spellings_of_the_parts(tmp_path, rename):
    write_folder(tmp_path, {"a": 2, "b": 3}, parts=[rename.get(p, p) for p in PARTS])
    splits = folder_splits(config(tmp_path))
    assert [len(splits.get(part)) for part in PARTS] == [5, 5, 5]


def test_absent_parts(tmp_path):
    write_folder(tmp_path / "no_val", {"a": 4, "b": 3}, parts=("train", "test"))
    splits = folder_splits(config(tmp_path / "no_val", val_per_class=2))
    assert [splits.get(part).counts().tolist() for part in PARTS] == [[2, 1], [2, 2], [4, 3]]
    assert "validation: 4 images held out of training" in splits.note
    write_folder(tmp_path / "no_test", {"a": 4, "b": 3}, parts=("train", "val"))
    splits = folder_splits(config(tmp_path / "no_test", val_per_class=2))
    assert all("/val/" in name for name in names(splits.test))
    assert all("/train/" in name for name in names(splits.val))
    assert "no test folder: val is the test set" in splits.note
    write_folder(tmp_path / "only", {"a": 4, "b": 3}, parts=("train",))
    with pytest.raises(DataError, match="has train, but neither val nor test"):
        folder_splits(config(tmp_path / "only"))


def test_a_class_named_train_is_a_class(tmp_path):
    splits = folder_splits(config(write_folder(tmp_path, {"bus": 10, "train": 10})))
    assert splits.train.classes == ("bus", "train")


def test_unsplit_folders_are_split_70_10_20(tmp_path):
    write_folder(tmp_path, {"a": 10, "b": 20, "c": 30})
    splits = folder_splits(config(tmp_path))
    assert [splits.get(part).counts().tolist() for part in PARTS] == [[7, 14, 21], [1, 2, 3], [2, 4, 6]]
    everything = [names(splits.get(part)) for part in PARTS]
    assert len(set.union(*everything)) == sum(map(len, everything)) == 60
    assert "split 70/10/20" in splits.note
    assert folder_splits(config(tmp_path)).fingerprint == splits.fingerprint


def test_the_split_moves_with_the_folder_and_not_with_the_seed(tmp_path):
    write_folder(tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    os.rename(tmp_path / "two" / "ant", tmp_path / "two" / "aardvark")
    one, two = folder_splits(config(tmp_path / "one")), folder_splits(config(tmp_path / "two", subset_seed=5))
    assert [p.name for p in map(one.test.path, range(6))] == [p.name for p in map(two.test.path, range(6))]


def test_small_classes_always_train(tmp_path):
    splits = folder_splits(config(write_folder(tmp_path, {"one": 1, "three": 3, "two": 2, "x": 5})))
    assert [splits.get(part).counts().tolist() for part in PARTS] == [
        [1, 2, 1, 4],
        [0, 0, 0, 0],
        [0, 1, 1, 1],
    ]
    assert "1 classes have one image, used for training only: 'one'" in splits.note


def test_long_tail_of_a_folder(tmp_path):
    splits = folder_splits(config(write_folder(tmp_path), imbalance=4.0))
    assert splits.train.counts().tolist() == longtail_counts(3, 7, 4).tolist()
    assert splits.test.counts().tolist() == [2, 2, 2]


@pytest.mark.parametrize("parts", [(), PARTS])
def test_an_empty_class_folder_is_named(tmp_path, parts):
    write_folder(tmp_path, {"a": 2, "b": 2, "empty": 0}, parts=parts)
    with pytest.raises(DataError, match="/empty: no pictures in this class; add some or delete"):
        folder_splits(config(tmp_path))
    for part in parts or ("",):
        (tmp_path / part / "empty" / "readme.txt").write_text("x")
    with pytest.raises(DataError, match="/empty: no pictures in this class"):
        folder_splits(config(tmp_path))


def test_hidden_and_foreign_files(tmp_path):
    write_folder(tmp_path, {"a": 3, "b": 3}, parts=PARTS)
    for name in ("train/a/.hidden.png", "train/a/._b.png", "train/.DS_Store", "train/.git/x.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"no picture")
    for name in ("a/notes.txt", "a/more.TXT", "b/LICENSE"):
        (tmp_path / "train" / name).write_text("x")
    splits = folder_splits(config(tmp_path))
    assert len(splits.train) == 6
    assert splits.note == "3 files are no pictures and were left out (2 .txt, 1 no ending)"


def test_pictures_in_folders_below_a_class_and_endings_in_capitals(tmp_path):
    write_folder(tmp_path, {"a": 1, "b": 1}, parts=PARTS)
    write_picture(tmp_path / "train/a/images/deep/x.PNG")
    write_picture(tmp_path / "train/a/y.JPEG")
    assert folder_splits(config(tmp_path)).train.counts().tolist() == [3, 1]


def test_links(tmp_path):
    write_folder(tmp_path / "set", {"a": 3, "b": 3}, parts=PARTS)
    (tmp_path / "set/train/a/loop").symlink_to(tmp_path / "set/train/a")
    (tmp_path / "set/train/a/up").symlink_to("..")  # holds b, and a again
    shutil.move(tmp_path / "set/train/b", tmp_path / "elsewhere")
    (tmp_path / "set/train/b").symlink_to(tmp_path / "elsewhere")
    counts = folder_splits(config(tmp_path / "set")).train.counts()
    assert counts[1] == 3
    assert counts[0] == 6  # its own, and those of b by the link up, once


NAMES = ["中文", "عربي", "🦊 fox", "a b  c", 'o\'neil "x"', "caf\udce9 \udcff", "line\nbreak"]


def test_names_in_any_script(tmp_path):
    for part in PARTS:
        for name in NAMES:
            write_picture(tmp_path / part / name / f"{name}.png")
    splits = folder_splits(config(tmp_path))
    assert splits.train.classes == tuple(sorted(NAMES))
    assert len(splits.train.pictures(range(len(NAMES)))) == len(NAMES)
    assert len(set(splits.train.keys)) == len(NAMES)
    assert len(splits.fingerprint) == 12
    for part in PARTS:
        shutil.move(tmp_path / part / NAMES[0], tmp_path / f"{part}-{NAMES[0]}")
    assert folder_splits(config(tmp_path)).fingerprint != splits.fingerprint


def test_a_class_that_training_lacks(tmp_path):
    write_folder(tmp_path, {"a": 2, "b": 2}, parts=PARTS)
    write_picture(tmp_path / "test/c/1.png")
    with pytest.raises(DataError, match="test/c: no such class in train"):
        folder_splits(config(tmp_path))
    shutil.rmtree(tmp_path / "test/c")
    shutil.rmtree(tmp_path / "test/b")
    splits = folder_splits(config(tmp_path))
    assert splits.test.counts().tolist() == [2, 0]
    assert "test lacks 1 of 2 classes" in splits.note


def test_folders_without_classes(tmp_path):
    with pytest.raises(DataError, match="0 class folders"):
        folder_splits(config(tmp_path))
    write_picture(tmp_path / "a/1.png")
    with pytest.raises(DataError, match="1 class folders, needs two or more"):
        folder_splits(config(tmp_path))
    with pytest.raises(DataError, match="no such folder"):
        folder_splits(config(tmp_path / "none"))


def test_pictures_of_a_class_are_found_by_index(tmp_path):
    splits = folder_splits(config(write_folder(tmp_path)))
    for part in PARTS:
        images = splits.get(part)
        folders = np.array([images.path(i).parent.name for i in range(len(images))])
        assert (folders == np.array(images.classes)[images.targets]).all()
