"""CASIA-SURF, CeFA, HiFiMask and the flexible-modal lists, by folder and by list."""

from __future__ import annotations

import shutil
from itertools import product

import pytest

from mien.core.errors import ConfigError, DataError
from mien.data.pad_casia import CEFA_PROTOCOLS, CasiaSurf, Cefa, FlexibleModal, HiFiMask, cefa_keeps
from mien.data.pad_names import PadFacts
from tests.data import pad_fixtures as made


def test_surf_by_folders(tmp_path):
    place = made.write_surf(tmp_path)
    for root in (tmp_path, place):
        train = CasiaSurf(root)
        assert (train.name, train.protocol, train.split) == ("casia_surf", "p1", "train")
        assert train.modalities == ("rgb", "depth", "ir")
        assert train.species(videos=True) == {"live": 2, "04_en_b": 2, "05_enm_s": 2, "06_enm_b": 2}
        assert len(train) == 8 * 3
    frames = [s.frame for s in train.samples if s.video_id == "CLKJ_AS1000/real/real"]
    assert frames == ["1", "11", "101"]
    test = CasiaSurf(tmp_path, "p1", "test")
    assert list(test.species()) == ["live", "01_e_s", "02_e_b", "03_en_s"]
    assert not set(train.subjects) & set(test.subjects)


def test_surf_attacks_of_the_other_split_are_left_out(tmp_path):
    place = made.write_surf(tmp_path, 1)
    made.cameras(place / "Data/Training/fake_part/CLKJ_AS1000/01_e_s.rssdk", ("1.jpg",))
    assert "01_e_s" not in CasiaSurf(tmp_path).species()


@pytest.mark.parametrize("kind", ["video", "image"])
@pytest.mark.parametrize("inside", [True, False])
def test_surf_by_the_authors_lists(tmp_path, kind, inside):
    place = made.write_surf(tmp_path, 1)
    by_folder = {s: CasiaSurf(tmp_path, "p1", s) for s in ("train", "dev", "test")}
    made.write_surf_lists(place, kind)
    if not inside:
        place.rename(tmp_path / "copy")
    for split, expected in by_folder.items():
        pads = CasiaSurf(tmp_path if inside else tmp_path / "copy", "p1", split)
        assert pads.species() == expected.species()
        assert {(s.video_id, s.frame) for s in pads.samples} == {
            (s.video_id, s.frame) for s in expected.samples
        }
        assert all(p.is_file() for s in pads.samples for p in s.images.values())
        assert pads.modalities == ("rgb", "depth", "ir")


def test_a_list_of_surf_whose_labels_are_turned_round(tmp_path):
    place = made.write_surf(tmp_path, 1)
    made.write_surf_lists(place)
    listed = place / "protocol/CASIA_SURF@p1_video_train.txt"
    lines = [f"{line[:-1]}{1 - int(line[-1])}" for line in listed.read_text().splitlines()]
    made.write_lines(listed, lines)
    with pytest.raises(
        DataError, match=r"live0 contradicts the names of 4 of 4 lines: line 1 .*; is it live1"
    ):
        CasiaSurf(tmp_path)
    made.write_lines(listed, ["CASIA_SURF/Data/a/b/color 0"])
    with pytest.raises(DataError, match=r"train\.txt:1: 'CASIA_SURF/Data/a/b/color' is no name of this set"):
        CasiaSurf(tmp_path)


def test_protocols_splits_and_folders_that_are_not_there(tmp_path):
    with pytest.raises(ConfigError, match="casia_surf: no protocol 'p2'; there are p1"):
        CasiaSurf(tmp_path, "p2")
    with pytest.raises(ConfigError, match="casia_surf: no split 'val'; there are train, dev, test"):
        CasiaSurf(tmp_path, "p1", "val")
    with pytest.raises(DataError, match="no such folder; give the one of CASIA-SURF"):
        CasiaSurf(tmp_path / "none")
    with pytest.raises(DataError, match="no samples of casia_surf p1 train there"):
        CasiaSurf(tmp_path)


def everyone():
    """All presentations of CeFA but the masks, in videos."""
    videos = (("rssdk", "indoor", "live"), ("bag", "indoor", "cloth"), ("bag", "outdoor", "cloth"))
    for race, i in product(("AF", "CA", "EA"), range(500)):
        for device, session, pai in (*videos, ("bag", "indoor", "screen")):
            yield PadFacts(pai, f"{race}-{i:03d}/{pai}{session}", f"{race}-{i:03d}", device, session)


@pytest.mark.parametrize("protocol", [p for p in CEFA_PROTOCOLS if p not in ("p3", "all")])
def test_the_rules_of_cefa_give_the_numbers_of_its_authors(protocol):
    masks = 1_123  # videos of masks, all in the test
    for split, more in (("train", 0), ("dev", 0), ("test", masks)):
        kept = sum(cefa_keeps(f, protocol, split) for f in everyone()) + more
        assert kept == Cefa.expected[protocol][split].videos
    mask = PadFacts("3d_mask", "m", "3d_mask-002")
    assert [cefa_keeps(mask, protocol, s) for s in ("train", "dev", "test")] == [False, False, True]


def test_subjects_and_instruments_of_cefa_protocols():
    kept = {
        (p, s): {(f.subject[:2], f.pai) for f in everyone() if cefa_keeps(f, p, s)}
        for p in ("p1.3", "p2.1", "p2.2", "p4.5", "all")
        for s in ("train", "test")
    }
    pais, races = ("live", "cloth", "screen"), ("AF", "CA", "EA")
    assert kept["p1.3", "train"] == set(product(["CA"], pais))
    assert kept["p1.3", "test"] == set(product(["AF", "EA"], pais))
    assert kept["p2.1", "train"] == kept["p2.2", "test"] == set(product(races, ("live", "cloth")))
    assert kept["p2.1", "test"] == kept["p2.2", "train"] == set(product(races, ("live", "screen")))
    assert kept["p4.5", "train"] == {("EA", "live"), ("EA", "screen")}
    assert kept["p4.5", "test"] == set(product(["AF", "CA"], ("live", "cloth")))
    assert kept["all", "train"] == kept["all", "test"] == set(product(races, pais))


