"""A new challenge: what is public tells nothing of what is hidden."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import types
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import mien.data
import mien.metrics
from mien.challenge import Contest, Item, Reference, init, score, table_items
from mien.challenge.items import picture_quality, suhifimask_items
from mien.core.errors import ConfigError, DataError
from tests.challenge.made import CONTEST, START, make_challenge, make_items


def words(path):
    return [line.split() for line in path.read_text().splitlines()]


def named(folder):
    """The rows of names.csv."""
    return list(csv.DictReader((folder / "reference" / "names.csv").read_text().splitlines()))


def test_folders_and_lists(tmp_path):
    folder = make_challenge(tmp_path)
    assert sorted(p.name for p in folder.iterdir()) == [
        "challenge.toml", "phase1", "phase2", "reference", "store.db", "template"
    ]  # fmt: skip
    assert (folder / "phase1" / "dev.txt").read_text().splitlines()[0] == "dev/000001.jpg"
    assert len(list((folder / "phase1" / "train").iterdir())) == 6
    assert len(list((folder / "phase2" / "test").iterdir())) == 18
    hidden = Reference.read(folder)
    assert [n for (n,) in words(folder / "phase2" / "test.txt")] == list(hidden.test.names)
    assert sorted(hidden.test.label.tolist()) == [0] * 9 + [1] * 3 + [2] * 3 + [3] * 3


def test_public_labels_say_live_one(tmp_path):
    folder = make_challenge(tmp_path)
    hidden = Reference.read(folder)
    expected = {n: str(int(k == 0)) for n, k in zip(hidden.dev.names, hidden.dev.label, strict=True)}
    assert dict(words(folder / "phase2" / "dev_label.txt")) == expected
    sources = {row["path"]: row["source"] for row in named(folder)}
    for name, label in words(folder / "phase1" / "train_label.txt"):
        assert ("label0" in sources[name] or "label2" in sources[name]) == (label == "1")


def test_a_picture_is_behind_its_name(tmp_path):
    folder = make_challenge(tmp_path)
    for row in named(folder):
        phase = "phase2" if row["path"].startswith("test") else "phase1"
        assert (folder / phase / row["path"]).read_bytes() == Path(row["source"]).read_bytes()


def test_order_tells_nothing_and_repeats(tmp_path):
    one = make_challenge(tmp_path / "a", counts=(6, 300, 300), media="none")
    two = make_challenge(tmp_path / "b", counts=(6, 300, 300), media="none")
    assert (one / "reference" / "test.csv").read_text() == (two / "reference" / "test.csv").read_text()
    live = Reference.read(one).test.live
    runs = 1 + np.count_nonzero(live[1:] != live[:-1])
    assert 110 < runs < 190  # three of a kind in a row would give 100 or fewer


def test_no_public_file_names_an_original(tmp_path):
    folder = make_challenge(tmp_path)
    public = [p for phase in ("phase1", "phase2", "template") for p in (folder / phase).rglob("*")]
    assert not any(p.is_symlink() for p in public)
    assert not any("label0" in p.name or (p.suffix == ".txt" and "label0" in p.read_text()) for p in public)


def test_links_and_lists_only(tmp_path):
    linked = make_challenge(tmp_path / "a", media="hardlink")
    assert os.stat(linked / "phase1" / "dev" / "000001.jpg").st_nlink == 2
    bare = make_challenge(tmp_path / "b", media="none")
    assert not list((bare / "phase2" / "test").iterdir())


def test_the_template_writes_a_valid_submission(tmp_path):
    folder = make_challenge(tmp_path)
    command = [sys.executable, "-I", folder / "template" / "solution.py", folder, tmp_path / "a.zip"]
    for phase in (1, 2):
        subprocess.run([*command, "--phase", str(phase)], check=True)
        found = score(folder, tmp_path / "a.zip", phase, draws=10)
        assert found.lines == (12 if phase == 1 else 18)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda items: {**items, "dev": []}, DataError, "dev has none"),
        (lambda items: {**items, "dev": items["dev"][:3]}, DataError, "all 3 pictures of dev are live"),
        (lambda items: {**items, "train": items["train"] + make_png(items)}, DataError, "of one file type"),
        (
            lambda items: {**items, "test": gone(items["test"])},
            DataError,
            "no such picture",
        ),
    ],
)
def test_sets_that_make_no_challenge(tmp_path, change, error, message):
    items = change(make_items(tmp_path / "pictures"))
    with pytest.raises(error, match=message):
        init(items, "p3", tmp_path / "out", contest=CONTEST)
    assert not (tmp_path / "out").exists()


def make_png(items):
    return [Item(items["train"][0].path.with_suffix(".png"), 0, "t")]


def gone(items):
    return [Item(items[0].path.with_name("gone.jpg"), items[0].label, items[0].track), *items[1:]]


def test_a_folder_that_is_taken(tmp_path):
    folder = make_challenge(tmp_path)
    with pytest.raises(ConfigError, match="holds a challenge already"):
        init(make_items(tmp_path / "p"), "p3", folder)
    with pytest.raises(ConfigError, match="is not empty"):
        init(make_items(tmp_path / "p"), "p3", tmp_path)
    with pytest.raises(ConfigError, match="no media"):
        init(make_items(tmp_path / "p"), "p3", tmp_path / "new", media="symlink")


def test_phases_begin_by_the_clock(tmp_path):
    made = init(make_items(tmp_path / "p"), "p3", tmp_path / "c", contest=Contest(), clock=lambda: START)
    assert 'start = "2027-01-15T00:00:00Z"' in (made.folder / "challenge.toml").read_text()
    assert made.lines == {"train": 6, "dev": 12, "test": 18}


def test_a_table_of_a_lab(tmp_path):
    (tmp_path / "t.csv").write_text(
        "split,path,label,track,camera\ntrain,a.jpg,0,x,C1\ndev,b.jpg,2,y,\ntest,/abs/c.jpg,0,z,C2\n"
    )
    items = table_items(tmp_path / "t.csv")
    assert items["train"] == [Item(tmp_path / "a.jpg", 0, "x", "C1")]
    assert items["dev"][0].label == 2
    assert str(items["test"][0].path) == "/abs/c.jpg"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("split,path,label\n", "no column 'track'"),
        ("split,path,label,track\nval,a.jpg,0,x\n", "no split 'val'"),
        ("split,path,label,track\ndev,a.jpg,live,x\n", "t.csv:2: invalid literal"),
        ("split,path,label,track\ndev,a.jpg,-1,x\n", "t.csv:2: .*label -1"),
        ("split,path,label,track\ndev\n", "t.csv:2"),
    ],
)
def test_damaged_tables(tmp_path, text, message):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        table_items(tmp_path / "t.csv")


@dataclass(frozen=True)
class Sample:
    path: Path
    label: int
    track: int
    camera: int = 5
    scene: int = 33


def test_items_of_the_reader(tmp_path, monkeypatch):
    place = tmp_path / "G06_S33_C5_E09_T20220228135120349" / "id_-1"
    place.mkdir(parents=True)
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(place / "1_0_9.jpg")

    def reader(root, protocol, split, level):
        assert (protocol, level) == ("p3", "image")
        return [Sample(place / "1_0_9.jpg", 9, -1)]

    # The stub loads names when asked; a test's own stands in for the reader.
    monkeypatch.setattr(mien.data, "SuHiFiMask", reader, raising=False)
    items = suhifimask_items(tmp_path, "p3", quality=lambda path: 1.5)
    assert items["test"] == [
        Item(place / "1_0_9.jpg", 9, "G06_S33_C5_E09_T20220228135120349/-1", "C5", "S33", 1.5)
    ]
    assert items["train"][0].quality == 0
    assert not items["test"][0].live
    assert isinstance(mien.data, types.ModuleType)


def test_quality_of_a_picture(tmp_path, monkeypatch):
    monkeypatch.setattr(mien.metrics, "quality_score", lambda img: {"q": img.shape[0] / 100}, raising=False)
    for side, expected in ((64, 0.64), (12, 0.12), (11, 0.0)):
        Image.fromarray(np.zeros((side, side, 3), np.uint8)).save(tmp_path / "a.png")
        assert picture_quality(tmp_path / "a.png") == expected
