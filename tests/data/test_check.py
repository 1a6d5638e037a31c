from __future__ import annotations

import dataclasses
import gzip
import json
import shutil

import numpy as np
import pytest

from mien.core.errors import DataError
from mien.data.check import MAX_PROBLEMS, check_set, guess_kind
from mien.data.config import ClassificationData
from mien.data.readers import READERS, read_splits
from tests.data import fixtures, shard_fixtures

WRITERS = {
    "idx": fixtures.write_idx,
    "cifar10_lt": fixtures.write_cifar10,
    "cifar100_lt": fixtures.write_cifar100,
    "imagenet_lt": fixtures.write_imagenet_lt,
    "places_lt": fixtures.write_places_lt,
    "inat2018": fixtures.write_inat2018,
    "json": fixtures.write_json,
    "folder": fixtures.write_folder,
    "shards": shard_fixtures.write_splits,
}


def config(kind, root, **fields):
    return ClassificationData(kind=kind, root=str(root), **fields)


def test_there_is_a_writer_for_every_reader():
    assert set(WRITERS) == set(READERS)


@pytest.mark.parametrize("kind", WRITERS)
def test_sound_sets_are_guessed_read_and_found_sound(tmp_path, kind):
    WRITERS[kind](tmp_path / "set")
    assert guess_kind(tmp_path / "set") == kind
    report = check_set(config(kind, tmp_path / "set", val_per_class=1))
    assert report.problems == ()
    assert report.is_sound
    assert report.kind == kind
    splits = read_splits(config(kind, tmp_path / "set", val_per_class=1))
    for part in ("train", "val", "test"):
        counts = splits.get(part).counts()
        assert report.splits[part] == {
            "images": counts.sum(),
            "classes": len(counts),
            "largest": counts.max(),
            "smallest": counts[counts > 0].min(),
            "empty_classes": (counts == 0).sum(),
        }
    is_partial = any("looks like a partial copy" in note for note in report.notes)
    assert is_partial == (kind not in ("idx", "json", "folder", "shards"))
    json.dumps(dataclasses.asdict(report))


@pytest.mark.parametrize(("kind", "classes"), [("fashion_lt", 10), ("debug", 10), ("glyphs_lt", 100)])
def test_sets_at_hand_are_read_by_the_same_door(kind, classes):
    data = ClassificationData(kind=kind, **({"imbalance": 100.0} if kind == "glyphs_lt" else {}))
    assert len(read_splits(data).train.classes) == classes
    assert check_set(data).splits["train"]["classes"] == classes


def test_missing_damaged_and_bomb_files_are_all_listed(tmp_path):
    root = fixtures.write_imagenet_lt(tmp_path)
    pictures = sorted((root / "train").rglob("*.JPEG"))
    pictures[0].unlink()
    pictures[1].write_bytes(pictures[1].read_bytes()[:300])
    pictures[2].write_bytes(b"")
    report = check_set(config("imagenet_lt", root))
    assert len(report.problems) == 3
    for picture, words in zip(pictures, ("no such file", "damaged", "empty file"), strict=False):
        assert any(line.startswith(str(picture)) and words in line for line in report.problems)
    only_missing = check_set(config("imagenet_lt", root), decode=False)
    assert [str(pictures[0]) in line for line in only_missing.problems] == [True]


def test_the_hundredth_problem_is_not_the_end(tmp_path):
    root = fixtures.write_imagenet_lt(tmp_path, (0,) * 120)
    shutil.rmtree(root / "train")
    report = check_set(config("imagenet_lt", root), decode=False)
    assert len(report.problems) == MAX_PROBLEMS + 1
    assert report.problems[-1] == "and 21 more problems"  # 120 of train, 1 of val


