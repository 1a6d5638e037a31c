"""Talking heads: actions in range, lips move, lids close, the same seed is the same clip."""

from __future__ import annotations

import numpy as np
import pytest

from mien.core.errors import ConfigError
from mien.synth.body import people
from mien.synth.motion import VISEMES, talk


def test_actions_are_known_and_in_range():
    known = set(people().actions)
    assert {n for v in VISEMES.values() for n in v} <= known
    clip = talk(3, 250)
    assert len(clip) == 250
    for frame in clip:
        assert set(frame.actions) <= known
        assert all(0 <= v <= 1 for v in frame.actions.values())
        assert max(abs(frame.yaw), abs(frame.pitch), abs(frame.roll)) <= 0.9


def test_lips_move_smoothly_and_lids_blink():
    clip = talk(5, 1500, 25.0)
    jaw = np.array([f.actions.get("jawOpen", 0.0) for f in clip])
    assert jaw.max() > 0.25
    assert np.abs(np.diff(jaw)).max() < 0.3
    blink = np.array([f.actions["eyeBlinkLeft"] for f in clip]) > 0.6
    count = int((blink[1:] & ~blink[:-1]).sum())
    assert 8 <= count <= 32  # 60 s at about 0.28 Hz


def test_strength_zero_keeps_the_mouth_shut():
    assert all(f.actions.get("jawOpen", 0.0) == 0 for f in talk(1, 50, strength=0.0))


def test_same_seed_same_clip_other_seed_other_clip():
    assert talk(1, 20) == talk(1, 20)
    assert talk(1, 20) != talk(2, 20)
    with pytest.raises(ConfigError, match=r"0 frames"):
        talk(0, 0)
