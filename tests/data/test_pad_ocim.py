from __future__ import annotations

from itertools import product

import pytest

from mien.core.errors import ConfigError, DataError
from mien.data.pad_names import oulu_facts
from mien.data.pad_ocim import OULU_PROTOCOLS, CasiaFasd, MsuMfsd, OuluNpu, ReplayAttack, oulu_keeps
from tests.data import pad_fixtures as made

USERS = {"train": range(1, 21), "dev": range(21, 36), "test": range(36, 56)}


def slow_oulu(protocol, split):
    """The protocols written out, video by video."""
    kept = []
    for phone, session, user, file in product(range(1, 7), (1, 2, 3), USERS[split], range(1, 6)):
        kind, _, left_out = protocol.partition(".")
        if kind in ("1", "4") and session not in ((3,) if split == "test" else (1, 2)):
            continue
        if kind in ("2", "4") and file not in ((1, 3, 5) if split == "test" else (1, 2, 4)):
            continue
        if kind in ("3", "4") and (phone == int(left_out)) != (split == "test"):
            continue
        kept.append(f"{phone}_{session}_{user:02d}_{file}")
    return kept


@pytest.mark.parametrize("protocol", OULU_PROTOCOLS)
def test_the_rules_of_oulu(protocol):
    for split, part in (("train", "Train"), ("dev", "Dev"), ("test", "Test")):
        facts = {n: oulu_facts(f"{part}_files/{n}.avi") for n in made.oulu_names(USERS[split])}
        kept = [n for n, f in facts.items() if oulu_keeps(f, protocol, split)]
        assert sorted(kept) == sorted(slow_oulu(protocol, split))
        expected = OuluNpu.expected[protocol][split]
        assert len(kept) == expected.videos
        assert sum(facts[n].is_live for n in kept) == expected.live


def test_oulu_has_4950_videos():
    assert sum(c.videos for c in OuluNpu.expected["all"].values()) == 4950
    assert [c.videos for c in OuluNpu.expected["1"].values()] == [1200, 900, 600]
    assert [c.videos for c in OuluNpu.expected["4.6"].values()] == [600, 450, 60]
    assert len(OULU_PROTOCOLS) == 2 + 6 + 6 + 1


def test_oulu_by_folders(tmp_path):
    made.write_oulu(tmp_path)
    pads = OuluNpu(tmp_path, "4.3", "test")
    assert pads.species() == {"live": 2, "print": 2, "replay": 2}
    assert {s.device for s in pads.samples} == {"phone 3"}
    assert pads.subjects == ("36", "55")
    assert len(OuluNpu(tmp_path, "all", "dev")) == 180


def test_oulu_by_its_lists(tmp_path):
    place = made.write_oulu(tmp_path)
    made.write_oulu_list(place, "3", "Test", ["2_1_36_1", "2_1_36_2", "2_1_55_5"], "2")
    pads = OuluNpu(tmp_path, "3.2", "test")
    assert [(s.video_id, s.pai) for s in pads.samples] == [
        ("2_1_36_1", "live"),
        ("2_1_36_2", "print"),
        ("2_1_55_5", "replay"),
    ]
    assert all(s.images["rgb"].is_file() for s in pads.samples)
    made.write_oulu_list(place, "1", "Test", ["9_1_36_1"])
    with pytest.raises(DataError, match=r"Test\.txt:1: expected '\+1,6_3_20_1', got '\+1,9_1_36_1'"):
        OuluNpu(tmp_path, "1", "test")
    made.write_lines(place / "Protocols/Protocol_1/Test.txt", ["-1,2_1_36_1", "+1,2_1_36_2"])
    with pytest.raises(DataError, match="live1 contradicts the names of 2 of 2 lines"):
        OuluNpu(tmp_path, "1", "test")


def test_folders_of_frames_go_before_the_video(tmp_path):
    place = made.write_oulu(tmp_path)
    for k in (1, 2, 10):
        made.picture(place / f"Test_files/1_3_36_1/{k}.jpg")
    pads = OuluNpu(tmp_path, "1", "test")
    assert [s.frame for s in pads.samples if s.video_id == "1_3_36_1"] == ["1", "2", "10"]
    assert len(pads) == 60 + 2


def test_casia_fasd(tmp_path):
    made.write_fasd(tmp_path)
    for split in ("train", "test"):
        pads = CasiaFasd(tmp_path, split=split)
        assert pads.species() == {"live": 6, "cut": 6, "replay": 6, "warped": 6}
        assert pads.subjects == (f"{split}-1", f"{split}-2")
    with pytest.raises(ConfigError, match="casia_fasd: no split 'dev'; there are train, test"):
        CasiaFasd(tmp_path, split="dev")
    assert [c.videos for c in CasiaFasd.expected["all"].values()] == [240, 360]


def test_replay_attack(tmp_path):
    made.write_replay(tmp_path)
    for split, who in (("train", "001"), ("dev", "003"), ("test", "009")):
        pads = ReplayAttack(tmp_path, split=split)
        assert pads.species() == {"live": 2, "highdef": 8, "mobile": 8, "print": 4}
        assert pads.subjects == (who,)
        assert len(set(pads.video_ids)) == 22
    assert [c.videos for c in ReplayAttack.expected["all"].values()] == [360, 360, 480]


def test_msu_mfsd(tmp_path):
    place = made.write_msu(tmp_path)
    train, test = (MsuMfsd(tmp_path, split=s) for s in ("train", "test"))
    assert train.species() == {"live": 4, "ipad_video": 4, "iphone_video": 4, "printed_photo": 4}
    assert train.subjects == ("002", "003")
    assert test.subjects == ("001",)
    assert all(s.images["rgb"].suffix in (".mov", ".mp4") for s in train.samples)
    assert sum(c.videos for c in MsuMfsd.expected["all"].values()) == 280
    made.write_lines(place / "train_sub_list.txt", ["two"])
    with pytest.raises(DataError, match=r"train_sub_list\.txt: word 1 is 'two', expected a subject's number"):
        MsuMfsd(tmp_path)
    (place / "train_sub_list.txt").unlink()
    with pytest.raises(DataError, match=r"train_sub_list\.txt: no such file"):
        MsuMfsd(tmp_path)
