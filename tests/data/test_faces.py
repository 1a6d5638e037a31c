"""Folders and shards of people, and what is checked on them."""

from __future__ import annotations

import io
import json
import pickle
import warnings
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

from mien.core.errors import DataError, ShapeError
from mien.data.channel_order import check_channel_order
from mien.data.face_check import face_checks
from mien.data.face_folder import FaceFolder
from mien.data.labelled import ArrayImages
from mien.synth.maker import Sample, make
from tests.data.fixtures import write_picture
from tests.data.record_fixtures import picture_bytes
from tests.data.shard_fixtures import write_shard


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def write_people(root, counts, suffix=".png", size=(112, 112)):
    seed = 0
    for name, count in counts.items():
        for k in range(count):
            write_picture(root / name / f"{k}{suffix}", seed, size)
            seed += 1
    return root


def test_folders_of_people(tmp_path):
    write_people(tmp_path, {"n10": 1, "n2": 3, "Zoe": 2})
    (tmp_path / "n2/notes.txt").write_text("x")
    (tmp_path / "n2/.hidden.png").write_bytes(b"")
    (tmp_path / "readme.md").write_text("x")
    write_picture(tmp_path / "n10/album/9.PNG", 99)
    faces = FaceFolder(tmp_path)
    assert faces.classes == ("Zoe", "n2", "n10")
    assert faces.targets.tolist() == [0, 0, 1, 1, 1, 2, 2]
    assert faces.names == (
        "Zoe/0.png",
        "Zoe/1.png",
        "n2/0.png",
        "n2/1.png",
        "n2/2.png",
        "n10/0.png",
        "n10/album/9.PNG",
    )
    assert faces.note == "1 files are no pictures and were left out"
    (image,) = faces.pictures([3])
    assert np.array_equal(image, pixels((tmp_path / "n2/1.png").read_bytes()))
    part = faces.subset(np.array([6, 0]))
    assert part.targets.tolist() == [2, 0]
    assert part.keys.tolist() == faces.keys[[6, 0]].tolist()
    assert pickle.loads(pickle.dumps(part)).fingerprint == part.fingerprint
    assert part.pictures([0])[0].shape == (12, 9, 3)


def test_one_ending_of_folders(tmp_path):
    write_people(tmp_path, {"a": 2})
    write_people(tmp_path, {"a": 1, "b": 3}, ".jpg")
    assert FaceFolder(tmp_path, extension="jpg").counts().tolist() == [1, 3]
    with pytest.raises(DataError, match=r"no pictures with the ending \.webp there"):
        FaceFolder(tmp_path, extension="webp")


@pytest.mark.parametrize("how", ["cls", "json", "key"])
def test_shards_of_faces(tmp_path, how):
    labels = {"a": [10, 10, 2], "b": [2, 7]}
    seed = 0
    for shard, people in labels.items():
        files = {}
        for k, who in enumerate(people):
            key = f"{who}/{shard}{k}" if how == "key" else f"{k:06d}"
            files[f"{key}.jpg"] = picture_bytes(seed, kind="JPEG")
            if how == "cls":
                files[f"{key}.cls"] = f"{who}\n".encode()
            if how == "json":
                files[f"{key}.json"] = json.dumps({"identity": who, "yaw": 0.1}).encode()
            seed += 1
        write_shard(tmp_path / f"{shard}.tar", files)
    faces = FaceFolder(tmp_path)
    assert faces.classes == ("2", "7", "10")
    assert faces.targets.tolist() == [0, 0, 1, 2, 2]
    order = [2, 3, 4, 0, 1]
    for image, seed in zip(faces.pictures(range(5)), order, strict=True):
        assert np.array_equal(image, pixels(picture_bytes(seed, kind="JPEG")))
    assert len(set(faces.keys.tolist())) == 5
    again = pickle.loads(pickle.dumps(faces.subset(np.array([4]))))
    assert np.array_equal(again.pictures([0])[0], pixels(picture_bytes(1, kind="JPEG")))


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"0.jpg": b"x"}, r"s\.tar: 0 has no label: neither \.cls"),
        ({"0.jpg": b"x", "0.cls": b"one"}, r"s\.tar: 0\.cls is 'one', expected a class number"),
        ({"0.jpg": b"x", "0.json": b"{"}, r"s\.tar: 0\.json is not valid JSON"),
        ({"0.jpg": b"x", "0.json": b'{"identity": [1]}'}, "0 has no label"),
        ({"0.txt": b"x"}, "no pictures there"),
        ({}, "no pictures there"),
    ],
)
def test_shards_without_labels(tmp_path, files, words):
    write_shard(tmp_path / "s.tar", files)
    with pytest.raises(DataError, match=words):
        FaceFolder(tmp_path)


