from __future__ import annotations

import json

import pytest

from mien.core.errors import DataError
from mien.data.config import ClassificationData
from mien.data.inat import inat_splits
from tests.data.fixtures import write_inat2018


def config(root, **fields):
    return ClassificationData(kind="inat2018", root=str(root), **fields)


def edit(path, change):
    listed = json.loads(path.read_text())
    change(listed)
    path.write_text(json.dumps(listed))


def test_the_true_number_of_classes(tmp_path):
    splits = inat_splits(config(write_inat2018(tmp_path), val_per_class=1))
    assert len(splits.train.classes) == 8142
    assert splits.train.counts()[[0, 1, 8141]].tolist() == [3, 1, 1]
    assert splits.val.counts()[[0, 1, 8141]].tolist() == [1, 1, 0]
    assert splits.test.targets.tolist() == [0, 1, 8141]
    assert splits.train.path(0).parent == tmp_path / "train_val2018/Plantae/0"
    for part in (splits.train, splits.val, splits.test):
        assert [p.shape for p in part.pictures(range(len(part)))] == [(40, 40, 3)] * len(part)
        for i, target in enumerate(part.targets):
            assert part.path(i).parent.name == str(target)
    assert "test: val2018.json" in splits.note


def test_category_ids_need_not_be_contiguous(tmp_path):
    write_inat2018(tmp_path, (0, 0, 1, 2), 3, ids=(40, 7, 900))
    splits = inat_splits(config(tmp_path, val_per_class=0))
    assert splits.train.classes == ("Species 1", "Species 0", "Species 2")  # in the order of 7, 40, 900
    assert splits.train.counts().tolist() == [1, 2, 1]
    for part in (splits.train, splits.test):
        assert [int(part.path(i).parent.name) for i in range(len(part))] == [
            (7, 40, 900)[t] for t in part.targets
        ]


def test_images_without_annotation_are_left_out_and_counted(tmp_path):
    write_inat2018(tmp_path, (0, 0, 0, 1), 2)
    edit(tmp_path / "train2018.json", lambda x: x["annotations"].pop())
    splits = inat_splits(config(tmp_path, val_per_class=0))
    assert len(splits.train) == 3
    assert "1 images without an annotation are left out" in splits.note


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: x.pop("images"), "no list 'images'"),
        (lambda x: x.update(annotations=[]), "no list 'annotations'"),
        (lambda x: x.update(categories={"0": "a"}), "no list 'categories'"),
        (lambda x: x["images"][2].pop("file_name"), r"images\[2\] has no 'file_name' \(str\)"),
        (lambda x: x["images"].insert(0, 5), r"images\[0\] has no 'id'"),
        (
            lambda x: x["annotations"][1].update(category_id="1"),
            r"annotations\[1\] has no 'category_id' \(int\)",
        ),
        (
            lambda x: x["annotations"][1].update(category_id=True),
            r"annotations\[1\] has no 'category_id' \(int\)",
        ),
        (lambda x: x["annotations"][1].update(category_id=77), r"annotations\[1\] has category_id 77"),
        (
            lambda x: x["annotations"].append({"image_id": 1, "category_id": 1}),
            "gives image 1 a second class",
        ),
        (lambda x: x["annotations"].append({"image_id": 99, "category_id": 1}), "annotation of image 99"),
        (lambda x: x["categories"].append({"id": 0, "name": "again"}), "3 categories share 2 ids"),
        (lambda x: x["images"][1].update(file_name="../../etc/passwd"), r"images\[1\]: .*leads outside"),
        (lambda x: x["images"][1].update(file_name="/etc/passwd"), r"images\[1\]: .*leads outside"),
    ],
)
def test_wrong_entries_are_named(tmp_path, change, words):
    write_inat2018(tmp_path, (0, 0, 0, 1), 2)
    edit(tmp_path / "train2018.json", change)
    with pytest.raises(DataError, match=words) as caught:
        inat_splits(config(tmp_path))
    assert str(caught.value).startswith(str(tmp_path / "train2018.json"))


def test_missing_and_damaged_files(tmp_path):
    write_inat2018(tmp_path, (0, 1), 2)
    text = (tmp_path / "val2018.json").read_text()
    (tmp_path / "val2018.json").write_text(text[: len(text) // 2])
    with pytest.raises(DataError, match=r"val2018.json:1:\d+: not valid JSON"):
        inat_splits(config(tmp_path))
    (tmp_path / "val2018.json").write_text("[" * 100_000)
    with pytest.raises(DataError, match=r"nested too deeply|not valid JSON"):
        inat_splits(config(tmp_path))
    (tmp_path / "val2018.json").write_text("[]")
    with pytest.raises(DataError, match="no list 'images'"):
        inat_splits(config(tmp_path))
    (tmp_path / "val2018.json").unlink()
    with pytest.raises(DataError, match=r"no val2018.json; unpack"):
        inat_splits(config(tmp_path))