@pytest.mark.parametrize(
    ("kind", "name", "data", "words"),
    [
        (
            "idx",
            "train-labels-idx1-ubyte.gz",
            gzip.compress(fixtures.idx_bytes(np.zeros(7)), mtime=0),
            "but 7 labels",
        ),
        (
            "cifar10_lt",
            "cifar-10-batches-py/data_batch_1",
            b"cos\nsystem\n(S'true'\ntR.",
            "refused .* os.system",
        ),
        ("places_lt", "Places_LT_train.txt", b"/etc/passwd 3\n", "Places_LT_train.txt:1: .*leads outside"),
        ("inat2018", "train2018.json", b"{", "train2018.json:1:2: not valid JSON"),
        ("json", "train.json", b"{}", "no list 'annotations'"),
    ],
)
def test_a_set_that_cannot_be_read_is_a_problem_not_an_exception(tmp_path, kind, name, data, words):
    WRITERS[kind](tmp_path)
    (tmp_path / name).write_bytes(data)
    report = check_set(config(kind, tmp_path))
    assert len(report.problems) == 1
    assert report.splits == {}
    with pytest.raises(DataError, match=words):
        read_splits(config(kind, tmp_path))
    with pytest.raises(DataError, match=words):
        raise DataError(report.problems[0])


def test_an_empty_class_folder_is_a_problem(tmp_path):
    fixtures.write_folder(tmp_path, {"a": 2, "b": 2, "c": 0})
    assert "c: no pictures in this class" in check_set(config("folder", tmp_path)).problems[0]


def test_the_same_file_in_two_lists(tmp_path):
    root = fixtures.write_imagenet_lt(tmp_path)
    first = (root / "ImageNet_LT_train.txt").read_text().split("\n")[0]
    with open(root / "ImageNet_LT_test.txt", "a") as stream:
        stream.write(first + "\n")
    for decode in (True, False):
        problems = check_set(config("imagenet_lt", root), decode=decode).problems
        assert [line.endswith("listed twice, in train and in test") for line in problems] == [True]


def test_the_same_pixels_in_training_and_test(tmp_path):
    fixtures.write_folder(tmp_path, parts=("train", "val", "test"))
    shutil.copy(tmp_path / "train/ant/ant_train0.png", tmp_path / "test/bee/copied.png")
    problems = check_set(config("folder", tmp_path)).problems
    assert len(problems) == 1
    assert "test/bee/copied.png of test has the same pixels as" in problems[0]
    assert "ant_train0.png of train (1 test pictures are also in train)" in problems[0]
    assert check_set(config("folder", tmp_path), decode=False).problems == ()


def test_the_same_pixels_in_arrays(tmp_path):
    fixtures.write_idx(tmp_path, packed=False)
    images = fixtures.pixels(2, 30, 28, 28)
    images[[4, 9]] = fixtures.pixels(1, 200, 28, 28)[[4, 9]]
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(fixtures.idx_bytes(images))
    problems = check_set(config("idx", tmp_path, val_per_class=0)).problems
    assert len(problems) == 1
    assert problems[0].startswith("image 4 of test has the same pixels as image 4 of train (2 test pictures")


def test_declared_sizes_are_compared(tmp_path):
    fixtures.write_json(tmp_path)
    listed = json.loads((tmp_path / "val.json").read_text())
    listed["annotations"][1] |= {"im_height": 32, "im_width": 40}
    (tmp_path / "val.json").write_text(json.dumps(listed))
    problems = check_set(config("json", tmp_path)).problems
    assert problems == (f"{tmp_path}/images/val/1/1.jpg: 40 x 32 pixels (H x W), declared 32 x 40",)


def test_published_counts_are_noted(tmp_path):
    fixtures.write_cifar100(tmp_path)
    notes = check_set(config("cifar100_lt", tmp_path, imbalance=100.0, val_per_class=0)).notes
    assert any("the published set has 10,847: looks like a partial copy" in note for note in notes)
    chosen = check_set(config("cifar100_lt", tmp_path, imbalance=100.0, n_max=5))
    assert not any("10,847" in note for note in chosen.notes)
    fixtures.write_inat2018(tmp_path, (0, 0, 1), 2)
    notes = check_set(config("inat2018", tmp_path), decode=False).notes
    assert "train+val: 3 images, the published set has 437,513: looks like a partial copy" in notes


def test_published_cifar_counts_pass_without_a_note(tmp_path):
    fixtures.write_cifar100(tmp_path, per_class=500, test_per_class=100, protocol=5)
    report = check_set(config("cifar100_lt", tmp_path, imbalance=100.0, val_per_class=10))
    assert not any("published" in note for note in report.notes)
    assert report.splits["train"]["images"] == 10_847 - 10  # class 0 keeps all its images, so it gives ten
    assert report.splits["val"]["images"] == 1000


