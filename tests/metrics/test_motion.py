from __future__ import annotations

import numpy as np
import pytest

from mien.core.errors import ConfigError, DataError, ShapeError
from mien.metrics.motion import (
    average_expression_distance,
    average_keypoint_distance,
    average_pose_distance,
    frame_seconds,
    frames_per_second,
    temporal_error,
    temporal_flicker,
)

RNG = np.random.default_rng(0)
POINTS = RNG.uniform(0, 100, (2, 5, 68, 2))
FRAMES = RNG.uniform(0, 1, (2, 6, 4, 5, 3))


@pytest.mark.parametrize("norm", ["mean_abs", "l1", "euclidean"])
@pytest.mark.parametrize("scale", ["pixels", "interocular", "box"])
def test_keypoint_distance_is_the_loop(norm, scale):
    a, b = POINTS
    expected = []
    for p, q in zip(a, b, strict=True):
        total = 0.0
        for (x, y), (u, v) in zip(p, q, strict=True):
            dx, dy = abs(x - u), abs(y - v)
            total += {"mean_abs": (dx + dy) / 2, "l1": dx + dy, "euclidean": np.hypot(dx, dy)}[norm]
        width, height = q[:, 0].max() - q[:, 0].min(), q[:, 1].max() - q[:, 1].min()
        eyes = np.hypot(*(q[36] - q[45]))
        divided = {"pixels": 1, "interocular": eyes, "box": np.sqrt(width * height)}[scale]
        expected.append(total / 68 / divided)
    got = average_keypoint_distance(a, b, norm=norm, scale=scale)
    assert np.allclose(got, expected)
    assert np.all(average_keypoint_distance(a, a, norm=norm, scale=scale) == 0)
    doubled = average_keypoint_distance(2 * a, 2 * b, norm=norm, scale=scale)
    assert np.allclose(doubled, got * (2 if scale == "pixels" else 1))


def test_keypoints_that_do_not_fit():
    a, b = POINTS
    assert np.allclose(average_keypoint_distance(a, b, norm="l1"), 2 * average_keypoint_distance(a, b))
    with pytest.raises(ConfigError, match="no norm 'l3'; one of mean_abs, l1, euclidean"):
        average_keypoint_distance(a, b, norm="l3")
    with pytest.raises(ConfigError, match="no scale"):
        average_keypoint_distance(a, b, scale="face")
    with pytest.raises(ConfigError, match="not among 5 landmarks"):
        average_keypoint_distance(a[:, :5], b[:, :5], scale="interocular")
    with pytest.raises(ShapeError, match=r"landmarks \(T, N, 2\)"):
        average_keypoint_distance(a[..., :1], b[..., :1])
    with pytest.raises(ShapeError, match="of one shape"):
        average_keypoint_distance(a, b[:2])
    with pytest.raises(DataError, match="scale of frame 0 is 0"):
        average_keypoint_distance(a, np.zeros_like(b), scale="box")
    with pytest.raises(DataError, match="no numbers"):
        average_keypoint_distance(a, b * np.nan)


@pytest.mark.parametrize("reduce", ["mean", "sum", "l2"])
def test_expression_and_pose_are_the_loops(reduce):
    a, b = RNG.normal(size=(2, 7, 64))
    p, q = RNG.uniform(-1, 1, (2, 7, 6))
    how = {
        "mean": lambda gaps: sum(map(abs, gaps)) / len(gaps),
        "sum": lambda gaps: sum(map(abs, gaps)),
        "l2": lambda gaps: sum(g * g for g in gaps) ** 0.5,
    }[reduce]
    rows = [how([x - y for x, y in zip(*pair, strict=True)]) for pair in zip(a, b, strict=True)]
    assert np.allclose(average_expression_distance(a, b, reduce=reduce), rows)
    for part, size in (("angles", 3), ("full", 6)):
        rows = [
            how([x - y for x, y in zip(u[:size], v[:size], strict=True)]) for u, v in zip(p, q, strict=True)
        ]
        assert np.allclose(average_pose_distance(p, q, part=part, reduce=reduce), rows)
    assert np.allclose(average_pose_distance(p[:, :3], q[:, :3]), average_pose_distance(p, q))


