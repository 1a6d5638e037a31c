"""Landmarks made from known actions and poses give these back."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mien.core.errors import ConfigError, DataError, ShapeError
from mien.synth.fit_actions import (
    Fit,
    _pose_moves,
    _projected_moves,
    fit_clip,
    fit_frame,
    framing,
    mean_rig,
    posed,
    project,
)

MOTIONS = (
    {},
    {"jawOpen": 0.7},
    {"mouthSmileLeft": 0.8, "mouthSmileRight": 0.8},
    {"eyeBlinkLeft": 0.9, "eyeBlinkRight": 0.9},
    {"browInnerUp": 0.8},
    {"browDownLeft": 0.7, "browDownRight": 0.7},
    {"jawOpen": 0.4, "mouthSmileLeft": 0.5, "mouthSmileRight": 0.5, "eyeBlinkLeft": 1.0},
)
POSES = (
    (0, 0, 0),
    (0.1, 0.3, 0.05),
    (-0.1, -0.35, 0),
    (0.05, 0.1, -0.1),
    (0, 0.2, 0),
    (0.1, 0, 0),
    (0, -0.2, 0.1),
)


def fits():
    rig = mean_rig()
    for actions, (pitch, yaw, roll) in zip(MOTIONS, POSES, strict=True):
        row = np.array([actions.get(n, 0.0) for n in rig.names])
        turn = Rotation.from_euler("YXZ", [yaw, pitch, roll]).as_matrix()
        yield Fit(row, turn, np.array([0.03 * yaw, 0.02, -0.1 * pitch]))


def as_fit(rig, actions, turn=None, shift=(0, 0, 0)):
    row = np.array([actions.get(n, 0.0) for n in rig.names])
    return Fit(row, np.eye(3) if turn is None else turn, np.asarray(shift, float))


def test_the_rig_is_a_face():
    rig = mean_rig()
    assert rig.base.shape == (68, 3)
    assert rig.moves.shape == (len(rig.names), 68, 3)
    assert {"jawOpen", "mouthSmileLeft", "browInnerUp"} <= set(rig.names)
    assert not any(n.startswith(("eyeLook", "tongue")) for n in rig.names)
    assert np.abs(rig.base).max() < 0.5
    flat = project(rig.base)
    assert flat[8, 1] > flat[30, 1] > flat[27, 1]  # chin below the tip of the nose below its bridge
    assert flat[0, 0] < flat[16, 0]
    jaw = rig.moves[rig.names.index("jawOpen")]
    assert jaw[8, 1] < -0.02
    assert abs(jaw[27]).max() < 1e-3


def test_slopes_are_those_of_the_projection():
    """Central differences of the projection by actions, small turns and shifts."""
    rig, h = mean_rig(), 1e-5
    fit = list(fits())[6]
    points = posed(rig, fit)
    slopes = _projected_moves(
        points, np.concatenate([rig.moves @ fit.rotation.T, _pose_moves(points - fit.translation)])
    )
    for k in (
        0,
        17,
        len(rig.names),
        len(rig.names) + 1,
        len(rig.names) + 2,
        len(rig.names) + 3,
        len(rig.names) + 5,
    ):
        ends = []
        for step in (h, -h):
            move = np.zeros(len(rig.names) + 6)
            move[k] = step
            turn = Rotation.from_rotvec(move[-6:-3]).as_matrix()
            near = Fit(fit.actions + move[:-6], turn @ fit.rotation, fit.translation + move[-3:])
            ends.append(project(posed(rig, near)))
        np.testing.assert_allclose(slopes[k], (ends[0] - ends[1]) / (2 * h), atol=1e-7)


def test_known_actions_and_poses_are_found():
    rig = mean_rig()
    for truth, actions in zip(fits(), MOTIONS, strict=True):
        got = fit_frame(rig, project(posed(rig, truth)))
        np.testing.assert_allclose(got.rotation, truth.rotation, atol=0.02)
        np.testing.assert_allclose(got.translation, truth.translation, atol=0.02)
        for name, value in actions.items():
            assert got.actions[rig.names.index(name)] == pytest.approx(value, abs=0.15), name
        for name in ("jawOpen", "mouthSmileLeft", "eyeBlinkLeft", "browInnerUp", "browDownLeft"):
            if name not in actions:
                assert got.actions[rig.names.index(name)] < 0.15, name


def clip(noise=0.0, turned=0.1):
    """Pixels of somebody else: a wider face with higher brows, rest first, then the motions."""
    rig = mean_rig()
    base = rig.base * (1.08, 1, 1)
    base[17:27, 1] += 0.01
    other = rig._replace(base=base)
    rest = Rotation.from_euler("YXZ", [turned, 0, 0]).as_matrix()
    frames = [as_fit(rig, {}, rest)] * 3 + list(fits())
    seen = np.stack([project(posed(other, f)) for f in frames])
    seen += np.random.default_rng(0).normal(0, noise, seen.shape)
    return (300, 200) + 250 * seen


def test_a_clip_is_relative_to_its_first_frames():
    pixels = clip(noise=0.001)
    pixels[4] = np.nan
    got = fit_clip(pixels, neutral=3)
    assert got.expression.shape == (len(pixels), 52)
    assert got.found.tolist() == [True] * 4 + [False] + [True] * (len(pixels) - 5)
    for rows in (got.expression, got.angles, got.translation, got.focal, got.error):
        assert np.isnan(rows[4]).all()
        assert np.isfinite(rows[got.found]).all()
    assert got.expression[:3].max() < 0.2
    np.testing.assert_allclose(got.angles[:3, 1], 0.1, atol=0.06)
    np.testing.assert_allclose(got.translation[:3], 0, atol=0.02)
    at = {n: k for k, n in enumerate(got.names)}
    for frame, actions in zip(got.expression[3:], MOTIONS, strict=True):
        if np.isfinite(frame).all():
            for name, value in actions.items():
                assert frame[at[name]] == pytest.approx(value, abs=0.3), name
    turned = got.angles[6:, 1] - np.array([p[1] for p in POSES[3:]])
    assert np.abs(turned).max() < 0.08
    assert np.nanmax(got.error) < 0.01
    assert got.focal[0] == pytest.approx(3.2)


def test_the_square_is_the_avatars():
    middle, side = framing(mean_rig(), clip(turned=0.0)[:2])
    assert side == pytest.approx(250, rel=0.05)
    np.testing.assert_allclose(middle, (300, 200), atol=6)


def test_wrong_input_says_so():
    with pytest.raises(ShapeError, match=r"\(T, 68, 2\)"):
        fit_clip(np.zeros((3, 5, 2)))
    with pytest.raises(DataError, match="no face in any of 2 frames"):
        fit_clip(np.full((2, 68, 2), np.nan))
    with pytest.raises(ConfigError, match="neutral=0"):
        fit_clip(np.zeros((2, 68, 2)), neutral=0)
