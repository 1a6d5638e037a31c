"""The reader of SuHiFiMask: splits, levels, the strict protocol, the same set as a `PadList`."""

from __future__ import annotations

from itertools import combinations

import pytest

from mien.core.errors import ConfigError, DataError
from mien.data.config import PadData
from mien.data.pad_check import check_pad, guess_pad_kind
from mien.data.pad_suhifimask import SuHiFiMaskPad
from mien.data.pads import read_pad
from mien.data.suhifimask import OFFICIAL_PROTOCOLS, SPLITS, SuHiFiMask, grouped, strict_parts
from tests.data.suhifimask_fixtures import FRAMES, TRACKS, pictures, write_suhifimask


def test_pictures_of_a_split(tmp_path):
    place = write_suhifimask(tmp_path)
    for root in (tmp_path, place):
        test = SuHiFiMask(root)
        assert (test.protocol, test.split, len(test)) == ("p3", "test", len(TRACKS))
        first, poster = test[0], test[-1]
        assert (first.group, first.scene, first.camera, first.epoch, first.track) == (2, 1, 1, 1, 0)
        assert (first.subject, first.frame, first.label, first.pai, first.live) == (1, 41, 0, "live", True)
        assert first.path.is_file()
        assert first.images == (first.path,)
        assert (poster.subject, poster.track, poster.pai, poster.live) == (0, -1, "static_9", False)
        assert poster.key == ("G04_S33_C5_E05_T20220228135120333", -1)
        assert poster.time.microsecond == 333_000
        assert [s.label for s in test[1:3]] == [3, 0]


@pytest.mark.parametrize("protocol", OFFICIAL_PROTOCOLS)
def test_all_pictures_are_somewhere(tmp_path, protocol):
    write_suhifimask(tmp_path, ",")
    listed = [s.listed for split in SPLITS for s in SuHiFiMask(tmp_path, protocol, split)]
    wanted = [p for p, _, label, _ in pictures() if protocol in ("p1", "p3") or label <= 4]
    assert sorted(listed) == sorted(wanted)


def test_tracks_hold_the_frames_of_their_split_only(tmp_path):
    write_suhifimask(tmp_path)
    train = SuHiFiMask(tmp_path, "p3", "train", "track")
    assert len(train) == len(TRACKS)
    assert all([p.name.split("_")[0] for p in t.images] == ["1", "11"] for t in train)
    assert all(t.frame is None and t.path.is_dir() and t.path.name == f"id_{t.track}" for t in train)
    assert [t.subject for t in train] == [t[0] for t in TRACKS]
    videos = SuHiFiMask(tmp_path, "p3", "train", "video")
    assert all(v.track is None and v.path.name == v.video for v in videos)
    assert sum(len(v.images) for v in videos) == 2 * len(TRACKS)


def test_a_track_of_two_subjects_gives_two_samples(tmp_path):
    write_suhifimask(tmp_path)
    pictures_of = list(SuHiFiMask(tmp_path, "p3", "train"))
    from dataclasses import replace

    both = [pictures_of[0], replace(pictures_of[1], subject=7)]
    assert [t.subject for t in grouped(both, "track")] == [1, 7]


def test_frames_are_sorted_as_numbers(tmp_path):
    write_suhifimask(tmp_path)
    some = sorted(SuHiFiMask(tmp_path, "p1", "train"), key=lambda s: s.path.name)
    names = [p.name for p in grouped(some, "track")[0].images]
    assert [int(n.split("_")[0]) for n in names] == list(FRAMES)


def test_strict_shares_nothing(tmp_path):
    write_suhifimask(tmp_path)
    p3 = {s: SuHiFiMask(tmp_path, "p3", s) for s in SPLITS}
    strict = {s: SuHiFiMask(tmp_path, "p3_strict", s) for s in SPLITS}
    for split in SPLITS:
        kept = {s.listed for s in strict[split]}
        assert kept <= {s.listed for s in p3[split]}
        assert [s.listed for s in strict[split]] == [s.listed for s in p3[split] if s.listed in kept]
    for a, b in combinations(SPLITS, 2):
        assert not {s.subject for s in strict[a]} & {s.subject for s in strict[b]} - {0}
        assert not {s.key for s in strict[a]} & {s.key for s in strict[b]}


def test_strict_deals_people_by_its_shares(tmp_path):
    from dataclasses import replace

    write_suhifimask(tmp_path)
    one = SuHiFiMask(tmp_path, "p3", "test")[0]
    many = [replace(one, subject=k) for k in range(1, 101)]
    parts = strict_parts(dict.fromkeys(SPLITS, many))
    assert {s: len(p) for s, p in parts.items()} == {"train": 45, "dev": 25, "test": 30}
    again = strict_parts(dict.fromkeys(SPLITS, many[::-1]))
    assert {s.subject for s in again["dev"]} == {s.subject for s in parts["dev"]}


def test_wrong_use(tmp_path):
    place = write_suhifimask(tmp_path)
    for kwargs, message in (
        ({"protocol": "p2"}, r"no protocol 'p2'; there are p1, p2\.1"),
        ({"split": "val"}, r"no split 'val'; there are train, dev, test"),
        ({"level": "frame"}, r"no level 'frame'; there are image, track, video"),
    ):
        with pytest.raises(ConfigError, match=message):
            SuHiFiMask(tmp_path, **kwargs)
    with pytest.raises(DataError, match=r"p3_image_test\.txt: no such list"):
        SuHiFiMask(tmp_path / "protocol")
    listed = place / "protocol/CASIA_SuHiFiMask@p3_image_test.txt"
    text = listed.read_text()
    listed.write_text(text.rsplit("/", 1)[0] + " 9\n")
    with pytest.raises(DataError, match=r"is a folder; image lists name pictures"):
        SuHiFiMask(tmp_path)
    listed.write_text(text.replace("_9.jpg 9", "_11.jpg 11"))
    with pytest.raises(DataError, match=r"label 11 is none of 0, 1, .*name it in labels\.toml"):
        SuHiFiMask(tmp_path)
    assert SuHiFiMask(tmp_path, labels={11: "puppet"})[-1].pai == "puppet"


def test_as_a_pad_list(tmp_path):
    place = write_suhifimask(tmp_path)
    assert guess_pad_kind(tmp_path) == "suhifimask"
    pads = SuHiFiMaskPad(tmp_path, "p1", "train")
    assert pads.modalities == ("rgb",)
    assert pads.species(videos=True) == {"live": 1, "mask_3": 1, "static_7": 1}
    assert pads.subjects == ("1",)
    assert pads.samples[0].device == "C1"
    report = check_pad("suhifimask", tmp_path)
    assert not [p for p in report.problems if "subjects are in" in p]  # p3 shares them by design
    assert any(n.startswith("p3: by design of its authors") for n in report.notes)
    assert any("its authors count 201,568" in n for n in report.notes)
    broken = place.parent / pictures()[0][0]
    broken.write_bytes(broken.read_bytes()[:100])
    assert any(broken.name in p for p in check_pad("suhifimask", tmp_path).problems)


def test_other_systems_read_it(tmp_path):
    write_suhifimask(tmp_path)
    splits = read_pad(PadData(kind="suhifimask", root=str(tmp_path), protocol="p1"))
    assert set(splits.train.labels.species) == {"live", "mask_3", "static_7"}
    assert splits.test.modalities == ("rgb",)
