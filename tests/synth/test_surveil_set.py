"""The made twin of SuHiFiMask: plan, lists, files."""

from __future__ import annotations

import json
from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from PIL import Image

from mien.core.errors import ConfigError, DataError
from mien.synth import surveil_set
from mien.synth.surveil_cast import KINDS, STATIC
from mien.synth.surveil_protocols import SPLITS, UNSEEN_MASK, protocol_lists
from mien.synth.surveil_set import SurveilSet, make_suhifimask, plan

SMALL = SurveilSet(tracks=10, frames=2, size=32)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(surveil_set, "INSTRUMENTS", 1)  # a new face costs more than its pictures
        yield make_suhifimask(SMALL, tmp_path_factory.mktemp("twin"))


def rows(count=40, frames=8):
    """Truth of videos that were never drawn."""
    rng = np.random.default_rng(0)
    out = []
    for video in plan(SurveilSet(tracks=count)):
        for k in video.numbers:
            for frame in range(frames):
                path = f"CASIA_SuHiFiMask/Data/{video.name}/id_{k}/{frame}_{video.subject}_{video.label}.jpg"
                out.append({"path": path, "video": video.name, "track": k, "subject": video.subject,
                            "label": video.label, "quality": float(rng.random()), **video.facts})  # fmt: skip
    return out


def test_plan_of_the_default_set():
    videos = plan(SurveilSet())
    tracks = Counter(v.label for v in videos for _ in v.tracks)
    total = sum(tracks.values())
    assert total == pytest.approx(512, abs=6)
    assert tracks[0] / total == pytest.approx(0.5, abs=0.01)
    assert set(tracks) == set(range(10))
    assert len({v.name for v in videos}) == len(videos)
    assert {v.subject for v in videos if v.label == 0} == set(range(1, 102))
    assert {v.facts["camera"] for v in videos} == set(range(1, 8))
    assert {v.facts["scene"] for v in videos} == set(range(1, 41))
    for v in videos:
        is_static = v.label >= STATIC
        assert (v.subject == 0, v.numbers == (-1,)) == (is_static, is_static)
        assert len(set(v.numbers)) == len(v.numbers) == len(v.tracks)
    assert plan(SurveilSet()) == videos
    assert {v.name for v in plan(SurveilSet(seed=1))}.isdisjoint(v.name for v in videos)


def test_the_same_person_has_one_seed_and_instruments_show_nobody_of_the_subjects():
    videos = plan(SurveilSet())
    seeds = {v.subject: {t.person for t in v.tracks} for v in videos if v.subject}
    assert all(len(s) == 1 for s in seeds.values())
    people = set.union(*seeds.values())
    assert len(people) == 101
    assert people.isdisjoint(t.shown for v in videos for t in v.tracks)


def test_lists_of_the_protocols():
    truth = rows(200)
    lists = protocol_lists(truth)
    assert len(lists) == 6 * 2 * 3
    known = {r["path"]: r for r in truth}
    images = {name: [known[line.rsplit(" ", 1)[0]] for line in lines] for name, lines in lists.items()
              if "_image_" in name}  # fmt: skip
    for protocol in ("p1", *UNSEEN_MASK):
        for a, b in combinations(SPLITS, 2):
            first, second = images[f"{protocol}_image_{a}"], images[f"{protocol}_image_{b}"]
            assert not {r["subject"] for r in first} & {r["subject"] for r in second} - {0}
            assert not {r["video"] for r in first} & {r["video"] for r in second}
    for protocol, unseen in UNSEEN_MASK.items():
        labels = {s: {r["label"] for r in images[f"{protocol}_image_{s}"]} for s in SPLITS}
        assert labels["test"] == {0, unseen}
        assert unseen not in labels["train"] | labels["dev"]
        assert labels["train"] <= {0, 1, 2, 3, 4}
    for protocol in ("p1", "p3"):
        assert sum(len(images[f"{protocol}_image_{s}"]) for s in SPLITS) == len(truth)


def test_p3_deals_frames_of_the_same_tracks_by_quality():
    truth = rows(100)
    lists = protocol_lists(truth)
    quality = {r["path"]: r["quality"] for r in truth}
    got = {s: [quality[line.rsplit(" ", 1)[0]] for line in lists[f"p3_image_{s}"]] for s in SPLITS}
    assert np.mean(got["train"]) > np.mean(got["dev"]) > np.mean(got["test"])
    assert len(got["train"]) / len(truth) == pytest.approx(2000 / 4100, abs=0.01)
    tracks = [set(lists[f"p3_video_{s}"]) for s in SPLITS]
    assert len(tracks[0] & tracks[2]) > 0.3 * len(tracks[0])
    assert protocol_lists(truth) == lists


