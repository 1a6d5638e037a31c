"""The audit of SuHiFiMask's protocols finds what was planted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mien.core.errors import DataError
from mien.data.suhifimask import SPLITS, SuHiFiMask
from mien.data.suhifimask_official import OFFICIAL, OFFICIAL_SHARED, OFFICIAL_TRACK_LABELS
from mien.data.surveil_audit import (
    audit_protocol,
    compare_official,
    protocol_audit,
    track_memoriser,
)
from tests.data.suhifimask_fixtures import TRACKS, write_suhifimask


def test_p3_leaks_and_p1_does_not(tmp_path):
    write_suhifimask(tmp_path)
    p3, p1 = audit_protocol(tmp_path, "p3"), audit_protocol(tmp_path, "p1")
    assert p3.leaks
    assert p3.shared["train", "test"] == (3, len(TRACKS), len(TRACKS), 0)
    assert p3.memoriser == 1.0
    assert any(line.startswith("LEAK: faces of the test were seen in training") for line in p3.lines())
    assert "train and test share 8 tracks, 8 videos, 3 subjects, 0 frames" in p3.lines()
    assert not p1.leaks
    assert p1.memoriser == 0.5
    assert "train and test: no subject, track, video or frame in common" in p1.lines()


def test_counts(tmp_path):
    write_suhifimask(tmp_path)
    audit = audit_protocol(tmp_path, "p1")
    train = audit.counts["train"]
    assert (train.images, train.tracks, train.videos, train.subjects, train.scenes) == (12, 3, 3, 1, 3)
    assert train.track_labels == {0: 1, 3: 1, 7: 1}
    assert train.cameras == {1: 4, 2: 4, 6: 4}
    assert audit.label_table()[1] == ["train", "1", "n/a", "n/a", "1", "n/a", "n/a", "n/a", "1", "n/a", "n/a"]
    assert audit.camera_table()[0] == ["split", *(f"camera {k}" for k in range(1, 8))]


@pytest.mark.parametrize("unit", ["subject", "track", "frame"])
def test_a_planted_leak_is_found(tmp_path, unit):
    write_suhifimask(tmp_path)
    lists = {s: list(SuHiFiMask(tmp_path, "p1", s)) for s in SPLITS}
    stray = lists["train"][0]
    if unit == "subject":  # the same person in a video of its own
        stray = replace(stray, video="G01_S1_C1_E01_T20220101000000000")
    elif unit == "track":  # another frame of the same track, under another name
        stray = replace(stray, frame=999, subject=99)
    lists["test"].append(stray)
    found = protocol_audit(lists).shared["train", "test"]._asdict()
    assert protocol_audit(lists).leaks
    assert found[f"{unit}s"] == 1
    assert found["frames"] == (unit == "frame")


def test_mixed_tracks_are_told(tmp_path):
    write_suhifimask(tmp_path)
    lists = {s: list(SuHiFiMask(tmp_path, "p1", s)) for s in SPLITS}
    lists["dev"].append(replace(lists["dev"][0], subject=46))
    audit = protocol_audit(lists)
    assert audit.mixed_tracks == (f"{lists['dev'][0].video}/id_0",)
    assert any("1 tracks show several subjects or labels" in line for line in audit.lines())


def test_memoriser_is_half_right_where_half_is_new(tmp_path):
    write_suhifimask(tmp_path)
    train, test = (SuHiFiMask(tmp_path, "p3", s) for s in ("train", "test"))
    known = [s for s in train if s.subject in (1, 0)]  # test: live 1 of 3 known, attacks 3 of 5 known
    # pairs (live, attack): 1 x .5, ties 1/2: (1 * 3 + 1 * 2 + 2 * (3 + 2 * .5)) / (3 * 5)
    assert track_memoriser(known, test) == pytest.approx((5 + 2 * 4) / 15)


def test_the_official_counts():
    for (protocol, split), counts in OFFICIAL_TRACK_LABELS.items():
        assert sum(counts) == OFFICIAL[protocol][split].tracks
    assert OFFICIAL["p3"]["train"] == (39_370, 159_063)
    assert OFFICIAL["p1"]["test"].images == 132_190
    for (a, b), n in OFFICIAL_SHARED["p3"].items():
        assert n <= min(OFFICIAL["p3"][a].tracks, OFFICIAL["p3"][b].tracks)


def test_other_numbers_than_the_official_ones_are_told(tmp_path):
    write_suhifimask(tmp_path)
    lines = compare_official(audit_protocol(tmp_path, "p3"), "p3")
    assert "p3 train: 8 tracks, official 39,370" in lines
    assert "p3 test: 3 tracks of label 0, official 30,673" in lines
    assert "p3: 8 tracks in both train and test, official 25,047" in lines
    assert compare_official(audit_protocol(tmp_path, "p3"), "p3_strict") == []


def test_no_lists():
    with pytest.raises(DataError, match=r"protocol_audit: give split -> pictures"):
        protocol_audit({"train": []})
