from __future__ import annotations

import json

import pytest

from mien.core.errors import DataError
from mien.data.config import ClassificationData
from mien.data.jsonform import declared_sizes, json_splits
from tests.data.fixtures import write_json


def config(root, **fields):
    return ClassificationData(kind="json", root=str(root), **fields)


def edit(path, change):
    listed = json.loads(path.read_text())
    change(listed)
    path.write_text(json.dumps(listed))


def test_three_files(tmp_path):
    splits = json_splits(config(write_json(tmp_path)))
    assert splits.train.counts().tolist() == [5, 3, 2]
    assert splits.val.counts().tolist() == splits.test.counts().tolist() == [1, 1, 1]
    assert splits.train.classes == ("0", "1", "2")
    assert splits.test.path(2) == tmp_path / "images/test/2/2.jpg"
    assert splits.train.pictures([0])[0].shape == (40, 32, 3)
    assert splits.note == ""


def test_without_val_some_training_images_are_held_out(tmp_path):
    splits = json_splits(config(write_json(tmp_path, parts=("train", "test")), val_per_class=2))
    assert splits.train.counts().tolist() == [3, 1, 1]
    assert splits.val.counts().tolist() == [2, 2, 1]
    assert splits.note == "no val file: validation: 5 images held out of training"


def test_without_test_the_val_file_is_the_test_set_and_not_the_validation(tmp_path):
    splits = json_splits(config(write_json(tmp_path, parts=("train", "val")), val_per_class=2))
    assert "images/val" in str(splits.test.path(0))
    assert all("images/train" in str(splits.val.path(i)) for i in range(len(splits.val)))
    assert "no test file: val.json is the test set" in splits.note


def test_the_training_file_itself_as_root(tmp_path):
    write_json(tmp_path, name="train_sets_LT_{part}.json")
    splits = json_splits(config(tmp_path / "train_sets_LT_train.json"))
    assert len(splits.train) == 10
    assert splits.test.path(0) == tmp_path / "images/test/0/0.jpg"
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(DataError, match="no 'train' in its name"):
        json_splits(config(tmp_path / "other.json"))


def test_a_class_without_images_keeps_its_place(tmp_path):
    splits = json_splits(config(write_json(tmp_path, (3, 0, 2))))
    assert splits.train.counts().tolist() == [3, 0, 2]
    assert "1 of 3 classes have no training image" in splits.note


def test_declared_sizes(tmp_path):
    write_json(tmp_path)
    edit(tmp_path / "val.json", lambda x: x["annotations"][0].pop("im_width"))
    sizes = declared_sizes(config(tmp_path))
    assert len(sizes) == 15
    assert set(sizes.values()) == {(40, 32)}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: x.pop("num_classes"), "no 'num_classes'"),
        (lambda x: x.update(num_classes=True), "no 'num_classes'"),
        (lambda x: x.update(num_classes=2), r"annotations\[8\] has category_id 2, not in 0\.\.1"),
        (lambda x: x.update(num_classes=4), "num_classes differ: {'train.json': 4, 'val.json': 3"),
        (lambda x: x["annotations"][3].update(category_id=-1), r"annotations\[3\] has category_id -1"),
        (lambda x: x["annotations"][3].pop("fpath"), r"annotations\[3\] has no 'fpath' \(str\)"),
        (lambda x: x["annotations"][3].update(fpath="/data/x.jpg"), r"annotations\[3\]: .*leads outside"),
        (lambda x: x["annotations"][3].update(fpath="a/../../x.jpg"), r"annotations\[3\]: .*leads outside"),
        (lambda x: x.update(annotations=None), "no list 'annotations'"),
    ],
)
def test_wrong_entries_are_named(tmp_path, change, words):
    write_json(tmp_path)
    edit(tmp_path / "train.json", change)
    with pytest.raises(DataError, match=words) as caught:
        json_splits(config(tmp_path))
    assert str(tmp_path) in str(caught.value)


def test_missing_files(tmp_path):
    with pytest.raises(
        DataError, match=r"needs train.json, val.json, test.json \(val or test may be missing"
    ):
        json_splits(config(write_json(tmp_path, parts=("train",))))
    with pytest.raises(DataError, match="no such folder"):
        json_splits(config(tmp_path / "none"))
