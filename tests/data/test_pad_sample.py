from __future__ import annotations

from collections import defaultdict
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import numpy as np
import pytest

from mien.core.errors import ConfigError, DataError, ShapeError
from mien.data.pad_sample import (
    PadList,
    PadSample,
    eval_frames,
    frames_by_video,
    joined,
    train_frames,
    video_scores,
)


def sample(video="v", frame="1", live=True, images=("rgb",), ending=".png", **more):
    pai = "live" if live else more.pop("pai", "print")
    files = {m: Path(f"{video}/{m}/{frame or 'clip'}{ending}") for m in images}
    return PadSample(files, int(live), pai, video_id=video, frame=frame, **more)


def pads(videos=3, frames=5, **more):
    samples = tuple(sample(f"v{v}", str(f), v % 2 == 0, **more) for v in range(videos) for f in range(frames))
    return PadList("set", "p1", "train", samples)


def test_images_are_in_the_order_of_the_cameras_and_checked():
    made = PadSample({"ir": Path("i"), "rgb": "r", "depth": Path("d")}, 1, "live")
    assert list(made.images) == ["rgb", "depth", "ir"]
    assert made.images["rgb"] == Path("r")
    with pytest.raises(FrozenInstanceError):
        made.pai = "print"
    with pytest.raises(DataError, match="unknown camera 'nir'; there are rgb, depth, ir, thermal"):
        PadSample({"nir": Path("a")}, 1, "live")
    with pytest.raises(DataError, match="without an image"):
        PadSample({}, 1, "live", video_id="v7")
    for label, pai in ((1, "print"), (0, "live"), (2, "live")):
        with pytest.raises(DataError, match=f"label_live={label} contradicts the instrument '{pai}'"):
            PadSample({"rgb": Path("a")}, label, pai)


def test_counts_and_modalities():
    many = (sample("a", "1", images=("rgb", "depth")), sample("a", "2", images=("rgb", "depth", "ir")))
    attacks = (
        sample("b", "1", False, ("depth", "rgb"), pai="mask"),
        sample("c", "1", False, ("rgb", "depth")),
    )
    whole = PadList("set", "p", "test", many + attacks)
    assert whole.modalities == ("rgb", "depth")
    assert whole.species() == {"live": 2, "mask": 1, "print": 1}
    assert list(whole.species(videos=True)) == ["live", "mask", "print"]
    assert whole.species(videos=True)["live"] == 1
    assert whole.live.tolist() == [True, True, False, False]
    assert whole.pai.tolist() == ["live", "live", "mask", "print"]
    assert len(whole) == 4
    assert PadList("set", "p", "test", ()).modalities == ()


def test_the_fingerprint_follows_names_and_labels_but_not_the_folder():
    first = pads()
    moved = replace(first, samples=tuple(
        replace(s, images={m: Path("/elsewhere") / p for m, p in s.images.items()}) for s in first.samples
    ))  # fmt: skip
    assert moved.fingerprint == first.fingerprint
    flipped = replace(first.samples[0], label_live=0, pai="print")
    others = (
        replace(first, split="test"),
        replace(first, protocol="p2"),
        replace(first, samples=first.samples[1:]),
        replace(first, samples=(flipped, *first.samples[1:])),
    )
    assert len({first.fingerprint, *(o.fingerprint for o in others)}) == 5


def test_frames_of_each_video_in_order():
    mixed = (sample("a", "1"), sample("b", "1"), sample("a", "2"), sample("", "1"), sample("", "2"))
    assert list(frames_by_video(mixed).values()) == [(0, 2), (1,), (3,), (4,)]


def test_training_draws_one_frame_of_each_video_each_epoch():
    whole = pads(40, 5)
    drawn = [train_frames(whole, 0, epoch) for epoch in range(50)]
    assert all([s.video_id for s in d.samples] == [f"v{v}" for v in range(40)] for d in drawn)
    known = {(s.video_id, s.frame) for s in whole.samples}
    assert {(s.video_id, s.frame) for d in drawn for s in d.samples} == known
    assert [s.frame for s in drawn[0].samples] == [s.frame for s in train_frames(whole, 0, 0).samples]
    assert [s.frame for s in drawn[0].samples] != [s.frame for s in train_frames(whole, 1, 0).samples]
    counts = np.bincount([int(s.frame) for d in drawn for s in d.samples], minlength=5)
    assert counts.min() > 320  # of 2000: expected 400 each
    assert counts.max() < 480