@pytest.mark.parametrize("color", ["color", "profile"])
def test_cefa_by_folders(tmp_path, color):
    made.write_cefa(tmp_path, color=color)
    train, dev, test = (Cefa(tmp_path, "p1.1", s) for s in ("train", "dev", "test"))
    assert train.subjects == ("AF-000",)
    assert dev.subjects == ("AF-200",)
    assert test.subjects == ("3d_mask-073", "CA-300", "EA-300", "silicone_mask-001")
    assert train.modalities == ("rgb", "depth", "ir")
    assert train.species() == {"live": 2, "cloth": 4, "screen": 2}
    assert test.species(videos=True) == {
        "live": 2, "3d_mask": 1, "cloth": 4, "screen": 2, "silicone_mask": 1,
    }  # fmt: skip


def test_cefa_by_the_authors_lists(tmp_path):
    place = made.write_cefa(tmp_path)
    clip = "CASIA_CeFA/Ethnicity/AF/AF-000/1_000_{}/color"
    lines = [f"{clip.format('1_1_1')} 0", f"{clip.format('3_1_4')} 1"]
    made.write_lines(place / "protocol/CASIA_CeFA@p1.1_video_train.txt", lines)
    pads = Cefa(tmp_path, "p1.1", "train")
    assert pads.species(videos=True) == {"live": 1, "screen": 1}
    assert len(pads) == 4


def test_cefa_across_cameras_needs_its_lists(tmp_path):
    place = made.write_cefa(tmp_path)
    with pytest.raises(DataError, match=r"no CASIA_CeFA@p3_image_train\.txt; p3 is defined by its lists"):
        Cefa(tmp_path, "p3", "train")
    clip = "CASIA_CeFA/Ethnicity/AF/AF-300/1_300_1_1_1/{}/0001.jpg 0"
    made.write_lines(place / "protocol/CASIA_CeFA@p3_image_train.txt", [clip.format("color")])
    made.write_lines(
        place / "protocol/CASIA_CeFA@p3_image_test.txt", [clip.format("depth"), clip.format("ir")]
    )
    assert Cefa(tmp_path, "p3", "train").modalities == ("rgb",)
    test = Cefa(tmp_path, "p3", "test")
    assert [list(s.images) for s in test.samples] == [["depth"], ["ir"]]
    assert test.modalities == ()
    assert "one camera a sample" in test.note


def test_hifimask(tmp_path):
    place = made.write_hifimask(tmp_path)
    for protocol in HiFiMask.protocols:
        pads = {s: HiFiMask(tmp_path, protocol, s) for s in HiFiMask.splits}
        assert [p.subjects for p in pads.values()] == [("01",), ("26",), ("75",)]
        assert pads["dev"].species() == {"live": 4, "plaster": 4, "resin": 4, "transparent": 4}
        assert pads["dev"].modalities == ("rgb",)
    (place / "protocol/CASIA_HiFiMask@p1_video_dev.txt").unlink()
    with pytest.raises(DataError, match=r"p1_video_dev\.txt: no such file; put the authors' list there"):
        HiFiMask(tmp_path, "p1", "dev")


def test_flexible_lists(tmp_path):
    made.write_flexible(tmp_path)
    cameras = {"1": ("rgb",), "2": ("rgb", "depth"), "3": ("rgb", "ir"), "4": ("rgb", "depth", "ir")}
    for protocol, expected in cameras.items():
        assert FlexibleModal(tmp_path, protocol, "train").modalities == ("rgb", "depth", "ir")
        for split in ("dev", "test", "test_wmca"):
            assert FlexibleModal(tmp_path, protocol, split).modalities == expected
    train = FlexibleModal(tmp_path)
    assert train.protocol == "4"
    assert train.species() == {"live": 3, **dict.fromkeys(made.SURF_TYPES, 1), "screen": 1}
    assert all(p.is_file() for s in train.samples for p in s.images.values())
    assert FlexibleModal(tmp_path, "4", "test").species()["3d_mask"] == 1
    for attack in ("print", "replay", "glasses", "fakehead", "rigidmask", "flexiblemask", "papermask"):
        pads = FlexibleModal(tmp_path / "FlexModal_Protocols" / "..", "1", f"test_wmca_{attack}")
        assert pads.species() == {attack: 1}
        assert "attacks only" in pads.note
    whole = FlexibleModal(tmp_path, "4", "test_wmca").species()
    assert list(whole) == ["live", *sorted(set(whole) - {"live"})]


def test_flexible_lists_with_the_other_convention_are_refused(tmp_path):
    made.write_flexible(tmp_path)
    listed = tmp_path / "FlexModal_Protocols/CASIA-SURF_CeFA_val.txt"
    listed.write_text("".join(f"{w[:-1]}{1 - int(w[-1])}\n" for w in listed.read_text().splitlines()))
    with pytest.raises(DataError, match="live1 contradicts the names of 10 of 10 lines"):
        FlexibleModal(tmp_path, "4", "dev")
    shutil.rmtree(tmp_path / "FlexModal_Protocols")
    with pytest.raises(DataError, match=r"CASIA-SURF_CeFA_val\.txt: no such file"):
        FlexibleModal(tmp_path, "4", "dev")
