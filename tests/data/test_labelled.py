from __future__ import annotations

import numpy as np
import pytest

from mien.core.errors import DataError, MienError
from mien.core.seeds import keys_of
from mien.data.labelled import ArrayImages, FileImages, LabelledImages, Splits
from tests.data.fixtures import pixels, write_picture

NAMES = ["a/0.png", "a/1.png", "b/2.png", "c/ü 3.png"]
TARGETS = [0, 0, 1, 2]
CLASSES = ["a", "b", "c"]


def array(**changes):
    parts = {"images": pixels(0, 4, 6, 5, 3), "targets": TARGETS, "classes": CLASSES} | changes
    return ArrayImages(**parts)


@pytest.fixture
def files(tmp_path):
    for seed, name in enumerate(NAMES):
        write_picture(tmp_path / name, seed, (6, 5 + seed))
    return FileImages(tmp_path, NAMES, np.array(TARGETS), CLASSES)


def check(images: LabelledImages):
    assert len(images) == 4
    assert images.targets.dtype == np.int64
    assert images.classes == ("a", "b", "c")
    assert images.keys.dtype == np.uint64
    assert len(set(images.keys.tolist())) == 4
    assert images.counts().tolist() == [2, 1, 1]
    pictures = images.pictures([3, 0])
    assert all(p.dtype == np.uint8 and p.ndim == 3 for p in pictures)
    some = images.subset(np.array([3, 0]))
    assert type(some) is type(images)
    assert some.targets.tolist() == [2, 0]
    assert some.keys.tolist() == images.keys[[3, 0]].tolist()
    assert some.classes == images.classes
    for found, wanted in zip(some.pictures(range(2)), pictures, strict=True):
        assert np.array_equal(found, wanted)
    assert some.fingerprint != images.fingerprint
    assert images.subset(np.arange(4)).fingerprint == images.fingerprint
    assert len(images.subset(np.array([], dtype=int))) == 0


def test_arrays():
    check(array())
    assert array().keys.tolist() == [0, 1, 2, 3]
    assert np.array_equal(array().pictures([1])[0], pixels(0, 4, 6, 5, 3)[1])


def test_grey_arrays_get_a_channel():
    grey = array(images=pixels(0, 4, 6, 5))
    assert grey.pictures([0])[0].shape == (6, 5, 1)


def test_files(files):
    check(files)
    assert files.keys.tolist() == keys_of(NAMES).tolist()
    assert [p.shape for p in files.pictures(range(4))] == [(6, 5 + i, 3) for i in range(4)]
    assert np.array_equal(files.pictures([2])[0], pixels(2, 6, 7, 3))
    assert files.path(3).name == "ü 3.png"


def test_the_key_of_a_file_is_its_name_not_its_place(files):
    turned = FileImages(files.path(0).parents[1], NAMES[::-1], np.array(TARGETS[::-1]), CLASSES)
    assert turned.keys.tolist() == files.keys[::-1].tolist()


def test_a_damaged_file_is_named(files):
    files.path(2).write_bytes(b"no picture")
    files.path(1).unlink()
    assert len(files.pictures([0, 3])) == 2
    with pytest.raises(DataError, match=r"2\.png"):
        files.pictures([0, 2])
    with pytest.raises(DataError, match=r"1\.png.*no such file"):
        files.pictures([1])


@pytest.mark.parametrize(
    "changes",
    [
        {"targets": [0, 0, 2, 1]},
        {"classes": ["a", "b", "d"]},
        {"classes": ["a", "b", "c", "d"]},
        {"keys": np.array([0, 1, 2, 9], dtype=np.uint64)},
        {"images": pixels(1, 4, 6, 5, 3)},
    ],
    ids=lambda c: next(iter(c)),
)
def test_fingerprint_sees_every_change(changes):
    assert array(**changes).fingerprint != array().fingerprint
    assert array().fingerprint == array().fingerprint


def test_fingerprint_does_not_depend_on_memory_layout():
    turned = array(images=np.asfortranarray(pixels(0, 4, 6, 5, 3)))
    assert turned.fingerprint == array().fingerprint


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"targets": [0, 0, 1]}, "4 pictures but 3 labels"),
        ({"targets": [0, 0, 1, 3]}, r"labels .*3.* but there are 3 classes"),
        ({"targets": [-1, 0, 1, 2]}, "labels .*-1"),
        ({"keys": np.arange(3, dtype=np.uint64)}, "4 labels but 3 keys"),
    ],
)
def test_labels_that_do_not_fit(changes, says):
    with pytest.raises(MienError, match=says):
        array(**changes)


def test_file_labels_that_do_not_fit(tmp_path):
    with pytest.raises(DataError, match="2 pictures but 1 labels"):
        FileImages(tmp_path, ["a", "b"], np.array([0]), CLASSES)


def test_empty_sets_are_allowed():
    none = array(images=pixels(0, 0, 6, 5), targets=[])
    assert len(none) == 0
    assert none.counts().tolist() == [0, 0, 0]
    assert none.pictures([]) == []


def test_splits():
    first, second, third = array(), array(targets=[1, 1, 1, 1]), array(targets=[2, 2, 2, 2])
    splits = Splits(first, second, third)
    assert [splits.get(n) for n in ("train", "val", "test")] == [first, second, third]
    assert splits.real
    assert len(splits.fingerprint) == 12
    assert Splits(first, third, second).fingerprint != splits.fingerprint
    with pytest.raises(DataError, match="no split 'tset'; there are train, val, test"):
        splits.get("tset")


def test_further_pictures_are_read_when_they_are_asked_for():
    images, asked = ArrayImages(np.zeros((2, 4, 4), np.uint8), [0, 1], ["a", "b"]), []
    plain = Splits(images, images, images)
    more = Splits(images, images, images, also={"more": lambda: asked.append(1) or images.subset([1])})
    assert more.fingerprint == plain.fingerprint
    assert not asked
    assert len(more.get("more")) == 1
    with pytest.raises(DataError, match=r"no split 'more'; there are train, val, test$"):
        plain.get("more")
    with pytest.raises(DataError, match=r"no split 'x'; there are train, val, test, more$"):
        more.get("x")


def test_a_mark_stands_for_the_pixels():
    """Drawn pixels differ by one now and then between processors; what drew them does not."""
    first, other = array(), array()
    images = first.images.copy()
    images[0, 0, 0] ^= 1
    marked = [ArrayImages(x, other.targets, other.classes, mark="m") for x in (first.images, images)]
    assert marked[0].fingerprint == marked[1].fingerprint != first.fingerprint
    assert ArrayImages(images, other.targets, other.classes, mark="n").fingerprint != marked[0].fingerprint
    some = np.arange(2)
    assert marked[0].subset(some).fingerprint == marked[1].subset(some).fingerprint
    assert marked[0].subset(some).fingerprint != marked[0].fingerprint
