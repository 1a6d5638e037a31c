"""A folder and its shards are one set; other readers of WebDataset read what is written."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import webdataset
from webdataset.autodecode import Decoder, imagehandler
from webdataset.tariterators import group_by_keys, tar_file_iterator

from mien.cli.main import main
from mien.core.errors import ConfigError, DataError
from mien.core.io import sha256
from mien.data.config import ClassificationData, PadData
from mien.data.face_folder import FaceFolder
from mien.data.pads import read_pad
from mien.data.readers import read_splits
from mien.data.shard_images import read_shards
from mien.data.shard_pack import pack_folder, pack_pad
from tests.data.fixtures import write_picture
from tests.data.pad_fixtures import picture
from tests.e2e.scale_sets import write_pad


def write_classes(root, counts, seed=0):
    for name, count in counts.items():
        for k in range(count):
            seed += 1
            write_picture(root / name / f"{k:02d}.png", seed)
    return root


def splits_of(kind, root):
    return read_splits(
        ClassificationData(kind=kind, root=str(root), channels=3, mean=(0.5,) * 3, std=(0.5,) * 3)
    )


def by_name(images):
    """Name inside the class -> (class, pixels)."""
    if hasattr(images, "names"):
        names = images.names
    else:
        names = [str(images.path(i).relative_to(images._files.root)) for i in range(len(images))]
    names = ["/".join(n.split("/")[-2:]) for n in names]
    pictures = images.pictures(range(len(images)))
    return {
        n: (images.classes[t], p.tobytes()) for n, t, p in zip(names, images.targets, pictures, strict=True)
    }


@pytest.mark.parametrize("is_split", [False, True])
def test_a_folder_and_its_shards_have_the_same_splits(tmp_path, is_split):
    if is_split:
        for p, part in enumerate(("train", "val", "test")):
            write_classes(tmp_path / "set" / part, {"ape": 7, "bee": 3, "cat": 2}, 100 * p)
    else:
        write_classes(tmp_path / "set", {"ape": 20, "bee": 9, "cat": 1, "dog": 2})
    said = []
    count = pack_folder(tmp_path / "set", tmp_path / "shards", 5, lambda n, of: said.append((n, of)))
    a, b = splits_of("folder", tmp_path / "set"), splits_of("shards", tmp_path / "shards")
    assert count == sum(len(a.get(p)) for p in ("train", "val", "test"))
    assert said[-1] == (count, count)
    for part in ("train", "val", "test"):
        assert a.get(part).classes == b.get(part).classes
        assert by_name(a.get(part)) == by_name(b.get(part))
    assert a.note == b.note
    order = [n for n in b.train.names]
    assert order != sorted(order)  # classes are mixed over the shards


def read_by_webdataset(path):
    """Samples of a shard, by the package's own reader."""
    with path.open("rb") as stream:
        files = [{**f, "__url__": str(path)} for f in tar_file_iterator(stream)]
    return list(group_by_keys(iter(files)))


def decoder(kind):
    return Decoder([imagehandler(kind)])


def test_another_reader_reads_the_shards(tmp_path):
    write_classes(tmp_path / "set", {"ape": 4, "bee": 3})
    pack_folder(tmp_path / "set", tmp_path / "shards", 4)
    urls = sorted((tmp_path / "shards").glob("*.tar"))
    samples = [decoder("rgb8")(s) for url in urls for s in read_by_webdataset(url)]
    assert sorted(s["__key__"] for s in samples) == sorted(
        [f"ape/{k:02d}" for k in range(4)] + [f"bee/{k:02d}" for k in range(3)]
    )
    ours = by_name(read_shards(tmp_path / "shards"))
    names = (tmp_path / "shards/classes.txt").read_text().splitlines()
    for s in samples:
        assert (names[s["cls"]], s["png"].tobytes()) == ours[f"{s['__key__']}.png"]


def test_we_read_what_another_writer_wrote(tmp_path):
    pictures = np.random.default_rng(0).integers(0, 256, (7, 8, 8, 3), np.uint8)
    with webdataset.ShardWriter(str(tmp_path / "s-%03d.tar"), maxcount=3, verbose=0) as writer:
        for k, image in enumerate(pictures):
            writer.write({"__key__": f"{k:05d}", "png": image, "cls": k % 2})
    found = read_shards(tmp_path / "s-{000..002}.tar")
    assert found.shards.tolist() == [0, 0, 0, 1, 1, 1, 2]
    assert found.targets.tolist() == [k % 2 for k in range(7)]
    assert np.array_equal(np.stack(found.pictures(range(7))), pictures)


def test_people_in_a_folder_and_in_shards_have_the_same_keys(tmp_path):
    write_classes(tmp_path / "set", {"n1": 3, "n2": 2})
    pack_folder(tmp_path / "set", tmp_path / "shards")
    one, two = FaceFolder(tmp_path / "set"), read_shards(tmp_path / "shards")
    assert dict(zip(one.keys.tolist(), one.targets, strict=True)) == dict(
        zip(two.keys.tolist(), two.targets, strict=True)
    )


