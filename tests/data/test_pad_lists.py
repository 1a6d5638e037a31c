from __future__ import annotations

import pytest

from mien.core.errors import ConfigError, DataError
from mien.data.pad_csv import PadCsv
from mien.data.pad_lists import is_live, load_pad_list
from tests.data.pad_fixtures import cameras, picture, touch, write_lines


def write_tree(root):
    """Two clips with cameras, and a list of each form; labels: 1 live."""
    for kind, label in (("real", 1), ("fake", 0)):
        cameras(root / kind / "clip", ("1.jpg", "2.jpg", "10.jpg"))
        frame = f"{kind}/clip/{{}}/1.jpg"
        line = " ".join(frame.format(c) for c in ("color", "depth", "ir"))
        with (root / "four.txt").open("a") as four, (root / "two.txt").open("a") as two:
            four.write(f"{line} {label}\n\n")
            two.write(f"{kind}/clip/color/1.jpg {label}\r\n")
        with (root / "clips.txt").open("a") as clips:
            clips.write(f"{kind}/clip/color {1 - label}\n")
    return root


def test_labels_of_both_conventions():
    assert [is_live(v, "live1") for v in (-2, -1, 0, 1)] == [False, False, False, True]
    assert [is_live(v, "live0") for v in (0, 1, 9)] == [True, False, False]
    with pytest.raises(ConfigError, match="convention 'live' is none of live1"):
        is_live(0, "live")


def test_four_and_two_columns_give_the_same_samples(tmp_path):
    write_tree(tmp_path)
    four = load_pad_list(tmp_path / "four.txt", "live1", split="train")
    two = load_pad_list(tmp_path / "two.txt", "live1", split="train")
    assert [s.images for s in four.samples] == [s.images for s in two.samples]
    assert four.modalities == ("rgb", "depth", "ir")
    assert [(s.label_live, s.pai, s.video_id, s.frame) for s in two.samples] == [
        (1, "live", "real/clip", "1"),
        (0, "attack", "fake/clip", "1"),
    ]
    assert all(p.is_file() for s in two.samples for p in s.images.values())
    assert four.note == ""


def test_a_clip_folder_gives_its_frames_by_number(tmp_path):
    write_tree(tmp_path)
    pads = load_pad_list(tmp_path / "clips.txt", "live0")
    assert [s.frame for s in pads.samples] == ["1", "2", "10"] * 2
    assert pads.live.tolist() == [True] * 3 + [False] * 3
    only = load_pad_list(tmp_path / "clips.txt", "live0", siblings=False)
    assert only.modalities == ("rgb",)
    assert load_pad_list(tmp_path / "clips.txt", "live0", cameras=("depth",)).modalities == ("depth",)


def test_pictures_of_other_cameras_may_have_another_ending(tmp_path):
    picture(tmp_path / "live/a/profile/1.jpg")
    picture(tmp_path / "live/a/depth/1.png", grey=True)
    picture(tmp_path / "live/a/infrared/1.jpg", grey=True)
    write_lines(tmp_path / "l.txt", ["live/a/profile/1.jpg 1"])
    (one,) = load_pad_list(tmp_path / "l.txt", "live1").samples
    assert [p.name for p in one.images.values()] == ["1.jpg", "1.png", "1.jpg"]


def test_videos_and_missing_files_are_listed(tmp_path):
    touch(tmp_path / "real/a.avi")
    write_lines(tmp_path / "l.txt", ["real/a.avi 1", "fake/none/color 0", "fake/b.jpg 0"])
    pads = load_pad_list(tmp_path / "l.txt", "live1")
    assert [s.frame for s in pads.samples] == ["", "", "b"]
    assert [p.is_file() for s in pads.samples for p in s.images.values()] == [True, False, False]


def test_another_root(tmp_path):
    write_tree(tmp_path / "data")
    (tmp_path / "lists").mkdir()
    (tmp_path / "data/two.txt").rename(tmp_path / "lists/two.txt")
    pads = load_pad_list(tmp_path / "lists/two.txt", "live1", tmp_path / "data")
    assert all(s.images["rgb"].is_file() for s in pads.samples)
    assert pads.name == "two"


def test_the_wrong_convention_shows_three_lines(tmp_path):
    lines = (
        [f"real/{k}.jpg 1" for k in range(3)] + [f"attack/{k}.jpg 0" for k in range(3)] + ["other/1.jpg 1"]
    )
    write_lines(tmp_path / "l.txt", lines)
    assert load_pad_list(tmp_path / "l.txt", "live1").live.sum() == 4
    with pytest.raises(DataError) as caught:
        load_pad_list(tmp_path / "l.txt", "live0")
    assert str(caught.value).endswith(
        "l.txt: live0 contradicts the names of 6 of 6 lines: line 1 'real/0.jpg 1'; line 2 'real/1.jpg 1';"
        " line 3 'real/2.jpg 1'; is it live1?"
    )
    lines[4] = "attack/1.jpg 1"
    write_lines(tmp_path / "l.txt", lines)
    with pytest.raises(DataError, match=r"1 of 6 lines: line 5 'attack/1\.jpg 1'; mend the labels"):
        load_pad_list(tmp_path / "l.txt", "live1")


