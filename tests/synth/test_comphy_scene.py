from __future__ import annotations

import itertools

import numpy as np
import pytest

from mien.core.errors import ConfigError
from mien.synth.comphy_scene import (
    ComPhyScene,
    Event,
    Thing,
    in_out_events,
    inside,
    proposed_collisions,
    to_pixels,
    true_collisions,
    velocities,
    within_cone,
)


def test_visibility_gives_in_and_out():
    visible = np.array([[1, 0], [1, 1], [0, 1], [1, 1]], bool)
    assert in_out_events(visible, step=5) == (
        Event("in", (1,), 5), Event("out", (0,), 10), Event("in", (0,), 15),
    )  # fmt: skip


def test_velocity_is_the_mean_of_the_differences_between_visible_rows():
    centres = np.array([[0.0, 0], [5, 0], [20, 0], [9, 9]])[:, None]
    visible = np.array([1, 1, 1, 0], bool)[:, None]
    assert velocities(centres, visible, 5)[:, 0, 0].tolist() == [1, 2, 3, 0]


def slow_velocity(centres, visible, step, t, i):
    parts = [
        (centres[b, i] - centres[a, i]) / step
        for a, b in ((t - 1, t), (t, t + 1))
        if a >= 0 and b < len(centres) and visible[a, i] and visible[b, i]
    ]
    return np.mean(parts, 0) if parts else np.zeros(2)


def slow_proposals(centres, visible, step):
    """The released rule, object by object and frame by frame."""
    frames, n = visible.shape
    found, pairs = [], []
    for i in range(n):
        trace = [t for t in range(frames) if visible[t, i]]
        v = [slow_velocity(centres, visible, step, t, i) for t in trace]
        dv = [0.0] + [float(np.hypot(*(b - a))) for a, b in itertools.pairwise(v)]
        for k in range(1, len(trace) - 1):
            if not (dv[k] > dv[k - 1] and dv[k] > dv[k + 1] and 0.003 < dv[k] < 5):
                continue
            far = [
                (float(np.hypot(*(centres[trace[k], j] - centres[trace[k], i]))), j)
                for j in range(n)
                if j != i and visible[trace[k], j]
            ]
            if far and min(far)[0] < 68 and {i, min(far)[1]} not in pairs:
                pairs.append({i, min(far)[1]})
                found.append(Event("collision", (i, min(far)[1]), trace[k] * step))
    return tuple(found)


@pytest.mark.parametrize("seed", range(5))
def test_proposals_equal_the_slow_twin(seed):
    rng = np.random.default_rng(seed)
    centres = 200 + np.cumsum(rng.normal(0, 6, (25, 4, 2)), 0)
    visible = rng.random((25, 4)) < 0.9
    slow = slow_proposals(centres, visible, 5)
    assert slow
    assert proposed_collisions(centres, visible, 5) == slow


def test_a_bounce_is_proposed_and_a_far_one_is_not():
    t = np.arange(30)
    first = np.stack([100 + 3.0 * np.minimum(t, 15.3), np.full(30, 100.0)], 1)
    second = np.stack([185 + 3.0 * np.maximum(t - 15.3, 0), np.full(30, 100.0)], 1)
    centres = np.stack([first, second], 1)
    visible = np.ones((30, 2), bool)
    (event,) = proposed_collisions(centres, visible, 1)
    assert (event.objects, abs(event.frame - 15) <= 1) == ((0, 1), True)
    centres[:, 1, 1] += 70
    assert proposed_collisions(centres, visible, 1) == ()


def test_contacts_of_ten_frames_are_one_collision():
    hits = np.zeros((40, 3, 3), bool)
    for t, i, j in ((5, 0, 1), (8, 0, 1), (18, 0, 1), (29, 0, 1), (8, 1, 2)):
        hits[t, i, j] = hits[t, j, i] = True
    assert true_collisions(hits) == (
        Event("collision", (0, 1), 5), Event("collision", (1, 2), 8), Event("collision", (0, 1), 29),
    )  # fmt: skip


def test_directions_leave_gaps_between_the_cones():
    angle = np.radians(np.arange(360) + 0.5)
    velocity = np.stack([np.cos(angle), np.sin(angle)], -1)
    found = {d: np.flatnonzero(within_cone(velocity, d)) for d in ("left", "right", "up", "down")}
    assert (found["down"].min(), found["down"].max()) == (48, 131)
    assert (found["up"].min(), found["up"].max()) == (228, 311)
    assert {len(v) for v in found.values()} == {84}


def test_pixels_of_the_world():
    assert to_pixels(np.array([[0, 0], [3.6, -2.4]]), 2.4).tolist() == [[240, 160], [480, 320]]
    assert inside(np.array([[0, 0], [481, 3], [5, -1]])).tolist() == [True, False, False]


def test_a_scene_needs_a_path_for_each_object():
    with pytest.raises(ConfigError, match=r"centres must be \(T, 1, 2\)"):
        ComPhyScene((Thing("red", "metal", "cube"),), (), (), np.zeros((4, 2, 2)), np.ones((4, 2), bool))


def test_frames_between_rows_and_outside():
    one = ComPhyScene(
        (Thing("red", "metal", "cube"),), (), (), np.zeros((4, 1, 2)), np.ones((4, 1), bool), 20, 5
    )
    assert [one.row(f) for f in (0, 4, 5, 19, 20, -1)] == [0, 0, 1, 3, None, None]
    assert not one.is_visible(0, 20)
    assert not one.is_moving(0)