def test_names_that_are_no_keys(tmp_path):
    root = write_classes(tmp_path / "set", {"a": 1, "b": 1})
    for name in ("x.1.png", "x.2.png", "x_1.png"):
        write_picture(root / "a" / name, hash(name) % 1000)
    write_picture(root / "a/x_1.JPG", 5)
    assert pack_folder(root, tmp_path / "shards") == 6
    found = read_shards(tmp_path / "shards")
    assert len(set(found.names)) == 6
    pixels = {p.tobytes() for p in found.pictures(range(6))}
    assert pixels == {p.tobytes() for p in FaceFolder(root).pictures(range(6))}


def test_the_same_shards_each_time_and_nothing_half_written(tmp_path, monkeypatch):
    root = write_classes(tmp_path / "set", {"a": 5, "b": 4})
    for name in ("one", "two"):
        pack_folder(root, tmp_path / name, 3)
    assert [sha256(p) for p in sorted((tmp_path / "one").iterdir())] == [
        sha256(p) for p in sorted((tmp_path / "two").iterdir())
    ]
    with pytest.raises(ConfigError, match=r"one: exists; choose another --output"):
        pack_folder(root, tmp_path / "one")
    with pytest.raises(ConfigError, match="0 samples a shard; give 1 or more"):
        pack_folder(root, tmp_path / "three", 0)
    plain = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda p: _gone(p) if p.name == "03.png" else plain(p))
    with pytest.raises(DataError, match=r"03\.png: cannot read"):
        pack_folder(root, tmp_path / "three")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one", "set", "two"]


def _gone(path):
    raise FileNotFoundError(2, os.strerror(2), str(path))


def test_a_folder_that_is_none(tmp_path):
    for root, words in ((tmp_path / "no", "no such folder"), (tmp_path, "no folders of classes or people")):
        with pytest.raises(DataError, match=words):
            pack_folder(root, tmp_path / "shards")


def test_a_table_of_samples_and_its_shards_are_one_set(tmp_path):
    table = write_pad(tmp_path / "set")
    csv = PadData(kind="csv", root=str(table), convention="live1", size=32)
    pack_pad(csv, tmp_path / "shards", 10)
    a, b = read_pad(csv), read_pad(PadData(kind="shards", root=str(tmp_path / "shards"), size=32))
    for part in ("train", "dev", "test"):
        one, two = a.get(part), b.get(part)
        assert one.modalities == two.modalities
        place = {key: i for i, key in enumerate(two.labels.keys.tolist())}
        at = np.array([place[key] for key in one.labels.keys.tolist()])
        for name in ("species", "subjects", "devices", "videos"):
            assert (getattr(one.labels, name) == getattr(two.labels, name)[at]).all()
        for modality in one.modalities:
            pairs = zip(one.pictures(modality, range(len(at))), two.pictures(modality, at), strict=True)
            assert all(np.array_equal(x, y) for x, y in pairs)
    facts = json.loads(read_by_webdataset(tmp_path / "shards/train-000000.tar")[0]["json"])
    assert {"live", "species", "subject", "video"} <= set(facts)


def test_clips_are_not_packed(tmp_path):
    picture(tmp_path / "0.png")
    rows = [f"{n}.avi,{n % 2},{part},s{n}" for n, part in enumerate(("train", "train", "test", "test"))]
    (tmp_path / "list.csv").write_text("\n".join(["rgb,label,split,subject", *rows]))
    data = PadData(kind="csv", root=str(tmp_path / "list.csv"), convention="live1")
    with pytest.raises(ConfigError, match=r"0\.avi: only pictures are packed; take the frames out"):
        pack_pad(data, tmp_path / "shards")


def test_the_verb(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_classes(tmp_path / "set", {"a": 12, "b": 12})
    assert main(["data", "pack", "set", "--output", "shards", "--samples", "10"]) == 0
    assert "24 samples; train with --data.kind shards --data.root shards" in capsys.readouterr().out
    assert main(["data", "check", "shards", "--kind", "shards", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["splits"]["train"]["images"] == 18
    assert main(["data", "pack", "set", "--output", "x", "--kind", "rendered"]) == 2
    assert main(["data", "pack", "--output", "x"]) == 2
    words = [
        "train",
        "ncl",
        "--preset",
        "debug",
        "--data.kind",
        "shards",
        "--data.root",
        "shards/{000000..000002}.tar",
    ]
    colour = ["--data.channels", "3", "--data.mean", *[".5"] * 3, "--data.std", *[".5"] * 3, "--n-hard", "1"]
    assert main([*words, *colour, "--output", "run"]) == 0
    assert "3 steps" in capsys.readouterr().out
