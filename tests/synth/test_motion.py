"""Talking heads: actions in range, lips move, lids close, the same seed is the same clip."""

from __future__ import annotations

import numpy as np
import pytest

from mien.core.errors import ConfigError
from mien.synth.body import people
from mien.synth.motion import VISEMES, Frame, expression_rows, perform, read_expression, talk


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


def test_performance_is_stronger_than_speech_and_stays_in_range() -> None:
    names = people().actions
    rows = expression_rows(perform(3, 200), names)
    spoken = expression_rows(talk(3, 200), names)
    assert rows.shape == (200, len(names))
    assert rows.min() >= 0
    assert rows.max() <= 1
    assert rows.sum() > 1.2 * spoken.sum()
    assert (rows == expression_rows(perform(3, 200), names)).all()
    assert (rows.max(0) > 0.3).sum() > 25  # most actions are used


def test_gaze_goes_through_eye_actions_and_back() -> None:
    names = people().actions
    frame = Frame({"jawOpen": 0.5}, 0, 0, 0, (0.2, -0.1))
    row = expression_rows([frame], names)[0]
    actions, gaze = read_expression(row, names)
    assert actions == {"jawOpen": 0.5}
    assert np.allclose(gaze, (0.2, -0.1), atol=1e-6)
    assert np.isclose(row[names.index("eyeLookOutLeft")], 0.4)
    assert np.isclose(row[names.index("eyeLookInRight")], 0.4)
    assert row[names.index("eyeLookInLeft")] == 0