def test_files(made):
    truth = [json.loads(line) for line in (made / "CASIA_SuHiFiMask/truth.jsonl").read_text().splitlines()]
    files = sorted((made / "CASIA_SuHiFiMask/Data").glob("*/*/*.jpg"))
    assert sorted(str(f.relative_to(made)) for f in files) == sorted(r["path"] for r in truth)
    assert {np.asarray(Image.open(f)).shape for f in files} == {(32, 32, 3)}
    assert {r["kind"] for r in truth} == set(KINDS)
    for r in truth:
        assert r["quality"] == pytest.approx(1 - r["surveil"]["severity"], abs=1e-6)
        assert r["path"].endswith(f"/id_{r['track']}/{r['frame']}_{r['subject']}_{r['label']}.jpg")
        assert r["light"] in ("day", "night")
        assert 10 <= r["head_px"] <= 32
    listed = (made / "CASIA_SuHiFiMask/protocol/CASIA_SuHiFiMask@p3_image_train.txt").read_text().split("\n")
    assert listed[0].rsplit(" ", 1)[0] in {r["path"] for r in truth}
    assert '1 = "mask_resin"' in (made / "CASIA_SuHiFiMask/labels.toml").read_text()
    card = (made / "card.md").read_text()
    assert "no real person" in card
    assert "Shortcut audit (AUC on held-out people): quality alone 0." in card
    assert np.asarray(Image.open(made / "sheet.png")).shape == (10 * 66, 14 * 66, 3)


def test_it_goes_on_where_it_stopped_with_the_same_pictures(made):
    victim = sorted((made / "CASIA_SuHiFiMask/Data").iterdir())[0]
    before = {f.relative_to(victim): f.read_bytes() for f in victim.rglob("*.jpg")}
    for file in sorted(victim.rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    victim.rmdir()
    told = []
    make_suhifimask(SMALL, made, done=lambda n, of: told.append((n, of)))
    total = len(plan(SMALL))
    assert told == [(total - 1, total), (total, total)]
    assert {f.relative_to(victim): f.read_bytes() for f in victim.rglob("*.jpg")} == before


def test_wrong_use(made, tmp_path):
    with pytest.raises(DataError, match=r"holds a set of other settings"):
        make_suhifimask(SurveilSet(tracks=12), made)
    (tmp_path / "mine").write_text("x")
    with pytest.raises(DataError, match=r"not empty and no made set"):
        make_suhifimask(SMALL, tmp_path)
    with pytest.raises(ConfigError, match=r"size=8 is outside \[32, 256\]"):
        SurveilSet(size=8)


def test_from_the_command_line(made, capsys):
    from mien.cli.main import main

    sizes = ["--tracks", "10", "--frames", "2", "--size", "32"]
    assert main(["data", "make", "suhifimask", *sizes, "--output", str(made), "--workers", "1"]) == 0
    assert "sheet.png" in "".join(capsys.readouterr())
    assert main(["data", "make", "suhifimask", *sizes, "--output", str(made), "--workers", "no"]) == 2
    capsys.readouterr()
    main(["data", "check", str(made), "--json"])
    report = json.loads(capsys.readouterr().out)
    assert report["kind"] == "suhifimask"
    assert not [p for p in report["problems"] if "p3:" in p or "p3 " in p]  # frames of the same tracks


def test_the_reader_reads_it(made):
    from mien.data import SuHiFiMask, audit_protocol, load_suhifimask
    from mien.data.pad_check import guess_pad_kind

    assert guess_pad_kind(made) == "suhifimask"
    lines = (made / "CASIA_SuHiFiMask/truth.jsonl").read_text().splitlines()
    images = load_suhifimask(made, "p3", "train", 32)
    samples = SuHiFiMask(made, "p3", "train")
    assert [s.pai for s in samples] == [KINDS[n] for n in images.label]
    truth = {r["path"]: r for r in map(json.loads, lines)}
    assert images.quality.tolist() == [truth[p]["quality"] for p in images.paths]
    assert images.camera.tolist() == [truth[p]["camera"] for p in images.paths]
    assert not audit_protocol(made, "p1").leaks
    assert audit_protocol(made, "p3").leaks