def test_names_that_say_nothing_leave_the_convention_unverified(tmp_path):
    write_lines(tmp_path / "l.txt", ["a/1.jpg 1", "b/1.jpg 0"])
    pads = load_pad_list(tmp_path / "l.txt", "live0")
    assert pads.live.tolist() == [False, True]
    assert "live0 could not be verified" in pads.note
    with pytest.raises(ConfigError, match="none of live1"):
        load_pad_list(tmp_path / "l.txt", "1")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a.jpg\n", r"l\.txt:1: expected 'path label' or 'rgb depth ir label', got 'a\.jpg'"),
        ("a.jpg 1\na.jpg b.jpg 1\n", r"l\.txt:2: expected"),
        ("a.jpg one\n", "expected 'path label'"),
        ("a.jpg 1.0\n", "expected 'path label'"),
        ("../a.jpg 1\n", "leads outside"),
        ("a.jpg /b.jpg c.jpg 1\n", "leads outside"),
        ("\n\n", "the list is empty"),
    ],
)
def test_damaged_lists(tmp_path, text, words):
    (tmp_path / "l.txt").write_text(text)
    with pytest.raises(DataError, match=words) as caught:
        load_pad_list(tmp_path / "l.txt", "live1")
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="no such file"):
        load_pad_list(tmp_path / "none.txt", "live1")


def write_csv(path, *rows, header="rgb,depth,ir,label,species,subject,device,split"):
    return write_lines(path, [header, *rows])


def test_a_table(tmp_path):
    path = write_csv(
        tmp_path / "mine.csv",
        "a/1.png,a/1d.png,,1,,ann,cam,train",
        '"b, c/1.png",,b/1i.png,0,print,bob,,test',
        "",
        "d/1.png,,,0,,,,val",
    )
    pads = PadCsv(path, "live1")
    assert [s.pai for s in pads.samples] == ["live", "print", "attack"]
    assert [list(s.images) for s in pads.samples] == [["rgb", "depth"], ["rgb", "ir"], ["rgb"]]
    assert pads.samples[1].images["rgb"] == tmp_path / "b, c/1.png"
    assert (pads.samples[0].subject, pads.samples[0].device) == ("ann", "cam")
    assert [len(PadCsv(path, "live1", s)) for s in ("train", "dev", "test", "val")] == [1, 1, 1, 1]
    assert PadCsv(path, "live1", "val").split == "dev"
    assert len(set(pads.video_ids)) == 3
    assert PadCsv(path, "live1", root=tmp_path / "x").samples[0].images["rgb"] == tmp_path / "x/a/1.png"


def test_a_table_with_videos_and_a_live_column(tmp_path):
    path = write_csv(tmp_path / "m.csv", "a.mp4,1,7,", "f/2.png,0,8,2", header="RGB, Live ,Video,frame")
    pads = PadCsv(path, "live1")
    assert [(s.video_id, s.frame, s.label_live) for s in pads.samples] == [("7", "", 1), ("8", "2", 0)]
    with pytest.raises(ConfigError, match="a column 'live' is 1 for bona fide"):
        PadCsv(path, "live0")


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (["a.png,,,2x,,,,"], r"m\.csv:2: expected 8 cells, of them 'label' a whole number"),
        (["a.png,,,1,,,,,,"], r"m\.csv:2: expected 8 cells"),
        (["a.png,,,1,,,,", ",,,1,x,,,"], r"m\.csv:3: no image in this row; name one of rgb"),
        (["../a.png,,,1,,,,"], r"m\.csv:2: .* leads outside"),
        ([], "no rows; is it the right table"),
        (
            ["a.png,,,1,print,,,"],
            r"live1 contradicts the names of 1 of 1 lines: line 2 'a\.png 1'; is it live0\?",
        ),
        (["real/a.png,,,0,,,,"], r"line 2 'real/a\.png 0'"),
    ],
)
def test_a_damaged_table(tmp_path, rows, words):
    with pytest.raises(DataError, match=words) as caught:
        PadCsv(write_csv(tmp_path / "m.csv", *rows), "live1")
    assert "\n" not in str(caught.value)


def test_a_table_without_the_columns(tmp_path):
    with pytest.raises(DataError, match="columns a, b; needs label or live, and one of rgb"):
        PadCsv(write_csv(tmp_path / "m.csv", "1,2", header="a,b"), "live1")
    with pytest.raises(DataError, match="no rows of split train"):
        PadCsv(write_csv(tmp_path / "n.csv", "a.png,,,1,,,,test"), "live1", "train")
    with pytest.raises(ConfigError, match="none of live1"):
        PadCsv(tmp_path / "n.csv", "yes")
