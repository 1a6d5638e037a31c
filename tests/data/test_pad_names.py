from __future__ import annotations

import pytest

from mien.data.pad_names import (
    WMCA_PAIS,
    PadFacts,
    facts_of,
    fasd_facts,
    is_live_by_name,
    is_live_by_words,
    msu_facts,
    wmca_pai,
)


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        (
            "Data/Val/real_part/CLKJ_BS1632/real.rssdk/color/0001.jpg",
            PadFacts("live", "CLKJ_BS1632/real/real", "CLKJ_BS1632", "SR300"),
        ),
        (
            "CASIA-SURF-CROP/fake_part/fake_train_part/CLKJ_CS0110/05_enm_s.rssdk/ir/41.jpg",
            PadFacts("05_enm_s", "CLKJ_CS0110/fake/05_enm_s", "CLKJ_CS0110", "SR300"),
        ),
        (
            "Ethnicity/EA/EA-440/3_440_1_1_1/color",
            PadFacts("live", "EA-440/3_440_1_1_1", "EA-440", "rssdk", "indoor"),
        ),
        (
            "CeFA/CeFA-Race/CA/CA-199/2_199_3_2_2/profile/0003.jpg",
            PadFacts("cloth", "CA-199/2_199_3_2_2", "CA-199", "bag", "outdoor"),
        ),
        (
            "Mask/3D-Mask/073/1_073_1_0_2_1_2/color",
            PadFacts(
                "3d_mask", "3d_mask/073/1_073_1_0_2_1_2", "3d_mask-073", "D435i", "indoor", "back light",
            ),
        ),
        (
            "Mask/Silicone-Mask/001/2_001_1_1_2_1_3",
            PadFacts(
                "silicone_mask", "silicone_mask/001/2_001_1_1_2_1_3", "silicone_mask-001", "D435i", "indoor",
                "front light",
            ),
        ),
        (
            "CASIA_HiFiMask/Data/2_66_3_6_4_1",
            PadFacts("resin", "2_66_3_6_4_1", "66", "iPhone11", "", "motion, back light"),
        ),
        (
            "R_CDIT/098_02_017_3_15/color/0012.jpg",
            PadFacts("replay", "098_02_017_3_15", "098", "face station", "02", "presenter 017"),
        ),
        ("Dev_files/6_3_20_5.avi", PadFacts("replay", "6_3_20_5", "20", "phone 6", "3", "display 2")),
        ("Train_files/1_1_01_1", PadFacts("live", "1_1_01_1", "1", "phone 1", "1")),
        ("Train_files/1_1_01_2", PadFacts("print", "1_1_01_2", "1", "phone 1", "1", "printer 1")),
        (
            "test/attack/hand/attack_mobile_client009_session01_mobile_video_adverse.mov",
            PadFacts(
                "mobile", "hand/attack_mobile_client009_session01_mobile_video_adverse", "009", "webcam",
                "01", "hand, video, adverse",
            ),
        ),
        (
            "train/real/client001_session01_webcam_authenticate_controlled_2.mov",
            PadFacts(
                "live", "real/client001_session01_webcam_authenticate_controlled_2", "001", "webcam", "01",
                "controlled",
            ),
        ),
        (
            "scene01/attack/attack_client023_android_SD_ipad_video_scene01.mp4",
            PadFacts(
                "ipad_video", "attack_client023_android_SD_ipad_video_scene01", "023", "android", "", "01",
            ),
        ),
    ],
)  # fmt: skip
def test_names_of_the_published_sets(name, facts):
    assert facts_of(name) == facts


@pytest.mark.parametrize(
    ("clips", "pai", "quality"),
    [
        (("1", "2", "HR_1"), "live", ("low", "normal", "high")),
        (("3", "4", "HR_2"), "warped", ("low", "normal", "high")),
        (("5", "6", "HR_3"), "cut", ("low", "normal", "high")),
        (("7", "8", "HR_4"), "replay", ("low", "normal", "high")),
    ],
)
def test_clips_of_casia_fasd(clips, pai, quality):
    found = [fasd_facts(f"train_release/4/{clip}.avi") for clip in clips]
    assert [f.pai for f in found] == [pai] * 3
    assert [f.device for f in found] == [f"{q} quality" for q in quality]
    assert fasd_facts("test_release/4/1.avi").subject != found[0].subject


@pytest.mark.parametrize(
    ("pai", "codes"),
    [
        ("live", ((0, 0), (0, 1), (0, 2))),
        ("glasses", ((1, 1), (1, 7), (1, 15))),
        ("rigidmask", ((1, 2), (1, 13), (2, 12), (2, 17))),
        ("fakehead", ((2, 1), (2, 7))),
        ("papermask", ((2, 8), (2, 11))),
        ("flexiblemask", ((2, 18), (2, 75), (2, 99))),
        ("print", ((3, 1), (3, 4), (3, 14))),
        ("replay", ((3, 5), (3, 15), (4, 1), (4, 18))),
        (None, ((5, 1),)),
    ],
)
def test_instruments_of_wmca(pai, codes):
    assert {wmca_pai(*code) for code in codes} == {pai}
    assert pai in (None, "live", *WMCA_PAIS)


def test_other_names_say_nothing():
    for name in ("a/b/c.png", "1_2_3_4.jpg", "Ethnicity/EA/EA-440/9_440_1_1_1", "data/2026_01_02/7.png", ""):
        assert facts_of(name) is None
    assert msu_facts("real_client001_laptop_SD_ipad_video_scene01.mov") is None
    assert msu_facts("attack_client001_laptop_SD_scene01.mov") is None


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("set/real/1.png", True),
        ("set/live-faces/1.png", True),
        ("set/bona_fide/1.png", True),
        ("set/fake/1.png", False),
        ("set/attack_print/1.png", False),
        ("spoof/real/1.png", True),
        ("real/spoof_2/1.png", False),
        ("set/real_or_fake/1.png", None),
        ("set/deliver/really/1.png", None),
        ("set/a/1.png", None),
    ],
)
def test_words_in_a_path(name, told):
    assert is_live_by_words(name) is told
    assert is_live_by_name(name) is told


def test_a_scheme_goes_before_words():
    assert is_live_by_name("fake/Ethnicity/EA/EA-440/3_440_1_1_1/color/1.jpg") is True
