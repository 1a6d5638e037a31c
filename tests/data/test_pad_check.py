"""``mien data check`` on anti-spoofing sets: what is missing, what leaks, what is not what it says."""

from __future__ import annotations

import json
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

from mien.cli.data import PAD_SETS
from mien.cli.main import main
from mien.data.check import Problems
from mien.data.pad_check import PAD_KINDS, audit_splits, check_pad, count_notes, guess_pad_kind, pad_summary
from mien.data.pad_reader import PadCounts
from mien.data.pad_sample import PadList, PadSample
from tests.data import pad_fixtures as made

WRITERS = {
    "casia_surf": made.write_surf,
    "casia_cefa": made.write_cefa,
    "wmca": made.write_wmca,
    "casia_hifimask": made.write_hifimask,
    "oulu_npu": made.write_oulu,
    "msu_mfsd": made.write_msu,
    "casia_fasd": made.write_fasd,
    "replay_attack": made.write_replay,
    "flexible_modal": made.write_flexible,
}
SPLITS = {"casia_surf": 3, "casia_cefa": 27, "wmca": 24, "casia_hifimask": 15, "oulu_npu": 45, "msu_mfsd": 2,
          "casia_fasd": 2, "replay_attack": 3, "flexible_modal": 44}  # fmt: skip


def checked(capsys, path, *more, code=0):
    assert main(["data", "check", str(path), *more]) == code
    out = capsys.readouterr()
    return out.out if code == 0 else out.err


def test_the_kinds_are_listed(capsys):
    assert main(["data", "list", "--json"]) == 0
    names = {row["name"] for row in json.loads(capsys.readouterr().out)}
    assert set(PAD_KINDS) == set(PAD_SETS) <= names


@pytest.mark.parametrize("kind", WRITERS)
def test_every_layout_is_known_and_sound(tmp_path, capsys, kind):
    place = WRITERS[kind](tmp_path)
    assert guess_pad_kind(place) == kind
    assert guess_pad_kind(tmp_path) == kind
    answer = json.loads(checked(capsys, tmp_path, "--json", "--fast"))
    assert answer["kind"] == kind
    assert answer["problems"] == []
    assert len(answer["splits"]) == SPLITS[kind]
    first = next(iter(answer["splits"].values()))
    assert first["live"] > 0
    assert first["attack"] > 0
    if kind != "wmca":  # its counts are of the grand test only
        assert any("looks like a partial copy" in note for note in answer["notes"])


def test_the_pictures_are_looked_at(tmp_path, capsys):
    place = made.write_surf(tmp_path)
    assert "no problems found" in checked(capsys, tmp_path)
    victim = next((place / "Data/Val").rglob("depth/1.jpg"))
    victim.write_bytes(victim.read_bytes()[:100])
    err = checked(capsys, tmp_path, code=1)
    assert "1 problem(s)" in err
    assert "depth/1.jpg" in err
    assert len(err.strip().splitlines()) == 1


def test_missing_files_are_counted_and_three_named(tmp_path):
    place = made.write_surf(tmp_path)
    made.write_surf_lists(place, "image")
    for file in sorted(place.rglob("color/11.jpg"))[:5]:
        file.unlink()
    report = check_pad("casia_surf", tmp_path, decode=False)
    (problem,) = report.problems
    assert problem.startswith("5 of 216 files are missing: ")
    assert problem.count("11.jpg") == 3


def test_missing_clip_folders_of_a_list(tmp_path):
    place = made.write_surf(tmp_path)
    made.write_surf_lists(place)
    shutil.rmtree(place / "Data/Val/real_part/CLKJ_AS2000")
    report = check_pad("casia_surf", tmp_path, decode=False)
    assert report.problems[0].startswith("1 of ")
    assert report.problems[0].endswith("CLKJ_AS2000/real.rssdk/color")


def test_the_same_bytes_in_two_splits(tmp_path):
    place = made.write_surf(tmp_path)
    source = next((place / "Data/Training").rglob("color/1.jpg"))
    target = next((place / "Data/Testing").rglob("color/101.jpg"))
    shutil.copy(source, target)
    report = check_pad("casia_surf", tmp_path)
    (problem,) = report.problems
    assert f"{target} of test has the same bytes as {source} of train (1 files have)" in problem
    assert check_pad("casia_surf", tmp_path, decode=False).is_sound


