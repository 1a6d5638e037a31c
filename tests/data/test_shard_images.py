"""Labelled shards: classes, splits, and what is wrong with them in one line."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

from mien.core.config import hash_recipe
from mien.core.errors import ConfigError, DataError
from mien.core.images import read_image
from mien.data.config import ClassificationData, FaceData, PadData
from mien.data.faces import read_faces
from mien.data.loader import StepLoader
from mien.data.readers import read_splits
from mien.data.shard_images import read_shards
from mien.data.tar_samples import shard_paths, split_of
from mien.methods.ncl.config import RECIPES
from tests.data.shard_fixtures import class_shard, picture, write_shard


def config(root, **options):
    grey = {"channels": 3, "mean": (0.5,) * 3, "std": (0.5,) * 3}
    return ClassificationData(kind="shards", root=str(root), **grey, **options)


def test_pictures_and_classes_in_the_order_of_the_shards(tmp_path):
    class_shard(tmp_path / "000000.tar", [10, 2, 10])
    class_shard(tmp_path / "000001.tar", [7, 2], first=3)
    images = read_shards(tmp_path / "{000000..000001}.tar")
    assert images.classes == ("2", "7", "10")
    assert images.targets.tolist() == [2, 0, 2, 1, 0]
    assert images.shards.tolist() == [0, 0, 0, 1, 1]
    assert images.names[3] == "000001/0000.jpg"
    for i, found in enumerate(images.pictures(range(5))):
        assert np.array_equal(found, read_image(picture(i, "JPEG")))
    part = pickle.loads(pickle.dumps(images.subset(np.array([4, 0]))))
    assert part.targets.tolist() == [0, 2]
    assert part.shards.tolist() == [1, 0]
    assert np.array_equal(part.pictures([0])[0], images.pictures([4])[0])
    assert images.fingerprint != part.fingerprint


def test_names_of_classes(tmp_path):
    class_shard(tmp_path / "000000.tar", [1, 0])
    (tmp_path / "classes.txt").write_text("cat\ndog\nemu\n")
    images = read_shards(tmp_path)
    assert images.classes == ("cat", "dog", "emu")
    assert images.targets.tolist() == [1, 0]
    class_shard(tmp_path / "000001.tar", [3])
    with pytest.raises(DataError, match=r"000001\.tar: 0000\.cls is 3, but classes\.txt names 3 classes"):
        read_shards(tmp_path)


def test_splits_by_the_names_of_the_shards(tmp_path):
    class_shard(tmp_path / "set-train-0.tar", [0, 1, 0, 1, 2])
    class_shard(tmp_path / "set-val-0.tar", [0, 1], first=9)
    class_shard(tmp_path / "set-test-0.tar", [2, 2, 1], first=19)
    splits = read_splits(config(tmp_path))
    assert [len(splits.get(p)) for p in ("train", "val", "test")] == [5, 2, 3]
    assert splits.test.targets.tolist() == [2, 2, 1]
    assert splits.note == ""
    class_shard(tmp_path / "set-test-1.tar", [5])
    with pytest.raises(
        DataError, match=r"set-test-1\.tar: 0000\.jpg: unknown class '5'; training has no such"
    ):
        read_splits(config(tmp_path))


def test_splits_that_are_missing(tmp_path):
    class_shard(tmp_path / "train/0.tar", [0, 1] * 20)
    with pytest.raises(DataError, match="neither val nor test"):
        read_splits(config(tmp_path))
    class_shard(tmp_path / "val/0.tar", [0, 1], first=90)
    splits = read_splits(config(tmp_path, val_per_class=3))
    assert (len(splits.train), len(splits.val), len(splits.test)) == (34, 6, 2)
    assert (
        splits.note
        == "no test shards: those of val are the test set; validation: 6 images held out of training"
    )


def test_long_tails_of_shards(tmp_path):
    class_shard(tmp_path / "train-0.tar", [0, 1] * 20)
    class_shard(tmp_path / "test-0.tar", [0, 1], first=90)
    train = read_splits(config(tmp_path, imbalance=5.0, n_max=10, val_per_class=0)).train
    assert train.counts().tolist() == [10, 2]
    starts = [train.place(i).start for i in range(len(train))]
    assert starts == sorted(starts)  # still in the order of the shard


def test_what_a_name_stands_for(tmp_path):
    for name in ("a-0.tar", "a-1.tar", "b-0.tar"):
        class_shard(tmp_path / name, [0])
    names = lambda root: [p.name for p in shard_paths(root)]  # noqa: E731
    assert names(tmp_path) == ["a-0.tar", "a-1.tar", "b-0.tar"]
    assert names(f"{tmp_path}/a-{{0..1}}.tar") == ["a-0.tar", "a-1.tar"]
    assert names(f"{tmp_path}/{{b,a}}-0.tar") == ["b-0.tar", "a-0.tar"]
    assert names(f"{tmp_path}/a-*.tar") == ["a-0.tar", "a-1.tar"]
    for wrong, text in (("a-{0..2}.tar", r"a-2\.tar: no such shard"), ("c-*.tar", "no such shard")):
        with pytest.raises(DataError, match=text):
            shard_paths(f"{tmp_path}/{wrong}")
    with pytest.raises(ConfigError, match="braces that do not fit"):
        shard_paths(f"{tmp_path}/a-{{0.tar")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no shards \(\*\.tar\) there"):
        shard_paths(tmp_path / "empty")
    with pytest.raises(ConfigError, match=r"give its folder with --data\.root"):
        read_splits(ClassificationData(kind="shards"))


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("train-000000.tar", "train"),
        ("imagenet1k-validation-63.tar", "val"),
        ("x/dev/0001.tar", "val"),
        ("x/test/0001.tar", "test"),
        ("x/0001.tar", ""),
        ("latest-0.tar", ""),
    ],
)
def test_split_by_a_word(tmp_path, name, part):
    assert split_of(tmp_path / "set" / name) == part


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"0.jpg": b"x"}, r"s\.tar: 0 has no label"),
        ({"0.cls": b"3", "0.txt": b"x"}, r"s\.tar: 0 has no picture \(it has txt, cls\)"),
        ({"0.jpg": b"x", "0.cls": b"-1"}, r"0\.cls is '-1', expected a class number"),
        ({"0.jpg": b"x", "0.json": b"[" * 60_000}, r"0\.json is not valid JSON"),
        ({"0.jpg": b"x", "0.json": json.dumps({"label": None}).encode()}, "0 has no label"),
        ({"0.jpg": b"x", "1.jpg": b"x", "1.cls": b"1", "0.cls": b"1"}, "0 has no label"),
    ],
)
def test_broken_samples(tmp_path, files, words):
    write_shard(tmp_path / "s.tar", files)
    with pytest.raises(DataError, match=words):
        read_shards(tmp_path)


def test_broken_shards(tmp_path):
    path = class_shard(tmp_path / "s.tar", [0, 1, 0])
    data = path.read_bytes()
    for broken in (data[:700], data[:512] + data[1024:], b"\x1f\x8b" + bytes(2000)):
        path.write_bytes(broken)
        with pytest.raises(DataError, match=r"s\.tar: damaged, or no uncompressed tar|s\.tar: .* has no"):
            read_shards(tmp_path)
    path.write_bytes(data)
    images = read_shards(tmp_path)
    path.write_bytes(data.replace(b"JFIF", b"XXXX", 1).replace(b"\xff\xd8", b"\x00\x00", 1))
    with pytest.raises(DataError, match=r"s\.tar: 0000\.jpg: "):
        images.pictures([0])


def test_a_key_that_is_twice(tmp_path):
    class_shard(tmp_path / "x" / "0.tar", [0])
    class_shard(tmp_path / "y" / "0.tar", [1])
    with pytest.raises(DataError, match=r"0/0000\.jpg is there twice"):
        read_shards(tmp_path)


@pytest.mark.parametrize(
    "make",
    [
        lambda b: config("x", buffer=b),
        lambda b: FaceData(kind="shards", buffer=b),
        lambda b: PadData(kind="csv", buffer=b),
    ],
)
def test_the_buffer_is_checked(make):
    with pytest.raises(ConfigError, match=r"data\.buffer=0 is outside|buffer does not apply to kind='csv'"):
        make(0 if "csv" not in repr(make(None)) else 5)


def test_a_buffer_that_is_not_set_leaves_hashes_alone():
    recipe = RECIPES["small"]()
    assert recipe.data.buffer is None
    assert hash_recipe(recipe) == "22d15bba9c2b"


def test_people_of_shards(tmp_path):
    files = {}
    for k in range(24):
        files |= {f"{k}.png": picture(k), f"{k}.json": json.dumps({"identity": f"p{k % 6}"}).encode()}
    names = list(files)
    write_shard(tmp_path / "0.tar", {n: files[n] for n in names[:20]})
    write_shard(tmp_path / "1.tar", {n: files[n] for n in names[20:]})
    data = FaceData(kind="shards", root=str(tmp_path), size=16, val_people=2, test_people=2, look="colour")
    faces = read_faces(data)
    assert (len(faces.train), len(faces.val), len(faces.test)) == (8, 8, 8)
    assert faces.train.shards.tolist() == [0] * 4 + [1] * 4
    assert "shards of people" in faces.note
    loader = StepLoader(faces.train, lambda p, k, s, c: np_stack(p), 4, 0)
    seen = [b.index.tolist() for _, (b,) in zip(range(2), loader.stream(0, 0, 1), strict=False)]
    assert sorted(seen[0] + seen[1]) == list(range(8))


def np_stack(pictures):
    import torch

    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255


def test_workers_and_a_later_start_change_nothing(tmp_path):
    class_shard(tmp_path / "0.tar", [0, 1] * 6)
    class_shard(tmp_path / "1.tar", [0, 1] * 4, first=30)
    images = read_shards(tmp_path)

    def indices(start, workers, count):
        loader = StepLoader(images, lambda p, k, s, c: np_stack(p), 8, 5, workers=workers, buffer=3)
        return [b.index.tolist() for _, (b,) in zip(range(count), loader.stream(start, 1, 2), strict=False)]

    whole = indices(0, 0, 7)
    assert indices(0, 2, 7) == whole
    assert indices(4, 0, 3) == whole[4:]