def test_damaged_shards(tmp_path):
    path = write_shard(tmp_path / "s.tar", {f"a/{k}.png": picture_bytes(k) for k in range(3)})
    data = path.read_bytes()
    path.write_bytes(data[:700])
    with pytest.raises(DataError, match=r"s\.tar: damaged, or no uncompressed tar"):
        FaceFolder(tmp_path)
    path.write_bytes(b"no tar at all" * 100)
    with pytest.raises(DataError, match=r"s\.tar: damaged, or no uncompressed tar"):
        FaceFolder(tmp_path)
    path.write_bytes(data)
    faces = FaceFolder(tmp_path)
    path.write_bytes(data.replace(b"IHDR", b"XXXX"))
    with pytest.raises(DataError, match=r"s\.tar: a/1: damaged|s\.tar: a/1: not a picture"):
        faces.pictures([1])
    path.unlink()
    with pytest.raises(DataError, match="cannot read"):
        faces.pictures([1])


def test_the_same_key_in_two_shards(tmp_path):
    for shard in "xy":
        write_shard(tmp_path / f"{shard}.tar", {"a/0.png": picture_bytes(0)})
    with pytest.raises(DataError, match="a/0 is there twice"):
        FaceFolder(tmp_path)


def test_nothing_there(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        FaceFolder(tmp_path / "none")
    with pytest.raises(DataError, match="no pictures there"):
        FaceFolder(tmp_path)
    (tmp_path / "set.json").write_text('{"kind": "pad", "shards": false}')
    with pytest.raises(DataError, match="a made set of pad, expected faces or heads"):
        FaceFolder(tmp_path)


@dataclass(frozen=True)
class QuickFaces:
    """The files of the made set of faces, without the rendering."""

    kind: ClassVar[str] = "faces"
    shown: ClassVar[tuple[str, ...]] = ("png",)
    identities: int = 2
    per_identity: int = 2
    size: int = 32
    seed: int = 0

    def samples(self, number):
        for k in range(self.per_identity):
            seed = 10 * number + k
            files = {"png": picture_bytes(seed, (32, 32)), "112.png": picture_bytes(seed), "npz": b""}
            label = json.dumps({"identity": number, "picture": k}).encode()
            yield Sample(f"{k:04d}", files | {"json": label})

    def report(self, samples):
        return []


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The same two people twice, as folders and as shards."""
    root, settings = tmp_path_factory.mktemp("made"), QuickFaces()
    return make(settings, root / "folders"), make(settings, root / "shards", shards=True)


def test_made_sets_in_folders_and_in_shards_are_the_same(made):
    folders, shards = (FaceFolder(path) for path in made)
    assert folders.classes == ("000000", "000001")
    assert folders.targets.tolist() == [0, 0, 1, 1]
    assert folders.names == shards.names == ("000000/0000", "000000/0001", "000001/0000", "000001/0001")
    assert folders.fingerprint == shards.fingerprint
    for a, b in zip(folders.pictures(range(4)), shards.pictures(range(4)), strict=True):
        assert a.shape == (112, 112, 3)
        assert np.array_equal(a, b)
    plain = FaceFolder(made[1], extension="png")
    assert plain.pictures([0])[0].shape == (32, 32, 3)
    assert face_checks(folders).is_sound


# ---------------------------------------------------------------- checks


def array_set(labels, classes=None, size=112, seed=0):
    images = np.random.default_rng(seed).integers(0, 256, (len(labels), size, size, 3), dtype=np.uint8)
    count = max(labels) + 1 if classes is None else classes
    return images, np.array(labels), [f"p{k}" for k in range(count)]


def test_sound_faces():
    images, labels, names = array_set([0, 0, 1, 1])
    report = face_checks(ArrayImages(images, labels, names))
    assert report.is_sound
    assert report.notes == ()
    assert report.splits["train"] == {
        "images": 4,
        "classes": 2,
        "largest": 2,
        "smallest": 2,
        "empty_classes": 0,
    }


def test_gaps_singles_and_scattered_people():
    images, labels, names = array_set([0, 3, 0, 1], 5)
    notes = face_checks(ArrayImages(images, labels, names)).notes
    assert notes == (
        "labels have gaps: 2 of 5 classes have no picture (2, 4)",
        "people with one picture only: 2 (1, 3); they have no pair",
        "the pictures of a person do not lie together (1 more runs than people)",
    )


def test_size_grey_and_copies(tmp_path):
    write_people(tmp_path, {"a": 2, "b": 3, "c": 2})
    write_picture(tmp_path / "a/wide.png", 50, (112, 96))
    grey = Image.fromarray(np.random.default_rng(0).integers(0, 256, (112, 112), dtype=np.uint8))
    grey.save(tmp_path / "b/grey.png")
    (tmp_path / "b/copy.png").write_bytes((tmp_path / "b/0.png").read_bytes())
    (tmp_path / "c/stolen.png").write_bytes((tmp_path / "a/0.png").read_bytes())
    (tmp_path / "c/torn.png").write_bytes((tmp_path / "a/0.png").read_bytes()[:3000])
    report = face_checks(FaceFolder(tmp_path))
    assert len(report.problems) == 3
    assert "a/wide.png: 112 x 96 pixels (H x W), expected 112 x 112" in report.problems[0]
    assert "c/stolen.png has the same pixels as" in report.problems[1]
    assert report.problems[1].endswith("a/0.png, but one is 'c', the other 'a'")
    assert "c/torn.png: damaged or truncated picture" in report.problems[2]
    assert report.notes[0].startswith("1 of 12 pictures have another size")
    assert report.notes[1].startswith("1 of 12 pictures are grey, the first is ")
    assert report.notes[2] == "1 pictures are copies of another of the same person"
    assert len(face_checks(FaceFolder(tmp_path), size=96).problems) > 3


def test_a_grey_set_is_said_once():
    images, labels, names = array_set([0, 0])
    images[..., 1:] = images[..., :1]
    assert "all pictures are grey" in face_checks(ArrayImages(images, labels, names)).notes


# ---------------------------------------------------------------- channels


def colored_pairs(count=400, seed=0):
    """People differ in the colour of the face; the light of each picture differs in blue only."""
    rng = np.random.default_rng(seed)
    people = rng.uniform(40, 200, (count, 2, 3))
    pairs = []
    for k in range(count):
        same = k % 2 == 0
        colors = [people[k, 0], people[k, 0 if same else 1]]
        faces = []
        for color in colors:
            light = np.array([0, 0, rng.normal(0, 60)])
            flat = np.clip(color + light + rng.normal(0, 4, 3), 0, 255)
            faces.append(np.broadcast_to(flat, (6, 6, 3)).astype(np.uint8))
        pairs.append((*faces, same))
    return pairs


def embed(images):
    """Looks at the first two channels: right for RGB, bad for BGR, where blue comes first."""
    mean = images.reshape(len(images), -1, 3).mean(1) / 128 - 1
    angle = np.stack([mean[:, 0], mean[:, 1]], 1) * 1.5
    return np.concatenate([np.cos(angle), np.sin(angle)], 1)


def test_channels_in_order():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = check_channel_order(embed, colored_pairs(), batch=100)
    assert not report.is_swapped
    assert report.pairs == 400
    assert report.as_given > report.reversed
    assert report.sigmas < -3
    assert report == check_channel_order(embed, colored_pairs(), batch=10_000)


def test_swapped_channels_are_warned_about():
    pairs = [(a[..., ::-1], b[..., ::-1], same) for a, b, same in colored_pairs()]
    with pytest.warns(UserWarning, match=r"accuracy \d+\.\d % .* the model or the pictures are BGR; reverse"):
        report = check_channel_order(embed, pairs)
    assert report.is_swapped
    assert report.reversed > report.as_given + 0.01


def test_grey_pictures_tell_nothing():
    pairs = [(np.repeat(a[..., :1], 3, 2), np.repeat(b[..., :1], 3, 2), s) for a, b, s in colored_pairs(100)]
    report = check_channel_order(embed, pairs)
    assert (report.sigmas, report.is_swapped) == (0, False)
    assert report.as_given == report.reversed


def test_a_constant_embedding_is_at_chance():
    report = check_channel_order(lambda images: np.ones((len(images), 3)), colored_pairs(100))
    assert report.as_given == report.reversed == 0.5


def test_wrong_use_of_the_channel_check():
    pairs = colored_pairs(10)
    with pytest.raises(DataError, match="one kind only"):
        check_channel_order(embed, pairs[::2])
    with pytest.raises(DataError, match="one kind only"):
        check_channel_order(embed, [])
    with pytest.raises(ShapeError, match=r"expected finite embeddings \(20, D\), got shape \(20,\)"):
        check_channel_order(lambda images: np.ones(len(images)), pairs)
    with pytest.raises(ShapeError, match=r"pictures of several sizes .*; align them first"):
        check_channel_order(embed, [(pairs[0][0], pairs[0][1][:3], True), pairs[1]])
    with pytest.raises(ShapeError, match="expected finite"):
        check_channel_order(lambda images: np.full((len(images), 2), np.nan), pairs)