def test_near_copies_are_noted(tmp_path):
    place = made.write_surf(tmp_path)
    source = next((place / "Data/Training/real_part").rglob("color/1.jpg"))
    target = next((place / "Data/Testing/real_part").rglob("color/1.jpg"))
    with Image.open(source) as image:
        image.save(target, quality=97)
    report = check_pad("casia_surf", tmp_path)
    assert report.is_sound
    (note,) = [n for n in report.notes if "look alike" in n]
    assert note == f"p1: 1 pairs of frames of train and test look alike, e.g. {source} and {target}"


def test_colour_in_the_infrared_slot(tmp_path):
    place = made.write_surf(tmp_path)
    for color in place.rglob("color/*.jpg"):
        with Image.open(color) as image:
            image.convert("L").save(color.parent.parent / "ir" / color.name, quality=97)
    report = check_pad("casia_surf", tmp_path)
    assert [p for p in report.problems if "the infrared slot holds a copy of the colour picture" in p]


def some(name, split, subjects, live=(1, 0), frames=1):
    samples = [
        PadSample(
            {"rgb": f"{split}/{s}/{y}/{f}.png"}, y, "live" if y else "print", s,
            video_id=f"{s}{y}", frame=str(f),
        )
        for s in subjects
        for y in live
        for f in range(frames)
    ]  # fmt: skip
    return PadList(name, "p1", split, tuple(samples))


def test_subjects_in_two_splits():
    problems = Problems()
    audit_splits({"train": some("s", "train", "abcdefg"), "test": some("s", "test", "gfedcbz")}, problems)
    assert problems.lines() == ("s p1: 6 subjects are in train and in test: b, c, d, e, f ..",)


def test_files_in_two_splits_and_twice():
    one = some("s", "train", "ab")
    problems = Problems()
    audit_splits(
        {"train": one, "dev": PadList("s", "p1", "dev", one.samples[:1] * 2 + one.samples[1:2])}, problems
    )
    assert problems.lines() == (
        "s p1 dev: train/a/1/0.png is listed twice (1 files are)",
        "s p1: train/a/1/0.png is in train and in dev (2 files are)",
        "s p1: 1 subjects are in train and in dev: a",
    )


def test_one_class_only():
    problems = Problems()
    audit_splits({"train": some("s", "train", "a", (1,)), "test": some("s", "test", "b", (0,))}, problems)
    assert problems.lines() == (
        "s p1 train: all 1 samples are live; give both",
        "s p1 test: all 1 samples are attacks; give both",
    )


def test_counts_beside_those_of_the_authors():
    pads = some("s", "train", "abc", frames=4)
    assert pad_summary(pads) == {
        "frames": 24, "videos": 6, "live": 3, "attack": 3, "species": 1, "subjects": 3,
    }  # fmt: skip
    assert count_notes(pads, PadCounts(6, 24, 3)) == []
    assert count_notes(pads, None) == []
    assert count_notes(pads, PadCounts(images=24, live=12)) == []
    assert count_notes(pads, PadCounts(7, 20, 3)) == [
        "p1 train: 6 videos, its authors count 7: looks like a partial copy",
        "p1 train: 24 images, its authors count 20: looks like a different set",
    ]
    assert count_notes(some("s", "train", "abc"), PadCounts(6, 1000)) == []  # one sample for each video file


def test_a_made_set_is_no_partial_copy(tmp_path, capsys):
    place = made.write_hifimask(tmp_path)
    (place.parent / "set.json").write_text("{}")
    for path in (place, tmp_path):
        answer = json.loads(checked(capsys, path, "--json", "--fast"))
        assert answer["splits"]
        assert not any("its authors count" in note for note in answer["notes"])


