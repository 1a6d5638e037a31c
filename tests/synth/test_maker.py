"""Made sets: the same for any number of workers, resumable, whole or absent, folders and shards alike."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

from mien.core.errors import ConfigError, DataError, MienError
from mien.synth import maker
from mien.synth.body import people
from mien.synth.made_sets import SETS, BodySet, FaceSet, PadSet, VideoSet, made_set
from mien.synth.maker import Sample, make, mark_of, png, read_samples


@dataclass(frozen=True)
class Squares:
    """A set that costs nothing: grey squares."""

    kind: ClassVar[str] = "squares"
    shown: ClassVar[tuple[str, ...]] = ("png",)
    identities: int = 5
    per_identity: int = 3
    size: int = 8
    seed: int = 0
    fail_at: int = -1

    def report(self, samples: Iterator[tuple[str, dict[str, bytes]]]) -> list[str]:
        return [f"{sum(1 for _ in samples)} counted.\n"]

    def samples(self, number: int) -> Iterator[Sample]:
        for k in range(self.per_identity):
            if number == self.fail_at and k == 1:
                raise OSError(28, "No space left on device")
            tone = np.full((self.size, self.size), (37 * number + k) % 256, np.uint8)
            yield Sample(f"{k:04d}", {"png": png(tone), "more.txt": b"a"})


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_set_of_large_samples_says_how_many_people_a_shard_holds(tmp_path):
    class Large(Squares):
        shard_people: ClassVar[int] = 2

    folder = make(Large(), tmp_path / "large", 1, shards=True)
    names = [p.name for p in sorted(folder.glob("*.tar"))]
    assert names == ["squares-000000-000001.tar", "squares-000002-000003.tar", "squares-000004-000004.tar"]
    whole = make(Squares(), tmp_path / "whole", 1, shards=True)
    assert list(read_samples(folder)) == list(read_samples(whole))


@pytest.mark.parametrize("shards", [False, True])
def test_workers_and_interruptions_change_nothing(tmp_path, shards, monkeypatch):
    monkeypatch.setattr(maker, "_SHARD", 6)
    make(Squares(), tmp_path / "a", 1, shards)
    make(Squares(), tmp_path / "b", 2, shards)
    seen: list[tuple[int, int]] = []
    half = tmp_path / "c"
    make(Squares(), half, 1, shards)
    gone = sorted(half.glob("*.tar")) if shards else sorted((half / "squares").iterdir())
    for place in gone[1:]:  # as if it had been stopped after the first
        place.unlink() if shards else [f.unlink() for f in place.iterdir()] and place.rmdir()
    make(Squares(), half, 1, shards, lambda n, of: seen.append((n, of)))
    assert seen[0][0] in (1, 2)
    assert seen[-1] == (5, 5)
    assert contents(tmp_path / "a") == contents(tmp_path / "b") == contents(half)


def test_folders_and_shards_hold_the_same_samples(tmp_path, monkeypatch):
    monkeypatch.setattr(maker, "_SHARD", 6)
    make(Squares(), tmp_path / "f")
    make(Squares(), tmp_path / "s", shards=True)
    folders, shards = list(read_samples(tmp_path / "f")), list(read_samples(tmp_path / "s"))
    assert folders == shards
    assert [k for k, _ in folders] == [f"{n:06d}/{k:04d}" for n in range(5) for k in range(3)]
    assert set(folders[0][1]) == {"png", "more.txt"}
    assert len(list((tmp_path / "s").glob("*.tar"))) == 3
    card = (tmp_path / "s" / "card.md").read_text()
    assert "15 counted." in card
    assert "no real person" in card
    with Image.open(tmp_path / "s" / "sheet.png") as sheet:
        assert sheet.size == (80, 20)


def test_shards_are_webdataset_tars(tmp_path):
    from webdataset.tariterators import group_by_keys, tar_file_iterator

    make(Squares(), tmp_path / "s", shards=True)
    path = next((tmp_path / "s").glob("*.tar"))
    with path.open("rb") as stream:
        files = ({"__url__": "", **file} for file in tar_file_iterator(stream))
        keys = [sample["__key__"] for sample in group_by_keys(files)]
    assert keys == [f"{n:06d}/{k:04d}" for n in range(5) for k in range(3)]
    with tarfile.open(path) as tar:
        assert {m.mtime for m in tar} == {0}


@pytest.mark.parametrize("shards", [False, True])
def test_a_full_disk_leaves_whole_shards_and_resume_completes(tmp_path, shards, monkeypatch):
    monkeypatch.setattr(maker, "_SHARD", 6)
    out = tmp_path / "s"
    with pytest.raises(MienError, match=r"disk is full"):
        make(Squares(fail_at=3), out, 1, shards)
    places = list(out.glob("*.tar")) if shards else list((out / "squares").iterdir())
    whole = [p for p in places if p.suffix != ".part"]
    assert len(whole) == (1 if shards else 3)
    assert not [p for p in out.rglob("*") if p.name.startswith(".")]
    record = json.loads((out / "set.json").read_text())
    (out / "set.json").write_text(json.dumps(record | {"fail_at": -1}))  # the disk has room again
    make(Squares(), out, 1, shards)
    make(Squares(), tmp_path / "fresh", 1, shards)
    mine = contents(out)
    assert json.loads(mine.pop("set.json")) == json.loads((tmp_path / "fresh" / "set.json").read_bytes())
    theirs = contents(tmp_path / "fresh")
    theirs.pop("set.json")
    assert mine == theirs


def test_other_settings_or_a_strange_folder_are_refused(tmp_path):
    make(Squares(), tmp_path / "s")
    with pytest.raises(DataError, match=r"other settings .* choose another --output"):
        make(Squares(seed=1), tmp_path / "s")
    with pytest.raises(DataError, match=r"other settings"):
        make(Squares(), tmp_path / "s", shards=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(DataError, match=r"not empty and no made set"):
        make(Squares(), tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "precious"
    with pytest.raises(DataError, match=r"no made set"):
        next(read_samples(tmp_path))


@pytest.mark.parametrize(
    ("cls", "bad"),
    [
        (FaceSet, {"size": 0}),
        (FaceSet, {"size": 1_000_000}),
        (FaceSet, {"identities": 0}),
        (FaceSet, {"yaw": float("nan")}),
        (PadSet, {"live": 1.5}),
        (PadSet, {"species": ("print_flt",)}),
        (BodySet, {"size": 8}),
        (VideoSet, {"frames": 0}),
    ],
)
def test_settings_out_of_range_say_so(cls, bad):
    with pytest.raises(ConfigError, match=next(iter(bad)) + r"|species"):
        cls(**bad)


def test_a_mark_names_what_is_drawn(monkeypatch):
    marks = {mark_of(s) for s in (Squares(), Squares(size=9), Squares(seed=1))}
    marks |= {mark_of(Squares(), crop=[1.15, 8]), mark_of(Squares(), version=(2, 1))}
    assert len(marks) == 5
    assert mark_of(Squares()) in marks
    monkeypatch.setattr(maker, "VERSION", maker.VERSION + 1)
    assert mark_of(Squares()) not in marks


def test_unknown_kind_suggests():
    with pytest.raises(ConfigError, match=r"did you mean 'faces'"):
        made_set("face")


def load(files: dict[str, bytes], ext: str):
    import io

    with np.load(io.BytesIO(files[ext]), allow_pickle=False) as table:
        return {k: table[k] for k in table.files}


def test_faces_hold_coherent_truth(tmp_path):
    make(FaceSet(1, 2, 48, aligned=True), tmp_path / "f")
    samples = list(read_samples(tmp_path / "f"))
    assert len(samples) == 2
    for _, files in samples:
        assert set(files) == {"png", "npz", "json", "112.png"}
        truth, label = load(files, "npz"), json.loads(files["json"])
        assert truth["depth"].shape == truth["part"].shape == (48, 48)
        assert np.array_equal(np.isfinite(truth["depth"]), truth["part"] > 0)
        five = np.array(label["landmarks5"])
        assert five.shape == (5, 2)
        assert five[0, 0] < five[1, 0]
        assert five[:2, 1].max() < five[3:, 1].min()
        assert set(label["actions"]) <= set(people().actions)
    assert samples[0][1]["png"] != samples[1][1]["png"]


def test_pad_bodies_and_video_write_their_truth(tmp_path):
    make(PadSet(1, 2, 32), tmp_path / "p")
    make(BodySet(1, 1, 64, points=400), tmp_path / "b")
    make(VideoSet(1, 1, 32, frames=3), tmp_path / "v")
    pad = next(iter(read_samples(tmp_path / "p")))[1]
    assert load(pad, "npz")["depth"].shape == (32, 32)
    assert json.loads(pad["json"])["species"]
    body = next(iter(read_samples(tmp_path / "b")))[1]
    truth, mesh = load(body, "npz"), load(body, "mesh.npz")
    assert len(truth["sdf"]) == 300
    assert len(truth["surface"]) == 100
    assert mesh["faces"].max() == len(mesh["rest"]) - 1
    assert mesh["posed"].shape == mesh["rest"].shape
    clip = next(iter(read_samples(tmp_path / "v")))[1]
    assert {"000.png", "001.png", "002.png"} <= set(clip)
    assert load(clip, "npz")["actions"].shape == (3, 52)


def test_all_kinds_are_in_the_listing():
    from mien.cli.data import MADE

    assert list(MADE) == [*SETS, "suhifimask", "comphy"]  # these write files of their own
