"""Places, tracks and their severity."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mien.core.errors import ConfigError
from mien.synth.surveil_cast import KINDS, Cutout
from mien.synth.surveil_frames import WORST, Track, laid, severities, track_frames
from mien.synth.surveil_scenes import SCENES, SIDE, surveil_scene
from mien.synth.surveillance import PROFILES

TRACK = Track(0, 5, 6, 7, 3, 11, 12)


def test_forty_different_places():
    pictures = [surveil_scene(n).picture for n in range(1, SCENES + 1)]
    assert all(p.shape == (SIDE, SIDE, 3) and 0 <= p.min() and p.max() <= 1 for p in pictures)
    small = np.stack([p[::16, ::16] for p in pictures]).reshape(SCENES, -1)
    apart = np.abs(small[:, None] - small[None]).mean(-1) + np.eye(SCENES)
    assert apart.min() > 0.03
    assert {surveil_scene(n).light.kind for n in range(1, 9)} == {"indoor", "outdoor"}
    assert surveil_scene(3) is surveil_scene(3)
    for n in (0, 41):
        with pytest.raises(ConfigError, match=rf"scene {n} is outside 1 \.\. 40"):
            surveil_scene(n)


def test_severity_walks_along_a_track_and_cameras_differ():
    means = []
    for camera in range(1, 8):
        drawn = np.stack([severities(np.random.default_rng(s), camera, 8) for s in range(200)])
        assert drawn.min() >= 0
        assert drawn.max() <= WORST
        assert np.ptp(drawn, axis=1).mean() > 0.2
        means.append(drawn.mean())
    low = [np.mean(PROFILES[f"C{c}"].severity) for c in range(1, 8)]
    assert np.corrcoef(means, low)[0, 1] > 0.98


def test_a_cutout_lies_where_it_is_told_and_a_body_goes_on():
    red = np.tile([1.0, 0, 0], (40, 40, 1))
    cut = Cutout(red, np.ones((40, 40)), (0.5, 0.5, 0.5), goes_on=False)
    out = laid(np.zeros((48, 48, 3)), cut, (12.0, 0.5, 0.25))  # 24 pixels wide, its middle at (24, 12)
    rows, cols = np.nonzero(out[..., 0] > 0.5)
    assert (rows.min(), rows.max(), cols.min(), cols.max()) == (0, 23, 12, 35)
    out = laid(np.zeros((48, 48, 3)), replace(cut, goes_on=True), (12.0, 0.5, 0.25))
    rows, cols = np.nonzero(out[..., 0] > 0.5)
    assert (rows.max(), cols.min(), cols.max()) == (47, 12, 35)
    assert (out[..., 1:] == 0).all()


@pytest.mark.parametrize("label", [0, 3, 5, 8])
def test_frames_of_a_track(label):
    frames = list(track_frames(replace(TRACK, label=label), 3, 32))
    again = list(track_frames(replace(TRACK, label=label), 3, 32))
    for a, b in zip(frames, again, strict=True):
        assert (a.picture == b.picture).all()
        assert a.record == b.record
    assert all(f.picture.shape == (32, 32, 3) and f.picture.dtype == np.uint8 for f in frames)
    numbers = [f.number for f in frames]
    assert all(n % 10 == 1 for n in numbers)
    assert numbers == sorted(set(numbers))
    assert len({f.light for f in frames}) == 1
    assert len({f.record["weather"] for f in frames if "weather" in f.record}) <= 1
    assert (frames[0].picture != frames[1].picture).any()


def test_kinds():
    assert KINDS[0] == "live"
    assert len(KINDS) == len(set(KINDS)) == 10
