"""The shortcut audit finds a shortcut where there is one and none where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from mien.core.errors import DataError
from mien.synth.audit import held_out_auc, relief, shortcut_audit, trivial


def test_trivial_statistics_of_a_known_image():
    x = np.zeros((4, 4))
    x[1:3, 1:3] = 4.0
    assert trivial(x) == pytest.approx([1.0, np.sqrt(3.0), 0.0])
    assert trivial(np.ones((5, 5, 3))).shape == (9,)


def test_auc_of_a_signal_and_of_noise():
    rng = np.random.default_rng(0)
    live, groups = rng.random(600) < 0.5, np.repeat(np.arange(60), 10)
    signal = live[:, None] + 0.1 * rng.standard_normal((600, 1))
    assert held_out_auc(signal, live, groups) > 0.99
    assert abs(held_out_auc(rng.standard_normal((600, 3)), live, groups) - 0.5) < 0.08


def test_subjects_are_held_out():
    """A statistic that only tells who somebody is must not help."""
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(40), 10)
    live = np.repeat(rng.random(40) < 0.5, 10)
    one_hot = np.eye(40)[groups]
    assert held_out_auc(one_hot, live, groups) < 0.65
    with pytest.raises(DataError, match=r"at least five subjects"):
        held_out_auc(one_hot[:20], live[:20], groups[:20])


def test_relief_tells_a_plane_from_a_ball():
    v, u = np.mgrid[0:32, 0:32] - 15.5
    face = np.hypot(u, v) < 14
    plane = np.where(face, 0.6 + 0.001 * u, 0)
    ball = np.where(face, 0.6 - 0.08 * np.sqrt(np.clip(1 - (u**2 + v**2) / 256, 0, 1)), 0)
    assert relief(plane, face)[0] < 1e-9
    assert relief(ball, face)[0] > 0.005
    assert relief(np.zeros((32, 32)), face)[2] == 1.0


def test_the_report_names_modalities_and_instruments():
    rng = np.random.default_rng(2)
    kinds = [("live", "print_flat", "mask_resin")[k % 3] for k in range(90)]
    who = [k // 9 for k in range(90)]
    v, u = np.mgrid[0:16, 0:16] - 7.5
    face = np.hypot(u, v) < 7
    samples = []
    for kind in kinds:
        bump = 0.0 if kind == "print_flat" else 0.05
        depth = 0.6 - bump * np.sqrt(np.clip(1 - (u**2 + v**2) / 64, 0, 1)) + rng.normal(0, 1e-4, u.shape)
        samples.append((rng.integers(0, 256, (16, 16, 3)), depth, rng.random((16, 16)), face))
    found = shortcut_audit(samples, kinds, who)
    assert set(found) == {"rgb", "depth", "ir", "relief_masks", "relief_flat"}
    assert found["relief_flat"] > 0.99
    assert abs(found["relief_masks"] - 0.5) < 0.25
