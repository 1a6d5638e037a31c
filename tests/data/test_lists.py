from __future__ import annotations

import numpy as np
import pytest

from mien.core.errors import DataError
from mien.data.config import ClassificationData
from mien.data.lists import imagenet_splits, places_splits, read_list
from tests.data.fixtures import write_imagenet_lt, write_list, write_picture, write_places_lt


def config(root, kind="imagenet_lt", **fields):
    return ClassificationData(kind=kind, root=str(root), **fields)


def test_imagenet_lt(tmp_path):
    splits = imagenet_splits(config(write_imagenet_lt(tmp_path)))
    counts = splits.train.counts()
    assert len(counts) == 1000  # the true size, whatever the copy holds
    assert counts[[0, 1, 999]].tolist() == [4, 2, 1]
    assert len(splits.val) == 3
    assert splits.test.targets.tolist() == [0, 1, 999] * 2
    assert splits.train.classes[0] == "n01440764"
    assert splits.train.classes[2] == "2"
    assert splits.train.path(0) == tmp_path / "train/n01440764/n01440764_0.JPEG"
    assert splits.test.pictures([0])[0].shape == (40, 40, 3)
    assert "997 of 1000 classes have no training image" in splits.note


def test_places_lt_says_which_test_it_uses(tmp_path):
    splits = places_splits(config(write_places_lt(tmp_path), "places_lt"))
    assert len(splits.train.classes) == 365
    assert splits.train.classes[0] == "a/scene_0"
    assert splits.train.counts()[[0, 1, 364]].tolist() == [4, 2, 1]
    assert len(splits.val) == 3
    assert len(splits.test) == 6
    assert splits.note.startswith("test: Places_LT_test.txt; 6 test images")


def test_places_lt_without_the_test_list_chooses_nothing_on_its_test_set(tmp_path):
    splits = places_splits(config(write_places_lt(tmp_path, has_test=False), "places_lt", val_per_class=2))
    assert splits.test.path(0).name == "00005000.jpg"
    assert splits.val.counts()[[0, 1, 364]].tolist() == [2, 1, 0]
    assert splits.train.counts()[[0, 1, 364]].tolist() == [2, 1, 1]
    assert "test: Places_LT_val.txt (no test list); validation: 3 images held out" in splits.note


def test_reading_a_list_opens_no_picture(tmp_path):
    write_imagenet_lt(tmp_path)
    for picture in tmp_path.rglob("*.JPEG"):
        picture.unlink()
    splits = imagenet_splits(config(tmp_path))
    assert len(splits.train) == 7
    with pytest.raises(DataError, match=r"n01440764_0.JPEG: no such file"):
        splits.train.pictures([0])


def test_a_list_of_the_true_length(tmp_path):
    labels = np.random.default_rng(0).integers(0, 1000, 115_846)
    write_list(
        tmp_path / "list.txt", ((f"train/n{c:08d}/n{c:08d}_{i}.JPEG", c) for i, c in enumerate(labels))
    )
    names, read = read_list(tmp_path / "list.txt", 1000)
    assert np.array_equal(read, labels)
    assert len(set(names)) == 115_846


@pytest.mark.parametrize("name", ["a/中文", "a/عربي", "a/🦊 fox  1", "a/e\u0301", "a/..b", "a/x\u2028y"])
def test_names_in_any_script_and_with_spaces(tmp_path, name):
    path = write_list(tmp_path / "list.txt", [(name, 3)])
    assert read_list(path, 4) == ([name], [3])


def test_windows_line_ends_a_byte_order_mark_and_blank_lines(tmp_path):
    path = tmp_path / "list.txt"
    path.write_bytes(b"\xef\xbb\xbfa/1.jpg 0\r\n\r\nb/2.jpg\t1\r\n")
    assert read_list(path, 2) == (["a/1.jpg", "b/2.jpg"], [0, 1])


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("a/1.jpg", "expected 'path label'"),
        ("a/1.jpg cat", "expected 'path label'"),
        ("a/1.jpg -1", "expected 'path label'"),
        ("a/1.jpg 1.0", "expected 'path label'"),
        ("a/1.jpg 1_0", "expected 'path label'"),
        ("a/1.jpg ٣", "expected 'path label'"),
        ("a/1.jpg " + "9" * 5000, "expected 'path label'"),
        ("a/1.jpg 10", r"label 10 out of range; the set has classes 0\.\.9"),
        ("../secret.jpg 1", "leads outside the data folder"),
        ("a/../../secret.jpg 1", "leads outside"),
        ("/etc/passwd 1", "leads outside"),
        ("//etc/passwd 1", "leads outside"),
        ("a\0.jpg 1", "leads outside"),
    ],
)
def test_wrong_lines_are_named_with_their_number(tmp_path, line, words):
    path = tmp_path / "list.txt"
    path.write_text(f"a/0.jpg 0\n{line}\n", encoding="utf-8")
    with pytest.raises(DataError, match=words) as caught:
        read_list(path, 10)
    assert str(caught.value).startswith(f"{path}:2: ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_traversal_does_not_read_the_file(tmp_path):
    write_picture(tmp_path / "secret.jpg")
    root = write_imagenet_lt(tmp_path / "set")
    (root / "ImageNet_LT_val.txt").write_text("../secret.jpg 0\n")
    with pytest.raises(DataError, match=r"ImageNet_LT_val.txt:1: .*leads outside"):
        imagenet_splits(config(root))


def test_missing_empty_and_binary_lists(tmp_path):
    root = write_imagenet_lt(tmp_path)
    (root / "ImageNet_LT_test.txt").write_text("\n")
    with pytest.raises(DataError, match=r"ImageNet_LT_test.txt: the list is empty"):
        imagenet_splits(config(root))
    (root / "ImageNet_LT_test.txt").write_bytes(b"caf\xe9.jpg 0\n")
    with pytest.raises(DataError, match="not UTF-8"):
        imagenet_splits(config(root))
    (root / "ImageNet_LT_test.txt").unlink()
    with pytest.raises(DataError, match=r"no ImageNet_LT_test.txt; put the published list"):
        imagenet_splits(config(root))
    with pytest.raises(DataError, match=r"no Places_LT_train.txt"):
        places_splits(config(root, "places_lt"))


def test_classes_that_share_a_folder_are_numbered(tmp_path):
    root = write_imagenet_lt(tmp_path)
    write_list(root / "ImageNet_LT_train.txt", [("train/one/1.JPEG", 0), ("train/one/2.JPEG", 1)])
    assert imagenet_splits(config(root)).train.classes == tuple(map(str, range(1000)))
