"""Worse and worse pictures: the same for everyone, and rates against loops."""

from __future__ import annotations

import numpy as np
import pytest

from mien.core.errors import ConfigError, ShapeError
from mien.core.seeds import derive, keys_of
from mien.data.surveil_loader import surveil_seeds
from mien.engine.degradation import (
    FAR,
    degradation_sweep,
    pad_measure,
    pair_measure,
    plot_sweep,
    severities_of,
    sweep_rows,
)
from mien.synth import surveil_batch

KEYS = keys_of([f"face {k}" for k in range(6)])
LIVE = np.array([1, 1, 1, 0, 0, 0], bool)


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(3)
    return rng.integers(0, 256, (6, 16, 16, 3), dtype=np.uint8)


def brightness(x):
    return x.mean((1, 2, 3), dtype=np.float64)


def test_each_severity_is_the_simulator_picture_by_picture(pictures):
    seen = []
    points = degradation_sweep(lambda x: seen.append(x) or {}, pictures, KEYS, [0.0, 0.4, 1.0], "C5")
    assert points == [{"severity": 0.0}, {"severity": 0.4}, {"severity": 1.0}]
    assert seen[0] is pictures
    seeds = surveil_seeds(KEYS, derive(0, "sweep"))
    for x, q in zip(seen[1:], (0.4, 1.0), strict=True):
        alone = [surveil_batch(pictures[k : k + 1], q, seeds[k : k + 1], "C5")[0][0] for k in range(6)]
        assert np.array_equal(x, np.stack(alone))


def test_a_picture_depends_on_its_key_alone(pictures):
    def last(order):
        seen = []
        degradation_sweep(lambda x: seen.append(x) or {}, pictures[order], KEYS[order], [0.7])
        return seen[0]

    order = np.array([4, 0, 2])
    assert np.array_equal(last(order), last(np.arange(6))[order])


def test_pad_rates_against_loops(pictures):
    points = degradation_sweep(pad_measure(brightness, LIVE, 127.5), pictures, KEYS, [0.0, 0.8])
    scores = brightness(pictures)
    accepted = [s >= 127.5 for s in scores]
    apcer = sum(accepted[3:]) / 3
    bpcer = sum(not a for a in accepted[:3]) / 3
    assert points[0]["acer"] == pytest.approx((apcer + bpcer) / 2)
    above = [(a > b) + 0.5 * (a == b) for a in scores[:3] for b in scores[3:]]
    assert points[0]["auc"] == pytest.approx(sum(above) / 9)
    assert points[1] != points[0]


def test_pairs_are_probe_against_clean(pictures):
    people = np.array([0, 0, 1, 1, 2, 2])

    def embed(x):
        return x.reshape(len(x), -1)[:, :40].astype(np.float32) - 127

    points = degradation_sweep(pair_measure(embed, pictures, people), pictures, KEYS, [0.0])
    e = [v / np.linalg.norm(v) for v in embed(pictures).astype(float)]
    pairs = [(e[i] @ e[j], people[i] == people[j]) for i in range(6) for j in range(6) if i != j]
    genuine, impostor = ([s for s, same in pairs if same == kind] for kind in (True, False))
    auc = np.mean([(a > b) + 0.5 * (a == b) for a in genuine for b in impostor])
    assert points[0]["auc"] == pytest.approx(auc)
    # With 24 impostor pairs a FAR of at most 1e-2 means none is accepted.
    assert points[0]["tar"] == pytest.approx(np.mean([a > max(impostor) for a in genuine]))
    assert FAR == 1e-2
    assert 0 <= points[0]["eer"] <= 1


def test_a_recogniser_of_pixels_loses_by_degradation():
    rng = np.random.default_rng(0)
    people = np.repeat(np.arange(10), 2)
    base = rng.integers(0, 256, (10, 24, 24, 3))
    faces = np.clip(base[people] + rng.normal(0, 20, (20, 24, 24, 3)), 0, 255).astype(np.uint8)

    def embed(x):
        return x.reshape(len(x), -1) - 127.0

    keys = keys_of([str(k) for k in range(20)])
    points = degradation_sweep(pair_measure(embed, faces, people), faces, keys, severities_of(3))
    assert points[0]["auc"] == 1
    assert points[0]["auc"] > points[2]["auc"]
    assert points[0]["tar"] > points[2]["tar"]


def test_rows_and_a_figure():
    points = [
        {"severity": 0.0, "acer": 0.125, "auc": 0.9, "read": 0.1},
        {"severity": 1.0, "acer": 0.5, "auc": 0.5},
    ]
    assert sweep_rows(points)[0] == {"severity": "0.00", "ACER, %": "12.50", "AUC, %": "90.00"}
    assert plot_sweep(points).startswith(b"\x89PNG")


@pytest.mark.parametrize("severities", [[], [0.5, 1.1], [-0.1]])
def test_severities_are_shares(pictures, severities):
    with pytest.raises(ConfigError, match=r"give some in \[0, 1\]"):
        degradation_sweep(lambda _: {}, pictures, KEYS, severities)


def test_shapes(pictures):
    with pytest.raises(ShapeError, match="N keys"):
        degradation_sweep(lambda _: {}, pictures, KEYS[:5], [0.0])
    with pytest.raises(ShapeError, match=r"pictures \(N, H, W, 3\)"):
        degradation_sweep(lambda _: {}, pictures[..., 0], KEYS, [0.0])