def test_problems_are_single_printable_lines(tmp_path):
    fixtures.write_folder(tmp_path, {"a": 2, "b": 2}, parts=("train", "val", "test"))
    (tmp_path / "train/a/caf\udce9\nx.png").write_bytes(b"no picture")
    (line,) = check_set(config("folder", tmp_path)).problems
    assert "\n" not in line
    assert "caf\\udce9 x.png: not a picture" in line
    line.encode("utf-8")


@pytest.mark.parametrize("inside", ["cifar-10-batches-py", "cifar-100-python"])
def test_guess_inside_the_archive_folder(tmp_path, inside):
    fixtures.write_cifar10(tmp_path)
    fixtures.write_cifar100(tmp_path)
    assert guess_kind(tmp_path / inside) == ("cifar10_lt" if "10-" in inside else "cifar100_lt")


def test_guess_other_forms(tmp_path):
    fixtures.write_folder(tmp_path / "split", parts=("train", "val", "test"))
    assert guess_kind(tmp_path / "split") == "folder"
    fixtures.write_json(tmp_path / "json", name="x_{part}.json")
    assert guess_kind(tmp_path / "json/x_train.json") == "json"
    fixtures.write_idx(tmp_path / "MNIST/raw", 2, 1)
    assert guess_kind(tmp_path / "MNIST") == "idx"


@pytest.mark.parametrize(
    ("kind", "writer"),
    [
        ("pacs", fixtures.write_pacs),
        ("vlcs", fixtures.write_vlcs),
        ("office_home", fixtures.write_office_home),
        ("domain_net", fixtures.write_domain_net),
        ("terra_incognita", fixtures.write_terra_tree),
        ("terra_incognita", fixtures.write_terra_listing),
    ],
)
def test_guess_published_domains_by_their_names(tmp_path, kind, writer):
    folder = {"pacs": "PACS", "vlcs": "VLCS"}.get(kind, kind)
    (tmp_path / folder).mkdir()
    writer(tmp_path / folder)
    assert guess_kind(tmp_path / folder) == kind
    assert guess_kind(tmp_path) == kind


def test_guess_with_a_domain_lost_but_not_from_class_names(tmp_path):
    root = fixtures.write_pacs(tmp_path / "pacs", 1)
    shutil.rmtree(root / "photo")
    assert guess_kind(root) == "pacs"
    shutil.rmtree(root / "sketch")
    shutil.rmtree(root / "cartoon")
    assert guess_kind(root) == "folder"
    fixtures.write_folder(
        tmp_path / "classes", dict.fromkeys(("cartoon", "photo", "sketch", "art_painting"), 1)
    )
    assert guess_kind(tmp_path / "classes") == "folder"


def test_guess_between_two_published_sets(tmp_path):
    fixtures.write_pacs(tmp_path / "PACS", 1)
    fixtures.write_vlcs(tmp_path / "VLCS", 1)
    with pytest.raises(DataError, match="holds several sets, pacs, vlcs; give the folder of one"):
        guess_kind(tmp_path)


def test_a_folder_that_may_be_domains_is_noted(tmp_path):
    words = "give --kind domains"
    fixtures.write_domains(tmp_path / "d", {n: {"cat": 2, "dog": 2} for n in ("day", "night")}, size=(12, 9))
    assert any(words in n for n in check_set(config("folder", tmp_path / "d", val_per_class=1)).notes)
    fixtures.write_folder(tmp_path / "s", parts=("train", "val", "test"))
    assert not any(words in n for n in check_set(config("folder", tmp_path / "s")).notes)
    fixtures.write_folder(tmp_path / "f")
    assert not any(words in n for n in check_set(config("folder", tmp_path / "f")).notes)


def test_guess_says_what_was_looked_for(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    words = r"looked for idx: .*ImageNet_LT_train\.txt.*train2018\.json.*pacs: art_painting.*one folder of"
    with pytest.raises(DataError, match=words):
        guess_kind(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        guess_kind(tmp_path / "none")
