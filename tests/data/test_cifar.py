from __future__ import annotations

import os
import pickle
import pickletools
import struct

import numpy as np
import pytest

from mien.core.errors import DataError, LimitError
from mien.data.cifar import cifar_splits, read_batch
from mien.data.config import ClassificationData
from mien.data.longtail import longtail_counts
from tests.data.fixtures import Python2, cifar_rows, pixels, write_cifar10, write_cifar100


def config(root, kind="cifar10_lt", **fields):
    return ClassificationData(
        kind=kind, root=str(root), size=32, channels=3, mean=(0.5,) * 3, std=(0.5,) * 3, **fields
    )


@pytest.mark.parametrize("protocol", [None, 2, 3, 4, 5])
def test_pixels_labels_and_names_arrive_as_written(tmp_path, protocol):
    folder, images, labels = write_cifar10(tmp_path, protocol=protocol)
    splits = cifar_splits(config(tmp_path, val_per_class=2))
    assert splits.train.classes == tuple(
        "airplane automobile bird cat deer dog frog horse ship truck".split()
    )
    for part in (splits.train, splits.val):
        places = part.keys.astype(int)
        assert np.array_equal(part.targets, labels[places])
        assert np.array_equal(np.stack(part.pictures(range(len(part)))), images[places])
    assert splits.val.counts().tolist() == [2] * 10
    assert splits.test.counts().tolist() == [2] * 10
    assert cifar_splits(config(folder, val_per_class=2)).fingerprint == splits.fingerprint


def test_rows_are_channel_major():
    image = pixels(0, 1, 32, 32, 3)
    row = cifar_rows(image)[0]
    assert row[0] == image[0, 0, 0, 0]
    assert row[1024] == image[0, 0, 0, 1]
    assert row[33] == image[0, 1, 1, 0]


def test_long_tail_and_where_validation_comes_from(tmp_path):
    write_cifar10(tmp_path, per_class=20)
    splits = cifar_splits(config(tmp_path, imbalance=10.0, val_per_class=4))
    expected = longtail_counts(10, 20, 10)
    # Class 0 keeps all 20 and class 1 (15 of 20) leaves 5: only class 0 has to give training images.
    assert splits.train.counts().tolist() == [expected[0] - 4, *expected[1:]]
    assert splits.val.counts().tolist() == [4] * 10
    assert not set(splits.train.keys) & set(splits.val.keys)
    assert "n_max is 20, not 5000" in splits.note
    assert "36 images that the subset left over (9 classes), 4 taken out" in splits.note


def test_without_validation_the_subset_is_whole(tmp_path):
    write_cifar10(tmp_path, per_class=20)
    splits = cifar_splits(config(tmp_path, imbalance=20.0, n_max=20, val_per_class=0))
    assert splits.train.counts().tolist() == longtail_counts(10, 20, 20).tolist()
    assert len(splits.val) == 0
    assert "partial" not in splits.note


def test_cifar100(tmp_path):
    write_cifar100(tmp_path, per_class=6)
    splits = cifar_splits(config(tmp_path, "cifar100_lt", imbalance=3.0, n_max=5, val_per_class=1))
    assert splits.train.counts().tolist() == longtail_counts(100, 5, 3).tolist()
    assert splits.val.counts().tolist() == [1] * 100
    assert splits.test.counts().tolist() == [1] * 100
    assert splits.train.classes[99] == "fine_99"


def test_a_class_keeps_one_training_image(tmp_path):
    write_cifar10(tmp_path, per_class=1)
    splits = cifar_splits(config(tmp_path, val_per_class=3))
    assert splits.train.counts().tolist() == [1] * 10
    assert len(splits.val) == 0


def test_missing_names_are_numbers(tmp_path):
    folder, *_ = write_cifar10(tmp_path)
    (folder / "batches.meta").unlink()
    splits = cifar_splits(config(tmp_path))
    assert splits.train.classes == tuple("0123456789")
    assert "no batches.meta" in splits.note