def test_the_draw_does_not_depend_on_the_order_of_the_list():
    whole = pads(8, 5)
    back = replace(whole, samples=whole.samples[::-1])
    one = {s.video_id: s.frame for s in train_frames(whole, 3, 1).samples}
    assert one == {s.video_id: s.frame for s in train_frames(back, 3, 1).samples}


def test_k_frames_are_different_and_in_order():
    for k in (2, 4, 9):
        drawn = train_frames(pads(4, 5), 0, 0, k)
        for places in frames_by_video(drawn.samples).values():
            frames = [int(drawn.samples[i].frame) for i in places]
            assert frames == sorted(set(frames))
            assert len(frames) == min(k, 5)
    with pytest.raises(ConfigError, match="k=0 frames of each video; give 1 or more"):
        train_frames(pads(), 0, 0, 0)


def test_testing_takes_the_first_and_the_last():
    assert [s.frame for s in eval_frames(pads(2, 5)).samples] == ["0", "4"] * 2
    assert [s.frame for s in eval_frames(pads(2, 1)).samples] == ["0"] * 2
    assert [s.frame for s in eval_frames(pads(1, 5), 3).samples] == ["0", "2", "4"]
    assert [s.frame for s in eval_frames(pads(1, 5), 1).samples] == ["0"]
    assert len(eval_frames(pads(2, 5), 99)) == 10
    with pytest.raises(ConfigError, match="k=0"):
        eval_frames(pads(), 0)


def test_frames_of_clip_files_are_places_in_them():
    clips = PadList("set", "p", "test", tuple(sample(f"v{v}", "", ending=".avi") for v in range(30)))
    assert {s.frame for s in eval_frames(clips).samples} == {"@0.000000", "@1.000000"}
    drawn = [float(s.frame[1:]) for s in train_frames(clips, 0, 0).samples]
    assert len(set(drawn)) == 30
    assert all(0 <= p < 1 for p in drawn)
    thirds = [float(s.frame[1:]) for s in train_frames(clips, 0, 0, 3).samples]
    assert all(j / 3 <= p <= (j + 1) / 3 for p, j in zip(thirds, [0, 1, 2] * 30, strict=True))


def slow_video_scores(scores, ids):
    kept = defaultdict(list)
    for score, video in zip(scores, ids, strict=True):
        kept[video].append(float(score))
    return tuple(kept), [sum(v) / len(v) for v in kept.values()]


def test_scores_are_averaged_over_a_video():
    names, means = video_scores([0.25, 1.0, 0.75, 0.0], ["b", "a", "b", "a"])
    assert names == ("b", "a")
    assert means.tolist() == [0.5, 0.5]
    rng = np.random.default_rng(0)
    scores, ids = rng.random(200), [f"v{i}" for i in rng.integers(0, 17, 200)]
    names, means = video_scores(scores, ids)
    expected, slow = slow_video_scores(scores, ids)
    assert names == expected
    assert np.allclose(means, slow, rtol=0, atol=1e-14)


def test_wrong_scores():
    with pytest.raises(ShapeError, match=r"expected \(2,\), one for each frame, got \(3,\)"):
        video_scores([1, 2, 3], ["a", "b"])
    with pytest.raises(DataError, match="1 of 2 scores are NaN"):
        video_scores([1, np.nan], ["a", "b"])
    assert video_scores([], [])[0] == ()


def test_joined_sets_keep_their_names_apart():
    one = replace(pads(2, 1, subject="7"), name="a", note="first")
    two = replace(pads(2, 1), name="b", note="")
    both = joined("a+b", "x", "train", [one, two])
    assert both.video_ids == ("a/v0", "a/v1", "b/v0", "b/v1")
    assert both.subjects == ("a/7",)
    assert both.note == "first"
    with pytest.raises(ConfigError, match="no sets to join"):
        joined("none", "x", "train", [])