def test_angles_go_the_short_way_round():
    turned = [[2 * np.pi + 0.3, -2 * np.pi, 0.0, 1.0, 1.0, 1.0]]
    assert average_pose_distance(turned, np.zeros((1, 6)), reduce="sum") == pytest.approx(0.3)
    far = average_pose_distance([[3.1, 0, 0]], [[-3.1, 0, 0]], reduce="sum")
    assert far == pytest.approx(2 * np.pi - 6.2)
    assert average_pose_distance(turned, np.zeros((1, 6)), part="full", reduce="sum") == pytest.approx(3.3)


def test_poses_that_do_not_fit():
    with pytest.raises(ShapeError, match="with translation"):
        average_pose_distance(np.zeros((2, 3)), np.zeros((2, 3)), part="full")
    with pytest.raises(ConfigError, match="no part"):
        average_pose_distance(np.zeros((2, 6)), np.zeros((2, 6)), part="head")
    with pytest.raises(ConfigError, match="no reduce"):
        average_expression_distance([[1.0]], [[2.0]], reduce="max")


def flicker_twin(frames, weights, inside):
    out = []
    order = len(weights) - 1
    for t in range(len(frames) - order):
        values = [
            abs(sum(w * frames[t + k, i, j, c] for k, w in enumerate(weights)))
            for i in range(frames.shape[1])
            for j in range(frames.shape[2])
            for c in range(frames.shape[3])
            if all(inside[t + k, i, j] for k in range(order + 1))
        ]
        out.append(np.mean(values))
    return out


def test_flicker_is_the_loop():
    a, b = FRAMES
    mask = np.zeros(a.shape[:3], bool)
    mask[:, 1:3] = True
    mask[3, 2] = False
    for inside in (None, mask):
        m = np.ones(a.shape[:3], bool) if inside is None else mask
        assert np.allclose(temporal_error(a, b, inside), flicker_twin(a - b, (-1, 1), m))
        assert np.allclose(temporal_flicker(a, inside), flicker_twin(a, (1, -2, 1), m))


def test_identities_of_flicker():
    a, _ = FRAMES
    assert np.all(temporal_error(a, a) == 0)
    assert np.allclose(temporal_error(a + 0.3, a), 0)  # a constant offset does not flicker
    steady = np.arange(6.0)[:, None, None, None] * np.ones((1, 4, 5, 3))
    assert np.allclose(temporal_flicker(steady), 0)
    blinking = (np.arange(6) % 2)[:, None, None, None] * np.ones((1, 4, 5, 3))
    assert np.allclose(temporal_flicker(blinking), 2)
    assert np.allclose(temporal_error(blinking, 0 * blinking), 1)


def test_videos_that_do_not_fit():
    a, b = FRAMES
    with pytest.raises(ShapeError, match="at least 3 frames, got 2"):
        temporal_flicker(a[:2])
    with pytest.raises(ShapeError, match="at least 2 frames, got 1"):
        temporal_error(a[:1], b[:1])
    with pytest.raises(ShapeError, match="mask"):
        temporal_flicker(a, np.ones((6, 2, 2)))
    mask = np.ones(a.shape[:3], bool)
    mask[4] = False
    with pytest.raises(DataError, match="mask around frame 3 holds no pixel"):
        temporal_error(a, b, mask)


def test_seconds_are_taken_around_both_waits():
    log, now = [], iter(range(100))

    def clock():
        log.append("clock")
        return float(next(now))

    seconds = frame_seconds(
        lambda x: log.append(x), ["a", "b"], synchronise=lambda: log.append("wait"), clock=clock
    )
    assert seconds == [1.0, 1.0]
    assert log == ["wait", "clock", "a", "wait", "clock", "wait", "clock", "b", "wait", "clock"]
    assert len(frame_seconds(abs, range(3))) == 3


def test_frames_per_second_drops_the_first_ten_and_takes_the_median():
    seconds = [5.0] * 10 + [0.1, 0.02, 0.04, 0.03, 7.0]
    assert frames_per_second(seconds) == pytest.approx(25)
    assert frames_per_second(seconds, drop=14) == pytest.approx(1 / 7)
    with pytest.raises(DataError, match="no frames left after the first 10"):
        frames_per_second([1.0] * 10)
    with pytest.raises(DataError, match="positive"):
        frames_per_second([0.0], drop=0)
