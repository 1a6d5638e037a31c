from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mien.core.errors import DataError, LimitError
from mien.data.config import ClassificationData
from mien.data.idx import idx_splits, read_idx
from mien.data.longtail import longtail_counts
from tests.data.fixtures import idx_bytes, pixels, write_idx


def config(root, **fields):
    return ClassificationData(kind="idx", root=str(root), **fields)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("idx")


@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=6)), st.booleans())
@settings(max_examples=60, deadline=None)
def test_round_trip(folder, array, packed):
    path = folder / "any-name"
    path.write_bytes(gzip.compress(idx_bytes(array), 1) if packed else idx_bytes(array))
    back = read_idx(path)
    assert back.dtype == np.uint8
    assert back.shape == array.shape
    assert np.array_equal(back, array)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("dotted", [True, False])
def test_the_usual_four_files(tmp_path, packed, dotted):
    splits = idx_splits(config(write_idx(tmp_path, packed=packed, dotted=dotted), val_per_class=4))
    assert splits.train.counts().tolist() == [16] * 10
    assert splits.val.counts().tolist() == [4] * 10
    assert splits.test.counts().tolist() == [3] * 10
    assert splits.train.classes == tuple("0123456789")
    assert not set(splits.train.keys) & set(splits.val.keys)
    labels = np.random.default_rng(1).permutation(np.repeat(np.arange(10), 20))
    images = pixels(1, 200, 28, 28)
    for part in (splits.train, splits.val):
        assert np.array_equal(part.targets, labels[part.keys.astype(int)])
        assert np.array_equal(
            np.stack(part.pictures(range(len(part))))[..., 0], images[part.keys.astype(int)]
        )
    assert np.array_equal(np.stack(splits.test.pictures([0, 29]))[..., 0], pixels(2, 30, 28, 28)[[0, 29]])


def test_validation_is_held_out_before_the_subset(tmp_path):
    write_idx(tmp_path, 30)
    plain = idx_splits(config(tmp_path, val_per_class=5))
    tailed = idx_splits(config(tmp_path, val_per_class=5, imbalance=10.0, n_max=20))
    assert np.array_equal(plain.val.keys, tailed.val.keys)
    assert tailed.train.counts().tolist() == longtail_counts(10, 20, 10).tolist()
    assert not set(tailed.train.keys) & set(tailed.val.keys)
    default = idx_splits(config(tmp_path, val_per_class=5, imbalance=10.0))
    assert default.train.counts().tolist() == longtail_counts(10, 25, 10).tolist()
    step = idx_splits(config(tmp_path, val_per_class=5, imbalance=5.0, imbalance_kind="step", n_max=25))
    assert step.train.counts().tolist() == [25] * 5 + [5] * 5
    other = idx_splits(config(tmp_path, val_per_class=5, imbalance=10.0, n_max=20, subset_seed=1))
    assert other.fingerprint != tailed.fingerprint


@pytest.mark.parametrize("place", ["fashion-mnist", "FashionMNIST/raw", "FashionMNIST"])
def test_fashion_names_come_from_the_folder(tmp_path, place):
    write_idx(tmp_path / place)
    assert idx_splits(config(tmp_path / place)).test.classes[9] == "Ankle boot"


def test_torchvision_keeps_the_files_in_raw(tmp_path):
    write_idx(tmp_path / "MNIST" / "raw")
    assert len(idx_splits(config(tmp_path / "MNIST")).test) == 30


def test_other_numbers_of_classes(tmp_path):
    assert idx_splits(config(write_idx(tmp_path / "many", 3, 1, classes=47))).train.classes[46] == "46"
    assert len(idx_splits(config(write_idx(tmp_path / "few", 3, 1, classes=3))).train.classes) == 3


def test_a_class_without_training_images_is_noted(tmp_path):
    write_idx(tmp_path, [20, 20, 0])
    splits = idx_splits(config(tmp_path))
    assert "1 of 3 classes have no training image" in splits.note
    with pytest.raises(DataError, match="class 2 has no images"):
        idx_splits(config(tmp_path, imbalance=2.0))


def header(*shape, kind=8):
    return struct.pack(">BBBB", 0, 0, kind, len(shape)) + struct.pack(f">{len(shape)}I", *shape)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not an IDX file"),
        (b"\x89PNG\r\n\x1a\n", "not an IDX file"),
        (b"\0\0\x08\x00", "not an IDX file"),
        (header(2, kind=0x0D) + bytes(8), "IDX of float32"),
        (header(2, 3, 4)[:9], "truncated in the header"),
        (header(2, 3, 4) + bytes(23), "promises 24 bytes .* but 23 bytes follow"),
        (header(2, 3, 4) + bytes(25), "promises 24 bytes .* but more bytes follow"),
        (gzip.compress(header(2, 3) + bytes(6), mtime=0)[:-9], "damaged or truncated gzip"),
        (gzip.compress(header(2, 3) + bytes(6), mtime=0)[:-8] + bytes(8), "damaged or truncated gzip"),
        (b"\x1f\x8b" + bytes(20), "damaged or truncated gzip"),
    ],
)
def test_damaged_files_are_named(tmp_path, data, words):
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(data)
    with pytest.raises(DataError, match=words) as caught:
        read_idx(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_damage_to_a_gzip_file_is_a_data_error(tmp_path):
    good = gzip.compress(idx_bytes(pixels(0, 3, 4, 4)), mtime=0)
    path = tmp_path / "x.gz"
    for place in range(len(good)):
        path.write_bytes(good[:place])
        with pytest.raises(DataError):
            read_idx(path)


def test_bombs(tmp_path, monkeypatch):
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(header(60_000, 60_000, 60_000)))
    with pytest.raises(LimitError, match="MIEN_MAX_ARRAY_BYTES"):
        read_idx(path)
    # A header that promises little before a stream that unpacks to 1000 times the file is left at once.
    path.write_bytes(gzip.compress(header(2, 2) + bytes(64 << 20), 9))
    with pytest.raises(DataError, match="more bytes follow"):
        read_idx(path)
    monkeypatch.setenv("MIEN_MAX_ARRAY_BYTES", "99")
    path.write_bytes(header(10, 10) + bytes(100))
    with pytest.raises(LimitError, match="100 bytes unpacked, more than 99"):
        read_idx(path)


def test_files_that_disagree_or_miss(tmp_path):
    write_idx(tmp_path, packed=False)
    labels = tmp_path / "train-labels-idx1-ubyte"
    labels.write_bytes(idx_bytes(np.zeros(150, dtype=np.uint8)))
    with pytest.raises(DataError, match="200 images but 150 labels in train-labels-idx1-ubyte"):
        idx_splits(config(tmp_path))
    labels.write_bytes(idx_bytes(np.zeros((200, 1), dtype=np.uint8)))
    with pytest.raises(DataError, match=r"train-labels-idx1-ubyte: shape .200, 1., expected 1 dim"):
        idx_splits(config(tmp_path))
    labels.unlink()
    with pytest.raises(DataError, match="no train-labels-idx1-ubyte"):
        idx_splits(config(tmp_path))
    with pytest.raises(DataError, match="no such folder; give the folder"):
        idx_splits(config(tmp_path / "elsewhere"))
    with pytest.raises(DataError, match="a file, not a folder"):
        idx_splits(config(tmp_path / "train-images-idx3-ubyte"))
    with pytest.raises(DataError, match="no such file"):
        read_idx(tmp_path / "none")
    with pytest.raises(DataError, match="cannot read"):
        read_idx(tmp_path)