def test_a_list_and_a_table_need_a_convention(tmp_path, capsys):
    for split, person in (("train", "a"), ("test", "b")):
        for kind in ("real", "fake"):
            made.picture(tmp_path / f"{kind}/{split}.png")
        rows = [f"{k}/{split}.png,{int(k == 'real')},{person}{k},{split}" for k in ("real", "fake")]
        with (tmp_path / "mine.csv").open("a") as table:
            table.write(
                "".join(f"{r}\n" for r in (["rgb,label,subject,split"] if split == "train" else []) + rows)
            )
        with (tmp_path / "l.txt").open("a") as listed:
            listed.write(f"real/{split}.png 0\nfake/{split}.png 1\n")
    assert "give --convention live1 (live iff label > 0)" in checked(capsys, tmp_path / "mine.csv", code=1)
    answer = json.loads(checked(capsys, tmp_path / "mine.csv", "--convention", "live1", "--json"))
    assert answer["kind"] == "pad_csv"
    assert list(answer["splits"]) == ["train", "test"]
    answer = json.loads(
        checked(capsys, tmp_path / "l.txt", "--kind", "pad_list", "--convention", "live0", "--json")
    )
    assert answer["splits"]["all"]["frames"] == 4
    err = checked(capsys, tmp_path / "l.txt", "--kind", "pad_list", "--convention", "live1", code=1)
    assert "live1 contradicts the names of 4 of 4 lines" in err


def test_lists_that_are_not_there_are_noted(tmp_path):
    place = made.write_hifimask(tmp_path)
    for listed in (place / "protocol").glob("*p3*"):
        listed.unlink()
    report = check_pad("casia_hifimask", tmp_path)
    assert report.is_sound
    assert len(report.splits) == 12
    assert sum("not read: p3" in n for n in report.notes) == 3
    for listed in (place / "protocol").glob("*"):
        listed.write_text("")
    report = check_pad("casia_hifimask", tmp_path)
    assert len(report.problems) == 1
    assert "the list is empty" in report.problems[0]


def test_blank_depth_maps_are_no_leak(tmp_path):
    place = made.write_surf(tmp_path)
    for depth in place.rglob("depth/*.jpg"):
        Image.fromarray(np.zeros((16, 12), np.uint8)).save(depth)
    assert check_pad("casia_surf", tmp_path).is_sound


def test_videos_are_opened_where_they_can_be(tmp_path):
    pytest.importorskip("av")
    place = made.write_msu(tmp_path)
    for k, video in enumerate(sorted([*place.rglob("*.mov"), *place.rglob("*.mp4")])):
        video.unlink()
        made.write_video(video.with_suffix(".mov"), [k, 255 - k])
    assert check_pad("msu_mfsd", tmp_path).is_sound
    victim = next(place.rglob("*.mov"))
    made.touch(victim)
    (problem,) = check_pad("msu_mfsd", tmp_path).problems
    assert f"{victim}: not a video that can be read" in problem


def test_without_the_decoder_videos_are_not_opened(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    made.write_msu(tmp_path)
    report = check_pad("msu_mfsd", tmp_path)
    assert report.is_sound
    (note,) = {n.partition(": ")[2] for n in report.notes if "files were not opened" in n}
    assert note == "av is not installed; it is needed here: pip install 'mien[data]'"


def test_array_files_are_read(tmp_path):
    np.save(tmp_path / "d.npy", np.full((4, 4), 0.6))
    np.save(tmp_path / "e.npy", np.zeros((4, 4, 9)))
    for name in ("real", "fake"):
        made.picture(tmp_path / f"{name}.png")
    rows = ["rgb,depth,label", "real.png,d.npy,1", "fake.png,e.npy,0"]
    made.write_lines(tmp_path / "m.csv", rows)
    (problem,) = check_pad("pad_csv", tmp_path / "m.csv", convention="live1").problems
    assert "e.npy: depth is one (H, W) map of numbers" in problem


def test_other_folders_are_not_guessed(tmp_path):
    made.picture(tmp_path / "cat/1.png")
    assert guess_pad_kind(tmp_path) is None
    assert guess_pad_kind(tmp_path / "none.csv") == "pad_csv"
    assert guess_pad_kind(tmp_path / "none.txt") is None
