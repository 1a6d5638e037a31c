"""Live faces and attacks in shards: cameras, labels, splits, and what is wrong with them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mien.core.errors import DataError
from mien.data.config import PadData
from mien.data.pad_loader import PadLoader
from mien.data.pad_shards import PadShards, pad_samples
from mien.data.pads import read_pad
from mien.data.shard_check import check_pad_shards, guess_shard_kind
from tests.data.shard_fixtures import image_bytes, noise, pad_sample, write_shard


def write_set(root, parts=("train", "val", "test"), **counts):
    """Each split in two shards: live ones and attacks by turns, two samples a subject."""
    for p, part in enumerate(parts):
        total = counts.get(part, 8)
        files = [
            pad_sample(
                f"{k:03d}",
                100 * p + 3 * k,
                live=k % 2 == 0,
                subject=f"{part}{k // 2}",
                **({} if k % 2 == 0 else {"species": "print"}),
            )
            for k in range(total)
        ]
        for s, half in enumerate((files[: total // 2], files[total // 2 :])):
            write_shard(root / f"{part}-{s:06d}.tar", {n: d for one in half for n, d in one.items()})
    return root


def data(root, **options):
    return PadData(kind="shards", root=str(root), size=16, **options)


def test_a_set_of_three_cameras(tmp_path):
    splits = read_pad(data(write_set(tmp_path)))
    train = splits.train
    assert train.modalities == ("rgb", "depth", "ir")
    assert [len(splits.get(p)) for p in ("train", "dev", "test")] == [8, 8, 8]
    assert train.labels.species.tolist() == ["live", "print"] * 4
    assert train.labels.subjects.tolist() == [f"train{k // 2}" for k in range(8)]
    assert train.shards.tolist() == [0] * 4 + [1] * 4
    assert splits.note == "6 shards"
    (rgb,), (depth,), (ir,) = (train.pictures(m, [3]) for m in train.modalities)
    assert (rgb.shape, depth.shape, ir.shape) == ((16, 16, 3), (16, 16, 1), (16, 16, 1))
    assert np.array_equal(ir[..., 0], noise(11, 16, 16))
    stored = 950 + noise(10, 16, 16).astype(int)  # nearer is brighter
    assert np.corrcoef(depth.ravel(), stored.ravel())[0, 1] < -0.99
    part = train.subset(np.array([6, 1]))
    assert len(set(part.shards.tolist())) == 2
    assert part.labels.keys.tolist() == train.labels.keys[[6, 1]].tolist()
    assert part.fingerprint != train.fingerprint


def test_each_sample_once_an_epoch_and_repeats_of_the_smaller_class(tmp_path):
    files = {}
    for k in range(10):
        files |= pad_sample(f"{k}", 3 * k, live=k < 3, subject=f"s{k}")
    write_shard(tmp_path / "train-0.tar", files)
    images = PadShards(pad_samples(tmp_path / "train-0.tar"))

    def epoch(balance, world):
        loader = PadLoader(images, images.modalities, 16, 2, 0, None, balance, buffer=4)
        steps = loader.steps_per_epoch(world)
        streams = [loader.stream(0, r, world) for r in range(world)]
        return sorted(i for s in streams for _ in range(steps) for b in next(s) for i in b.index.tolist())

    for world in (1, 2):
        assert epoch(False, world) == list(range(10))
        shown = np.bincount(epoch(True, world), minlength=10)
        assert shown[3:].tolist() == [1] * 7
        assert shown[:3].sum() == 7
        assert shown[:3].min() == 2


def test_a_set_without_a_development_split(tmp_path):
    splits = read_pad(data(write_set(tmp_path, ("train", "test"), train=16)))
    assert (len(splits.train), len(splits.dev)) == (12, 4)
    assert not set(splits.train.labels.subjects) & set(splits.dev.labels.subjects)
    assert splits.note == "4 shards; no dev split: 25% of the training subjects choose thresholds"
    for path in tmp_path.glob("test*"):
        path.unlink()
    with pytest.raises(DataError, match="no shards with the word test in their names"):
        read_pad(data(tmp_path))


def test_frames_of_videos_are_averaged_by_their_names(tmp_path):
    files = {}
    for k in range(4):
        files |= pad_sample(f"{k}", k, ("rgb",), live=k < 2, video=f"v{k // 2}", frame=str(k))
    write_shard(tmp_path / "s.tar", files)
    images = PadShards(pad_samples(tmp_path / "s.tar"))
    assert images.modalities == ("rgb",)
    assert images.labels.videos.tolist() == ["v0", "v0", "v1", "v1"]
    assert len(set(images.labels.keys.tolist())) == 4


@pytest.mark.parametrize(
    ("sample", "words"),
    [
        (pad_sample("0", 0, subject="a"), r's\.tar: 0 has no label: its \.json needs "live"'),
        (pad_sample("0", 0, live="yes"), r's\.tar: 0\.json: "live" is \'yes\', expected true or false'),
        (pad_sample("0", 0, live=True, species="print"), r'"live" is True, but "species" is \'print\''),
        (pad_sample("0", 0, (), live=True), r"s\.tar: 0 has no picture \(it has json\)"),
        (pad_sample("0", 0, ("rgb",), live=True) | pad_sample("1", 1, live=True), r"0 has no depth picture"),
        ({"0.jpg": b"x", "0.json": b"{"}, r"0\.json is not valid JSON"),
        ({}, "no samples in these shards"),
    ],
)
def test_broken_samples(tmp_path, sample, words):
    write_shard(tmp_path / "s.tar", sample)
    with pytest.raises(DataError, match=words):
        PadShards(pad_samples(tmp_path / "s.tar"))


def test_a_slot_with_the_wrong_camera_is_refused(tmp_path):
    write_set(tmp_path)
    files = {}
    for k in range(8):
        colour = image_bytes(noise(k, 16, 16, 3))
        files |= {
            f"{k}.rgb.png": colour,
            f"{k}.ir.png": colour,
            f"{k}.json": json.dumps({"live": k % 2}).encode(),
        }
    for path in tmp_path.glob("train*"):
        path.unlink()
    write_shard(tmp_path / "train-0.tar", files)
    with pytest.raises(DataError, match=r"train-0\.tar: 0\.ir: the infrared slot holds a colour picture"):
        read_pad(data(tmp_path))


def test_one_class_is_refused(tmp_path):
    write_set(tmp_path, ("val", "test"))
    write_shard(tmp_path / "train-0.tar", pad_sample("0", 0, live=True) | pad_sample("1", 5, live=True))
    with pytest.raises(DataError, match="train: all 2 presentations are live"):
        read_pad(data(tmp_path))


def test_the_check_of_a_copy(tmp_path):
    write_set(tmp_path)
    assert guess_shard_kind(tmp_path) == "pad_shards"
    report = check_pad_shards(tmp_path)
    assert report.is_sound
    assert report.splits["dev"] == {"samples": 8, "videos": 8, "live": 4, "attack": 4, "subjects": 4}
    path = write_shard(
        tmp_path / "train-000002.tar", pad_sample("0", 7, live=True, subject="test1") | {"0.ir.png": b"x"}
    )
    text = "; ".join(check_pad_shards(tmp_path).problems)
    assert "train-000002.tar: 0.ir: " in text
    assert "1 subjects are in train and in test, the first: test1" in text
    path.write_bytes(b"no tar at all" * 100)
    assert "damaged, or no uncompressed tar" in check_pad_shards(tmp_path, decode=False).problems[0]
    for part in tmp_path.glob("t*"):
        part.unlink()
    assert "no shards with the words train and test" in check_pad_shards(tmp_path).problems[0]