class Runs:
    """What an attacker would pickle."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_a_malicious_pickle_is_refused_and_nothing_runs(tmp_path, protocol):
    folder, *_ = write_cifar10(tmp_path)
    proof = tmp_path / "executed"
    batch = {"data": Runs(os.system, f"touch {proof}"), "labels": []}
    (folder / "data_batch_3").write_bytes(pickle.dumps(batch, protocol=protocol))
    with pytest.raises(DataError, match=r"data_batch_3: refused the global \w+.system.*nothing was executed"):
        cifar_splits(config(tmp_path))
    assert not proof.exists()


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (eval, "eval"),
        (getattr, "getattr"),
        (np.load, "load"),
        (np.frombuffer, "frombuffer"),
        (pickle.loads, "loads"),
        (bytearray, "bytearray"),
    ],
)
def test_other_globals_are_refused_by_name(tmp_path, function, name):
    path = tmp_path / "batch"
    path.write_bytes(pickle.dumps({"data": Runs(function, "1")}, protocol=4))
    with pytest.raises(DataError, match=rf"refused the global [\w.]+\.{name}"):
        read_batch(path)


def test_dotted_names_do_not_reach_through_an_allowed_module(tmp_path):
    path = tmp_path / "batch"
    path.write_bytes(b"\x80\x04\x8c\x05numpy\x8c\x0dndarray.dumps\x93.")
    with pytest.raises(DataError, match=r"refused the global numpy.ndarray.dumps"):
        read_batch(path)


def test_memory_bombs_in_a_pickle(tmp_path, monkeypatch):
    path = tmp_path / "batch"
    path.write_bytes(b"\x80\x02}r" + struct.pack("<I", 2**31) + b".")
    with pytest.raises(DataError, match="memo index"):
        read_batch(path)
    path.write_bytes(b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"x.")
    with pytest.raises(DataError, match="damaged"):
        read_batch(path)
    # An array that claims a shape beyond its bytes is never allocated.
    honest = Python2().dumps({"data": pixels(0, 2, 3072)})
    assert honest.count(struct.pack("<i", 3072)) == 1
    path.write_bytes(honest.replace(struct.pack("<i", 3072), struct.pack("<i", 2**31 - 1)))
    with pytest.raises(DataError, match="damaged"):
        read_batch(path)
    monkeypatch.setenv("MIEN_MAX_ARRAY_BYTES", "1000")
    with pytest.raises(LimitError, match="MIEN_MAX_ARRAY_BYTES"):
        read_batch(path)


def test_every_truncation_is_a_data_error(tmp_path):
    data = pickle.dumps({"data": pixels(0, 1, 3), "labels": [1]}, protocol=2)
    assert "_reconstruct" in "".join(str(argument) for _, argument, _ in pickletools.genops(data))
    path = tmp_path / "batch"
    for place in range(len(data)):
        path.write_bytes(data[:place])
        with pytest.raises(DataError, match="damaged"):
            read_batch(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"data": pixels(0, 20, 3071)}, r"data_batch_1: 'data' is \(20, 3071\), expected rows of 3072"),
        ({"data": [1, 2]}, "'data' is list"),
        ({"data": np.zeros((20, 3072), dtype=np.float32)}, "not of unsigned bytes"),
        ({"data": np.array([object()] * 3, dtype=object)}, "refused the global __builtin__.object"),
        ({"labels": [0] * 19}, "20 images but 19 labels"),
        ({"labels": [10] * 20}, r"'labels' is not a list of classes 0\.\.9"),
        ({"labels": [True] * 20}, "'labels' is not a list"),
        ({"labels": None}, "'labels' is not a list"),
    ],
)
def test_batches_of_another_shape(tmp_path, change, words):
    folder, *_ = write_cifar10(tmp_path)
    batch = {"data": pixels(0, 20, 3072), "labels": [0] * 20} | change
    (folder / "data_batch_1").write_bytes(pickle.dumps(batch, protocol=2))
    with pytest.raises(DataError, match=words):
        cifar_splits(config(tmp_path))


def test_wrong_files(tmp_path):
    folder, *_ = write_cifar10(tmp_path)
    (folder / "data_batch_2").write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(DataError, match="a list, not a dict"):
        cifar_splits(config(tmp_path))
    (folder / "data_batch_2").write_bytes(pickle.dumps({"fine_labels": []}))
    with pytest.raises(DataError, match=r"no \['data', 'labels'\] in it, only \['fine_labels'\]"):
        cifar_splits(config(tmp_path))
    (folder / "data_batch_2").unlink()
    with pytest.raises(DataError, match="data_batch_2: no such file; unpack"):
        cifar_splits(config(tmp_path))
    with pytest.raises(DataError, match="train: no such file"):
        cifar_splits(config(folder, "cifar100_lt"))
    write_cifar10(tmp_path)
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": ["one"]}))
    with pytest.raises(DataError, match=r"batches.meta: no 10 names"):
        cifar_splits(config(tmp_path))
